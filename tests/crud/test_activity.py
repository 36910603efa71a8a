"""The pulse: events and cost in bins of time."""

from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import update
from sqlmodel import col

from session_db import crud
from session_db.database import UnitOfWork
from session_db.errors import InvalidInput
from session_db.ids import new_id
from session_db.models import ActivityMinute, Session
from tests.factories import make_event, make_session

NOON = datetime(2026, 3, 10, 12, tzinfo=UTC)
HOUR = timedelta(hours=1)


async def happen(db: UnitOfWork, at: datetime, session: Session | UUID | None = None, *, cost: float = 0) -> None:
    """Let an event happen, and cost something."""
    event = await make_event(db, session, timestamp=at)
    minute = at.replace(second=0, microsecond=0)
    await db.execute(
        update(ActivityMinute)
        .where(col(ActivityMinute.session_id) == event.session_id, col(ActivityMinute.minute) == minute)
        .values(cost=col(ActivityMinute.cost) + cost)
    )


class TestGetActivity:
    async def test_bins_follow_one_another_with_sums_and_zeros(self, db: UnitOfWork) -> None:
        await happen(db, NOON + timedelta(minutes=1, seconds=59), cost=0.25)
        await happen(db, NOON + timedelta(minutes=14), cost=0.5)
        await happen(db, NOON + timedelta(minutes=30))
        for outside in (NOON - timedelta(seconds=1), NOON + HOUR):
            await happen(db, outside, cost=9)
        pulse = await crud.get_activity(db, since=NOON, until=NOON + HOUR, bins=4)
        assert (pulse.since, pulse.until, pulse.bin_seconds) == (NOON, NOON + HOUR, 900)
        assert [each.at for each in pulse.bins] == [NOON + timedelta(minutes=15 * number) for number in range(4)]
        assert [(each.events, each.cost) for each in pulse.bins] == [(2, 0.75), (0, 0), (1, 0), (0, 0)]

    async def test_a_bin_is_whole_minutes_and_begins_at_a_multiple_of_them(self, db: UnitOfWork) -> None:
        since = NOON + timedelta(minutes=7, seconds=30)
        await happen(db, NOON + timedelta(minutes=6))
        pulse = await crud.get_activity(db, since=since, until=since + HOUR, bins=25)
        assert (pulse.bin_seconds, pulse.since, len(pulse.bins)) == (180, NOON + timedelta(minutes=6), 21)
        assert pulse.bins[0].events == 1
        assert pulse.bins[-1].at < pulse.until <= pulse.bins[-1].at + timedelta(minutes=3)

    @pytest.mark.parametrize(("minutes", "bins", "seconds"), [(1, 400, 60), (400, 400, 60), (401, 400, 120), (31 * 1440, 1, 31 * 86400)])
    async def test_they_are_as_many_as_asked_for_or_fewer_or_one_more(self, db: UnitOfWork, minutes: int, bins: int, seconds: int) -> None:
        pulse = await crud.get_activity(db, since=NOON - timedelta(minutes=minutes), until=NOON, bins=bins)
        assert pulse.bin_seconds == seconds
        assert minutes * 60 / seconds <= len(pulse.bins) <= bins + 1
        assert pulse.since <= NOON - timedelta(minutes=minutes)

    async def test_unset_it_is_the_last_day(self, db: UnitOfWork, monkeypatch: pytest.MonkeyPatch) -> None:
        # By a clock that stands still: a moment after the event another bin may have begun.
        moment = NOON + timedelta(minutes=7, seconds=30)
        monkeypatch.setattr("session_db.crud.activity.now", lambda: moment)
        await happen(db, moment)
        pulse = await crud.get_activity(db)
        assert (pulse.bin_seconds, pulse.bins[-1].events, sum(each.events for each in pulse.bins)) == (900, 1, 1)
        assert pulse.until == moment
        assert timedelta(0) <= pulse.until - timedelta(days=1) - pulse.since < timedelta(minutes=15)

    async def test_of_a_session_it_has_nothing_of_others(self, db: UnitOfWork) -> None:
        session = await make_session(db)
        await happen(db, NOON, session, cost=2)
        await happen(db, NOON)
        for session_id, events in ((session.id, 1), (new_id(), 0)):
            pulse = await crud.get_activity(db, since=NOON, until=NOON + HOUR, session_id=session_id)
            assert sum(each.events for each in pulse.bins) == events

    async def test_a_deleted_session_is_left_out(self, db: UnitOfWork) -> None:
        session = await make_session(db)
        await happen(db, NOON, session)
        await crud.delete_session(db, session.id)
        assert sum(each.events for each in (await crud.get_activity(db, since=NOON, until=NOON + HOUR)).bins) == 0

    @pytest.mark.parametrize(
        ("asked", "path"),
        [
            ({"bins": 0}, "bins"),
            ({"bins": 401}, "bins"),
            ({"bins": True}, "bins"),
            ({"since": NOON, "until": NOON}, "since"),
            ({"since": NOON, "until": NOON + timedelta(days=31, seconds=1)}, "since"),
            ({"until": datetime.min.replace(tzinfo=UTC)}, "until"),
            ({"since": datetime.min.replace(tzinfo=UTC), "until": datetime.min.replace(tzinfo=UTC) + HOUR}, "since"),
            ({"since": datetime(9999, 12, 31, tzinfo=UTC)}, "since"),
            ({"since": "2026"}, "since"),
        ],
    )
    async def test_a_span_that_is_none_is_refused(self, db: UnitOfWork, asked: dict[str, Any], path: str) -> None:
        with pytest.raises(InvalidInput) as refused:
            await crud.get_activity(db, **asked)
        assert refused.value.details["path"] == path

    async def test_the_last_moment_there_is_may_be_its_end(self, db: UnitOfWork) -> None:
        last = datetime.max.replace(tzinfo=UTC)
        assert len((await crud.get_activity(db, since=last - HOUR, until=last)).bins) == 61
