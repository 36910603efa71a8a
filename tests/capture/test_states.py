"""How sessions and agents stand after what happened to them, whenever and in which order it is told."""

import json
import os
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest

from session_db import crud
from session_db.capture.drain import drain
from session_db.capture.importer import import_recordings
from session_db.capture.spool import Spool, spool_of
from session_db.crud.agents import ENDED_EARLY
from session_db.database import get_async_session
from session_db.models import Agent
from session_db.settings import Settings
from tests.capture.recorded import BACKGROUND, changed, copy_of
from tests.databases import Database, PostgreSQL
from tests.factories import make_agent, make_session

HOST = os.uname().nodename
SDK_SESSION = "0c6b3c0a-7d31-4b7a-9d13-1f6b1f5b1c11"
SESSION = UUID(SDK_SESSION)
LONG_AGO = datetime(2025, 1, 1, tzinfo=UTC)


@pytest.fixture
def settings(fresh_database: Database, tmp_path: Path) -> Settings:
    return fresh_database.settings.model_copy(update={"home": tmp_path / "home", "claude_dirs": str(tmp_path / "claude")})


def put(settings: Settings, name: str, at: datetime | None = None, /, **payload: Any) -> None:
    """Put an event there, as if it had been captured at another time."""
    spool = spool_of(settings)
    event = {"session_id": SDK_SESSION, "hook_event_name": name, "cwd": "/home/dev/demo"} | payload
    file = spool.put(json.dumps(event).encode(), {}, HOST)
    if at is not None:
        age(spool, file, at)


def age(spool: Spool, name: str, at: datetime) -> None:
    path = spool.directory / "new" / name
    boot, since, _, pid = name.split("-")
    wall = int(at.timestamp() * 1e9)
    header, _, payload = path.read_bytes().partition(b"\n\n")
    lines = [line for line in header.splitlines() if not line.startswith(b"captured_at=")]
    path.write_bytes(b"\n".join([b"captured_at=%d" % wall, *lines]) + b"\n\n" + payload)
    path.rename(path.with_name(f"{boot}-{since}-{wall:020d}-{pid}"))


async def agents(session_id: UUID = SESSION) -> dict[str, Agent]:
    async with get_async_session() as db:
        return {agent.agent_type: agent for agent in await crud.list_agents(db, session_id)}


class TestMoments:
    async def test_an_end_that_is_drained_late_stands_where_it_happened(self, settings: Settings) -> None:
        put(settings, "UserPromptSubmit", LONG_AGO, prompt_id="p")
        put(settings, "SessionEnd", LONG_AGO + timedelta(minutes=5))
        await drain(settings)
        async with get_async_session() as db:
            session = await crud.get_session(db, SESSION)
            (phase,) = await crud.list_agent_logs(db, SESSION, event_category="phase")
        assert session is not None
        ended = LONG_AGO + timedelta(minutes=5)
        assert (session.created_at, session.completed_at, session.last_activity, phase.timestamp) == (LONG_AGO, ended, ended, ended)

    async def test_a_clock_that_was_set_back_turns_nothing_back(self, settings: Settings) -> None:
        put(settings, "UserPromptSubmit", LONG_AGO, prompt_id="p")
        put(settings, "Stop", LONG_AGO + timedelta(hours=2))
        put(settings, "UserPromptSubmit", LONG_AGO + timedelta(hours=1), prompt_id="q")
        await drain(settings)
        async with get_async_session() as db:
            session = await crud.get_session(db, SESSION)
        assert session is not None
        assert (session.activity, session.last_activity) == ("working", LONG_AGO + timedelta(hours=2))
        assert (await agents())["main"].status == "executing"


class TestLate:
    """Over HTTP most events come at once; the start and the end of a client wait in its spool until somebody sends them."""

    @pytest.mark.parametrize("name", ["SessionStart", "SessionEnd"])
    async def test_one_that_comes_when_the_session_went_on_ends_nothing(self, settings: Settings, name: str) -> None:
        put(settings, "UserPromptSubmit", LONG_AGO + timedelta(hours=1), prompt_id="p")
        put(settings, "SubagentStart", LONG_AGO + timedelta(hours=1), agent_id="a1", agent_type="Explore")
        await drain(settings)
        put(settings, name, LONG_AGO, source="startup", reason="other")
        assert (await drain(settings)).events == 1
        async with get_async_session() as db:
            session = await crud.get_session(db, SESSION)
            phases = await crud.list_agent_logs(db, SESSION, event_category="phase")
        assert session is not None
        assert (session.status, session.activity, session.completed_at, phases) == ("active", "working", None, [])
        assert {name: agent.status for name, agent in (await agents()).items()} == {"main": "executing", "Explore": "executing"}

    async def test_that_another_agent_of_a_workflow_went_on_makes_no_end_late(self, settings: Settings) -> None:
        async with get_async_session() as db:
            workflow = await make_session(db, session_slug="feature")
            for agent_type, sdk_session_id in (("plan", SDK_SESSION), ("build", str(BACKGROUND))):
                await make_agent(db, workflow, agent_type=agent_type, sdk_session_id=sdk_session_id)
        put(settings, "UserPromptSubmit", LONG_AGO, prompt_id="p")
        put(settings, "UserPromptSubmit", LONG_AGO, prompt_id="q", session_id=str(BACKGROUND))
        put(settings, "SessionEnd", LONG_AGO + timedelta(seconds=1), session_id=str(BACKGROUND))
        put(settings, "Stop", LONG_AGO + timedelta(hours=1))
        put(settings, "UserPromptSubmit", LONG_AGO + timedelta(hours=1), prompt_id="r")
        put(settings, "SessionEnd", LONG_AGO)
        await drain(settings)
        assert {name: agent.status for name, agent in (await agents(workflow.id)).items()} == {"plan": "complete", "build": "complete"}
        put(settings, "UserPromptSubmit", LONG_AGO + timedelta(hours=2), prompt_id="s")
        await drain(settings)
        put(settings, "SessionEnd", LONG_AGO + timedelta(hours=1), reason="other")
        await drain(settings)
        assert (await agents(workflow.id))["plan"].status == "executing"

    async def test_one_that_comes_a_little_late_ends_it_all_the_same(self, settings: Settings) -> None:
        put(settings, "Stop", LONG_AGO + timedelta(seconds=30))
        await drain(settings)
        put(settings, "SessionEnd", LONG_AGO)
        await drain(settings)
        async with get_async_session() as db:
            session = await crud.get_session(db, SESSION)
        assert session is not None
        assert session.status == "terminated"


class TestEnds:
    @pytest.mark.parametrize("at_once", [True, False])
    async def test_it_is_told_from_what_an_end_came_however_the_events_are_batched(self, settings: Settings, at_once: bool) -> None:
        for number in range(2):
            for name in ("UserPromptSubmit", "PreToolUse", "Stop", "SessionEnd"):
                put(settings, name, prompt_id=str(number))
                if not at_once:
                    await drain(settings)
        await drain(settings)
        async with get_async_session() as db:
            phases = await crud.list_agent_logs(db, SESSION, event_category="phase", whole=True)
        assert [phase.payload["from"] for phase in phases] == ["idle", "idle"]


class TestSubAgents:
    def start(self, settings: Settings) -> None:
        put(settings, "UserPromptSubmit", prompt_id="p")
        for name in ("a1", "a2"):
            put(settings, "SubagentStart", agent_id=name, agent_type=f"kind {name}")

    @pytest.mark.parametrize("at_once", [True, False])
    async def test_those_that_work_at_the_end_have_failed_and_it_is_said_why(self, settings: Settings, at_once: bool) -> None:
        self.start(settings)
        put(settings, "SubagentStop", agent_id="a1", agent_type="kind a1")
        if not at_once:
            await drain(settings)
        put(settings, "SessionEnd", reason="other")
        await drain(settings)
        found = await agents()
        assert {name: (agent.status, agent.error_message) for name, agent in found.items()} == {
            "main": ("complete", None),
            "kind a1": ("complete", None),
            "kind a2": ("failed", ENDED_EARLY),
        }
        assert found["kind a2"].completed_at == found["main"].completed_at

    @pytest.mark.parametrize("at_once", [True, False])
    async def test_one_whose_stop_is_told_after_the_end_has_not(self, settings: Settings, at_once: bool) -> None:
        self.start(settings)
        put(settings, "SessionEnd", reason="other")
        if not at_once:
            await drain(settings)
        put(settings, "SubagentStop", agent_id="a1", agent_type="kind a1")
        await drain(settings)
        found = await agents()
        assert (found["kind a1"].status, found["kind a1"].error_message) == ("complete", None)
        assert found["kind a2"].status == "failed"

    async def test_those_below_another_agent_of_the_session_go_on(self, settings: Settings) -> None:
        self.start(settings)
        await drain(settings)
        found = await agents()
        async with get_async_session() as db:
            for one in found.values():
                row = await crud.get_agent(db, one.id, SESSION)
                assert row is not None
                # Below one another, and below nothing that ends.
                row.parent_agent_id = {"kind a1": found["kind a2"].id, "kind a2": found["kind a1"].id}.get(one.agent_type)
        put(settings, "SessionEnd", reason="other")
        await drain(settings)
        assert [agent.status for name, agent in (await agents()).items() if name != "main"] == ["executing", "executing"]

    @pytest.mark.parametrize("stop_reason", ["end_turn", "tool_use"])
    async def test_the_transcript_and_the_end_say_the_same_in_any_order(
        self, settings: Settings, tmp_path: Path, postgres: PostgreSQL, template: Database, stop_reason: str
    ) -> None:
        """Its stop was never told; it had ended, or the end of the session ended it."""
        transcript = copy_of(BACKGROUND, tmp_path / "claude" / "projects")
        (below,) = (transcript.with_suffix("") / "subagents").glob("*.jsonl")

        def end(entries: list[dict[str, Any]]) -> None:
            last = next(entry for entry in reversed(entries) if entry["type"] == "assistant")
            last["message"]["stop_reason"] = stop_reason

        changed(below, end)
        about = {"session_id": str(BACKGROUND), "agent_id": below.stem.removeprefix("agent-"), "agent_type": "general-purpose"}
        found = []
        for order in ("hooks", "transcript"):
            async with postgres.own("order", template.name) as database:
                own = database.settings.model_copy(update={"home": settings.home / order})
                if order == "transcript":
                    await import_recordings([transcript])
                put(own, "UserPromptSubmit", LONG_AGO, session_id=str(BACKGROUND), prompt_id="p")
                put(own, "SubagentStart", LONG_AGO + timedelta(seconds=1), **about)
                put(own, "SessionEnd", session_id=str(BACKGROUND))
                await drain(own)
                if order == "hooks":
                    await import_recordings([transcript])
                found.append({name: (one.status, one.error_message) for name, one in (await agents(BACKGROUND)).items()})
        assert found[0] == found[1]
        told = {"end_turn": ("complete", None), "tool_use": ("failed", ENDED_EARLY)}[stop_reason]
        assert found[0] == {"main": ("complete", None), "general-purpose": told}


class TestMainAgent:
    @pytest.mark.parametrize("first", ["hooks", "transcript"])
    async def test_one_that_was_interrupted_has_ended_with_its_session(self, settings: Settings, tmp_path: Path, first: str) -> None:
        transcript = copy_of(BACKGROUND, tmp_path / "elsewhere")

        def interrupt(entries: list[dict[str, Any]]) -> None:
            calls = [number for number, entry in enumerate(entries) if entry.get("message", {}).get("stop_reason") == "tool_use"]
            del entries[calls[-1] + 1 :]

        changed(transcript, interrupt)
        if first == "transcript":
            await import_recordings([transcript])
            assert (await agents(BACKGROUND))["main"].status == "executing"
        put(settings, "SessionEnd", session_id=str(BACKGROUND), reason="other")
        await drain(settings)
        await import_recordings([transcript])
        assert (await agents(BACKGROUND))["main"].status == "complete"

    async def test_one_that_failed_says_why_until_it_goes_on(self, settings: Settings) -> None:
        put(settings, "UserPromptSubmit", prompt_id="p")
        put(settings, "StopFailure", error="server_error", last_assistant_message="API Error: 500 boom\x00")
        await drain(settings)
        main = (await agents())["main"]
        assert (main.status, main.error_message) == ("failed", "API Error: 500 boom\ufffd")
        put(settings, "UserPromptSubmit", prompt_id="q")
        await drain(settings)
        main = (await agents())["main"]
        assert (main.status, main.error_message, main.completed_at) == ("executing", None, None)
