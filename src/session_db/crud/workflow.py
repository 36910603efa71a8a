"""Workflows: phases that follow one another, agents that start and end, and what is going on."""

from dataclasses import dataclass
from datetime import datetime
from itertools import groupby
from typing import Any
from uuid import UUID

from sqlalchemy import Uuid, func, select, tuple_
from sqlalchemy.ext.asyncio import AsyncSession
from sqlmodel import col

from session_db.crud.agents import PROCESS, create_agent, get_agent, update_agent, was_presumed
from session_db.crud.locking import lock_session_if_any
from session_db.crud.paging import Page, checked_limit, decode_cursor, read_page
from session_db.crud.rows import all_of, one_of
from session_db.crud.sdk_sessions import lock_for_agent
from session_db.crud.sessions import update_session, update_session_activity
from session_db.errors import Conflict, InvalidInput, NotFound
from session_db.models import Agent, AgentCreate, AgentUpdate, Session, SessionUpdate
from session_db.models.sessions import ENDED_STATUSES
from session_db.models.table import exact_dollars, now
from session_db.models.text import shown

PHASES = ("created", "spec", "plan", "build", "docs", "complete")
"""A workflow session's way; it may fail at each of them."""

_OF_AGENTS = PHASES[1:-1]
"""The phases that an agent begins as it starts; that all is complete is said of the session."""

AGENTS_SHOWN = 10
"""Agents of each kind that are told of a session, the newest first."""


@dataclass(frozen=True)
class SessionWork:
    """What goes on in a session: its agents that run, that wait to be started, and that failed, the newest of each first."""

    session: Session
    running: list[Agent]
    pending: list[Agent]
    failed: list[Agent]


async def start_agent(  # noqa: PLR0913  what an agent is told, each by its name
    db: AsyncSession,
    session_id: UUID,
    agent_type: str,
    *,
    model: str | None = None,
    checkpoint_id: int | None = None,
    name: str | None = None,
    sdk_session_id: str | None = None,
    parent_agent_id: UUID | None = None,
    agent_id: UUID | None = None,
) -> Agent:
    """Add an agent that begins to work now, and return it.

    Where its type is a later phase than the one that its workflow session is in, the session goes on to it; one that has ended stays so.

    Args:
        db: the database session.
        session_id: the session it works in.
        agent_type: spec, plan, build, docs, or any other.
        model: language model.
        checkpoint_id: checkpoint of the plan that it builds.
        name: what it was asked to do, in a line.
        sdk_session_id: the agent SDK's session id, with which it can be resumed.
        parent_agent_id: the agent that started it.
        agent_id: id to give it. Sent again with the same one, it changes nothing; one that was only presumed to have failed works again.

    Raises:
        NotFound: there is no such session, or its parent is not in it.
        AlreadyExists: an agent of another type has this id.
        Conflict: the SDK session is recorded in another session.
    """
    await lock_for_agent(db, session_id, sdk_session_id)
    known = None if agent_id is None else await get_agent(db, agent_id, session_id)
    if known is not None and known.agent_type == agent_type:
        return await _wake(db, known) if was_presumed(known) else known
    wanted = {
        "session_id": session_id,
        "agent_type": agent_type,
        "model": model,
        "checkpoint_id": checkpoint_id,
        "name": name,
        "sdk_session_id": sdk_session_id,
        "parent_agent_id": parent_agent_id,
        "id": agent_id,
        "status": "executing",
        "started_at": now(),
    }
    agent = await create_agent(db, AgentCreate.model_validate(wanted))
    session = await _note_life(db, session_id)
    if session is not None and session.session_type != "chat" and agent_type in _OF_AGENTS and _is_later(agent_type, session.status):
        await update_session(db, session_id, SessionUpdate(status=agent_type))
    return agent


async def _wake(db: AsyncSession, agent: Agent) -> Agent:
    """Let an agent work again whose failure was presumed; which process it worked in says nothing of it any more."""
    metadata = {key: value for key, value in agent.metadata_.items() if key != PROCESS}
    works = {"status": "executing", "error_message": None, "completed_at": None, "started_at": now(), "metadata": metadata}
    await _note_life(db, agent.session_id)
    return await update_agent(db, agent.id, AgentUpdate.model_validate(works), agent.session_id) or agent


async def _note_life(db: AsyncSession, session_id: UUID) -> Session | None:
    """Note that something happened in a session now, which is lost no more, and return it."""
    session = await update_session_activity(db, session_id)
    if session is None or session.activity != "lost":
        return session
    return await update_session(db, session_id, SessionUpdate(activity="idle"))


async def finish_agent(  # noqa: PLR0913  what it came to, each by its name
    db: AsyncSession,
    agent_id: UUID,
    session_id: UUID | None = None,
    *,
    error: str | None = None,
    sdk_session_id: str | None = None,
    cost: float | None = None,
) -> Agent | None:
    """Let an agent be complete, or with an ``error`` failed, and return it, or None where there is none.

    Sent again with the same result it changes nothing, beyond an ``sdk_session_id`` and a ``cost`` that it had not told before.

    Raises:
        Conflict: it has ended with another result; or it has usage rows, which alone make its cost; or the SDK session belongs to another
            session; or several sessions have an agent with this id, and ``session_id`` says not which.
    """
    found = await get_agent(db, agent_id, session_id)
    if found is None:
        return None
    try:
        await lock_for_agent(db, found.session_id, sdk_session_id)
    except NotFound:
        # Its session was deleted while this one waited for the lock.
        return None
    agent = await get_agent(db, agent_id, found.session_id)
    if agent is None:
        return None
    result: dict[str, Any] = {"status": "complete" if error is None else "failed", "error_message": error}
    told = {"sdk_session_id": sdk_session_id, "cost": None if cost is None else float(exact_dollars(cost))}
    told = {name: value for name, value in told.items() if value is not None}
    if agent.status in ("complete", "failed") and not was_presumed(agent):
        _refuse_another(agent, result, told)
        result = {name: value for name, value in told.items() if not getattr(agent, name)}
    else:
        result |= told | {"completed_at": now()}
        await (_note_life if was_presumed(agent) else update_session_activity)(db, agent.session_id)
    return await update_agent(db, agent_id, AgentUpdate.model_validate(result), agent.session_id) if result else agent


def _refuse_another(agent: Agent, result: dict[str, Any], told: dict[str, Any]) -> None:
    """Raise ``Conflict`` where an agent ended with another result than the one that is told now."""
    others = {name: value for name, value in told.items() if getattr(agent, name) and getattr(agent, name) != value}
    others |= {name: value for name, value in result.items() if getattr(agent, name) != value}
    if others:
        told_before = ", ".join(f"{name} {shown(getattr(agent, name))}" for name in others)
        raise Conflict(
            f"agent {agent.id} has ended already, with {told_before}; call update_agent to correct what is stored.",
            agent_id=agent.id,
            session_id=agent.session_id,
            status=agent.status,
        )


async def advance_session(db: AsyncSession, session_id: UUID, phase: str, *, force: bool = False) -> Session | None:
    """Let a workflow session go on to a phase, and return it, or None where there is none; one that is in it already stays as it is.

    Args:
        db: the database session.
        session_id: the session.
        phase: created, spec, plan, build, docs or complete. Phases may be passed over.
        force: also back to an earlier one, and on from a session that failed.

    Raises:
        InvalidInput: there is no such phase, or the session is a chat.
        Conflict: the session is further, or failed, and ``force`` is not given.
    """
    if phase not in PHASES:
        raise InvalidInput(f"there is no phase {shown(phase)}; use one of {', '.join(PHASES)}.", field="phase", phase=phase)
    session = await lock_session_if_any(db, session_id)
    if session is None or session.status == phase:
        return session
    if session.session_type == "chat":
        raise InvalidInput(f"session {session_id} is a chat, which has no phases.", field="phase", session_id=session_id)
    if not force and not _is_later(phase, session.status):
        raise Conflict(
            f"session {session_id} is in phase {session.status}, and {phase} does not come after it "
            f"({', '.join(PHASES)}; a failed one stays failed); force it where it is meant.",
            session_id=session_id,
            status=session.status,
            phase=phase,
        )
    reason = {"error_message": None} if session.status == "failed" else {}
    return await update_session(db, session_id, SessionUpdate.model_validate({"status": phase} | reason))


def _is_later(phase: str, than: str) -> bool:
    """Say whether a phase comes after another one; of one that is none, and of a failure, nothing does."""
    return phase in PHASES and than in PHASES[:-1] and PHASES.index(phase) > PHASES.index(than)


async def get_last_agent(db: AsyncSession, session_id: UUID, agent_type: str) -> Agent | None:
    """Return the agent of this type that was made last among those that can be resumed, or None. Costs a walk over the session's agents."""
    query = select(Agent).where(col(Agent.session_id) == session_id, col(Agent.agent_type) == agent_type)
    query = query.where(col(Agent.sdk_session_id).is_not(None)).order_by(col(Agent.created_at).desc(), col(Agent.id).desc())
    found = await all_of(db, query.limit(1))
    return found[0] if found else None


async def list_work(db: AsyncSession, *, limit: int = 20, cursor: str | None = None) -> Page[SessionWork]:
    """Return what goes on in the sessions that have not ended, the last active first.

    A page looks at 10,000 sessions at most, and may be short or empty and have a next one.
    """
    checked_limit(limit)
    query = select(Session).where(col(Session.deleted_at).is_(None))
    key = (col(Session.last_activity), col(Session.id))
    if cursor is not None:
        query = query.where(tuple_(*key) < tuple_(*decode_cursor(cursor, datetime, UUID)))
    going_on = col(Session.status).not_in(ENDED_STATUSES)
    page: Page[Session] = await read_page(db, query, *key, limit=limit, filters=[going_on], descending=True)
    return Page(await work_of(db, page), page.next_cursor)


async def work_of(db: AsyncSession, sessions: list[Session]) -> list[SessionWork]:
    """Return what goes on in each of these sessions, in one query for all of them."""
    newest = (col(Agent.created_at).desc(), col(Agent.id).desc())
    place = func.row_number().over(partition_by=(col(Agent.session_id), col(Agent.status)), order_by=newest).label("place")
    of_sessions = col(Agent.session_id) == one_of((session.id for session in sessions), Uuid)
    told = col(Agent.status).in_(("executing", "pending", "failed"))
    placed = select(col(Agent.session_id), col(Agent.id), place).where(of_sessions, told).subquery()
    same = (col(Agent.session_id) == placed.c.session_id) & (col(Agent.id) == placed.c.id)
    query = select(Agent).join(placed, same).where(placed.c.place <= AGENTS_SHOWN, of_sessions)
    agents = await all_of(db, query.order_by(col(Agent.session_id), col(Agent.status), *newest))
    found = {key: list(group) for key, group in groupby(agents, lambda agent: (agent.session_id, agent.status))}
    return [
        SessionWork(session, *(found.get((session.id, status), []) for status in ("executing", "pending", "failed")))
        for session in sessions
    ]
