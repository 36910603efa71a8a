"""Which session a new SDK session of Claude Code belongs to: the one that its environment names, or the workflow that it was cleared in."""

import logging
from collections.abc import Iterable
from datetime import timedelta
from pathlib import PurePosixPath, PureWindowsPath
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncSession

from session_db.capture.hook_events import HookEvent
from session_db.crud.sdk_sessions import bind_sdk_session, get_sdk_session, main_agent_id, sdk_key
from session_db.crud.sessions import get_nearest_session, get_session
from session_db.errors import SessionDBError
from session_db.models import Session
from session_db.models.sessions import normalised_directory
from session_db.models.text import readable

CLEARING = timedelta(seconds=10)
"""A session begins at once where another one was cleared; later it has nothing to do with it."""

_LONGEST_PATH = 4096
_DEEPEST_PATH = 100
"""Characters of a directory, and directories above it, in which a slug is looked for: a client may say anything of where it runs."""

logger = logging.getLogger(__name__)


async def find_session(db: AsyncSession, wanted: str, directory: str | None) -> Session | None:
    """Return the session with this id, or with this slug in the directory or the nearest one above it."""
    try:
        return await get_session(db, UUID(wanted))
    except ValueError:
        pass
    return await get_nearest_session(db, readable(wanted), _and_above(directory)) if directory else None


def _and_above(directory: str) -> list[str]:
    """Return a directory and those above it, the nearest first."""
    whole = normalised_directory(readable(directory))
    if len(whole) > _LONGEST_PATH:
        return []
    path = PurePosixPath(whole) if whole.startswith("/") else PureWindowsPath(whole)
    return [str(path), *map(str, path.parents[:_DEEPEST_PATH])]


async def bind_as_wanted(db: AsyncSession, event: HookEvent, cleared: HookEvent | None) -> None:
    """Bind an SDK session that is not bound yet to the session that its environment names, or to the workflow that goes on in it.

    Args:
        db: the database session.
        event: the first that is known of the SDK session.
        cleared: the end of the one that was cleared to begin it.
    """
    key = _key_of(event)
    if await get_sdk_session(db, key) is not None:
        return
    session = await _named(db, event)
    if session is None and cleared is not None:
        session = await _session_of(db, cleared)
        if session is not None and session.session_type == "chat":
            return
    if session is not None:
        await bind_sdk_session(db, key, session.id, main_agent_id(session.id, event.sdk_session_id), "environment")


def begins_cleared(event: HookEvent) -> bool:
    """Say whether an event begins an SDK session where another one was cleared."""
    return event.name == "SessionStart" and event.word("source") == "clear"


def cleared_before(event: HookEvent, others: Iterable[HookEvent]) -> HookEvent | None:
    """Return the end of the SDK session that was cleared to begin this one: the same process told of both, one right after the other."""
    ends = [
        other
        for other in others
        if other.name == "SessionEnd"
        and other.word("reason") == "clear"
        and _process_of(other) == _process_of(event) != (event.captured.host, None)
        and timedelta(0) <= event.captured.captured_at - other.captured.captured_at < CLEARING
    ]
    return max(ends, key=lambda end: end.captured.captured_at, default=None)


async def note_cleared(db: AsyncSession, session: Session, cleared: HookEvent | None) -> None:
    """Note which session was cleared to begin this one. The caller holds this one's lock."""
    if cleared is None or session.cleared_from is not None:
        return
    before = await _session_of(db, cleared)
    if before is not None and before.id != session.id:
        session.cleared_from = before.id


async def _named(db: AsyncSession, event: HookEvent) -> Session | None:
    """Return the session that the agent's environment names."""
    wanted = event.captured.environment.get("SESSION_DB_SESSION")
    if not wanted:
        return None
    try:
        session = await find_session(db, wanted, event.word("cwd"))
    except SessionDBError as error:
        logger.warning("SESSION_DB_SESSION=%s: %s", wanted, error.message)
        session = None
    if session is None:
        logger.warning("SESSION_DB_SESSION=%s names no session; the agent gets one of its own.", wanted)
    return session


async def _session_of(db: AsyncSession, event: HookEvent) -> Session | None:
    binding = await get_sdk_session(db, _key_of(event))
    return None if binding is None or binding.session_id is None else await get_session(db, binding.session_id)


def _key_of(event: HookEvent) -> str:
    return sdk_key(event.sdk_session_id, event.project_key)


def _process_of(event: HookEvent) -> tuple[str, str | None]:
    return event.captured.host, event.captured.environment.get("CLAUDE_PID")
