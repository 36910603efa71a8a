"""Counters: what sessions and agents count, compared with the rows, and set right.

A comparison is one statement, which sees a counter and its rows as they were in one moment: writers are not waited for, and none waits.
"""

from collections.abc import Collection, Iterable, Iterator
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any, NamedTuple
from uuid import UUID

from sqlalchemy import Uuid, bindparam, literal, select, text, update
from sqlalchemy.dialects.postgresql import ARRAY, insert
from sqlalchemy.ext.asyncio import AsyncSession
from sqlmodel import col

from session_db.crud.agents import TOTALS
from session_db.crud.locking import lock_session_if_any
from session_db.crud.rows import move
from session_db.models import ActivityMinute, Agent, Session
from session_db.models.table import BigInt, ExactMoney, UtcDateTime

WALKED = 50_000
"""Rows that one statement counts of a large session."""

SMALL = 10_000
"""Events, or messages, up to which a session is counted whole with others."""

MINUTES = 500
"""Minutes that are counted again in one transaction."""

_MINUTE = timedelta(minutes=1)

_COUNTED = {"event_count": ("agent_logs", "event_index"), "message_count": ("messages", "message_index")}
"""By the counter of a session: the table whose rows it counts, and their index."""


class WrongCounter(NamedTuple):
    """A counter that is not what the rows say.

    Attributes:
        session_id: the session.
        name: event_count, message_count, total_…, minute_costs; a total of an agent; or events, of a minute.
        stored: what it is.
        actual: what the rows make it.
        agent_id: the agent, where it is its total.
        minute: the minute, where it is its events.
    """

    session_id: UUID
    name: str
    stored: Decimal | int
    actual: Decimal | int
    agent_id: UUID | None = None
    minute: datetime | None = None


class Gap(NamedTuple):
    """How many rows of a session are missing between others, by the counter that counts them."""

    session_id: UUID
    counter: str
    missing: int


class Comparison(NamedTuple):
    """What is not as the rows say, and what the rows themselves lack."""

    wrong: list[WrongCounter]
    gaps: list[Gap]


def _lateral(counter: str) -> str:
    """Return the next index of each session's rows, and their number where the session is small."""
    table, index = _COUNTED[counter]
    following = f"SELECT coalesce(max({index}) + 1, 0) AS following FROM {table} WHERE session_id = s.id"
    number = f"CASE WHEN n.following <= :small THEN (SELECT count(*) FROM {table} WHERE session_id = s.id) END AS number"
    return f"CROSS JOIN LATERAL (SELECT n.following, {number} FROM ({following}) n) {counter}"


def _ids(*names: str) -> list[Any]:
    return [bindparam(name, type_=ARRAY(Uuid())) for name in names]


_SPENT = "coalesce(computed_cost, reported_cost, 0)"
_SESSIONS = text(f"""
    SELECT s.id, {", ".join(f"s.{name} AS stored_{name}, {name}.following AS {name}, {name}.number AS number_{name}" for name in _COUNTED)},
           {", ".join(f"s.total_{name} AS stored_total_{name}, a.total_{name}" for name in TOTALS)},
           (SELECT coalesce(sum(cost), 0) FROM activity_minutes WHERE session_id = s.id) AS stored_minute_costs,
           (SELECT coalesce(sum({_SPENT}), 0) FROM usage WHERE session_id = s.id) AS minute_costs
    FROM sessions s
    {" ".join(map(_lateral, _COUNTED))}
    CROSS JOIN LATERAL (
        SELECT {", ".join(f"coalesce(sum({name}), 0) AS total_{name}" for name in TOTALS)} FROM agents WHERE session_id = s.id
    ) a
    WHERE s.id = ANY(:ids) AND s.deleted_at IS NULL
    ORDER BY s.id
""").bindparams(*_ids("ids"))

_OF_SESSION = (*_COUNTED, *(f"total_{name}" for name in TOTALS), "minute_costs")

_OF_USAGE = {name: f"sum({name})" for name in TOTALS} | {
    "cache_write_tokens": "sum(cache_write_5m_tokens + cache_write_1h_tokens)",
    "cost": f"sum({_SPENT})",
}
_AGENTS = text(f"""
    SELECT a.session_id, a.id, {", ".join(f"a.{name} AS stored_{name}, u.{name}" for name in TOTALS)}
    FROM agents a
    JOIN (
        SELECT session_id, agent_id, {", ".join(f"{total} AS {name}" for name, total in _OF_USAGE.items())}
        FROM usage WHERE session_id = ANY(:ids) GROUP BY session_id, agent_id
    ) u ON (u.session_id, u.agent_id) = (a.session_id, a.id)
    JOIN sessions s ON s.id = a.session_id AND s.deleted_at IS NULL
    WHERE a.session_id = ANY(:ids)
    ORDER BY a.session_id, a.id
""").bindparams(*_ids("ids"))

_MINUTES = text("""
    SELECT s.id, minute, coalesce(m.events, 0) AS stored, coalesce(e.events, 0) AS actual
    FROM (
        SELECT session_id, date_trunc('minute', "timestamp", 'UTC') AS minute, count(*) AS events
        FROM agent_logs WHERE session_id = ANY(:ids) GROUP BY 1, 2
    ) e
    FULL JOIN (SELECT session_id, minute, events FROM activity_minutes WHERE session_id = ANY(:ids)) m USING (session_id, minute)
    JOIN sessions s ON s.id = session_id AND s.deleted_at IS NULL
    WHERE coalesce(m.events, 0) <> coalesce(e.events, 0)
    ORDER BY s.id, minute
""").bindparams(*_ids("ids"))

_THESE_MINUTES = text("""
    SELECT s.id, w.minute, coalesce(m.events, 0) AS stored, e.events AS actual
    FROM unnest(:minutes) w (minute)
    JOIN sessions s ON s.id = :session_id AND s.deleted_at IS NULL
    LEFT JOIN activity_minutes m ON (m.session_id, m.minute) = (s.id, w.minute)
    CROSS JOIN LATERAL (
        SELECT count(*) AS events FROM agent_logs
        WHERE session_id = s.id AND "timestamp" >= w.minute AND "timestamp" < w.minute + interval '1 minute'
    ) e
    WHERE coalesce(m.events, 0) <> e.events
    ORDER BY w.minute
""").bindparams(bindparam("session_id", type_=Uuid()), bindparam("minutes", type_=ARRAY(UtcDateTime())))

_NEXT_MINUTES = text("""
    SELECT date_trunc('minute', "timestamp", 'UTC') AS minute, count(*) AS events
    FROM (
        SELECT "timestamp" FROM agent_logs WHERE session_id = :session_id AND "timestamp" >= :start
        ORDER BY "timestamp", event_index LIMIT :walked
    ) e
    GROUP BY 1 ORDER BY 1
""").bindparams(bindparam("session_id", type_=Uuid()), bindparam("start", type_=UtcDateTime()))

_STORED_MINUTES = text("SELECT minute, events FROM activity_minutes WHERE session_id = :session_id").bindparams(
    bindparam("session_id", type_=Uuid())
)

_SPENT_MINUTES = text(f"""
    INSERT INTO activity_minutes (session_id, minute, events, cost)
    SELECT session_id, date_trunc('minute', occurred_at, 'UTC'), 0, sum({_SPENT}) FROM usage WHERE session_id = :session_id GROUP BY 1, 2
    ON CONFLICT (session_id, minute) DO UPDATE SET cost = excluded.cost
""").bindparams(bindparam("session_id", type_=Uuid()))


async def list_session_ids(db: AsyncSession, *, after: UUID | None = None, limit: int = 50) -> list[UUID]:
    """Return the ids of the sessions that are not deleted, in their order, after one of them."""
    query = select(col(Session.id)).where(col(Session.deleted_at).is_(None)).order_by(col(Session.id)).limit(limit)
    if after is not None:
        query = query.where(col(Session.id) > after)
    return list((await db.execute(query)).scalars())


async def compare_counters(db: AsyncSession, session_ids: Collection[UUID], *, whole: bool = False) -> Comparison:
    """Compare the counters of some dozens of sessions with their rows.

    Args:
        db: the database session.
        session_ids: the sessions; those that are deleted are left out.
        whole: count those of more than 10,000 events or messages, too, 50,000 rows a statement; else of them only the last index and the
            totals are compared.
    """
    wrong, gaps, small = [], [], []
    for row in await _rows(db, _SESSIONS, ids=list(session_ids), small=SMALL):
        wrong += _wrong(row, _OF_SESSION)
        gaps += [gap for counter in _COUNTED if (gap := await _gap(db, row, counter, whole=whole)) is not None]
        if row["number_event_count"] is not None:
            small.append(row["id"])
        elif whole:
            wrong += await compare_minutes(db, row["id"], await _doubtful_minutes(db, row["id"]))
    wrong += await _compare_agents(db, session_ids)
    wrong += _minutes(await _rows(db, _MINUTES, ids=small))
    return Comparison(wrong, gaps)


async def _rows(db: AsyncSession, statement: Any, **values: Any) -> list[Any]:
    return list((await db.execute(statement, values)).mappings())


def _wrong(row: Any, names: Iterable[str], **whose: Any) -> list[WrongCounter]:
    pairs = [(name, row[f"stored_{name}"], row[name]) for name in names]
    return [WrongCounter(row["id"], name, stored, actual, **whose) for name, stored, actual in pairs if stored != actual]


async def _gap(db: AsyncSession, row: Any, counter: str, *, whole: bool) -> Gap | None:
    number = row[f"number_{counter}"]
    if number is None and not whole:
        return None
    missing = await _count_missing(db, row["id"], counter) if number is None else row[counter] - number
    return Gap(row["id"], counter, missing) if missing else None


async def _count_missing(db: AsyncSession, session_id: UUID, counter: str) -> int:
    """Count what is missing between the first index and the last one of a large session."""
    table, index = _COUNTED[counter]
    counted = f"SELECT count(*) FROM {table} WHERE session_id = s.id AND {index} >= :start AND {index} < n.stop"
    last = f"SELECT least(coalesce(max({index}) + 1, 0), :stop) AS stop FROM {table} WHERE session_id = s.id"
    statement = text(f"""
        SELECT n.stop, n.stop - :start - ({counted}) AS missing
        FROM sessions s CROSS JOIN LATERAL ({last}) n WHERE s.id = :session_id AND s.deleted_at IS NULL AND n.stop > :start
    """).bindparams(bindparam("session_id", type_=Uuid()), *(bindparam(name, type_=BigInt) for name in ("start", "stop")))
    missing = start = 0
    while rows := await _rows(db, statement, session_id=session_id, start=start, stop=start + WALKED):
        missing += rows[0]["missing"]
        start += WALKED
    return missing


async def _compare_agents(db: AsyncSession, session_ids: Collection[UUID]) -> list[WrongCounter]:
    """Compare the totals of agents that have usage rows; those of others were set by hand."""
    rows = await _rows(db, _AGENTS, ids=list(session_ids))
    return [each._replace(session_id=row["session_id"], agent_id=row["id"]) for row in rows for each in _wrong(row, TOTALS)]


async def _doubtful_minutes(db: AsyncSession, session_id: UUID) -> list[datetime]:
    """Return the minutes of a large session that may be wrong: several statements saw them, and somebody may have written meanwhile."""
    stored = {row["minute"]: row["events"] for row in await _rows(db, _STORED_MINUTES, session_id=session_id)}
    counted: dict[datetime, int] = {}
    start = datetime.min.replace(tzinfo=UTC)
    while rows := await _rows(db, _NEXT_MINUTES, session_id=session_id, start=start, walked=WALKED):
        found = {row["minute"]: row["events"] for row in rows}
        start = rows[-1]["minute"]
        if sum(found.values()) < WALKED:
            counted |= found
            break
        # The last minute may go on behind these rows; one that fills them all is counted by itself.
        if len(found) == 1:
            start += _MINUTE
        counted |= {minute: events for minute, events in found.items() if minute < start}
    return sorted(minute for minute in stored | counted if stored.get(minute, 0) != counted.get(minute, 0))


async def compare_minutes(db: AsyncSession, session_id: UUID, minutes: Collection[datetime]) -> list[WrongCounter]:
    """Compare the number of events of these minutes with the events."""
    wrong = []
    for some in _chunks(minutes):
        wrong += _minutes(await _rows(db, _THESE_MINUTES, session_id=session_id, minutes=some))
    return wrong


def _chunks(minutes: Collection[datetime]) -> Iterator[list[datetime]]:
    ordered = sorted(minutes)
    return (ordered[start : start + MINUTES] for start in range(0, len(ordered), MINUTES))


def _minutes(rows: Iterable[Any]) -> list[WrongCounter]:
    return [WrongCounter(row["id"], "events", row["stored"], row["actual"], minute=row["minute"]) for row in rows]


async def correct_counters(db: AsyncSession, session_id: UUID, minutes: Collection[datetime] = ()) -> int:
    """Set the counters of a session, and its events in some minutes, to what its rows say under its lock; return how many were wrong.

    Nothing is taken from what a comparison found before: somebody may have written since. An index that a row has is never given again.
    """
    if await lock_session_if_any(db, session_id) is None:
        return 0
    # Statements of their own: each sees what was committed while this one waited for the lock.
    of_agents = await _compare_agents(db, [session_id])
    for each in of_agents:
        await move(db, Agent, (session_id, each.agent_id), **{each.name: _literal(each.actual)})
    # Now that the totals of the agents are right.
    rows = await _rows(db, _SESSIONS, ids=[session_id], small=0)
    of_session = [each for row in rows for each in _wrong(row, _OF_SESSION)]
    values = {each.name: _literal(each.actual) for each in of_session if each.name != "minute_costs"}
    if values:
        await move(db, Session, (session_id,), **values)
    if len(values) < len(of_session):
        await _spread_costs(db, session_id)
    of_minutes = await compare_minutes(db, session_id, minutes)
    await _set_minutes(db, of_minutes)
    return len(of_agents) + len(of_session) + len(of_minutes)


def _literal(value: Decimal | int) -> Any:
    # A float would not be the sum to the last digit.
    return literal(value, ExactMoney) if isinstance(value, Decimal) else value


async def _spread_costs(db: AsyncSession, session_id: UUID) -> None:
    """Let the minutes of a session have the cost of its usage."""
    nothing = update(ActivityMinute).where(col(ActivityMinute.session_id) == session_id, col(ActivityMinute.cost) != 0).values(cost=0)
    await db.execute(nothing.execution_options(synchronize_session=False))
    await db.execute(_SPENT_MINUTES, {"session_id": session_id})


async def _set_minutes(db: AsyncSession, wrong: Iterable[WrongCounter]) -> None:
    rows = [{"session_id": each.session_id, "minute": each.minute, "events": each.actual} for each in wrong]
    if not rows:
        return
    fresh = insert(ActivityMinute)
    statement = fresh.on_conflict_do_update(index_elements=["session_id", "minute"], set_={"events": fresh.excluded.events})
    await (await db.connection()).execute(statement, rows)
