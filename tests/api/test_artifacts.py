"""The files in the folder of a session, and everybody who wants to read or write others."""

import asyncio
import os
import shutil
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import pytest
from fastapi import FastAPI
from httpx import AsyncClient, Response

from session_db import crud
from session_db.database import get_async_session
from session_db.models import Session, SessionCreate, SessionUpdate
from session_db.server import create_app
from session_db.settings import use_settings
from session_db.workspace import artifacts
from session_db.workspace.folders import Folder
from session_db.workspace.places import serving
from session_db.workspace.writing import write_behind
from tests.databases import Database

SLUG = "auth"
SECRET = "the secret outside"


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A project below the root, with something outside that nobody may read."""
    (tmp_path / "secret.txt").write_text(SECRET)
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside" / "secret.txt").write_text(SECRET)
    path = tmp_path / "root" / "shop"
    path.mkdir(parents=True)
    return path


@pytest.fixture
def folder(project: Path) -> Path:
    return project / "agents" / "sessions" / SLUG


@pytest.fixture
def app(fresh_database: Database, project: Path) -> FastAPI:
    """The service, which may touch what is below the root."""
    settings = fresh_database.settings.model_copy(update={"workspace_roots": f"{project.parent}{os.pathsep}/nonexistent"})
    return create_app(settings)


@pytest.fixture
async def session(app: FastAPI, project: Path, folder: Path) -> Session:
    async with get_async_session() as db:
        wanted = SessionCreate(session_slug=SLUG, title="Sign in", working_dir=str(project))
        session = await crud.create_session(db, wanted, workspace=True)
    (folder / "spec.md").write_text("# Spec ✓\n")
    (folder / "research" / "deep").mkdir(parents=True)
    (folder / "research" / "notes.md").write_text("notes")
    (folder / "research" / "deep" / "data.bin").write_bytes(b"\x00\xff")
    return session


async def read(client: AsyncClient, session: Session, path: str) -> Response:
    return await client.get(f"/api/sessions/{session.id}/artifacts/{path}")


async def listed(client: AsyncClient, session: Session, **query: Any) -> dict[str, Any]:
    response = await client.get(f"/api/sessions/{session.id}/artifacts", params=query)
    assert response.status_code == 200, response.text
    body: dict[str, Any] = response.json()
    return body


class TestList:
    async def test_tells_every_file_with_its_size(self, client: AsyncClient, session: Session) -> None:
        items = (await listed(client, session))["items"]
        assert [item["path"] for item in items] == ["research/deep/data.bin", "research/notes.md", "spec.md", "state.json"]
        assert items[2]["size"] == len("# Spec ✓\n".encode())
        assert set(items[2]) == {"path", "size", "modified_at"}

    async def test_goes_on_by_the_cursor(self, client: AsyncClient, session: Session, folder: Path) -> None:
        for number in range(7):
            (folder / f"research.{number}").write_text("")
            (folder / "research" / f"{number}").write_text("")
        whole = [item["path"] for item in (await listed(client, session, limit=100))["items"]]
        assert len(whole) == 18
        for limit in (1, 2, 5):
            paths: list[str] = []
            page = await listed(client, session, limit=limit)
            while True:
                paths += [item["path"] for item in page["items"]]
                if page["next_cursor"] is None:
                    break
                page = await listed(client, session, limit=limit, cursor=page["next_cursor"])
            assert paths == whole

    async def test_looks_at_so_much_and_no_more(
        self, client: AsyncClient, session: Session, folder: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(artifacts, "_WALKED", 3)
        for number in range(10):
            (folder / f"link-{number}").symlink_to("/etc/passwd")
        page, paths = await listed(client, session), []
        while page["next_cursor"]:
            paths += [item["path"] for item in page["items"]]
            page = await listed(client, session, cursor=page["next_cursor"])
        assert [*paths, *(item["path"] for item in page["items"])] == [
            "research/deep/data.bin", "research/notes.md", "spec.md", "state.json",
        ]  # fmt: skip

    @pytest.mark.parametrize("moment", [-(2**40), 2**40])
    async def test_tells_the_nearest_moment_where_one_is_impossible(
        self, client: AsyncClient, session: Session, monkeypatch: pytest.MonkeyPatch, moment: int
    ) -> None:
        status = Folder.status

        def impossible(folder: Folder, name: str) -> os.stat_result | None:
            found = status(folder, name)
            return found and os.stat_result([*found[:7], moment, moment, moment])

        monkeypatch.setattr(Folder, "status", impossible)
        items = (await listed(client, session))["items"]
        assert {item["modified_at"] for item in items} == {"0001-01-01T00:00:00Z" if moment < 0 else "9999-12-31T23:59:59Z"}

    async def test_leaves_out_a_directory_that_may_not_be_looked_into(
        self, client: AsyncClient, session: Session, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        status = Folder.status

        def refused(folder: Folder, name: str) -> os.stat_result | None:
            if folder.path.name == "research":
                raise PermissionError(13, "Permission denied")
            return status(folder, name)

        monkeypatch.setattr(Folder, "status", refused)
        assert [item["path"] for item in (await listed(client, session))["items"]] == ["spec.md", "state.json"]

    async def test_leaves_out_what_is_no_file(self, client: AsyncClient, session: Session, folder: Path, project: Path) -> None:
        (folder / "link").symlink_to(project.parent.parent / "secret.txt")
        (folder / "linked").symlink_to(project.parent.parent / "outside")
        os.mkfifo(folder / "pipe")
        (folder / os.fsdecode(b"\xff")).write_text("")
        (folder / ".session-db-0123456789abcdef").write_text("")
        assert len((await listed(client, session))["items"]) == 4

    async def test_a_session_without_a_folder_has_none(self, client: AsyncClient, app: FastAPI, project: Path) -> None:
        async with get_async_session() as db:
            session = await crud.create_session(db, SessionCreate(session_slug="other", working_dir=str(project)))
        assert (await client.get(f"/api/sessions/{session.id}/artifacts")).status_code == 404


class TestRead:
    async def test_gives_a_file_as_text(self, client: AsyncClient, session: Session) -> None:
        response = await read(client, session, "spec.md")
        assert (response.status_code, response.text) == (200, "# Spec ✓\n")
        assert response.headers["content-type"] == "text/plain; charset=utf-8"
        assert response.headers["x-content-type-options"] == "nosniff"

    async def test_never_as_what_a_browser_runs(self, client: AsyncClient, session: Session, folder: Path) -> None:
        (folder / "page.html").write_text("<script>alert(1)</script>")
        (folder / "image.svg").write_bytes(b"<svg onload='alert(1)'>\xff")
        assert (await read(client, session, "page.html")).headers["content-type"] == "text/plain; charset=utf-8"
        assert (await read(client, session, "image.svg")).headers["content-type"] == "application/octet-stream"

    async def test_a_large_file_is_refused(self, client: AsyncClient, session: Session, folder: Path) -> None:
        with (folder / "large").open("wb") as file:
            file.truncate(artifacts.MAX_BYTES + 1)
        response = await read(client, session, "large")
        assert (response.status_code, response.json()["code"]) == (413, "too_large")

    async def test_a_file_that_is_not_there_is_told(self, client: AsyncClient, session: Session) -> None:
        assert (await read(client, session, "none.md")).status_code == 404
        assert (await read(client, session, "research/none/none.md")).status_code == 404


OUT = [
    "../../../../../secret.txt",
    "%2e%2e/%2e%2e/%2e%2e/%2e%2e/%2e%2e/secret.txt",
    "..%2f..%2f..%2f..%2f..%2fsecret.txt",
    "%252e%252e%252fsecret.txt",
    "research/../../../../../../secret.txt",
    "research/..%2f..%2f..%2f..%2f..%2f..%2fsecret.txt",
    "%2fetc%2fpasswd",
    "/etc/passwd",
    "//etc/passwd",
    "file:%2f%2f%2fetc%2fpasswd",
    "..%5c..%5csecret.txt",
    "..\\..\\secret.txt",
    "C:%5cWindows%5cwin.ini",
    "spec.md%00.txt",
    "%00",
    ".",
    "./spec.md",
    "%2e%2fspec.md",
    "research//notes.md",
    "research/",
    "research",
    "%c0%ae%c0%ae%2fsecret.txt",
    "..%c0%afsecret.txt",
    "%ef%bc%8e%ef%bc%8e/secret.txt",
    "spec.md%0d%0aX-Evil:%201",
    "a/" * 3000 + "a",
    "a" * 300,
    "~/.ssh/id_rsa",
    "%2fproc%2fself%2fenviron",
]


class TestWaysOut:
    async def test_a_path_that_leads_out_is_refused(self, app: FastAPI, client: AsyncClient, session: Session) -> None:
        for path in OUT:
            status, body = await asked_for(app, client, f"/api/sessions/{session.id}/artifacts/{path}")
            assert status in (400, 404, 422), path
            assert SECRET not in body
            assert "root:" not in body

    async def test_what_is_no_file_of_the_folder_is_refused(
        self, client: AsyncClient, session: Session, folder: Path, project: Path
    ) -> None:
        outside = project.parent.parent
        (folder / "link").symlink_to(os.path.relpath(outside / "secret.txt", folder))
        (folder / "linked").symlink_to(outside / "outside")
        (folder / "absolute").symlink_to("/etc/passwd")
        (folder / "loop").symlink_to("loop")
        os.mkfifo(folder / "pipe")
        (folder / "nowhere").symlink_to("/nonexistent")
        (folder / "null").symlink_to("/dev/zero")
        for name in ("link", "linked/secret.txt", "absolute", "loop", "pipe", "nowhere/x", "null"):
            async with asyncio.timeout(10):
                response = await read(client, session, name)
            assert response.status_code in (404, 422), name
            assert SECRET not in response.text

    @pytest.mark.parametrize("level", ["agents", "agents/sessions", f"agents/sessions/{SLUG}", "."])
    async def test_a_folder_that_is_a_link_is_not_entered(
        self, client: AsyncClient, session: Session, project: Path, folder: Path, level: str
    ) -> None:
        moved = project.parent.parent / "moved"
        (project / level).rename(moved)
        (project / level).symlink_to(moved)
        for response in (await read(client, session, "spec.md"), await client.get(f"/api/sessions/{session.id}/artifacts")):
            assert response.status_code in (404, 422)
        before = (folder / "state.json").read_bytes()
        patched = await client.patch(f"/api/sessions/{session.id}", json={"title": "Log in"})
        assert patched.status_code == 200
        assert (folder / "state.json").read_bytes() == before

    async def test_swapping_directory_and_link_all_the_time_lets_nobody_out(
        self, client: AsyncClient, session: Session, folder: Path, project: Path
    ) -> None:
        outside = project.parent.parent / "outside"
        (folder / "research" / "secret.txt").write_text("inside")
        with swapping(folder / "research", outside):
            answers = [await read(client, session, "research/secret.txt") for _ in range(200)]
        assert {answer.status_code for answer in answers} <= {200, 404, 422}
        assert {answer.text for answer in answers if answer.status_code == 200} <= {"inside"}

    async def test_swapping_the_folder_lets_nobody_write_elsewhere(
        self, client: AsyncClient, session: Session, folder: Path, project: Path
    ) -> None:
        outside = project.parent.parent / "outside"
        shutil.copy(folder / "state.json", outside / "state.json")
        before = (outside / "state.json").read_bytes()
        with swapping(folder, outside):
            for number in range(40):
                assert (await client.patch(f"/api/sessions/{session.id}", json={"title": f"title {number}"})).status_code == 200
        assert (outside / "state.json").read_bytes() == before
        assert sorted(path.name for path in outside.iterdir()) == ["secret.txt", "state.json"]


class TestHostilePlaces:
    async def test_one_that_is_no_place_is_refused(self, client: AsyncClient, session: Session) -> None:
        slugs = [{"session_slug": slug} for slug in ("../../../outside", "..", "a/../../..", "%2e%2e", "a\x00")]
        for place in [*slugs, {"working_dir": "relative"}, {"working_dir": "/etc\x00"}]:
            assert (await client.patch(f"/api/sessions/{session.id}", json=place)).status_code == 422, place

    @pytest.mark.parametrize("directory", ["outside", "root/../outside", "root/shop/../../outside", "root-beside", "", "/"])
    async def test_nothing_is_read_or_written_outside_of_the_roots(
        self, client: AsyncClient, session: Session, project: Path, folder: Path, directory: str
    ) -> None:
        top = project.parent.parent
        target = Path("/") if directory == "/" else top / os.path.normpath(directory or ".")
        if directory != "/":
            (target / "agents" / "sessions").mkdir(parents=True)
            shutil.copytree(folder, target / "agents" / "sessions" / SLUG)
        before = {path: path.read_bytes() for path in top.rglob("state.json")}
        wanted = {"working_dir": "/" if directory == "/" else f"{top}/{directory}", "title": "Log in"}
        assert (await client.patch(f"/api/sessions/{session.id}", json=wanted)).status_code == 200
        assert (await read(client, session, "spec.md")).status_code == 404
        assert (await client.get(f"/api/sessions/{session.id}/artifacts")).status_code == 404
        assert {path: path.read_bytes() for path in top.rglob("state.json")} == before

    async def test_a_folder_of_another_session_is_never_written(self, client: AsyncClient, session: Session, project: Path) -> None:
        async with get_async_session() as db:
            other = await crud.create_session(db, SessionCreate(session_slug="other", working_dir=str(project)), workspace=True)
        state = project / "agents" / "sessions" / "other" / "state.json"
        before = state.read_bytes()
        assert (await client.patch(f"/api/sessions/{other.id}", json={"session_slug": "gone"})).status_code == 200
        assert (await client.patch(f"/api/sessions/{session.id}", json={"session_slug": "other", "title": "Mine"})).status_code == 200
        assert state.read_bytes() == before

    async def test_a_session_made_over_the_network_has_no_folder(self, client: AsyncClient, project: Path) -> None:
        body = {"session_slug": "new", "working_dir": str(project), "title": "New"}
        assert (await client.post("/api/sessions", json=body)).status_code == 201
        assert (await client.post("/api/sessions", json=body | {"workspace": True, "session_slug": "newer"})).status_code == 422
        assert list(project.iterdir()) == []


class TestFoldersOfTheService:
    async def test_a_change_over_the_network_is_written_below_the_roots(self, client: AsyncClient, session: Session, folder: Path) -> None:
        assert (await client.patch(f"/api/sessions/{session.id}", json={"title": "Log in"})).status_code == 200
        assert '"title": "Log in"' in (folder / "state.json").read_text()

    async def test_nothing_is_touched_where_no_root_is_set(
        self, fresh_database: Database, client: AsyncClient, session: Session, folder: Path, project: Path
    ) -> None:
        use_settings(fresh_database.settings)
        before = (folder / "state.json").read_bytes()
        assert (await client.patch(f"/api/sessions/{session.id}", json={"title": "Log in"})).status_code == 200
        assert (folder / "state.json").read_bytes() == before
        assert (await read(client, session, "spec.md")).status_code == 404

    async def test_what_is_behind_is_written_by_the_service(self, session: Session, folder: Path, project: Path) -> None:
        hidden = folder.rename(folder.with_name("hidden"))
        async with get_async_session() as db:
            await crud.update_session(db, session.id, SessionUpdate(title="Log in"))
        hidden.rename(folder)
        assert '"title": "Log in"' not in (folder / "state.json").read_text()
        before = serving.set(True)
        try:
            assert (await write_behind([])).outcomes == []
            (outcome,) = (await write_behind([project.parent])).outcomes
        finally:
            serving.reset(before)
        assert outcome.action == "written"
        assert '"title": "Log in"' in (folder / "state.json").read_text()


async def asked_for(app: FastAPI, client: AsyncClient, path: str) -> tuple[int, str]:
    """Send a path as it is: a client would tidy it up."""
    raw = path.encode()
    headers = [(name.lower().encode(), value.encode()) for name, value in client.headers.items()] + [(b"host", b"127.0.0.1")]
    scope = {
        "type": "http", "asgi": {"version": "3.0"}, "http_version": "1.1", "method": "GET", "scheme": "http", "path": unquote(path),
        "raw_path": raw, "query_string": b"", "root_path": "", "headers": headers, "client": ("127.0.0.1", 1), "server": ("127.0.0.1", 80),
    }  # fmt: skip
    sent: list[Any] = []

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(message: Any) -> None:
        sent.append(message)

    await app(scope, receive, send)
    body = b"".join(message.get("body", b"") for message in sent[1:])
    return sent[0]["status"], body.decode(errors="replace")


@contextmanager
def swapping(path: Path, outside: Path) -> Iterator[None]:
    """Let a directory be itself and a link out of the folder, in turns, as fast as can be."""
    kept, link = path.with_name(f"{path.name}-kept"), path.with_name(f"{path.name}-link")
    link.symlink_to(outside)
    stop = threading.Event()

    def swap() -> None:
        while not stop.is_set():
            path.rename(kept)
            link.rename(path)
            path.rename(link)
            kept.rename(path)

    thread = threading.Thread(target=swap)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()
