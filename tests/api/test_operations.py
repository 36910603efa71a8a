"""Operations: health, readiness, metrics."""

import asyncio
import subprocess
import sys
from pathlib import Path

import httpx
import pytest
from fastapi import FastAPI
from prometheus_client.parser import text_string_to_metric_families
from pydantic import SecretStr

from session_db.api.metrics import DIRECTORY, Metrics
from session_db.api.routes import operations
from session_db.capture.spool import Spool
from session_db.database.connection import connect_to_listen
from session_db.server import create_app
from session_db.settings import get_settings, use_settings
from tests.api.conftest import ClientWith, connected_to
from tests.databases import Database

NOWHERE = SecretStr("postgresql://someone:s3cret@127.0.0.1:1/nothing")


def samples(text: str) -> dict[tuple[str, ...], float]:
    """Return what a metric has by its name and the values of its labels."""
    families = text_string_to_metric_families(text)
    return {(sample.name, *sample.labels.values()): sample.value for family in families for sample in family.samples}


async def measured(client: httpx.AsyncClient) -> dict[tuple[str, ...], float]:
    answer = await client.get("/metrics")
    assert answer.status_code == 200
    assert answer.headers["content-type"].startswith("text/plain")
    return samples(answer.text)


@pytest.fixture
def open_app(fresh_database: Database) -> FastAPI:
    """The application with its probes open."""
    return create_app(fresh_database.settings.model_copy(update={"open_probes": True}))


class TestHealth:
    async def test_it_is_open_and_needs_no_database(self, app: FastAPI, fresh_database: Database) -> None:
        use_settings(fresh_database.settings.model_copy(update={"url": NOWHERE}))
        async with connected_to(app) as anonymous:
            answer = await anonymous.get("/health")
        assert (answer.status_code, answer.json()) == (200, {"status": "ok"})


class TestReadiness:
    async def test_it_says_how_streams_hear_of_changes_and_what_the_pool_does(self, client: httpx.AsyncClient) -> None:
        answer = await client.get("/ready")
        assert answer.status_code == 200
        ready = answer.json()
        assert (ready["status"], ready["streams"], ready["pool"]["in_use"]) == ("ready", "polling", 0)
        assert ready["pool"]["idle"] >= 1

    @pytest.mark.parametrize("path", ["/ready", "/metrics"])
    async def test_it_needs_a_token_that_may_read(self, client_with: ClientWith, anonymous: httpx.AsyncClient, path: str) -> None:
        assert (await anonymous.get(path)).status_code == 401
        assert (await (await client_with("hooks")).get(path)).status_code == 403
        assert (await (await client_with("read")).get(path)).status_code == 200

    @pytest.mark.parametrize("path", ["/ready", "/metrics"])
    async def test_it_needs_none_where_the_settings_say_so(self, open_app: FastAPI, path: str) -> None:
        async with connected_to(open_app) as anonymous:
            assert (await anonymous.get(path)).status_code == 200

    async def test_without_the_database_it_is_503_and_tells_nothing_of_where_that_is(
        self, open_app: FastAPI, fresh_database: Database
    ) -> None:
        use_settings(fresh_database.settings.model_copy(update={"open_probes": True, "url": NOWHERE}))
        async with connected_to(open_app) as anonymous:
            answer = await anonymous.get("/ready")
        assert answer.status_code == 503
        assert answer.headers["retry-after"]
        assert "cannot be reached" in answer.json()["detail"]
        assert "someone" not in answer.text
        assert "s3cret" not in answer.text

    async def test_a_database_that_does_not_answer_is_not_waited_for(self, open_app: FastAPI, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(operations, "DATABASE_SECONDS", 0.2)

        async def keep_silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await reader.read()
            writer.close()

        silent = await asyncio.start_server(keep_silent, "127.0.0.1", 0)
        port = silent.sockets[0].getsockname()[1]
        settings = get_settings().model_copy(update={"url": SecretStr(f"postgresql://someone@127.0.0.1:{port}/nothing")})
        use_settings(settings)
        async with silent, connected_to(open_app) as anonymous:
            answer = await anonymous.get("/ready")
        assert answer.status_code == 503
        assert "did not answer within 0.2 s" in answer.json()["detail"]

    async def test_tables_of_another_revision_are_503_with_the_remedy(self, client: httpx.AsyncClient) -> None:
        connection = await connect_to_listen()
        await connection.execute("UPDATE session_db_version SET version_num = '0000'")
        await connection.close()
        answer = await client.get("/ready")
        assert answer.status_code == 503
        assert "revision 0000" in answer.json()["detail"]
        assert "session-db init" in answer.json()["detail"]


class TestMetrics:
    async def test_requests_are_counted_by_their_route_and_not_by_their_path(self, client: httpx.AsyncClient) -> None:
        before = await measured(client)
        missing = "018cc251-0000-7000-8000-000000000000"
        await client.get(f"/api/sessions/{missing}")
        await client.get(f"/api/sessions/{missing}/nothing")
        await client.request("BREW", "/api/sessions")
        after = await measured(client)
        counted = {key: value - before.get(key, 0) for key, value in after.items() if key[0] == "session_db_requests_total"}
        assert counted["session_db_requests_total", "GET", "/api/sessions/{session_id}", "404"] == 1
        assert counted["session_db_requests_total", "GET", "none", "404"] == 1
        assert [key for key in after if missing in str(key) or "BREW" in key] == []
        assert after["session_db_request_seconds_count", "GET", "/api/sessions/{session_id}"] == 1

    async def test_two_applications_count_for_themselves(self, client: httpx.AsyncClient, open_app: FastAPI) -> None:
        await client.get("/health")
        async with connected_to(open_app) as other:
            assert ("session_db_requests_total", "GET", "/health", "200") not in await measured(other)

    async def test_the_pool_and_the_process_are_looked_at(self, client: httpx.AsyncClient) -> None:
        found = await measured(client)
        assert found["session_db_pool_connections", "in_use"] == 0
        assert found["session_db_pool_connections", "idle"] >= 1
        assert found["session_db_listening",] == 0
        assert found["process_resident_memory_bytes",] > 0

    async def test_what_waits_in_the_spool_is_looked_at(self, app: FastAPI, client: httpx.AsyncClient, tmp_path: Path) -> None:
        use_settings(get_settings().model_copy(update={"home": tmp_path}))
        spool = Spool(tmp_path / "spool")
        for name in [spool.put(b"{}", {}, "host") for _ in range(3)][:1]:
            spool.set_aside(name, "because")
        found = await measured(client)
        assert (found["session_db_spool_events", "waiting"], found["session_db_spool_events", "bad"]) == (2, 1)
        assert found["session_db_spool_oldest_seconds",] > 0

    async def test_appended_rows_are_counted(self, client: httpx.AsyncClient) -> None:
        session = (await client.post("/api/sessions", json={"agent_name": "strudel"})).json()["session_id"]
        message = {"role": "user", "content": "hello", "timestamp": "2025-12-25T01:35:06Z", "client_id": "once"}
        for _ in range(2):
            await client.post(f"/api/messages/{session}", json={"messages": [message]})
        events = [{"event_category": "hook", "event_type": "PreToolUse"}] * 3
        await client.post(f"/api/events/{session}", json={"events": events})
        found = await measured(client)
        assert (found["session_db_appended_total", "messages"], found["session_db_appended_total", "events"]) == (1, 3)


WORKER = """
import asyncio
from session_db.api.metrics import Metrics

async def count():
    metrics = Metrics()
    metrics.answered("/health", "GET", 200, 0.001)
    metrics.opened(1)
    metrics.look()

asyncio.run(count())
"""


class TestSeveralWorkers:
    async def test_their_counts_are_added_and_what_a_dead_one_had_open_is_forgotten(
        self, fresh_database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        environment = fresh_database.environment | {DIRECTORY: str(tmp_path)}
        for _ in range(2):
            await asyncio.to_thread(subprocess.run, [sys.executable, "-c", WORKER], env=environment, check=True, timeout=60)
        monkeypatch.setenv(DIRECTORY, str(tmp_path))
        found = samples(Metrics().text().decode())
        assert found["session_db_requests_total", "GET", "/health", "200"] == 2
        if Path("/proc/self").exists():
            assert ("session_db_streams",) not in found
