"""Counters that are not what the rows say are found and set right, and writers go on."""

import asyncio
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import text

from session_db import crud
from session_db.crud import counters
from session_db.crud.counters import Gap, compare_counters, correct_counters
from session_db.crud.locking import lock_session
from session_db.crud.usage import TOKENS, put_usage
from session_db.database import UnitOfWork, get_async_session
from session_db.errors import Conflict
from session_db.models import Session
from tests.databases import Database
from tests.factories import event, make_agent, make_session, message
from tests.invariants import violations

NOON = datetime(2026, 3, 10, 12, tzinfo=UTC)
EVENTS = 12
BROKEN = [
    ("UPDATE sessions SET event_count = 3", {"event_count": (3, EVENTS)}),
    ("UPDATE sessions SET event_count = 99", {"event_count": (99, EVENTS)}),
    ("UPDATE sessions SET message_count = 0", {"message_count": (0, 5)}),
    ("UPDATE sessions SET total_cost = 0.0000000001", {"total_cost": (Decimal("1e-10"), Decimal("0.5"))}),
    ("UPDATE sessions SET total_cache_write_tokens = 7", {"total_cache_write_tokens": (7, 2)}),
    ("UPDATE agents SET input_tokens = 4", {"total_input_tokens": (1, 4), "input_tokens": (4, 1)}),
    ("UPDATE agents SET cost = 1", {"total_cost": (Decimal("0.5"), Decimal(1)), "cost": (Decimal(1), Decimal("0.5"))}),
    ("UPDATE usage SET computed_cost = 2", {"cost": (Decimal("0.5"), Decimal(2)), "minute_costs": (Decimal("0.5"), Decimal(2))}),
    ("UPDATE activity_minutes SET cost = 3", {"minute_costs": (Decimal(9), Decimal("0.5"))}),
    ("UPDATE activity_minutes SET events = 1 WHERE events = 4", {"events": (1, 4)}),
    ("DELETE FROM activity_minutes WHERE cost <> 0", {"minute_costs": (0, Decimal("0.5")), "events": (0, 4)}),
    ("INSERT INTO activity_minutes SELECT id, '2020-01-01Z', 6 FROM sessions", {"events": (6, 0)}),
]


async def make_whole(db: UnitOfWork) -> Session:
    """Make a session with twelve events in three minutes, five messages, and an agent that cost half a dollar."""
    agent = await make_agent(db)
    moments = [NOON + timedelta(seconds=15 * number) for number in range(EVENTS)]
    await crud.append_agent_logs(db, [event(agent.session_id, timestamp=moment) for moment in moments])
    await crud.save_display_messages(db, agent.session_id, [message() for _ in range(5)])
    session = await lock_session(db, agent.session_id)
    row: dict[str, Any] = dict.fromkeys(TOKENS, 1) | {"message_id": "m", "agent_id": agent.id, "model": "opus", "occurred_at": NOON}
    await put_usage(db, session.id, [row | {"computed_cost": Decimal("0.5"), "reported_cost": None}], {})
    await db.flush()
    return session


def found(comparison: counters.Comparison) -> dict[str, tuple[Any, Any]]:
    return {each.name: (each.stored, each.actual) for each in comparison.wrong}


async def correct(db: UnitOfWork, comparison: counters.Comparison) -> int:
    minutes = [each.minute for each in comparison.wrong if each.minute is not None]
    return sum([await correct_counters(db, session_id, minutes) for session_id in {each.session_id for each in comparison.wrong}])


class TestCompareCounters:
    async def test_sessions_that_are_right_have_nothing(self, db: UnitOfWork) -> None:
        sessions = [await make_whole(db), await make_session(db)]
        assert await compare_counters(db, [session.id for session in sessions], whole=True) == ([], [])

    @pytest.mark.parametrize(("change", "expected"), BROKEN)
    @pytest.mark.parametrize("small", [counters.SMALL, 0])
    async def test_each_counter_can_be_wrong(
        self, db: UnitOfWork, monkeypatch: pytest.MonkeyPatch, change: str, expected: dict[str, tuple[Any, Any]], small: int
    ) -> None:
        monkeypatch.setattr(counters, "SMALL", small)
        session = await make_whole(db)
        await db.execute(text(change))
        assert found(await compare_counters(db, [session.id], whole=True)) == expected

    async def test_a_total_that_was_set_by_hand_is_right(self, db: UnitOfWork) -> None:
        agent = await make_agent(db, cost=2.5)
        assert await compare_counters(db, [agent.session_id]) == ([], [])

    @pytest.mark.parametrize("small", [counters.SMALL, 0])
    @pytest.mark.parametrize("walked", [counters.WALKED, 5, 4])
    async def test_rows_that_are_missing_are_counted(
        self, db: UnitOfWork, monkeypatch: pytest.MonkeyPatch, small: int, walked: int
    ) -> None:
        monkeypatch.setattr(counters, "SMALL", small)
        monkeypatch.setattr(counters, "WALKED", walked)
        session = await make_whole(db)
        await db.execute(text("DELETE FROM agent_logs WHERE event_index IN (0, 4, 7, 11)"))
        await db.execute(text("DELETE FROM messages WHERE message_index = 1"))
        comparison = await compare_counters(db, [session.id], whole=True)
        assert comparison.gaps == [Gap(session.id, "event_count", 3), Gap(session.id, "message_count", 1)]
        assert found(comparison)["event_count"] == (12, 11)

    @pytest.mark.parametrize("walked", [1, 2, 3, 4, 5, 13])
    async def test_a_large_sessions_minutes_are_walked_over(self, db: UnitOfWork, monkeypatch: pytest.MonkeyPatch, walked: int) -> None:
        monkeypatch.setattr(counters, "SMALL", 0)
        monkeypatch.setattr(counters, "WALKED", walked)
        session = await make_whole(db)
        assert await compare_counters(db, [session.id], whole=True) == ([], [])
        await db.execute(text("UPDATE activity_minutes SET events = events + 1"))
        comparison = await compare_counters(db, [session.id], whole=True)
        assert [(each.minute, each.stored, each.actual) for each in comparison.wrong] == [
            (NOON + timedelta(minutes=number), 5, 4) for number in range(3)
        ]

    async def test_a_large_session_is_counted_whole_only_when_that_is_asked_for(
        self, db: UnitOfWork, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(counters, "SMALL", 0)
        session = await make_whole(db)
        await db.execute(text("DELETE FROM agent_logs WHERE event_index = 4"))
        await db.execute(text("UPDATE sessions SET message_count = 1"))
        assert found(await compare_counters(db, [session.id])) == {"message_count": (1, 5)}

    async def test_a_deleted_session_is_left_out(self, db: UnitOfWork) -> None:
        session = await make_whole(db)
        await crud.delete_session(db, session.id)
        await db.execute(text("UPDATE sessions SET event_count = 99, total_cost = 99"))
        await db.execute(text("UPDATE activity_minutes SET events = 99"))
        assert await compare_counters(db, [session.id], whole=True) == ([], [])


class TestCorrectCounters:
    @pytest.mark.parametrize("change", [change for change, _ in BROKEN])
    async def test_every_counter_is_what_the_rows_say(self, db: UnitOfWork, change: str) -> None:
        session = await make_whole(db)
        await db.execute(text(change))
        assert await correct(db, await compare_counters(db, [session.id])) > 0
        assert await compare_counters(db, [session.id]) == ([], [])
        assert await correct_counters(db, session.id) == 0

    async def test_the_row_in_the_unit_of_work_shows_it(self, db: UnitOfWork) -> None:
        session = await make_whole(db)
        await db.execute(text("UPDATE sessions SET event_count = 99"))
        await correct_counters(db, session.id)
        assert session.event_count == EVENTS

    async def test_what_is_appended_next_has_the_next_index(self, db: UnitOfWork) -> None:
        session = await make_whole(db)
        await db.execute(text("DELETE FROM agent_logs WHERE event_index IN (3, 11)"))
        await db.execute(text("UPDATE sessions SET event_count = 2"))
        await correct_counters(db, session.id)
        (appended,) = await crud.append_agent_logs(db, [event(session)])
        assert appended.event_index == 11

    async def test_a_session_that_is_gone_has_no_counters(self, db: UnitOfWork) -> None:
        session = await make_whole(db)
        await crud.delete_session(db, session.id)
        assert await correct_counters(db, session.id) == 0

    async def test_what_is_written_meanwhile_is_neither_lost_nor_counted_twice(self, fresh_database: Database) -> None:
        async with get_async_session() as db:
            session = await make_whole(db)
        is_over = asyncio.Event()
        writers = [asyncio.create_task(append_until(is_over, session.id)) for _ in range(3)]
        await break_and_correct(session.id, is_over)
        appended = await asyncio.gather(*writers)
        async with fresh_database.connected() as connection:
            assert await violations(connection) == []
            assert await connection.fetchval("SELECT count(*) FROM agent_logs") == EVENTS + sum(appended)
        assert min(appended) > 0


async def append_until(is_over: asyncio.Event, session_id: UUID) -> int:
    """Append events, and return how many; one that is refused while a counter is too low is sent again."""
    number = 0
    while not is_over.is_set():
        some = [event(session_id, timestamp=NOON + timedelta(seconds=number)) for _ in range(2)]
        with suppress(Conflict):
            async with get_async_session() as db:
                await crud.append_agent_logs(db, some)
            number += len(some)
    return number


async def break_and_correct(session_id: UUID, is_over: asyncio.Event) -> None:
    breaks = [
        "UPDATE sessions SET event_count = 0, message_count = 0, total_cost = 9",
        "UPDATE activity_minutes SET events = events + 7, cost = cost + 1",
        "UPDATE agents SET output_tokens = 9",
    ]
    for statement in breaks * 8:
        async with get_async_session() as db:
            await db.execute(text(statement))
        async with get_async_session() as db:
            comparison = await compare_counters(db, [session_id])
            assert comparison.wrong
        async with get_async_session() as db:
            await correct(db, comparison)
    is_over.set()
