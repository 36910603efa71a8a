"""The statements of a search: which rows of sessions, messages and events have its words, between one place in time and another."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, NamedTuple
from uuid import UUID

from sqlalchemy import BigInteger, Integer, Text, Uuid, and_, cast, func, literal, literal_column, null, or_, select, true, tuple_
from sqlalchemy.dialects.postgresql import ARRAY, TSQUERY
from sqlalchemy.ext.asyncio import AsyncSession

from session_db.crud.rows import one_of, run
from session_db.models import METADATA
from session_db.models.search import HitType, words_of
from session_db.models.table import UtcDateTime, as_utc

GLANCED = 1_000
"""Newest rows of a kind that are looked at before an index of words is asked."""

CANDIDATES = 2_000
"""Rows of a kind with the words that a statement looks at, at most."""

_SIBLINGS = 50
"""Events of one call that are looked at."""

_SAID_BY_HOOKS = ("MessageDisplay", "Stop")
"""Events with which hooks tell what stands in the conversation."""

_FIRST = UUID(int=0)

_SESSIONS, _AGENTS = METADATA.tables["sessions"], METADATA.tables["agents"]


class Place(NamedTuple):
    """A place in the order of hits, which is descending: those of one moment by rank, session and index."""

    moment: datetime
    rank: int = 0
    session_id: UUID = _FIRST
    number: int = 0


class Candidate(NamedTuple):
    """A row that matches."""

    place: Place
    tool_use_id: str | None


class Span(NamedTuple):
    """What was found from one place to another.

    ``looked_at`` counts the rows with the words, whatever else they have. ``last`` is the place of the last one where their number ended
    the statement; ``is_cut`` says that it ended anywhere.
    """

    candidates: list[Candidate]
    looked_at: int
    last: Place | None = None
    is_cut: bool = False


@dataclass(frozen=True)
class Kind:
    """A table that is searched."""

    type: HitType
    rank: int
    table: Any
    key: str
    moment: str
    index: str | None
    texts: tuple[str, ...]
    """What has an index of its words, as ``words_of`` names it."""
    columns: tuple[str, ...]
    """What the conditions of a search need beside the key."""


KINDS: dict[HitType, Kind] = {
    "session": Kind(
        "session", 3, _SESSIONS, "id", "last_activity", None, ("session",), ("metadata", "title", "session_slug", "description")
    ),
    "message": Kind("message", 2, METADATA.tables["messages"], "session_id", "said_at", "message_index", ("message",), ("message_data",)),
    "event": Kind(
        "event",
        1,
        METADATA.tables["agent_logs"],
        "session_id",
        "timestamp",
        "event_index",
        ("content", "tool_output"),
        ("content", "tool_output", "tool_use_id", "tool_name", "event_type", "agent_id", "sdk_session_id"),
    ),
}


@dataclass(frozen=True)
class Asked:
    """What is searched, and where."""

    words: str
    """A tsquery as text."""
    loose: str
    """One that an index answers by itself, for all that the other finds, and perhaps more."""
    kinds: Sequence[Kind]
    of_session: dict[str, Any]
    of_event: dict[str, Any]
    tool_output: bool
    scope: Sequence[UUID] | None
    """Sessions to which the search is confined; None: too many to name, or all."""
    since: datetime | None
    until: datetime | None

    @property
    def begin(self) -> Place | None:
        """The place of the oldest row that may be found."""
        return None if self.since is None else Place(self.since)

    @property
    def hides_what_was_said(self) -> bool:
        """Say whether a text that stands in a message is left out where an event repeats it."""
        return len(self.kinds) > 1


async def newest(db: AsyncSession, kind: Kind, asked: Asked, start: Place | None) -> list[Place]:
    """Return the place of the newest row, and that of the row which ends a glance where there are so many; nothing of an empty table."""
    rows = _glanced(kind, asked, _columns(kind, others=False), start, asked.begin).subquery()
    place = func.row_number().over(order_by=_newest_first(kind, rows)).label("place")
    numbered = select(*_key(kind, rows), place).subquery()
    ends = select(numbered).where(numbered.c.place.in_((1, GLANCED))).order_by(numbered.c.place)
    return [_place(kind, row) for row in await run(db, ends)]


async def glance(db: AsyncSession, kind: Kind, asked: Asked, start: Place | None, end: Place | None) -> Span:
    """Return which of the newest rows match; the end is one that ``newest`` gave."""
    rows = _fence(_glanced(kind, asked, _columns(kind), start, end))
    query, fits = _looked_at(kind, asked, rows, rows)
    query = query.where(_has_words(kind, asked, rows, asked.loose)).add_columns(and_(fits, *_exactly(kind, asked, rows)))
    found = (await run(db, query)).all()
    return Span([_candidate(kind, row) for row in found if row[-1]], len(found))


async def all_within(db: AsyncSession, kind: Kind, asked: Asked, start: Place, end: Place | None) -> Span:
    """Return which rows match from one place to another, where a statement can look at all of them.

    With no end they go to the oldest, and the index of time is not asked: it would be read to its end for a word that next to nothing has.
    """
    span = _between(kind, kind.table, start, end, _by_time(kind, asked)) if end is not None else []
    # The limit stands outside of the fence, or PostgreSQL hopes to come by as many rows without an index; it reads no more than that.
    having = _fence(_indexed(kind, asked, *span), "having")
    rows = select(having).limit(CANDIDATES + 1).subquery("looked_at")
    query, fits = _looked_at(kind, asked, rows, rows)
    found = (await run(db, query.add_columns(and_(fits, *_exactly(kind, asked, rows), *_between(kind, rows, start, asked.begin))))).all()
    return Span([_candidate(kind, row) for row in found if row[-1]], len(found), is_cut=len(found) > CANDIDATES)


async def first_within(db: AsyncSession, kind: Kind, asked: Asked, start: Place, end: Place) -> Span:
    """Return the first rows that match from one place to another, as many as a statement looks at; all of them are sorted."""
    by = _by_time(kind, asked)
    found_there = _indexed(kind, asked, *_between(kind, kind.table, start, end, by))
    rows = _fence(found_there.order_by(*_newest_first(kind, kind.table, by)).limit(CANDIDATES))
    query, fits = _looked_at(kind, asked, rows, rows)
    found = (await run(db, query.add_columns(and_(fits, *_exactly(kind, asked, rows))))).all()
    last = min(_place(kind, row) for row in found) if len(found) == CANDIDATES else None
    return Span([_candidate(kind, row) for row in found if row[-1]], len(found), last)


async def latest_of_calls(db: AsyncSession, asked: Asked, calls: Iterable[tuple[UUID, str]]) -> dict[tuple[UUID, str], Place]:
    """Return the place of the newest event of each call that matches."""
    wanted = list(dict.fromkeys(calls))
    if not wanted:
        return {}
    kind = KINDS["event"]
    sessions, ids = zip(*wanted, strict=True)
    arrays = (literal(list(sessions), ARRAY(Uuid())), literal(list(ids), ARRAY(Text())))
    call = func.unnest(*arrays).table_valued("session_id", "tool_use_id", name="call").render_derived()
    of_call = [kind.table.c[name] == call.c[name] for name in ("session_id", "tool_use_id")]
    end = None if asked.until is None else Place(asked.until)
    rows = select(*_columns(kind)).where(*of_call, *_between(kind, kind.table, end, asked.begin)).limit(_SIBLINGS).lateral("siblings")
    query, fits = _looked_at(kind, asked, rows, call.join(rows, true()))
    latest: dict[tuple[UUID, str], Place] = {}
    for row in await run(db, query.where(_has_words(kind, asked, rows, asked.words), fits)):
        place, tool_use_id = _candidate(kind, row)
        key = (place.session_id, str(tool_use_id))
        latest[key] = max(place, latest.get(key, place))
    return latest


def _glanced(kind: Kind, asked: Asked, columns: list[Any], start: Place | None, end: Place | None) -> Any:
    """Select the newest rows, in their order."""
    by = _by_time(kind, asked)
    query = (
        select(*columns).where(*_between(kind, kind.table, start, end, by)).order_by(*_newest_first(kind, kind.table, by)).limit(GLANCED)
    )
    if asked.scope is None:
        return query
    # For each session by itself: an index has the newest of one in their order, and not of several.
    scope = func.unnest(literal(list(asked.scope), ARRAY(Uuid()))).table_valued("id", name="scope").render_derived()
    rows = query.where(kind.table.c[kind.key] == scope.c.id).lateral("of_one")
    return select(*rows.c).select_from(scope.join(rows, true())).order_by(*_newest_first(kind, rows)).limit(GLANCED)


def _indexed(kind: Kind, asked: Asked, *within: Any) -> Any:
    """Select the rows that have the words."""
    in_scope = [] if asked.scope is None else [kind.table.c[kind.key] == one_of(asked.scope, Uuid)]
    return select(*_columns(kind)).where(_has_words(kind, asked, kind.table, asked.loose), *within, *in_scope)


def _fence(query: Any, name: str = "looked_at") -> Any:
    """Return rows that PostgreSQL reads before it looks at anything else: together it may find another way, which takes minutes."""
    return query.cte(name).prefix_with("MATERIALIZED")


def _looked_at(kind: Kind, asked: Asked, rows: Any, source: Any) -> tuple[Any, Any]:
    """Select the keys of rows with their calls, and return with it the condition that they may be found."""
    live = _one(_SESSIONS, _SESSIONS.c.id == rows.c[kind.key], "live")
    source = source.join(live, true())
    conditions = [live.c.deleted_at.is_(None), *(live.c[name] == value for name, value in asked.of_session.items())]
    tool_use_id: Any = null()
    if kind.type == "event":
        tool_use_id = rows.c.tool_use_id
        conditions += [rows.c[name] == value for name, value in asked.of_event.items()]
        if asked.hides_what_was_said:
            agent = _one(_AGENTS, and_(_AGENTS.c.session_id == rows.c.session_id, _AGENTS.c.id == rows.c.agent_id), "agent")
            source = source.outerjoin(agent, true())
            conditions.append(~_is_said(rows, live, agent))
    return select(*_key(kind, rows), tool_use_id.label("tool_use_id")).select_from(source), and_(*conditions)


def _one(table: Any, condition: Any, name: str) -> Any:
    """Return the row of a table that fits another one: with a limit it is looked up, and the table is not read as a whole."""
    return select(table).where(condition).limit(1).lateral(name)


def _has_words(kind: Kind, asked: Asked, rows: Any, tsquery: str) -> Any:
    words = cast(literal(tsquery, Text()), TSQUERY)
    texts = (text for text in kind.texts if text != "tool_output" or asked.tool_output)
    return or_(*(literal_column(words_of(f"{rows.name}.", text)).bool_op("@@")(words) for text in texts))


def _exactly(kind: Kind, asked: Asked, rows: Any) -> list[Any]:
    """Return what more rows must have than the index was asked for."""
    return [] if asked.words == asked.loose else [_has_words(kind, asked, rows, asked.words)]


def _is_said(rows: Any, live: Any, agent: Any) -> Any:
    """Return the condition that the text of an event stands in the conversation as well, or in that of a sub-agent."""
    event_type = rows.c.event_type
    # What is asked by a command of the client's stands in no message.
    is_prompt = and_(event_type == "UserPromptSubmit", ~func.starts_with(func.coalesce(rows.c.content, ""), "/"))
    is_answer = and_(event_type == "TextBlock", agent.c.parent_agent_id.is_(None), rows.c.sdk_session_id.is_not(None))
    # A transcript that was read has told what the agent spent, and its answers with it.
    is_read = agent.c.output_tokens > 0
    in_conversation = and_(live.c.message_count > 0, or_(event_type == one_of(_SAID_BY_HOOKS), is_prompt, is_answer))
    return or_(in_conversation, and_(event_type == "SubagentStop", is_read))


def _columns(kind: Kind, *, others: bool = True) -> list[Any]:
    """Return the key of rows, and what else the conditions of a search need of them."""
    names = (kind.key, kind.moment, kind.index, *(kind.columns if others else ()))
    return [kind.table.c[name] for name in names if name is not None]


def _key(kind: Kind, rows: Any) -> list[Any]:
    index = literal(0, BigInteger()) if kind.index is None else rows.c[kind.index]
    return [rows.c[kind.moment].label("moment"), rows.c[kind.key].label("session_id"), index.label("index")]


def _by_moment(moment: Any) -> Any:
    return moment


def _by_time(kind: Kind, asked: Asked) -> Callable[[Any], Any]:
    """Return how the moments of rows are compared, so that an index has them: of all sessions, or of those in scope."""
    # The index of all events is one of an expression, so that nobody else's query of a session's events is read by it.
    return _utc if kind.type == "event" and asked.scope is None else _by_moment


def _utc(moment: Any) -> Any:
    return func.timezone(literal_column("'UTC'"), moment)


def _newest_first(kind: Kind, rows: Any, by: Callable[[Any], Any] = _by_moment) -> list[Any]:
    return [by(rows.c[kind.moment]).desc(), *(rows.c[name].desc() for name in (kind.key, kind.index) if name is not None)]


def _between(kind: Kind, rows: Any, start: Place | None, end: Place | None, by: Callable[[Any], Any] = _by_moment) -> list[Any]:
    """Return the conditions that rows stand behind the start, and not behind the end."""
    moment, session_id, index = (column.element for column in _key(kind, rows))
    key = tuple_(by(moment), literal(kind.rank, Integer()), session_id, index)
    conditions = []
    if start is not None:
        conditions.append(key < _row(start, by))
    if end is not None:
        conditions.append(key >= _row(end, by))
    return conditions


def _row(place: Place, by: Callable[[Any], Any]) -> Any:
    types: tuple[Any, ...] = (Integer(), Uuid(), BigInteger())
    others = (literal(value, kind) for value, kind in zip(place[1:], types, strict=True))
    return tuple_(by(literal(place.moment, UtcDateTime())), *others)


def _place(kind: Kind, row: Any) -> Place:
    moment, session_id, number, *_ = row
    # The driver gives the first and the last moment that there is without a zone.
    return Place(as_utc(moment), kind.rank, session_id, number)


def _candidate(kind: Kind, row: Any) -> Candidate:
    return Candidate(_place(kind, row), row.tool_use_id)
