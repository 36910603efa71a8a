"""A folder and its session: who owns what, and what a sync does about it."""

from session_db import crud
from session_db.database import get_async_session
from session_db.models import AgentCreate, AgentUpdate, SessionCreate
from tests.workspace.conftest import SLUG, Project


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
