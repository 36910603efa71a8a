"""Cleaning: old sessions are deleted whole, a page at a time, and never one that is in use or pinned."""

from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import ColumnElement, Uuid, false, func, or_, select, true, tuple_
from sqlalchemy.ext.asyncio import AsyncSession
from sqlmodel import col

from session_db.crud.erasing import mark_all_deleted
from session_db.crud.paging import Page, checked_limit, decode_cursor, read_page
from session_db.crud.rows import one_of, run
from session_db.crud.sdk_sessions import leave_tombstones
from session_db.live import note_changed
from session_db.models import Agent, Presence, Session
from session_db.models.table import as_utc

CLEANED = 100
"""Sessions that one call deletes: their locks are held until the commit."""


def is_in_use() -> ColumnElement[bool]:
    """Return the condition that something goes on in a session: an agent works or waits in it, or a client is connected to it."""
    living = (col(Presence.session_id) == col(Session.id)) & (col(Presence.expires_at) > func.now())
    return or_(col(Session.activity).in_(("working", "waiting")), has_executing(), _any(living))


def has_executing() -> ColumnElement[bool]:
    """Return the condition that an agent works in a session."""
    return _any((col(Agent.session_id) == col(Session.id)) & (col(Agent.status) == "executing"))


def _any(condition: ColumnElement[bool]) -> ColumnElement[bool]:
    """Return the condition that there is such a row."""
    # Of EXISTS inside of OR the server makes a table of all rows of all sessions; a value it reads for each session that it looks at.
    return func.coalesce(select(true()).where(condition).limit(1).scalar_subquery(), false())


async def cleanup_sessions(  # noqa: PLR0913  filters, each by its name
    db: AsyncSession,
    *,
    before: datetime,
    status: str | None = None,
    session_type: str | None = None,
    limit: int = CLEANED,
    cursor: str | None = None,
) -> Page[UUID]:
    """Delete a page of the sessions in which nothing happened since a moment, the longest ago first; return which.

    Never one that is pinned, where an agent works or waits, or to which a client is connected: each is looked at again under its lock, and
    one that something happened in meanwhile stays. As after ``delete_session`` their rows go with ``erase_deleted_sessions``, and neither
    an import nor a late event brings them back. Call it, and commit, with ``next_cursor`` until that is None: a page may be short, or
    empty, and have a next one.

    Args:
        db: the database session.
        before: only those whose ``last_activity`` is before it.
        status: only those with this status.
        session_type: only this type.
        limit: sessions a page, 1 to 1000; they stay locked until the transaction ends.
        cursor: ``next_cursor`` of the page before.
    """
    page = await list_old_sessions(db, before=before, status=status, session_type=session_type, limit=limit, cursor=cursor)
    for session_id in sorted(session.id for session in page):
        await _lock(db, session_id)
    # A statement of its own: it sees what was committed while the locks were waited for.
    locked = col(Session.id) == one_of((session.id for session in page), Uuid)
    still = select(col(Session.id)).where(locked, *_indexed(before, status, session_type), *_not_indexed(session_type))
    deleted = list((await run(db, still)).scalars())
    if deleted:
        await mark_all_deleted(db, deleted)
        await leave_tombstones(db, deleted)
        for session_id in deleted:
            note_changed(db, session_id)
    return Page(deleted, page.next_cursor)


async def _lock(db: AsyncSession, session_id: UUID) -> None:
    """Lock a session as every writer does, and read nothing of it."""
    await run(db, select(col(Session.id)).where(col(Session.id) == session_id).with_for_update(key_share=True))


async def list_old_sessions(  # noqa: PLR0913  filters, each by its name
    db: AsyncSession,
    *,
    before: datetime,
    status: str | None = None,
    session_type: str | None = None,
    limit: int = 50,
    cursor: str | None = None,
) -> Page[Session]:
    """Return the sessions that ``cleanup_sessions`` would delete now, those first that were active the longest ago.

    A page looks at 10,000 sessions at most, and may be short or empty and have a next one.
    """
    checked_limit(limit)
    query = select(Session).where(*_indexed(before, status, session_type))
    key = (col(Session.last_activity), col(Session.id))
    if cursor is not None:
        query = query.where(tuple_(*key) > tuple_(*decode_cursor(cursor, datetime, UUID)))
    return await read_page(db, query, *key, limit=limit, filters=_not_indexed(session_type))


def _indexed(before: datetime, status: str | None, session_type: str | None) -> list[Any]:
    """Return the conditions that an index in the order of the list has: that of the status, or else of the type, or of the time alone."""
    conditions = [col(Session.deleted_at).is_(None), col(Session.last_activity) < as_utc(before)]
    if status is not None:
        return [*conditions, col(Session.status) == status]
    return conditions if session_type is None else [*conditions, col(Session.session_type) == session_type]


def _not_indexed(session_type: str | None) -> list[Any]:
    conditions = [col(Session.pinned).is_(False), ~is_in_use()]
    return conditions if session_type is None else [*conditions, col(Session.session_type) == session_type]
