"""JSON that people and agents write, read so that it can be written back with nothing lost."""

import json
import math
from typing import Any

from session_db.errors import InvalidInput
from session_db.models.table import reads_back

MAX_BYTES = 4 * 1024 * 1024
"""Bytes that a state.json or a plan.json may have."""


def parse_object(content: bytes, name: str) -> dict[str, Any]:
    """Return the JSON object of a file.

    Raises:
        InvalidInput: it is none, or Python could not write it back as it was; the error says where or why.
    """
    try:
        document = _DECODER.decode(content.decode("utf-8-sig"))
    except UnicodeDecodeError as error:
        raise InvalidInput(f"{name} is not valid UTF-8 from byte {error.start} on; write it in UTF-8.", byte=error.start) from None
    except json.JSONDecodeError as error:
        problem = f"{name}: no JSON at line {error.lineno}, column {error.colno}: {error.msg}. Correct it there."
        raise InvalidInput(problem, line=error.lineno, column=error.colno) from None
    except RecursionError:
        raise InvalidInput(f"{name} is nested too deep; make it flatter.") from None
    except ValueError as error:
        raise InvalidInput(f"{name}: {error}.") from None
    if not isinstance(document, dict):
        raise InvalidInput(f"{name} is no JSON object; write one, e.g. {{}}.")
    if not reads_back(document):
        raise InvalidInput(f"{name} is nested too deep; make it flatter.")
    return document


def format_object(document: dict[str, Any], name: str) -> bytes:
    """Write an object for people, in UTF-8, or in one line where it is too large so; a lone surrogate in it as it was written, escaped.

    Raises:
        InvalidInput: it is too large to be read again.
    """
    content = _encoded(_FOR_PEOPLE, document) or _encoded(_IN_ONE_LINE, document)
    if content is None:
        raise InvalidInput(f"{name} would get more than {MAX_BYTES:,} bytes; make it smaller.", limit=MAX_BYTES)
    return content


def _encoded(encoder: json.JSONEncoder, document: dict[str, Any]) -> bytes | None:
    """Return a document as a file holds it, or None where that is too large."""
    parts, size = [], 1
    for part in encoder.iterencode(document):
        # Only lone surrogates are no UTF-8, and in JSON they are escaped so, too.
        parts.append(part.encode(errors="backslashreplace"))
        size += len(parts[-1])
        if size > MAX_BYTES:
            return None
    return b"".join(parts) + b"\n"


def _without_twins(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    members: dict[str, Any] = {}
    for name, value in pairs:
        if name in members:
            raise ValueError(f"has the key {name[:100]!r} twice; remove one of them")
        members[name] = value
    return members


def _finite(text: str) -> float:
    number = float(text)
    if not math.isfinite(number):
        raise ValueError(f"holds the number {text[:100]}, which is too large; write it as text")
    return number


def _refuse_constant(word: str) -> None:
    raise ValueError(f"holds {word}, which is no JSON; write null")


_DECODER = json.JSONDecoder(object_pairs_hook=_without_twins, parse_float=_finite, parse_constant=_refuse_constant)
_FOR_PEOPLE = json.JSONEncoder(ensure_ascii=False, allow_nan=False, indent=2)
_IN_ONE_LINE = json.JSONEncoder(ensure_ascii=False, allow_nan=False, separators=(",", ":"))
