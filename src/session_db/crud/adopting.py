"""Adopting: a session that was made for an SDK session by itself moves into the workflow session that the SDK session belongs to."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from sqlalchemy import Table, Uuid, case, delete, func, insert, literal, select, update
from sqlalchemy.dialects.postgresql import insert as postgresql_insert
from sqlalchemy.ext.asyncio import AsyncSession
from sqlmodel import col

from session_db.crud.agent_logs import later_activity
from session_db.crud.rows import move
from session_db.crud.transcripts import sum_reported_cost
from session_db.ids import derived_id
from session_db.models import (
    ActivityMinute,
    Agent,
    AgentLog,
    MemoryFile,
    Message,
    Model,
    SDKSession,
    Session,
    Transcript,
    TranscriptEntry,
    Usage,
)


async def adopt_session(db: AsyncSession, adopted: Session, main_agent_id: UUID, agent: Agent) -> None:
    """Move everything of a session into an agent's session, and delete it.

    Its main agent's rows go to the given agent; its events and messages get indexes after those that are there; what is there under the
    same key stays. The caller holds the locks of both sessions. Costs one statement a table, and as much as the session is large.
    """
    target = agent.session_id
    move_rows = _Move(db, adopted.id, target, await _move_agents(db, adopted.id, main_agent_id, agent))
    events = await move_rows.append(AgentLog, "event_index", "id")
    messages = await move_rows.append(Message, "message_index", "client_id", left_out=("id",))
    await move_rows.copy(Transcript, "id")
    await move_rows.copy(TranscriptEntry, "transcript_id", "seq")
    await move_rows.copy(Usage, "message_id")
    await move_rows.copy(MemoryFile, "file_path", instead={"is_primary": literal(value=False)})
    await _add_minutes(db, adopted.id, target)
    await db.execute(_quiet(update(SDKSession).where(col(SDKSession.session_id) == adopted.id).values(session_id=target, bound_by="agent")))
    await db.execute(_quiet(update(SDKSession).where(col(SDKSession.agent_id) == main_agent_id).values(agent_id=agent.id)))
    last_activity = adopted.last_activity
    await _erase(db, adopted.id)
    counters = {"event_count": col(Session.event_count) + events, "message_count": col(Session.message_count) + messages}
    await move(db, Session, (target,), **counters, last_activity=later_activity(last_activity), updated_at=func.now())
    await _sum_totals(db, target)
    await sum_reported_cost(db, target)


async def _move_agents(db: AsyncSession, source: UUID, main_agent_id: UUID, agent: Agent) -> dict[UUID, UUID]:
    """Copy the sub-agents, with the ids that they would have got there, and say what became of each agent."""
    table: Table = Agent.metadata.tables["agents"]
    rows = (await db.execute(select(table).where(table.c.session_id == source))).mappings().all()
    ids = {row["id"]: derived_id(agent.session_id, row["sdk_agent_id"]) if row["sdk_agent_id"] else row["id"] for row in rows}
    ids[main_agent_id] = agent.id
    copies = [
        {**row, "session_id": agent.session_id, "id": ids[row["id"]], "parent_agent_id": ids.get(row["parent_agent_id"], agent.id)}
        for row in rows
        if row["id"] != main_agent_id
    ]
    if copies:
        await db.execute(_quiet(postgresql_insert(table).values(copies).on_conflict_do_nothing()))
    return ids


@dataclass(frozen=True)
class _Move:
    """Rows on their way from one session to another, with what became of their agents."""

    db: AsyncSession
    source: UUID
    target: UUID
    agents: Mapping[UUID, UUID]

    async def append(self, model: type[Model], index: str, key: str, left_out: tuple[str, ...] = ()) -> int:
        """Copy rows behind those of the target, without a gap, and return how many."""
        table = _table(model)
        start = select(func.coalesce(func.max(table.c[index]) + 1, 0)).where(table.c.session_id == self.target).scalar_subquery()
        place = start + func.row_number().over(order_by=table.c[index]) - 1
        return await self.copy(model, key, instead={index: place}, left_out=left_out)

    async def copy(self, model: type[Model], *key: str, instead: Mapping[str, Any] | None = None, left_out: tuple[str, ...] = ()) -> int:
        """Copy the rows whose key the target has not got, and return how many."""
        table = _table(model)
        here = table.alias("here")
        same = [here.c[name] == table.c[name] for name in key]
        there = select(here.c.session_id).where(here.c.session_id == self.target, *same).exists()
        values = {column.name: column for column in table.columns if column.name not in left_out} | dict(instead or {})
        values["session_id"] = literal(self.target, Uuid())
        if "agent_id" in values:
            became = [(table.c.agent_id == old, literal(new, Uuid())) for old, new in self.agents.items()]
            values["agent_id"] = case(*became, else_=table.c.agent_id)
        rows = select(*values.values()).where(table.c.session_id == self.source, ~there)
        copied = await self.db.execute(_quiet(insert(table).from_select(list(values), rows)))
        return int(getattr(copied, "rowcount", 0))


def _table(model: type[Model]) -> Table:
    return model.metadata.tables[str(model.__tablename__)]


async def _add_minutes(db: AsyncSession, source: UUID, target: UUID) -> None:
    table = _table(ActivityMinute)
    minutes = select(literal(target, Uuid()), table.c.minute, table.c.events, table.c.cost).where(table.c.session_id == source)
    fresh = postgresql_insert(table).from_select(["session_id", "minute", "events", "cost"], minutes)
    added = {name: table.c[name] + fresh.excluded[name] for name in ("events", "cost")}
    await db.execute(_quiet(fresh.on_conflict_do_update(index_elements=["session_id", "minute"], set_=added)))


async def _erase(db: AsyncSession, session_id: UUID) -> None:
    for model in (TranscriptEntry, Transcript, Usage, AgentLog, Message, MemoryFile, ActivityMinute, Agent):
        table = _table(model)
        await db.execute(delete(table).where(table.c.session_id == session_id))
    await db.execute(_quiet(delete(Session).where(col(Session.id) == session_id)))


async def _sum_totals(db: AsyncSession, session_id: UUID) -> None:
    """Make the totals anew: of an agent with usage rows from them, of the session from its agents."""
    tokens = ("input_tokens", "output_tokens", "cache_read_tokens")
    sums = {name: func.sum(getattr(Usage, name)) for name in tokens}
    sums["cache_write_tokens"] = func.sum(col(Usage.cache_write_5m_tokens) + col(Usage.cache_write_1h_tokens))
    sums["cost"] = func.sum(func.coalesce(col(Usage.computed_cost), col(Usage.reported_cost), 0))
    of_agent = (col(Usage.session_id) == col(Agent.session_id), col(Usage.agent_id) == col(Agent.id))
    values = {name: select(total).where(*of_agent).scalar_subquery() for name, total in sums.items()}
    used = select(col(Usage.message_id)).where(*of_agent).exists()
    await db.execute(_quiet(update(Agent).where(col(Agent.session_id) == session_id, used).values(values)))
    of_session = {
        f"total_{name}": select(func.coalesce(func.sum(getattr(Agent, name)), 0))
        .where(col(Agent.session_id) == session_id)
        .scalar_subquery()
        for name in sums
    }
    await move(db, Session, (session_id,), **of_session)


def _quiet(statement: Any) -> Any:
    return statement.execution_options(synchronize_session=False)
