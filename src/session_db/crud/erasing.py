"""Erasing: the rows of deleted sessions go in bounded batches, and a report tells what goes.

The counters of a deleted session say what is left of it, its metadata how many rows went, by table. So a batch finds its rows without a
walk over those that went before and are not vacuumed yet, and an erasing that was killed goes on.
"""

from collections import Counter
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from sqlalchemy import delete, func, select
from sqlalchemy.ext.asyncio import AsyncSession
from sqlmodel import col

from session_db.crud.rows import one_or_none
from session_db.models import ActivityMinute, Agent, AgentLog, MemoryFile, Message, Session, Transcript, TranscriptEntry, Usage
from session_db.models.table import now

BATCH = 2_000
"""Rows that one call deletes at most of a large table."""

_SMALL: tuple[Any, ...] = (Transcript, MemoryFile, ActivityMinute, Agent)
"""Tables whose rows go together, with the session itself; in this order nothing points at what is deleted."""


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
    # From now on it tells how many rows went.
    session.metadata_ = {}


async def get_deleted_session(db: AsyncSession, session_id: UUID) -> Session | None:
    """Return a session that was deleted and is still being erased, or None where there is none."""
    query = select(Session).where(col(Session.id) == session_id, col(Session.deleted_at).is_not(None))
    session: Session | None = await one_or_none(db, query)
    return session


async def get_erasure_report(db: AsyncSession, session_id: UUID) -> ErasureReport | None:
    """Return what the deletion of a session takes away, or None where no deleted session with this id is left.

    It tells of all rows, before the erasing and after any part of it. Costs a count of the session's usage, agents, minutes and files.
    """
    session = await get_deleted_session(db, session_id)
    if session is None:
        return None
    query = select(col(Transcript.project_key), col(Transcript.sdk_session_id), col(Transcript.subpath), col(Transcript.next_seq))
    streams = (await db.execute(query.where(col(Transcript.session_id) == session_id))).all()
    left = {
        Session.__tablename__: 1,
        AgentLog.__tablename__: session.event_count,
        Message.__tablename__: session.message_count,
        TranscriptEntry.__tablename__: sum(entries for *_, entries in streams),
    }
    for table in (Usage, *_SMALL):
        left[table.__tablename__] = await db.scalar(select(func.count()).where(col(table.session_id) == session_id)) or 0
    rows = {table: number + session.metadata_.get(table, 0) for table, number in left.items()}
    below = Counter((project, sdk_session) for project, sdk_session, subpath, _ in streams if subpath)
    lost = sorted((project, sdk_session) for project, sdk_session, subpath, _ in streams if not subpath)
    return ErasureReport(session_id, rows, sum(left.values()), [LostTranscript(*stream, subpaths=below[stream]) for stream in lost])


async def erase_deleted_sessions(db: AsyncSession, session_id: UUID | None = None) -> int:
    """Delete one batch of rows of deleted sessions, one session at a time; return how many rows went.

    Call it, and commit, until it returns 0: ``in_batches`` does. A caller that is killed between two calls loses nothing: the next one
    goes on.
    """
    query = select(Session).where(col(Session.deleted_at).is_not(None)).order_by(col(Session.id)).limit(1).with_for_update()
    if session_id is not None:
        query = query.where(col(Session.id) == session_id)
    session: Session | None = await one_or_none(db, query)
    if session is None:
        return 0
    for erase in (_erase_events, _erase_messages, _erase_entries, _erase_usage):
        table, gone = await erase(db, session)
        if gone:
            session.metadata_ = {**session.metadata_, table: session.metadata_.get(table, 0) + gone}
            await db.flush()
            return gone
    gone = 0
    for small in _SMALL:
        gone += await _delete(db, delete(small).where(col(small.session_id) == session.id))
    return gone + await _delete(db, delete(Session).where(col(Session.id) == session.id))


async def _erase_events(db: AsyncSession, session: Session) -> tuple[str, int]:
    rows = delete(AgentLog).where(col(AgentLog.session_id) == session.id)
    return AgentLog.__tablename__, await _erase_from_end(db, session, "event_count", rows, AgentLog.event_index)


async def _erase_messages(db: AsyncSession, session: Session) -> tuple[str, int]:
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
