"""A folder and its session: who owns what, and what a sync does about it."""

import asyncio
import json
import shutil
from pathlib import Path
from typing import Any, ClassVar
from unittest.mock import AsyncMock

import pytest

from session_db import crud
from session_db.crud.sdk_sessions import bind_sdk_session, get_sdk_session, main_agent_id, sdk_key
from session_db.crud.workspaces import AGENTS_SHOWN, PHASES_SHOWN
from session_db.database import get_async_session, in_transaction
from session_db.ids import new_id
from session_db.models import AgentCreate, AgentUpdate, SessionCreate, SessionPatch
from session_db.workspace import syncing
from session_db.workspace.syncing import How
from tests.factories import make_session
from tests.workspace.conftest import SLUG, Project
from tests.workspace.test_state_machine import killed


class TestCreate:
    async def test_makes_the_folder_with_the_session_in_it(self, project: Project) -> None:
        session = await project.create()
        state = project.read()
        assert (state["schema"], state["session_id"], state["slug"], state["title"]) == (1, str(session.id), SLUG, "Authentication")
        assert (state["type"], state["status"], state["agents"], state["cost"]) == ("full", "created", [], 0.0)
        assert [phase["phase"] for phase in state["phase_history"]] == ["created"]
        stored = await project.session()
        assert stored.workspace_version == stored.workspace_synced_version == 1

    async def test_a_rollback_makes_nothing(self, project: Project) -> None:
        async with get_async_session() as db:
            wanted = SessionCreate(session_slug=SLUG, working_dir=str(project.directory))
            await crud.create_session(db, wanted, workspace=True)
            await db.rollback()
        assert list(project.directory.iterdir()) == []


class TestChangesOfTheDatabase:
    async def test_are_in_the_file_when_the_unit_of_work_has_ended(self, project: Project) -> None:
        session = await project.create()
        await project.update(status="spec", title="Sign in")
        async with get_async_session() as db:
            agent = await crud.create_agent(db, AgentCreate(session_id=session.id, agent_type="spec", model="opus"))
        async with get_async_session() as db:
            await crud.update_agent(db, agent.id, AgentUpdate(sdk_session_id="sess_1", status="executing", cost=1.5))
        state = project.read()
        assert (state["status"], state["title"], state["cost"]) == ("spec", "Sign in", 1.5)
        assert [phase["phase"] for phase in state["phase_history"]] == ["created", "spec"]
        (shown,) = state["agents"]
        assert (shown["id"], shown["sdk_session_id"], shown["status"], shown["cost"]) == (str(agent.id), "sess_1", "executing", 1.5)
        stored = await project.session()
        assert stored.workspace_version == stored.workspace_synced_version > 1


class TestEditsOfTheFile:
    async def test_change_what_the_file_owns(self, project: Project) -> None:
        await project.create()
        project.edit(title="Sign in", description="With passkeys", checkpoints={"total": 5, "done": 2}, status="build")
        (outcome,) = (await project.sync()).outcomes
        assert (outcome.action, sorted(outcome.fields)) == ("updated", ["description", "done", "status", "title", "total"])
        session = await project.session()
        assert (session.title, session.description, session.status) == ("Sign in", "With passkeys", "build")
        assert session.metadata_["checkpoints"] == {"total": 5, "done": 2}
        assert [phase["phase"] for phase in project.read()["phase_history"]] == ["created", "build"]
        assert await project.conflicts() == []

    async def test_are_found_once(self, project: Project) -> None:
        await project.create()
        project.edit(title="Sign in")
        await project.sync()
        before = project.state.read_bytes(), project.state.stat().st_mtime_ns, await project.row()
        (outcome,) = (await project.sync()).outcomes
        assert outcome.action == "unchanged"
        assert (project.state.read_bytes(), project.state.stat().st_mtime_ns, await project.row()) == before

    async def test_a_null_clears_and_a_missing_key_keeps(self, project: Project) -> None:
        await project.create(description="With passkeys")
        state = project.read()
        del state["title"]
        project.write(state | {"description": None})
        await project.sync()
        session = await project.session()
        assert (session.title, session.description) == ("Authentication", None)
        assert project.read()["title"] == "Authentication"

    async def test_other_keys_stay_where_they_are(self, project: Project) -> None:
        session = await project.create()
        async with get_async_session() as db:
            agent = await crud.create_agent(db, AgentCreate(session_id=session.id, agent_type="spec"))
        state = project.read()
        state["agents"][0]["mood"] = "good"
        state["checkpoints"] = {"next": 3, "total": 5, "done": 2}
        odd = {"goals": ["fast"], "é": "\ud800 \x00", "big": 10**30, "small": 1e-7}
        project.write({"first": 1} | state | odd)
        await project.sync()
        await project.update(title="Sign in")
        after = project.read()
        assert next(iter(after)) == "first"
        assert {key: after[key] for key in odd} == odd
        assert after["checkpoints"] == {"next": 3, "total": 5, "done": 2}
        assert (after["agents"][0]["id"], after["agents"][0]["mood"]) == (str(agent.id), "good")
        assert after["title"] == "Sign in"
        assert await project.conflicts() == []

    async def test_an_edit_wins_over_a_change_of_the_same_and_says_so(self, project: Project) -> None:
        await project.create()
        old = project.read()
        await project.update(title="Sign in")
        project.write(old | {"title": "Log in"})
        await project.sync()
        assert (await project.session()).title == project.read()["title"] == "Log in"
        assert await project.conflicts() == [{"field": "title", "file": "Log in", "database": "Sign in", "kept": "file"}]

    async def test_who_writes_an_old_copy_with_one_edit_undoes_nothing_else(self, project: Project) -> None:
        session = await project.create()
        old = project.read()
        await project.update(title="Sign in", status="plan")
        async with get_async_session() as db:
            await crud.create_agent(db, AgentCreate(session_id=session.id, agent_type="plan", cost=2))
        project.write(old | {"description": "With passkeys"})
        await project.sync()
        state = project.read()
        assert (state["title"], state["description"], state["status"], state["cost"]) == ("Sign in", "With passkeys", "plan", 2.0)
        assert (await project.session()).description == "With passkeys"
        assert await project.conflicts() == []

    async def test_a_phase_never_goes_back_and_is_told_so(self, project: Project) -> None:
        await project.create()
        await project.update(status="build")
        project.edit(status="plan")
        await project.sync()
        assert (await project.session()).status == project.read()["status"] == "build"
        assert await project.conflicts() == [{"field": "status", "file": "plan", "database": "build", "kept": "database"}]

    async def test_a_session_that_ended_is_not_begun_again_by_its_file(self, project: Project) -> None:
        await project.create()
        await project.update(status="failed")
        project.edit(status="complete")
        await project.sync()
        assert (await project.session()).status == project.read()["status"] == "failed"

    async def test_what_the_database_owns_is_put_back_and_told(self, project: Project) -> None:
        session = await project.create()
        project.edit(cost=99, slug="other", agents=[{"id": "x"}], phase_history=None)
        await project.sync()
        state = project.read()
        assert (state["cost"], state["slug"], state["agents"]) == (0.0, SLUG, [])
        conflicts = {conflict["field"]: conflict for conflict in await project.conflicts()}
        assert set(conflicts) == {"cost", "slug", "agents", "phase_history"}
        assert conflicts["cost"] == {"field": "cost", "file": 99, "database": 0.0, "kept": "database"}
        assert state["session_id"] == str(session.id)

    @pytest.mark.parametrize("synced", [None, 7, {}, {"state": [], "layout": {}, "plan": {}, "database": {}}])
    async def test_without_knowing_what_was_the_same_the_file_wins_what_it_owns(self, project: Project, synced: Any) -> None:
        await project.create()
        project.edit(title="Sign in", status="spec", cost=4, synced=synced)
        await project.sync()
        session = await project.session()
        assert (session.title, session.status, session.total_cost) == ("Sign in", "spec", 0)
        assert {conflict["field"] for conflict in await project.conflicts()} == {"title", "status", "cost"}
        assert (await project.sync()).outcomes[0].action == "unchanged"

    async def test_an_editor_that_replaces_the_file_while_it_is_written_loses_nothing(
        self, project: Project, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        await project.create()
        project.edit(title="Sign in")
        exchange = syncing._exchange
        edited = False

        async def interrupted(*arguments: Any, **keywords: Any) -> Any:
            nonlocal edited
            exchanged = await exchange(*arguments, **keywords)
            if not edited:
                edited = True
                project.edit(description="With passkeys")
            return exchanged

        monkeypatch.setattr(syncing, "_exchange", interrupted)
        await project.sync()
        session, state = await project.session(), project.read()
        assert (session.title, session.description) == (state["title"], state["description"]) == ("Sign in", "With passkeys")
        assert await project.conflicts() == []


class TestPlans:
    PLAN: ClassVar[dict[str, Any]] = {"checkpoints": [{"id": 1, "status": "complete"}, {"id": 2, "status": "pending"}]}

    async def test_say_how_many_checkpoints_there_are_and_how_many_are_done(self, project: Project) -> None:
        await project.create()
        (project.folder / "plan.json").write_text(json.dumps(self.PLAN))
        await project.sync()
        assert project.read()["checkpoints"] == {"total": 2, "done": 1}
        self.PLAN["checkpoints"][1]["status"] = "completed"
        (project.folder / "plan.json").write_text(json.dumps(self.PLAN))
        await project.sync()
        assert (await project.session()).metadata_["checkpoints"] == {"total": 2, "done": 2}

    async def test_state_json_has_the_last_word(self, project: Project) -> None:
        await project.create()
        (project.folder / "plan.json").write_text(json.dumps(self.PLAN))
        project.edit(checkpoints={"total": 7, "done": 0})
        await project.sync()
        assert project.read()["checkpoints"] == {"total": 7, "done": 0}

    async def test_one_that_cannot_be_read_is_told_and_the_session_is_synced(self, project: Project) -> None:
        await project.create()
        (project.folder / "plan.json").write_text("{")
        project.edit(title="Sign in")
        (outcome,) = (await project.sync()).outcomes
        assert outcome.fields == ["title"]
        assert outcome.note is not None
        assert "plan.json: no JSON at line 1" in outcome.note

    @pytest.mark.parametrize("torn", ["{", "{}", None])
    @pytest.mark.parametrize("is_killed", [False, True])
    async def test_one_that_is_read_again_overrules_nothing_newer(self, project: Project, torn: str | None, is_killed: bool) -> None:
        session = await project.create()
        plan = project.folder / "plan.json"
        plan.write_text(json.dumps({"checkpoints": [{"status": "done"}, {}]}))
        with killed("before the file" if is_killed else "never"):
            await project.sync()
        if torn is None:
            plan.unlink()
        else:
            plan.write_text(torn)
        async with get_async_session() as db:
            await crud.patch_session(db, session.id, SessionPatch(metadata={"checkpoints": {"total": 5, "done": 3}}))
        await project.sync()
        plan.write_text(json.dumps({"checkpoints": [{"status": "done"}, {}]}))
        await project.sync()
        assert project.read()["checkpoints"] == {"total": 5, "done": 3}
        plan.write_text(json.dumps({"checkpoints": [{}] * 6}))
        await project.sync()
        assert project.read()["checkpoints"] == {"total": 6, "done": 0}

    async def test_a_spec_names_a_session_without_a_title(self, project: Project) -> None:
        await project.create(title=None)
        (project.folder / "spec.md").write_text("\n# Sign in with passkeys\n\nText\n")
        await project.sync()
        assert (await project.session()).title == project.read()["title"] == "Sign in with passkeys"
        (project.folder / "spec.md").write_text("# Another\n")
        await project.sync()
        assert (await project.session()).title == "Sign in with passkeys"


class TestFoldersWithoutASession:
    async def test_make_one_as_the_file_says(self, project: Project) -> None:
        session = await project.create()
        async with get_async_session() as db:
            await crud.create_agent(db, AgentCreate(session_id=session.id, agent_type="spec", sdk_session_id="sess_1", cost=2))
        await project.update(status="plan", description="With passkeys")
        before = project.read()
        async with get_async_session() as db:
            await crud.delete_session(db, session.id)
        while await in_transaction(crud.erase_deleted_sessions):
            pass
        (deleted,) = (await project.sync()).outcomes
        assert deleted.action == "deleted"
        (outcome,) = (await project.sync(How(restore_deleted=True))).outcomes
        assert outcome.action == "created"
        after = project.read()
        for key in ("session_id", "title", "description", "status", "cost"):
            assert after[key] == before[key]
        (agent,) = after["agents"]
        assert agent == before["agents"][0]
        assert [phase["phase"] for phase in after["phase_history"]] == ["created", "plan"]
        assert after["phase_history"][1] == before["phase_history"][1]

    async def test_take_no_sdk_session_from_another_session(self, project: Project) -> None:
        async with get_async_session() as db:
            chat = await make_session(db)
            await bind_sdk_session(db, sdk_key("mine"), chat.id, main_agent_id(chat.id, "mine"), "auto")
            deleted = await make_session(db)
            await crud.create_agent(db, AgentCreate(session_id=deleted.id, agent_type="spec", sdk_session_id="gone"))
            await crud.delete_session(db, deleted.id)
        project.folder.mkdir(parents=True)
        told = ("mine", "gone", "new")
        project.write({"agents": [{"id": str(new_id()), "type": "build", "sdk_session_id": text} for text in told]})
        (outcome,) = (await project.sync()).outcomes
        assert (outcome.action, [agent["sdk_session_id"] for agent in project.read()["agents"]]) == ("created", [None, None, "new"])
        assert outcome.note is not None
        assert "'gone', 'mine': they were recorded before" in outcome.note
        async with get_async_session() as db:
            bindings = {text: await get_sdk_session(db, sdk_key(text)) for text in told}
            assert await crud.get_session(db, chat.id) is not None
        session = await project.session()
        assert [binding.session_id for binding in bindings.values() if binding] == [chat.id, None, session.id]

    async def test_with_much_in_the_file_get_what_a_folder_shows(self, project: Project) -> None:
        project.folder.mkdir(parents=True)
        phases = [{"phase": ("spec", "plan")[number % 2], "at": f"2026-01-15T10:00:00.{number:06}Z"} for number in range(30_000)]
        agents = [{"id": str(new_id()), "type": "build"} for _ in range(AGENTS_SHOWN + 5)]
        project.write({"status": "plan", "phase_history": phases, "agents": agents})
        async with asyncio.timeout(60):
            (outcome,) = (await project.sync()).outcomes
        assert outcome.action == "created"
        state = project.read()
        assert len(state["agents"]) == AGENTS_SHOWN
        assert [phase["phase"] for phase in state["phase_history"]] == ["spec", "plan"] * (PHASES_SHOWN // 2)
        assert state["phase_history"][-1]["at"] == phases[-1]["at"]

    async def test_one_made_by_hand_needs_nothing(self, project: Project) -> None:
        project.folder.mkdir(parents=True)
        project.write({})
        (outcome,) = (await project.sync()).outcomes
        assert outcome.action == "created"
        assert (await project.session()).session_type == "full"
        assert (await project.sync()).outcomes[0].action == "unchanged"

    async def test_a_copy_elsewhere_is_told_and_left(self, project: Project, tmp_path: Path) -> None:
        await project.create()
        copy = Project(tmp_path / "elsewhere")
        shutil.copytree(project.directory / "agents", copy.directory / "agents")
        report = await copy.sync()
        assert report.outcomes == []
        assert "whose folder is" in report.problems[0].reason
        report = await copy.sync(How(move=True))
        assert report.outcomes == []
        assert f"{project.folder} names session" in report.problems[0].reason
        shutil.rmtree(project.folder)
        (outcome,) = (await copy.sync(How(move=True))).outcomes
        assert outcome.action in {"written", "unchanged"}
        assert (await copy.session()).working_dir == str(copy.directory)

    async def test_one_that_was_renamed_is_its_sessions_for_good(self, project: Project) -> None:
        session = await project.create()
        renamed = project.folder.rename(project.folder.with_name("renamed"))
        report = await project.sync()
        assert report.outcomes == []
        assert "--move makes this one its folder" in report.problems[0].reason
        for _ in range(2):
            (outcome,) = (await project.sync(How(move=True))).outcomes
            assert (outcome.slug, outcome.session_id) == ("renamed", session.id)
            assert list(renamed.parent.iterdir()) == [renamed]
        assert (await project.sync()).outcomes[0].action == "unchanged"

    async def test_a_folder_that_was_to_be_made_is_made(self, project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
        with monkeypatch.context() as patched:
            patched.setattr("session_db.workspace.writing._write", AsyncMock(side_effect=OSError("gone")))
            session = await project.create()
        assert not project.folder.exists()
        await project.sync()
        assert project.read()["session_id"] == str(session.id)


class TestRehearsals:
    async def test_say_what_differs_and_change_nothing(self, project: Project) -> None:
        await project.create()
        project.edit(title="Sign in", cost=4)
        before = project.state.read_bytes(), await project.row()
        (outcome,) = (await project.sync(How(is_rehearsal=True))).outcomes
        assert (outcome.action, outcome.fields, [each.field for each in outcome.conflicts]) == ("updated", ["title"], ["cost"])
        assert (project.state.read_bytes(), await project.row()) == before
