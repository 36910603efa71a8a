"""Usage: what the answers of language models cost."""

from collections import defaultdict
from collections.abc import Iterable, Mapping
from decimal import Decimal
from typing import Any
from uuid import UUID

from sqlalchemy import Uuid, select, type_coerce
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession
from sqlmodel import col

from session_db.crud.agent_logs import count_minutes
from session_db.crud.agents import TOTALS, move_totals
from session_db.crud.rows import one_of
from session_db.database.violations import translated
from session_db.models import Agent, Usage
from session_db.models.table import ExactMoney, exact_dollars

TOKENS = ("input_tokens", "output_tokens", "cache_read_tokens", "cache_write_5m_tokens", "cache_write_1h_tokens", "web_search_requests")

COSTS = ("computed_cost", "reported_cost")

_COSTS = tuple(type_coerce(getattr(Usage, name), ExactMoney).label(name) for name in COSTS)


async def get_usage(db: AsyncSession, session_id: UUID, message_ids: Iterable[str]) -> dict[str, Mapping[str, Any]]:
    """Return the usage rows of these API messages, by message id; costs are ``Decimal``."""
    columns = [getattr(Usage, name) for name in ("message_id", "agent_id", "model", "occurred_at", *TOKENS)]
    query = select(*columns, *_COSTS).where(col(Usage.session_id) == session_id, col(Usage.message_id) == one_of(message_ids))
    return {row["message_id"]: {**row} for row in (await db.execute(query)).mappings()}


async def put_usage(db: AsyncSession, session_id: UUID, rows: list[dict[str, Any]], before: Mapping[str, Mapping[str, Any]]) -> None:
    """Write usage rows, and move the totals of their agents and the session by what changed.

    The caller holds the session's lock since before it read ``before``. A row that cannot be stored raises ``InvalidInput``, and none is.

    Args:
        db: the database session.
        session_id: the session.
        rows: whole rows, one a message id; costs are ``Decimal`` or None.
        before: what ``get_usage`` gave for these message ids.
    """
    if not rows:
        return
    rows = [_as_stored(row) for row in rows]
    by_hand = await _totals_by_hand(db, session_id, {row["agent_id"] for row in rows})
    fresh = insert(Usage)
    changed = {name: getattr(fresh.excluded, name) for name in ("model", "computed_cost", "reported_cost", "occurred_at", *TOKENS)}
    statement = fresh.on_conflict_do_update(index_elements=["session_id", "message_id"], set_=changed)
    differences: dict[UUID, dict[str, Any]] = defaultdict(lambda: defaultdict(int))
    spent = []
    for row in rows:
        old = before.get(row["message_id"], {})
        totals, old_totals = _totals(row), _totals(old)
        # A row stays with the agent that it was written for.
        agent_id = old.get("agent_id", row["agent_id"])
        for name, value in totals.items():
            differences[agent_id][name] += value - old_totals[name]
        spent.append((row["occurred_at"], 0, totals["cost"] - old_totals["cost"]))
    async with translated(db, session_id=session_id):
        await (await db.connection()).execute(statement, [row | {"session_id": session_id} for row in rows])
        for agent_id, moved in sorted(differences.items()):
            set_by_hand = by_hand.get(agent_id, {})
            await move_totals(db, session_id, agent_id, {name: value - set_by_hand.get(name, 0) for name, value in moved.items()})
        await count_minutes(db, session_id, spent)


def _as_stored(row: dict[str, Any]) -> dict[str, Any]:
    """Return a row with costs as the database rounds them, or totals would differ from the sum of the rows."""
    return row | {name: exact_dollars(row[name]) for name in COSTS if row.get(name) is not None}


async def _totals_by_hand(db: AsyncSession, session_id: UUID, agent_ids: set[UUID]) -> dict[UUID, dict[str, Any]]:
    """Return the totals of those agents that have no usage rows yet: what was set by hand ends with the first of them."""
    used = select(col(Usage.message_id)).where(col(Usage.session_id) == session_id, col(Usage.agent_id) == col(Agent.id)).exists()
    cost = type_coerce(col(Agent.cost), ExactMoney).label("cost")
    columns = [col(Agent.id), *(getattr(Agent, name) for name in TOTALS if name != "cost"), cost]
    query = select(*columns).where(col(Agent.session_id) == session_id, col(Agent.id) == one_of(agent_ids, Uuid), ~used)
    return {row.id: {name: getattr(row, name) for name in TOTALS} for row in await db.execute(query)}


def _totals(row: Mapping[str, Any]) -> dict[str, Any]:
    cost = row.get("computed_cost") if row.get("computed_cost") is not None else row.get("reported_cost")
    return {
        "input_tokens": row.get("input_tokens", 0),
        "output_tokens": row.get("output_tokens", 0),
        "cache_read_tokens": row.get("cache_read_tokens", 0),
        "cache_write_tokens": row.get("cache_write_5m_tokens", 0) + row.get("cache_write_1h_tokens", 0),
        "cost": cost if cost is not None else Decimal(0),
    }
