"""Folders, opened so that nothing in them leads out: each step is one name below an open directory, and no symbolic link is followed."""

import asyncio
import errno
import os
import re
import secrets
import stat
import sys
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from pathlib import Path
from typing import NamedTuple

from session_db.errors import InvalidInput, NotFound, Unavailable

if sys.platform != "win32":
    import fcntl

LOCK_SECONDS = 2.0
"""How long one writer waits for another one of the same folder."""

_LOOK_SECONDS = 0.02
_DIRECTORY = os.O_RDONLY | getattr(os, "O_DIRECTORY", 0) | getattr(os, "O_CLOEXEC", 0)
# Without O_NONBLOCK opening a pipe waits until somebody writes to it.
_FILE = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_NOFOLLOW", 0)
_NEW_FILE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_NOFOLLOW", 0)


_TEMPORARY = re.compile(r"\.session-db-[0-9a-f]{16}")
"""Name of a file that is just being written; nobody else names one so, and everything else is somebody's own."""


class Stamp(NamedTuple):
    """What tells whether a file is still the one that was read."""

    inode: int
    size: int
    changed_ns: int
    modified_ns: int


class Folder:
    """An open directory; where it is moved to meanwhile makes no difference."""

    def __init__(self, descriptor: int, path: Path) -> None:
        self.descriptor = descriptor
        self.path = path

    @contextmanager
    def below(self, *names: str, make: bool = False) -> Iterator["Folder"]:
        """Open a directory below this one, and with ``make`` the missing ones on the way.

        Raises:
            NotFound: it is missing.
            InvalidInput: something on the way is no directory, or is a symbolic link.
        """
        descriptor, path = os.dup(self.descriptor), self.path
        try:
            for name in names:
                if make:
                    _make(descriptor, name)
                path /= name
                above, descriptor = descriptor, _step(descriptor, name, path)
                os.close(above)
            yield Folder(descriptor, path)
        finally:
            os.close(descriptor)

    def names(self) -> list[str]:
        """Return the names of what is in it, in order."""
        return sorted(os.listdir(self.descriptor))  # noqa: PTH208  pathlib cannot list an open directory

    def status(self, name: str) -> os.stat_result | None:
        """Return what a name stands for, a symbolic link as such, or None where there is none."""
        try:
            return os.stat(name, dir_fd=self.descriptor, follow_symlinks=False)
        except FileNotFoundError:
            return None
        except OSError as error:
            raise _named(error, self.path / name) from error

    def stamp(self, name: str) -> Stamp | None:
        """Return what tells whether the file with this name is still the same."""
        status = self.status(name)
        return None if status is None else Stamp(status.st_ino, status.st_size, status.st_ctime_ns, status.st_mtime_ns)

    def read(self, name: str, limit: int, *, cut: bool = False) -> bytes | None:
        """Return what a file holds, or with ``cut`` as much as the limit of it, or None where there is none.

        Raises:
            InvalidInput: it is no regular file, or larger than the limit.
        """
        status = self.status(name)
        if status is None:
            return None
        _refuse_irregular(status, self.path / name)
        try:
            descriptor = os.open(name, _FILE, dir_fd=self.descriptor)
        except FileNotFoundError:
            return None
        except OSError as error:
            raise _named(error, self.path / name) from error
        with os.fdopen(descriptor, "rb") as file:
            # It may be another one than a moment ago.
            _refuse_irregular(os.fstat(descriptor), self.path / name)
            content = file.read(limit + (not cut))
        if len(content) > limit:
            raise InvalidInput(f"{self.path / name} has more than {limit:,} bytes; make it smaller.", path=str(self.path / name))
        return content

    def replace(self, name: str, content: bytes, *, unless_changed_from: Stamp | None) -> bool:
        """Let a file hold this, whole or not at all; return False where it is no longer the one that was read."""
        temporary = f".session-db-{secrets.token_hex(8)}"
        descriptor = os.open(temporary, _NEW_FILE, 0o666, dir_fd=self.descriptor)
        try:
            with os.fdopen(descriptor, "wb") as file:
                self._let_belong(descriptor, self.status(name))
                file.write(content)
                file.flush()
                os.fsync(descriptor)
            if self.stamp(name) != unless_changed_from:
                return False
            os.replace(temporary, name, src_dir_fd=self.descriptor, dst_dir_fd=self.descriptor)
        finally:
            with suppress(FileNotFoundError):
                os.unlink(temporary, dir_fd=self.descriptor)
        os.fsync(self.descriptor)
        return True

    def _let_belong(self, descriptor: int, before: os.stat_result | None) -> None:
        """Let whoever may write the file, or the folder, write it from now on, too: this process may be root."""
        if before is not None:
            os.fchmod(descriptor, stat.S_IMODE(before.st_mode))
        owner = before or os.fstat(self.descriptor)
        # Nobody here may be who that is, as in a container: then the file is this process's.
        with suppress(OSError):
            os.fchown(descriptor, owner.st_uid, owner.st_gid)

    def remove_abandoned(self) -> None:
        """Remove what killed writers left. The caller holds the lock, so nobody else is at it."""
        for name in filter(is_temporary, self.names()):
            with suppress(OSError):
                os.unlink(name, dir_fd=self.descriptor)

    @asynccontextmanager
    async def locked(self, seconds: float = LOCK_SECONDS) -> AsyncIterator[bool]:
        """Let no other process of ours write here inside the block, and say whether one had to be waited for.

        Raises:
            Unavailable: somebody else is at it for too long.
        """
        deadline = time.monotonic() + seconds
        has_waited = False
        # The lock belongs to a descriptor of its own, so that two writers of one process exclude each other, too.
        with self.below(".") as own:
            while not _take(own.descriptor):
                if time.monotonic() > deadline:
                    raise Unavailable(f"another process writes in {self.path}; try again.", path=str(self.path))
                await asyncio.sleep(_LOOK_SECONDS)
                has_waited = True
            yield has_waited


def is_temporary(name: str) -> bool:
    """Say whether a file has this name only while it is written."""
    return _TEMPORARY.fullmatch(name) is not None


def _take(descriptor: int) -> bool:
    if sys.platform == "win32":
        raise Unavailable("folders of sessions need Linux or macOS.")
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


@contextmanager
def open_folder(start: Path, *names: str, make: bool = False) -> Iterator[Folder]:
    """Open a directory that is trusted, symbolic links in its path included, and from there on as ``Folder.below`` does.

    Raises:
        NotFound: it is missing.
        InvalidInput: something on the way is no directory, or is a symbolic link.
        Unavailable: the system cannot open directories.
    """
    if sys.platform == "win32":
        raise Unavailable("folders of sessions need Linux or macOS.")
    try:
        descriptor = os.open(start, _DIRECTORY)
    except OSError as error:
        raise _named(error, start) from error
    trusted = Folder(descriptor, start)
    try:
        with trusted.below(*names, make=make) as folder:
            yield folder
    finally:
        os.close(descriptor)


def _step(descriptor: int, name: str, path: Path) -> int:
    if "/" in name or "\0" in name or name == "..":
        raise InvalidInput(f"{name!r} is no name of a file.", path=str(path))
    try:
        return os.open(name, _DIRECTORY | getattr(os, "O_NOFOLLOW", 0), dir_fd=descriptor)
    except OSError as error:
        raise _named(error, path) from error


def _make(descriptor: int, name: str) -> None:
    with suppress(FileExistsError):
        os.mkdir(name, dir_fd=descriptor)
        above = os.fstat(descriptor)
        with suppress(OSError):
            os.chown(name, above.st_uid, above.st_gid, dir_fd=descriptor, follow_symlinks=False)


def _refuse_irregular(status: os.stat_result, path: Path) -> None:
    if stat.S_ISLNK(status.st_mode):
        raise InvalidInput(f"{path} is a symbolic link, which is not followed; put the file itself there.", path=str(path))
    if not stat.S_ISREG(status.st_mode):
        raise InvalidInput(f"{path} is no file; remove it, or name it otherwise.", path=str(path))


def _named(error: OSError, path: Path) -> Exception:
    if error.errno == errno.ENOENT:
        return NotFound(f"there is no {path}.", path=str(path))
    if error.errno in (errno.ELOOP, errno.ENOTDIR, errno.EMLINK):
        return InvalidInput(f"{path} is a symbolic link or no directory; no such is followed.", path=str(path))
    if error.errno == errno.ENAMETOOLONG:
        return InvalidInput(f"{path} is too long a name.", path=str(path))
    return OSError(error.errno, error.strerror, str(path))
