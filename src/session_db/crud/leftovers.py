"""Leftovers: sessions that were deleted and never erased, and sessions that nothing ever happened in."""

from datetime import datetime
from uuid import UUID

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession
from sqlmodel import col

from session_db.crud.rows import run
from session_db.models import Session

WALKED = 10_000
"""Sessions that are looked at for empty ones, the last active first."""


async def list_unerased(db: AsyncSession, *, before: datetime, limit: int = 1000) -> list[UUID]:
    """Return sessions that were deleted before a moment and whose rows are still there."""
    deleted = select(col(Session.id)).where(col(Session.deleted_at).is_not(None), col(Session.deleted_at) < before)
    return list((await run(db, deleted.order_by(col(Session.id)).limit(limit))).scalars())


async def list_empty(db: AsyncSession, *, before: datetime, limit: int = 1000) -> list[UUID]:
    """Return sessions without events and without messages in which nothing happened since a moment, the last active first.

    Only the last 10,000 of those are looked at.
    """
    newest = (col(Session.last_activity).desc(), col(Session.id).desc())
    columns = (col(Session.id), col(Session.event_count), col(Session.message_count))
    quiet = select(*columns).where(col(Session.last_activity) < before, col(Session.deleted_at).is_(None))
    walked = quiet.order_by(*newest).limit(WALKED).subquery()
    empty = select(walked.c.id).where(walked.c.event_count == 0, walked.c.message_count == 0).limit(limit)
    return list((await run(db, empty)).scalars())
