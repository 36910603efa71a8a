"""Files that are there whole, or not at all."""

import errno
import os
import secrets
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

from session_db.errors import AlreadyExists, InvalidInput, Unavailable

if sys.platform != "win32":
    import fcntl

_UNFINISHED = ".session-db-unfinished-"
_NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO, errno.EROFS)


@contextmanager
def whole_file(path: Path, *, replace: bool = False) -> Iterator[BinaryIO]:
    """Give a file to write, which only its owner can read; it gets its name when the block has ended well and the disk has it all.

    Whoever is killed before that leaves a hidden file in the same directory, which the next one to write there removes.

    Raises:
        AlreadyExists: there is a file with that name, and ``replace`` is not set.
        InvalidInput: there is something else with that name, or no such directory.
        Unavailable: the disk is full.
    """
    path = path.resolve()
    _refuse_taken(path, replace=replace)
    _remove_abandoned(path.parent)
    unfinished, descriptor = _make(path.parent)
    try:
        with os.fdopen(descriptor, "wb") as file:
            yield file
            file.flush()
            os.fsync(descriptor)
        _name(unfinished, path, replace=replace)
    except OSError as error:
        if error.errno not in _NO_ROOM:
            raise
        raise Unavailable(f"{path} could not be written: {error.strerror}. Free some space there, or name another place.") from error
    finally:
        unfinished.unlink(missing_ok=True)


def _refuse_taken(path: Path, *, replace: bool) -> None:
    if not path.parent.is_dir():
        raise InvalidInput(f"there is no directory {path.parent}; make it first, or name another place.", path=str(path))
    if not path.exists():
        return
    if not path.is_file():
        raise InvalidInput(f"{path} is no file that could be written anew; name another one.", path=str(path))
    if not replace:
        raise AlreadyExists(f"{path} exists already; name another file, or say --force to replace it.", path=str(path))


def _make(directory: Path) -> tuple[Path, int]:
    """Make a file that nobody takes for abandoned."""
    while True:
        path = directory / f"{_UNFINISHED}{secrets.token_hex(8)}"
        # Windows would write its own line ends.
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0), 0o600)
        with suppress(BlockingIOError):
            _take(descriptor)
            if os.fstat(descriptor).st_nlink:
                return path, descriptor
        # Somebody removed it before it was taken.
        os.close(descriptor)


def _take(descriptor: int) -> None:
    """Let others see that somebody is at it, as long as this process lives."""
    if sys.platform != "win32":
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)


def _remove_abandoned(directory: Path) -> None:
    """Remove what killed processes left; on Windows a file that is open cannot be removed."""
    for path in directory.glob(f"{_UNFINISHED}*"):
        with suppress(OSError):
            descriptor = os.open(path, os.O_RDONLY)
            try:
                _take(descriptor)
                path.unlink()
            finally:
                os.close(descriptor)


def _name(unfinished: Path, path: Path, *, replace: bool) -> None:
    if replace:
        unfinished.replace(path)
    else:
        _name_anew(unfinished, path)
    if sys.platform != "win32":
        directory = os.open(path.parent, os.O_RDONLY)
        try:
            os.fsync(directory)
        finally:
            os.close(directory)


def _name_anew(unfinished: Path, path: Path) -> None:
    """Give the file its name unless somebody else took it meanwhile."""
    try:
        os.link(unfinished, path)
    except FileExistsError:
        _refuse_taken(path, replace=False)
    except OSError:
        # A file system without links, as on a memory stick.
        _refuse_taken(path, replace=False)
        unfinished.rename(path)
