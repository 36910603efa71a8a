"""What is written after a commit, by whom, and what never is."""

import asyncio
import errno
import shutil
from unittest.mock import AsyncMock, patch

import pytest

from session_db import crud
from session_db.crud.agents import end_agents_below
from session_db.crud.locking import lock_session
from session_db.crud.workspaces import get_place
from session_db.database import async_session, get_async_session
from session_db.models import AgentCreate, AgentUpdate, SessionUpdate
from session_db.models.table import now
from session_db.workspace import syncing
from session_db.workspace.folders import open_folder
from session_db.workspace.writing import write_after_commit, write_behind
from tests.factories import make_agent, make_event, make_session
from tests.workspace.conftest import Project


async def version_of(project: Project) -> int:
    return (await project.session()).workspace_version


class TestVersions:
    async def test_rise_with_what_the_folder_shows_and_with_nothing_else(self, project: Project) -> None:
        session = await project.create()
        async with get_async_session() as db:
            await make_event(db, session)
            await crud.save_display_messages(db, session.id, [{"role": "user", "content": "Hello"}])
            await crud.update_session(db, session.id, SessionUpdate(activity="working"))
            await crud.update_session_activity(db, session.id)
        assert await version_of(project) == 1
        async with get_async_session() as db:
            agent = await make_agent(db, session)
        assert await version_of(project) == 2
        async with get_async_session() as db:
            await crud.update_agent(db, agent.id, AgentUpdate(name="Build it"))
        assert await version_of(project) == 2
        async with get_async_session() as db:
            await crud.update_agent(db, agent.id, AgentUpdate(cost=1))
        assert await version_of(project) > 2

    async def test_rise_with_a_statement_that_ends_many_agents(self, project: Project) -> None:
        session = await project.create()
        async with get_async_session() as db:
            parent = await make_agent(db, session)
            await crud.create_agent(db, AgentCreate(session_id=session.id, agent_type="x", parent_agent_id=parent.id, status="executing"))
        before = await version_of(project)
        async with get_async_session() as db:
            await end_agents_below(db, parent, now())
        assert await version_of(project) > before

    async def test_a_session_without_a_folder_has_none(self, project: Project) -> None:
        async with get_async_session() as db:
            session = await make_session(db, session_slug="plain", working_dir=str(project.directory))
            await make_agent(db, session, cost=1)
            await crud.update_session(db, session.id, SessionUpdate(status="spec"))
        async with get_async_session() as db:
            assert await get_place(db, session.id) is None
        assert list(project.directory.iterdir()) == []


class TestWriteAfterCommit:
    async def test_what_cannot_be_written_fails_nobody_and_is_written_later(
        self, project: Project, caplog: pytest.LogCaptureFixture
    ) -> None:
        await project.create()
        with patch("session_db.workspace.folders.os.replace", side_effect=OSError(28, "No space left on device")):
            await project.update(title="Sign in")
        assert "is not written yet: [Errno 28] No space left" in caplog.text
        assert project.read()["title"] == "Authentication"
        assert [path.name for path in project.folder.iterdir()] == ["state.json"]
        (outcome,) = (await write_behind([project.directory])).outcomes
        assert (outcome.action, project.read()["title"]) == ("written", "Sign in")
        assert await write_behind([project.directory]) == ([], 0)

    @pytest.mark.parametrize("is_explicit", [False, True])
    async def test_a_transaction_that_was_begun_by_hand_is_followed_too(self, project: Project, is_explicit: bool) -> None:
        session = await project.create()
        if is_explicit:
            async with async_session() as db:
                transaction = await db.begin()
                await crud.update_session(db, session.id, SessionUpdate(title="Sign in"))
                await transaction.commit()
        else:
            async with async_session() as db, db.begin():
                await crud.update_session(db, session.id, SessionUpdate(title="Sign in"))
        assert project.read()["title"] == "Sign in"

    async def test_a_folder_that_is_gone_is_not_made_again(self, project: Project) -> None:
        await project.create()
        shutil.rmtree(project.directory / "agents")
        await project.update(title="Sign in")
        assert await write_behind([project.directory]) == ([], 0)
        assert list(project.directory.iterdir()) == []

    @pytest.mark.parametrize("content", ["", "{}", '{"session_id": "01a202d0-9779-7319-abf0-cd07e1425e48"}', "[]"])
    async def test_a_file_that_does_not_name_the_session_is_left(self, project: Project, content: str) -> None:
        await project.create()
        project.state.write_text(content)
        await project.update(title="Sign in")
        assert project.state.read_text() == content

    async def test_files_of_other_programs_stay_and_what_a_killed_writer_left_goes(self, project: Project) -> None:
        await project.create()
        others = {".state.json.swp", ".state.json.tmp", ".session-db-notes", ".session-db-0123456789abcdef.bak"}
        for name in {*others, ".session-db-0123456789abcdef"}:
            (project.folder / name).write_text("a draft")
        await project.update(title="Sign in")
        assert {path.name for path in project.folder.iterdir()} == {*others, "state.json"}

    async def test_waits_for_a_lock_of_the_database_only_so_long(self, project: Project, caplog: pytest.LogCaptureFixture) -> None:
        session = await project.create()
        async with get_async_session() as db:
            await lock_session(db, session.id)
            async with asyncio.timeout(20):
                await write_after_commit(session.id, is_new=False)
        assert "lock timeout" in caplog.text

    async def test_waits_for_another_writer_of_the_folder_only_so_long(
        self, project: Project, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        await project.create()
        # So long waits who has committed nothing.
        monkeypatch.setattr(syncing, "LOCK_SECONDS", 1000.0)
        with open_folder(project.folder) as folder:
            async with folder.locked(), asyncio.timeout(60):
                await project.update(title="Sign in")
        assert "another process writes" in caplog.text
        assert project.read()["title"] == "Authentication"

    async def test_who_waited_for_another_writer_writes_nothing_that_is_there_already(
        self, project: Project, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        session = await project.create()
        exchange = AsyncMock(wraps=syncing._exchange)
        monkeypatch.setattr(syncing, "_exchange", exchange)
        with open_folder(project.folder) as folder:
            async with folder.locked():
                writer = asyncio.create_task(write_after_commit(session.id, is_new=False))
                await asyncio.sleep(0.1)
            await writer
        assert exchange.await_count == 0

    @pytest.mark.parametrize("code", [errno.EINVAL, errno.EPERM])
    async def test_a_folder_of_somebody_unknown_here_is_written(self, project: Project, code: int) -> None:
        with patch("session_db.workspace.folders.os.fchown", side_effect=OSError(code, "Invalid argument")):
            await project.create()
        assert project.read()["title"] == "Authentication"

    async def test_the_file_keeps_its_mode(self, project: Project) -> None:
        await project.create()
        project.state.chmod(0o640)
        await project.update(title="Sign in")
        assert project.state.stat().st_mode & 0o777 == 0o640
