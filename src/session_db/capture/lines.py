"""Lines of a transcript file, from where the last reading stopped."""

import codecs
import hashlib
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

from session_db.models.table import MAX_NESTING, decode_json, reads_back

MAX_LINE_BYTES = 64 * 1024 * 1024
"""A longer line is reported and skipped: what is made of it, in ASCII and several times, would not fit into one message to the server."""

_PRINT_BYTES = 4096


@dataclass(frozen=True, slots=True)
class Line:
    """A line that holds a JSON object; ``end`` is the byte after it."""

    text: str
    entry: dict[str, Any]
    end: int


@dataclass(frozen=True, slots=True)
class BadLine:
    """A line that holds none; ``is_torn`` where the file ends in it, and its rest may come."""

    start: int
    end: int
    reason: str
    is_torn: bool = False


def read_lines(file: BinaryIO, offset: int) -> Iterator[Line | BadLine]:
    """Read lines from a byte offset on; blank ones are left out."""
    file.seek(offset)
    start = offset
    while raw := file.readline(MAX_LINE_BYTES):
        end = file.tell()
        if len(raw) == MAX_LINE_BYTES and not raw.endswith(b"\n"):
            end = _skip_line(file)
            yield BadLine(start, end, f"the line is longer than {MAX_LINE_BYTES // 1024**2} MiB")
        # The mark says that the file is UTF-8; it is no part of a line, also where files were joined.
        elif (content := raw.removeprefix(codecs.BOM_UTF8)).strip():
            yield _parsed(content, start, end)
        start = end


def _skip_line(file: BinaryIO) -> int:
    while (rest := file.readline(1024**2)) and not rest.endswith(b"\n"):
        pass
    return file.tell()


def _parsed(raw: bytes, start: int, end: int) -> Line | BadLine:
    is_last = not raw.endswith(b"\n")
    try:
        text = raw.removesuffix(b"\n").decode()
        return Line(text, parse_object(text), end)
    except UnicodeDecodeError as error:
        return BadLine(start, end, f"the line is no UTF-8: byte {error.start} is 0x{raw[error.start]:02x}", is_torn=is_last)
    except json.JSONDecodeError as error:
        what = "ends in the middle of a JSON object" if is_last else "is no JSON"
        return BadLine(start, end, f"the line {what}: {error}", is_torn=is_last)
    except ValueError as error:
        return BadLine(start, end, f"the line {error}")


def parse_object(text: str) -> dict[str, Any]:
    """Return a JSON object that PostgreSQL will take too.

    Raises:
        ValueError: the text holds none; the message says what it is instead.
    """
    try:
        value = decode_json(text)
    except RecursionError:
        raise ValueError(f"is nested deeper than {MAX_NESTING} levels") from None
    if not isinstance(value, dict):
        raise ValueError(f"holds a {type(value).__name__}, not an object")  # noqa: TRY004  it is one kind of bad text
    if not reads_back(value):
        raise ValueError(f"is nested deeper than {MAX_NESTING} levels")
    return value


def fingerprint(file: BinaryIO, offset: int) -> str:
    """Return a digest of a file's beginning and of what stands before a byte: another one is another file, or a rewritten one."""
    file.seek(0)
    digest = hashlib.sha256(file.read(min(offset, _PRINT_BYTES)))
    file.seek(max(0, offset - _PRINT_BYTES))
    digest.update(file.read(min(offset, _PRINT_BYTES)))
    return digest.hexdigest()


def line_number(path: Path, offset: int) -> int:
    """Return the number of the line that begins at a byte, counted from 1."""
    count = 1
    with path.open("rb") as file:
        while offset > 0 and (chunk := file.read(min(offset, 1024**2))):
            count += chunk.count(b"\n")
            offset -= len(chunk)
    return count
