"""Login: a link that works once, the browser's cookie, and logout."""

import asyncio
from datetime import UTC, datetime, timedelta
from http.cookies import SimpleCookie
from urllib.parse import urlsplit

import httpx
import pytest
from fastapi import FastAPI

from session_db.api.gate import COOKIE
from session_db.api.routes.login import FAILURES
from session_db.database import get_async_session
from session_db.models import Token
from tests.api.conftest import URL, ClientWith, connected_to, make_token


async def new_link(client: httpx.AsyncClient) -> str:
    answer = await client.post("/api/login-links")
    assert answer.status_code == 201, answer.text
    path: str = answer.json()["url_path"]
    return path


@pytest.fixture
async def browser(client: httpx.AsyncClient, anonymous: httpx.AsyncClient) -> httpx.AsyncClient:
    """A client that logged in by a link: it sends the cookie and no token."""
    assert (await anonymous.get(await new_link(client))).status_code == 200
    return anonymous


class TestLoginLinks:
    async def test_one_works_for_ten_minutes(self, client: httpx.AsyncClient) -> None:
        expires_at = datetime.fromisoformat((await client.post("/api/login-links")).json()["expires_at"])
        assert timedelta(minutes=9) < expires_at - datetime.now(UTC) <= timedelta(minutes=10)

    async def test_a_browser_may_do_what_the_token_may_that_made_its_link(
        self, client_with: ClientWith, anonymous: httpx.AsyncClient
    ) -> None:
        await anonymous.get(await new_link(await client_with("read")))
        assert (await anonymous.get("/api/sessions")).status_code == 200
        answer = await anonymous.post("/api/sessions", json={}, headers={"Origin": URL})
        assert answer.status_code == 403
        assert "this one has read" in answer.json()["detail"]

    async def test_a_token_that_sees_nothing_gives_none(self, client_with: ClientWith) -> None:
        assert (await (await client_with("hooks")).post("/api/login-links")).status_code == 403

    async def test_a_token_that_expires_gives_none_since_the_login_would_outlive_it(self, app: FastAPI) -> None:
        async with connected_to(app, await make_token("admin", expires_at=datetime.now(UTC) + timedelta(hours=1))) as client:
            answer = await client.post("/api/login-links")
        assert (answer.status_code, answer.json()["code"]) == (403, "forbidden")

    async def test_a_browser_gives_none_since_it_would_log_itself_in_for_ever(self, browser: httpx.AsyncClient) -> None:
        assert (await browser.post("/api/login-links", headers={"Origin": URL})).status_code == 403

    async def test_its_token_opens_nothing_but_the_login(self, client: httpx.AsyncClient, anonymous: httpx.AsyncClient) -> None:
        token = urlsplit(await new_link(client)).query.removeprefix("token=")
        answer = await anonymous.get("/api/sessions", headers={"Authorization": f"Bearer {token}"})
        assert answer.status_code == 401


class TestLogIn:
    async def test_it_sets_a_cookie_that_no_script_and_no_other_site_gets(
        self, client: httpx.AsyncClient, anonymous: httpx.AsyncClient
    ) -> None:
        answer = await anonymous.get(await new_link(client))
        assert answer.status_code == 200
        assert "You are logged in" in answer.text
        assert answer.headers["cache-control"] == "no-store"
        morsel = SimpleCookie(answer.headers["set-cookie"])[COOKIE]
        assert (morsel["httponly"], morsel["samesite"], morsel["path"], morsel["secure"]) == (True, "strict", "/", "")
        assert int(morsel["max-age"]) == 30 * 24 * 3600
        assert morsel.value not in answer.text

    async def test_its_page_leads_on_to_the_console(self, client: httpx.AsyncClient, anonymous: httpx.AsyncClient) -> None:
        answer = await anonymous.get(await new_link(client))
        assert '<meta http-equiv="refresh" content="0; url=./">' in answer.text
        assert '<a href="./">' in answer.text

    async def test_mounted_where_there_is_no_console_it_leads_nowhere(self, app: FastAPI, client: httpx.AsyncClient) -> None:
        link, host = await new_link(client), FastAPI()
        host.mount("/sessions", app)
        async with httpx.AsyncClient(transport=httpx.ASGITransport(host), base_url=URL) as browser:
            answer = await browser.get(f"/sessions{link}")
        assert (answer.status_code, "refresh" in answer.text, "href" in answer.text) == (200, False, False)

    async def test_with_https_the_cookie_is_sent_by_https_alone(self, app: FastAPI, client: httpx.AsyncClient) -> None:
        async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="https://127.0.0.1") as browser:
            answer = await browser.get(await new_link(client))
        assert SimpleCookie(answer.headers["set-cookie"])[COOKIE]["secure"] is True

    async def test_the_cookie_lets_the_browser_in_for_thirty_days(self, browser: httpx.AsyncClient, client: httpx.AsyncClient) -> None:
        assert (await browser.get("/api/sessions")).status_code == 200
        (made,) = [token for token in (await client.get("/api/tokens")).json()["items"] if token["kind"] == "browser"]
        assert timedelta(days=29) < datetime.fromisoformat(made["expires_at"]) - datetime.now(UTC) <= timedelta(days=30)

    async def test_a_link_works_once(self, client: httpx.AsyncClient, anonymous: httpx.AsyncClient) -> None:
        link = await new_link(client)
        answers = await asyncio.gather(*(anonymous.get(link) for _ in range(5)))
        assert sorted(answer.status_code for answer in answers) == [200, 401, 401, 401, 401]

    async def test_a_link_that_expired_works_no_more(self, client: httpx.AsyncClient, anonymous: httpx.AsyncClient) -> None:
        link = await new_link(client)
        async with get_async_session() as db:
            token = await db.get_one(Token, link.removeprefix("/login?token=sdb_").partition("_")[0])
            token.expires_at = datetime.now(UTC) - timedelta(seconds=1)
        answer = await anonymous.get(link)
        assert (answer.status_code, answer.json()["code"]) == (401, "unauthorized")
        assert "set-cookie" not in answer.headers

    async def test_the_token_of_a_program_is_no_link(self, anonymous: httpx.AsyncClient) -> None:
        assert (await anonymous.get("/login", params={"token": await make_token("admin")})).status_code == 401

    async def test_who_fails_too_often_has_to_wait_even_with_a_link_that_works(
        self, client: httpx.AsyncClient, anonymous: httpx.AsyncClient
    ) -> None:
        link = await new_link(client)
        failed = [(await anonymous.get("/login?token=sdb_guess")).status_code for _ in range(FAILURES)]
        assert failed == [401] * FAILURES
        answer = await anonymous.get(link)
        assert (answer.status_code, answer.json()["code"]) == (429, "too_many_attempts")
        assert 1 <= int(answer.headers["retry-after"]) <= 60


class TestLogOut:
    async def test_the_cookie_works_no_more_and_is_deleted(self, browser: httpx.AsyncClient) -> None:
        cookie = {"Cookie": f"{COOKIE}={browser.cookies[COOKIE]}"}
        answer = await browser.post("/api/logout", headers={"Origin": URL})
        assert answer.status_code == 204
        assert COOKIE not in browser.cookies
        assert (await browser.get("/api/sessions", headers=cookie)).status_code == 401

    async def test_a_page_of_another_site_logs_nobody_out(self, browser: httpx.AsyncClient) -> None:
        assert (await browser.post("/api/logout", headers={"Origin": "https://example.com"})).status_code == 403
        assert (await browser.get("/api/sessions")).status_code == 200

    async def test_the_token_of_a_program_stays(self, client: httpx.AsyncClient) -> None:
        assert (await client.post("/api/logout")).status_code == 204
        assert (await client.get("/api/sessions")).status_code == 200
