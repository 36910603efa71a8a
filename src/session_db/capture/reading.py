"""Reading the transcripts that events name: only of this machine, and only where they may be opened."""

import logging
import os
import stat
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from uuid import UUID

from session_db.capture.hook_events import READS_TRANSCRIPT, HookEvent
from session_db.capture.importer import import_recordings
from session_db.crud.transcripts import forget_host, list_pending_transcripts
from session_db.database import UnitOfWork, get_async_session, in_transaction
from session_db.database.violations import DRIVER_ERRORS
from session_db.errors import Unavailable
from session_db.models.text import readable
from session_db.settings import Settings

logger = logging.getLogger(__name__)


@dataclass
class ReadReport:
    """Which transcripts were read, and what could not be."""

    transcripts: set[Path] = field(default_factory=set)
    unread: list[str] = field(default_factory=list)


async def read_transcript(transcript: Path, report: ReadReport) -> bool:
    """Read what a transcript has beyond what was read of it, and return whether that went well; one that cannot be holds up nothing."""
    try:
        read = await import_recordings([transcript])
    except (Unavailable, *DRIVER_ERRORS):
        raise
    except Exception as error:
        logger.exception("the transcript %s could not be read", transcript)
        report.unread.append(f"{transcript}: {error}")
        return False
    report.transcripts.add(transcript)
    report.unread += [f"{problem.path}: {problem.reason}" for problem in read.problems.values()]
    return (transcript, 0) not in read.problems


async def read_pending(settings: Settings, report: ReadReport) -> None:
    """Read the transcripts of this machine that could not be read when their sessions ended.

    One that is gone is waited for no longer: what hooks told of it stays.
    """
    cursor: str | None = None
    while True:
        async with get_async_session() as db:
            page = await list_pending_transcripts(db, os.uname().nodename, cursor=cursor)
            pending = [(stream.session_id, stream.id, stream.sdk_session_id, stream.file_path) for stream in page]
        for session_id, transcript_id, sdk_session_id, named in pending:
            path = _opened(named, sdk_session_id, directories_of(settings))
            if path is not None:
                await read_transcript(path, report)
            elif _is_gone(named):
                await in_transaction(_Forget(session_id, transcript_id))
        cursor = page.next_cursor
        if cursor is None:
            return


@dataclass(frozen=True)
class _Forget:
    session_id: UUID
    transcript_id: UUID

    async def __call__(self, db: UnitOfWork) -> None:
        await forget_host(db, self.session_id, self.transcript_id)


def transcript_of(event: HookEvent, settings: Settings) -> Path | None:
    """Return the transcript that has something new after an event, where it is one of this machine and may be read.

    Raises nothing: a path from outside is not trusted, and one that is no transcript is left.
    """
    if event.name not in READS_TRANSCRIPT or event.captured.host != os.uname().nodename:
        return None
    if event.captured.environment.get("SESSION_DB_RECORDER"):
        # Its entries come by the store.
        return None
    directories = directories_of(settings, Path(event.captured.environment.get("CLAUDE_CONFIG_DIR", "")))
    return _opened(event.word("transcript_path"), event.sdk_session_id, directories)


def host_of(event: HookEvent) -> str | None:
    """Return the machine that has the transcript which an event names; None where there is none."""
    host, named = event.captured.host, event.word("transcript_path")
    return None if named is None or (host == os.uname().nodename and not _is_there(named)) else readable(host)[:255]


def _opened(named: str | None, sdk_session_id: str, directories: Iterable[Path]) -> Path | None:
    try:
        path = Path(named or "").resolve(strict=True)
        is_regular = stat.S_ISREG(path.stat().st_mode)
        is_below = any(path.is_relative_to((directory / "projects").resolve()) for directory in directories)
    except (OSError, ValueError, RuntimeError):
        return None
    return path if is_regular and is_below and path.name == f"{sdk_session_id}.jsonl" else None


def _is_gone(named: str | None) -> bool:
    """Say whether a transcript of this machine is there no more. Where not even its folder is, another machine of this name may have it."""
    return named is None or (_is_there(str(Path(named).parent)) and not _is_there(named))


def _is_there(named: str | None) -> bool:
    """Say whether a file has this name, whatever it is; where nobody can say it, there may be one."""
    try:
        os.lstat(named or "")
    except (FileNotFoundError, NotADirectoryError, ValueError):
        return False
    except OSError:
        return True
    return True


def directories_of(settings: Settings, *more: Path) -> list[Path]:
    """Return the client's directories that may be read; a relative one would lead to wherever this runs."""
    named = [*(Path(directory).expanduser() for directory in settings.claude_dirs.split(os.pathsep)), *more]
    return [directory for directory in named if directory.is_absolute()]
