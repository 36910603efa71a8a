"""The hub wakes those who follow a session, and those who watch all, and reads for them together."""

import asyncio
import threading
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from uuid import UUID

import pytest
from sqlalchemy import event as sqlalchemy_event

from session_db import crud
from session_db.crud.sdk_sessions import bind_sdk_session, main_agent_id
from session_db.database import UnitOfWork, async_session, close_db, get_async_session, get_engine
from session_db.errors import Unavailable
from session_db.ids import new_id
from session_db.live import Follower, Head, Hub, Lagged, Stopping, Watcher, get_hub
from session_db.live import hub as hub_module
from session_db.live.heads import read_last_active
from session_db.live.notifier import get_notifier
from session_db.models import SessionUpdate
from tests.databases import Database
from tests.factories import event, make_agent, make_session
from tests.processes import let_all_go, workers

APPEND = """
async def main(session):
    async with get_async_session() as db:
        await crud.append_agent_logs(db, [event(UUID(session), UUID(int=1))])
    await close_db()

asyncio.run(main(*sys.argv[1:]))
"""

AT_ONCE = 3
"""Seconds in which a notification arrives, and the slow poll of a hub that listens does not come."""

QUIET = 0.3
"""Seconds in which a notification would have come."""


async def make_committed_session() -> UUID:
    async with get_async_session() as db:
        return (await make_session(db)).id


async def append(session_id: UUID, number: int = 1) -> None:
    async with get_async_session() as db:
        await crud.append_agent_logs(db, [event(session_id) for _ in range(number)])


async def next_head(follower: Follower, is_right: Callable[[Head], bool] = lambda _: True) -> Head:
    """Return the first head that is as wanted; those on the way to it may be told or not."""
    async with asyncio.timeout(AT_ONCE):
        while (head := await follower.next()) is None or not is_right(head):
            pass
    return head


async def poll_often(hub: Hub) -> None:
    """Let it look for changes again and again, until cancelled."""
    while True:
        hub._poll_now()
        await asyncio.sleep(QUIET / 5)


async def drain(watcher: Watcher) -> None:
    """Take what is told of changes before."""
    while await watcher.next(QUIET):
        pass


async def hear_all(hub: Hub) -> None:
    """Wait until the hub heard what was told of all commits before this."""
    session_id = new_id()
    async with hub.follow(session_id) as follower:
        assert (await next_head(follower)).is_deleted
        while get_notifier()._changed or get_notifier()._sending:
            await asyncio.sleep(0.01)
        # They are heard in the order in which they were told.
        async with get_async_session() as db:
            await make_session(db, session_id=session_id)
        assert not (await next_head(follower)).is_deleted


class Reads:
    """The statements that read sessions for the hub."""

    def __init__(self) -> None:
        self.statements: list[str] = []
        sqlalchemy_event.listen(get_engine().sync_engine, "before_cursor_execute", self._note)

    def _note(self, _connection: object, _cursor: object, statement: str, *_: object) -> None:
        if "xmin" in statement:
            self.statements.append(statement)


class TestFollow:
    async def test_the_first_head_comes_at_once(self, hub: Hub) -> None:
        session_id = await make_committed_session()
        await append(session_id, 3)
        async with hub.follow(session_id) as follower:
            head = await next_head(follower)
        assert head.session is not None
        assert (head.event_count, head.session.event_count, head.session.agent_name) == (3, 3, "strudel")
        assert not head.is_deleted

    async def test_the_head_of_a_session_that_never_was_is_gone(self, hub: Hub) -> None:
        async with hub.follow(UUID(int=1)) as follower:
            assert await next_head(follower) == Head(UUID(int=1))

    async def test_one_that_is_made_later_is_told(self, hub: Hub) -> None:
        session_id = new_id()
        async with hub.follow(session_id) as follower:
            assert (await next_head(follower)).is_deleted
            async with get_async_session() as db:
                await make_session(db, session_id=session_id)
            assert not (await next_head(follower)).is_deleted

    async def test_a_commit_of_another_process_wakes(self, fresh_database: Database, hub: Hub) -> None:
        session_id = await make_committed_session()
        async with hub.follow(session_id) as follower:
            await next_head(follower)
            with workers(fresh_database, APPEND, [[session_id]]) as (worker,):
                await let_all_go([worker])
                head = await next_head(follower, lambda head: head.event_count > 0)
                assert (await worker.end()) == (0, "")
        assert head.event_count == 1

    async def test_nothing_new_is_none_at_the_end_of_the_time(self, hub: Hub) -> None:
        session_id = await make_committed_session()
        async with hub.follow(session_id) as follower:
            await next_head(follower)
            await append(await make_committed_session())
            async with async_session() as db:
                await crud.append_agent_logs(db, [event(session_id)])
                await db.rollback()
            assert await follower.next(QUIET) is None

    async def test_a_change_that_is_no_event_is_told(self, hub: Hub) -> None:
        session_id = await make_committed_session()
        async with hub.follow(session_id) as follower:
            await next_head(follower)
            async with get_async_session() as db:
                await crud.update_session(db, session_id, SessionUpdate(title="New", activity="working"))
            head = await next_head(follower)
        assert head.session is not None
        assert (head.session.display_name, head.session.activity) == ("New", "working")

    async def test_a_deleted_one_is_gone_and_stays_quiet_while_it_is_erased(self, hub: Hub) -> None:
        session_id = await make_committed_session()
        await append(session_id, 3)
        async with hub.follow(session_id) as follower:
            await next_head(follower)
            async with get_async_session() as db:
                await crud.delete_session(db, session_id)
            assert await next_head(follower) == Head(session_id)
            async with get_async_session() as db:
                assert await crud.erase_deleted_sessions(db)
            hub._poll_now()
            assert await follower.next(QUIET) is None

    async def test_an_adopted_one_says_where_it_went(self, hub: Hub) -> None:
        async with get_async_session() as db:
            chat, workflow = await make_session(db), await make_session(db, session_slug="feature")
            main = await make_agent(db, chat, id=main_agent_id(chat.id, str(chat.id)), agent_type="main")
            await bind_sdk_session(db, str(chat.id), chat.id, main.id, "auto")
        async with hub.follow(chat.id) as follower:
            await next_head(follower)
            async with get_async_session() as db:
                await make_agent(db, workflow, sdk_session_id=str(chat.id))
            head = await next_head(follower)
        assert (head.is_deleted, head.moved_to) == (True, workflow.id)

    async def test_many_commits_are_one_newest_head(self, hub: Hub) -> None:
        session_id = await make_committed_session()
        async with hub.follow(session_id) as follower:
            await next_head(follower)
            for _ in range(50):
                await append(session_id)
            async with hub.follow(session_id) as other:
                await next_head(other, lambda head: head.event_count == 50)
            head = await follower.next(AT_ONCE)
            assert head is not None
            assert head.event_count == 50
            assert await follower.next(0) is None

    async def test_a_session_that_nobody_follows_any_more_is_forgotten(self, hub: Hub) -> None:
        session_id = await make_committed_session()
        async with hub.follow(session_id) as one, hub.follow(session_id) as two:
            assert (await next_head(one)).version == (await next_head(two)).version
        assert hub._topics == {}


class TestReads:
    async def test_five_hundred_followers_of_as_many_sessions_cost_one_read(self, hub: Hub) -> None:
        async with get_async_session() as db:
            ids = [(await make_session(db)).id for _ in range(500)]
        await hear_all(hub)
        async with AsyncExitStack() as stack:
            reads = Reads()
            followers = [await stack.enter_async_context(hub.follow(session_id)) for session_id in ids]
            await asyncio.gather(*(next_head(follower) for follower in followers))
            assert len(reads.statements) <= 2
            reads.statements.clear()
            hub._poll_now()
            async with asyncio.timeout(AT_ONCE):
                while not reads.statements:
                    await asyncio.sleep(0.01)
            await asyncio.sleep(QUIET)
            assert len(reads.statements) == 1

    async def test_followers_of_one_session_share_its_read(self, hub: Hub) -> None:
        session_id = await make_committed_session()
        async with AsyncExitStack() as stack:
            followers = [await stack.enter_async_context(hub.follow(session_id)) for _ in range(100)]
            await asyncio.gather(*(next_head(follower) for follower in followers))
            # The hint of its creation may come after the first head.
            await hear_all(hub)
            reads = Reads()
            await append(session_id)
            heads = await asyncio.gather(*(next_head(follower) for follower in followers))
        assert {head.event_count for head in heads} == {1}
        assert len(reads.statements) == 1

    async def test_a_hub_that_nobody_reads_reads_nothing(self, hub: Hub) -> None:
        reads = Reads()
        await append(await make_committed_session())
        hub._poll_now()
        await asyncio.sleep(QUIET)
        assert reads.statements == []

    async def test_a_session_that_cannot_be_loaded_does_not_hide_the_others(self, fresh_database: Database, hub: Hub) -> None:
        odd, other = await make_committed_session(), await make_committed_session()
        async with fresh_database.connected() as connection:
            await connection.execute("UPDATE sessions SET metadata = '[]' WHERE id = $1", odd)
        async with hub.follow(odd) as follower, hub.follow(other) as beside:
            assert (await next_head(follower)).is_deleted
            assert not (await next_head(beside)).is_deleted


class TestPolls:
    @pytest.fixture(autouse=True)
    def short_periods(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(hub_module, "POLL_SECONDS", {"listening": 0.1, "polling": 0.1})

    async def test_a_change_that_nobody_told_is_found(self, fresh_database: Database, hub: Hub) -> None:
        session_id, other_id = await make_committed_session(), await make_committed_session()
        async with hub.follow(session_id) as follower, hub.watch() as watcher, fresh_database.connected() as connection:
            await next_head(follower)
            await drain(watcher)
            await connection.execute("UPDATE sessions SET title = 'by hand'")
            head = await next_head(follower)
            assert head.session is not None
            assert head.session.title == "by hand"
            changed = await watcher.next(AT_ONCE) | await watcher.next(QUIET)
            assert {session_id, other_id} == changed.keys()

    async def test_behind_a_pooler_every_change_is_found(self, polling_hub: Hub) -> None:
        session_id = await make_committed_session()
        async with polling_hub.follow(session_id) as follower, polling_hub.watch() as watcher:
            await next_head(follower)
            await append(session_id)
            assert (await next_head(follower)).event_count == 1
            assert (await watcher.next(AT_ONCE))[session_id].event_count == 1
            new = await make_committed_session()
            assert not (await watcher.next(AT_ONCE))[new].is_deleted
            async with get_async_session() as db:
                await crud.delete_session(db, new)
                while await crud.erase_deleted_sessions(db):
                    pass
            assert (await watcher.next(AT_ONCE))[new].is_deleted

    async def test_more_changes_than_are_looked_at_let_watchers_list_anew(self, polling_hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(hub_module, "WALKED", 3)
        async with get_async_session() as db:
            for _ in range(3):
                await make_session(db)
        async with polling_hub.watch() as watcher:
            async with get_async_session() as db:
                for _ in range(4):
                    await make_session(db)
            with pytest.raises(Lagged):
                await watcher.next(AT_ONCE)


class TestWatch:
    async def test_changes_are_told_once_with_their_newest_heads(self, hub: Hub) -> None:
        one, two = await make_committed_session(), await make_committed_session()
        async with hub.watch() as watcher, hub.follow(one) as follower:
            await next_head(follower)
            await drain(watcher)
            for _ in range(5):
                await append(one)
            await next_head(follower, lambda head: head.event_count == 5)
            await append(two)
            changed = await watcher.next(AT_ONCE)
            while two not in changed or not changed[two].event_count:
                changed |= await watcher.next(AT_ONCE)
            assert {session_id: head.event_count for session_id, head in changed.items()} == {one: 5, two: 1}
            assert await watcher.next(QUIET) == {}

    async def test_new_and_deleted_sessions_are_told(self, hub: Hub) -> None:
        async with hub.watch() as watcher:
            session_id = await make_committed_session()
            assert not (await watcher.next(AT_ONCE))[session_id].is_deleted
            async with get_async_session() as db:
                await crud.delete_session(db, session_id)
            assert (await watcher.next(AT_ONCE))[session_id].is_deleted

    async def test_more_than_is_kept_is_said_once(self, hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(hub_module, "WATCHED", 20)
        async with hub.watch() as watcher:
            async with get_async_session() as db:
                for _ in range(21):
                    await make_session(db)
            with pytest.raises(Lagged):
                await watcher.next(AT_ONCE)
            session_id = await make_committed_session()
            assert [*await watcher.next(AT_ONCE)] == [session_id]

    async def test_a_poll_at_the_beginning_says_nothing_is_lost(self, hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
        delays = iter([QUIET])

        async def read_slowly(db: UnitOfWork, number: int) -> dict[UUID, int]:
            walked = await read_last_active(db, number)
            await asyncio.sleep(next(delays, 0))
            return walked

        monkeypatch.setattr(hub_module, "read_last_active", read_slowly)
        async with asyncio.TaskGroup() as tasks:
            polling = tasks.create_task(poll_often(hub))
            async with hub.watch() as watcher:
                assert await watcher.next(QUIET) == {}
            polling.cancel()

    async def test_one_that_does_not_ask_lags(self, hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("session_db.live.readers.WATCHED", 2)
        async with hub.watch() as slow, hub.watch() as other:
            for _ in range(3):
                session_id = await make_committed_session()
                assert session_id in await other.next(AT_ONCE)
            with pytest.raises(Lagged):
                await slow.next(AT_ONCE)
            assert await slow.next(0) == {}


class TestStop:
    @pytest.mark.parametrize("call", [Hub.stop, lambda hub: threading.Thread(target=hub.stop).start()])
    async def test_it_wakes_everybody_and_whoever_comes_after(self, hub: Hub, call: Callable[[Hub], None]) -> None:
        session_id = await make_committed_session()
        async with hub.follow(session_id) as follower, hub.watch() as watcher:
            await next_head(follower)
            await drain(watcher)
            waiting = [asyncio.create_task(reader.next()) for reader in (follower, watcher)]
            await asyncio.sleep(0)
            call(hub)
            async with asyncio.timeout(AT_ONCE):
                assert [type(end) for end in await asyncio.gather(*waiting, return_exceptions=True)] == [Stopping, Stopping]
            with pytest.raises(Stopping):
                await follower.next(0)
        async with hub.follow(session_id) as late:
            with pytest.raises(Stopping):
                await late.next(0)

    async def test_the_end_of_the_connections_ends_it_and_another_begins_afresh(self, hub: Hub) -> None:
        session_id = await make_committed_session()
        async with hub.follow(session_id) as follower:
            await close_db()
            with pytest.raises(Stopping):
                await follower.next(0)
        assert get_hub() is not hub
        async with get_hub().follow(session_id) as follower:
            assert not (await next_head(follower)).is_deleted


class TestUnavailable:
    async def test_readers_wait_until_the_database_is_there_again(
        self, hub: Hub, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
    ) -> None:
        def refuse() -> UnitOfWork:
            raise Unavailable("the database cannot be reached.")

        session_id = await make_committed_session()
        monkeypatch.setattr(hub_module, "async_session", refuse)
        caplog.set_level("INFO", "session_db.live")
        async with hub.follow(session_id) as follower, hub.watch() as watcher:
            assert await follower.next(QUIET) is None
            assert [record.levelname for record in caplog.records] == ["WARNING"]
            monkeypatch.undo()
            assert not (await next_head(follower)).is_deleted
            with pytest.raises(Lagged):
                await watcher.next(AT_ONCE)


class TestStart:
    async def test_it_can_be_called_again_and_at_once(self, hub: Hub) -> None:
        tasks = [*hub._tasks]
        again: list[Awaitable[None]] = [hub.start(), hub.start()]
        await asyncio.gather(*again)
        assert hub._tasks == tasks
