"""Adopting: a session that was made for an SDK session by itself moves into the workflow session that the SDK session belongs to."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from sqlalchemy import ColumnElement, FromClause, Table, Uuid, and_, bindparam, func, insert, literal, or_, select, union_all, update
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.dialects.postgresql import insert as postgresql_insert
from sqlalchemy.ext.asyncio import AsyncSession
from sqlmodel import col

from session_db.crud.agent_logs import later_activity
from session_db.crud.erasing import erase_deleted_sessions, mark_deleted
from session_db.crud.rows import all_of, move, one_of
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
from session_db.models.table import now

BATCH = 20_000
"""Rows that one statement copies at most."""

_TOKENS = ("input_tokens", "output_tokens", "cache_read_tokens", "cache_write_tokens")


async def adopt_session(db: AsyncSession, adopted: Session, main_agent_id: UUID, agent: Agent) -> None:
    """Move everything of a session into an agent's session, and delete it.

    The rows of the agent that was made with it go to the given agent; events and messages get indexes after those that are there; what is
    there under the same key stays. The caller holds the locks of both sessions. Costs as much as the session is large, about 40 seconds for
    300,000 events, in statements of bounded size.
    """
    source, target = adopted.id, agent.session_id
    agents = await _move_agents(db, source, main_agent_id, agent)
    move_rows = _Move(db, source, target, agents)
    await move_rows.add_minutes()
    events = await move_rows.append(AgentLog, "event_index", "id", up_to=adopted.event_count)
    messages = await move_rows.append(Message, "message_index", "client_id", up_to=adopted.message_count, left_out=("id",))
    await move_rows.copy(Transcript, "id")
    await move_rows.copy_entries()
    await move_rows.copy(Usage, "message_id")
    await move_rows.copy(MemoryFile, "file_path", instead={"is_primary": literal(value=False)})
    for binding in await all_of(db, select(SDKSession).where(col(SDKSession.session_id) == source)):
        binding.session_id, binding.bound_by = target, "agent"
        # One that came from another session keeps that: its followers find the way to the end, too.
        binding.moved_from = binding.moved_from or source
        binding.agent_id = agents.get(binding.agent_id, binding.agent_id)
    last_activity, secrets = adopted.last_activity, adopted.secrets_masked
    mark_deleted(adopted)
    await db.flush()
    while await erase_deleted_sessions(db, source):
        pass
    counters = {"event_count": col(Session.event_count) + events, "message_count": col(Session.message_count) + messages}
    counters["secrets_masked"] = col(Session.secrets_masked) + secrets
    await move(db, Session, (target,), **counters, last_activity=later_activity(last_activity), updated_at=now())
    await _sum_totals(db, target)
    await sum_reported_cost(db, target)


async def _move_agents(db: AsyncSession, source: UUID, main_agent_id: UUID, agent: Agent) -> dict[UUID, UUID]:
    """Copy all agents but the one that was made with the session, and say what became of each."""
    table = _table(Agent)
    rows = (await db.execute(select(table).where(table.c.session_id == source))).mappings().all()
    ids = _new_ids(rows, agent.session_id) | {main_agent_id: agent.id}
    taken = set(
        await all_of(db, select(table.c.id).where(table.c.session_id == agent.session_id, table.c.id == one_of(ids.values(), Uuid())))
    )
    copies = [
        {**row, "session_id": agent.session_id, "id": ids[row["id"]], "parent_agent_id": ids.get(row["parent_agent_id"], agent.id)}
        for row in rows
        # One that is there keeps its parent, or agents could stand below themselves.
        if ids[row["id"]] not in taken
    ]
    if copies:
        # Parents may come after their children, so they are told last.
        orphans = [copy | {"parent_agent_id": None} for copy in copies]
        connection = await db.connection()
        await connection.execute(insert(table), orphans)
        parents = update(table).where(table.c.session_id == agent.session_id, table.c.id == bindparam("child"))
        await connection.execute(
            parents.values(parent_agent_id=bindparam("parent")),
            [{"child": copy["id"], "parent": copy["parent_agent_id"]} for copy in copies],
        )
    await _keep_what_was_set(db, [row for row in rows if row["id"] == main_agent_id], agent)
    return ids


def _new_ids(rows: Sequence[Mapping[Any, Any]], target: UUID) -> dict[UUID, UUID]:
    """Return which id each agent has in another session: a sub-agent of the SDK the one that its stream would be given there."""
    ids: dict[UUID, UUID] = {}
    taken: set[UUID] = set()
    for row in rows:
        derived = derived_id(target, row["sdk_agent_id"]) if row["sdk_agent_id"] else row["id"]
        # The SDK's id is unique unless somebody gave it to several agents by hand.
        ids[row["id"]] = row["id"] if derived in taken else derived
        taken.add(ids[row["id"]])
    return ids


async def _keep_what_was_set(db: AsyncSession, main: Sequence[Mapping[Any, Any]], agent: Agent) -> None:
    """Add what somebody set on the agent that was made with the session to the given one: metadata, and totals where usage makes none."""
    for row in main:
        agent.metadata_ = {**row["metadata"], **agent.metadata_}
        await db.flush()
        used = select(col(Usage.message_id)).where(
            or_(
                and_(col(Usage.session_id) == row["session_id"], col(Usage.agent_id) == row["id"]),
                and_(col(Usage.session_id) == agent.session_id, col(Usage.agent_id) == agent.id),
            )
        )
        if await db.scalar(used.limit(1)) is None:
            values = {name: getattr(Agent, name) + row[name] for name in _TOKENS}
            cost = select(_table(Agent).c.cost).where(_table(Agent).c.session_id == row["session_id"], _table(Agent).c.id == row["id"])
            await move(db, Agent, (agent.session_id, agent.id), **values, cost=col(Agent.cost) + cost.scalar_subquery())


@dataclass(frozen=True)
class _Move:
    """Rows on their way from one session to another, with what became of their agents."""

    db: AsyncSession
    source: UUID
    target: UUID
    agents: Mapping[UUID, UUID]

    async def add_minutes(self) -> None:
        """Add what is going to move to the pulse of the target; what the target has under the same key is in it already."""
        events, usage, minutes = _table(AgentLog), _table(Usage), _table(ActivityMinute)
        spent = func.coalesce(usage.c.computed_cost, usage.c.reported_cost, 0)
        moving = union_all(
            select(_minute(events.c.timestamp), literal(1).label("events"), literal(0).label("cost")).where(*self._moving(events, "id")),
            select(_minute(usage.c.occurred_at), literal(0), spent).where(*self._moving(usage, "message_id")),
        ).subquery()
        sums = (func.sum(moving.c.events), func.sum(moving.c.cost))
        rows = select(literal(self.target, Uuid()), moving.c.minute, *sums).group_by(moving.c.minute)
        fresh = postgresql_insert(minutes).from_select(["session_id", "minute", "events", "cost"], rows)
        added = {name: minutes.c[name] + fresh.excluded[name] for name in ("events", "cost")}
        await self.db.execute(_quiet(fresh.on_conflict_do_update(index_elements=["session_id", "minute"], set_=added)))

    def _moving(self, table: Table, *key: str) -> tuple[ColumnElement[bool], ColumnElement[bool]]:
        """Say which rows move: those whose key the target has not got."""
        there = table.alias("there")
        same = [there.c[name] == table.c[name] for name in key]
        return table.c.session_id == self.source, ~select(there.c.session_id).where(there.c.session_id == self.target, *same).exists()

    async def append(self, model: type[Model], index: str, key: str, *, up_to: int, left_out: tuple[str, ...] = ()) -> int:
        """Copy rows behind those of the target, without a gap, and return how many."""
        table = _table(model)
        start = select(func.coalesce(func.max(table.c[index]) + 1, 0)).where(table.c.session_id == self.target).scalar_subquery()
        place = start + func.row_number().over(order_by=table.c[index]) - 1
        copied = 0
        for first in range(0, up_to, BATCH):
            here = table.c[index].between(first, first + BATCH - 1)
            copied += await self.copy(model, key, instead={index: place}, left_out=left_out, where=here)
        return copied

    async def copy_entries(self) -> None:
        table = _table(Transcript)
        streams = await self.db.execute(select(table.c.id, table.c.next_seq).where(table.c.session_id == self.source))
        entries = _table(TranscriptEntry)
        for transcript_id, next_seq in streams.all():
            for first in range(0, next_seq, BATCH):
                here = and_(entries.c.transcript_id == transcript_id, entries.c.seq.between(first, first + BATCH - 1))
                await self.copy(TranscriptEntry, "transcript_id", "seq", where=here)

    async def copy(
        self,
        model: type[Model],
        *key: str,
        instead: Mapping[str, Any] | None = None,
        left_out: tuple[str, ...] = (),
        where: ColumnElement[bool] | None = None,
    ) -> int:
        """Copy the rows whose key the target has not got, and return how many."""
        table = _table(model)
        values = {column.name: column for column in table.columns if column.name not in left_out} | dict(instead or {})
        values["session_id"] = literal(self.target, Uuid())
        rows: FromClause = table
        if "agent_id" in values:
            old, new = (literal(list(ids), ARRAY(Uuid())) for ids in (self.agents, self.agents.values()))
            became = func.unnest(old, new).table_valued("old", "new", name="became").render_derived()
            rows = table.outerjoin(became, became.c.old == table.c.agent_id)
            values["agent_id"] = func.coalesce(became.c.new, table.c.agent_id)
        query = select(*values.values()).select_from(rows).where(*self._moving(table, *key))
        if where is not None:
            query = query.where(where)
        copied = await self.db.execute(_quiet(insert(table).from_select(list(values), query)))
        return int(getattr(copied, "rowcount", 0))


def _table(model: type[Model]) -> Table:
    return model.metadata.tables[str(model.__tablename__)]


def _minute(moment: ColumnElement[Any]) -> ColumnElement[Any]:
    return func.date_trunc("minute", moment, "UTC").label("minute")


async def _sum_totals(db: AsyncSession, session_id: UUID) -> None:
    """Make the totals anew: of an agent with usage rows from them, of the session from its agents."""
    sums = {name: func.sum(getattr(Usage, name)) for name in _TOKENS if name != "cache_write_tokens"}
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
