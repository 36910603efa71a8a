"""The files of what tools gave, in chunks that are written one by one."""

import base64
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, BinaryIO

from session_db.capture.redaction import stored_bytes, whole_end

CHUNK_BYTES = 1024 * 1024

_MAX_SECRET = 64 * 1024
"""Bytes of the largest secret that is not cut through between two chunks."""


@dataclass(frozen=True)
class Chunk:
    """Bytes of a file as an entry, and where the next one begins; ``is_masked`` where secrets were in it."""

    entry: dict[str, Any]
    end: int
    is_masked: bool


def read_chunks(file: BinaryIO, offset: int) -> Iterator[Chunk]:
    """Give a file from a byte on as entries that any bytes fit into."""
    start = offset
    while True:
        file.seek(start)
        content = file.read(CHUNK_BYTES + _MAX_SECRET)
        if not content:
            return
        content = content[: _end(content)]
        stored = stored_bytes(content)
        start += len(content)
        yield Chunk({"type": "tool-result", **_encoded(stored)}, start, stored != content)


def _end(content: bytes) -> int:
    """Return where to cut: not in a secret, and not in a character."""
    end = whole_end(content, min(CHUNK_BYTES, len(content)))
    for at in range(end, max(0, end - 4), -1):
        # In UTF-8 the bytes of a character that are not its first begin with the bits 10.
        if at == len(content) or content[at] & 0xC0 != 0x80:  # noqa: PLR2004
            return at
    return end


def _encoded(content: bytes) -> dict[str, Any]:
    try:
        return {"encoding": "utf-8", "data": content.decode()}
    except UnicodeDecodeError:
        return {"encoding": "base64", "data": base64.b64encode(content).decode()}
