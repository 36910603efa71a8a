"""Events over HTTP while the database is away: taken from whoever was known before, and from nobody else."""

import asyncio
import os
import signal
import stat
import time
from collections.abc import AsyncIterator, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from httpx import AsyncClient
from pydantic import SecretStr

from session_db import crud
from session_db.api import hook_tokens
from session_db.capture.drain import drain
from session_db.capture.spool import spool_of
from session_db.database import close_db, get_async_session, init_db
from session_db.models.table import now
from session_db.models.tokens import Scope
from session_db.server import create_app
from session_db.settings import Settings, use_settings
from tests.api.conftest import connected_to, make_token
from tests.api.serving import serving
from tests.database.embedded.conftest import Home
from tests.servers import temporary_directory

PATH = "/hooks/claude-code"
EVENT: dict[str, Any] = {"session_id": "0c6b3c0a-7d31-4b7a-9d13-1f6b1f5b1c11", "hook_event_name": "UserPromptSubmit", "prompt_id": "p"}


class Outage:
    """A PostgreSQL that can be stopped, halted and started again."""

    def __init__(self, directory: Path) -> None:
        self._home = Home(directory / "home")
        self.start()
        user, database = (self._server.connect_arguments[name] for name in ("user", "database"))
        self.url = f"postgresql://{user}@/{database}?host={self._server.status().socket.parent}"

    def start(self) -> None:
        if not self._home.processes():
            self._server = self._home.server()
        self._server.acquire()

    def stop(self) -> None:
        self._home.end()

    def send(self, number: signal.Signals) -> None:
        for pid, command in self._home.processes().items():
            if "supervisor.py" not in command:
                self._home.signal(pid, number)


@pytest.fixture(scope="module")
def outage() -> Iterator[Outage]:
    with temporary_directory(of_servers=False) as directory:
        outage = Outage(directory)
        yield outage
        outage.stop()


class Services:
    """Services of one home, each started for a client of it."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings

    @property
    def known(self) -> list[Path]:
        return list((self.settings.home / "hook-tokens").iterdir())

    def client(self, token: str) -> AsyncClient:
        return connected_to(create_app(self.settings), token)

    async def status_of_event(self, token: str) -> int:
        async with self.client(token) as client:
            return (await client.post(PATH, json=EVENT)).status_code


@pytest.fixture
async def services(outage: Outage, tmp_path: Path) -> AsyncIterator[Services]:
    outage.start()
    use_settings(settings := Settings(url=SecretStr(outage.url), home=tmp_path))
    try:
        await init_db()
        yield Services(settings)
    finally:
        outage.send(signal.SIGCONT)
        await close_db()
        use_settings(None)


def token_id_of(text: str) -> UUID:
    return UUID(text.split("_")[1])


class TestWhileTheDatabaseIsAway:
    async def test_who_was_known_sends_events_and_they_are_written_when_it_is_back(self, services: Services, outage: Outage) -> None:
        token = await make_token("hooks")
        async with services.client(token) as client:
            assert (await client.post(PATH, json=EVENT)).status_code == 204
            outage.stop()
            answer = await client.post(PATH, json=EVENT | {"prompt_id": "q"})
        assert (answer.status_code, answer.content) == (204, b"")
        assert len(list(spool_of(services.settings).names())) == 2
        outage.start()
        assert (await drain(services.settings)).events == 2

    async def test_a_service_that_was_started_meanwhile_knows_it_too(self, services: Services, outage: Outage) -> None:
        token = await make_token("write")
        await services.status_of_event(token)
        outage.stop()
        assert await services.status_of_event(token) == 204

    async def test_the_command_starts_one_where_somebody_is_known(self, services: Services, outage: Outage, tmp_path: Path) -> None:
        token = await make_token("hooks")
        await services.status_of_event(token)
        outage.stop()
        environment = os.environ | {"SESSION_DB_URL": outage.url, "SESSION_DB_HOME": str(services.settings.home)}
        async with serving(tmp_path, environment) as service, AsyncClient(base_url=service.url, timeout=60) as client:
            headers = {"Authorization": f"Bearer {token}"}
            assert (await client.post(PATH, json=EVENT | {"prompt_id": "r"}, headers=headers)).status_code == 204
            assert "The database is away" in service.log
            outage.start()
            async with asyncio.timeout(60):
                while list(spool_of(services.settings).names()):
                    await asyncio.sleep(0.1)

    async def test_who_was_not_known_is_told_to_come_again(self, services: Services, outage: Outage) -> None:
        known, unknown = await make_token("hooks"), await make_token("hooks")
        await services.status_of_event(known)
        outage.stop()
        assert await services.status_of_event(unknown) == 503
        assert await services.status_of_event(known[:-1] + ("a" if known[-1] != "a" else "b")) == 503
        assert await services.status_of_event("sdb_") == 401

    @pytest.mark.parametrize("scope", ["hooks", "admin"])
    async def test_it_is_known_for_nothing_else(self, services: Services, outage: Outage, scope: Scope) -> None:
        token = await make_token(scope)
        await services.status_of_event(token)
        outage.stop()
        async with services.client(token) as client:
            sent = {"events": [{"event_category": "hook", "event_type": "Stop"}]}
            assert (await client.post(f"/api/events/{EVENT['session_id']}", json=sent)).status_code == 503
            assert (await client.get("/api/sessions")).status_code == 503

    async def test_one_that_may_not_send_events_may_not_now(self, services: Services, outage: Outage) -> None:
        token = await make_token("read")
        assert await services.status_of_event(token) == 403
        outage.stop()
        assert await services.status_of_event(token) == 403

    async def test_one_that_expires_meanwhile_ends_to_work(
        self, services: Services, outage: Outage, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        token = await make_token("hooks", expires_at=now() + timedelta(hours=1))
        await services.status_of_event(token)
        outage.stop()
        assert await services.status_of_event(token) == 204
        monkeypatch.setattr("session_db.crud.tokens.now", lambda: now() + timedelta(hours=2))
        assert await services.status_of_event(token) == 503

    async def test_one_that_did_not_work_for_a_week_is_forgotten(self, services: Services, outage: Outage) -> None:
        token, another = await make_token("hooks"), await make_token("hooks")
        await services.status_of_event(token)
        (path,) = services.known
        week = time.time() - hook_tokens.KNOWN_FOR.total_seconds()
        os.utime(path, (week, week))
        await services.status_of_event(another)
        assert len(services.known) == 1
        outage.stop()
        assert await services.status_of_event(token) == 503

    async def test_one_that_hangs_costs_the_agent_no_more_than_half_a_second_now_and_then(self, services: Services, outage: Outage) -> None:
        token = await make_token("hooks")
        async with services.client(token) as client:
            await client.post(PATH, json=EVENT)
            outage.send(signal.SIGSTOP)
            began = time.monotonic()
            for number in range(10):
                assert (await client.post(PATH, json=EVENT | {"prompt_id": str(number)})).status_code == 204
            assert time.monotonic() - began < 1.5


class TestRevoking:
    async def test_one_that_was_revoked_is_forgotten_when_the_database_tells(self, services: Services, outage: Outage) -> None:
        token = await make_token("hooks")
        await services.status_of_event(token)
        async with get_async_session() as db:
            await crud.revoke_token(db, token_id_of(token))
        assert await services.status_of_event(token) == 401
        outage.stop()
        assert await services.status_of_event(token) == 503

    async def test_over_the_service_it_is_forgotten_at_once(self, services: Services) -> None:
        token = await make_token("hooks")
        await services.status_of_event(token)
        async with services.client(await make_token("admin")) as admin:
            assert (await admin.delete(f"/api/tokens/{token_id_of(token)}")).status_code == 204
        assert services.known == []

    async def test_somebody_who_guesses_makes_nobody_forgotten(self, services: Services) -> None:
        token = await make_token("hooks")
        await services.status_of_event(token)
        assert await services.status_of_event(token[:-1] + ("a" if token[-1] != "a" else "b")) == 401
        assert len(services.known) == 1


class TestFiles:
    async def test_they_hold_no_secret_and_are_the_owners_alone(self, services: Services) -> None:
        token = await make_token("hooks")
        await services.status_of_event(token)
        (path,) = services.known
        assert token.rpartition("_")[2] not in path.read_text()
        assert (stat.S_IMODE(path.stat().st_mode), stat.S_IMODE(path.parent.stat().st_mode)) == (0o600, 0o700)

    @pytest.mark.parametrize("content", ["", "[]", "{}", '{"name": "a", "scope": "hooks", "hash": 1, "expires_at": 5}'])
    async def test_one_that_says_nothing_is_none(self, services: Services, outage: Outage, content: str) -> None:
        token = await make_token("hooks")
        await services.status_of_event(token)
        (path,) = services.known
        path.write_text(content)
        outage.stop()
        assert await services.status_of_event(token) == 503

    async def test_where_it_cannot_be_written_events_are_taken_all_the_same(self, services: Services) -> None:
        (services.settings.home / "hook-tokens").write_text("in the way")
        assert await services.status_of_event(await make_token("hooks")) == 204
