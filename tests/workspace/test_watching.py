"""Watching a project: what happens before there is a session, after its directory went, and where nothing can be written."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from unittest.mock import AsyncMock, patch

import pytest

from session_db.workspace import watching, writing
from session_db.workspace.projects import Report
from session_db.workspace.watching import watch_project
from tests.workspace.conftest import SLUG, Project


@asynccontextmanager
async def watched(project: Project) -> AsyncIterator[list[Report]]:
    """Watch a project inside the block, and give what was told."""
    reports: list[Report] = []
    watcher = asyncio.create_task(watch_project(project.directory, reports.append))
    try:
        yield reports
        assert not watcher.done(), watcher
    finally:
        watcher.cancel()
        with suppress(asyncio.CancelledError):
            await watcher


async def soon(is_so: Callable[[], bool]) -> None:
    async with asyncio.timeout(20):
        while not is_so():
            await asyncio.sleep(0.1)


def is_taken(project: Project) -> bool:
    """Say whether the file is that of a session."""
    return "session_id" in json.loads(project.state.read_text())


@pytest.fixture(autouse=True)
def look_often(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watching, "LOOK_SECONDS", 0.5)
    monkeypatch.setattr(watching, "_QUIET_MILLISECONDS", 200)


class TestWatchProject:
    async def test_waits_where_there_is_no_session_yet(self, project: Project) -> None:
        project.folder.parent.mkdir(parents=True)
        async with watched(project):
            await asyncio.sleep(1)
            project.folder.mkdir()
            project.write({"title": "Sign in"})
            await soon(lambda: is_taken(project))

    async def test_hears_of_a_new_folder_whose_file_is_there_at_once(self, project: Project) -> None:
        await project.create()
        async with watched(project) as reports:
            await soon(lambda: len(reports) > 2)
            for number in range(10):
                folder = project.folder.with_name(f"new-{number}")
                folder.mkdir()
                (folder / "state.json").write_text("{}")
                await soon(lambda: "session_id" in (folder / "state.json").read_text())  # noqa: B023  awaited in the round

    async def test_goes_on_where_the_directory_came_back(self, project: Project) -> None:
        await project.create()
        async with watched(project) as reports:
            await soon(lambda: len(reports) > 2)
            elsewhere = project.directory / "elsewhere"
            (project.directory / "agents").rename(elsewhere)
            await asyncio.sleep(1)
            project.folder.with_name("new").mkdir(parents=True)
            state = project.folder.with_name("new") / "state.json"
            state.write_text("{}")
            await soon(lambda: "session_id" in state.read_text())
            state.write_text(json.dumps(json.loads(state.read_text()) | {"title": "Sign in"}))
            await soon(lambda: any(outcome.fields == ["title"] for report in reports for outcome in report.outcomes))

    async def test_tries_seldom_where_nothing_can_be_written(self, project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(watching, "LOOK_SECONDS", 5.0)
        await project.create()
        write_behind = AsyncMock(wraps=writing.write_behind)
        monkeypatch.setattr(watching, "write_behind", write_behind)
        async with watched(project) as reports:
            await soon(lambda: bool(reports))
            with patch("session_db.workspace.folders.os.replace", side_effect=OSError(28, "No space left on device")):
                await project.update(title="Sign in")
                await asyncio.sleep(4)
        assert write_behind.await_count <= 3
        assert project.read()["slug"] == SLUG
