"""What a machine without the database captured, sent to a service that has it."""

import asyncio
import json
import os
import shutil
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest

from session_db import crud
from session_db.capture.spool import Spool
from session_db.cli import forwarding
from session_db.database import get_async_session
from session_db.models import AgentLog, TokenCreate
from tests.api.conftest import make_token
from tests.cli.test_serve import Service, run, serving
from tests.databases import Database

SESSION = "0c6b3c0a-7d31-4b7a-9d13-1f6b1f5b1c11"


@dataclass(frozen=True)
class Machine:
    """Another machine, with a spool and no database."""

    spool: Spool
    environment: dict[str, str]

    def capture(self, name: str, host: str = "laptop", **values: str) -> str:
        """Put an event there; a value with a name in capitals is a variable."""
        event = {"session_id": SESSION, "hook_event_name": name, "transcript_path": f"/elsewhere/projects/p/{SESSION}.jsonl"}
        variables = {name: value for name, value in values.items() if name.isupper()}
        payload = event | {name: value for name, value in values.items() if not name.isupper()}
        return self.spool.put(json.dumps(payload).encode(), variables, host)

    async def drain(self, url: str, code: int = 0, **environment: str) -> Any:
        done = await asyncio.to_thread(run, "drain", "--url", url, "--json", env=self.environment | environment)
        assert done.returncode == code, done
        return json.loads(done.stdout)


@pytest.fixture
async def machine(fresh_database: Database, tmp_path: Path) -> Machine:
    home = tmp_path / "laptop"
    # No database is there: whatever asked for one would fail.
    nowhere = {"SESSION_DB_HOME": str(home), "SESSION_DB_URL": "postgresql://nobody@127.0.0.1:1/none"}
    return Machine(Spool(home / "spool"), os.environ | nowhere | {"SESSION_DB_TOKEN": await make_token("hooks")})


@pytest.fixture
async def service(fresh_database: Database, tmp_path: Path) -> AsyncIterator[Service]:
    home = tmp_path / "server"
    home.mkdir(mode=0o700)
    async with serving(fresh_database, home) as service:
        yield service


async def written(count: int) -> list[AgentLog]:
    """Wait until the service wrote so many events, and return them."""
    async with asyncio.timeout(30):
        while True:
            async with get_async_session() as db:
                events = await crud.list_agent_logs(db, UUID(SESSION), event_category="hook")
            if len(events) >= count:
                return list(events)
            await asyncio.sleep(0.1)


class TestForward:
    """Beside another process that sends the same spool, or in one that may not be changed."""

    @pytest.fixture
    def spool(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Spool:
        spool = Spool(tmp_path / "spool")
        for number in range(3):
            spool.put(b"%d" % number, {}, "laptop")
        monkeypatch.setattr(forwarding, "_send", lambda captured, _url, _token: "it is odd." if captured.payload == b"1" else None)
        return spool

    def test_what_somebody_else_set_aside_is_left(self, spool: Spool, monkeypatch: pytest.MonkeyPatch) -> None:
        set_aside = Spool.set_aside

        def set_aside_twice(spool: Spool, name: str, reason: str) -> None:
            set_aside(spool, name, reason)
            set_aside(spool, name, reason)

        monkeypatch.setattr(Spool, "set_aside", set_aside_twice)
        assert forwarding.forward(spool, "", "") == forwarding.Forwarded(sent=2)

    def test_one_that_cannot_be_moved_holds_up_no_other_and_is_told(self, spool: Spool, monkeypatch: pytest.MonkeyPatch) -> None:
        first, *_ = spool.names()
        remove = Spool.remove

        def refuse(spool: Spool, name: str) -> None:
            if name == first:
                raise PermissionError(name)
            remove(spool, name)

        monkeypatch.setattr(Spool, "remove", refuse)
        with pytest.raises(PermissionError):
            forwarding.forward(spool, "", "")
        assert list(spool.names()) == [first]


class TestDrain:
    async def test_it_sends_what_waits_and_the_service_writes_it_as_it_was_captured(self, machine: Machine, service: Service) -> None:
        names = [machine.capture("SessionStart", SESSION_DB_AGENT_TYPE="build"), machine.capture("SessionEnd")]
        moments = [machine.spool.read(name).captured_at for name in names]
        assert await machine.drain(service.url) == {"sent": 2, "bad": 0}
        assert list(machine.spool.names()) == []
        events = await written(2)
        assert [(event.event_type, event.timestamp) for event in events] == list(zip(["SessionStart", "SessionEnd"], moments, strict=True))
        async with get_async_session() as db:
            session = await crud.get_session(db, UUID(SESSION))
            (agent,) = await crud.list_agents(db, UUID(SESSION))
        assert session is not None
        assert (session.host, session.status, agent.agent_type) == ("laptop", "terminated", "build")

    async def test_a_session_that_was_cleared_is_known_on_the_other_side(self, machine: Machine, service: Service) -> None:
        cleared = UUID(int=5)
        machine.capture("SessionEnd", session_id=str(cleared), reason="clear", CLAUDE_PID="7")
        await machine.drain(service.url)
        machine.capture("SessionStart", source="clear", CLAUDE_PID="7")
        await machine.drain(service.url)
        await written(1)
        async with get_async_session() as db:
            session = await crud.get_session(db, UUID(SESSION))
        assert session is not None
        assert session.cleared_from == cleared

    async def test_one_that_was_sent_and_not_removed_stays_one(self, machine: Machine, service: Service) -> None:
        machine.capture("SessionEnd")
        shutil.copytree(machine.spool.directory, machine.spool.directory.with_name("before"))
        await machine.drain(service.url)
        await written(1)
        shutil.rmtree(machine.spool.directory)
        machine.spool.directory.with_name("before").rename(machine.spool.directory)
        machine.capture("Stop")
        assert await machine.drain(service.url) == {"sent": 2, "bad": 0}
        assert [event.event_type for event in await written(2)] == ["SessionEnd", "Stop"]

    async def test_what_the_service_does_not_understand_is_set_aside(self, machine: Machine, service: Service) -> None:
        machine.spool.put(b"{}", {}, "laptop")
        machine.spool.put(b"{}", {"SESSION_DB_SESSION": "two\nlines"}, "laptop")
        machine.capture("SessionEnd")
        assert await machine.drain(service.url) == {"sent": 1, "bad": 2}
        reasons = sorted(path.read_text() for path in (machine.spool.directory / "bad").glob("*.reason"))
        assert [reason.split(" ")[0] for reason in reasons] == ["it", "its"]

    async def test_where_it_is_refused_everything_waits(self, machine: Machine, service: Service) -> None:
        machine.capture("SessionEnd")
        async with get_async_session() as db:
            reader = (await crud.create_token(db, TokenCreate(name="reader", scope="read"))).text
        for token in ("sdb_wrong", reader):
            error = (await machine.drain(service.url, code=6, SESSION_DB_TOKEN=token))["error"]
            assert token not in error["message"]
        assert len(list(machine.spool.names())) == 1

    async def test_where_nobody_answers_everything_waits(self, machine: Machine) -> None:
        machine.capture("SessionEnd")
        assert "127.0.0.1:1" in (await machine.drain("http://127.0.0.1:1", code=5))["error"]["message"]
        assert len(list(machine.spool.names())) == 1

    async def test_what_answers_must_be_a_service(self, machine: Machine) -> None:
        machine.capture("SessionEnd")

        async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await reader.readuntil(b"\r\n\r\n")
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\n{}")
            writer.close()

        async with await asyncio.start_server(answer, "127.0.0.1", 0) as server:
            url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
            assert "no service" in (await machine.drain(url, code=5))["error"]["message"]
        assert len(list(machine.spool.names())) == 1
