"""Agents: create, read, list, update."""

from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import literal, select, tuple_, type_coerce, update
from sqlalchemy.ext.asyncio import AsyncSession
from sqlmodel import col

from session_db.crud import sdk_sessions
from session_db.crud.paging import Page, checked_limit, decode_cursor, read_page
from session_db.crud.rows import add, all_of, move, one_or_none
from session_db.crud.showing import raise_version
from session_db.database.violations import translated
from session_db.errors import Conflict, InvalidInput, NotFound
from session_db.ids import new_id
from session_db.models import Agent, AgentCreate, AgentUpdate, Session, Usage
from session_db.models.table import ExactMoney, exact_dollars, now

TOTALS = ("input_tokens", "output_tokens", "cache_read_tokens", "cache_write_tokens", "cost")
"""Columns of an agent that a session sums up as ``total_…``."""

ENDED_EARLY = "the session ended before the agent did"
"""Why an agent failed whose session's end was told, and its own was not."""

PROCESS_GONE = "its process is gone, and did not tell of its end"
FELL_SILENT = "nothing was heard of it for too long"
"""Why an agent failed that was reaped."""

PROCESS = "session_db_process"
"""Key in the metadata of an agent that works: by which process, where its machine can see it."""

_PRESUMED = (ENDED_EARLY, PROCESS_GONE, FELL_SILENT)


async def create_agent(db: AsyncSession, agent_data: AgentCreate) -> Agent:
    """Add an agent to a session.

    With an ``sdk_session_id`` that is known, it becomes the agent that this SDK session's events go to.

    Raises:
        NotFound: there is no such session, or its parent is not in it.
        AlreadyExists: the session has an agent with this id.
        Conflict: the SDK session is recorded in another session.
    """
    await sdk_sessions.lock_for_agent(db, agent_data.session_id, agent_data.sdk_session_id)
    values = agent_data.model_dump(exclude={"id", "metadata_", "cost"})
    agent = Agent(**values, id=agent_data.id or new_id(), metadata_=dict(agent_data.metadata_))
    async with translated(db):
        await add(db, agent, session_id=agent.session_id, agent_id=agent.id)
        await sdk_sessions.bind_agent(db, agent)
        if agent_data.cost:
            await _set_totals(db, agent, {"cost": agent_data.cost})
    await db.refresh(agent)
    return agent


async def get_agent(db: AsyncSession, agent_id: UUID, session_id: UUID | None = None) -> Agent | None:
    """Return the agent, or None where there is none. With the session it is one read by primary key.

    Raises:
        Conflict: several sessions have an agent with this id; the error names them.
    """
    query = select(Agent).join(Session, col(Session.id) == col(Agent.session_id))
    query = query.where(col(Agent.id) == agent_id, col(Session.deleted_at).is_(None)).order_by(col(Agent.session_id)).limit(20)
    if session_id is not None:
        query = query.where(col(Agent.session_id) == session_id)
    agents: list[Agent] = await all_of(db, query)
    if len(agents) > 1:
        session_ids = [agent.session_id for agent in agents]
        raise Conflict(
            f"several sessions have an agent {agent_id}; say which session_id: {', '.join(map(str, session_ids))}.",
            agent_id=agent_id,
            session_ids=session_ids,
        )
    return agents[0] if agents else None


async def list_agents(  # noqa: PLR0913  filters, each by its name
    db: AsyncSession,
    session_id: UUID,
    *,
    status: str | None = None,
    parent_agent_id: UUID | None = None,
    limit: int = 50,
    cursor: str | None = None,
) -> Page[Agent]:
    """Return the agents of a session, or those that one agent started, the first made first.

    With a filter it looks at the session's agents until the page is full.
    """
    checked_limit(limit)
    live = select(col(Session.id)).where(col(Session.id) == session_id, col(Session.deleted_at).is_(None)).exists()
    query = select(Agent).where(col(Agent.session_id) == session_id, live)
    wanted = {"status": status, "parent_agent_id": parent_agent_id}
    query = query.where(*(getattr(Agent, name) == value for name, value in wanted.items() if value is not None))
    key = (col(Agent.created_at), col(Agent.id))
    if cursor is not None:
        query = query.where(tuple_(*key) > tuple_(*decode_cursor(cursor, datetime, UUID)))
    return await read_page(db, query, *key, limit=limit)


async def update_agent(db: AsyncSession, agent_id: UUID, agent_update: AgentUpdate, session_id: UUID | None = None) -> Agent | None:
    """Apply what was set, and return the agent, or None where there is none.

    A change of tokens or cost moves the session's totals by the difference. With an ``sdk_session_id`` the SDK session is bound to the
    agent's session.

    Raises:
        Conflict: the agent has usage rows, which alone make its tokens and cost; or the SDK session belongs to another session; or
            several sessions have an agent with this id, and ``session_id`` says not which.
        InvalidInput: a required value is cleared.
    """
    found = await get_agent(db, agent_id, session_id)
    if found is None:
        return None
    try:
        await sdk_sessions.lock_for_agent(db, found.session_id, agent_update.sdk_session_id)
    except NotFound:
        # Its session was deleted while this one waited for the lock.
        return None
    agent: Agent = await one_or_none(db, select(Agent).where(col(Agent.session_id) == found.session_id, col(Agent.id) == agent_id))
    changes = agent_update.changes()
    _refuse_cleared(changes)
    totals = {name: changes.pop(name) for name in TOTALS if name in changes}
    async with translated(db, session_id=agent.session_id, agent_id=agent.id):
        for name, value in changes.items():
            setattr(agent, name, {} if name == "metadata_" and value is None else value)
        agent.updated_at = now()
        await db.flush()
        if changes.get("sdk_session_id") is not None:
            await sdk_sessions.bind_agent(db, agent)
        if totals:
            await _set_totals(db, agent, totals)
    await db.refresh(agent)
    return agent


def _refuse_cleared(changes: dict[str, Any]) -> None:
    for name in ("agent_type", "status", *TOTALS):
        if name in changes and changes[name] is None:
            raise InvalidInput(f"{name} cannot be cleared; leave it out to keep it.", field=name)


async def _set_totals(db: AsyncSession, agent: Agent, totals: dict[str, Any]) -> None:
    used = select(col(Usage.message_id)).where(col(Usage.session_id) == agent.session_id, col(Usage.agent_id) == agent.id).limit(1)
    if await db.scalar(used) is not None:
        raise Conflict(f"agent {agent.id} has usage rows, which make its {', '.join(totals)}; leave them out.", agent_id=agent.id)
    present: dict[str, Any] = {name: getattr(agent, name) for name in totals}
    if "cost" in totals:
        here = (col(Agent.session_id) == agent.session_id, col(Agent.id) == agent.id)
        present["cost"] = await db.scalar(select(type_coerce(col(Agent.cost), ExactMoney)).where(*here))
        totals = totals | {"cost": exact_dollars(totals["cost"])}
    await move_totals(db, agent.session_id, agent.id, {name: value - present[name] for name, value in totals.items()})


async def move_totals(db: AsyncSession, session_id: UUID, agent_id: UUID, differences: dict[str, Any]) -> None:
    """Add to an agent's tokens and cost, and to its session's totals. The caller holds the session's lock."""
    moved = {name: difference for name, difference in differences.items() if difference}
    if "cost" in moved:
        # A float would be added as a float, and agents and session would drift apart.
        moved["cost"] = literal(exact_dollars(moved["cost"]), ExactMoney)
    if not moved:
        return
    of_agent = {name: getattr(Agent, name) + difference for name, difference in moved.items()}
    await move(db, Agent, (session_id, agent_id), **of_agent, updated_at=now())
    of_session = {f"total_{name}": getattr(Session, f"total_{name}") + difference for name, difference in moved.items()}
    await move(db, Session, (session_id,), **of_session, updated_at=now())


async def ensure_agent(db: AsyncSession, agent_data: AgentCreate) -> Agent:
    """Return the agent with this id, made now where the session has none. The caller holds the session's lock."""
    query = select(Agent).where(col(Agent.session_id) == agent_data.session_id, col(Agent.id) == agent_data.id)
    agent: Agent | None = await one_or_none(db, query)
    if agent is None:
        agent = Agent(**agent_data.model_dump(exclude={"metadata_", "cost"}), metadata_=dict(agent_data.metadata_))
        db.add(agent)
        await db.flush()
    return agent


async def end_agents_below(db: AsyncSession, agent: Agent, moment: datetime) -> None:
    """Let the agents below one, which has ended, have failed where they still work. The caller holds the session's lock."""
    here = col(Agent.session_id) == agent.session_id
    below = select(col(Agent.id)).where(here, col(Agent.parent_agent_id) == agent.id).cte("below", recursive=True)
    below = below.union(select(col(Agent.id)).where(here, col(Agent.parent_agent_id) == below.c.id))
    working = update(Agent).where(here, col(Agent.id).in_(select(below.c.id)), col(Agent.status) == "executing")
    ended = working.values(status="failed", error_message=ENDED_EARLY, completed_at=moment, updated_at=now())
    await db.flush()
    await db.execute(ended.execution_options(synchronize_session="fetch"))
    await raise_version(db, agent.session_id)


def was_presumed(agent: Agent) -> bool:
    """Say whether nobody told that an agent failed: it was concluded, and what is told later is better."""
    return agent.status == "failed" and agent.error_message in _PRESUMED


async def is_below(db: AsyncSession, session_id: UUID, agent_id: UUID, ancestor_id: UUID) -> bool:
    """Say whether an agent is another one, or was started by it or by one below it. Costs a read by primary key for each between them."""
    above: UUID | None = agent_id
    while above not in (None, ancestor_id):
        query = select(col(Agent.parent_agent_id)).where(col(Agent.session_id) == session_id, col(Agent.id) == above)
        above = await db.scalar(query)
    return above == ancestor_id
