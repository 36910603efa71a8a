"""Events: append and list."""

from collections import defaultdict
from collections.abc import Callable, Collection, Sequence
from datetime import datetime
from typing import Any, Literal, NamedTuple
from uuid import UUID

from sqlalchemy import Text, Uuid, case, cast, func, insert, literal, literal_column, select, tuple_
from sqlalchemy.dialects.postgresql import insert as postgresql_insert
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import defer, with_expression
from sqlalchemy.orm.attributes import set_committed_value
from sqlmodel import col

from session_db.crud.locking import lock_sessions
from session_db.crud.paging import Page, checked_limit, decode_cursor, read_page
from session_db.crud.rows import all_of, move, one_of, one_or_none, run
from session_db.database.violations import translated
from session_db.errors import InvalidInput
from session_db.ids import new_id
from session_db.models import ActivityMinute, AgentLog, AgentLogCreate, Session
from session_db.models.table import JSONText, UtcDateTime, as_utc, decode_json, encode_json, now
from session_db.models.text import READABLE_LIMIT, cut, shown, texts_in

_FOREIGN_JSON = ("payload", "tool_input")
_ORDERS: dict[str, dict[Any, type]] = {
    "recorded": {col(AgentLog.event_index): int},
    "happened": {col(AgentLog.timestamp): datetime, col(AgentLog.event_index): int},
}
"""Columns that order a list, with their types in a cursor."""

_ASKS_AGAIN = "PermissionRequest"
"""A hook's event about a call that is an event already, and whose id it does not tell."""


class AppendedEvent(NamedTuple):
    """Where an event stands, and whether this call put it there."""

    id: UUID
    event_index: int
    is_new: bool


async def create_agent_log(db: AsyncSession, log_data: AgentLogCreate) -> AgentLog:
    """Append one event and return it; an id that the session has already gives the stored event.

    Raises:
        NotFound: there is no such session, or its agent is not in it.
    """
    appended = (await append_agent_logs(db, [log_data]))[0]
    query = select(AgentLog).where(col(AgentLog.session_id) == log_data.session_id, col(AgentLog.id) == appended.id)
    stored: AgentLog = await one_or_none(db, query)
    return stored


async def append_agent_logs(
    db: AsyncSession, logs: Sequence[AgentLogCreate], *, last_activity: datetime | None = None
) -> list[AppendedEvent]:
    """Append events of any number of sessions, each after what its session has, and say where each stands.

    An event whose id its session has already, or which stands in ``logs`` twice, changes nothing. Costs four statements a session and
    one for all new events; the sessions stay locked until the transaction ends.

    Args:
        db: the database session.
        logs: the events; of one session in their order.
        last_activity: when the newest of them happened; unset: now.

    Raises:
        NotFound: a session does not exist, or an agent is not in it. Nothing is appended then.
    """
    sessions = await lock_sessions(db, (log.session_id for log in logs))
    keyed = [(log.id or new_id(), log) for log in logs]
    by_session: dict[UUID, list[tuple[UUID, AgentLogCreate]]] = defaultdict(list)
    for event_id, log in keyed:
        by_session[log.session_id].append((event_id, log))
    places: dict[tuple[UUID, UUID], AppendedEvent] = {}
    rows: list[dict[str, Any]] = []
    for session_id, events in by_session.items():
        rows += await _place(db, sessions[session_id], events, places)
    if rows:
        await _insert(db, rows, last_activity)
    appended = []
    for event_id, log in keyed:
        place = places[log.session_id, event_id]
        appended.append(place)
        # An event that stands in the list twice is new once.
        places[log.session_id, event_id] = place._replace(is_new=False)
    return appended


async def _place(
    db: AsyncSession, session: Session, events: list[tuple[UUID, AgentLogCreate]], places: dict[tuple[UUID, UUID], AppendedEvent]
) -> list[dict[str, Any]]:
    """Note where each event stands, and return the rows of those that the session has not got."""
    ids = one_of((event_id for event_id, _ in events), Uuid)
    query = select(col(AgentLog.id), col(AgentLog.event_index)).where(col(AgentLog.session_id) == session.id, col(AgentLog.id) == ids)
    for event_id, event_index in await run(db, query):
        places[session.id, event_id] = AppendedEvent(event_id, event_index, is_new=False)
    rows: list[dict[str, Any]] = []
    for event_id, event in events:
        if (session.id, event_id) in places:
            continue
        event_index = session.event_count + len(rows)
        places[session.id, event_id] = AppendedEvent(event_id, event_index, is_new=True)
        rows.append(_row(event) | {"id": event_id, "event_index": event_index})
    return rows


def _row(event: AgentLogCreate) -> dict[str, Any]:
    values = event.model_dump(exclude={"tool_input", "payload", "tool_output", "content"})
    tool_output, output_cut = cut(event.tool_output)
    content, content_cut = cut(event.content)
    payload = event.payload
    if payload is None and (tool_output, content) != (event.tool_output, event.content):
        # Nothing that was sent is lost: what does not fit the columns stands whole in the payload.
        payload = {"tool_output": event.tool_output, "content": event.content}
    if event.content is None and event.tool_output is None and event.event_type != _ASKS_AGAIN:
        # What a tool was asked stands in a column that no search may look into.
        content, content_cut = cut(texts_in(_decoded(event.tool_input)))
    return values | {
        # Encoded here: what is no JSON is refused before anything is written.
        "tool_input": None if event.tool_input is None else encode_json(event.tool_input, "tool_input"),
        "payload": None if payload is None else encode_json(payload, "payload"),
        "tool_output": tool_output,
        "content": content,
        "truncated": output_cut or content_cut,
        "timestamp": event.timestamp or now(),
    }


def _decoded(value: Any) -> Any:
    """Return what a JSON text holds; another value is it already."""
    try:
        return decode_json(value) if isinstance(value, JSONText) else value
    except (ValueError, RecursionError):
        return None


async def _insert(db: AsyncSession, rows: list[dict[str, Any]], last_activity: datetime | None) -> None:
    moments: dict[UUID, list[datetime]] = defaultdict(list)
    for row in rows:
        moments[row["session_id"]].append(row["timestamp"])
    async with translated(db):
        await (await db.connection()).execute(insert(AgentLog), rows)
        for session_id, happened in moments.items():
            await move(
                db,
                Session,
                (session_id,),
                event_count=col(Session.event_count) + len(happened),
                last_activity=later_activity(last_activity),
                updated_at=now(),
            )
            await count_minutes(db, session_id, ((moment, 1, 0) for moment in happened))


def later_activity(moment: datetime | None) -> Any:
    """Return SQL for ``last_activity`` after something happened: it never moves back or ahead of the clock, and at most once a second.

    It stands in indexes; a row that moves it more often than that grows them with every event.
    """
    happened = func.clock_timestamp() if moment is None else func.least(literal(as_utc(moment), UtcDateTime()), func.clock_timestamp())
    return func.greatest(col(Session.last_activity), func.date_trunc("second", happened))


async def count_minutes(db: AsyncSession, session_id: UUID, happened: Any) -> None:
    """Add to the pulse of a session: (when, events, US dollars) each."""
    minutes: dict[datetime, list[Any]] = defaultdict(lambda: [0, 0])
    for moment, events, cost in happened:
        minute = minutes[moment.replace(second=0, microsecond=0)]
        minute[0] += events
        minute[1] += cost
    if not minutes:
        return
    rows = [
        {"session_id": session_id, "minute": minute, "events": counts[0], "cost": counts[1]} for minute, counts in sorted(minutes.items())
    ]
    fresh = postgresql_insert(ActivityMinute)
    added = {name: getattr(ActivityMinute, name) + getattr(fresh.excluded, name) for name in ("events", "cost")}
    statement = fresh.on_conflict_do_update(index_elements=["session_id", "minute"], set_=added)
    await (await db.connection()).execute(statement, rows)


async def get_agent_log(db: AsyncSession, session_id: UUID, event: UUID | int, *, verbatim: bool = False) -> AgentLog | None:
    """Return the whole event with this id or this event_index, or None where the session has none.

    With ``verbatim`` its payload and its tool_input are the sender's own text, each a ``JSONText``.
    """
    query = _events(session_id).where(col(AgentLog.event_index if isinstance(event, int) else AgentLog.id) == event)
    if verbatim:
        logs = await _read_with(db, query, [cast(getattr(AgentLog, name), Text) for name in _FOREIGN_JSON], read=JSONText)
        return logs[0] if logs else None
    log: AgentLog | None = await one_or_none(db, query.options(*_sizes()))
    return log


async def list_agent_logs(  # noqa: PLR0913  filters, each by its name
    db: AsyncSession,
    session_id: UUID,
    *,
    agent_id: UUID | None = None,
    event_category: str | None = None,
    event_type: str | None = None,
    tool_name: str | None = None,
    tool_use_id: str | None = None,
    after_index: int | None = None,
    order: Literal["recorded", "happened"] = "recorded",
    whole: bool = False,
    limit: int = 50,
    cursor: str | None = None,
) -> Page[AgentLog]:
    """Return events of a session.

    A ``payload`` or ``tool_input`` of more than 16 kB is left out: it is None, and ``payload_bytes`` or ``tool_input_bytes`` says how
    large it is. ``get_agent_log`` reads the whole event.

    Args:
        db: the database session.
        session_id: the session; an unknown one has no events.
        agent_id: only this agent's; in the order ``happened`` it has no index.
        event_category: only hook, response or phase. As the next two it has none: a page looks at 10,000 events at most, and may be short
            or empty and have a next one.
        event_type: only this type.
        tool_name: only this tool's.
        tool_use_id: only those of one call.
        after_index: only those after this event_index.
        order: ``recorded`` (event_index, what a follower needs) or ``happened`` (timestamp, what a timeline shows).
        whole: leave nothing out; a page takes as much memory as its events have.
        limit: rows a page, 1 to 1000.
        cursor: ``next_cursor`` of the page before, in the same order.
    """
    checked_limit(limit)
    query = _events(session_id)
    filters = [
        getattr(AgentLog, name) == value
        for name, value in {"event_category": event_category, "event_type": event_type, "tool_name": tool_name}.items()
        if value is not None
    ]
    if agent_id is not None and order == "recorded":
        query = query.where(col(AgentLog.agent_id) == agent_id)
    elif agent_id is not None:
        filters.append(col(AgentLog.agent_id) == agent_id)
    if tool_use_id is not None:
        # So few that what else they must be makes no walk.
        query, filters = query.where(col(AgentLog.tool_use_id) == tool_use_id, *filters), []
    if after_index is not None:
        query = query.where(col(AgentLog.event_index) > after_index)
    key = _ORDERS.get(order) if isinstance(order, str) else None
    if key is None:
        raise InvalidInput(f"order {shown(order)} is unknown; use recorded or happened.", path="order", order=order)
    if cursor is not None:
        query = query.where(tuple_(*key) > tuple_(*decode_cursor(cursor, *key.values())))
    return await read_page(db, query, *key, limit=limit, filters=filters, read=_read_whole if whole else _read)


async def get_last_agent_logs(db: AsyncSession, session_id: UUID, *, agent_id: UUID | None = None, limit: int = 50) -> list[AgentLog]:
    """Return the events of a session, or of one agent in it, that were recorded last, in their order; bounded as ``list_agent_logs``."""
    checked_limit(limit)
    query = _events(session_id)
    if agent_id is not None:
        query = query.where(col(AgentLog.agent_id) == agent_id)
    rows = await _read(db, query.order_by(col(AgentLog.event_index).desc()).limit(limit))
    return rows[::-1]


async def get_phases(db: AsyncSession, session_id: UUID, limit: int) -> list[AgentLog]:
    """Return the last changes of a session's status, in their order; a payload that is large is left out."""
    # Written out, so that whoever plans the statement knows the index of it.
    changes = (literal_column("event_category") == literal_column("'phase'"), col(AgentLog.event_type) == "StatusChange")
    rows = await _read(db, _events(session_id).where(*changes).order_by(col(AgentLog.event_index).desc()).limit(limit))
    return rows[::-1]


def _events(session_id: UUID) -> Any:
    """Select the events of a session that is not deleted."""
    live = select(col(Session.id)).where(col(Session.id) == session_id, col(Session.deleted_at).is_(None)).exists()
    return select(AgentLog).where(col(AgentLog.session_id) == session_id, live)


def _sizes() -> list[Any]:
    return [with_expression(getattr(AgentLog, f"{name}_bytes"), _size(name)) for name in _FOREIGN_JSON]


def _size(name: str) -> Any:
    return func.octet_length(cast(getattr(AgentLog, name), Text))


async def list_hook_events(  # noqa: PLR0913  whose events, which, and the page
    db: AsyncSession, session_id: UUID, sdk_session_id: str, event_types: Collection[str], *, after_index: int, limit: int
) -> list[AgentLog]:
    """Return the next events of these types that hooks told of an SDK session; bounded as ``list_agent_logs``.

    Costs a walk over the session's events from ``after_index`` on, until there are as many.
    """
    of_hooks = (col(AgentLog.event_category) == "hook", col(AgentLog.event_type) == one_of(event_types))
    of_client = (col(AgentLog.sdk_session_id) == sdk_session_id, col(AgentLog.event_index) > after_index)
    return await _read(db, _events(session_id).where(*of_hooks, *of_client).order_by(col(AgentLog.event_index)).limit(limit))


async def _read_whole(db: AsyncSession, query: Any) -> list[AgentLog]:
    return await all_of(db, query.options(*_sizes()))


async def _read(db: AsyncSession, query: Any) -> list[AgentLog]:
    """Return the events of a query, without what is too large for a list."""
    return await _read_with(db, query, [case((_size(name) <= READABLE_LIMIT, getattr(AgentLog, name))) for name in _FOREIGN_JSON])


async def _read_with(db: AsyncSession, query: Any, foreign: list[Any], read: Callable[[Any], Any] | None = None) -> list[AgentLog]:
    """Return the events of a query, their foreign JSON as these expressions give it, read by a function where there is one."""
    query = query.add_columns(*foreign).options(*_sizes(), *(defer(getattr(AgentLog, name)) for name in _FOREIGN_JSON))
    logs = []
    for log, *values in await run(db, query.execution_options(populate_existing=True)):
        for name, value in zip(_FOREIGN_JSON, values, strict=True):
            set_committed_value(log, name, value if read is None or value is None else read(value))
        logs.append(log)
    return logs


async def get_tool_calls(db: AsyncSession, session_id: UUID, tool_use_ids: Collection[str]) -> dict[str, tuple[str | None, datetime]]:
    """Return the tool and the beginning of these calls, by tool_use_id, as far as they are recorded."""
    if not tool_use_ids:
        return {}
    query = select(col(AgentLog.tool_use_id), col(AgentLog.tool_name), col(AgentLog.timestamp)).where(
        col(AgentLog.session_id) == session_id,
        col(AgentLog.tool_use_id) == one_of(tool_use_ids),
        col(AgentLog.event_type) == "ToolUseBlock",
    )
    return {str(tool_use_id): (tool_name, moment) for tool_use_id, tool_name, moment in await db.execute(query)}
