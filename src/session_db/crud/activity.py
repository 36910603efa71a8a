"""Activity: events and cost over time, from the minutes that each session counts."""

from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

from sqlalchemy import BigInteger, Float, cast, func, select
from sqlalchemy.ext.asyncio import AsyncSession
from sqlmodel import col

from session_db.crud.rows import run
from session_db.crud.usage import checked_moment
from session_db.errors import InvalidInput
from session_db.models import ActivityBin, ActivityMinute, ActivityRead, Session
from session_db.models.table import now
from session_db.models.text import shown

MAX_SPAN = timedelta(days=31)
"""How long a span may be: each minute of it is read."""

DEFAULT_SPAN = timedelta(days=1)
MAX_BINS = 400

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MINUTE = timedelta(minutes=1)


async def get_activity(
    db: AsyncSession, *, since: datetime | None = None, until: datetime | None = None, bins: int = 96, session_id: UUID | None = None
) -> ActivityRead:
    """Return how many events happened, and what was spent, over time. Deleted sessions are left out.

    A bin is whole minutes, so there may be fewer than are asked for; it begins at a multiple of its length, so there may be one more.

    Args:
        db: the database session.
        since: when the span begins; a naive time is UTC. Unset: a day before its end.
        until: when it ends, exclusive; the minute that it lies in counts whole. Unset: now.
        bins: into how many it is cut, 1 to 400.
        session_id: only this session's; an unknown one has no events.

    Raises:
        InvalidInput: the span is empty, or longer than 31 days.
    """
    if isinstance(bins, bool) or not isinstance(bins, int) or not 1 <= bins <= MAX_BINS:
        raise InvalidInput(f"bins {shown(bins)} is out of range; use 1 to {MAX_BINS}.", path="bins", bins=bins)
    begin, end = _span(checked_moment("since", since), checked_moment("until", until))
    # Rounded up: the negative of what is rounded down.
    length = -((begin - end) // bins // _MINUTE) * _MINUTE
    begin -= (begin - _EPOCH) % length
    sums = {place: (events, cost) for place, events, cost in await run(db, _sums(begin, end, length, session_id))}
    filled = []
    for place in range(-((begin - end) // length)):
        events, cost = sums.get(place, (0, 0.0))
        filled.append(ActivityBin(at=begin + place * length, events=events, cost=cost))
    return ActivityRead(since=begin, until=end, bin_seconds=int(length.total_seconds()), bins=filled)


def _span(since: datetime | None, until: datetime | None) -> tuple[datetime, datetime]:
    end = until or now()
    try:
        begin = since or end - DEFAULT_SPAN
        # What a bin begins with may lie before, and has to be a moment as well.
        begin - MAX_SPAN
    except OverflowError:
        raise InvalidInput(f"since {since or end} is too long ago; send a later time.", path="since" if since else "until") from None
    if begin >= end:
        raise InvalidInput(f"since {begin.isoformat()} is not before until {end.isoformat()}; exchange them.", path="since")
    if end - begin > MAX_SPAN:
        raise InvalidInput(
            f"since {begin.isoformat()} is more than {MAX_SPAN.days} days before {end.isoformat()}; ask for a shorter span.", path="since"
        )
    return begin, end


def _sums(begin: datetime, end: datetime, length: timedelta, session_id: UUID | None) -> Any:
    """Return the query for the sums of each bin that has any."""
    minute = col(ActivityMinute.minute)
    place = cast(func.floor(func.extract("epoch", minute - begin) / length.total_seconds()), BigInteger).label("place")
    events = cast(func.sum(col(ActivityMinute.events)), BigInteger).label("events")
    cost = cast(func.sum(col(ActivityMinute.cost)), Float).label("cost")
    # Those that are deleted, and not erased yet, are few and have an index of their own.
    deleted = (
        select(col(Session.id)).where(col(Session.id) == col(ActivityMinute.session_id), col(Session.deleted_at).is_not(None)).exists()
    )
    query = select(place, events, cost).where(minute >= begin, minute < end, ~deleted).group_by("place")
    return query if session_id is None else query.where(col(ActivityMinute.session_id) == session_id)
