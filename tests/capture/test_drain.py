"""Draining: captured events become rows, once and in order, whatever is in them."""

import asyncio
import json
import os
from datetime import timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import select
from sqlmodel import col

from session_db import crud
from session_db.capture.drain import drain
from session_db.capture.spool import spool_of
from session_db.database import async_session, get_async_session
from session_db.errors import Unavailable
from session_db.models import Agent, AgentLog, Session
from session_db.settings import Settings
from tests.capture.recorded import BACKGROUND, copy_of
from tests.databases import Database
from tests.factories import make_session

HOOKS = Path(__file__).parents[1] / "fixtures" / "claude-code" / "hooks"
FIXTURES = [
    pytest.param(case["payload"], id=f"{path.stem}-{number}")
    for path in sorted(HOOKS.glob("[A-Z]*.json"))
    for number, case in enumerate(json.loads(path.read_text()))
]
HOST = os.uname().nodename
SDK_SESSION = "0c6b3c0a-7d31-4b7a-9d13-1f6b1f5b1c11"
SESSION = UUID(SDK_SESSION)


@pytest.fixture
def settings(fresh_database: Database, tmp_path: Path) -> Settings:
    return fresh_database.settings.model_copy(update={"home": tmp_path / "home", "claude_dirs": str(tmp_path / "claude")})


def put(settings: Settings, name: str, environment: dict[str, str] | None = None, **payload: Any) -> None:
    event = {"session_id": SDK_SESSION, "hook_event_name": name, "cwd": "/home/dev/demo"} | payload
    spool_of(settings).put(json.dumps(event).encode(), environment or {}, HOST)


async def events(session_id: UUID = SESSION) -> list[AgentLog]:
    async with get_async_session() as db:
        return list(await crud.list_agent_logs(db, session_id, whole=True, limit=1000))


async def session_of(session_id: UUID = SESSION) -> Session:
    async with get_async_session() as db:
        session = await crud.get_session(db, session_id)
        assert session is not None
        return session


class TestEvents:
    @pytest.mark.parametrize("payload", FIXTURES)
    async def test_every_captured_payload_is_recorded_as_it_was_sent(self, settings: Settings, payload: dict[str, Any]) -> None:
        spool_of(settings).put(json.dumps(payload).encode(), {}, "another host")
        report = await drain(settings)
        assert (report.events, report.bad) == (1, 0)
        async with async_session() as db:
            (event,) = (await db.execute(select(AgentLog).where(col(AgentLog.event_category) == "hook"))).scalars()
        assert (event.event_type, event.payload, event.sdk_session_id) == (payload["hook_event_name"], payload, payload["session_id"])
        assert event.tool_input == payload.get("tool_input")

    async def test_one_that_nobody_has_heard_of_is_recorded(self, settings: Settings) -> None:
        put(settings, "ThoughtBegan", thought={"depth": [1, 2, {"\ud800": "\x00"}]}, agent_id=7)
        await drain(settings)
        (event,) = await events()
        assert event.event_type == "ThoughtBegan"
        assert event.payload["thought"] == {"depth": [1, 2, {"\ud800": "\x00"}]}

    async def test_they_stand_in_the_order_they_were_captured(self, settings: Settings) -> None:
        for number in range(1200):
            put(settings, "PreToolUse", tool_name="Bash", tool_use_id=f"toolu_{number}", tool_input={"command": str(number)})
        assert (await drain(settings)).events == 1200
        first, second = (await events()), [event.tool_use_id for event in await events()]
        assert second == [f"toolu_{number}" for number in range(1000)]
        assert [event.event_index for event in first] == list(range(1000))

    async def test_captured_again_they_change_nothing(self, settings: Settings) -> None:
        for _ in range(3):
            put(settings, "UserPromptSubmit", prompt_id="p", prompt="hello")
            put(settings, "PostToolUse", tool_use_id="t", tool_name="Bash", tool_response={"stdout": "hi", "stderr": "oh"}, duration_ms=5)
        report = await drain(settings)
        assert (report.events, report.known) == (2, 4)
        assert [(event.event_type, event.content, event.tool_output) for event in await events()] == [
            ("UserPromptSubmit", "hello", None),
            ("PostToolUse", None, "hi\noh"),
        ]


class TestBadFiles:
    @pytest.mark.parametrize("payload", [b"", b"{", b"[]", b'{"session_id": 5, "hook_event_name": "Stop"}', b"\xff\xfe", b"[" * 100_000])
    async def test_what_is_no_event_is_set_aside_and_blocks_nothing(self, settings: Settings, payload: bytes) -> None:
        spool_of(settings).put(payload, {}, HOST)
        put(settings, "Stop")
        report = await drain(settings)
        assert (report.events, report.bad) == (1, 1)
        state = spool_of(settings).state()
        assert (state.waiting, state.bad) == (0, 1)

    async def test_ten_megabytes_are_recorded(self, settings: Settings) -> None:
        put(settings, "PostToolUse", tool_use_id="t", tool_name="Write", tool_response={"content": "x" * 10_000_000})
        assert (await drain(settings)).events == 1
        (event,) = await events()
        assert event.truncated
        assert len(event.payload["tool_response"]["content"]) == 10_000_000


class TestState:
    async def test_a_session_stands_as_its_last_event_says(self, settings: Settings) -> None:
        steps: list[tuple[str, dict[str, Any], str, str]] = [
            ("SessionStart", {"source": "startup"}, "idle", "idle"),
            ("UserPromptSubmit", {"prompt_id": "p"}, "active", "working"),
            ("PermissionRequest", {"tool_name": "Bash"}, "active", "waiting"),
            ("Stop", {}, "idle", "idle"),
            ("SessionEnd", {"reason": "other"}, "terminated", "done"),
            ("SessionStart", {"source": "resume"}, "idle", "idle"),
        ]
        for name, more, status, activity in steps:
            put(settings, name, **more)
            await drain(settings)
            session = await session_of()
            assert (session.status, session.activity) == (status, activity), name

    async def test_agents_stand_as_their_events_say(self, settings: Settings) -> None:
        put(settings, "UserPromptSubmit", prompt_id="p")
        put(settings, "SubagentStart", agent_id="a1", agent_type="Explore")
        put(settings, "PreToolUse", agent_id="a1", agent_type="Explore", tool_use_id="t", tool_name="Read")
        await drain(settings)
        async with get_async_session() as db:
            main, sub = await crud.list_agents(db, UUID(SDK_SESSION))
        assert (main.agent_type, main.status, sub.agent_type, sub.status, sub.parent_agent_id) == (
            "main",
            "executing",
            "Explore",
            "executing",
            main.id,
        )
        assert [event.agent_id for event in await events()] == [main.id, sub.id, sub.id]
        put(settings, "SubagentStop", agent_id="a1", agent_type="Explore")
        put(settings, "Stop")
        await drain(settings)
        async with get_async_session() as db:
            assert [agent.status for agent in await crud.list_agents(db, UUID(SDK_SESSION))] == ["complete", "complete"]

    async def test_the_stop_of_a_compaction_makes_no_agent(self, settings: Settings) -> None:
        put(settings, "SubagentStop", agent_id="compact", agent_type="")
        await drain(settings)
        async with get_async_session() as db:
            assert [agent.agent_type for agent in await crud.list_agents(db, UUID(SDK_SESSION))] == ["main"]


class TestBinding:
    async def test_the_environment_names_the_session(self, settings: Settings) -> None:
        async with get_async_session() as db:
            workflow = await make_session(db, session_slug="2026-01-15_auth", working_dir="/home/dev")
        wanted = {"SESSION_DB_SESSION": "2026-01-15_auth", "SESSION_DB_AGENT_TYPE": "build", "SESSION_DB_CHECKPOINT": "3"}
        put(settings, "SessionStart", wanted, source="startup")
        put(settings, "UserPromptSubmit", prompt_id="p")
        await drain(settings)
        async with get_async_session() as db:
            (agent,) = await crud.list_agents(db, workflow.id)
            session = await crud.get_session(db, workflow.id)
        assert (agent.agent_type, agent.checkpoint_id, agent.sdk_session_id) == ("build", 3, SDK_SESSION)
        assert session is not None
        assert (session.status, session.activity) == ("created", "working")
        assert len(await events(workflow.id)) == 2

    async def test_by_its_id_as_well(self, settings: Settings) -> None:
        async with get_async_session() as db:
            chat = await make_session(db)
        put(settings, "SessionStart", {"SESSION_DB_SESSION": str(chat.id)})
        await drain(settings)
        assert len(await events(chat.id)) == 1

    @pytest.mark.parametrize("wanted", ["unknown", "018cc251-f400-78f8-833e-bf663095c0ce", "a/b", "\x00", "é" * 300])
    async def test_one_that_is_none_costs_no_event(self, settings: Settings, wanted: str) -> None:
        put(settings, "SessionStart", {"SESSION_DB_SESSION": wanted})
        report = await drain(settings)
        assert (report.events, report.bad) == (1, 0)
        assert len(await events()) == 1

    async def test_a_deleted_session_does_not_come_back(self, settings: Settings) -> None:
        put(settings, "UserPromptSubmit", prompt_id="p")
        await drain(settings)
        async with get_async_session() as db:
            await crud.delete_session(db, UUID(SDK_SESSION))
        put(settings, "Stop")
        report = await drain(settings)
        assert (report.deleted, report.events, spool_of(settings).state().waiting) == (1, 0, 0)


class TestTranscripts:
    async def test_they_are_read_when_they_have_something_new(self, settings: Settings, tmp_path: Path) -> None:
        transcript = copy_of(BACKGROUND, tmp_path / "claude" / "projects")
        put(settings, "Stop", session_id=str(BACKGROUND), transcript_path=str(transcript))
        report = await drain(settings)
        assert (report.transcripts, report.unread) == ({transcript}, [])
        async with get_async_session() as db:
            assert len(await crud.list_messages(db, BACKGROUND)) == 7

    async def test_one_that_lags_behind_is_read_again(self, settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        transcript = copy_of(BACKGROUND, tmp_path / "claude" / "projects")
        whole = transcript.read_bytes()
        transcript.write_bytes(b"".join(whole.splitlines(keepends=True)[:8]))
        put(settings, "Stop", session_id=str(BACKGROUND), transcript_path=str(transcript))
        monkeypatch.setattr("session_db.capture.drain.LAG", timedelta(hours=1))
        await drain(settings)
        before = (await session_of(BACKGROUND)).message_count
        transcript.write_bytes(whole)
        assert (await drain(settings)).known == 1
        assert before < (await session_of(BACKGROUND)).message_count == 7
        monkeypatch.setattr("session_db.capture.drain.LAG", timedelta(0))
        await drain(settings)
        assert spool_of(settings).state().waiting == 0

    @pytest.mark.parametrize("kind", ["elsewhere", "named otherwise", "a link", "another host"])
    async def test_a_path_that_may_be_anything_is_not_opened(self, settings: Settings, tmp_path: Path, kind: str) -> None:
        outside = copy_of(BACKGROUND, tmp_path / "outside")
        path, host = tmp_path / "claude" / "projects" / "p" / f"{BACKGROUND}.jsonl", HOST
        path.parent.mkdir(parents=True)
        if kind == "elsewhere":
            path = outside
        elif kind == "named otherwise":
            path = path.with_name("other.jsonl")
            path.write_bytes(outside.read_bytes())
        elif kind == "a link":
            path.symlink_to(outside)
        else:
            path.write_bytes(outside.read_bytes())
            host = "elsewhere"
        event = {"session_id": str(BACKGROUND), "hook_event_name": "Stop", "transcript_path": str(path)}
        spool_of(settings).put(json.dumps(event).encode(), {}, host)
        assert (await drain(settings)).transcripts == set()
        async with get_async_session() as db:
            assert await crud.list_messages(db, BACKGROUND) == []

    @pytest.mark.parametrize("first", ["hooks", "transcript"])
    async def test_hooks_first_or_transcript_first_give_the_same_rows(self, settings: Settings, tmp_path: Path, first: str) -> None:
        transcript = copy_of(BACKGROUND, tmp_path / "claude" / "projects")
        put(settings, "SessionStart", session_id=str(BACKGROUND))
        put(settings, "UserPromptSubmit", session_id=str(BACKGROUND), prompt_id="p")
        if first == "hooks":
            await drain(settings)
        put(settings, "Stop", session_id=str(BACKGROUND), transcript_path=str(transcript))
        await drain(settings)
        async with get_async_session() as db:
            agents = await crud.list_agents(db, BACKGROUND)
        assert [(agent.agent_type, agent.status) for agent in agents] == [("main", "complete"), ("general-purpose", "complete")]
        assert len([event for event in await events(BACKGROUND) if event.event_category == "hook"]) == 3
        assert (await session_of(BACKGROUND)).message_count == 7


class TestRaces:
    async def test_of_two_at_once_one_drains(self, settings: Settings) -> None:
        for number in range(300):
            put(settings, "PreToolUse", tool_use_id=f"t{number}")
        reports = await asyncio.gather(*(drain(settings) for _ in range(4)))
        assert sum(report.events for report in reports) == 300
        assert len(await events()) == 300

    async def test_a_kill_between_the_commit_and_the_end_doubles_nothing(self, settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
        put(settings, "UserPromptSubmit", prompt_id="p")
        put(settings, "ThoughtBegan")
        with monkeypatch.context() as killed:
            killed.setattr("session_db.capture.spool.Spool.remove", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
            with pytest.raises(KeyboardInterrupt):
                await drain(settings)
        report = await drain(settings)
        assert (report.events, report.known) == (0, 2)
        assert len(await events()) == 2

    async def test_while_the_database_is_away_everything_waits(self, settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
        async def away(*_: object, **__: object) -> None:
            raise Unavailable("the database cannot be reached")

        put(settings, "Stop")
        with monkeypatch.context() as patch:
            patch.setattr("session_db.capture.drain.in_transaction", away)
            with pytest.raises(Unavailable):
                await drain(settings)
        assert spool_of(settings).state().waiting == 1
        assert (await drain(settings)).events == 1
        async with async_session() as db:
            assert len((await db.execute(select(Agent))).scalars().all()) == 1
