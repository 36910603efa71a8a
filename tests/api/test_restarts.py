"""Readers of a session while everything around them is restarted: each index once, in order."""

import asyncio
import json
import os
import random
import signal
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from typing import Any
from uuid import UUID

import httpx
import pytest
from sqlalchemy import text
from websockets.asyncio.client import connect
from websockets.exceptions import InvalidStatus, WebSocketException

from session_db import crud
from session_db.database import close_db, get_async_session
from session_db.database.violations import DRIVER_ERRORS
from session_db.errors import Unavailable
from session_db.settings import Settings, use_settings
from tests.api.frames import Frame, frames_of
from tests.api.serving import Service, seeded_chance, serving
from tests.api.test_seed_routes import create_session
from tests.database.embedded.conftest import Home
from tests.databases import Database
from tests.factories import event
from tests.servers import temporary_directory

WRITERS = 8
MOST_AT_ONCE = 20
REST_SECONDS = 0.05

STORED = text("SELECT id FROM agent_logs WHERE session_id = :session_id ORDER BY event_index")
INDEXES = text("SELECT event_index FROM agent_logs WHERE session_id = :session_id ORDER BY event_index")


class Away(Exception):
    """The service says that its database is away."""


# What a client must be ready for; anything else fails the test, above all a refused position.
GONE = (Away, OSError, httpx.TransportError, WebSocketException, Unavailable, *DRIVER_ERRORS)

Frames = AbstractAsyncContextManager[AsyncIterator[Frame]]
Disturbance = Callable[[], Awaitable[None]]


class Reader:
    """A client that comes again with the last id whenever its stream ends, and leaves by itself after some events."""

    def __init__(self, open_: Callable[[str | None], Frames], leave_after: list[int]) -> None:
        self._open = open_
        self._leave_after = set(leave_after)
        self._last_id: str | None = None
        self.ids: list[str] = []
        self.left = 0
        self.cut_off = 0

    async def read(self, count: int) -> None:
        while len(self.ids) < count:
            try:
                async with self._open(self._last_id) as frames:
                    await self._read_stream(frames, count)
            except GONE:
                self.cut_off += 1
                await asyncio.sleep(REST_SECONDS)

    async def _read_stream(self, frames: AsyncIterator[Frame], count: int) -> None:
        async for frame in frames:
            assert frame.kind in ("session", "event"), frame
            self._last_id = frame.id
            if frame.kind == "session":
                continue
            assert frame.data["event_index"] == len(self.ids), "an event was skipped, or told again"
            self.ids.append(frame.data["id"])
            if len(self.ids) in self._leave_after:
                self.left += 1
                return
            if len(self.ids) == count:
                return
        self.cut_off += 1


def event_stream(service: Service, session_id: str) -> Callable[[str | None], Frames]:
    @asynccontextmanager
    async def open_(last_id: str | None) -> AsyncIterator[AsyncIterator[Frame]]:
        headers = {} if last_id is None else {"Last-Event-ID": last_id}
        async with service.client() as client, client.stream("GET", f"/api/sessions/{session_id}/events", headers=headers) as answer:
            _check(answer.status_code, 200, answer.reason_phrase)
            yield frames_of(answer)

    return open_


def websocket(service: Service, session_id: str) -> Callable[[str | None], Frames]:
    @asynccontextmanager
    async def open_(last_id: str | None) -> AsyncIterator[AsyncIterator[Frame]]:
        url = f"{service.url.replace('http', 'ws')}/ws/sessions/{session_id}?after={last_id or '0.0'}"
        try:
            # Without a limit: one that reads no more when it leaves waits ten seconds for a goodbye that it does not read.
            client = await connect(url, additional_headers={"Authorization": f"Bearer {service.token}"}, max_queue=None)
        except InvalidStatus as refusal:
            # uvicorn answers 500 to a handshake that its end meets.
            if refusal.response.status_code not in (500, 503):
                pytest.fail(f"{refusal}: {refusal.response.body!r}")
            raise
        async with client:
            yield _texts_of(client)

    return open_


async def _texts_of(client: Any) -> AsyncIterator[Frame]:
    async for sent in client:
        told = json.loads(sent)
        yield Frame(told["type"], told["data"], told["id"])


def _check(status: int, expected: int, told: object) -> None:
    if status == 503:
        raise Away
    assert status == expected, told


class Writers:
    """Eight that append events of their own to one session, over the service and beside it, until each is acknowledged."""

    def __init__(self, session_id: str, chance: random.Random, count: int) -> None:
        self._session_id = session_id
        self._chance = chance
        self._left = count
        self.places: dict[str, int] = {}
        self.again = 0

    async def write(self, service: Service) -> None:
        async with service.client() as client, asyncio.TaskGroup() as tasks:
            for number in range(WRITERS):
                tasks.create_task(self._write_all(self._over_http(client) if number % 2 else self._beside_it))

    def _next_ids(self) -> list[str]:
        count = min(self._left, self._chance.randint(1, MOST_AT_ONCE))
        self._left -= count
        return [str(UUID(int=self._chance.getrandbits(128), version=4)) for _ in range(count)]

    async def _write_all(self, append: Callable[[list[str]], Awaitable[dict[str, int]]]) -> None:
        while ids := self._next_ids():
            while ids[0] not in self.places:
                try:
                    self.places |= await append(ids)
                except GONE:
                    self.again += 1
                    await asyncio.sleep(REST_SECONDS)

    def _over_http(self, client: httpx.AsyncClient) -> Callable[[list[str]], Awaitable[dict[str, int]]]:
        async def append(ids: list[str]) -> dict[str, int]:
            events = [{"id": event_id, "event_category": "hook", "event_type": "PreToolUse"} for event_id in ids]
            answer = await client.post(f"/api/events/{self._session_id}", json={"events": events})
            _check(answer.status_code, 201, answer.text)
            return {each["id"]: each["event_index"] for each in answer.json()["events"]}

        return append

    async def _beside_it(self, ids: list[str]) -> dict[str, int]:
        async with get_async_session() as db:
            appended = await crud.append_agent_logs(db, [event(self._session_id, id=event_id) for event_id in ids])
        return {str(each.id): each.event_index for each in appended}


async def _disturb(writers: Writers, count: int, disturbances: list[Disturbance]) -> None:
    """Spread the disturbances over the writing."""
    for number, disturbance in enumerate(disturbances, start=1):
        while len(writers.places) < count * number / (len(disturbances) + 1):
            await asyncio.sleep(0.01)
        await disturbance()


async def follow_through(service: Service, *, count: int, leaves: int, disturbances: list[Disturbance]) -> None:
    """Append events while readers follow, leave and come again, and the disturbances happen; then compare all that was told."""
    chance = seeded_chance()
    async with service.client() as client:
        session_id = (await create_session(client))["session_id"]
    writers = Writers(session_id, chance, count)
    readers = [Reader(open_(service, session_id), chance.sample(range(1, count), leaves)) for open_ in (event_stream, websocket)]
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(writers.write(service))
        tasks.create_task(_disturb(writers, count, disturbances))
        for reader in readers:
            tasks.create_task(reader.read(count))
    async with get_async_session() as db:
        indexes = list(await db.scalars(INDEXES, {"session_id": UUID(session_id)}))
        stored = [str(event_id) for event_id in await db.scalars(STORED, {"session_id": UUID(session_id)})]
    assert indexes == list(range(count))
    assert {event_id: index for index, event_id in enumerate(stored)} == writers.places
    for reader in readers:
        assert reader.ids == stored
        assert (reader.left, reader.cut_off >= 1) == (leaves, True)
    assert writers.again >= 1


def restarting(service: Service) -> Disturbance:
    async def restart() -> None:
        assert await service.end() == 0
        await service.start()

    return restart


def killing(service: Service) -> Disturbance:
    async def kill() -> None:
        assert await service.end(signal.SIGKILL) == -signal.SIGKILL
        await service.start()

    return kill


def killing_postgresql(home: Home) -> Disturbance:
    async def kill() -> None:
        starts = home.starts()
        assert await asyncio.to_thread(home.kill, home.postmaster)
        async with asyncio.timeout(60):
            while home.starts() == starts:
                await asyncio.sleep(0.05)

    return kill


class TestFollowSession:
    async def test_a_restart_and_ten_leaves_neither_skip_nor_repeat_an_event(self, fresh_database: Database, tmp_path: Path) -> None:
        home = tmp_path / "home"
        home.mkdir(mode=0o700)
        async with serving(tmp_path, fresh_database.environment | {"SESSION_DB_HOME": str(home)}) as service:
            await follow_through(service, count=1_000, leaves=10, disturbances=[restarting(service)])

    @pytest.mark.large
    @pytest.mark.timeout(900)
    async def test_neither_do_kills_of_the_service_and_of_postgresql(self, home: Home) -> None:
        async with serving(home.path.parent, os.environ | {"SESSION_DB_HOME": str(home.path)}) as service:
            disturbances = [restarting(service), killing_postgresql(home), killing(service)]
            await follow_through(service, count=20_000, leaves=50, disturbances=disturbances)


@pytest.fixture
async def home() -> AsyncIterator[Home]:
    """A home whose PostgreSQL this test may kill, and which this process uses."""
    with temporary_directory(of_servers=False) as directory:
        home = Home(directory / "home")
        use_settings(Settings(home=home.path))
        try:
            yield home
        finally:
            await close_db()
            use_settings(None)
            home.end()
