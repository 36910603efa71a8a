"""Observing: request ids, headers that protect, the access log, and no secret in any log."""

import asyncio
import io
import json
import logging
import logging.config
from collections.abc import Callable, Iterator
from typing import Any

import httpx
import pytest
from fastapi import FastAPI
from prometheus_client.parser import text_string_to_metric_families

from session_db.api.logs import LogFormat, log_config, redacted
from tests.api.conftest import URL, ClientWith

Logs = Callable[[LogFormat], io.StringIO]

SECRET = "sdb_" + "0" * 32 + "_" + "s3cret-" * 6 + "x"


@pytest.fixture
def logs() -> Iterator[Logs]:
    """Write the log as the service does, into a text."""
    root = logging.getLogger()
    handlers, level = list(root.handlers), root.level

    def start(log_format: LogFormat) -> io.StringIO:
        config = log_config(log_format)
        written = io.StringIO()
        config["handlers"]["stderr"]["stream"] = written
        logging.config.dictConfig(config)
        return written

    yield start
    root.handlers[:] = handlers
    root.setLevel(level)
    for name in ("session_db", "uvicorn"):
        logging.getLogger(name).setLevel(logging.NOTSET)


def access(written: io.StringIO) -> list[dict[str, Any]]:
    lines = [json.loads(line) for line in written.getvalue().splitlines()]
    return [line for line in lines if line["logger"] == "session_db.access"]


class TestRequestId:
    async def test_each_request_has_one_of_its_own(self, anonymous: httpx.AsyncClient) -> None:
        ids = {(await anonymous.get("/health")).headers["x-request-id"] for _ in range(3)}
        assert len(ids) == 3
        assert {len(each) for each in ids} == {32}

    async def test_one_that_is_sent_is_kept(self, anonymous: httpx.AsyncClient) -> None:
        answer = await anonymous.get("/api/sessions", headers={"X-Request-ID": "proxy-1.a_B"})
        assert answer.headers["x-request-id"] == "proxy-1.a_B"
        assert answer.json()["request_id"] == "proxy-1.a_B"

    @pytest.mark.parametrize("sent", ["", "a b", "x" * 129, 'a"b', "é"])
    async def test_one_that_would_spoil_the_log_is_not(self, anonymous: httpx.AsyncClient, sent: str) -> None:
        answer = await anonymous.get("/health", headers={b"X-Request-ID": sent.encode()})
        assert answer.headers["x-request-id"] != sent
        assert len(answer.headers["x-request-id"]) == 32

    async def test_every_record_of_a_request_has_it(self, app: FastAPI, anonymous: httpx.AsyncClient, logs: Logs) -> None:
        async def speak() -> None:
            logging.getLogger("session_db.test").warning("inside")

        app.add_api_route("/health/inside", speak)
        written = logs("json")
        answers = await asyncio.gather(*(anonymous.get("/health/inside", headers={"X-Request-ID": f"id-{n}"}) for n in range(3)))
        assert [answer.headers["x-request-id"] for answer in answers] == ["id-0", "id-1", "id-2"]
        logging.getLogger("session_db.test").warning("outside")
        lines = [json.loads(line) for line in written.getvalue().splitlines()]
        assert "request_id" not in next(line for line in lines if line["message"] == "outside")
        assert {line["request_id"] for line in lines if line["message"] != "outside"} == {"id-0", "id-1", "id-2"}


class TestHeaders:
    @pytest.mark.parametrize("path", ["/health", "/api/sessions", "/nothing", "/login?token=no"])
    async def test_every_answer_protects(self, anonymous: httpx.AsyncClient, path: str) -> None:
        headers = (await anonymous.get(path)).headers
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["x-frame-options"] == "DENY"
        assert headers["referrer-policy"] == "no-referrer"
        assert headers["cross-origin-resource-policy"] == "same-origin"
        assert headers["content-security-policy"] == "default-src 'none'; frame-ancestors 'none'"
        assert "server" not in headers

    async def test_no_cache_keeps_what_the_api_answers(self, client: httpx.AsyncClient) -> None:
        assert (await client.get("/api/sessions")).headers["cache-control"] == "no-store"
        assert (await client.get("/api/tokens")).headers["cache-control"] == "no-store"


class TestErrors:
    async def test_what_nobody_expected_is_a_problem_document_with_the_id_and_a_traceback_in_the_log(
        self, app: FastAPI, client: httpx.AsyncClient, logs: Logs
    ) -> None:
        async def fail() -> None:
            raise RuntimeError(f"the password of postgresql://me:hunter2@host/db and {SECRET}")

        app.add_api_route("/api/fail", fail)
        written = logs("json")
        answer = await client.get("/api/fail")
        assert answer.status_code == 500
        assert answer.headers["content-type"] == "application/problem+json"
        assert answer.json()["request_id"] == answer.headers["x-request-id"]
        assert "RuntimeError" not in answer.text
        assert "Traceback" in written.getvalue()
        assert "hunter2" not in written.getvalue()
        assert "s3cret" not in written.getvalue()
        (line,) = access(written)
        assert line["status"] == 500


class TestAccessLog:
    async def test_a_request_is_a_line_with_its_token_but_never_with_its_text(self, client: httpx.AsyncClient, logs: Logs) -> None:
        written = logs("json")
        answer = await client.get("/api/sessions", params={"text": "private"})
        (line,) = access(written)
        assert (line["method"], line["path"], line["status"], line["bytes"]) == ("GET", "/api/sessions", 200, len(answer.content))
        assert (line["client"], line["request_id"]) == ("127.0.0.1", answer.headers["x-request-id"])
        assert line["duration_ms"] > 0
        token = client.headers["authorization"].removeprefix("Bearer ")
        assert line["token"].replace("-", "") == token.split("_")[1]
        assert token.split("_", 2)[2] not in written.getvalue()
        assert "private" not in written.getvalue()

    async def test_a_path_does_not_end_a_line(self, anonymous: httpx.AsyncClient, logs: Logs) -> None:
        written = logs("text")
        await anonymous.get("/a%0A2026-01-01%20forged")
        assert len(written.getvalue().splitlines()) == 1

    async def test_the_text_of_a_line_tells_the_same_for_people(self, anonymous: httpx.AsyncClient, logs: Logs) -> None:
        written = logs("text")
        answer = await anonymous.get("/health")
        (line,) = written.getvalue().splitlines()
        assert " INFO session_db.access: GET /health 200 " in line
        assert line.endswith(f"[{answer.headers['x-request-id']}]")

    async def test_a_websocket_is_told_once_without_its_query(self, service: str, logs: Logs) -> None:
        written = logs("json")
        async with httpx.AsyncClient(base_url=service) as client:
            upgrade = {"Connection": "Upgrade", "Upgrade": "websocket", "Sec-WebSocket-Version": "13"}
            key = {"Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ=="}
            answer = await client.get("/ws/sessions/none?after=private", headers=upgrade | key)
        assert answer.status_code == 401
        (line,) = [json.loads(line) for line in written.getvalue().splitlines()]
        assert (line["logger"], line["method"], line["path"]) == ("session_db.access", "WEBSOCKET", "/ws/sessions/none")

    async def test_a_stream_is_a_line_when_it_ends(self, client: httpx.AsyncClient, logs: Logs) -> None:
        session = (await client.post("/api/sessions", json={"agent_name": "strudel"})).json()["session_id"]
        written = logs("json")
        answer = await client.get(f"/api/sessions/{session}/events?wait=0")
        (line,) = access(written)
        assert (line["path"], line["bytes"]) == (f"/api/sessions/{session}/events", len(answer.content))
        metrics = text_string_to_metric_families((await client.get("/metrics")).text)
        assert [sample.value for family in metrics for sample in family.samples if sample.name == "session_db_streams"] == [0]


class TestText:
    def test_nothing_steers_the_terminal_or_looks_like_a_record_of_its_own(self, logs: Logs) -> None:
        written = logs("text")
        forged = "\n2026-01-01T00:00:00.000+00:00 INFO forged: "
        error = RuntimeError(f"{forged}in an error")
        logging.getLogger("session_db.test").error("\x1b[31mred\x85and\u2028\r%sin a message", forged, exc_info=error)
        first, *others = written.getvalue().splitlines()
        assert first.endswith(r"\x1b[31mred\x85and\u2028\r")
        assert len(others) == 3
        assert [line for line in others if not line.startswith("    ")] == []


class TestSecrets:
    async def test_none_of_login_and_tokens_is_in_a_log(self, client: httpx.AsyncClient, anonymous: httpx.AsyncClient, logs: Logs) -> None:
        written = logs("text")
        logging.getLogger().setLevel(logging.DEBUG)
        link = (await client.post("/api/login-links")).json()["url_path"]
        await anonymous.get(link)
        await anonymous.get(link)
        made = (await client.post("/api/tokens", json={"name": "x"})).json()["token"]
        await anonymous.get("/api/sessions", headers={"Authorization": f"Bearer {made}x"})
        await anonymous.post("/api/logout", headers={"Origin": URL})
        texts = (link.partition("=")[2], made, client.headers["authorization"].removeprefix("Bearer "))
        assert "/api/login-links" in written.getvalue()
        assert [text for text in texts if text.split("_", 2)[2] in written.getvalue()] == []

    @pytest.mark.parametrize(
        ("text", "expected"),
        [
            (f"GET /login?token={SECRET} 200", f"GET /login?token=sdb_{'0' * 32}_*** 200"),
            ("connect postgresql://me:p@ss:w/rd@host:5432/db failed", "connect postgresql://me:***@host:5432/db failed"),
            ("postgresql+asyncpg://me:pw@[::1]/db", "postgresql+asyncpg://me:***@[::1]/db"),
            ("postgres://host/db?user=me&password=pw&x=1", "postgres://host/db?user=me&password=***&x=1"),
            ("postgresql://host/db and me@example.com", "postgresql://host/db and me@example.com"),
        ],
    )
    def test_what_gets_into_a_message_is_taken_out_of_it(self, text: str, expected: str) -> None:
        assert redacted(text) == expected


class TestScopes:
    async def test_a_refusal_is_logged_with_the_token_that_was_refused(self, client_with: ClientWith, logs: Logs) -> None:
        client = await client_with("hooks")
        written = logs("json")
        assert (await client.get("/api/sessions")).status_code == 403
        (line,) = access(written)
        assert line["token"].replace("-", "") in client.headers["authorization"]
