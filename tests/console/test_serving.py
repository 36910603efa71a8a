"""Serving the console: its page under several paths, its assets, and nothing else."""

import gzip
from collections.abc import AsyncIterator
from pathlib import Path
from urllib.parse import unquote

import httpx
import pytest
from fastapi import FastAPI
from httpx import ASGITransport, AsyncClient

from session_db import crud
from session_db.console.serving import PAGES, PROTECTING, Console
from session_db.database import get_async_session
from session_db.models import TokenCreate
from session_db.server import create_app
from session_db.settings import Settings
from tests.databases import Database

URL = "http://127.0.0.1"
SCRIPT = "console.log('a script that repeats itself') // " + "again " * 200
PATHS = [path.replace("{rest:path}", "a/b.c") for path in PAGES]


@pytest.fixture
def static(tmp_path: Path) -> Path:
    """The files of a console, and one beside them that is nobody's business."""
    static = tmp_path / "static"
    (static / "assets" / "folder.js").mkdir(parents=True)
    (static / "index.html").write_text("<!doctype html><title>Console</title>")
    (static / "favicon.svg").write_text("<svg xmlns='http://www.w3.org/2000/svg'/>")
    (static / "assets" / "app-1a2b.js").write_text(SCRIPT)
    (static / "assets" / "font-3c4d.woff2").write_bytes(b"wOF2" + bytes(2000))
    (static / "assets" / "notes.py").write_text("SECRET = 1")
    (tmp_path / "outside.js").write_text("outside")
    return static


@pytest.fixture
def app(static: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FastAPI:
    """The service with these files; it needs no database for them."""
    monkeypatch.setattr("session_db.server.Console", lambda: Console(static))
    return create_app(Settings(home=tmp_path / "home"))


@pytest.fixture
async def client(app: FastAPI) -> AsyncIterator[AsyncClient]:
    """A client without a token."""
    async with AsyncClient(transport=ASGITransport(app, raise_app_exceptions=False), base_url=URL) as client:
        yield client


def is_protected(answer: httpx.Response) -> bool:
    return all(answer.headers.get(name) == value for name, value in PROTECTING.items())


class TestPages:
    @pytest.mark.parametrize("path", PATHS)
    async def test_each_is_the_one_page_and_needs_no_token(self, client: AsyncClient, path: str) -> None:
        answer = await client.get(path)
        assert (answer.status_code, answer.headers["content-type"]) == (200, "text/html; charset=utf-8")
        assert "<title>Console</title>" in answer.text
        assert answer.headers["cache-control"] == "no-cache"
        assert is_protected(answer)

    @pytest.mark.parametrize("path", ["/", "/assets/app-1a2b.js", "/favicon.svg"])
    async def test_head_tells_what_get_would_send(self, client: AsyncClient, path: str) -> None:
        told, sent = await client.head(path), await client.get(path)
        assert (told.status_code, told.content) == (200, b"")
        assert {**told.headers, "x-request-id": ""} == {**sent.headers, "x-request-id": ""}

    async def test_one_that_the_browser_has_is_not_sent_again_until_it_is_built_anew(self, client: AsyncClient, static: Path) -> None:
        seen = {"If-None-Match": (await client.get("/")).headers["etag"]}
        again = await client.get("/sessions", headers=seen)
        assert (again.status_code, again.content) == (304, b"")
        assert is_protected(again)
        (static / "index.html").write_text("<!doctype html><title>Built anew</title>")
        assert "Built anew" in (await client.get("/", headers=seen)).text

    async def test_one_that_is_not_built_says_what_to_do(self, client: AsyncClient, static: Path) -> None:
        (static / "index.html").unlink()
        answer = await client.get("/")
        assert (answer.status_code, answer.headers["content-type"]) == (404, "application/problem+json")
        assert answer.json()["detail"] == "the console is not built; run `make console`."
        assert is_protected(answer)

    async def test_a_host_that_is_none_of_ours_gets_none(self, client: AsyncClient) -> None:
        assert (await client.get("/", headers={"Host": "evil.example"})).status_code == 421


class TestAssets:
    async def test_one_is_kept_for_ever_since_its_name_has_its_hash(self, client: AsyncClient) -> None:
        answer = await client.get("/assets/app-1a2b.js", headers={"Accept-Encoding": "identity"})
        assert (answer.status_code, answer.text) == (200, SCRIPT)
        assert answer.headers["content-type"] == "text/javascript; charset=utf-8"
        assert answer.headers["cache-control"] == "public, max-age=31536000, immutable"
        assert "content-encoding" not in answer.headers
        assert is_protected(answer)

    async def test_text_is_compressed_for_who_takes_that(self, client: AsyncClient) -> None:
        async with client.stream("GET", "/assets/app-1a2b.js", headers={"Accept-Encoding": "br, gzip;q=0.8"}) as answer:
            sent = b"".join([part async for part in answer.aiter_raw()])
        assert (answer.headers["content-encoding"], answer.headers["vary"]) == ("gzip", "Accept-Encoding")
        assert len(sent) == int(answer.headers["content-length"]) < len(SCRIPT)
        assert gzip.decompress(sent).decode() == SCRIPT

    @pytest.mark.parametrize("accepted", ["", "identity", "gzip;q=0", "br"])
    async def test_and_for_nobody_else(self, client: AsyncClient, accepted: str) -> None:
        assert "content-encoding" not in (await client.get("/assets/app-1a2b.js", headers={"Accept-Encoding": accepted})).headers

    async def test_a_font_is_sent_as_it_is(self, client: AsyncClient) -> None:
        answer = await client.get("/assets/font-3c4d.woff2", headers={"Accept-Encoding": "gzip"})
        assert (answer.headers["content-type"], answer.headers.get("content-encoding")) == ("font/woff2", None)

    @pytest.mark.parametrize(
        "path",
        [
            "/assets/none.js",
            "/assets/folder.js",
            "/assets/notes.py",
            "/assets/%2e%2e",
            "/assets/..%5coutside.js",
            "/assets/app-1a2b.js%00.js",
            "/assets/" + "x" * 5000 + ".js",
        ],
    )
    async def test_a_name_of_no_file_in_the_directory_is_not_found(self, client: AsyncClient, path: str) -> None:
        assert (await client.get(path)).status_code == 404

    @pytest.mark.parametrize(
        "path", ["/assets/../../outside.js", "/assets/%2e%2e%2f%2e%2e%2foutside.js", "/assets//etc/passwd", "/assets/a/b.js"]
    )
    def test_a_path_that_leads_elsewhere_is_none_of_the_console(self, path: str) -> None:
        assert not Console().is_asked({"type": "http", "method": "GET", "path": unquote(path), "headers": []})


class TestGate:
    @pytest.mark.parametrize(
        "path", ["/index.html", "/static/index.html", "/assets", "/assets/", "/sessionsx", "/api/sessions", "/openapi.json"]
    )
    async def test_nothing_else_is_given_without_a_token(self, client: AsyncClient, path: str) -> None:
        assert (await client.get(path)).status_code == 401

    @pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE", "OPTIONS"])
    @pytest.mark.parametrize("path", PATHS)
    async def test_nothing_but_reading_is_let_through(self, client: AsyncClient, method: str, path: str) -> None:
        assert (await client.request(method, path)).status_code == 401

    async def test_a_websocket_is_not_the_consoles(self) -> None:
        assert not Console().is_asked({"type": "websocket", "path": "/", "headers": []})

    def test_no_route_of_the_api_is_taken_for_one_of_the_console(self, app: FastAPI) -> None:
        scopes = [{"type": "http", "method": "GET", "path": path, "headers": []} for path in app.openapi()["paths"]]
        assert [scope["path"] for scope in scopes if Console().is_asked(scope)] == []

    def test_the_document_of_the_api_has_none_of_them(self, app: FastAPI) -> None:
        assert not {"/", "/sessions", "/search", "/studio", "/settings", "/favicon.svg", "/assets/{name}"} & app.openapi()["paths"].keys()


class TestMethods:
    async def test_another_one_is_told_which_there_are(self, fresh_database: Database) -> None:
        app = create_app(fresh_database.settings)
        async with get_async_session() as db:
            token = (await crud.create_token(db, TokenCreate(name="test", scope="read"))).text
        async with AsyncClient(transport=ASGITransport(app), base_url=URL) as client:
            answer = await client.post("/", headers={"Authorization": f"Bearer {token}"})
        assert (answer.status_code, answer.headers["allow"]) == (405, "GET, HEAD")


class TestMounted:
    async def test_it_says_that_it_works_at_the_root_only(self, app: FastAPI) -> None:
        host = FastAPI()
        host.mount("/sessions", app)
        async with AsyncClient(transport=ASGITransport(host), base_url=URL) as client:
            answers = [await client.get(path) for path in ("/sessions/", "/sessions/sessions", "/sessions/assets/app-1a2b.js")]
        assert [answer.status_code for answer in answers] == [404, 404, 404]
        assert "mounted below /sessions" in answers[0].json()["detail"]
