"""Who comes in: tokens, scopes, hosts, origins and sizes."""

import re
from collections.abc import Iterator
from datetime import timedelta
from typing import Any
from uuid import uuid4

import pytest
from fastapi import FastAPI
from httpx import ASGITransport, AsyncClient
from starlette.requests import HTTPConnection

from session_db import crud
from session_db.api.gate import COOKIE, address_of
from session_db.database import get_async_session
from session_db.models import TokenCreate
from session_db.models.table import now
from session_db.models.tokens import Scope
from session_db.server import create_app
from tests.api.conftest import URL, ClientWith, make_token
from tests.databases import Database

OPEN = {"/health", "/login"}
VALUES = {"session_id": str(uuid4()), "file_id": "1", "seq": "0", "version": "1", "event": "0", "token_id": str(uuid4())}


def operations(app: FastAPI) -> Iterator[tuple[str, str, Any]]:
    """Give each operation of the OpenAPI document: its method, a path of it, and what it says of itself."""
    for template, methods in app.openapi()["paths"].items():
        path = re.sub(r"\{(\w+)\}", lambda name: VALUES.get(name[1], str(uuid4())), template)
        for method, operation in methods.items():
            yield method.upper(), path, operation


def scope_of(operation: Any) -> Scope:
    scope: Scope = operation["security"][0]["Bearer"][0]
    return scope


class TestTokens:
    async def test_no_route_but_the_open_ones_answers_without_one(self, app: FastAPI, anonymous: AsyncClient) -> None:
        asked = 0
        for method, path, _ in operations(app):
            answer = await anonymous.request(method, path)
            assert (answer.status_code == 401) == (path not in OPEN), (method, path, answer.status_code)
            asked += 1
        assert asked > 50

    async def test_a_path_that_is_none_says_nothing_either(self, anonymous: AsyncClient) -> None:
        for path in ("/none", "/api/unknown", "/openapi.json", "/docs", "/login/", "/%2Fhealth", "/health/../api/sessions"):
            assert (await anonymous.get(path)).status_code == 401

    async def test_a_body_is_not_read_without_one(self, anonymous: AsyncClient) -> None:
        answer = await anonymous.post("/api/sessions", content=b"{", headers={"Content-Type": "application/json"})
        assert answer.status_code == 401
        assert answer.headers["WWW-Authenticate"] == "Bearer"
        assert answer.json()["code"] == "unauthorized"

    @pytest.mark.parametrize(
        "header", ["", "Bearer", "Bearer ", "Basic dXNlcjpwYXNz", "Bearer sdb_", "Bearer \x7f", "Bearer " + "x" * 10_000, "Bearer sdb_é"]
    )
    async def test_one_that_is_none_does_not_work(self, anonymous: AsyncClient, header: str) -> None:
        answer = await anonymous.get("/api/sessions", headers=[(b"authorization", header.encode())])
        assert answer.status_code == 401

    async def test_one_that_ended_does_not_work(self, anonymous: AsyncClient) -> None:
        text = await make_token("read", name="test", expires_at=now() + timedelta(hours=1))
        headers = {"Authorization": f"Bearer {text}"}
        assert (await anonymous.get("/api/sessions", headers=headers)).status_code == 200
        async with get_async_session() as db:
            (token,) = [token for token in await crud.list_tokens(db) if token.name == "test"]
            await crud.revoke_token(db, token.id)
        assert (await anonymous.get("/api/sessions", headers=headers)).status_code == 401

    async def test_one_for_a_login_is_for_nothing_else(self, anonymous: AsyncClient) -> None:
        async with get_async_session() as db:
            login = await crud.create_token(db, TokenCreate(name="login", expires_at=now() + timedelta(minutes=1)), kind="login")
        assert (await anonymous.get("/api/sessions", headers={"Authorization": f"Bearer {login.text}"})).status_code == 401

    async def test_who_fails_often_locks_nobody_out(self, anonymous: AsyncClient, client: AsyncClient) -> None:
        for _ in range(50):
            assert (await anonymous.get("/api/sessions", headers={"Authorization": "Bearer sdb_wrong"})).status_code == 401
        assert (await client.get("/api/sessions")).status_code == 200


class TestScopes:
    @pytest.mark.parametrize(("scope", "allowed"), [("read", {"read"}), ("write", {"read", "write", "hooks"}), ("hooks", {"hooks"})])
    async def test_one_that_is_too_small_is_refused_on_every_route(
        self, app: FastAPI, client_with: ClientWith, scope: Scope, allowed: set[str]
    ) -> None:
        refused, limited = 0, await client_with(scope)
        for method, path, operation in operations(app):
            if "security" not in operation or scope_of(operation) in allowed:
                continue
            answer = await limited.request(method, path)
            assert answer.status_code == 403, (method, path, answer.text)
            assert scope_of(operation) in answer.json()["detail"]
            refused += 1
        assert refused >= 3

    async def test_hooks_may_send_events_and_see_nothing(self, client: AsyncClient, client_with: ClientWith) -> None:
        session = (await client.post("/api/sessions", json={"agent_name": "strudel"})).json()
        sent = {"events": [{"event_category": "hook", "event_type": "Stop"}]}
        hooks = await client_with("hooks")
        assert (await hooks.post(f"/api/events/{session['session_id']}", json=sent)).status_code == 201
        assert (await hooks.get(f"/api/events/{session['session_id']}")).status_code == 403


class TestHosts:
    @pytest.mark.parametrize("host", ["localhost", "LOCALHOST:8765", "127.0.0.1:1", "[::1]:8765", "192.168.1.5"])
    async def test_a_name_of_ours_and_any_address_is_served(self, client: AsyncClient, host: str) -> None:
        assert (await client.get("/api/sessions", headers={"Host": host})).status_code == 200

    @pytest.mark.parametrize(
        "host",
        [
            "evil.example",
            "localhost.evil.example",
            "127.0.0.1.evil.example",
            "",
            "[::1",
            "localhost@evil.example",
            "[::1%25evil.example]",
            "localhost.",
            "0x7f.1",
        ],
    )
    async def test_a_name_that_may_be_pointed_at_us_is_not(self, client: AsyncClient, host: str) -> None:
        answer = await client.get("/health", headers={"Host": host})
        assert answer.status_code == 421
        assert "SESSION_DB_ALLOWED_HOSTS" in answer.json()["detail"]

    async def test_the_settings_name_others(self, fresh_database: Database) -> None:
        settings = fresh_database.settings.model_copy(update={"allowed_hosts": "a.example, sessions.example"})
        async with AsyncClient(transport=ASGITransport(create_app(settings)), base_url="http://sessions.example") as client:
            assert (await client.get("/health")).status_code == 200

    async def test_a_comma_too_many_names_no_host(self, fresh_database: Database) -> None:
        settings = fresh_database.settings.model_copy(update={"allowed_hosts": "sessions.example,"})
        async with AsyncClient(transport=ASGITransport(create_app(settings)), base_url="http://sessions.example") as client:
            assert (await client.get("/health", headers={"Host": ""})).status_code == 421


class TestAddresses:
    @pytest.mark.parametrize(
        ("given", "expected"),
        [
            ("192.0.2.7", "192.0.2.7"),
            ("2001:db8::1", "2001:db8::1"),
            ("fe80::1%eth0", "fe80::1"),
            ("\x1b[31mforged", "unknown"),
            ("x" * 10_000, "unknown"),
        ],
    )
    def test_what_is_none_is_unknown(self, given: str, expected: str) -> None:
        assert address_of(HTTPConnection({"type": "http", "client": (given, 0)})) == expected

    def test_a_unix_socket_has_none(self) -> None:
        assert address_of(HTTPConnection({"type": "http", "client": None})) == "unknown"


class TestCookies:
    @pytest.fixture
    async def browser(self, app: FastAPI) -> AsyncClient:
        return AsyncClient(transport=ASGITransport(app), base_url=URL, cookies={COOKIE: await make_token("write")})

    async def test_it_reads_and_writes_from_pages_of_ours(self, browser: AsyncClient) -> None:
        assert (await browser.get("/api/sessions")).status_code == 200
        answer = await browser.post("/api/sessions", json={"agent_name": "strudel"}, headers={"Origin": URL})
        assert answer.status_code == 201

    @pytest.mark.parametrize("other", ['theme={"dark": true}', "no value", "name=\xff", "a b=c"])
    async def test_what_another_application_of_this_host_keeps_does_not_spoil_it(self, anonymous: AsyncClient, other: str) -> None:
        cookies = f"{other}; {COOKIE}={await make_token('read')}"
        answer = await anonymous.get("/api/sessions", headers=[(b"cookie", cookies.encode("latin-1"))])
        assert answer.status_code == 200

    async def test_a_page_that_came_without_tls_changes_nothing_where_there_is_tls(self, app: FastAPI) -> None:
        cookies = {COOKIE: await make_token("write")}
        async with AsyncClient(transport=ASGITransport(app), base_url="https://127.0.0.1", cookies=cookies) as browser:
            statuses = [
                (await browser.post("/api/sessions", json={"agent_name": "strudel"}, headers={"Origin": origin})).status_code
                for origin in ("http://127.0.0.1", "https://127.0.0.1")
            ]
        assert statuses == [403, 201]

    @pytest.mark.parametrize(
        "origin",
        [
            "http://evil.example",
            "null",
            "http://127.0.0.1:81",
            "",
            "http://127.0.0.1.evil.example",
            "ftp://127.0.0.1",
            "127.0.0.1",
            "http://[::1",
        ],
    )
    async def test_a_page_of_another_site_changes_nothing(self, browser: AsyncClient, origin: str) -> None:
        answer = await browser.post("/api/sessions", json={"agent_name": "strudel"}, headers={"Origin": origin} if origin else {})
        assert answer.status_code == 403
        assert (await browser.get("/api/sessions")).json()["items"] == []


class TestSizes:
    @pytest.fixture
    async def small(self, fresh_database: Database) -> AsyncClient:
        app = create_app(fresh_database.settings.model_copy(update={"max_body_bytes": 1024}))
        headers = {"Authorization": f"Bearer {await make_token('write')}"}
        return AsyncClient(transport=ASGITransport(app), base_url=URL, headers=headers)

    async def test_a_body_that_says_that_it_is_too_large_is_refused(self, small: AsyncClient) -> None:
        answer = await small.post("/api/sessions", json={"agent_name": "x" * 2000})
        assert (answer.status_code, answer.json()["code"]) == (413, "too_large")
        assert "1024 bytes" in answer.json()["detail"]

    async def test_a_length_of_more_digits_than_python_reads_is_refused_as_well(self, small: AsyncClient) -> None:
        answer = await small.post("/api/sessions", content=b"{}", headers={"Content-Length": "9" * 5000})
        assert answer.status_code == 413

    async def test_one_that_does_not_say_so_is_refused_as_well(self, small: AsyncClient) -> None:
        async def chunks() -> Any:
            for _ in range(200):
                yield b" " * 100

        answer = await small.post("/api/sessions", content=chunks(), headers={"Content-Type": "application/json"})
        assert answer.status_code == 413
        assert answer.headers["content-type"] == "application/problem+json"
