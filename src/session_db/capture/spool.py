"""The spool: where captured events wait on disk until they are in the database, a file each.

``tmp/`` holds what is being written, ``new/`` what waits, ``held/`` what is written and waits for its transcript, ``bad/`` what nobody
understands, each with its reason.
"""

import errno
import os
import stat
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import groupby
from pathlib import Path

from session_db.capture import hook
from session_db.errors import InvalidInput
from session_db.settings import Settings

HELD = "held"
BAD = "bad"
REASON = ".reason"

_NAME_BYTES = 255

_WALL = slice(30, 50)
"""Where the name of a file has the wall clock: behind the start of the machine and the time since then."""

_HALF_WRITTEN_SECONDS = 24 * 60 * 60
"""After that nobody writes on any more."""


@dataclass(frozen=True)
class Captured:
    """An event as it was captured.

    Attributes:
        name: its file; no two have the same, on any host.
        payload: what the client sent, byte for byte.
        captured_at: when, by the clock of the host.
        host: where.
        environment: the variables that say whose it is.
    """

    name: str
    payload: bytes
    captured_at: datetime
    host: str
    environment: dict[str, str]


@dataclass(frozen=True)
class SpoolState:
    """How much waits, since when, and how much was set aside."""

    waiting: int
    oldest: datetime | None
    bad: int


class Spool:
    """A spool directory; any number of processes may put, and one takes at a time.

    Args:
        directory: where it is.
        waiting: which of its events are named, read and removed: new, or held.
    """

    def __init__(self, directory: Path, waiting: str = hook.NEW) -> None:
        self.directory = directory
        self._temporary = directory / hook.TEMPORARY
        self._waiting = directory / waiting
        self._bad = directory / BAD

    @property
    def held(self) -> "Spool":
        """Its events that are written and wait for their transcripts."""
        return Spool(self.directory, HELD)

    def put(self, payload: bytes, environment: dict[str, str], host: str) -> str:
        """Put an event there so that it survives a crash of the machine, and return its name."""
        name = hook.write(str(self.directory), payload, environment, host)
        for path in (self.directory / hook.NEW / name, self.directory / hook.NEW):
            _sync(path)
        return name

    def names(self) -> Iterator[str]:
        """Give the names of what waits, in the order it was captured; what comes meanwhile is left for the next time."""
        # Since each start of the machine the clock begins anew: the wall clock orders the starts.
        boots = [list(of_boot) for _, of_boot in groupby(sorted(self._names()), _boot_of)]
        for of_boot in sorted(boots, key=lambda of_boot: min(map(_wall_of, of_boot))):
            yield from of_boot

    def names_before(self, moment: datetime) -> list[str]:
        """Return the names of what was captured before a moment, the oldest first; a clock that was ahead is no reason to wait."""
        # As texts: what is held is looked through twice a second.
        earliest, latest = (f"{int(each.timestamp() * 1e9):020d}" for each in (moment, datetime.now(UTC)))
        return sorted((name for name in self._names() if not earliest <= name[_WALL] <= latest), key=_wall_of)

    def names_from(self, moment: datetime) -> list[str]:
        """Return the names of what was captured since a moment."""
        earliest = f"{int(moment.timestamp() * 1e9):020d}"
        return [name for name in self._names() if name[_WALL] >= earliest]

    def _names(self) -> list[str]:
        try:
            with os.scandir(self._waiting) as entries:
                return [entry.name for entry in entries]
        except FileNotFoundError:
            return []

    def read(self, name: str) -> Captured:
        """Read an event.

        Raises:
            InvalidInput: it is none.
            FileNotFoundError: somebody else took it.
        """
        header, separator, payload = _content(self._waiting / name).partition(b"\n\n")
        try:
            facts = dict(line.split("=", 1) for line in header.decode("ascii").splitlines())
            facts = {key: value.encode().decode("unicode_escape") for key, value in facts.items()}
            captured_at = datetime.fromtimestamp(int(facts.pop("captured_at")) / 1e9, UTC)
            host = facts.pop("host")
        except (KeyError, ValueError, OverflowError, OSError) as error:
            raise InvalidInput(f"the spooled file {name} has no header of ours: {error}", name=name) from error
        if not separator:
            raise InvalidInput(f"the spooled file {name} ends in its header.", name=name)
        return Captured(name, payload, captured_at, host, facts)

    def remove(self, name: str) -> None:
        """Forget an event: it is in the database."""
        (self._waiting / name).unlink(missing_ok=True)

    def hold(self, name: str) -> None:
        """Keep an event that is written, out of the way of the others."""
        held = self.directory / HELD
        held.mkdir(mode=0o700, exist_ok=True)
        with suppress(FileNotFoundError):
            (self._waiting / name).replace(held / name)

    def set_aside(self, name: str, reason: str) -> None:
        """Keep an event that nobody understands, with the reason, out of the way of the others."""
        self._bad.mkdir(mode=0o700, exist_ok=True)
        # A name may be as long as the file system lets it be.
        explanation = self._bad / (os.fsdecode(os.fsencode(name)[: _NAME_BYTES - len(REASON)]) + REASON)
        explanation.touch(mode=0o600)
        explanation.write_text(f"{reason}\n", encoding="utf-8", errors="backslashreplace")
        (self._waiting / name).replace(self._bad / name)

    def sweep(self) -> None:
        """Remove what writers that were killed left half written long ago."""
        with suppress(FileNotFoundError):
            for path in self._temporary.iterdir():
                if path.lstat().st_mtime < time.time() - _HALF_WRITTEN_SECONDS:
                    path.unlink(missing_ok=True)

    def state(self) -> SpoolState:
        """Say how much is there. Costs a look at the names of all."""
        names = list(self.names())
        bad = sum(path.suffix != REASON for path in self._bad.iterdir()) if self._bad.is_dir() else 0
        oldest = datetime.fromtimestamp(min(map(_wall_of, names)) / 1e9, UTC) if names else None
        return SpoolState(len(names), oldest, bad)


def spool_of(settings: Settings) -> Spool:
    """Return the spool of this home."""
    return Spool(settings.home / "spool")


def _content(path: Path) -> bytes:
    """Read a file of ours; what else lies there is neither followed nor waited for.

    Raises:
        InvalidInput: it is a link, a directory, a pipe, or not ours to read.
    """
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    except OSError as error:
        if error.errno in (errno.ELOOP, errno.EACCES, errno.EPERM, errno.ENXIO):
            raise InvalidInput(f"the spooled file {path.name} cannot be read: {error.strerror}.", name=path.name) from error
        raise
    try:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise InvalidInput(f"the spooled file {path.name} is no regular file.", name=path.name)
        with os.fdopen(descriptor, "rb", closefd=False) as file:
            return file.read()
    finally:
        os.close(descriptor)


def _boot_of(name: str) -> str:
    return name.partition("-")[0]


def _wall_of(name: str) -> int:
    """Return when a file was captured, in nanoseconds; 0 where its name is none of ours."""
    parts = name.split("-")
    return int(parts[2]) if len(parts) == 4 and parts[2].isdecimal() and len(parts[2]) == 20 else 0  # noqa: PLR2004  as hook.write names it


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
