"""Pages of lists: keyset cursors, never OFFSET."""

import base64
import json
from collections.abc import Awaitable, Callable, Iterable, Sequence
from datetime import date, datetime
from typing import Any, Generic, TypeVar
from uuid import UUID

from sqlalchemy import func, select, tuple_
from sqlalchemy.ext.asyncio import AsyncSession

from session_db.crud.rows import all_of, refuse_incomparable, run
from session_db.errors import InvalidInput
from session_db.models.table import as_utc, refuse_unstorable
from session_db.models.text import shown

Row = TypeVar("Row")

MAX_LIMIT = 1000

WALKED = 10_000
"""Rows that a page reads at most for those that match a filter without an index; then it ends, and its cursor goes on from there."""


class Page(list[Row], Generic[Row]):
    """A list of rows; ``next_cursor`` asks for the rows after them and is None at the end.

    With a filter that has no index a page may hold fewer rows than its limit, or none, and still have a next one.
    """

    def __init__(self, rows: Iterable[Row] = (), next_cursor: str | None = None) -> None:
        super().__init__(rows)
        self.next_cursor = next_cursor


def checked_limit(limit: int, most: int = MAX_LIMIT) -> int:
    """Return the limit, or raise ``InvalidInput`` where it is not from 1 to the most rows that a page may have."""
    if not isinstance(limit, int) or not 1 <= limit <= most:
        raise InvalidInput(f"limit {shown(limit)} is out of range; use 1 to {most}.", path="limit", limit=limit)
    return limit


def page_of(rows: list[Row], limit: int, *key: str) -> Page[Row]:
    """Make a page of up to ``limit`` rows, from one row more than that: the surplus row says that there is a next page."""
    if len(rows) <= limit:
        return Page(rows)
    last = rows[limit - 1]
    return Page(rows[:limit], encode_cursor(*(getattr(last, name) for name in key)))


async def read_page(  # noqa: PLR0913  each says what the page is
    db: AsyncSession,
    query: Any,
    *key: Any,
    limit: int,
    filters: Sequence[Any] = (),
    descending: bool = False,
    walked: int | None = None,
    read: Callable[[AsyncSession, Any], Awaitable[list[Row]]] = all_of,
) -> Page[Row]:
    """Read a page of a query's rows in the order of its key, which an index gives.

    Args:
        db: the database session.
        query: the rows, from where the page begins.
        key: columns that order them, and no two rows have the same.
        limit: rows a page.
        filters: conditions that no index of the key has. At most ``WALKED`` rows are looked at for those that match, so the page may be
            short and have a next one.
        descending: the other way round.
        walked: how many rows are looked at in place of ``WALKED``.
        read: how the rows are read.
    """
    end = await _end_of_walk(db, query, key, WALKED if walked is None else walked, descending=descending) if filters else None
    if end is not None:
        reached = tuple_(*key) >= tuple_(*end) if descending else tuple_(*key) <= tuple_(*end)
        query = query.where(reached)
    query = query.where(*filters).order_by(*_ordered(key, descending=descending)).limit(limit + 1)
    page = page_of(await read(db, query), limit, *(column.key for column in key))
    if page.next_cursor is None and end is not None:
        page.next_cursor = encode_cursor(*end)
    return page


async def _end_of_walk(db: AsyncSession, query: Any, key: Sequence[Any], walked: int, *, descending: bool) -> list[Any] | None:
    """Return the key of the last row that a page may look at, or None where the rows end before."""
    # Inside of a subquery nobody looks at the values any more.
    refuse_incomparable(query)
    order = _ordered(key, descending=descending)
    walk = query.with_only_columns(*key, func.row_number().over(order_by=order).label("place")).order_by(*order).limit(walked).subquery()
    *columns, place = walk.c
    row = (await run(db, select(*columns).where(place == walked))).first()
    return None if row is None else list(row)


def _ordered(key: Iterable[Any], *, descending: bool) -> list[Any]:
    return [column.desc() if descending else column.asc() for column in key]


def encode_cursor(*values: Any) -> str:
    """Write the key of the last row seen as an opaque word that fits a URL."""
    texts = [value.isoformat() if isinstance(value, datetime) else value if isinstance(value, int) else str(value) for value in values]
    return base64.urlsafe_b64encode(json.dumps(texts, separators=(",", ":")).encode()).decode().rstrip("=")


def decode_cursor(cursor: str, *types: type) -> list[Any]:
    """Read a cursor's values, of these types in this order; raise ``InvalidInput`` for one that no list gave."""
    try:
        values = json.loads(base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4)))
        return [_value(value, kind) for value, kind in zip(values, types, strict=True)]
    except (ValueError, TypeError, AttributeError, OverflowError, RecursionError):
        problem = f"cursor {shown(cursor)} is none of this list's; leave it out to begin at the start."
        raise InvalidInput(problem, path="cursor", cursor=cursor) from None


def _value(value: Any, kind: type) -> Any:
    """Return the value as a column of this type may be compared with it; any error means that no list gave it."""
    if kind is datetime:
        return as_utc(datetime.fromisoformat(value))
    if kind is date:
        return date.fromisoformat(value)
    if kind is UUID:
        return UUID(value)
    if type(value) is not kind:
        raise TypeError(value)
    if kind is str:
        refuse_unstorable(value, "cursor")
    if isinstance(value, int) and not -(2**63) <= value < 2**63:
        raise OverflowError(value)
    return value
