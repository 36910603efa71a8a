"""Workflows: agents that start and finish, phases that follow one another, and what goes on."""

import asyncio
from typing import Any
from uuid import UUID, uuid4

import pytest

from session_db import crud
from session_db.crud.agents import FELL_SILENT
from session_db.crud.workflow import AGENTS_SHOWN, PHASES, get_last_agent, list_work, work_of
from session_db.database import UnitOfWork, get_async_session, in_transaction
from session_db.errors import AlreadyExists, Conflict, InvalidInput, NotFound
from session_db.models import Agent, AgentUpdate, Session, SessionUpdate
from tests.databases import Database
from tests.factories import make_agent, make_session


async def workflow(db: UnitOfWork, status: str = "created") -> Session:
    return await make_session(db, session_slug="auth", status=status)


async def status_of(db: UnitOfWork, session: Session) -> str:
    found = await crud.get_session(db, session.id)
    assert found is not None
    return found.status


async def phases_of(db: UnitOfWork, session: Session) -> list[str | None]:
    return [event.content for event in await crud.list_agent_logs(db, session.id, event_category="phase")]


class TestStartAgent:
    async def test_it_works_from_now_on_with_what_it_was_told(self, db: UnitOfWork) -> None:
        session = await workflow(db)
        agent = await crud.start_agent(db, session.id, "build", model="opus", checkpoint_id=2, name="Login", sdk_session_id="s")
        assert (agent.status, agent.agent_type, agent.model, agent.checkpoint_id) == ("executing", "build", "opus", 2)
        assert (agent.name, agent.sdk_session_id, agent.completed_at) == ("Login", "s", None)
        assert agent.started_at is not None

    async def test_the_session_goes_on_to_a_later_phase_and_says_so_once(self, db: UnitOfWork) -> None:
        session = await workflow(db)
        for agent_type in ("spec", "build", "plan", "build", "research"):
            await crud.start_agent(db, session.id, agent_type)
        assert await status_of(db, session) == "build"
        assert await phases_of(db, session) == ["spec", "build"]

    @pytest.mark.parametrize("status", ["complete", "failed"])
    async def test_a_session_that_has_ended_stays_so(self, db: UnitOfWork, status: str) -> None:
        session = await workflow(db, status)
        await crud.start_agent(db, session.id, "docs")
        assert await status_of(db, session) == status

    async def test_no_agent_ends_its_session(self, db: UnitOfWork) -> None:
        session = await workflow(db, "docs")
        await crud.start_agent(db, session.id, "complete")
        assert await status_of(db, session) == "docs"

    async def test_a_chat_has_no_phases_to_go_on_to(self, db: UnitOfWork) -> None:
        chat = await make_session(db)
        await crud.start_agent(db, chat.id, "build")
        assert await status_of(db, chat) == "active"

    async def test_with_the_same_id_it_changes_nothing(self, db: UnitOfWork) -> None:
        session, agent_id = await workflow(db), uuid4()
        first = await crud.start_agent(db, session.id, "spec", agent_id=agent_id)
        await crud.finish_agent(db, agent_id)
        again = await crud.start_agent(db, session.id, "spec", agent_id=agent_id)
        assert (again.id, again.status, again.started_at) == (first.id, "complete", first.started_at)
        with pytest.raises(AlreadyExists):
            await crud.start_agent(db, session.id, "plan", agent_id=agent_id)

    async def test_an_unknown_session_is_an_error(self, db: UnitOfWork) -> None:
        with pytest.raises(NotFound):
            await crud.start_agent(db, uuid4(), "spec")

    async def test_started_twice_at_once_it_is_there_once(self, fresh_database: Database) -> None:
        async with get_async_session() as db:
            session = await workflow(db)
        agent_id = uuid4()
        started = [in_transaction(lambda db: crud.start_agent(db, session.id, "build", agent_id=agent_id)) for _ in range(8)]
        assert {agent.id for agent in await asyncio.gather(*started)} == {agent_id}
        async with get_async_session() as db:
            assert len(await crud.list_agents(db, session.id)) == 1
            assert await phases_of(db, session) == ["build"]


class TestFinishAgent:
    async def test_it_is_complete_with_what_it_came_to(self, db: UnitOfWork) -> None:
        session = await workflow(db)
        agent = await crud.start_agent(db, session.id, "spec")
        done = await crud.finish_agent(db, agent.id, sdk_session_id="s", cost=0.1)
        assert done is not None
        assert (done.status, done.error_message, done.sdk_session_id, done.cost) == ("complete", None, "s", 0.1)
        assert done.completed_at is not None
        found = await crud.get_session(db, session.id)
        assert found is not None
        assert found.total_cost == 0.1

    async def test_with_an_error_it_failed(self, db: UnitOfWork) -> None:
        agent = await crud.start_agent(db, (await workflow(db)).id, "spec")
        failed = await crud.finish_agent(db, agent.id, error="the tests fail")
        assert failed is not None
        assert (failed.status, failed.error_message) == ("failed", "the tests fail")

    @pytest.mark.parametrize("error", [None, "the tests fail"])
    async def test_the_same_result_again_changes_nothing(self, db: UnitOfWork, error: str | None) -> None:
        agent = await crud.start_agent(db, (await workflow(db)).id, "spec")
        first = await crud.finish_agent(db, agent.id, error=error, sdk_session_id="s", cost=1.23456789012)
        assert first is not None
        before = first.model_dump()
        again = await crud.finish_agent(db, agent.id, error=error, sdk_session_id="s", cost=1.23456789012)
        assert again is not None
        assert again.model_dump() == before

    async def test_what_it_had_not_told_before_is_added(self, db: UnitOfWork) -> None:
        agent = await crud.start_agent(db, (await workflow(db)).id, "spec")
        first = await crud.finish_agent(db, agent.id)
        ended = first.completed_at if first else None
        again = await crud.finish_agent(db, agent.id, sdk_session_id="s", cost=2)
        assert again is not None
        assert (again.sdk_session_id, again.cost, again.completed_at) == ("s", 2, ended)

    @pytest.mark.parametrize("other", [{"error": "no"}, {"cost": 2.0}, {"sdk_session_id": "other"}])
    async def test_another_result_is_a_conflict(self, db: UnitOfWork, other: dict[str, Any]) -> None:
        agent = await crud.start_agent(db, (await workflow(db)).id, "spec")
        await crud.finish_agent(db, agent.id, cost=1.0, sdk_session_id="s")
        with pytest.raises(Conflict, match="has ended already"):
            await crud.finish_agent(db, agent.id, **other)

    async def test_what_was_only_concluded_gives_way_to_what_is_told(self, db: UnitOfWork) -> None:
        agent = await crud.start_agent(db, (await workflow(db)).id, "spec")
        await crud.update_agent(db, agent.id, AgentUpdate(status="failed", error_message=FELL_SILENT))
        done = await crud.finish_agent(db, agent.id)
        assert done is not None
        assert (done.status, done.error_message) == ("complete", None)

    @pytest.mark.parametrize("cost", [float("nan"), float("inf"), 1e11])
    async def test_a_cost_that_is_no_sum_is_an_error(self, db: UnitOfWork, cost: float) -> None:
        agent = await crud.start_agent(db, (await workflow(db)).id, "spec")
        with pytest.raises(InvalidInput, match="US dollars"):
            await crud.finish_agent(db, agent.id, cost=cost)

    async def test_none_is_returned_for_one_that_is_not_there(self, db: UnitOfWork) -> None:
        assert await crud.finish_agent(db, uuid4()) is None

    async def test_of_two_results_at_once_one_holds_and_the_other_is_a_conflict(self, fresh_database: Database) -> None:
        async with get_async_session() as db:
            agent = await crud.start_agent(db, (await workflow(db)).id, "spec")

        async def finish(error: str | None) -> Agent | None:
            return await in_transaction(lambda db: crud.finish_agent(db, agent.id, error=error))

        results = await asyncio.gather(*(finish(error) for error in (None, "no") * 4), return_exceptions=True)
        held = {result.status for result in results if isinstance(result, Agent)}
        assert len(held) == 1
        assert [type(result) for result in results].count(Conflict) == 4


class TestAdvanceSession:
    async def test_it_goes_forward_and_may_pass_over_phases(self, db: UnitOfWork) -> None:
        session = await workflow(db)
        for phase in ("spec", "build", "complete"):
            advanced = await crud.advance_session(db, session.id, phase)
            assert advanced is not None
            assert advanced.status == phase
        assert await phases_of(db, session) == ["spec", "build", "complete"]

    async def test_the_same_phase_again_changes_nothing(self, db: UnitOfWork) -> None:
        session = await workflow(db, "plan")
        await crud.advance_session(db, session.id, "plan")
        assert await phases_of(db, session) == []

    async def test_back_it_goes_only_by_force(self, db: UnitOfWork) -> None:
        session = await workflow(db, "build")
        with pytest.raises(Conflict, match="created, spec, plan, build, docs, complete"):
            await crud.advance_session(db, session.id, "spec")
        await crud.advance_session(db, session.id, "spec", force=True)
        assert await status_of(db, session) == "spec"

    async def test_a_failed_one_goes_on_by_force_and_its_error_is_gone(self, db: UnitOfWork) -> None:
        session = await workflow(db, "failed")
        await crud.update_session(db, session.id, SessionUpdate(error_message="no"))
        with pytest.raises(Conflict):
            await crud.advance_session(db, session.id, "build")
        advanced = await crud.advance_session(db, session.id, "build", force=True)
        assert advanced is not None
        assert (advanced.status, advanced.error_message, advanced.completed_at) == ("build", None, None)

    @pytest.mark.parametrize("phase", ["failed", "Build", "", "bu\x00ild"])
    async def test_an_unknown_phase_is_an_error_with_those_there_are(self, db: UnitOfWork, phase: str) -> None:
        with pytest.raises(InvalidInput, match=", ".join(PHASES)):
            await crud.advance_session(db, (await workflow(db)).id, phase)

    async def test_a_chat_is_refused_and_none_there_is_none(self, db: UnitOfWork) -> None:
        with pytest.raises(InvalidInput, match="is a chat"):
            await crud.advance_session(db, (await make_session(db)).id, "build")
        assert await crud.advance_session(db, uuid4(), "build") is None


class TestGetLastAgent:
    async def test_it_is_the_last_of_its_type_that_can_be_resumed(self, db: UnitOfWork) -> None:
        session = await workflow(db)
        for agent_type, sdk_session in (("build", "a"), ("build", "b"), ("plan", "c"), ("build", None)):
            await make_agent(db, session, agent_type=agent_type, sdk_session_id=sdk_session)
        last = await get_last_agent(db, session.id, "build")
        assert last is not None
        assert last.sdk_session_id == "b"
        assert await get_last_agent(db, session.id, "docs") is None


class TestWork:
    async def test_it_tells_what_runs_what_waits_and_what_failed(self, db: UnitOfWork) -> None:
        session = await workflow(db)
        for status in ("executing", "pending", "failed", "complete", "executing"):
            await make_agent(db, session, status=status)
        (work,) = await work_of(db, [session])
        assert [len(agents) for agents in (work.running, work.pending, work.failed)] == [2, 1, 1]
        assert work.running[0].created_at > work.running[1].created_at

    async def test_of_many_agents_it_tells_the_last(self, db: UnitOfWork) -> None:
        session = await workflow(db)
        agents = [await make_agent(db, session, status="failed") for _ in range(AGENTS_SHOWN + 3)]
        (work,) = await work_of(db, [session])
        assert [agent.id for agent in work.failed] == [agent.id for agent in reversed(agents[3:])]

    async def test_sessions_that_have_not_ended_come_in_pages_the_last_active_first(self, db: UnitOfWork) -> None:
        wanted = [await make_session(db), await workflow(db, "build"), await make_session(db, status="idle")]
        await make_session(db, status="terminated")
        found: list[UUID] = []
        cursor = None
        while True:
            page = await list_work(db, limit=1, cursor=cursor)
            found += [work.session.id for work in page]
            cursor = page.next_cursor
            if cursor is None:
                break
        assert found == [session.id for session in reversed(wanted)]
