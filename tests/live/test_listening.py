"""A connection that is lost, or hears nothing, is noticed, and nothing is missed."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any
from urllib.parse import parse_qs, urlsplit
from uuid import UUID

import pytest
from pydantic import SecretStr

from session_db import crud
from session_db.database import UnitOfWork, get_async_session
from session_db.database.connection import connect_to_listen
from session_db.live import Hub, Lagged, get_hub
from session_db.live import hub as hub_module
from session_db.live import listening as listening_module
from session_db.live.heads import read_last_active
from session_db.settings import use_settings
from tests.databases import Database
from tests.factories import event, make_session
from tests.servers import temporary_directory

SECONDS = 5


async def make_committed_session() -> UUID:
    async with get_async_session() as db:
        return (await make_session(db)).id


async def append(session_id: UUID) -> None:
    async with get_async_session() as db:
        await crud.append_agent_logs(db, [event(session_id)])


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(SECONDS):
        while not condition():
            await asyncio.sleep(0.01)


async def kill_listeners(database: Database) -> int:
    async with database.connected() as connection:
        killed = await connection.fetch(
            "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity WHERE datname = $1 AND query LIKE '%LISTEN %'"
            " AND pid <> pg_backend_pid()",
            database.name,
        )
        return len(killed)


class Line:
    """A connection on its way through here; it can go silent without an end."""

    def __init__(self, socket: str) -> None:
        self._socket = socket
        self.is_silent = False
        self.connections = 0
        self._answered = asyncio.Event()
        self._tasks: set[asyncio.Task[None]] = set()

    async def __call__(self, client: asyncio.StreamReader, to_client: asyncio.StreamWriter) -> None:
        self.connections += 1
        server, to_server = await asyncio.open_unix_connection(self._socket)
        ways = ((client, to_server, asyncio.Event()), (server, to_client, self._answered))
        pumps = [asyncio.create_task(self._pump(*way)) for way in ways]
        self._tasks.update(pumps)
        await asyncio.wait(pumps)
        for writer in (to_server, to_client):
            writer.close()

    async def _pump(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, passed: asyncio.Event) -> None:
        try:
            while data := await reader.read(65536):
                if not self.is_silent:
                    writer.write(data)
                    passed.set()
            writer.close()
        except OSError:
            pass

    async def answer(self) -> None:
        """Wait until the server says something."""
        self._answered.clear()
        async with asyncio.timeout(SECONDS):
            await self._answered.wait()

    async def end(self) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)


@asynccontextmanager
async def line_to(database: Database) -> AsyncIterator[tuple[Line, str]]:
    """A line to the server, and the URL at its other end."""
    parts = urlsplit(database.direct_url)
    query = {name: values[0] for name, values in parse_qs(parts.query).items()}
    port = query.get("port", "5432")
    line = Line(f"{query['host']}/.s.PGSQL.{port}")
    with temporary_directory(of_servers=False) as directory:
        server = await asyncio.start_unix_server(line, directory / f".s.PGSQL.{port}")
        yield line, parts._replace(query=f"host={directory}&port={port}").geturl()
        server.close()
        await line.end()


class TestLost:
    async def test_a_connection_that_is_killed_is_replaced_and_nothing_is_missed(
        self, fresh_database: Database, hub: Hub, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        session_id = await make_committed_session()
        # So only what follows the new connection can find the change.
        monkeypatch.setattr(hub_module, "POLL_SECONDS", {"listening": 60, "polling": 60})
        may_connect, has_looked = asyncio.Event(), asyncio.Event()

        async def connect_when_told() -> Any:
            await may_connect.wait()
            return await connect_to_listen()

        async def read_and_tell(db: UnitOfWork, number: int) -> dict[UUID, int]:
            walked = await read_last_active(db, number)
            has_looked.set()
            return walked

        monkeypatch.setattr(listening_module, "connect_to_listen", connect_when_told)
        monkeypatch.setattr(hub_module, "read_last_active", read_and_tell)
        async with hub.follow(session_id) as follower, hub.watch() as watcher:
            assert await follower.next(SECONDS) is not None
            has_looked.clear()
            assert await kill_listeners(fresh_database) == 1
            # It looks once when the connection is lost.
            async with asyncio.timeout(SECONDS):
                await has_looked.wait()
            await append(session_id)
            assert await follower.next(0.1) is None
            assert hub.mode == "polling"
            may_connect.set()
            head = await follower.next(SECONDS)
            assert head is not None
            assert (head.event_count, hub.mode) == (1, "listening")
            with pytest.raises(Lagged):
                await watcher.next(SECONDS)
            await append(session_id)
            head = await follower.next(SECONDS)
            assert head is not None
            assert head.event_count == 2

    async def test_one_that_only_seems_to_be_open_is_replaced(self, fresh_database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(listening_module, "HEALTH_SECONDS", 0.1)
        async with line_to(fresh_database) as (line, url):
            use_settings(fresh_database.settings.model_copy(update={"listen_url": SecretStr(url)}))
            hub = get_hub()
            await hub.start()
            for _ in range(3):
                await line.answer()
            assert (hub.mode, line.connections) == ("listening", 1)
            # From the next question on.
            monkeypatch.setattr(listening_module, "ANSWER_SECONDS", 0.2)
            line.is_silent = True
            await until(lambda: hub.mode == "polling")
            line.is_silent = False
            await until(lambda: hub.mode == "listening")
            assert line.connections > 1
            await hub.close()


class TestProof:
    async def test_where_no_notification_arrives_it_looks_for_changes(
        self, fresh_database: Database, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
    ) -> None:
        """Another database of the server hears as little as whoever listens behind a pooler."""
        monkeypatch.setattr(listening_module, "PROOF_SECONDS", 0.2)
        monkeypatch.setattr(hub_module, "POLL_SECONDS", {"polling": 0.1})
        elsewhere = fresh_database.direct_url.replace(fresh_database.name, "postgres")
        use_settings(fresh_database.settings.model_copy(update={"listen_url": SecretStr(elsewhere)}))
        session_id = await make_committed_session()
        async with get_hub().follow(session_id) as follower:
            assert get_hub().mode == "polling"
            assert "SESSION_DB_LISTEN_URL" in caplog.text
            assert await follower.next(SECONDS) is not None
            await append(session_id)
            head = await follower.next(SECONDS)
        assert head is not None
        assert head.event_count == 1

    async def test_behind_a_pooler_nobody_tries_to_listen(self, polling_hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
        async def refuse() -> None:
            raise AssertionError

        monkeypatch.setattr(listening_module, "connect_to_listen", refuse)
        await polling_hub.close()
        await polling_hub.start()
        assert polling_hub.mode == "polling"

    async def test_a_listen_url_where_nobody_is_lets_it_look_for_changes(
        self, fresh_database: Database, caplog: pytest.LogCaptureFixture
    ) -> None:
        nowhere = SecretStr("postgresql://user:s3cr3t@127.0.0.1:1/db")
        use_settings(fresh_database.settings.model_copy(update={"listen_url": nowhere}))
        session_id = await make_committed_session()
        async with get_hub().follow(session_id) as follower:
            assert get_hub().mode == "polling"
            assert await follower.next(SECONDS) is not None
        assert "SESSION_DB_LISTEN_URL" in caplog.text
        assert "s3cr3t" not in caplog.text


class TestEnd:
    async def test_no_connection_is_left(self, fresh_database: Database, hub: Hub) -> None:
        ended: list[Awaitable[None]] = [hub.close(), hub.close()]
        await asyncio.gather(*ended)
        await until_none_listens(fresh_database)


async def until_none_listens(database: Database) -> None:
    async with asyncio.timeout(SECONDS), database.connected() as connection:
        query = "SELECT count(*) FROM pg_stat_activity WHERE datname = $1 AND query LIKE 'LISTEN%' AND pid <> pg_backend_pid()"
        while await connection.fetchval(query, database.name):
            await asyncio.sleep(0.01)
