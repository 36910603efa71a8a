"""The shapes of secrets: where in a text an API key, a token, a private key or a password stands.

Most come from CredSweeper (``secret_shapes.json``); the others are ours. RE2 looks for them, in time that grows with the length of the
text and with nothing else, whatever somebody wrote there.
"""

import functools
import json
from importlib.resources import files
from typing import Any, NamedTuple

from session_db.capture.private_keys import find_private_keys

# No word goes on here: neither its letters nor the code of one, as \n, %20 or a colour of the terminal, also where that is written out.
_BEFORE = (
    r"(?:^|[^\\0-9A-Za-z+_-]|\\[0abfnrtv]|(?:%|\\x)[0-9A-Fa-f]{2}|\\[0-7]{3}|\\[Uu][0-9A-Fa-f]{4}"
    r"|(?:\x1B|\\(?:[Uu]00|x)1[Bb]|\\0?33|\\e)\[[0-9;]{0,80}m"
    # The option of a command, or a line of a diff.
    r"|(?:^|[^0-9A-Za-z+/=_-]|\\[nrt])[+-]{1,2}[A-Za-z]?)"
)
_IS = r"[\"'\\]{0,4}\s*[:=]\s*[\"'\\]{0,4}"
_NOT_IN_QUERY = r"\s?#\"'`\\<>"
_NOT_IN_URL = _NOT_IN_QUERY + "/"
# What is still to be filled in is no password: $PASSWORD, ${password}, {password}, <password>, [password], ***.
_TO_FILL_IN = r"(?:\$[A-Za-z_]+|\$[A-Z_][0-9A-Z_]*|\$[0-9]|\$?\{[^{}]*\}|\$?\{\{[^{}]*\}\}|\$\([^()]*\))+|\*+|\[[^\[\]]*\]"


class Shape(NamedTuple):
    """What secrets of a kind look like.

    Attributes:
        name: what a mask calls them.
        keywords: one of them stands in whatever the pattern finds, in capitals or not.
        pattern: its group ``value`` is the secret.
        begins_word: no letter of a word stands before it.
        harmless: what the value is where it only looks like one.
    """

    name: str
    keywords: list[str]
    pattern: str
    begins_word: bool = False
    harmless: str = ""


_OURS = [
    Shape("session-db-token", ["sdb_"], r"(?P<value>sdb_[0-9a-f]{32}_[0-9A-Za-z_-]{43})"),
    # Those of a login begin with sk-ant-oat01- and the like.
    Shape("anthropic-token", ["sk-ant-"], r"(?P<value>sk-ant-[a-z]{3,12}[0-9]{2}-[0-9A-Za-z_-]{20,})"),
    Shape("openai-token", ["sk-"], r"(?P<value>sk-(?:proj|svcacct|admin)-[0-9A-Za-z_-]{40,})", begins_word=True),
    Shape("openai-token", ["sk-"], r"(?P<value>sk-[0-9A-Za-z]{48})(?:[^0-9A-Za-z_-]|$)", begins_word=True),
    Shape("pypi-api-token", ["pypi-age"], r"(?P<value>pypi-AgE[0-9A-Za-z_-]{50,})"),
    Shape("azure-storage-account-key", ["accountkey="], r"(?i:AccountKey)=(?P<value>[0-9A-Za-z+/]{86}==)"),
    Shape(
        "aws-secret-access-key",
        ["secret"],
        r"(?i:secret_?(?:access_?)?key)" + _IS + r"(?P<value>[0-9A-Za-z/+]{40})(?:[^0-9A-Za-z/+]|$)",
    ),
    Shape(
        "authorization-header",
        ["authorization"],
        r"(?i:authorization)" + _IS + r"(?i:basic|bearer|token)\s+(?P<value>[0-9A-Za-z_.~+/=-]{8,})",
    ),
    Shape(
        "url-password",
        ["://"],
        # An @ is part of the password where one word, a slash and another @ follow.
        rf"[0-9A-Za-z+.-]+://[^:@{_NOT_IN_URL}]*:"
        rf"(?P<value>[^{_NOT_IN_URL}]+(?:@[^.:@{_NOT_IN_URL}]+/[^:{_NOT_IN_QUERY}]*)?)@[0-9A-Za-z\[]",
        # host:5000@sha256:…
        harmless=r"[0-9]{1,5}|" + _TO_FILL_IN,
    ),
    Shape(
        "url-password",
        ["passw", "pwd"],
        rf"[?&;](?i:password|passwd|pwd|sslpassword)=(?P<value>[^&;{_NOT_IN_QUERY}]+)",
        harmless=_TO_FILL_IN,
    ),
]

MIN_LENGTH = 8
"""Bytes of the shortest text that any of them stands in."""


class Secret(NamedTuple):
    """Where a secret stands, in bytes, and which shape it has."""

    start: int
    end: int
    shape: str


class _Shapes:
    """All shapes, compiled, and the keywords that say which of them to try."""

    def __init__(self) -> None:
        # Only who writes needs it, and it is slow to import.
        import re2  # noqa: PLC0415

        options = re2.Options()
        # Bytes: what is no UTF-8 holds secrets as well.
        options.encoding, options.log_errors = re2.Options.Encoding.LATIN1, False
        self._patterns: list[tuple[str, Any, int, Any]] = []
        self._of_keyword: list[int] = []
        options.case_sensitive = False
        self._keywords = re2.Set.SearchSet(options)
        options.case_sensitive = True
        for shape in _OURS + _theirs():
            compiled = re2.compile(((_BEFORE if shape.begins_word else "") + shape.pattern).encode(), options)
            for keyword in shape.keywords:
                self._keywords.Add(re2.escape(keyword.encode()))
                self._of_keyword.append(len(self._patterns))
            harmless = re2.compile(shape.harmless.encode(), options) if shape.harmless else None
            self._patterns.append((shape.name, compiled, compiled.groupindex[b"value"], harmless))
        self._keywords.Compile()

    def find(self, text: bytes) -> list[Secret]:
        found = []
        for number in sorted({self._of_keyword[keyword] for keyword in self._keywords.Match(text) or ()}):
            name, pattern, group, harmless = self._patterns[number]
            at = 0
            # From the end of the secret on: what stands behind one may stand before the next.
            while (match := pattern.search(text, at)) is not None:
                at = match.end(group)
                if harmless is None or harmless.fullmatch(match[group]) is None:
                    found.append(Secret(match.start(group), at, name))
        return found


def _theirs() -> list[Shape]:
    text = files("session_db.capture").joinpath("secret_shapes.json").read_text()
    return [Shape(**shape) for shape in json.loads(text)["shapes"]]


@functools.cache
def _shapes() -> _Shapes:
    return _Shapes()


def find_secrets(text: bytes) -> list[Secret]:
    """Return where secrets stand in a text, in their order; of two that overlap one, which covers both."""
    if len(text) < MIN_LENGTH:
        return []
    apart: list[Secret] = []
    # Of those that begin together the longest names them.
    found = _shapes().find(text) + [Secret(*key, "private-key") for key in find_private_keys(text)]
    for secret in sorted(found, key=lambda secret: (secret.start, -secret.end)):
        if apart and secret.start < apart[-1].end:
            apart[-1] = apart[-1]._replace(end=max(secret.end, apart[-1].end))
        else:
            apart.append(secret)
    return apart
