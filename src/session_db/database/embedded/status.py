"""What ``doctor`` tells about the embedded server."""

import os
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class ServerStatus:
    """One look at the server; ``version`` is the one that this process would start."""

    running: bool
    pid: int | None
    version: str
    data_directory: Path
    socket: Path
    log: Path
    size_bytes: int


def size_of(directory: Path) -> int:
    """Return the bytes of all files below a directory, which a server may be changing."""
    size = 0
    for root, _, files in os.walk(directory):
        for name in files:
            with suppress(FileNotFoundError):
                size += (Path(root) / name).lstat().st_size
    return size
