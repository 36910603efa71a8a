"""Erasing: the rows of deleted sessions go in bounded batches, and a report tells what goes.

The counters of a deleted session say what is left of it, its metadata how many rows went, by table. So a batch finds its rows without a
walk over those that went before and are not vacuumed yet, and an erasing that was killed goes on.
"""

import functools
from collections import Counter
from collections.abc import Awaitable, Callable, Collection
from dataclasses import dataclass
from itertools import accumulate
from typing import Any
from uuid import UUID

from sqlalchemy import Uuid, delete, func, select, text, update
from sqlalchemy.ext.asyncio import AsyncSession
from sqlmodel import col

from session_db.crud.rows import one_of, one_or_none, run
from session_db.database.violations import translated
from session_db.errors import Conflict, SessionDBError
from session_db.models import ActivityMinute, Agent, AgentLog, MemoryFile, Message, Session, Transcript, TranscriptEntry, Usage
from session_db.models.table import now

BATCH = 2_000
"""Rows that one call deletes at most of a large table."""

SHORT = 100
"""Deleted sessions that go together at most: short ones, with no more than ``BATCH`` rows of large tables between them."""

_LARGE: tuple[Any, ...] = (AgentLog, Message, TranscriptEntry, Usage)

_SMALL: tuple[Any, ...] = (Transcript, MemoryFile, ActivityMinute, Agent)
"""Tables whose rows go together, with the session itself: a report is complete to the end. In this order nothing points at what goes."""

_ERASED = "session_db_erased"
"""Key in the metadata of a deleted session: how many rows went, by table."""


@dataclass(frozen=True)
class LostTranscript:
    """A conversation that its client cannot resume from here any more, and how many streams of sub-agents and files lay below it."""

    project_key: str
    sdk_session_id: str
    subpaths: int


@dataclass(frozen=True)
class ErasureReport:
    """What a deletion takes away: rows by table, how many of them are still there, and the transcripts."""

    session_id: UUID
    rows: dict[str, int]
    rows_left: int
    transcripts: list[LostTranscript]


def mark_deleted(session: Session) -> None:
    """Let a session, locked by the caller, be gone from every read; its rows go with ``erase_deleted_sessions``."""
    session.deleted_at = now()
    # The slug is free again at once.
    session.session_slug = None
    session.metadata_ = {_ERASED: {}}


async def mark_all_deleted(db: AsyncSession, session_ids: Collection[UUID]) -> None:
    """Do the same to several sessions in one statement."""
    marked: dict[str, Any] = {"deleted_at": now(), "session_slug": None, "metadata_": {_ERASED: {}}}
    those = update(Session).where(col(Session.id) == one_of(session_ids, Uuid)).values(marked)
    await run(db, those.execution_options(synchronize_session=False))


async def get_deleted_session(db: AsyncSession, session_id: UUID) -> Session | None:
    """Return a session that was deleted and is still being erased, or None where there is none."""
    query = select(Session).where(col(Session.id) == session_id, col(Session.deleted_at).is_not(None))
    session: Session | None = await one_or_none(db, query)
    return session


async def get_erasure_report(db: AsyncSession, session_id: UUID) -> ErasureReport | None:
    """Return what the deletion of a session takes away, or None where no deleted session with this id is left.

    It tells of all rows, before the erasing and after any part of it. Costs a count of the session's usage, agents, minutes and files.
    Erasing of this session waits until the transaction ends.
    """
    # No batch may go between the statements below: each of them sees what was committed before it.
    session = await _lock_first(db, session_id)
    if session is None:
        return None
    columns = (col(Transcript.project_key), col(Transcript.sdk_session_id), col(Transcript.subpath), col(Transcript.next_seq))
    streams = (await db.execute(select(*columns).where(col(Transcript.session_id) == session_id))).all()
    left = {
        Session.__tablename__: 1,
        AgentLog.__tablename__: session.event_count,
        Message.__tablename__: session.message_count,
        TranscriptEntry.__tablename__: sum(entries for *_, entries in streams),
    }
    for table in (Usage, *_SMALL):
        left[table.__tablename__] = await db.scalar(select(func.count()).where(col(table.session_id) == session_id)) or 0
    erased = _erased(session)
    rows = {table: number + erased.get(table, 0) for table, number in left.items()}
    below = Counter((project, sdk_session) for project, sdk_session, subpath, _ in streams if subpath)
    lost = sorted((project, sdk_session) for project, sdk_session, subpath, _ in streams if not subpath)
    return ErasureReport(session_id, rows, sum(left.values()), [LostTranscript(*stream, subpaths=below[stream]) for stream in lost])


async def erase_deleted_sessions(db: AsyncSession, session_id: UUID | None = None) -> int:
    """Delete one batch of rows of deleted sessions, of one or of several short ones; return how many rows went.

    Call it, and commit, until it returns 0: ``in_batches`` does. A caller that is killed between two calls loses nothing: the next one
    goes on. Without an id, a session that cannot be erased is passed over and stays marked.

    Raises:
        Conflict: the session with this id cannot be erased, since a table of the application refers to it.
    """
    gone = 0 if session_id is not None else await _erase_short(db)
    if gone:
        return gone
    session = await _lock_first(db, session_id)
    while session is not None:
        this = session.id
        try:
            return await _behind_savepoint(db, functools.partial(_erase_next, db, session), this)
        except Conflict:
            if session_id is not None:
                raise
        session = await _lock_first(db, after=this)
    return 0


async def _erase_short(db: AsyncSession) -> int:
    """Delete the first deleted sessions whole, as long as they are short; 0 where they are not, or one of them cannot be erased.

    One statement a table for all of them: of a hundred thousand sessions with fifty events each, most of the time would go into statements.
    """
    deleted = col(Session.deleted_at).is_not(None)
    query = select(col(Session.id), col(Session.event_count) + col(Session.message_count)).where(deleted)
    first = (await run(db, query.order_by(col(Session.id)).limit(SHORT))).all()
    if len(first) < 2 or first[0][1] > BATCH:  # noqa: PLR2004  one goes by itself
        return 0
    those = col(Session.id) == one_of(await _short_of(db, dict(first)), Uuid)
    # Another eraser may have done some of them meanwhile.
    locked = list((await run(db, select(col(Session.id)).where(those, deleted).order_by(col(Session.id)).with_for_update())).scalars())
    try:
        return await _behind_savepoint(db, lambda: _erase_whole(db, locked), locked[0]) if len(locked) > 1 else 0
    except Conflict:
        return 0


async def _short_of(db: AsyncSession, rows: dict[UUID, int]) -> list[UUID]:
    """Return the first of these sessions, with their events and messages, as many as have no more than a batch of rows together."""
    here = col(Transcript.session_id) == one_of(rows, Uuid)
    entries = select(col(Transcript.session_id), func.sum(col(Transcript.next_seq))).where(here).group_by(col(Transcript.session_id))
    for session_id, number in await run(db, entries):
        rows[session_id] += int(number)
    sums = accumulate(rows.values())
    return [session_id for session_id, total in zip(rows, sums, strict=True) if total <= BATCH]


async def _erase_whole(db: AsyncSession, session_ids: list[UUID]) -> int:
    gone = 0
    for table in (*_LARGE, *_SMALL):
        gone += await _delete(db, delete(table).where(col(table.session_id) == one_of(session_ids, Uuid)))
    return gone + await _delete(db, delete(Session).where(col(Session.id) == one_of(session_ids, Uuid)))


async def _lock_first(db: AsyncSession, session_id: UUID | None = None, *, after: UUID | None = None) -> Session | None:
    """Lock the deleted session with this id, or the first one after an id, until the transaction ends and return it."""
    query = select(col(Session.id)).where(col(Session.deleted_at).is_not(None)).order_by(col(Session.id)).limit(1).with_for_update()
    if session_id is not None:
        query = query.where(col(Session.id) == session_id)
    if after is not None:
        query = query.where(col(Session.id) > after)
    locked = await one_or_none(db, query)
    if locked is None:
        return None
    # SQLAlchemy cannot load a session whose metadata are no object, as only a repair by hand leaves them.
    odd = update(Session).where(col(Session.id) == locked, func.jsonb_typeof(col(Session.metadata_)) != "object")
    await db.execute(odd.values(metadata_={}).execution_options(synchronize_session=False))
    session: Session | None = await one_or_none(db, select(Session).where(col(Session.id) == locked))
    return session


def _erased(session: Session) -> dict[str, int]:
    """Return how many rows went, by table; a session that an older release deleted kept the metadata that it had."""
    noted = session.metadata_.get(_ERASED)
    return noted if isinstance(noted, dict) and all(type(number) is int for number in noted.values()) else {}


async def _behind_savepoint(db: AsyncSession, erase: Callable[[], Awaitable[int]], session_id: UUID) -> int:
    """Delete rows, of the session with this id among others.

    Raises:
        Conflict: a foreign key of another table holds the rows.
    """
    try:
        async with translated(db, session_id=session_id):
            gone = await erase()
            # A deferred foreign key would let the whole transaction fail at its commit.
            await db.execute(text("SET CONSTRAINTS ALL IMMEDIATE"))
            return gone
    except SessionDBError as error:
        constraint = error.details.get("constraint")
        if constraint is None:
            raise
        raise Conflict(
            f"session {session_id} cannot be erased: rows of another table refer to it by {constraint}; delete those rows, or declare the "
            "foreign key with ON DELETE CASCADE, and erase again.",
            session_id=session_id,
            constraint=constraint,
        ) from error


async def _erase_next(db: AsyncSession, session: Session) -> int:
    for erase in (_erase_events, _erase_messages, _erase_entries, _erase_usage):
        table, rows = await erase(db, session)
        if rows:
            erased = _erased(session)
            session.metadata_ = {_ERASED: erased | {table: erased.get(table, 0) + rows}}
            return rows
    gone = 0
    for small in _SMALL:
        gone += await _delete(db, delete(small).where(col(small.session_id) == session.id))
    return gone + await _delete(db, delete(Session).where(col(Session.id) == session.id))


async def _erase_events(db: AsyncSession, session: Session) -> tuple[str, int]:
    await _raise_counter(db, session, "event_count", AgentLog, AgentLog.event_index)
    rows = delete(AgentLog).where(col(AgentLog.session_id) == session.id)
    return AgentLog.__tablename__, await _erase_from_end(db, session, "event_count", rows, AgentLog.event_index)


async def _erase_messages(db: AsyncSession, session: Session) -> tuple[str, int]:
    await _raise_counter(db, session, "message_count", Message, Message.message_index)
    rows = delete(Message).where(col(Message.session_id) == session.id)
    return Message.__tablename__, await _erase_from_end(db, session, "message_count", rows, Message.message_index)


async def _erase_entries(db: AsyncSession, session: Session) -> tuple[str, int]:
    filled = select(Transcript).where(col(Transcript.session_id) == session.id, col(Transcript.next_seq) > 0).limit(1)
    gone = 0
    # Most streams of sub-agents are short: a batch takes several.
    while gone < BATCH and (stream := await one_or_none(db, filled)):
        rows = delete(TranscriptEntry).where(col(TranscriptEntry.session_id) == session.id, col(TranscriptEntry.transcript_id) == stream.id)
        gone += await _erase_from_end(db, stream, "next_seq", rows, TranscriptEntry.seq)
        await db.flush()
    return TranscriptEntry.__tablename__, gone


async def _erase_usage(db: AsyncSession, session: Session) -> tuple[str, int]:
    here = col(Usage.session_id) == session.id
    some = select(col(Usage.message_id)).where(here).order_by(col(Usage.message_id)).limit(BATCH)
    return Usage.__tablename__, await _delete(db, delete(Usage).where(here, col(Usage.message_id).in_(some)))


async def _raise_counter(db: AsyncSession, session: Session, counter: str, table: Any, index: Any) -> None:
    """Let a counter that is too low, as after a repair by hand, reach the last row; once, before the first row of the table goes."""
    if table.__tablename__ in _erased(session):
        return
    last = await db.scalar(select(func.max(col(index))).where(col(table.session_id) == session.id))
    if last is not None and last >= getattr(session, counter):
        setattr(session, counter, last + 1)


async def _erase_from_end(db: AsyncSession, counted: Session | Transcript, counter: str, rows: Any, index: Any) -> int:
    """Delete the rows with the highest indexes, and lower the counter to what is left."""
    gone = 0
    while not gone and (end := getattr(counted, counter)):
        start = max(0, end - BATCH)
        # Bounded above as well: the index still leads to all rows that went before.
        gone = await _delete(db, rows.where(col(index) >= start, col(index) < end))
        setattr(counted, counter, start)
    return gone


async def _delete(db: AsyncSession, rows: Any) -> int:
    erased: Any = await db.execute(rows.execution_options(synchronize_session=False))
    return int(erased.rowcount)
