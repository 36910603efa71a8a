"""Erasing: the rows of deleted sessions go in bounded batches."""

from uuid import UUID

from sqlalchemy import delete, select
from sqlalchemy.ext.asyncio import AsyncSession
from sqlmodel import col

from session_db.crud.rows import run
from session_db.models import ActivityMinute, Agent, AgentLog, MemoryFile, Message, Session, Transcript, TranscriptEntry, Usage

BATCH = 5_000
"""Rows that one call deletes at most of a large table."""


async def erase_deleted_sessions(db: AsyncSession, session_id: UUID | None = None) -> int:
    """Delete one batch of rows of deleted sessions, one session at a time; return how many rows went.

    Call it, and commit, until it returns 0. A caller that is killed between two calls loses nothing: the next one goes on.
    """
    query = select(col(Session.id)).where(col(Session.deleted_at).is_not(None)).order_by(col(Session.id)).limit(1).with_for_update()
    if session_id is not None:
        query = query.where(col(Session.id) == session_id)
    found = (await run(db, query)).scalar()
    if found is None:
        return 0
    for table, key in ((AgentLog, AgentLog.event_index), (Message, Message.message_index)):
        gone = await _erase_range(db, table, key, found)
        if gone:
            return gone
    gone = await _erase_entries(db, found)
    if gone:
        return gone
    rows = 0
    for small in (Transcript, Usage, MemoryFile, ActivityMinute, Agent):
        erased = await db.execute(delete(small).where(col(small.session_id) == found).execution_options(synchronize_session=False))
        rows += getattr(erased, "rowcount", 0)
    await db.execute(delete(Session).where(col(Session.id) == found).execution_options(synchronize_session=False))
    return rows + 1


async def _erase_range(db: AsyncSession, table: type[AgentLog | Message], key: int, session_id: UUID) -> int:
    """Delete the rows with the lowest indexes: a range of one index, read in its order."""
    lowest = select(col(key)).where(col(table.session_id) == session_id).order_by(col(key)).limit(BATCH)
    erased = await db.execute(
        delete(table).where(col(table.session_id) == session_id, col(key).in_(lowest)).execution_options(synchronize_session=False)
    )
    return int(getattr(erased, "rowcount", 0))


async def _erase_entries(db: AsyncSession, session_id: UUID) -> int:
    transcript = await db.scalar(select(col(TranscriptEntry.transcript_id)).where(col(TranscriptEntry.session_id) == session_id).limit(1))
    if transcript is None:
        return 0
    here = (col(TranscriptEntry.session_id) == session_id, col(TranscriptEntry.transcript_id) == transcript)
    lowest = select(col(TranscriptEntry.seq)).where(*here).order_by(col(TranscriptEntry.seq)).limit(BATCH)
    erased = await db.execute(
        delete(TranscriptEntry).where(*here, col(TranscriptEntry.seq).in_(lowest)).execution_options(synchronize_session=False)
    )
    return int(getattr(erased, "rowcount", 0))
