"""What a violated constraint means to the caller."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Any
from weakref import WeakValueDictionary

from sqlalchemy import inspect
from sqlalchemy.exc import DBAPIError, IntegrityError, InvalidRequestError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError
from sqlalchemy.ext.asyncio import AsyncSession

from session_db.errors import AlreadyExists, Conflict, InvalidInput, NotFound, SessionDBError, Unavailable

_TAKEN = {
    "pk_sessions": "a session with this id exists already; use another session_id, or get the one that is there.",
    "uq_sessions_working_dir_session_slug": "this working_dir has a session with this slug already; use another session_slug.",
    "pk_agents": "this session has an agent with this id already; use another id.",
    "pk_agent_logs": "this session has an event with this id already.",
    "pk_messages": "this session has a message with this index already.",
    "uq_messages_session_id_client_id": "this session has a message with this client_id already.",
    "uq_memory_files_session_id_file_path": "this session has a memory file with this path already; update that one.",
    "uq_memory_files_session_id_primary": "this session has a primary memory file already.",
    "pk_clip_versions": "this clip has this version already; read it again and repeat the change.",
    "pk_clips": "a clip with this clip_id exists already; use another clip_id.",
    "pk_songs": "a song with this song_id exists already; use another song_id.",
    "pk_playlists": "a playlist with this playlist_id exists already; use another playlist_id.",
}
_MISSING = {
    "fk_agents_session_id_sessions": "there is no session with this id.",
    "fk_agents_parent": "the parent agent is not in this session.",
    "fk_agent_logs_session_id_sessions": "there is no session with this id.",
    "fk_agent_logs_agent": "the agent is not in this session; create it first, or leave agent_id out.",
    "fk_messages_session_id_sessions": "there is no session with this id.",
    "fk_memory_files_session_id_sessions": "there is no session with this id.",
    "fk_usage_agent": "the agent is not in this session.",
}
_REFUSED = {
    "ck_sessions_status": "the status does not fit the session's type.",
    "ck_sessions_session_type": "the session type is unknown.",
    "ck_agents_status": "the agent's status is unknown.",
    "ck_agent_logs_event_category": "the event category is unknown.",
}
POOLER_REMEDY = "Behind PgBouncer, or another pooler that hands out a connection for a transaction, set SESSION_DB_POOLER=transaction."

_UNAVAILABLE = {
    "08": "the connection to the database broke; begin the transaction anew.",
    "25P03": "the transaction waited too long for its next statement and was ended; begin it anew.",
    "26000": f"the database lost a prepared statement, as happens behind a pooler. {POOLER_REMEDY}",
    "42P05": f"the database has a prepared statement of another client, as happens behind a pooler. {POOLER_REMEDY}",
    "53": "the database has no room left (disk, memory or connections); free some, and begin the transaction anew.",
    "55P03": "a row stayed locked for too long; begin the transaction anew.",
    "57014": "the statement took longer than the server allows; begin the transaction anew, or raise its statement_timeout.",
    "57P": "the database was shut down, or ended the connection; begin the transaction anew.",
}
"""By the beginning of the SQLSTATE."""

_TOO_SLOW = "the database took longer than SESSION_DB_COMMAND_TIMEOUT seconds; begin the transaction anew, or raise the limit."
_POOL_EMPTY = "all connections of this process stayed in use; end transactions sooner, or raise SESSION_DB_POOL_SIZE."

DRIVER_ERRORS = (DBAPIError, TimeoutError, PoolTimeoutError)
"""What ``translate`` translates."""

CONSTRAINTS: dict[str, tuple[type[SessionDBError], str]] = {
    **{name: (AlreadyExists, message) for name, message in _TAKEN.items()},
    **{name: (NotFound, message) for name, message in _MISSING.items()},
    **{name: (InvalidInput, message) for name, message in _REFUSED.items()},
}


@asynccontextmanager
async def translated(db: AsyncSession, **details: Any) -> AsyncIterator[None]:
    """Flush what the block adds, and turn the driver's errors into ours, the driver's as ``__cause__``.

    It works behind a savepoint, so that a caller who catches the error can go on with its transaction.

    Args:
        db: the database session.
        details: the ids involved; they stand in the message and in ``details`` of the error.
    """
    try:
        async with db.begin_nested():
            yield
            await db.flush()
    except SessionDBError:
        await _reload(db)
        raise
    except DRIVER_ERRORS as error:
        ours = translate(error, **details)
        if ours is None:
            raise
        if not isinstance(ours, Unavailable):
            await _reload(db)
        raise ours from error


def note_moved(db: AsyncSession, row: Any) -> None:
    """Remember a row whose values SQLAlchemy does not know to be a savepoint's: ``translated`` reads it again where that fails."""
    db.info.setdefault("moved", WeakValueDictionary())[inspect(row).key] = row


async def _reload(db: AsyncSession) -> None:
    """Read again what the end of the savepoint expired or undid: asyncio has no reading at the touch of an attribute."""
    expired = [row for row in db.sync_session.identity_map.values() if inspect(row).expired]
    for row in [*expired, *db.info.pop("moved", {}).values()]:
        # One that is gone has nothing to show.
        with suppress(InvalidRequestError):
            await db.refresh(row)


def translate(error: DBAPIError | TimeoutError | PoolTimeoutError, **details: Any) -> SessionDBError | None:
    """Return our error for the driver's, or None where it has no meaning of its own."""
    if not isinstance(error, DBAPIError):
        return Unavailable((_POOL_EMPTY if isinstance(error, PoolTimeoutError) else _TOO_SLOW) + _shown(details), **details)
    driver = error.driver_exception
    if isinstance(error, IntegrityError):
        return violation(getattr(driver, "constraint_name", None), **details)
    sqlstate = getattr(driver, "sqlstate", None) or ""
    if sqlstate.startswith(("22", "54")):
        return InvalidInput(f"the database cannot take a value: {driver}{_shown(details)}", **details)
    reason = next((text for beginning, text in _UNAVAILABLE.items() if sqlstate.startswith(beginning)), None)
    if reason is None and error.connection_invalidated:
        reason = _UNAVAILABLE["08"]
    return Unavailable(f"{reason} ({driver}){_shown(details)}", **details) if reason else None


def violation(constraint: str | None, **details: Any) -> SessionDBError:
    """Return the error that a violated constraint means."""
    family, message = CONSTRAINTS.get(constraint or "", (Conflict, f"the database refused it by {constraint}."))
    return family(message + _shown(details), constraint=constraint, **details)


def _shown(details: dict[str, Any]) -> str:
    return f" ({', '.join(f'{name}={value}' for name, value in details.items())})" if details else ""
