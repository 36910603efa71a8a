"""What a unit of work changed is told after its commit, and never before."""

import asyncio
from collections.abc import Awaitable, Callable
from uuid import UUID

import asyncpg
import pytest
from sqlalchemy.ext.asyncio import AsyncSession, create_async_engine

from session_db import crud
from session_db.database import UnitOfWork, async_session, close_db, get_async_session
from session_db.database.connection import create_engine
from session_db.errors import AlreadyExists
from session_db.live import note_changed
from session_db.live.notifier import BURST_SECONDS, IDS_A_PAYLOAD, get_notifier
from session_db.models import SessionCreate, SessionNameUpdate
from session_db.models.table import now
from tests.databases import Database
from tests.factories import event, make_session
from tests.live.heard import Heard

QUIET = 10 * BURST_SECONDS
"""Time in which a notification would have come."""


async def make_committed_session(heard: Heard) -> UUID:
    async with get_async_session() as db:
        session = await make_session(db)
    await heard.until(1)
    heard.payloads.clear()
    return session.id


class TestCommits:
    async def test_what_is_created_is_told(self, fresh_database: Database, heard: Heard) -> None:
        async with get_async_session() as db:
            one = await make_session(db)
            created = SessionCreate(session_id=UUID(int=7), agent_name="strudel")
            assert await crud.sessions.ensure_session(db, created, now())
            await asyncio.sleep(QUIET)
            assert heard.payloads == []
        await heard.until(1)
        assert {*heard.ids} == {str(one.id), str(UUID(int=7))}

    async def test_what_is_appended_named_and_touched_is_told_each_time(self, fresh_database: Database, heard: Heard) -> None:
        session_id = await make_committed_session(heard)
        async with fresh_database.connected() as connection:
            await connection.execute("UPDATE sessions SET last_activity = last_activity - interval '1 hour'")
        changes: list[Callable[[UnitOfWork], Awaitable[object]]] = [
            lambda db: crud.update_session_activity(db, session_id),
            lambda db: crud.append_agent_logs(db, [event(session_id)]),
            lambda db: crud.update_session_name(db, session_id, SessionNameUpdate(name="Name")),
            lambda db: crud.delete_session(db, session_id),
        ]
        for number, change in enumerate(changes, start=1):
            async with get_async_session() as db:
                await change(db)
            await heard.until(number)
        assert heard.payloads == [str(session_id)] * 4

    async def test_what_is_only_read_is_not_told(self, fresh_database: Database, heard: Heard) -> None:
        session_id = await make_committed_session(heard)
        async with get_async_session() as db:
            await crud.get_session(db, session_id)
            await crud.list_agent_logs(db, session_id)
            await crud.update_session_name(db, UUID(int=1), SessionNameUpdate(name="Nobody"))
        await asyncio.sleep(QUIET)
        assert heard.payloads == []

    async def test_a_session_that_commits_twice_tells_each_change_once(self, fresh_database: Database, heard: Heard) -> None:
        session_id = await make_committed_session(heard)
        async with async_session() as db:
            await crud.append_agent_logs(db, [event(session_id)])
            await db.commit()
            await heard.until(1)
            await db.commit()
            await asyncio.sleep(QUIET)
        assert heard.payloads == [str(session_id)]


class TestRollbacks:
    async def test_what_is_rolled_back_is_not_told(self, fresh_database: Database, heard: Heard) -> None:
        session_id = await make_committed_session(heard)
        async with async_session() as db:
            await crud.append_agent_logs(db, [event(session_id)])
            await db.rollback()
            other = await make_session(db)
            await db.commit()
        await heard.until(1)
        assert heard.ids == [str(other.id)]

    async def test_what_is_closed_without_a_commit_is_not_told(self, fresh_database: Database, heard: Heard) -> None:
        session_id = await make_committed_session(heard)
        async with async_session() as db:
            await crud.append_agent_logs(db, [event(session_id)])
            with pytest.warns(match="not committed"):
                await db.close()
            await db.commit()
        await asyncio.sleep(QUIET)
        assert heard.payloads == []

    async def test_the_end_of_a_savepoint_is_no_commit(self, fresh_database: Database, heard: Heard) -> None:
        session_id = await make_committed_session(heard)
        async with async_session() as db:
            async with db.begin_nested():
                await crud.append_agent_logs(db, [event(session_id)])
            with pytest.raises(AlreadyExists):
                await make_session(db, session_id=session_id)
            await asyncio.sleep(QUIET)
            assert heard.payloads == []
            await db.commit()
        await heard.until(1)
        assert heard.payloads == [str(session_id)]


class TestOtherSessions:
    async def test_a_plain_session_on_an_engine_of_the_application_tells_too(self, fresh_database: Database, heard: Heard) -> None:
        engine = create_async_engine("postgresql+asyncpg://", async_creator=lambda: asyncpg.connect(fresh_database.direct_url))
        async with AsyncSession(engine) as db:
            session = await make_session(db)
            session_id = session.id
            await db.commit()
        await heard.until(1)
        assert heard.ids == [str(session_id)]
        await engine.dispose()

    async def test_an_engine_that_was_disposed_of_is_not_connected_again(
        self, fresh_database: Database, heard: Heard, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        # It would be told before the end of the engine where that takes longer than a burst.
        monkeypatch.setattr("session_db.live.notifier.BURST_SECONDS", 60)
        engine = create_engine(fresh_database.settings)
        async with AsyncSession(engine) as db:
            await make_session(db)
            await db.commit()
        await engine.dispose()
        await close_db()
        assert engine.pool.checkedin() == 0  # type: ignore[attr-defined]
        assert heard.payloads == []

    async def test_one_that_joined_a_transaction_leaves_the_commit_to_its_owner(self, db: UnitOfWork) -> None:
        session = await make_session(db)
        await db.commit()
        note_changed(db, session.id)
        await db.commit()
        assert get_notifier()._changed == {}


class TestNotifier:
    async def test_a_thousand_commits_are_told_in_few_notifications(self, fresh_database: Database, heard: Heard) -> None:
        session_id = await make_committed_session(heard)
        loop = asyncio.get_running_loop()
        began = loop.time()
        for _ in range(1_000):
            async with async_session() as db:
                note_changed(db, session_id)
                await db.begin()
                await db.commit()
        bursts = (loop.time() - began) / BURST_SECONDS
        await asyncio.sleep(QUIET)
        assert 1 <= len(heard.payloads) <= bursts + 2
        assert {*heard.ids} == {str(session_id)}

    async def test_many_sessions_are_told_in_payloads_that_postgresql_takes(self, fresh_database: Database, heard: Heard) -> None:
        ids = [UUID(int=number) for number in range(3 * IDS_A_PAYLOAD + 1)]
        async with async_session() as db:
            for session_id in ids:
                note_changed(db, session_id)
            await db.begin()
            await db.commit()
        await heard.until(4)
        assert sorted(heard.ids) == [str(session_id) for session_id in ids]
        assert max(len(payload) for payload in heard.payloads) < 8_000

    async def test_the_end_of_the_connections_waits_for_the_last_burst(self, fresh_database: Database, heard: Heard) -> None:
        async with get_async_session() as db:
            session = await make_session(db)
        await close_db()
        await heard.until(1)
        assert heard.ids == [str(session.id)]

    async def test_a_database_that_is_gone_is_no_failure_of_the_writer(
        self, fresh_database: Database, heard: Heard, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
    ) -> None:
        async def refuse(*_: object) -> None:
            raise ConnectionError

        caplog.set_level("DEBUG", "session_db.live")
        monkeypatch.setattr("session_db.live.notifier.notify", refuse)
        async with get_async_session() as db:
            session = await make_session(db)
        await close_db()
        assert [record.levelname for record in caplog.records] == ["DEBUG"]
        async with get_async_session() as db:
            assert await crud.get_session(db, session.id) is not None


def test_a_loop_that_ends_by_itself_tells_its_last_burst(fresh_database: Database) -> None:
    """A short program forgets close_db, and asyncio cancels what is under way."""

    async def write() -> UUID:
        async with get_async_session() as db:
            return (await make_session(db)).id

    async def listen_while_a_thread_writes() -> tuple[list[str], UUID]:
        heard = Heard()
        async with fresh_database.connected() as connection:
            await connection.add_listener("session_db", heard)
            session_id = await asyncio.to_thread(lambda: asyncio.run(write()))
            await heard.until(1)
            await connection.remove_listener("session_db", heard)
        return heard.ids, session_id

    ids, session_id = asyncio.run(listen_while_a_thread_writes())
    assert ids == [str(session_id)]
