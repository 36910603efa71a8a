"""What a search asks for, and the piece of a text that shows why it was found."""

import re
import string
from dataclasses import dataclass

from session_db.errors import InvalidInput
from session_db.models.search import ENDS_OF_WORDS, SnippetPart
from session_db.models.table import refuse_unstorable
from session_db.models.text import shown

MAX_QUERY = 500
"""Characters of a query: as one word it is not longer than PostgreSQL's longest."""

PREFIX_FROM = 3
"""Letters from which on the last word stands for all words that begin so; shorter ones would find nearly everything."""

MARKED = 16
"""Words and phrases of a query that are looked for in the texts that are shown."""

SNIPPET = 240
"""Characters of a snippet, of which a quarter stands before the match."""

_TERM = re.compile(r'(-?)"([^"]*)"|(\S+)')
_BREAKS = re.compile(rf"{ENDS_OF_WORDS}|[{re.escape(string.punctuation)}]")
_LETTER = re.compile(r"[^\W_]")
_REMEDY = "send a word or more, for instance: pytest failed"


@dataclass(frozen=True)
class Query:
    """A query as ``websearch_to_tsquery`` takes it, and what of it is to be marked in a text.

    ``loose`` asks for the same words in any order, and leaves nothing out: an index answers it without a look at the text.
    """

    websearch: str
    loose: str
    has_prefix: bool
    marks: re.Pattern[str]


@dataclass(frozen=True)
class _Term:
    text: str
    is_phrase: bool
    is_left_out: bool

    @property
    def is_or(self) -> bool:
        return self.text.lower() == "or" and not self.is_phrase and not self.is_left_out

    @property
    def loose(self) -> str:
        """Its words, each for itself; in quotes ``or`` is one of them."""
        return self.text if self.is_or else " ".join(f'"{word}"' for word in self.text.split())

    def __str__(self) -> str:
        text = f'"{self.text}"' if self.is_phrase or " " in self.text else self.text
        return f"-{text}" if self.is_left_out else text


def parse_query(words: str) -> Query:
    """Read a query: words that must all be there, ``"phrases"``, ``-word`` for what must not be there, and ``or``.

    A word with punctuation in it (``src/app.py``, ``--verbose``) is a phrase, and the last word may be the beginning of one.

    Raises:
        InvalidInput: it has no word, or is too long, or holds what no text holds.
    """
    if not isinstance(words, str):
        raise InvalidInput(f"q: is {shown(words)}; {_REMEDY}.", path="q")
    refuse_unstorable(words, "q")
    if len(words) > MAX_QUERY:
        raise InvalidInput(f"q: has {len(words)} characters; send {MAX_QUERY} at most.", path="q")
    terms = _terms(words)
    if all(term.is_left_out or term.is_or for term in terms):
        raise no_word(words)
    last = terms[-1]
    has_prefix = not last.is_phrase and not last.is_left_out and len(last.text.split()[-1]) >= PREFIX_FROM
    loose = " ".join(term.loose for term in terms if not term.is_left_out)
    return Query(" ".join(map(str, terms)), loose, has_prefix, _marks(terms, has_prefix=has_prefix))


def no_word(words: str) -> InvalidInput:
    """Return the error of a query that says nothing of what is to be found."""
    return InvalidInput(f"q: {shown(words)} has no word to search for; {_REMEDY}.", path="q")


def _terms(words: str) -> list[_Term]:
    terms: list[_Term] = []
    for minus, phrase, word in _TERM.findall(words):
        # Two dashes begin an option of a command, which is a thing to search for.
        is_left_out = minus == "-" or (word.startswith("-") and not word.startswith("--"))
        term = _Term(" ".join(_BREAKS.sub(" ", phrase or word).split()), bool(phrase), is_left_out)
        stands_between = bool(terms) and not terms[-1].is_or
        if _LETTER.search(term.text) and (stands_between or not term.is_or):
            terms.append(term)
    return terms[:-1] if terms and terms[-1].is_or else terms


def _marks(terms: list[_Term], *, has_prefix: bool) -> re.Pattern[str]:
    patterns = []
    for number, term in enumerate(terms, 1):
        if not term.is_left_out and not term.is_or:
            pieces = r"[\W_]+".join(map(re.escape, term.text.split()))
            ends = r"[^\W_]*" if has_prefix and number == len(terms) else ""
            patterns.append(f"{pieces}{ends}")
    marked = sorted(list(dict.fromkeys(patterns))[:MARKED], key=len, reverse=True)
    return re.compile(rf"(?<![^\W_])(?:{'|'.join(marked)})(?![^\W_])", re.IGNORECASE)


def snippet_of(query: Query, *texts: str | None) -> list[SnippetPart]:
    """Return a piece of the first text that has a match, else of the first text that there is."""
    there = [text for text in texts if text]
    for text in there:
        found = query.marks.search(text)
        if found is not None:
            return _parts(query, _piece(text, found.start()))
    return _parts(query, _piece(there[0], 0)) if there else []


def _piece(text: str, match: int) -> str:
    """Return the surroundings of a match on one line, from a space to a space where there is one near."""
    start = max(0, match - SNIPPET // 4)
    if start:
        space = re.search(r"\s", text[start:match])
        start += space.end() if space else 0
    piece = text[start : start + SNIPPET]
    is_cut = len(text) > start + SNIPPET
    if is_cut and (space := re.search(r"\s\S{0,30}$", piece)):
        piece = piece[: space.start()]
    return ("…" if start else "") + " ".join(piece.split()) + ("…" if is_cut else "")


def _parts(query: Query, piece: str) -> list[SnippetPart]:
    parts, end = [], 0
    for match in query.marks.finditer(piece):
        parts += [SnippetPart(text=piece[end : match.start()], matches=False), SnippetPart(text=match[0], matches=True)]
        end = match.end()
    parts.append(SnippetPart(text=piece[end:], matches=False))
    return [part for part in parts if part.text]
