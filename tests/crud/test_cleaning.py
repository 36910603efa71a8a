"""Cleaning up: old sessions go whole, and never one that is in use or pinned."""

import asyncio
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import func, select, update
from sqlmodel import col

from session_db import crud
from session_db.capture.importer import import_recordings
from session_db.crud.cleaning import list_old_sessions
from session_db.crud.sdk_sessions import get_sdk_session
from session_db.database import UnitOfWork, async_session, get_async_session, in_transaction
from session_db.database.batches import in_batches
from session_db.errors import InvalidInput, NotFound
from session_db.models import Session, SessionUpdate
from session_db.models.table import now
from tests.capture.recorded import BACKGROUND, recording
from tests.databases import Database
from tests.factories import event, make_agent, make_session
from tests.processes import let_all_go, workers

MONTH = timedelta(days=30)

CLEAN_UP = """
from datetime import datetime
from session_db.database import in_transaction

async def main(before):
    cursor = None
    while True:
        page = await in_transaction(
            lambda db: crud.cleanup_sessions(db, before=datetime.fromisoformat(before), limit=5, cursor=cursor)
        )
        for session_id in page:
            print(session_id, flush=True)
        cursor = page.next_cursor
        if cursor is None:
            break
    await close_db()

asyncio.run(main(*sys.argv[1:]))
"""


async def age(db: UnitOfWork, *sessions: Session, days: float = 100) -> None:
    """Let nothing have happened in sessions for so long."""
    old = update(Session).where(col(Session.id).in_([session.id for session in sessions]))
    await db.execute(old.values(last_activity=now() - timedelta(days=days)).execution_options(synchronize_session=False))


async def old_session(db: UnitOfWork, days: float = 100, **values: Any) -> Session:
    session = await make_session(db, **values)
    await age(db, session, days=days)
    return session


async def cleaned(db: UnitOfWork, **filters: Any) -> list[UUID]:
    """Clean up to the end, and return what went."""
    gone: list[UUID] = []
    cursor = None
    while True:
        page = await crud.cleanup_sessions(db, **({"before": now() - MONTH} | filters), cursor=cursor)
        gone += page
        cursor = page.next_cursor
        if cursor is None:
            return gone


async def is_there(db: UnitOfWork, session: Session) -> bool:
    return await crud.get_session(db, session.id) is not None


class TestCleanupSessions:
    async def test_those_in_which_nothing_happened_for_so_long_go(self, db: UnitOfWork) -> None:
        old, older, young = await old_session(db, 31), await old_session(db, 300), await old_session(db, 29)
        assert sorted(await cleaned(db)) == sorted([old.id, older.id])
        assert await is_there(db, young)
        assert not await is_there(db, old)
        assert await crud.erase_deleted_sessions(db) == 2

    async def test_status_and_type_are_filters(self, db: UnitOfWork) -> None:
        ended = await old_session(db, status="terminated")
        idle = await old_session(db, status="idle")
        workflow = await old_session(db, session_slug="auth", status="complete")
        quick = await old_session(db, session_slug="fix", session_type="quick", status="complete")
        assert await cleaned(db, status="terminated") == [ended.id]
        assert await cleaned(db, session_type="quick", status="complete") == [quick.id]
        assert await cleaned(db, session_type="full") == [workflow.id]
        assert await cleaned(db) == [idle.id]

    async def test_one_that_is_pinned_stays(self, db: UnitOfWork) -> None:
        await old_session(db, pinned=True)
        assert await cleaned(db) == []

    @pytest.mark.parametrize("activity", ["working", "waiting"])
    async def test_one_whose_agent_works_or_waits_stays(self, db: UnitOfWork, activity: str) -> None:
        session = await old_session(db)
        await crud.update_session(db, session.id, SessionUpdate.model_validate({"activity": activity}))
        assert await cleaned(db) == []

    @pytest.mark.parametrize(("status", "stays"), [("executing", True), ("pending", False), ("complete", False), ("failed", False)])
    async def test_one_in_which_an_agent_executes_stays(self, db: UnitOfWork, status: str, stays: bool) -> None:
        session = await old_session(db)
        await make_agent(db, session, status=status)
        assert await cleaned(db) == ([] if stays else [session.id])

    async def test_one_to_which_a_client_is_connected_stays_until_its_lease_ended(self, db: UnitOfWork) -> None:
        session = await old_session(db)
        client = await crud.create_presence(db, session.id, worker="here")
        assert await cleaned(db) == []
        await crud.renew_presence(db, [client.connection_id], lease_seconds=-1)
        assert await cleaned(db) == [session.id]

    async def test_pages_go_on_past_those_that_stay(self, db: UnitOfWork) -> None:
        for _ in range(5):
            await old_session(db, 200, pinned=True)
            await old_session(db, 100)
        assert len(await cleaned(db, limit=2)) == 5

    @pytest.mark.parametrize("limit", [0, 1001])
    async def test_a_page_has_a_limit(self, db: UnitOfWork, limit: int) -> None:
        with pytest.raises(InvalidInput, match="limit"):
            await crud.cleanup_sessions(db, before=now(), limit=limit)

    async def test_what_went_is_brought_back_neither_by_an_import_nor_by_a_late_event(self, fresh_database: Database) -> None:
        await import_recordings([recording(BACKGROUND)])
        async with get_async_session() as db:
            session = await crud.get_session(db, BACKGROUND)
            assert session is not None
            await age(db, session)
        async with get_async_session() as db:
            assert await cleaned(db) == [BACKGROUND]
        await in_batches(crud.erase_deleted_sessions)
        await import_recordings([recording(BACKGROUND)])
        async with get_async_session() as db:
            assert await crud.get_session(db, BACKGROUND) is None
            tombstone = await get_sdk_session(db, str(BACKGROUND))
            assert tombstone is not None
            assert tombstone.session_id is None
            with pytest.raises(NotFound):
                await crud.append_agent_logs(db, [event(BACKGROUND)])


class TestListOldSessions:
    async def test_it_lists_what_would_go_the_oldest_first_in_pages(self, db: UnitOfWork) -> None:
        sessions = [await old_session(db, days) for days in (40, 60, 50)]
        await old_session(db, pinned=True)
        first = await list_old_sessions(db, before=now() - MONTH, limit=2)
        second = await list_old_sessions(db, before=now() - MONTH, limit=2, cursor=first.next_cursor)
        assert [session.id for session in (*first, *second)] == [sessions[place].id for place in (1, 2, 0)]
        assert second.next_cursor is None
        assert all([await is_there(db, session) for session in sessions])

    async def test_a_naive_moment_means_utc(self, db: UnitOfWork) -> None:
        await old_session(db, 1)
        assert len(await list_old_sessions(db, before=datetime(2100, 1, 1))) == 1  # noqa: DTZ001  it is the case


class TestAtOnce:
    async def test_a_session_that_becomes_active_while_its_lock_is_waited_for_stays(self, fresh_database: Database) -> None:
        async with get_async_session() as db:
            touched, working, other = [await old_session(db) for _ in range(3)]
        async with async_session() as writer:
            await crud.append_agent_logs(writer, [event(touched)])
            await crud.update_session(writer, working.id, SessionUpdate(activity="working"))
            cleaning = asyncio.create_task(in_transaction(lambda db: crud.cleanup_sessions(db, before=now() - MONTH)))
            await asyncio.sleep(0.3)
            assert not cleaning.done(), "it looks at a session only under its lock"
            await writer.commit()
            assert await cleaning == [other.id]
        async with get_async_session() as db:
            assert await is_there(db, touched)
            assert await is_there(db, working)

    async def test_two_cleanups_delete_each_session_once_and_one_that_is_killed_is_made_up_for(self, fresh_database: Database) -> None:
        async with get_async_session() as db:
            sessions = [await make_session(db) for _ in range(60)]
            await crud.append_agent_logs(db, [event(session) for session in sessions])
            await age(db, *sessions)
            young = await make_session(db)
        before = (now() - MONTH).isoformat()
        with workers(fresh_database, CLEAN_UP, [(before,)] * 3) as cleaners:
            await let_all_go(cleaners)
            # Others may be faster than this one, and leave it nothing.
            while not any(cleaner.lines for cleaner in cleaners):
                await asyncio.sleep(0.005)
            cleaners[0].kill()
            ends = [await cleaner.end() for cleaner in cleaners]
            assert ends[1:] == [(0, "")] * 2
            told = [line for cleaner in cleaners for line in cleaner.lines]
        assert len(told) == len(set(told))
        async with get_async_session() as db:
            assert [session.id for session in await crud.list_sessions(db, limit=1000)] == [young.id]
        await in_batches(crud.erase_deleted_sessions)
        async with get_async_session() as db:
            assert (await db.execute(select(func.count()).select_from(Session))).scalar_one() == 1

    async def test_writers_of_other_sessions_and_of_those_that_go_lose_nothing(self, fresh_database: Database) -> None:
        async with get_async_session() as db:
            old = [await make_session(db) for _ in range(40)]
            used = [await make_session(db) for _ in range(4)]
            await age(db, *old)
        refused = 0

        async def write(number: int) -> int:
            nonlocal refused
            written = 0
            for turn in range(20):
                async with get_async_session() as db:
                    await crud.append_agent_logs(db, [event(used[number])])
                    written += 1
                try:
                    async with get_async_session() as db:
                        await crud.append_agent_logs(db, [event(old[(turn * 4 + number) % 40])])
                except NotFound:
                    refused += 1
            return written

        async def clean() -> list[UUID]:
            gone: list[UUID] = []
            for _ in range(10):
                gone += await in_transaction(lambda db: crud.cleanup_sessions(db, before=now() - MONTH, limit=4))
                await in_batches(crud.erase_deleted_sessions)
            return gone

        written, gone = await asyncio.gather(asyncio.gather(*(write(number) for number in range(4))), clean())
        assert written == [20] * 4
        async with get_async_session() as db:
            for session in used:
                found = await crud.get_session(db, session.id)
                assert found is not None
                assert found.event_count == 20
            there = [session.id for session in old if await is_there(db, session)]
        assert sorted([*there, *gone]) == sorted(session.id for session in old)
