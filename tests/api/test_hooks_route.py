"""Events of Claude Code over HTTP: durable when they are acknowledged, and the same rows as by a command hook."""

import json
import os
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from httpx import ASGITransport, AsyncClient

from session_db import crud
from session_db.capture.drain import drain
from session_db.capture.spool import spool_of
from session_db.crud.agents import PROCESS
from session_db.database import get_async_session
from session_db.server import create_app
from session_db.settings import Settings
from tests.api.conftest import URL, make_token
from tests.databases import Database
from tests.factories import make_session

SESSION = "0c6b3c0a-7d31-4b7a-9d13-1f6b1f5b1c11"
HERE = os.uname().nodename
EVENT: dict[str, Any] = {"session_id": SESSION, "hook_event_name": "UserPromptSubmit", "prompt_id": "p", "prompt": "hello \ud800"}


@pytest.fixture
def settings(fresh_database: Database, tmp_path: Path) -> Settings:
    return fresh_database.settings.model_copy(update={"home": tmp_path})


async def client_from(settings: Settings, address: str = "127.0.0.1") -> AsyncClient:
    headers = {"Authorization": f"Bearer {await make_token('hooks')}"}
    return AsyncClient(transport=ASGITransport(create_app(settings), client=(address, 1)), base_url=URL, headers=headers)


class TestCaptureEvent:
    async def test_it_is_on_disk_when_it_is_answered_and_the_answer_is_empty(self, settings: Settings) -> None:
        async with await client_from(settings) as client:
            answer = await client.post("/hooks/claude-code", content=json.dumps(EVENT))
        assert (answer.status_code, answer.content) == (204, b"")
        spool = spool_of(settings)
        (name,) = spool.names()
        assert json.loads(spool.read(name).payload) == EVENT
        assert (await drain(settings)).events == 1
        async with get_async_session() as db:
            (event,) = await crud.list_agent_logs(db, UUID(SESSION))
        assert (event.event_type, event.payload) == ("UserPromptSubmit", EVENT)

    async def test_captured_by_a_command_hook_as_well_it_is_one(self, settings: Settings) -> None:
        async with await client_from(settings) as client:
            await client.post("/hooks/claude-code", content=json.dumps(EVENT))
        spool_of(settings).put(json.dumps(EVENT).encode(), {}, "here")
        report = await drain(settings)
        assert (report.events, report.known) == (1, 1)

    async def test_headers_say_whose_it_is(self, settings: Settings) -> None:
        async with get_async_session() as db:
            session = await make_session(db)
        headers = {"Session-DB-Session": str(session.id), "Session-DB-Agent-Type": "build"}
        async with await client_from(settings) as client:
            await client.post("/hooks/claude-code", content=json.dumps(EVENT), headers=headers)
        await drain(settings)
        async with get_async_session() as db:
            assert [agent.agent_type for agent in await crud.list_agents(db, session.id)] == ["build"]

    @pytest.mark.parametrize(("headers", "is_noted"), [({}, False), ({"Session-DB-Host": HERE}, True)], ids=["unnamed", "named"])
    async def test_a_process_is_noted_only_where_its_host_is_named(
        self, settings: Settings, headers: dict[str, str], is_noted: bool
    ) -> None:
        async with await client_from(settings) as client:
            await client.post("/hooks/claude-code", content=json.dumps(EVENT), headers=headers | {"Claude-PID": str(os.getpid())})
        await drain(settings)
        async with get_async_session() as db:
            (agent,) = await crud.list_agents(db, UUID(SESSION))
        assert (PROCESS in agent.metadata_) == is_noted

    async def test_a_variable_that_is_too_long_loses_no_event(self, settings: Settings) -> None:
        names = ("Session-DB-Session", "Session-DB-Agent-Type", "Session-DB-Checkpoint", "Session-DB-Host")
        async with await client_from(settings) as client:
            answer = await client.post("/hooks/claude-code", content=json.dumps(EVENT), headers=dict.fromkeys(names, "7" * 300))
        assert answer.status_code == 204
        assert (await drain(settings)).events == 1
        async with get_async_session() as db:
            (agent,) = await crud.list_agents(db, UUID(SESSION))
        assert (agent.agent_type, agent.checkpoint_id) == ("7" * 100, None)

    async def test_headers_of_unset_variables_say_nothing(self, settings: Settings) -> None:
        headers = dict.fromkeys(("Session-DB-Session", "Session-DB-Agent-Type", "Session-DB-Checkpoint", "Session-DB-Recorder"), "")
        async with await client_from(settings) as client:
            assert (await client.post("/hooks/claude-code", content=json.dumps(EVENT), headers=headers)).status_code == 204
        (name,) = spool_of(settings).names()
        assert spool_of(settings).read(name).environment == {}

    async def test_one_that_waited_in_another_spool_keeps_its_name_and_its_time(self, settings: Settings) -> None:
        name = "0aafc4e0-00000035941235423809-01795331612420803460-32110"
        headers = {"Session-DB-Spooled": name, "Session-DB-Host": "laptop"}
        end = json.dumps(EVENT | {"hook_event_name": "SessionEnd"})
        async with await client_from(settings) as client:
            for _ in range(2):
                assert (await client.post("/hooks/claude-code", content=end, headers=headers)).status_code == 204
            assert list(spool_of(settings).names()) == [name]
            assert (await drain(settings)).events == 1
            assert (await client.post("/hooks/claude-code", content=end, headers=headers)).status_code == 204
        assert (await drain(settings)).events == 0
        async with get_async_session() as db:
            (event,) = await crud.list_agent_logs(db, UUID(SESSION), event_category="hook")
        assert event.timestamp == datetime.fromtimestamp(1795331612.420803460, UTC)

    @pytest.mark.parametrize(
        "name", ["../../x", "a", "0aafc4e0-1-1-1", "0aafc4e0-00000035941235423809-01795331612420803460-32110/x", "0" * 300]
    )
    async def test_a_name_that_no_spool_gives_is_refused(self, settings: Settings, name: str) -> None:
        async with await client_from(settings) as client:
            answer = await client.post("/hooks/claude-code", content=json.dumps(EVENT), headers={"Session-DB-Spooled": name})
        assert answer.status_code == 422
        assert list(spool_of(settings).names()) == []

    async def test_what_a_recorder_records_is_acknowledged_and_not_kept(self, settings: Settings) -> None:
        async with await client_from(settings) as client:
            answer = await client.post("/hooks/claude-code", content=json.dumps(EVENT), headers={"Session-DB-Recorder": "1"})
            refused = await client.post("/hooks/claude-code", content=b"\x00", headers={"Session-DB-Recorder": "1"})
        assert (answer.status_code, answer.content, refused.status_code) == (204, b"", 422)
        assert list(spool_of(settings).names()) == []

    @pytest.mark.parametrize(
        ("address", "named", "host"),
        [
            ("127.0.0.1", "", HERE),
            ("::1", HERE, HERE),
            ("127.0.0.1", "container", "container"),
            ("192.168.1.5", "", "192.168.1.5"),
            ("192.168.1.5", "laptop", "laptop"),
            ("192.168.1.5", HERE, "192.168.1.5"),
        ],
    )
    async def test_only_from_this_host_an_event_may_say_that_it_is_of_this_host(
        self, settings: Settings, address: str, named: str, host: str
    ) -> None:
        async with await client_from(settings, address) as client:
            await client.post("/hooks/claude-code", content=json.dumps(EVENT), headers={"Session-DB-Host": named})
        (name,) = spool_of(settings).names()
        assert spool_of(settings).read(name).host == host

    @pytest.mark.parametrize(
        "content", [b"", b"{", b"[]", b'{"session_id": "a"}', b'{"session_id": "", "hook_event_name": "Stop"}', b"\xff"]
    )
    async def test_what_is_no_event_is_refused(self, settings: Settings, content: bytes) -> None:
        async with await client_from(settings) as client:
            assert (await client.post("/hooks/claude-code", content=content)).status_code == 422
        assert list(spool_of(settings).names()) == []

    async def test_a_client_that_did_not_wait_is_no_error_of_the_service(
        self, settings: Settings, caplog: pytest.LogCaptureFixture
    ) -> None:
        token, app, sent = await make_token("hooks"), create_app(settings), []
        headers = [(b"host", b"127.0.0.1"), (b"authorization", f"Bearer {token}".encode())]
        scope = {"type": "http", "method": "POST", "path": "/hooks/claude-code", "raw_path": b"", "query_string": b"", "headers": headers}

        async def receive() -> dict[str, Any]:
            return {"type": "http.disconnect"}

        async def send(message: Any) -> None:
            sent.append(message)

        await app(scope, receive, send)
        assert sent[0]["status"] == 400
        assert [record.message for record in caplog.records if record.levelname == "ERROR"] == []
        assert list(spool_of(settings).names()) == []
