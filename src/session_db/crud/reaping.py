"""Reaping: what nobody ends any more is ended: chats in which nothing happens, and agents that are gone.

Each session is looked at again under its lock, so that one that something happened in meanwhile is left.
"""

import logging
from collections.abc import Awaitable, Callable, Collection
from datetime import datetime
from itertools import chain
from typing import Any, Literal, TypeVar
from uuid import UUID

from sqlalchemy import or_, select, text, tuple_
from sqlalchemy.ext.asyncio import AsyncSession
from sqlmodel import col

from session_db.crud.agents import update_agent
from session_db.crud.cleaning import has_executing, is_in_use
from session_db.crud.locking import lock_session_if_any
from session_db.crud.paging import Page, decode_cursor, read_page
from session_db.crud.rows import all_of, run
from session_db.crud.sessions import update_session
from session_db.errors import Unavailable
from session_db.models import Agent, AgentUpdate, Session, SessionUpdate

logger = logging.getLogger(__name__)

Done = TypeVar("Done")

REAPED = 50
"""Sessions that one call changes: their locks are held until the commit."""

_LOCK = "hashtextextended('session_db reaping ' || current_schema(), 0)"


async def may_reap(db: AsyncSession) -> bool:
    """Say whether this transaction reaps, and no other one; of several services one does."""
    return bool(await db.scalar(text(f"SELECT pg_try_advisory_xact_lock({_LOCK})")))


async def settle_chats(
    db: AsyncSession, status: Literal["active", "idle"], *, before: datetime, limit: int = REAPED, cursor: str | None = None
) -> Page[UUID]:
    """Let a page of active chats be idle, or of idle ones terminated, in which nothing happened since a moment; return which.

    Never one in which an agent works or waits, or to which a client is connected. ``last_activity`` stays, and a chat ended when it says.
    """
    query = select(Session).where(col(Session.deleted_at).is_(None), col(Session.status) == status, col(Session.last_activity) < before)
    page = await _read_oldest(db, query, [~is_in_use()], limit, cursor)
    following = "idle" if status == "active" else "terminated"

    async def settle(session_id: UUID) -> list[UUID]:
        session = await lock_session_if_any(db, session_id)
        if session is None or session.status != status or session.last_activity >= before or await _is_in_use(db, session_id):
            return []
        await update_session(db, session_id, SessionUpdate(status=following), moment=session.last_activity)
        return [session_id]

    settled = await each_alone(db, sorted(session.id for session in page), settle)
    return Page(list(chain.from_iterable(settled)), page.next_cursor)


async def each_alone(db: AsyncSession, session_ids: Collection[UUID], work: Callable[[UUID], Awaitable[Done]]) -> list[Done]:
    """Do work for each session behind a savepoint, and return what came of it: one for which it fails keeps nobody from the others."""
    done = []
    for session_id in session_ids:
        try:
            async with db.begin_nested():
                done.append(await work(session_id))
        except Unavailable:
            raise
        except Exception:
            logger.warning("session %s could not be reaped, and is passed over", session_id, exc_info=True)
    return done


async def _is_in_use(db: AsyncSession, session_id: UUID) -> bool:
    return (await run(db, select(col(Session.id)).where(col(Session.id) == session_id, is_in_use()))).first() is not None


async def list_unended(
    db: AsyncSession, *, since: datetime | None = None, before: datetime, limit: int = REAPED, cursor: str | None = None
) -> Page[Session]:
    """Return the sessions in which an agent works, or is said to, and nothing happened since a moment; the longest ago first.

    A page looks at 10,000 sessions at most, and may be short or empty and have a next one.

    Args:
        db: the database session.
        since: only those in which something happened since then; unset: all.
        before: only those in which nothing happened since then.
        limit: sessions a page.
        cursor: ``next_cursor`` of the page before.
    """
    query = select(Session).where(col(Session.deleted_at).is_(None), col(Session.last_activity) < before)
    if since is not None:
        query = query.where(col(Session.last_activity) >= since)
    says_it_works = col(Session.activity).in_(("working", "waiting"))
    return await _read_oldest(db, query, [or_(says_it_works, has_executing())], limit, cursor)


async def list_executing(db: AsyncSession, session_ids: Collection[UUID]) -> list[Agent]:
    """Return the agents that work in these sessions."""
    executing: list[Agent] = []
    for session_id in session_ids:
        executing += await all_of(db, select(Agent).where(col(Agent.session_id) == session_id, col(Agent.status) == "executing"))
    return executing


async def fail_agents(
    db: AsyncSession, session_id: UUID, reason: str, *, before: datetime, agent_ids: Collection[UUID] | None = None
) -> int:
    """Let agents that work in a session have failed, and return how many; where none is left that works, its activity is ``lost``.

    Args:
        db: the database session.
        session_id: the session; one in which something happened since ``before`` is left as it is.
        reason: why they failed.
        before: agents that were changed since then are left, too.
        agent_ids: only these; unset: all of the session.
    """
    session = await lock_session_if_any(db, session_id)
    if session is None or session.last_activity >= before:
        return 0
    executing = await list_executing(db, [session_id])
    silent = [agent for agent in executing if agent.updated_at < before and (agent_ids is None or agent.id in agent_ids)]
    for agent in silent:
        # It is not known when it ended: the last was heard then.
        heard = max(session.last_activity, agent.started_at or session.last_activity)
        await update_agent(db, agent.id, AgentUpdate(status="failed", error_message=reason, completed_at=heard), session_id)
    if len(silent) == len(executing) and (silent or session.activity in ("working", "waiting")):
        await update_session(db, session_id, SessionUpdate(activity="lost"))
    return len(silent)


async def _read_oldest(db: AsyncSession, query: Any, filters: list[Any], limit: int, cursor: str | None) -> Page[Session]:
    key = (col(Session.last_activity), col(Session.id))
    if cursor is not None:
        query = query.where(tuple_(*key) > tuple_(*decode_cursor(cursor, datetime, UUID)))
    return await read_page(db, query, *key, limit=limit, filters=filters)
