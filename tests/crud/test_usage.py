"""Sums of usage: by session, agent, model and day."""

from collections.abc import Awaitable, Callable
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from itertools import count
from typing import Any
from uuid import UUID

import pytest

from session_db import crud
from session_db.crud.locking import lock_session
from session_db.crud.usage import MAX_DAYS, TOKENS, put_usage
from session_db.database import UnitOfWork
from session_db.errors import InvalidInput
from session_db.models import Agent, UsageSummary
from tests.factories import make_agent, make_session

NOON = datetime(2026, 3, 10, 12, tzinfo=UTC)
FIRST, LAST = datetime.min.replace(tzinfo=UTC), datetime.max.replace(tzinfo=UTC)
_numbers = count(1)


async def spend(db: UnitOfWork, agent: Agent, cost: str | None = "0.1", *, at: datetime = NOON, **values: Any) -> None:
    """Record one answer that an agent asked for, of one token of each kind."""
    await lock_session(db, agent.session_id)
    row: dict[str, Any] = dict.fromkeys(TOKENS, 1) | {"agent_id": agent.id, "model": "opus", "occurred_at": at, "reported_cost": None}
    row |= {"message_id": f"msg_{next(_numbers)}", "computed_cost": None if cost is None else Decimal(cost)}
    await put_usage(db, agent.session_id, [row | values], {})


async def all_pages(read: Callable[[str | None], Awaitable[crud.Page[UsageSummary]]]) -> list[UsageSummary]:
    rows: list[UsageSummary] = []
    cursor = None
    while True:
        page = await read(cursor)
        rows += page
        cursor = page.next_cursor
        if cursor is None:
            return rows


class TestListUsage:
    async def test_a_sum_holds_every_kind_of_token_and_the_cost(self, db: UnitOfWork) -> None:
        agent = await make_agent(db)
        tokens: dict[str, Any] = dict(zip(TOKENS, (1, 20, 300, 4000, 50000, 2), strict=True))
        await spend(db, agent, "0.25", **tokens)
        await spend(db, agent, None, reported_cost=Decimal("0.5"), **tokens)
        await spend(db, agent, "0.25", reported_cost=Decimal(7), **tokens)
        await spend(db, agent, None, **tokens)
        (summed,) = await crud.list_usage(db, by="model", session_id=agent.session_id)
        assert summed == UsageSummary(
            model="opus",
            requests=4,
            input_tokens=4,
            output_tokens=80,
            cache_read_tokens=1200,
            cache_write_tokens=216000,
            web_search_requests=8,
            cost=1.0,
            unpriced_requests=1,
        )

    async def test_the_agents_of_a_session_have_its_totals_with_what_was_set_by_hand(self, db: UnitOfWork) -> None:
        session = await make_session(db)
        used = await make_agent(db, session, agent_type="plan", cost=5)
        await make_agent(db, session, cost=0.3)
        await make_agent(db, session)
        for _ in range(3):
            await spend(db, used, "0.1")
        agents = await crud.list_usage(db, by="agent", session_id=session.id)
        (whole,) = await crud.list_usage(db, by="session", session_id=session.id)
        assert {row.session_id for row in agents} == {session.id}
        assert [row.agent_id for row in agents] == sorted(agent.id for agent in await crud.list_agents(db, session.id))
        assert {(row.agent_type, row.requests, row.cost) for row in agents} == {("plan", 3, 0.3), ("build", 0, 0.3), ("build", 0, 0.0)}
        await db.refresh(session)
        for name in ("input_tokens", "output_tokens", "cache_read_tokens", "cache_write_tokens", "cost"):
            total = getattr(session, f"total_{name}")
            assert sum(getattr(row, name) for row in agents) == pytest.approx(total, abs=1e-10)
            assert getattr(whole, name) == total
        assert (whole.session_id, whole.requests, whole.cost, whole.agent_id) == (session.id, 3, 0.6, None)

    async def test_in_a_span_the_agents_have_what_was_recorded_in_it(self, db: UnitOfWork) -> None:
        session = await make_session(db)
        agent = await make_agent(db, session, agent_type="plan")
        await make_agent(db, session, cost=5)
        await spend(db, agent, "0.1", at=NOON)
        await spend(db, agent, "0.2", at=NOON + timedelta(hours=1))
        span: dict[str, Any] = {"session_id": session.id, "since": NOON, "until": NOON + timedelta(hours=1)}
        (of_agent,) = await crud.list_usage(db, by="agent", **span)
        (of_session,) = await crud.list_usage(db, by="session", **span)
        assert (of_agent.session_id, of_agent.agent_id, of_agent.agent_type) == (session.id, agent.id, "plan")
        assert (of_agent.cost, of_session.cost) == (0.1, 0.1)

    async def test_models_are_in_the_order_of_their_names_and_the_unnamed_last(self, db: UnitOfWork) -> None:
        agent = await make_agent(db)
        for model in (None, "opus", "haiku", None, "None"):
            await spend(db, agent, model=model)
        found = await all_pages(lambda cursor: crud.list_usage(db, by="model", session_id=agent.session_id, limit=1, cursor=cursor))
        assert sorted((row.model or "", row.requests) for row in found[:-1]) == [("None", 1), ("haiku", 1), ("opus", 1)]
        assert [row.model for row in found] == [row.model for row in await crud.list_usage(db, by="model", session_id=agent.session_id)]
        assert (found[-1].model, found[-1].requests) == (None, 2)

    async def test_days_go_from_the_newest_to_the_oldest(self, db: UnitOfWork) -> None:
        agent = await make_agent(db)
        for days in (0, 2, 1, 2):
            await spend(db, agent, at=NOON - timedelta(days=days))
        found = await all_pages(lambda cursor: crud.list_usage(db, by="day", session_id=agent.session_id, limit=1, cursor=cursor))
        assert [(row.day, row.requests) for row in found] == [(date(2026, 3, 10), 1), (date(2026, 3, 9), 1), (date(2026, 3, 8), 2)]

    @pytest.mark.parametrize(
        ("timezone", "days"),
        [
            ("UTC", [date(2026, 3, 10), date(2026, 3, 9)]),
            ("Europe/Berlin", [date(2026, 3, 10)]),
            ("America/New_York", [date(2026, 3, 9)]),
        ],
    )
    async def test_a_day_is_that_of_the_zone(self, db: UnitOfWork, timezone: str, days: list[date]) -> None:
        agent = await make_agent(db)
        await spend(db, agent, at=datetime(2026, 3, 9, 23, 30, tzinfo=UTC))
        await spend(db, agent, at=datetime(2026, 3, 10, 0, 30, tzinfo=UTC))
        found = await crud.list_usage(db, by="day", session_id=agent.session_id, timezone=timezone)
        assert [row.day for row in found] == days

    async def test_sessions_and_agents_of_all_are_paged_by_their_ids(self, db: UnitOfWork) -> None:
        agents = [await make_agent(db) for _ in range(3)]
        agents.append(await make_agent(db, agents[0].session_id))
        for agent in agents:
            await spend(db, agent)
        span: dict[str, Any] = {"since": NOON, "until": NOON + timedelta(seconds=1), "limit": 1}
        by_agent = await all_pages(lambda cursor: crud.list_usage(db, by="agent", cursor=cursor, **span))
        assert [(row.session_id, row.agent_id) for row in by_agent] == sorted((agent.session_id, agent.id) for agent in agents)
        by_session = await all_pages(lambda cursor: crud.list_usage(db, by="session", cursor=cursor, **span))
        assert [row.session_id for row in by_session] == sorted({agent.session_id for agent in agents})
        assert {row.session_id: row.requests for row in by_session}[agents[0].session_id] == 2

    @pytest.mark.parametrize("by", ["session", "agent", "model", "day"])
    async def test_a_deleted_session_counts_for_nothing(self, db: UnitOfWork, by: Any) -> None:
        agent = await make_agent(db)
        await spend(db, agent)
        await crud.delete_session(db, agent.session_id)
        assert await crud.list_usage(db, by=by, since=NOON, until=NOON + timedelta(seconds=1)) == []
        assert await crud.list_usage(db, by=by, session_id=agent.session_id) == []
        assert await crud.list_usage(db, by=by, session_id=agent.session_id, since=NOON) == []
        assert await crud.list_usage(db, by=by, session_id=UUID(int=7)) == []

    async def test_without_a_span_those_of_all_are_the_last_30_days(self, db: UnitOfWork, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("session_db.crud.usage.now", lambda: NOON)
        agent = await make_agent(db)
        begin = datetime(2026, 2, 9, tzinfo=UTC)
        for moment in (begin - timedelta(hours=1), begin, NOON, NOON + timedelta(days=2)):
            await spend(db, agent, at=moment)
        assert [row.requests for row in await crud.list_usage(db, by="model")] == [3]
        assert [row.requests for row in await crud.list_usage(db, by="model", until=NOON)] == [2]
        # There the day begins two hours earlier.
        assert [row.requests for row in await crud.list_usage(db, by="model", timezone="Etc/GMT-2")] == [4]

    async def test_a_span_of_all_has_400_days_at_most(self, db: UnitOfWork) -> None:
        until = NOON + timedelta(days=MAX_DAYS)
        agent = await make_agent(db)
        assert await crud.list_usage(db, by="day", since=NOON, until=until) == []
        with pytest.raises(InvalidInput, match="more than 400 days before"):
            await crud.list_usage(db, by="day", since=NOON - timedelta(seconds=1), until=until)
        with pytest.raises(InvalidInput, match="more than 400 days before"):
            await crud.list_usage(db, by="day", since=datetime(2020, 1, 1, tzinfo=UTC))
        await spend(db, agent)
        assert len(await crud.list_usage(db, by="day", session_id=agent.session_id, since=FIRST, until=LAST)) == 1

    async def test_a_naive_time_is_utc_and_the_end_is_not_in_the_span(self, db: UnitOfWork) -> None:
        agent = await make_agent(db)
        await spend(db, agent)
        naive = NOON.replace(tzinfo=None)
        second = timedelta(seconds=1)
        assert len(await crud.list_usage(db, by="day", since=naive, until=naive + second)) == 1
        assert await crud.list_usage(db, by="day", since=naive - second, until=naive) == []

    @pytest.mark.parametrize("until", [NOON, NOON - timedelta(days=1)])
    async def test_an_empty_span_is_refused(self, db: UnitOfWork, until: datetime) -> None:
        with pytest.raises(InvalidInput, match="is not before until"):
            await crud.list_usage(db, by="day", since=NOON, until=until)

    @pytest.mark.parametrize(
        ("name", "value"),
        [
            ("timezone", "Middle-earth/Shire"),
            ("timezone", "UTC'; DROP TABLE usage; --"),
            ("timezone", "../etc/passwd"),
            ("timezone", "\x00"),
            ("timezone", "\ud800"),
            ("timezone", ""),
            ("timezone", 7),
            ("by", "hour"),
            ("by", ["day"]),
            ("since", "2026-03-10"),
            ("until", date(2026, 3, 10)),
            ("limit", 0),
            ("cursor", "WyJhIiwiYiJd"),
            ("session_id", "abc"),
        ],
    )
    @pytest.mark.parametrize("by", ["session", "agent", "day"])
    async def test_what_is_none_is_named(self, db: UnitOfWork, by: str, name: str, value: Any) -> None:
        arguments: dict[str, Any] = {"by": by, name: value}
        with pytest.raises(InvalidInput, match=name.removeprefix("time").removeprefix("session_")):
            await crud.list_usage(db, **arguments)

    async def test_the_first_moment_there_is_ends_no_span(self, db: UnitOfWork) -> None:
        with pytest.raises(InvalidInput, match="is not before until"):
            await crud.list_usage(db, by="day", until=FIRST)

    async def test_a_cursor_of_another_sum_is_refused(self, db: UnitOfWork) -> None:
        agent = await make_agent(db)
        for days in range(2):
            await spend(db, agent, at=NOON - timedelta(days=days))
        page = await crud.list_usage(db, by="day", session_id=agent.session_id, limit=1)
        with pytest.raises(InvalidInput, match="cursor"):
            await crud.list_usage(db, by="session", session_id=agent.session_id, cursor=page.next_cursor)
