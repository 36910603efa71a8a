"""The application's life: how it starts, what it does in the background, and how it ends."""

import asyncio
import logging
import os
import signal
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from types import FrameType
from uuid import UUID

import httpx
import pytest
from fastapi import FastAPI
from pydantic import SecretStr
from sqlalchemy import text

from session_db import crud, server
from session_db.crud.presence import create_presence
from session_db.database import async_session, get_async_session
from session_db.ids import new_id
from session_db.live import Lagged, Stopping, Watcher, get_hub
from session_db.models import Session, TokenCreate, Transcript
from session_db.server import create_app
from tests.databases import Database
from tests.factories import event, make_session, message

NOWHERE = SecretStr("postgresql://someone@127.0.0.1:1/nothing")


@asynccontextmanager
async def living(app: FastAPI) -> AsyncIterator[None]:
    """Run the lifespan around the block, as a server does."""
    async with app.router.lifespan_context(app):
        yield


@pytest.fixture
def app(fresh_database: Database, monkeypatch: pytest.MonkeyPatch) -> FastAPI:
    """The application, whose chores do not let a test wait."""
    for name in ("LEASES_SECONDS", "ERASE_SECONDS", "LOOK_SECONDS", "PENDING_SECONDS", "REAP_SECONDS"):
        monkeypatch.setattr(server, name, 0.05)
    return create_app(fresh_database.settings)


async def soon(is_so: Callable[[], bool]) -> None:
    async with asyncio.timeout(10):
        while not is_so():
            await asyncio.sleep(0.02)


async def read_all(watcher: Watcher) -> None:
    async with asyncio.timeout(5):
        while True:
            with suppress(Lagged):
                await watcher.next()


async def session_of(session_id: UUID) -> Session | None:
    async with async_session() as db:
        return await db.get(Session, session_id)


class TestChores:
    async def test_the_rows_of_a_deleted_session_go(self, app: FastAPI) -> None:
        async with get_async_session() as db:
            session_id = (await make_session(db)).id
            await crud.append_agent_logs(db, [event(session_id) for _ in range(10)])
            await crud.save_display_messages(db, session_id, [message()])
        async with living(app):
            async with get_async_session() as db:
                await crud.delete_session(db, session_id)
            async with asyncio.timeout(10):
                while await session_of(session_id) is not None:
                    await asyncio.sleep(0.02)

    async def test_a_chat_is_idle_when_its_last_lease_ended(self, app: FastAPI) -> None:
        async with get_async_session() as db:
            session_id = (await make_session(db)).id
            await create_presence(db, session_id, worker="one that was killed", lease_seconds=0.01)
        async with living(app), asyncio.timeout(10):
            while (session := await session_of(session_id)) is None or session.status != "idle":
                await asyncio.sleep(0.02)

    async def test_a_chat_in_which_nothing_happens_becomes_idle(self, app: FastAPI) -> None:
        async with get_async_session() as db:
            session_id = (await make_session(db)).id
            await db.execute(text("UPDATE sessions SET last_activity = last_activity - interval '31 minutes'"))
            await db.commit()
        async with living(app), asyncio.timeout(10):
            while (session := await session_of(session_id)) is None or session.status != "idle":
                await asyncio.sleep(0.02)

    async def test_a_transcript_of_this_machine_that_could_not_be_read_is_looked_for_and_what_is_missing_counted(
        self, app: FastAPI
    ) -> None:
        async with get_async_session() as db:
            session_id = (await make_session(db)).id
            for name, host in (("a", os.uname().nodename), ("b", "elsewhere")):
                stream = Transcript(
                    id=new_id(),
                    session_id=session_id,
                    project_key="p",
                    sdk_session_id=name,
                    source="hooks",
                    host=host,
                    file_path=f"/{name}",
                )
                db.add(stream)
            db.add(Transcript(id=new_id(), session_id=session_id, project_key="p", sdk_session_id="c", gaps=5))
        async with living(app):
            # The one that would be here is gone, and is waited for no longer.
            lines = {"session_db_transcripts_pending 1.0", "session_db_transcript_gaps 5.0"}
            await soon(lambda: lines <= set(app.state.metrics.text().decode().splitlines()))

    async def test_one_that_fails_is_told_once_and_tried_again(
        self, app: FastAPI, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
    ) -> None:
        tried = 0

        async def fail_twice(_db: object) -> int:
            nonlocal tried
            tried += 1
            if tried <= 2:
                raise RuntimeError("no luck")
            return 0

        monkeypatch.setattr(server, "delete_expired_presence", fail_twice)
        with caplog.at_level(logging.WARNING, "session_db.server"):
            async with living(app):
                await soon(lambda: tried > 3)
        assert [record.getMessage() for record in caplog.records] == ["end_leases failed, and is tried again: no luck"]


class TestStart:
    async def test_a_database_that_is_away_is_waited_for(self, fresh_database: Database, caplog: pytest.LogCaptureFixture) -> None:
        app = create_app(fresh_database.settings.model_copy(update={"url": NOWHERE, "open_probes": True}))
        async with living(app), httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://127.0.0.1") as client:
            assert (await client.get("/health")).status_code == 200
            assert (await client.get("/ready")).status_code == 503
        assert "starting without the database" in caplog.text


class TestEnd:
    async def test_a_signal_ends_the_streams_and_goes_on_to_the_server(self, app: FastAPI) -> None:
        told: list[int] = []

        def take(number: int, _frame: FrameType | None) -> None:
            told.append(number)

        before = signal.signal(signal.SIGTERM, take)
        try:
            async with living(app), get_hub().watch() as watcher:
                signal.raise_signal(signal.SIGTERM)
                assert told == [signal.SIGTERM]
                with pytest.raises(Stopping):
                    await read_all(watcher)
            assert signal.getsignal(signal.SIGTERM) is take
        finally:
            signal.signal(signal.SIGTERM, before)


class TestMounted:
    async def test_it_answers_below_its_path_to_those_with_a_token(self, fresh_database: Database) -> None:
        host = FastAPI()
        host.mount("/sessions", create_app(fresh_database.settings))
        async with get_async_session() as db:
            token = (await crud.create_token(db, TokenCreate(name="test", scope="read"))).text
        async with httpx.AsyncClient(transport=httpx.ASGITransport(host), base_url="http://127.0.0.1/sessions") as client:
            assert (await client.get("/health")).status_code == 200
            assert (await client.get("/login?token=sdb_wrong")).status_code == 401
            assert (await client.get("/api/sessions")).status_code == 401
            answer = await client.get("/api/sessions", headers={"Authorization": f"Bearer {token}"})
        assert (answer.status_code, answer.headers["cache-control"]) == (200, "no-store")
