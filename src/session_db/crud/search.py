"""Search: full text over sessions, messages and events, the newest first.

An index of words knows no time, and sorting all that has a frequent word would take minutes. So the newest rows are looked at first, which
is enough for a frequent word; then all that has the word, where that is little; then spans of time, each as long as what was found so far
makes necessary, in which the index of words and that of time are asked together.
"""

import asyncio
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple
from uuid import UUID

from sqlalchemy import BigInteger, Text, Uuid, case, cast, func, literal, literal_column, null, select
from sqlalchemy.dialects.postgresql import ARRAY, TSQUERY
from sqlalchemy.ext.asyncio import AsyncSession
from sqlmodel import col

from session_db.crud import search_rows
from session_db.crud.listing import checked_text
from session_db.crud.paging import Page, decode_cursor, encode_cursor
from session_db.crud.rows import all_of, one_of, run
from session_db.crud.search_rows import KINDS, Asked, Candidate, Kind, Place, Span
from session_db.crud.search_text import Query, no_word, parse_query, snippet_of
from session_db.crud.usage import checked_moment
from session_db.errors import InvalidInput
from session_db.models import AgentLog, Message, Session
from session_db.models.search import OUTPUT_LIMIT, WORDS_LIMIT, HitType, SearchHit
from session_db.models.sessions import normalised_directory
from session_db.models.text import shown

MAX_LIMIT = 100
"""Hits a page: each has a text to be read."""

GLANCES = 10
"""Glances of a page while the words are frequent and what else is asked for is not; then it ends, and its cursor goes on from there."""

SPANS = 6
"""Spans of time that a page looks through at most; then it ends likewise."""

SCOPE = 500
"""Sessions up to which those of a project are searched by name."""

_FREQUENT = 10
"""Words that more than this part of a glance has are looked for by further glances: an index would take longer to say where they are."""

_RARE = 4
"""A word of which the glance finds less than this part of a page may be a rare one: then all that has it is read at once."""

_GROWTH = 16
_SHORTEST = timedelta(seconds=1)
_OLDEST = datetime(1970, 1, 1, tzinfo=UTC)
_BEFORE_ALL = Place(datetime.min.replace(tzinfo=UTC))

_EVERYTHING = "T"
"""What ``querytree`` says of a query that an index cannot answer."""

_MEMORY = "64MB"
"""What a statement may use for the places of what it found; with less it forgets the rows of a page, and reads all of them."""


async def search_records(  # noqa: PLR0913  filters, each by its name
    db: AsyncSession,
    words: str,
    *,
    hit_type: HitType | None = None,
    session_id: UUID | None = None,
    session_type: str | None = None,
    working_dir: str | None = None,
    current_project: str | None = None,
    event_type: str | None = None,
    tool_name: str | None = None,
    tool_output: bool = False,
    since: datetime | None = None,
    until: datetime | None = None,
    limit: int = 20,
    cursor: str | None = None,
) -> Page[SearchHit]:
    """Return what has these words, the newest first: sessions by name, title, slug and description, messages, and texts of events.

    A call of a tool is found once, however many events carry it, and a text of the conversation as its message alone. A page reads 1,000
    newest rows of each kind and 2,000 matching ones a statement at most, and may be short or empty and have a next one.

    Args:
        db: the database session.
        words: words that must all be there, in upper or lower case; ``"phrases"``, ``-word`` for what must not be there, ``or``. The last
            word may be the beginning of one.
        hit_type: only sessions, only messages or only events.
        session_id: only of this session.
        session_type: only of full, quick, research or chat sessions.
        working_dir: only of the project in this directory.
        current_project: only of sessions that work on this project.
        event_type: only events of this type.
        tool_name: only events of this tool.
        tool_output: also what tools gave, its first 4,096 characters.
        since: only from then on; a naive time is UTC. A session has the time when it was last active.
        until: only before then.
        limit: hits a page, 1 to 100.
        cursor: ``next_cursor`` of the page before, with the same arguments.

    Raises:
        InvalidInput: there is no word to search for, or a filter that nothing can match.
    """
    if not isinstance(limit, int) or not 1 <= limit <= MAX_LIMIT:
        raise InvalidInput(f"limit {shown(limit)} is out of range; use 1 to {MAX_LIMIT}.", path="limit", limit=limit)
    query = parse_query(words)
    since, until = checked_moment("since", since), checked_moment("until", until)
    directory = None if working_dir is None else normalised_directory(working_dir)
    of_session = _given(session_type=session_type, working_dir=directory, current_project=current_project)
    of_event = _given(event_type=event_type, tool_name=tool_name)
    exactly, loosely = await _tsqueries(db, query)
    asked = Asked(
        words=exactly,
        loose=loosely,
        kinds=_kinds(hit_type, of_event),
        of_session=of_session,
        of_event=of_event,
        tool_output=tool_output,
        scope=await _scope(db, session_id, directory, current_project),
        since=since,
        until=until,
    )
    found, end = await _newest_first(db, asked, _start(until, cursor), limit + 1)
    hits = await _load(db, query, asked, found[:limit])
    if len(found) > limit:
        end = found[limit - 1].place
    return Page(hits, None if end is None else encode_cursor(*end))


def _given(**filters: str | None) -> dict[str, str]:
    return {name: checked_text(value, name) for name, value in filters.items() if value is not None}


def _kinds(hit_type: str | None, of_event: Mapping[str, str]) -> list[Kind]:
    """Return what is searched: events alone have a type of event and a tool."""
    if hit_type is not None and hit_type not in KINDS:
        raise InvalidInput(f"type {shown(hit_type)} is unknown; use {', '.join(KINDS)}.", path="type", type=hit_type)
    for name in of_event:
        if hit_type not in (None, "event"):
            raise InvalidInput(f"{name}: only events have one; leave it out, or search events.", path=name)
    if of_event:
        hit_type = "event"
    return [kind for kind in KINDS.values() if hit_type in (None, kind.type)]


async def _tsqueries(db: AsyncSession, query: Query) -> tuple[str, str]:
    """Return the query, and the loose one, as PostgreSQL reads them; give the transaction memory for what it finds."""
    words = _read(query.websearch, has_prefix=query.has_prefix)
    loose = func.replace(cast(_read(query.loose, has_prefix=query.has_prefix), Text()), "<->", "&")
    is_less = func.pg_size_bytes(func.current_setting("work_mem")) < func.pg_size_bytes(_MEMORY)
    more = case((is_less, func.set_config("work_mem", _MEMORY, literal(value=True))))
    exactly, indexed, loosely, _ = (await run(db, select(cast(words, Text()), func.querytree(words), loose, more))).one()
    if not exactly:
        raise no_word(query.websearch)
    if indexed == _EVERYTHING:
        raise InvalidInput(f"q: {shown(query.websearch)} also means all that has no word at all; say a word on each side of or.", path="q")
    return str(exactly), str(loosely)


def _read(websearch: str, *, has_prefix: bool) -> Any:
    words = func.websearch_to_tsquery(literal_column("'simple'"), literal(websearch, Text()))
    # What websearch_to_tsquery has no sign for: the last word is the last one of its answer.
    return cast(func.nullif(cast(words, Text()), "") + ":*", TSQUERY) if has_prefix else words


async def _scope(db: AsyncSession, session_id: UUID | None, directory: str | None, project: str | None) -> list[UUID] | None:
    """Return the sessions to search: the one that is asked for, or those of a project where they are few."""
    if session_id is not None:
        return [session_id]
    column, value = (Session.working_dir, directory) if directory is not None else (Session.current_project, project)
    if value is None:
        return None
    query = select(col(Session.id)).where(col(column) == value, col(Session.deleted_at).is_(None))
    session_ids = list((await run(db, query.order_by(col(Session.last_activity).desc()).limit(SCOPE + 1))).scalars())
    return None if len(session_ids) > SCOPE else session_ids


def _start(until: datetime | None, cursor: str | None) -> Place | None:
    if cursor is not None:
        moment, rank, session_id, number = decode_cursor(cursor, datetime, int, UUID, int)
        # The rank stands in a column of 32 bits.
        return Place(moment, min(max(rank, 0), len(KINDS) + 1), session_id, number)
    return None if until is None else Place(until)


async def _newest_first(db: AsyncSession, asked: Asked, place: Place | None, wanted: int) -> tuple[list[Candidate], Place | None]:
    """Return so many of what matches from a place on, and the place up to which all was looked at where there is more behind it."""
    found: list[Candidate] = []
    newest = None
    for _ in range(GLANCES):
        seen = await _glance(db, asked, place)
        found += await _once_each(db, asked, seen.span.candidates, wanted - len(found))
        if seen.end is None or len(found) >= wanted:
            return found, seen.end
        newest, place = newest or seen.newest, seen.end
        if seen.span.looked_at * _FREQUENT < search_rows.GLANCED:
            return await _by_index(db, asked, found, _Pace(newest, place, len(found), wanted))
    return found, place


async def _by_index(db: AsyncSession, asked: Asked, found: list[Candidate], pace: "_Pace") -> tuple[list[Candidate], Place | None]:
    """Go on with what the indexes of words find."""
    if len(found) * _RARE < pace.wanted:
        rest = await _all_within(db, asked, pace.place, None)
        if rest is not None:
            return found + await _once_each(db, asked, rest.candidates, pace.wanted - len(found)), None
    for _ in range(SPANS):
        end = pace.end(asked.since)
        span = await _all_within(db, asked, pace.place, end or asked.begin)
        if span is None and pace.shorten():
            continue
        if span is None:
            span, end = await _first_within(db, asked, pace.place, end or asked.begin or _BEFORE_ALL)
        found += await _once_each(db, asked, span.candidates, pace.wanted - len(found))
        if end is None or len(found) >= pace.wanted:
            return found, end
        pace.go_on(end, len(found), span.looked_at)
    return found, pace.place


class _Pace:
    """How far the next span of time goes: to where, going by what was found so far, there is twice as much as is wanted."""

    def __init__(self, newest: Place, place: Place, found: int, wanted: int) -> None:
        self.place, self.wanted = place, wanted
        self._newest = newest
        self._crowded: datetime | None = None
        self._length = self._wanted_length(found)

    def end(self, since: datetime | None) -> Place | None:
        """Return where the span ends; None: it goes to the end of all."""
        is_within = self.place.moment - (since or _OLDEST) > self._length
        return Place(self.place.moment - self._length) if is_within else None

    def shorten(self) -> bool:
        """Take a shorter span, because there was too much in this one; return False where it is as short as can be."""
        if self._length <= _SHORTEST:
            return False
        self._crowded = max(self.place.moment - min(self._length, self.place.moment - _BEFORE_ALL.moment), _BEFORE_ALL.moment)
        self._length /= _GROWTH
        return True

    def go_on(self, place: Place, found: int, looked_at: int) -> None:
        """Go on from there, with no more in the next span than a statement looks at, as far as that can be foreseen."""
        room = self._length * search_rows.CANDIDATES / (2 * looked_at) if looked_at else timedelta.max
        self.place = place
        self._length = min(self._wanted_length(found), room)
        if self._crowded is not None and self._crowded < place.moment:
            self._length = min(self._length, (place.moment - self._crowded) / 2)
        self._length = max(self._length, _SHORTEST)

    def _wanted_length(self, found: int) -> timedelta:
        growth = min(_GROWTH, 2 * self.wanted / found) if found else _GROWTH
        return max(self._newest.moment - self.place.moment, _SHORTEST) * growth


class _Glance(NamedTuple):
    """What the newest rows of all kinds say, up to an end where there are more behind it."""

    span: Span
    newest: Place
    end: Place | None


async def _glance(db: AsyncSession, asked: Asked, start: Place | None) -> _Glance:
    ends = [await search_rows.newest(db, kind, asked, start) for kind in asked.kinds]
    newest = max((places[0] for places in ends if places), default=_BEFORE_ALL)
    # Where it ends for one of them it ends for all: what is behind it is older than what another may have there.
    end = max((places[1] for places in ends if len(places) > 1), default=None)
    spans = [
        await search_rows.glance(db, kind, asked, start, end or asked.begin)
        for kind, places in zip(asked.kinds, ends, strict=True)
        if places
    ]
    return _Glance(_together(spans), newest, end)


async def _all_within(db: AsyncSession, asked: Asked, start: Place, end: Place | None) -> Span | None:
    """Return all that matches from one place to another; None where of one kind there is too much."""
    spans = []
    # Events first: of them there is the most.
    for kind in reversed(asked.kinds):
        span = await search_rows.all_within(db, kind, asked, start, end)
        if span.is_cut:
            return None
        spans.append(span)
    return _together(spans)


async def _first_within(db: AsyncSession, asked: Asked, start: Place, end: Place) -> tuple[Span, Place]:
    """Return what matches from one place to another, as far as a statement goes, and how far that is."""
    spans = [await search_rows.first_within(db, kind, asked, start, end) for kind in asked.kinds]
    reached = max((span.last for span in spans if span.last is not None), default=end)
    span = _together(spans)
    return span._replace(candidates=[candidate for candidate in span.candidates if candidate.place >= reached]), reached


def _together(spans: Sequence[Span]) -> Span:
    """Return as one what several kinds have in the same span."""
    candidates = [candidate for span in spans for candidate in span.candidates]
    candidates.sort(key=lambda candidate: candidate.place, reverse=True)
    return Span(candidates, max((span.looked_at for span in spans), default=0))


async def _once_each(db: AsyncSession, asked: Asked, candidates: Sequence[Candidate], wanted: int) -> list[Candidate]:
    """Return so many of these, of a call of a tool the newest event alone."""
    kept: list[Candidate] = []
    for start in range(0, len(candidates), wanted):
        some = candidates[start : start + wanted]
        calls = [(each.place.session_id, each.tool_use_id) for each in some if each.tool_use_id is not None]
        latest = await search_rows.latest_of_calls(db, asked, calls)
        kept += [each for each in some if each.place == latest.get((each.place.session_id, str(each.tool_use_id)), each.place)]
        if len(kept) >= wanted:
            break
    return kept[:wanted]


async def _load(db: AsyncSession, query: Query, asked: Asked, found: Sequence[Candidate]) -> list[SearchHit]:
    """Return what is shown of these, as far as they are still there."""
    places = [candidate.place for candidate in found]
    live = select(Session).where(col(Session.id) == one_of((place.session_id for place in places), Uuid), col(Session.deleted_at).is_(None))
    sessions = {session.id: session for session in await all_of(db, live)} if places else {}
    rows: dict[Place, dict[str, Any]] = {}
    for kind, load in ((KINDS["message"], _messages), (KINDS["event"], _events)):
        wanted = [place for place in places if place.rank == kind.rank]
        if wanted:
            rows |= await load(db, asked, wanted)
    for place in places:
        if place.rank == KINDS["session"].rank and place.session_id in sessions:
            rows[place] = _of_session(sessions[place.session_id])
    there = [(place, sessions[place.session_id], rows[place]) for place in places if place.session_id in sessions and place in rows]
    # Long texts take their time.
    return await asyncio.to_thread(lambda: [_hit(query, *each) for each in there])


def _hit(query: Query, place: Place, session: Session, values: dict[str, Any]) -> SearchHit:
    others = {name: value for name, value in values.items() if name != "texts"}
    return SearchHit(
        type=next(kind.type for kind in KINDS.values() if kind.rank == place.rank),
        session_id=session.id,
        session_type=session.session_type,
        display_name=session.display_name,
        working_dir=session.working_dir,
        current_project=session.current_project,
        timestamp=place.moment,
        snippet=snippet_of(query, *values["texts"]),
        **others,
    )


def _of_session(session: Session) -> dict[str, Any]:
    return {"texts": (session.session_name, session.title, session.session_slug, session.description)}


async def _messages(db: AsyncSession, _: Asked, places: Sequence[Place]) -> dict[Place, dict[str, Any]]:
    role, content = col(Message.message_data)["role"].astext, col(Message.message_data)["content"].astext
    columns = (col(Message.message_index), role, func.left(content, WORDS_LIMIT))
    return {
        place: {"message_index": index, "role": role, "texts": (content,)}
        for place, (index, role, content) in await _rows_of(db, Message, "message_index", places, columns)
    }


async def _events(db: AsyncSession, asked: Asked, places: Sequence[Place]) -> dict[Place, dict[str, Any]]:
    names = ("event_index", "agent_id", "event_type", "tool_name", "tool_use_id", "content")
    output = func.left(col(AgentLog.tool_output), OUTPUT_LIMIT) if asked.tool_output else null()
    columns = (*(getattr(AgentLog, name) for name in names), output)
    return {
        place: dict(zip(names[:-1], values, strict=False)) | {"texts": values[len(names) - 1 :]}
        for place, values in await _rows_of(db, AgentLog, "event_index", places, columns)
    }


async def _rows_of(db: AsyncSession, model: Any, index: str, places: Sequence[Place], columns: Sequence[Any]) -> list[tuple[Place, Any]]:
    """Return these columns of the rows at some places."""
    by_key = {(place.session_id, place.number): place for place in places}
    sessions, indexes = zip(*by_key, strict=True)
    arrays = (literal(list(sessions), ARRAY(Uuid())), literal(list(indexes), ARRAY(BigInteger())))
    wanted = func.unnest(*arrays).table_valued("session_id", "index", name="wanted").render_derived()
    at = (model.session_id == wanted.c.session_id) & (getattr(model, index) == wanted.c.index)
    query = select(wanted.c.session_id, wanted.c.index, *columns).select_from(wanted.join(model, at))
    return [(by_key[session_id, number], values) for session_id, number, *values in await run(db, query)]
