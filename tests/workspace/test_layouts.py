"""Folders that older programs made, broken ones, and many of both."""

import json
import os
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from session_db import crud
from session_db.database import get_async_session
from session_db.models import Session, SessionUpdate
from session_db.workspace.projects import sync_project
from tests.databases import Database
from tests.workspace.layouts import BROKEN, OLDER, with_history, with_phases, with_plan_state

Layout = Callable[[str], dict[str, Any]]


@pytest.fixture
def sessions(tmp_path: Path, fresh_database: Database) -> Path:
    """The directory of the session folders of a project."""
    directory = tmp_path / "agents" / "sessions"
    directory.mkdir(parents=True)
    return directory


def put(sessions: Path, slug: str, content: bytes | dict[str, Any]) -> Path:
    """Make a folder with a state.json, and return the file."""
    (sessions / slug).mkdir(exist_ok=True)
    state = sessions / slug / "state.json"
    state.write_bytes(content if isinstance(content, bytes) else json.dumps(content, indent=2).encode())
    return state


async def session_of(sessions: Path, slug: str) -> Session:
    async with get_async_session() as db:
        session = await crud.get_session_by_slug(db, slug, str(sessions.parent.parent))
    assert session is not None
    return session


class TestOlderLayouts:
    @pytest.mark.parametrize(
        ("layout", "expected"),
        [
            (with_phases, ("plan", "full", "Plan mode, enhanced", None)),
            (with_plan_state, ("build", "full", "Plan mode, enhanced", {"total": 5, "done": 3})),
            (with_history, ("build", "quick", None, {"total": 4, "done": 1})),
        ],
    )
    async def test_make_sessions(self, sessions: Path, layout: Layout, expected: tuple[Any, ...]) -> None:
        put(sessions, "old", layout("old"))
        await sync_project(sessions.parent.parent)
        session = await session_of(sessions, "old")
        assert session.title == "Topic of old"
        assert (session.status, session.session_type, session.description, session.metadata_.get("checkpoints")) == expected

    async def test_the_phases_keep_their_times(self, sessions: Path) -> None:
        state = put(sessions, "old", with_history("old"))
        await sync_project(sessions.parent.parent)
        session = await session_of(sessions, "old")
        assert session.created_at == session.started_at == datetime.fromisoformat("2026-02-19T13:41:49Z")
        assert session.last_activity == datetime.fromisoformat("2026-02-19T16:15:00Z")
        history = json.loads(state.read_text())["session_db"]["phase_history"]
        assert [(phase["phase"], phase["at"]) for phase in history] == [
            ("created", "2026-02-19T13:41:49Z"),
            ("spec", "2026-02-19T13:41:49Z"),
            ("plan", "2026-02-19T15:30:00Z"),
            ("build", "2026-02-19T16:15:00Z"),
        ]

    @pytest.mark.parametrize("layout", OLDER)
    async def test_stay_as_they_are_for_the_programs_that_read_them(self, sessions: Path, layout: Layout) -> None:
        document = layout("old")
        state = put(sessions, "old", document)
        await sync_project(sessions.parent.parent)
        after = json.loads(state.read_text())
        record = after.pop("session_db")
        assert after == document
        assert record["session_id"] == str((await session_of(sessions, "old")).id)

    async def test_their_phase_topic_and_description_follow_the_database(self, sessions: Path) -> None:
        state = put(sessions, "old", with_plan_state("old"))
        await sync_project(sessions.parent.parent)
        session = await session_of(sessions, "old")
        async with get_async_session() as db:
            await crud.update_session(db, session.id, SessionUpdate(status="docs", title="Plans", description="Better"))
        after = json.loads(state.read_text())
        assert (after["current_phase"], after["topic"], after["description"]) == ("docs", "Plans", "Better")
        (outcome,) = (await sync_project(sessions.parent.parent)).outcomes
        assert outcome.action == "unchanged"

    async def test_what_is_edited_in_them_goes_into_the_database(self, sessions: Path) -> None:
        state = put(sessions, "old", with_plan_state("old"))
        await sync_project(sessions.parent.parent)
        document = json.loads(state.read_text())
        document["plan_state"]["checkpoints_completed"].append(4)
        state.write_text(json.dumps(document | {"topic": "Plans", "current_phase": "docs"}))
        (outcome,) = (await sync_project(sessions.parent.parent)).outcomes
        assert sorted(outcome.fields) == ["done", "status", "title"]
        assert outcome.conflicts == []
        session = await session_of(sessions, "old")
        assert (session.title, session.status, session.metadata_["checkpoints"]["done"]) == ("Plans", "docs", 4)

    async def test_the_session_is_the_same_one_on_every_machine(self, sessions: Path) -> None:
        put(sessions, "old", with_phases("old"))
        await sync_project(sessions.parent.parent)
        first = (await session_of(sessions, "old")).id
        put(sessions, "old", with_phases("old"))
        await sync_project(sessions.parent.parent)
        assert (await session_of(sessions, "old")).id == first


class TestBrokenFiles:
    @pytest.mark.parametrize("name", BROKEN)
    async def test_are_told_with_their_reason_and_left(self, sessions: Path, name: str) -> None:
        content, reason = BROKEN[name]
        state = put(sessions, name, content)
        report = await sync_project(sessions.parent.parent)
        assert report.outcomes == []
        (problem,) = report.problems
        assert problem.slug == name
        assert reason in problem.reason
        assert state.read_bytes() == content
        async with get_async_session() as db:
            assert await crud.list_sessions(db) == []

    async def test_one_of_a_hundred_megabytes_is_not_read(self, sessions: Path) -> None:
        state = put(sessions, "large", b"{}")
        with state.open("ab") as file:
            file.truncate(100 * 1024 * 1024)
        (problem,) = (await sync_project(sessions.parent.parent)).problems
        assert "more than 4,194,304 bytes" in problem.reason

    async def test_a_state_that_is_no_file_is_told(self, sessions: Path, tmp_path: Path) -> None:
        (sessions / "directory" / "state.json").mkdir(parents=True)
        (sessions / "pipe").mkdir()
        os.mkfifo(sessions / "pipe" / "state.json")
        (tmp_path / "secret.json").write_text('{"title": "secret"}')
        (sessions / "link").mkdir()
        (sessions / "link" / "state.json").symlink_to(tmp_path / "secret.json")
        (tmp_path / "elsewhere").mkdir()
        (tmp_path / "elsewhere" / "state.json").write_text('{"title": "elsewhere"}')
        (sessions / "linked-folder").symlink_to(tmp_path / "elsewhere")
        report = await sync_project(sessions.parent.parent)
        assert report.outcomes == []
        reasons = {problem.slug: problem.reason for problem in report.problems}
        assert set(reasons) == {"directory", "pipe", "link", "linked-folder"}
        assert "no file" in reasons["directory"]
        assert "no file" in reasons["pipe"]
        assert "symbolic link" in reasons["link"]
        assert "symbolic link" in reasons["linked-folder"]
        assert (tmp_path / "elsewhere" / "state.json").read_text() == '{"title": "elsewhere"}'

    async def test_a_folder_whose_name_is_no_slug_is_told(self, sessions: Path) -> None:
        put(sessions, "my session", {"title": "a"})
        put(sessions, os.fsdecode(b"\xff"), {"title": "b"})
        report = await sync_project(sessions.parent.parent)
        assert [("no folder name" in problem.reason or "without NUL" in problem.reason) for problem in report.problems] == [True, True]

    @pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
    async def test_one_that_may_not_be_read_is_told(self, sessions: Path) -> None:
        put(sessions, "secret", {"title": "a"}).chmod(0)
        (problem,) = (await sync_project(sessions.parent.parent)).problems
        assert "Permission denied" in problem.reason


class TestManyFolders:
    @pytest.mark.timeout(400)
    async def test_two_hundred_are_synced_in_one_run_and_a_second_one_changes_nothing(self, sessions: Path) -> None:
        broken = list(BROKEN.items())
        good = 200 - len(broken)
        for number in range(good):
            slug = f"session-{number:03}"
            layout = (*OLDER, lambda slug: {"title": slug, "status": "spec", "checkpoints": {"total": 3, "done": 1}})[number % 4]
            put(sessions, slug, layout(slug))
        for name, (content, _) in broken:
            put(sessions, f"broken-{name}", content)
        first = await sync_project(sessions.parent.parent)
        assert len(first.outcomes) == good
        assert {outcome.action for outcome in first.outcomes} == {"created"}
        assert {problem.slug.removeprefix("broken-"): True for problem in first.problems} == dict.fromkeys(BROKEN, True)
        assert [problem for problem in first.problems if BROKEN[problem.slug.removeprefix("broken-")][1] not in problem.reason] == []
        before = await everything(sessions)
        second = await sync_project(sessions.parent.parent)
        assert {outcome.action for outcome in second.outcomes} == {"unchanged"}
        assert second.problems == first.problems
        assert await everything(sessions) == before


async def everything(sessions: Path) -> tuple[Any, ...]:
    """Return what is in the files, and in the database."""
    files = {path: (path.read_bytes(), path.stat().st_mtime_ns) for path in sorted(sessions.rglob("*")) if path.is_file()}
    async with get_async_session() as db:
        rows = [session.model_dump() for session in await crud.list_sessions(db, limit=1000)]
    return files, rows
