"""Lists of sessions: their filters, and the index that a page is read by."""

import json
from collections.abc import Mapping
from datetime import datetime
from decimal import Decimal
from typing import Any, NamedTuple
from uuid import UUID

from sqlalchemy import cast, func, or_, select, tuple_
from sqlalchemy.dialects.postgresql import JSONPATH
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import aliased
from sqlmodel import col

from session_db.crud import paging
from session_db.crud.paging import Page, checked_limit, decode_cursor, read_page
from session_db.crud.rows import run
from session_db.crud.usage import checked_moment
from session_db.errors import InvalidInput
from session_db.models import Session
from session_db.models.sessions import normalised_directory
from session_db.models.table import MAX_DOLLARS, decode_json, exact_dollars, refuse_unstorable
from session_db.models.text import shown

_INDEXED = frozenset({"working_dir", "current_project", "agent_name", "session_type", "status"})
"""Columns that have an index in the order of lists."""

GLANCED = 20
"""Sessions a row of the page that are looked at before the index of metadata is asked: a value that many hold fills the page with them."""

_MOST_PATHS = 20
"""Paths of metadata that a list may be filtered by, and keys that each may have."""


async def list_sessions(  # noqa: PLR0913  filters, each by its name
    db: AsyncSession,
    status: str | None = None,
    *,
    session_type: str | None = None,
    working_dir: str | None = None,
    agent_name: str | None = None,
    current_project: str | None = None,
    activity: str | None = None,
    pinned: bool | None = None,
    model_name: str | None = None,
    min_cost: float | None = None,
    max_cost: float | None = None,
    since: datetime | None = None,
    until: datetime | None = None,
    text: str | None = None,
    metadata: Mapping[str, str] | None = None,
    limit: int = 50,
    cursor: str | None = None,
) -> Page[Session]:
    """Return sessions, the last active first.

    With several filters, and with ``activity``, ``pinned``, ``model_name``, a cost, ``text`` and a value of ``metadata`` that many sessions
    have, a page looks at 10,000 sessions at most, and may be short or empty and have a next one. A span of time is a part of the index.

    Args:
        db: the database session.
        status: only those with this status.
        session_type: only this type.
        working_dir: only those of the project in this directory.
        agent_name: only this agent's.
        current_project: only those that work on this project.
        activity: only those where this goes on.
        pinned: only those that are kept by every cleanup, or only the others.
        model_name: only this language model's.
        min_cost: only those that cost as many US dollars or more.
        max_cost: only those that cost as many or less.
        since: only those last active then or later; a naive time is UTC.
        until: only those last active before then.
        text: only those with this text in name, title, slug or description, in upper or lower case.
        metadata: only those that have each of these values: ``{"item_type": "clip", "mixer.gain": "0.8"}``. A path has dots between its
            keys; the value is a text, or the number, true, false or null that the text spells.
        limit: rows a page, 1 to 1000.
        cursor: ``next_cursor`` of the page before.
    """
    checked_limit(limit)
    # The index of the first that has one is walked.
    values = {
        "working_dir": None if working_dir is None else normalised_directory(working_dir),
        "current_project": current_project,
        "agent_name": agent_name,
        "session_type": session_type,
        "status": status,
        "activity": activity,
        "pinned": pinned,
        "model_name": model_name,
    }
    equal = {name: value for name, value in values.items() if value is not None}
    after = None if cursor is None else decode_cursor(cursor, datetime, UUID)
    span = _Span(checked_moment("since", since), checked_moment("until", until))
    cost = _Cost(_checked_dollars("min_cost", min_cost), _checked_dollars("max_cost", max_cost))
    asked = _Asked(equal, checked_text(text, "text") if text else None, after, span, cost)
    if not metadata:
        return await _walked(db, asked, limit)
    holds = _holds(metadata)
    page = await _walked(db, asked, limit, holds, walked=_glanced(limit))
    if len(page) == limit or page.next_cursor is None:
        return page
    if await _are_few(db, holds):
        return await _found(db, asked, limit, holds)
    return await _walked(db, asked, limit, holds)


def _glanced(limit: int) -> int:
    return min(GLANCED * limit, paging.WALKED)


class _Span(NamedTuple):
    """When sessions were last active."""

    since: datetime | None
    until: datetime | None

    def of(self, sessions: Any) -> list[Any]:
        conditions = [] if self.since is None else [sessions.last_activity >= self.since]
        return conditions + ([] if self.until is None else [sessions.last_activity < self.until])


class _Cost(NamedTuple):
    """What sessions cost."""

    least: Decimal | None
    most: Decimal | None

    def of(self, sessions: Any) -> list[Any]:
        conditions = [] if self.least is None else [sessions.total_cost >= self.least]
        return conditions + ([] if self.most is None else [sessions.total_cost <= self.most])


class _Asked(NamedTuple):
    """What a list is asked for, beside metadata: values of columns, a text, the key of the last session seen, a span, and a cost."""

    equal: dict[str, Any]
    text: str | None
    after: list[Any] | None
    span: _Span
    cost: _Cost

    def of(self, sessions: Any) -> tuple[Any, list[Any]]:
        """Return the query that an index answers in the order of the list, and the conditions that it does not know."""
        conditions = [getattr(sessions, name) == value for name, value in self.equal.items()]
        indexed = 1 if _INDEXED & self.equal.keys() else 0
        query = select(sessions).where(sessions.deleted_at.is_(None), *conditions[:indexed], *self.span.of(sessions))
        if self.after is not None:
            query = query.where(tuple_(sessions.last_activity, sessions.id) < tuple_(*self.after))
        filters = conditions[indexed:] + self.cost.of(sessions)
        return query, filters + ([] if self.text is None else [_has_text(sessions, self.text)])


async def _walked(db: AsyncSession, asked: _Asked, limit: int, holds: Any = None, walked: int | None = None) -> Page[Session]:
    """Read a page by the index of its order, looking at so many sessions."""
    query, filters = asked.of(Session)
    if holds is not None:
        # Like this no index has it: that of metadata would be read to the end for a value that most sessions hold.
        filters.append(holds.is_(True))
    key = (col(Session.last_activity), col(Session.id))
    return await read_page(db, query, *key, limit=limit, filters=filters, descending=True, walked=walked)


async def _found(db: AsyncSession, asked: _Asked, limit: int, holds: Any) -> Page[Session]:
    """Read a page from all sessions that hold some metadata, which the index of metadata finds."""
    # Were it a part of the query, PostgreSQL might walk all sessions in the order of the list until a page is full.
    few = aliased(Session, select(Session).where(holds).cte("few").prefix_with("MATERIALIZED"))
    query, filters = asked.of(few)
    return await read_page(db, query.where(*filters), few.last_activity, few.id, limit=limit, descending=True)


async def _are_few(db: AsyncSession, holds: Any) -> bool:
    """Say whether the sessions that hold some metadata are fewer than a page may look at."""
    place = func.row_number().over().label("place")
    places = select(place).select_from(Session).where(holds).limit(paging.WALKED).subquery()
    return (await run(db, select(places.c.place).where(places.c.place == paging.WALKED))).first() is None


def _has_text(sessions: Any, text: str) -> Any:
    searched = (sessions.metadata_["name"].astext, sessions.title, sessions.session_slug, sessions.description)
    return or_(*(column.icontains(text, autoescape=True) for column in searched))


def _holds(metadata: Mapping[str, str]) -> Any:
    """Return the condition that metadata has each of these values at its path."""
    if not isinstance(metadata, Mapping) or len(metadata) > _MOST_PATHS:
        raise InvalidInput(f"metadata: is {shown(metadata)}; send up to {_MOST_PATHS} paths with the value that each has.", path="metadata")
    jsonpath = " && ".join(_value_at(path, value) for path, value in metadata.items())
    # A value inside a subquery is one that PostgreSQL has no statistics of: it would else read the whole table for a value that
    # it believes to be common.
    return col(Session.metadata_).bool_op("@@")(select(cast(f"strict {jsonpath}", JSONPATH)).scalar_subquery())


def _value_at(path: str, value: str) -> str:
    """Return the jsonpath that says: at this path stands this text, or what it spells."""
    keys = checked_text(path, "metadata").split(".")
    if len(keys) > _MOST_PATHS:
        raise InvalidInput(f"metadata: {shown(path)} has {len(keys)} keys; use up to {_MOST_PATHS}.", path="metadata")
    place = "$" + "".join(f".{json.dumps(key)}" for key in keys)
    return "(" + " || ".join(f"{place} == {json.dumps(meant)}" for meant in _meanings(checked_text(value, f"metadata.{path[:100]}"))) + ")"


def _checked_dollars(name: str, dollars: float | None) -> Decimal | None:
    """Return US dollars as the column has them, or raise ``InvalidInput`` where no session can cost as much."""
    if dollars is None:
        return None
    if isinstance(dollars, bool) or not isinstance(dollars, int | float | Decimal) or not 0 <= dollars < MAX_DOLLARS:
        raise InvalidInput(f"{name}: is {shown(dollars)}; send US dollars from 0 to less than 10 billion.", path=name)
    return exact_dollars(dollars)


def _meanings(text: str) -> list[Any]:
    """Return the text, and the number, true, false or null that it spells."""
    try:
        spelled = decode_json(text)
    except (ValueError, RecursionError):
        return [text]
    return [text] if isinstance(spelled, str | list | dict) else [text, spelled]


def checked_text(text: str, path: str) -> str:
    """Return the text, or raise ``InvalidInput`` where it is none that a column may have."""
    if not isinstance(text, str):
        raise InvalidInput(f"{path}: is {shown(text)}; send a text.", path=path)
    refuse_unstorable(text, path)
    return text
