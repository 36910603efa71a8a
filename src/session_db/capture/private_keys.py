"""Where private keys stand in a text: with all their lines, and where something cut them off, as far as these go.

A key is printed in many ways: by ``grep -rn`` with a path before each line, numbered, indented, as a diff, as the strings of a JSON list.
"""

import re
from collections.abc import Iterator

_WORDS = (b"PRIVATE KEY", b"Private-Lines")

_PEM = rb"[0-9A-Z ]{0,30}PRIVATE KEY(?: BLOCK)?-----"
_FIRST = re.compile(rb"-----BEGIN " + _PEM + rb"|Private-Lines: [0-9]{1,4}")
_LAST = re.compile(rb"-{5,}END " + _PEM)

_BASE64 = rb"0-9A-Za-z+/="
_SOME_BASE64 = re.compile(rb"[%s]{16}" % _BASE64)
# The end of a line, also where somebody wrote it as two characters, or the lines as strings of a list.
_BREAK = rb"[^\n%s]{0,20}?(?:\r?\n|\\r\\n|\\[nr]|[\"'],[ \n]?[\"'])" % _BASE64
_IN_LINE = rb"(?:[^\n\\]|\\[^nr])"
_PREFIX = _IN_LINE + rb"{0,120}?"

_HEADERS = re.compile(
    # Proc-Type: 4,ENCRYPTED and the like, and the empty line behind.
    rb"(?:%s%s(?:Proc-Type|DEK-Info|Version|Comment|Charset|Hash): %s{0,200}?(?=%s))+(?:%s%s(?=%s))?"
    % (_BREAK, _PREFIX, _IN_LINE, _BREAK, _BREAK, _PREFIX, _BREAK)
)
_LINE = re.compile(
    # Nothing but spaces, quotes or a number stands before it.
    rb"(?:\\[nr]|[^%s-]){1,200}+(?:[0-9]{1,6}[^%s-]{1,8})?[%s]{16,}+" % (_BASE64, _BASE64, _BASE64)
    # Anything does. A short line is the last one; grep, and who joins texts, writes -- behind what ends there.
    + rb"|%s%s(?:[%s]{40,}+|[%s]{16,}+[^%s]{0,4}?(?:\Z|\n--\n))" % (_BREAK, _PREFIX, _BASE64, _BASE64, _BASE64)
)


def find_private_keys(text: bytes) -> Iterator[tuple[int, int]]:
    """Give where private keys begin and end, in time that grows with the length of the text alone."""
    if not any(word in text for word in _WORDS):
        return
    at = 0
    while (first := _FIRST.search(text, at)) is not None:
        body = first.end()
        end = _end_of_pem(text, body) if first[0].startswith(b"-") else None
        at = _end_of_lines(text, body) if end is None else end
        if at > body:
            yield first.start(), at


def _end_of_pem(text: bytes, body: int) -> int | None:
    """Return where the last line of a key ends; None where the next dashes, which no key has, are of something else."""
    dashes = text.find(b"--", body)
    last = _LAST.match(text, dashes) if dashes >= 0 else None
    return last.end() if last is not None and _SOME_BASE64.search(text, body, dashes) else None


def _end_of_lines(text: bytes, body: int) -> int:
    """Return where the lines end that look like those of a key; the beginning of the body where none does."""
    headers = _HEADERS.match(text, body)
    begin = end = headers.end() if headers is not None else body
    while (line := _LINE.match(text, end)) is not None:
        end = line.end()
    return end if end > begin else body
