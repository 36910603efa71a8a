"""No token and no password in what a service writes, whatever it is sent."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from urllib.parse import quote, urlsplit
from uuid import uuid4

import httpx
import pytest
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed, InvalidStatus

from session_db.api.gate import COOKIE
from tests.cli.test_serve import Service, serving
from tests.databases import Database

PASSWORD = "hunter2-of-the-database"


@pytest.fixture(params=["text", "json"])
async def service(request: pytest.FixtureRequest, fresh_database: Database, tmp_path: Path) -> AsyncIterator[Service]:
    """A service whose database has a password, which the server does not ask for."""
    home = tmp_path / "home"
    home.mkdir(mode=0o700)
    url, direct_url = (f"{url}{'&' if '?' in url else '?'}password={PASSWORD}" for url in (fresh_database.url, fresh_database.direct_url))
    async with serving(replace(fresh_database, url=url, direct_url=direct_url), home, "--log-format", request.param) as started:
        yield started


async def send_everywhere(service: Service, token: str) -> set[int]:
    """Send a token in every place of a request, and return what was answered."""
    places = [
        ("GET", "/api/sessions", {"Authorization": f"Bearer {token}"}),
        ("GET", "/api/sessions", {"Authorization": f"Basic {token}"}),
        ("GET", "/api/sessions", {"Cookie": f"{COOKIE}={token}"}),
        ("POST", "/api/sessions", {"Cookie": f"{COOKIE}={token}", "Origin": f"http://{token}.example"}),
        ("GET", f"/api/sessions?token={token}&access_token={token}", {}),
        ("GET", f"/login?token={token}", {}),
        ("GET", f"/{token}/{quote(token[:8])}", {"Authorization": f"Bearer {token}"}),
        ("GET", "/health", {"X-Request-ID": token, "User-Agent": token, "X-Forwarded-For": token, "Referer": f"http://x/?{token}"}),
        ("GET", "/health", {"Host": token}),
        ("POST", "/api/tokens", {"Authorization": f"Bearer {token}", "Content-Type": "application/json"}),
        ("GET", f"/api/clips/{token}", {"Authorization": f"Bearer {token}"}),
    ]
    async with httpx.AsyncClient(base_url=service.url, timeout=30) as client:
        return {(await client.request(method, path, headers=headers)).status_code for method, path, headers in places}


async def open_websockets(service: Service, token: str, session_id: str) -> None:
    """Open WebSockets that are refused, and one that is not, each with the token in its query as well."""
    url = service.url.replace("http", "ws")
    for path in ("/health", "/nothing", f"/ws/sessions/{uuid4()}", f"/ws/sessions/{session_id}"):
        for headers in ({}, {"Authorization": f"Bearer {token}"}, {"Cookie": f"{COOKIE}={token}", "Origin": f"http://{token}"}):
            with suppress(InvalidStatus, ConnectionClosed):
                async with connect(f"{url}{path}?after=latest&{token}", additional_headers=headers) as client:
                    await client.send(json.dumps({"type": token}))
                    await client.recv()


async def break_off(service: Service, token: str) -> None:
    """Send what is no HTTP, and a body that ends too early."""
    for sent in (
        f"{token}\r\n\r\n",
        f"POST /api/sessions HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {token}\r\nContent-Length: 9\r\n\r\n",
    ):
        address = urlsplit(service.url)
        _, writer = await asyncio.open_connection(address.hostname, address.port)
        writer.write(sent.encode())
        await writer.drain()
        writer.close()


async def test_no_token_and_no_password_is_in_a_log(service: Service, fresh_database: Database) -> None:
    async with service.client() as client:
        link = (await client.post("/api/login-links")).json()["url_path"].partition("=")[2]
        made = (await client.post("/api/tokens", json={"name": "a"})).json()["token"]
        ended = (await client.post("/api/tokens", json={"name": "b"})).json()
        assert (await client.delete(f"/api/tokens/{ended['id']}")).status_code == 204
        session_id = (await client.post("/api/sessions", json={"agent_name": "strudel"})).json()["session_id"]
        browser = httpx.AsyncClient(base_url=service.url, timeout=30)
        async with browser:
            assert (await browser.get("/login", params={"token": link})).status_code == 200
            cookie = browser.cookies[COOKIE]
        tokens = [service.token, link, made, ended["token"], cookie, f"{made}x"]
        answered = set()
        for token in tokens:
            answered |= await send_everywhere(service, token)
            await open_websockets(service, token, session_id)
            await break_off(service, token)
        assert answered == {200, 401, 403, 404, 421, 422}
        async with fresh_database.connected() as connection:
            # What nobody expects: a traceback, with the statement and its parameters.
            await connection.execute("ALTER TABLE tokens RENAME COLUMN name TO gone")
        assert (await client.get("/api/tokens")).status_code == 500
    assert await service.end() == 0
    said, logged = service.log.with_name("said-0").read_text(), service.log.read_text()
    first = service.login_url.partition("=")[2]
    assert said.count(first) == 1
    assert "Traceback" in logged
    assert "WEBSOCKET" in logged
    assert "Invalid HTTP request" in logged
    assert [token for token in (*tokens, first) if token.split("_", 2)[2] in logged] == []
    # The link is the answer of the command; it has no other secret.
    assert [token for token in tokens if token.split("_", 2)[2] in said] == []
    assert PASSWORD not in logged + said
