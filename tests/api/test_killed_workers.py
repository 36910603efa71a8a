"""Workers that are killed while they append: what was acknowledged is there once, whoever asks again and how often."""

import asyncio
import os
import random
import signal
from collections.abc import AsyncIterator, Iterable
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import Any
from uuid import UUID

import httpx
import pytest

from tests.api.serving import Service, seeded_chance, serving
from tests.api.test_seed_routes import create_session
from tests.databases import Database
from tests.factories import message

WORKERS = 2
CLIENTS = 8
SESSIONS = 4

# Whole rows: what a repeated request changes shows, in whichever column.
STORED = [f"SELECT array_agg(row::text ORDER BY row::text) FROM {table} AS row" for table in ("sessions", "messages", "agent_logs")]
MESSAGES = """
SELECT session_id, message_index AS place, client_id AS key, message_data ->> 'content' AS content FROM messages ORDER BY session_id, place
"""
EVENTS = "SELECT session_id, event_index AS place, id::text AS key, content FROM agent_logs ORDER BY session_id, place"

# PostgreSQL finishes a commit whose client is gone. Slow ones are under way when a worker is killed: what they append, nobody acknowledges.
SLOW_COMMITS = """
CREATE FUNCTION wait_a_moment() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN PERFORM pg_sleep(0.05); RETURN NULL; END $$;
CREATE CONSTRAINT TRIGGER slow AFTER INSERT ON messages DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION wait_a_moment();
CREATE CONSTRAINT TRIGGER slow AFTER INSERT ON agent_logs DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION wait_a_moment();
"""
COMMITTING = "SELECT EXISTS (SELECT FROM pg_stat_activity WHERE datname = current_database() AND wait_event = 'PgSleep')"


@dataclass(frozen=True)
class Append:
    """A request that a client sends until it is acknowledged.

    Attributes:
        session_id: where it appends.
        kind: ``messages`` or ``events``.
        key: what makes it safe to send it again.
    """

    session_id: str
    kind: str
    key: str

    async def send(self, client: httpx.AsyncClient) -> tuple[int, bool] | None:
        """Return the index it was given and whether it is new; None where nobody can know."""
        try:
            answer = await client.post(f"/api/{self.kind}/{self.session_id}", json=self._body, headers=self._headers)
        except httpx.TransportError:
            return None
        if answer.status_code >= 500:
            return None
        assert answer.status_code == 201, answer.text
        (appended,) = answer.json()[self.kind]
        return appended[f"{self.kind.removesuffix('s')}_index"], appended["is_new"]

    @property
    def _body(self) -> dict[str, Any]:
        if self.kind == "messages":
            return {"messages": [message(self.content)]}
        return {"events": [{"id": self.key, "event_category": "hook", "event_type": "PreToolUse", "content": self.content}]}

    @property
    def _headers(self) -> dict[str, str]:
        return {"Idempotency-Key": self.key} if self.kind == "messages" else {}

    @property
    def content(self) -> str:
        return f"appended as {self.key}"


class Clients:
    """Eight that share the requests among them."""

    def __init__(self, service: Service, appends: list[Append]) -> None:
        self._service = service
        self._appends = appends
        self.acknowledged: dict[Append, int] = {}
        self.new = 0
        self.unanswered = 0

    async def send_all(self) -> None:
        waiting = iter(self._appends)

        async def send_next() -> None:
            async with self._service.client() as client:
                for append in waiting:
                    await self._send_until_acknowledged(client, append)

        async with asyncio.TaskGroup() as tasks:
            for _ in range(CLIENTS):
                tasks.create_task(send_next())

    async def _send_until_acknowledged(self, client: httpx.AsyncClient, append: Append) -> None:
        while (told := await append.send(client)) is None:
            self.unanswered += 1
            await asyncio.sleep(0.02)
        self.acknowledged[append], is_new = told
        self.new += is_new


async def kill_workers(service: Service, connection: Any, kills: Iterable[int]) -> None:
    """Kill so many workers at once, each time that all answer and one of them commits."""
    starts = WORKERS
    for number in kills:
        await service.all_answer(starts)
        doomed = service.workers()[:number]
        while not await _stand_still_in_a_commit(doomed, connection):
            await asyncio.sleep(0.001)
        _send(doomed, signal.SIGKILL)
        starts += number


async def _stand_still_in_a_commit(workers: list[int], connection: Any) -> bool:
    """Let workers stand still if there is a commit under way then: one of theirs is answered no more."""
    is_committing = False
    _send(workers, signal.SIGSTOP)
    try:
        is_committing = await connection.fetchval(COMMITTING)
    finally:
        if not is_committing:
            _send(workers, signal.SIGCONT)
    return bool(is_committing)


def _send(workers: list[int], number: signal.Signals) -> None:
    for pid in workers:
        os.kill(pid, number)


async def append_while_workers_are_killed(service: Service, database: Database, appends: list[Append], kills: Iterable[int]) -> None:
    clients, again = Clients(service, appends), Clients(service, appends)
    async with database.connected() as connection:
        await connection.execute(SLOW_COMMITS)
        await service.all_answer(WORKERS)
        async with asyncio.TaskGroup() as tasks:
            killer = tasks.create_task(kill_workers(service, connection, kills))
            await clients.send_all()
            killer.cancel()
        for kind, query in (("messages", MESSAGES), ("events", EVENTS)):
            _check_places(kind, await connection.fetch(query), clients.acknowledged)
        before = [await connection.fetchval(query) for query in STORED]
        await again.send_all()
        assert (again.new, again.acknowledged) == (0, clients.acknowledged)
        assert [await connection.fetchval(query) for query in STORED] == before
    assert clients.unanswered > 0
    assert clients.new < len(appends), "no worker was killed between a commit and its answer"


async def make_appends(service: Service, chance: random.Random, number: int) -> list[Append]:
    async with service.client() as client:
        sessions = [(await create_session(client))["session_id"] for _ in range(SESSIONS)]
    keys = [str(UUID(int=chance.getrandbits(128), version=4)) for _ in range(number)]
    return [Append(chance.choice(sessions), chance.choice(("messages", "events")), key) for key in keys]


def _check_places(kind: str, rows: list[Any], acknowledged: dict[Append, int]) -> None:
    """Compare what is stored with what was acknowledged: the same, each once, at the place that was told, and no place is empty."""
    stored = [(str(row["session_id"]), row["key"].removesuffix(":0"), row["place"], row["content"]) for row in rows]
    told = [(append.session_id, append.key, place, append.content) for append, place in acknowledged.items() if append.kind == kind]
    assert stored == sorted(told, key=lambda each: (each[0], each[2]))
    for session_id in {each[0] for each in stored}:
        places = [place for session, _, place, _ in stored if session == session_id]
        assert places == list(range(len(places)))


@pytest.fixture
async def service(fresh_database: Database, tmp_path: Path) -> AsyncIterator[Service]:
    home = tmp_path / "home"
    home.mkdir(mode=0o700)
    environment = fresh_database.environment | {"SESSION_DB_HOME": str(home)}
    async with serving(tmp_path, environment, "--workers", str(WORKERS)) as service:
        yield service


class TestKilledWorkers:
    async def test_each_append_is_there_once(self, fresh_database: Database, service: Service) -> None:
        appends = await make_appends(service, seeded_chance(), 200)
        await append_while_workers_are_killed(service, fresh_database, appends, [WORKERS, 1])

    @pytest.mark.large
    @pytest.mark.timeout(900)
    async def test_each_of_a_thousand_is_there_once_when_they_are_killed_again_and_again(
        self, fresh_database: Database, service: Service
    ) -> None:
        chance = seeded_chance()
        appends = await make_appends(service, chance, 1_000)
        await append_while_workers_are_killed(service, fresh_database, appends, (chance.randint(1, WORKERS) for _ in count()))
