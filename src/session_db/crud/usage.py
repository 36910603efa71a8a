"""Usage: what the answers of language models cost."""

from collections import defaultdict
from collections.abc import Iterable, Mapping
from datetime import UTC, date, datetime, time, timedelta, tzinfo
from decimal import Decimal
from typing import Any, Literal
from uuid import UUID
from zoneinfo import ZoneInfo

from sqlalchemy import Date, Uuid, bindparam, cast, func, or_, select, true, tuple_, type_coerce
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession
from sqlmodel import col

from session_db.crud.agent_logs import count_minutes
from session_db.crud.agents import TOTALS, move_totals
from session_db.crud.paging import Page, checked_limit, decode_cursor, page_of
from session_db.crud.rows import one_of, run
from session_db.database.violations import translated
from session_db.errors import InvalidInput
from session_db.models import Agent, Session, Usage, UsageSummary
from session_db.models.table import ExactMoney, Text, as_utc, exact_dollars, now
from session_db.models.text import shown

TOKENS = ("input_tokens", "output_tokens", "cache_read_tokens", "cache_write_5m_tokens", "cache_write_1h_tokens", "web_search_requests")

COSTS = ("computed_cost", "reported_cost")

_COSTS = tuple(type_coerce(getattr(Usage, name), ExactMoney).label(name) for name in COSTS)

MAX_DAYS = 400
"""Days that usage of all sessions is summed up over at most: each of its rows is read."""

_DEFAULT_SPAN = timedelta(days=30)

_GROUPS: dict[str, dict[str, type]] = {
    "session": {"session_id": UUID},
    "agent": {"session_id": UUID, "agent_id": UUID},
    "model": {"model": str},
    "day": {"day": date},
}
"""Columns that say what a sum is about, with their types in a cursor."""

_SPENT = func.coalesce(col(Usage.computed_cost), col(Usage.reported_cost))
_CACHE_WRITE = col(Usage.cache_write_5m_tokens) + col(Usage.cache_write_1h_tokens)
_SUMS = (
    *(func.sum(getattr(Usage, name)).label(name) for name in ("input_tokens", "output_tokens", "cache_read_tokens")),
    func.sum(_CACHE_WRITE).label("cache_write_tokens"),
    func.coalesce(func.sum(_SPENT), 0).label("cost"),
)
_REQUESTS = (
    func.count().label("requests"),
    func.coalesce(func.sum(col(Usage.web_search_requests)), 0).label("web_search_requests"),
    func.count().filter(_SPENT.is_(None)).label("unpriced_requests"),
)


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


async def list_usage(  # noqa: PLR0913  filters, each by its name
    db: AsyncSession,
    *,
    by: Literal["session", "agent", "model", "day"],
    session_id: UUID | None = None,
    since: datetime | None = None,
    until: datetime | None = None,
    timezone: str = "UTC",
    limit: int = 50,
    cursor: str | None = None,
) -> Page[UsageSummary]:
    """Return sums of usage: by session or agent in the order of ids, by model of names, the unnamed one last, by day the newest first.

    A session that no span is asked of, and each of its agents, have the totals of their rows: with what was set by hand, and with the
    agents that cost nothing. All other sums are those of the usage rows in the span, each of which a page reads once; a cost that was set
    by hand has no model and no time, and is in none of them. Deleted sessions are left out.

    Args:
        db: the database session.
        by: what one sum is about.
        session_id: only this session's; an unknown one has none.
        since: when the span begins; a naive time is UTC. Unset, and with no session: 30 days before its end.
        until: when it ends, exclusive. Unset: it has no end, and counts as if it were that of today.
        timezone: IANA name of the zone that has the days.
        limit: sums a page, 1 to 1000.
        cursor: ``next_cursor`` of the page before, with the same arguments.

    Raises:
        InvalidInput: the zone is unknown, the span is empty, or it has more than 400 days and there is no session.
    """
    checked_limit(limit)
    key = _GROUPS.get(by) if isinstance(by, str) else None
    if key is None:
        raise InvalidInput(f"by {shown(by)} is unknown; use {', '.join(_GROUPS)}.", path="by", by=by)
    zone = _zone(timezone)
    since, until = checked_moment("since", since), checked_moment("until", until)
    if session_id is None:
        since = _bounded(since, until, zone)
    if since is not None and until is not None and since >= until:
        problem = f"since {since.isoformat()} is not before until {until.isoformat()}; exchange them."
        raise InvalidInput(problem, path="since", since=since, until=until)
    if session_id is not None and since is None and until is None and by in {"session", "agent"}:
        columns, query = _totals_of(by, session_id)
    else:
        columns, query = _sums_of(by, session_id, since, until, timezone)
    if cursor is not None:
        query = query.where(_after(columns, decode_cursor(cursor, *key.values()), by))
    order = [column.desc() if by == "day" else column.asc() for column in columns]
    rows = (await run(db, query.order_by(*order).limit(limit + 1))).all()
    page = page_of(rows, limit, *key)
    return Page([UsageSummary.model_validate(row._asdict()) for row in page], page.next_cursor)


def _zone(name: str) -> tzinfo:
    if name == "UTC":
        return UTC
    try:
        # Of a name that is no text ZoneInfo may make anything.
        return ZoneInfo(name if isinstance(name, str) else "")
    except (LookupError, ValueError, TypeError, AttributeError, OSError):
        raise InvalidInput(
            f"time zone {shown(name)} is unknown here; use UTC, or an IANA name such as Europe/Berlin.", path="timezone", timezone=name
        ) from None


def checked_moment(name: str, value: datetime | None) -> datetime | None:
    """Return the moment in UTC, or raise ``InvalidInput`` where it is none."""
    if value is None:
        return None
    if not isinstance(value, datetime):
        raise InvalidInput(f"{name} {shown(value)} is no datetime; send one, in UTC or with its zone.", path=name)
    return as_utc(value)


def _bounded(since: datetime | None, until: datetime | None, zone: tzinfo) -> datetime:
    """Return when a span begins that is short enough for all sessions."""
    tomorrow = now().astimezone(zone).date() + timedelta(days=1)
    # Before it is UTC: so many days of the zone's own, of which two in a year have not 24 hours.
    end = until or datetime.combine(tomorrow, time(), zone)
    if since is None:
        return as_utc(max(end, datetime.min.replace(tzinfo=UTC) + _DEFAULT_SPAN) - _DEFAULT_SPAN)
    if as_utc(end) - since > timedelta(days=MAX_DAYS):
        raise InvalidInput(
            f"since {since.isoformat()} is more than {MAX_DAYS} days before {end.isoformat()}; ask for a shorter span, or for one session.",
            path="since",
            since=since,
            until=until,
        )
    return since


def _totals_of(by: str, session_id: UUID) -> tuple[list[Any], Any]:
    """Return the key and the rows of a session, or of its agents, with the totals that they have."""
    if by == "session":
        columns = {"session_id": col(Session.id)}
        values = {name: getattr(Session, f"total_{name}") for name in TOTALS}
    else:
        columns = {"session_id": col(Agent.session_id), "agent_id": col(Agent.id)}
        values = {name: getattr(Agent, name) for name in ("agent_type", *TOTALS)}
    requests = select(*_REQUESTS).where(*(getattr(Usage, name) == column for name, column in columns.items())).lateral()
    live = select(col(Session.id)).where(col(Session.id) == session_id, col(Session.deleted_at).is_(None)).correlate(None).exists()
    named = (column.label(name) for name, column in (columns | values).items())
    query = select(*named, *requests.c).join(requests, true()).where(columns["session_id"] == session_id, live)
    return [*columns.values()], query


def _sums_of(by: str, session_id: UUID | None, since: datetime | None, until: datetime | None, timezone: str) -> tuple[list[Any], Any]:
    """Return the key and the sums over the usage rows of a span."""
    # One parameter: what is grouped by has to be what is selected.
    day = cast(func.timezone(bindparam("timezone", timezone, Text), col(Usage.occurred_at)), Date).label("day")
    columns = [day] if by == "day" else [getattr(Usage, name) for name in _GROUPS[by]]
    of_agent = select(col(Agent.agent_type)).where(col(Agent.session_id) == col(Usage.session_id), col(Agent.id) == col(Usage.agent_id))
    agent_type = [of_agent.scalar_subquery().label("agent_type")] if by == "agent" else []
    # Those that are deleted, and not erased yet, are few and have an index of their own.
    deleted = select(col(Session.id)).where(col(Session.id) == col(Usage.session_id), col(Session.deleted_at).is_not(None)).exists()
    query = select(*columns, *agent_type, *_SUMS, *_REQUESTS).where(~deleted).group_by(*columns)
    if session_id is not None:
        query = query.where(col(Usage.session_id) == session_id)
    if since is not None:
        query = query.where(col(Usage.occurred_at) >= since)
    return columns, query if until is None else query.where(col(Usage.occurred_at) < until)


def _after(columns: list[Any], seen: list[Any], by: str) -> Any:
    """Return what the sums behind a cursor have."""
    if by == "day":
        return columns[0] < seen[0]
    if by == "model":
        # The unnamed one is the last, so no cursor stands on it.
        return or_(columns[0] > seen[0], columns[0].is_(None))
    return tuple_(*columns) > tuple_(*seen)
