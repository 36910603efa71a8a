"""Reaping: what nobody ends any more is ended, and what tells of itself later wakes up again."""

import asyncio
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import text

from session_db import crud
from session_db.capture.drain import drain
from session_db.capture.reaping import Reaped, Reaper, reap
from session_db.capture.spool import spool_of
from session_db.crud.agents import FELL_SILENT, PROCESS, PROCESS_GONE
from session_db.crud.reaping import may_reap, settle_chats
from session_db.database import UnitOfWork, async_session, get_async_session
from session_db.models import Agent, Session, SessionUpdate
from session_db.models.table import now
from session_db.settings import Settings
from tests.databases import Database
from tests.factories import event, make_agent, make_session

HOST = os.uname().nodename
SDK_SESSION = "0c6b3c0a-7d31-4b7a-9d13-1f6b1f5b1c22"
SESSION = UUID(SDK_SESSION)


@pytest.fixture
def settings(fresh_database: Database, tmp_path: Path) -> Settings:
    return fresh_database.settings.model_copy(
        update={"home": tmp_path / "home", "claude_dirs": str(tmp_path / "claude"), "terminate_after": "7d"}
    )


@pytest.fixture
def client() -> Iterator[subprocess.Popen[bytes]]:
    """A process that waits to be ended."""
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as process:
        yield process
        process.kill()


async def tell(settings: Settings, name: str, /, *, pid: int | None = None, host: str = HOST, **payload: Any) -> None:
    """Let a hook tell of an event, and drain it."""
    told = {"session_id": SDK_SESSION, "hook_event_name": name, "cwd": "/home/dev/demo"} | payload
    spool_of(settings).put(json.dumps(told).encode(), {} if pid is None else {"CLAUDE_PID": str(pid)}, host)
    await drain(settings)


async def let_pass(span: timedelta, session_id: UUID = SESSION) -> None:
    """Let nothing have happened in a session for so long."""
    async with get_async_session() as db:
        for statement in (
            "UPDATE sessions SET last_activity = last_activity - CAST(:span AS interval) WHERE id = :id",
            "UPDATE agents SET updated_at = updated_at - CAST(:span AS interval) WHERE session_id = :id",
        ):
            await db.execute(text(statement), {"span": span, "id": session_id})
        await db.commit()


async def session_of(session_id: UUID = SESSION) -> Session:
    async with get_async_session() as db:
        session = await crud.get_session(db, session_id)
    assert session is not None
    return session


async def agent_of(session_id: UUID = SESSION) -> Agent:
    async with get_async_session() as db:
        return (await crud.list_agents(db, session_id))[0]


async def states(session_id: UUID = SESSION) -> tuple[str, str, str, str | None]:
    session, agent = await session_of(session_id), await agent_of(session_id)
    return session.status, session.activity, agent.status, agent.error_message


async def chat(span: timedelta, **values: Any) -> UUID:
    async with get_async_session() as db:
        session_id = (await make_session(db, **values)).id
    await let_pass(span, session_id)
    return session_id


class TestChats:
    async def test_one_in_which_nothing_happens_becomes_idle_and_then_terminated_when_the_last_thing_happened(
        self, settings: Settings
    ) -> None:
        session_id = await chat(timedelta(minutes=31))
        before = await session_of(session_id)
        assert await reap(settings) == Reaped(idle=1)
        await let_pass(timedelta(days=7), session_id)
        assert await reap(settings) == Reaped(terminated=1)
        ended = await session_of(session_id)
        assert (ended.status, ended.last_activity) == ("terminated", before.last_activity - timedelta(days=7))
        assert ended.completed_at == ended.last_activity
        async with get_async_session() as db:
            (told,) = await crud.list_agent_logs(db, session_id, event_category="phase")
        assert (told.content, told.timestamp) == ("terminated", ended.last_activity)
        assert await reap(settings) == Reaped()

    async def test_one_that_is_long_over_is_both_at_once(self, settings: Settings) -> None:
        session_id = await chat(timedelta(days=8))
        assert await reap(settings) == Reaped(idle=1, terminated=1)
        assert (await session_of(session_id)).status == "terminated"

    async def test_never_leaves_it_as_it_is(self, settings: Settings) -> None:
        await chat(timedelta(days=800))
        never = {"idle_after": "never", "terminate_after": "never", "lost_after": "never"}
        assert await reap(settings.model_copy(update=never)) == Reaped()

    async def test_a_workflow_one_that_is_young_and_one_with_a_client_stay(self, settings: Settings) -> None:
        await chat(timedelta(days=30), session_slug="auth")
        await chat(timedelta(minutes=29))
        connected = await chat(timedelta(days=30))
        async with get_async_session() as db:
            await crud.create_presence(db, connected, worker="here")
        assert await reap(settings) == Reaped()

    async def test_one_in_which_an_agent_works_stays(self, settings: Settings) -> None:
        session_id = await chat(timedelta(0))
        async with get_async_session() as db:
            await crud.start_agent(db, session_id, "main")
        await let_pass(timedelta(hours=2), session_id)
        assert await reap(settings) == Reaped()

    async def test_pages_go_on_past_those_that_stay(self, settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("session_db.capture.reaping.settle_chats", _small(settle_chats))
        for _ in range(3):
            session_id = await chat(timedelta(hours=2))
            async with get_async_session() as db:
                await crud.create_presence(db, session_id, worker="here")
            await chat(timedelta(hours=1))
        assert await reap(settings) == Reaped(idle=3)


def _small(work: Any) -> Any:
    async def with_limit(*arguments: Any, **options: Any) -> Any:
        return await work(*arguments, **options, limit=1)

    return with_limit


class TestAgentsThatFellSilent:
    async def test_they_have_failed_and_their_session_is_lost(self, settings: Settings) -> None:
        await tell(settings, "UserPromptSubmit", prompt="Go on")
        await let_pass(timedelta(hours=25))
        assert await reap(settings) == Reaped(idle=1, failed=1)
        assert await states() == ("idle", "lost", "failed", FELL_SILENT)
        assert (await agent_of()).completed_at is not None

    async def test_one_that_told_something_within_a_day_works_on(self, settings: Settings) -> None:
        await tell(settings, "UserPromptSubmit", prompt="Go on")
        await let_pass(timedelta(hours=23))
        assert await reap(settings) == Reaped()
        assert await states() == ("active", "working", "executing", None)

    async def test_one_that_was_started_by_a_script_in_an_old_session_works_on(self, settings: Settings) -> None:
        session_id = await chat(timedelta(days=3), session_slug="auth")
        async with get_async_session() as db:
            await crud.start_agent(db, session_id, "build")
        assert await reap(settings) == Reaped()

    async def test_a_session_that_only_says_that_it_works_is_lost(self, settings: Settings) -> None:
        session_id = await chat(timedelta(0))
        async with get_async_session() as db:
            await crud.update_session(db, session_id, SessionUpdate(activity="waiting"))
        await let_pass(timedelta(days=2), session_id)
        assert await reap(settings) == Reaped(idle=1)
        assert (await session_of(session_id)).activity == "lost"

    async def test_where_it_is_done_again_and_again_only_the_last_days_are_looked_at(self, settings: Settings) -> None:
        await tell(settings, "UserPromptSubmit", prompt="Go on")
        await let_pass(timedelta(days=9))
        assert (await reap(settings, everything=False)).failed == 0
        assert (await reap(settings)).failed == 1


class TestReaper:
    async def test_after_a_long_pause_it_looks_at_everything(self, settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
        reaper = Reaper()
        await reaper.reap(settings)
        await tell(settings, "UserPromptSubmit", prompt="Go on")
        await let_pass(timedelta(days=9))
        assert (await reaper.reap(settings)).failed == 0
        monkeypatch.setattr("session_db.capture.reaping.now", lambda: now() + timedelta(days=2))
        assert (await reaper.reap(settings)).failed == 1

    async def test_where_another_one_did_it_everything_is_still_to_be_looked_at(self, settings: Settings) -> None:
        reaper = Reaper()
        await tell(settings, "UserPromptSubmit", prompt="Go on")
        await let_pass(timedelta(days=9))
        async with async_session() as other:
            assert await may_reap(other)
            assert not (await reaper.reap(settings)).is_whole
            await other.rollback()
        reaped = await reaper.reap(settings)
        assert (reaped.failed, reaped.is_whole) == (1, True)


class TestAgentsWhoseProcessIsGone:
    async def test_they_have_failed_after_some_minutes(self, settings: Settings, client: subprocess.Popen[bytes]) -> None:
        await tell(settings, "UserPromptSubmit", pid=client.pid, prompt="Go on")
        await tell(settings, "SubagentStart", pid=client.pid, agent_id="a", agent_type="Explore")
        await let_pass(timedelta(minutes=3))
        assert await reap(settings) == Reaped()
        client.kill()
        client.wait()
        assert await reap(settings) == Reaped(failed=2)
        assert await states() == ("active", "lost", "failed", PROCESS_GONE)

    async def test_what_it_told_last_may_still_wait(self, settings: Settings, client: subprocess.Popen[bytes]) -> None:
        await tell(settings, "UserPromptSubmit", pid=client.pid, prompt="Go on")
        client.kill()
        client.wait()
        assert await reap(settings) == Reaped()

    async def test_another_process_with_its_number_is_not_it(self, settings: Settings, client: subprocess.Popen[bytes]) -> None:
        await tell(settings, "UserPromptSubmit", pid=client.pid, prompt="Go on")
        async with get_async_session() as db:
            agent = (await crud.list_agents(db, SESSION))[0]
            agent.metadata_[PROCESS] = agent.metadata_[PROCESS] | {"started": "1"}
        await let_pass(timedelta(minutes=3))
        assert (await reap(settings)).failed == 1

    async def test_one_whose_process_is_hidden_works_on(
        self, settings: Settings, client: subprocess.Popen[bytes], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        await tell(settings, "UserPromptSubmit", pid=client.pid, prompt="Go on")
        await let_pass(timedelta(minutes=3))
        # As where /proc is mounted with hidepid, and the process is somebody else's.
        monkeypatch.setattr("session_db.capture.reaping._started", lambda _: None)
        assert (await reap(settings)).failed == 0
        client.kill()
        client.wait()
        assert (await reap(settings)).failed == 1

    async def test_one_whose_process_lives_is_silent_as_long_as_it_likes(self, settings: Settings, client: subprocess.Popen[bytes]) -> None:
        await tell(settings, "UserPromptSubmit", pid=client.pid, prompt="Go on")
        await let_pass(timedelta(days=3))
        assert await reap(settings) == Reaped()
        assert await states() == ("active", "working", "executing", None)

    @pytest.mark.parametrize("other", [{"host": "elsewhere"}, {"boot": "another"}, {"space": "pid:[1]"}])
    async def test_one_that_is_not_of_this_machine_is_left_to_its_silence(
        self, settings: Settings, client: subprocess.Popen[bytes], other: dict[str, str]
    ) -> None:
        await tell(settings, "UserPromptSubmit", pid=client.pid, prompt="Go on")
        client.kill()
        client.wait()
        async with get_async_session() as db:
            agent = (await crud.list_agents(db, SESSION))[0]
            agent.metadata_[PROCESS] = agent.metadata_[PROCESS] | other
        await let_pass(timedelta(hours=2))
        assert (await reap(settings)).failed == 0

    @pytest.mark.parametrize(
        ("pid", "host"), [(None, HOST), (2**22 + 1, HOST), (os.getpid(), "elsewhere")], ids=["none", "gone", "elsewhere"]
    )
    async def test_one_that_cannot_be_seen_is_not_noted(self, settings: Settings, pid: int | None, host: str) -> None:
        await tell(settings, "UserPromptSubmit", pid=pid, host=host, prompt="Go on")
        assert PROCESS not in (await agent_of()).metadata_

    async def test_after_its_end_none_is_noted(self, settings: Settings) -> None:
        await tell(settings, "UserPromptSubmit", pid=os.getpid(), prompt="Go on")
        assert (await agent_of()).metadata_[PROCESS]["pid"] == os.getpid()
        await tell(settings, "Stop", pid=os.getpid())
        assert PROCESS not in (await agent_of()).metadata_

    @pytest.mark.parametrize("noted", ["text", {"pid": {}}, {"pid": "../1"}, []])
    async def test_what_an_application_wrote_there_is_nothing(self, settings: Settings, noted: Any) -> None:
        session_id = await chat(timedelta(0))
        async with get_async_session() as db:
            await make_agent(db, session_id, status="executing", metadata={PROCESS: noted})
        await let_pass(timedelta(hours=1), session_id)
        assert (await reap(settings)).failed == 0


class TestOneThatIsBroken:
    async def test_the_others_are_reaped(
        self, settings: Settings, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
    ) -> None:
        sessions = [await chat(timedelta(0)) for _ in range(3)]
        for session_id in sessions:
            async with get_async_session() as db:
                await crud.start_agent(db, session_id, "main")
            await let_pass(timedelta(days=2), session_id)

        async def update(db: UnitOfWork, session_id: UUID, *arguments: Any, **options: Any) -> Any:
            if session_id == sessions[0]:
                await db.execute(text("SELECT 1 / 0"))
            return await crud.update_session(db, session_id, *arguments, **options)

        monkeypatch.setattr("session_db.crud.reaping.update_session", update)
        assert await reap(settings) == Reaped(idle=2, failed=2)
        assert f"session {sessions[0]} could not be reaped" in caplog.text
        assert [(await states(session_id))[:3] for session_id in sessions] == [
            ("active", "idle", "executing"),
            ("idle", "lost", "failed"),
            ("idle", "lost", "failed"),
        ]


class TestWakingUp:
    async def reaped(self, settings: Settings) -> None:
        await tell(settings, "UserPromptSubmit", prompt="Go on")
        await let_pass(timedelta(days=9))
        assert await reap(settings) == Reaped(idle=1, terminated=1, failed=1)
        assert await states() == ("terminated", "lost", "failed", FELL_SILENT)

    @pytest.mark.parametrize("name", ["PreToolUse", "PostToolUse", "UserPromptSubmit"])
    async def test_one_that_works_on_is_active_and_executes(self, settings: Settings, name: str) -> None:
        await self.reaped(settings)
        await tell(settings, name, tool_name="Bash", tool_use_id="t", prompt="On", prompt_id="p")
        assert await states() == ("active", "working", "executing", None)
        session, agent = await session_of(), await agent_of()
        assert (session.completed_at, agent.completed_at) == (None, None)
        assert await reap(settings) == Reaped()

    async def test_one_that_waits_is_active_and_executes(self, settings: Settings) -> None:
        await self.reaped(settings)
        await tell(settings, "PermissionRequest", tool_name="Bash")
        assert await states() == ("active", "waiting", "executing", None)

    async def test_one_that_ended_well_is_complete(self, settings: Settings) -> None:
        await self.reaped(settings)
        await tell(settings, "Stop")
        assert await states() == ("idle", "idle", "complete", None)

    async def test_one_that_a_script_starts_again_works(self, settings: Settings, client: subprocess.Popen[bytes]) -> None:
        await tell(settings, "UserPromptSubmit", pid=client.pid, prompt="Go on")
        await let_pass(timedelta(minutes=3))
        client.kill()
        client.wait()
        assert await reap(settings) == Reaped(failed=1)
        failed = await agent_of()
        async with get_async_session() as db:
            woken = await crud.start_agent(db, SESSION, failed.agent_type, agent_id=failed.id)
        assert woken.started_at is not None
        assert failed.started_at is not None
        assert (woken.completed_at, woken.started_at > failed.started_at) == (None, True)
        assert (await states())[1:] == ("idle", "executing", None)
        await let_pass(timedelta(minutes=3))
        assert await reap(settings) == Reaped()

    @pytest.mark.parametrize("again", ["start", "finish"])
    async def test_a_workflow_is_lost_no_more(self, settings: Settings, again: str) -> None:
        session_id = await chat(timedelta(0), session_slug="auth")
        async with get_async_session() as db:
            agent = await crud.start_agent(db, session_id, "build")
        await let_pass(timedelta(days=2), session_id)
        assert await reap(settings) == Reaped(failed=1)
        assert (await session_of(session_id)).activity == "lost"
        async with get_async_session() as db:
            if again == "start":
                await crud.start_agent(db, session_id, "build")
            else:
                await crud.finish_agent(db, agent.id, session_id)
        assert (await session_of(session_id)).activity == "idle"

    async def test_one_that_failed_says_why(self, settings: Settings) -> None:
        await self.reaped(settings)
        await tell(settings, "StopFailure", error="overloaded")
        assert await states() == ("idle", "failed", "failed", "overloaded")

    async def test_a_client_that_connects_makes_an_idle_chat_active(self, settings: Settings) -> None:
        session_id = await chat(timedelta(hours=1))
        await reap(settings)
        async with get_async_session() as db:
            await crud.create_presence(db, session_id, worker="here")
        assert (await session_of(session_id)).status == "active"


class TestAtOnce:
    async def test_an_event_that_comes_while_its_session_is_reaped_wakes_it(self, settings: Settings) -> None:
        await tell(settings, "UserPromptSubmit", prompt="Go on")
        await let_pass(timedelta(hours=25))
        async with async_session() as writer:
            await crud.append_agent_logs(writer, [event(SESSION)])
            task = asyncio.create_task(reap(settings))
            await asyncio.sleep(0.3)
            assert not task.done(), "it looks at a session only under its lock"
            await writer.commit()
            assert await task == Reaped()
        assert await states() == ("active", "working", "executing", None)

    async def test_events_and_reaping_beside_each_other_end_with_what_was_told_last(self, settings: Settings) -> None:
        for turn in range(10):
            await tell(settings, "UserPromptSubmit", prompt="Go on", prompt_id=str(turn))
            await let_pass(timedelta(hours=25))
            told = tell(settings, "PreToolUse", tool_name="Bash", tool_use_id=str(turn))
            await asyncio.gather(told, reap(settings), reap(settings))
            assert await states() == ("active", "working", "executing", None)

    async def test_of_several_services_one_does_it(self, settings: Settings) -> None:
        session_id = await chat(timedelta(hours=1))
        async with async_session() as other:
            assert await may_reap(other)
            assert await reap(settings) == Reaped()
            await other.rollback()
        reaped = await asyncio.gather(*(reap(settings) for _ in range(6)))
        # Where each met another one at its page, it is left to the next time.
        again = await reap(settings)
        assert sum(each.idle for each in [*reaped, again]) == 1
        assert (await session_of(session_id)).status == "idle"
