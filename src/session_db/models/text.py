"""Readable text: what columns, people and searches get of somebody else's text."""

from collections.abc import Mapping
from typing import Any

READABLE_LIMIT = 16_384
"""Bytes that a readable column keeps; the whole text stands in the payload."""

SHOWN_LIMIT = 200
"""Characters of a value that a message shows."""


def readable(text: str) -> str:
    """Return the text as PostgreSQL can hold it: NUL and lone surrogates become U+FFFD.

    Everything that people and searches read passes here; this is where redaction belongs.
    """
    return text.replace("\x00", "\ufffd").encode("utf-16", "surrogatepass").decode("utf-16", "replace")


def cut(text: str | None, limit: int = READABLE_LIMIT) -> tuple[str | None, bool]:
    """Return the readable beginning of a text, and whether something was cut off."""
    if text is None:
        return None, False
    whole = readable(text[:limit]).encode()
    return whole[:limit].decode(errors="ignore"), len(text) > limit or len(whole) > limit


def texts_in(value: Any) -> str | None:
    """Return the texts of a JSON value in their order, a line each, as many as a readable column keeps; None where there is none."""
    texts, size, todo = [], 0, [value]
    while todo and size <= READABLE_LIMIT:
        part = todo.pop()
        if isinstance(part, str):
            texts.append(part)
            size += len(part) + 1
        elif isinstance(part, Mapping):
            todo.extend(reversed(list(part.values())))
        elif isinstance(part, list | tuple):
            todo.extend(reversed(part))
    return "\n".join(texts) if texts else None


def shown(value: Any) -> str:
    """Return a value as a message names it: its beginning, and never an error of its own."""
    try:
        text = repr(value)
    except (ValueError, RecursionError):
        # An integer of too many digits, or lists in lists without end.
        return f"a {type(value).__name__} that cannot be written"
    return text if len(text) <= SHOWN_LIMIT else f"{text[:SHOWN_LIMIT]}… ({len(text)} characters)"
