"""Draining what nobody sends on purpose: strange files, hostile payloads, kills at any moment, and rows that no order changes."""

import asyncio
import json
import os
import random
import signal
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import func, select, text
from sqlalchemy.exc import DBAPIError
from sqlmodel import col

from session_db import crud
from session_db.capture.drain import drain
from session_db.capture.importer import import_recordings
from session_db.capture.spool import Spool, spool_of
from session_db.database import async_session, get_async_session
from session_db.models import AgentCreate, AgentLog
from session_db.settings import Settings
from tests.capture.recorded import BACKGROUND, copy_of, rows_without_clocks
from tests.databases import Database
from tests.factories import make_session

HOOKS = Path(__file__).parents[1] / "fixtures" / "claude-code" / "hooks"
HOST = os.uname().nodename
SDK_SESSION = "0c6b3c0a-7d31-4b7a-9d13-1f6b1f5b1c11"
SESSION = UUID(SDK_SESSION)
COMMAND = Path(sys.executable).with_name("session-db")


@pytest.fixture
def settings(fresh_database: Database, tmp_path: Path) -> Settings:
    return fresh_database.settings.model_copy(update={"home": tmp_path / "home", "claude_dirs": str(tmp_path / "claude")})


def put(settings: Settings, name: str, variables: dict[str, str] | None = None, /, **payload: Any) -> str:
    event = {"session_id": SDK_SESSION, "hook_event_name": name, "cwd": "/home/dev/demo"} | payload
    return spool_of(settings).put(json.dumps(event).encode(), variables or {}, HOST)


async def events(session_id: UUID = SESSION) -> list[AgentLog]:
    async with get_async_session() as db:
        return list(await crud.list_agent_logs(db, session_id, event_category="hook", whole=True, limit=1000))


async def count_of_events() -> int:
    async with async_session() as db:
        return await db.scalar(select(func.count()).select_from(AgentLog).where(col(AgentLog.event_category) == "hook")) or 0


class TestFiles:
    @pytest.mark.parametrize("kind", ["directory", "pipe", "link", "dangling link", "unreadable"])
    async def test_what_is_no_file_of_ours_is_set_aside_and_blocks_nothing(self, settings: Settings, tmp_path: Path, kind: str) -> None:
        put(settings, "Stop")
        strange = spool_of(settings).directory / "new" / "00000000-strange"
        if kind == "directory":
            strange.mkdir()
        elif kind == "pipe":
            os.mkfifo(strange)
        elif kind == "unreadable":
            strange.write_bytes(b"\xff")
            strange.chmod(0)
        else:
            target = tmp_path / "target"
            if kind == "link":
                target.write_text("captured_at=1\nhost=h\n\n{}")
            strange.symlink_to(target)
        report = await asyncio.wait_for(drain(settings), 30)
        assert (report.events, report.bad) == (1, 1)
        assert spool_of(settings).state().waiting == 0

    async def test_one_that_cannot_be_moved_away_blocks_nothing_and_is_told(self, settings: Settings) -> None:
        spool_of(settings).put(b"\xff", {}, HOST)
        put(settings, "Stop")
        (spool_of(settings).directory / "bad").write_text("in the way")
        with pytest.raises(OSError, match="bad"):
            await drain(settings)
        assert len(await events()) == 1
        assert spool_of(settings).state().waiting == 1

    async def test_a_spool_that_goes_away_in_the_middle_is_no_error(self, settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
        first, second = put(settings, "Stop"), put(settings, "ThoughtBegan")
        read = Spool.read

        def read_and_remove(spool: Spool, name: str) -> Any:
            captured = read(spool, name)
            spool.remove(second)
            return captured

        monkeypatch.setattr(Spool, "read", read_and_remove)
        assert (await drain(settings)).events == 1
        assert [event.event_type for event in await events()] == ["Stop"]
        assert not (spool_of(settings).directory / "new" / first).exists()

    @pytest.mark.parametrize("variables", [{"CLAUDE_CONFIG_DIR": "\x00"}, {"CLAUDE_CONFIG_DIR": "claude"}, {"CLAUDE_CONFIG_DIR": ""}])
    async def test_a_directory_of_the_client_that_is_none_leads_nowhere(
        self, settings: Settings, tmp_path: Path, variables: dict[str, str], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.chdir(tmp_path)
        settings = settings.model_copy(update={"claude_dirs": ""})
        for folder in ("claude/projects", "projects"):
            transcript = copy_of(BACKGROUND, tmp_path / folder)
            put(settings, "Stop", variables, session_id=str(BACKGROUND), transcript_path=str(transcript))
        report = await drain(settings)
        assert (report.events, report.transcripts) == (2, set())

    async def test_a_client_directory_behind_a_link_is_read(self, settings: Settings, tmp_path: Path) -> None:
        copy_of(BACKGROUND, tmp_path / "dotfiles" / "projects")
        (tmp_path / "claude").symlink_to(tmp_path / "dotfiles")
        path = tmp_path / "claude" / "projects" / "-home-dev-demo" / f"{BACKGROUND}.jsonl"
        put(settings, "Stop", session_id=str(BACKGROUND), transcript_path=str(path))
        assert len((await drain(settings)).transcripts) == 1


def nested(depth: int) -> Any:
    value: Any = 1
    for _ in range(depth):
        value = [value]
    return value


ODD = [
    {"session_id": "no uuid"},
    {"session_id": "x" * 10_000},
    {"session_id": "".join(random.Random(1).choices("abcdefghijklmnopqrstuvwxyz0123456789", k=10_000))},  # noqa: S311  no secret
    {"session_id": "a\x00b"},
    {"session_id": "../../x", "transcript_path": "/a/../\x00/\ud800/x.jsonl"},
    {"session_id": "\ud800"},
    {"session_id": SDK_SESSION.upper()},
    {"hook_event_name": "H" * 10_000},
    {"hook_event_name": "\x00\ud800"},
    {"cwd": "../relative"},
    {"cwd": 5},
    {"cwd": "/" + "d/" * 3_000},
    {"cwd": "/\x00\ud800"},
    {"hook_event_name": "SubagentStart", "agent_id": {"a": 1}, "agent_type": []},
    {"hook_event_name": "SubagentStart", "agent_id": "\x00" * 300, "agent_type": "\ud800" * 300},
    {"hook_event_name": "PreToolUse", "tool_input": "a text", "tool_use_id": ["no", "text"], "tool_name": 1e300},
    {"hook_event_name": "PostToolUse", "tool_use_id": "t" * 1000, "tool_response": [None], "duration_ms": 1e300},
    {"hook_event_name": "PostToolUse", "tool_use_id": "t", "tool_response": "\x00\ud800", "duration_ms": -(2**61)},
    {"hook_event_name": "PostToolBatch", "tool_calls": [[]]},
    {"hook_event_name": "PostToolBatch", "tool_calls": [{"tool_use_id": {"deep": nested(490)}}]},
    {"hook_event_name": "MessageDisplay", "message_id": "m", "index": {"no": "index"}},
    {"hook_event_name": "Notification", "notification_type": ["permission_prompt"]},
    {"hook_event_name": "Stop", "last_assistant_message": {"no": "text"}, "transcript_path": "\x00"},
    {"tool_input": nested(490)},
]


class TestPayloads:
    @pytest.mark.parametrize("payload", ODD, ids=range(len(ODD)))
    async def test_whatever_is_in_one_it_blocks_nothing(self, settings: Settings, payload: dict[str, Any]) -> None:
        wanted = {"SESSION_DB_SESSION": "a slug", "SESSION_DB_CHECKPOINT": "99999999999999999999", "SESSION_DB_AGENT_TYPE": "\x00" * 300}
        put(settings, "ThoughtBegan", wanted, **payload)
        put(settings, "Stop")
        report = await drain(settings)
        assert report.events + report.bad == 2
        assert spool_of(settings).state().waiting == 0
        assert "Stop" in [event.event_type for event in await events()]

    @pytest.mark.parametrize(
        "more",
        [
            '"x": 1e400',
            '"x": ' + "9" * 10_000,
            '"x": 1, "x": 2',
            '"x": NaN',
            '"x": ' + "[" * 499 + "]" * 499,
            '"x": ' + "[" * 501 + "]" * 501,
        ],
        ids=["1e400", "digits", "twice", "NaN", "499 deep", "501 deep"],
    )
    async def test_json_that_python_would_not_write_is_kept_as_it_is_or_set_aside(self, settings: Settings, more: str) -> None:
        payload = f'{{"session_id": "{SDK_SESSION}", "hook_event_name": "PreToolUse", "tool_use_id": "t", {more}}}'
        spool_of(settings).put(payload.encode(), {}, HOST)
        report = await drain(settings)
        assert (report.events, report.bad) in ((1, 0), (0, 1))
        if report.events:
            async with async_session() as db:
                assert await db.scalar(text("SELECT payload::text FROM agent_logs WHERE event_category = 'hook'")) == payload

    @pytest.mark.parametrize("nanoseconds", [0, -(10**18), 4 * 10**18, 10**20, 10**30], ids=["1970", "1938", "2096", "year 5138", "never"])
    async def test_a_clock_that_is_wrong_never_puts_a_session_ahead_of_now(self, settings: Settings, nanoseconds: int) -> None:
        put(settings, "ThoughtBegan")
        name = put(settings, "Stop")
        file = spool_of(settings).directory / "new" / name
        header, _, payload = file.read_bytes().partition(b"\n\n")
        lines = [line for line in header.splitlines() if not line.startswith(b"captured_at=")]
        file.write_bytes(b"\n".join([b"captured_at=%d" % nanoseconds, *lines]) + b"\n\n" + payload)
        report = await drain(settings)
        assert report.events + report.bad == 2
        async with get_async_session() as db:
            session = await crud.get_session(db, SESSION)
        assert session is not None
        assert session.last_activity <= datetime.now(UTC)
        assert session.created_at <= datetime.now(UTC)


class TestTwice:
    @pytest.mark.parametrize(
        ("name", "first", "second"),
        [
            ("SubagentStop", {"last_assistant_message": "one"}, {"last_assistant_message": "two"}),
            ("SubagentStart", {"prompt_id": "p"}, {"prompt_id": "q"}),
            ("UserPromptSubmit", {"prompt_id": "p", "prompt": "one"}, {"prompt_id": "p", "prompt": "two"}),
            ("PreToolUse", {"tool_use_id": "t", "prompt_id": "p"}, {"tool_use_id": "t", "prompt_id": "q"}),
            ("MessageDisplay", {"message_id": "m", "index": 0, "final": False}, {"message_id": "m", "index": 0, "final": True}),
            ("Notification", {"message": "wait"}, {"message": "wait"}),
            ("PermissionRequest", {"tool_name": "Bash"}, {"tool_name": "Bash"}),
        ],
        ids=lambda value: value if isinstance(value, str) else "",
    )
    async def test_what_happened_twice_stands_twice(
        self, settings: Settings, name: str, first: dict[str, Any], second: dict[str, Any]
    ) -> None:
        about = {"agent_id": "a1", "agent_type": "Explore"} if name.startswith("Subagent") else {}
        for more in (first, second):
            put(settings, name, None, **about, **more)
        assert (await drain(settings)).events == 2

    async def test_captured_on_two_ways_it_stands_once_whatever_the_order_of_its_fields(self, settings: Settings) -> None:
        put(settings, "SubagentStop", agent_id="a1", agent_type="Explore", last_assistant_message="é\ud800")
        fields = {"last_assistant_message": "é\ud800", "agent_type": "Explore", "agent_id": "a1", "cwd": "/home/dev/demo"}
        payload = fields | {"hook_event_name": "SubagentStop", "session_id": SDK_SESSION}
        spool_of(settings).put(json.dumps(payload, indent=1).encode(), {}, "another name of the host")
        assert (await drain(settings)).events == 1

    async def test_the_end_of_a_compaction_is_no_end_of_the_agent(self, settings: Settings) -> None:
        put(settings, "UserPromptSubmit", prompt_id="p")
        put(settings, "SubagentStop", agent_id="compact", agent_type="")
        await drain(settings)
        async with get_async_session() as db:
            (main,) = await crud.list_agents(db, SESSION)
        assert (main.status, main.completed_at) == ("executing", None)

    @pytest.mark.parametrize("at_once", [True, False])
    async def test_an_end_is_told_however_the_events_are_batched(self, settings: Settings, at_once: bool) -> None:
        for name, more in [("UserPromptSubmit", {"prompt_id": "p"}), ("SessionEnd", {}), ("SessionStart", {"source": "resume"})]:
            put(settings, name, None, **more)
            if not at_once:
                await drain(settings)
        await drain(settings)
        async with get_async_session() as db:
            phases = await crud.list_agent_logs(db, SESSION, event_category="phase")
            session = await crud.get_session(db, SESSION)
        assert [phase.content for phase in phases] == ["terminated"]
        assert session is not None
        assert (session.status, session.completed_at) == ("idle", None)


class TestDatabase:
    async def test_one_that_refuses_to_write_loses_no_event(self, settings: Settings, fresh_database: Database) -> None:
        put(settings, "Stop")
        async with fresh_database.connected() as connection:
            await connection.execute("ALTER TABLE agent_logs RENAME TO away")
            with pytest.raises(DBAPIError):
                await drain(settings)
            await connection.execute("ALTER TABLE away RENAME TO agent_logs")
        state = spool_of(settings).state()
        assert (state.waiting, state.bad) == (1, 0)
        assert (await drain(settings)).events == 1


class TestAdoption:
    async def test_events_of_an_adopted_session_go_on_in_the_workflow(self, settings: Settings) -> None:
        put(settings, "UserPromptSubmit", prompt_id="p")
        put(settings, "SubagentStart", agent_id="a1", agent_type="Explore")
        await drain(settings)
        async with get_async_session() as db:
            workflow = await make_session(db, session_slug="2026-01-15_auth", working_dir="/home/dev")
            agent = await crud.create_agent(db, AgentCreate(session_id=workflow.id, agent_type="build", sdk_session_id=SDK_SESSION))
        put(settings, "PreToolUse", agent_id="a1", agent_type="Explore", tool_use_id="t")
        put(settings, "Stop", {"SESSION_DB_SESSION": "elsewhere"})
        await drain(settings)
        told = await events(workflow.id)
        assert [event.event_type for event in told] == ["UserPromptSubmit", "SubagentStart", "PreToolUse", "Stop"]
        assert told[1].agent_id == told[2].agent_id != agent.id == told[3].agent_id


def recorded_hooks() -> list[dict[str, Any]]:
    """Return the hooks of the recorded session that has a transcript, in an order in which they may come."""
    order = ["SessionStart", "UserPromptSubmit", "SubagentStart", "PreToolUse", "PostToolUse", "PostToolBatch", "SubagentStop", "Stop"]
    found = [case["payload"] for path in sorted(HOOKS.glob("[A-Z]*.json")) for case in json.loads(path.read_text())]
    found = [payload for payload in found if payload["session_id"] == str(BACKGROUND)]
    places = {name: number for number, name in enumerate(order)}
    return sorted(found, key=lambda payload: places.get(payload["hook_event_name"], 100 * (payload["hook_event_name"] == "SessionEnd")))


class TestOrder:
    @pytest.fixture
    def transcript(self, tmp_path: Path) -> Path:
        return copy_of(BACKGROUND, tmp_path / "claude" / "projects")

    async def test_hooks_first_transcript_first_and_interleaved_give_the_same_rows(
        self, settings: Settings, transcript: Path, postgres: Any, template: Database
    ) -> None:
        found = {}
        for order in ("hooks first", "transcript first", "interleaved"):
            async with postgres.own("order", template.name) as database:
                own = database.settings.model_copy(update={"home": settings.home / order, "claude_dirs": settings.claude_dirs})
                if order == "transcript first":
                    await import_recordings([transcript])
                for payload in recorded_hooks():
                    spool_of(own).put(json.dumps(payload | {"transcript_path": str(transcript)}).encode(), {}, HOST)
                    if order == "interleaved":
                        await drain(own)
                await drain(own)
                found[order] = await rows_without_clocks()
        assert len(found["hooks first"]["agent_logs"]) > len(recorded_hooks()) == 25
        for table, rows in found["hooks first"].items():
            assert rows == found["transcript first"][table], table
            assert rows == found["interleaved"][table], table


class TestKills:
    """Real processes, ended at moments that nobody chose."""

    SESSIONS = tuple(str(UUID(int=number)) for number in range(1, 5))

    def fill(self, settings: Settings, count: int) -> None:
        for number in range(count):
            put(settings, "PreToolUse", session_id=self.SESSIONS[number % 4], tool_use_id=f"t{number}", tool_name="Bash")

    def start(self, settings: Settings, database: Database, *arguments: str) -> subprocess.Popen[bytes]:
        environment = database.environment | {"SESSION_DB_HOME": str(settings.home)}
        return subprocess.Popen(
            [COMMAND, *arguments], env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, stdin=subprocess.DEVNULL
        )

    async def check(self, count: int) -> None:
        for place, session_id in enumerate(self.SESSIONS):
            async with get_async_session() as db:
                told = list(await crud.list_agent_logs(db, UUID(session_id), limit=1000))
            assert [event.event_index for event in told] == list(range(len(told)))
            assert [event.tool_use_id for event in told] == [f"t{number}" for number in range(place, count, 4)]

    async def test_a_drain_that_is_killed_again_and_again_loses_and_doubles_nothing(
        self, settings: Settings, fresh_database: Database
    ) -> None:
        count, new = 2000, spool_of(settings).directory / "new"
        self.fill(settings, count)
        chance = random.Random()  # noqa: S311  no secret
        kills = 0
        while waiting := len(list(new.iterdir())):
            process = self.start(settings, fresh_database, "drain")
            limit = chance.randrange(max(0, waiting - 400), waiting + 1)
            while process.poll() is None and len(list(new.iterdir())) >= limit:
                await asyncio.sleep(0.001)
            kills += process.poll() is None
            process.send_signal(signal.SIGKILL)
            process.wait()
            assert (await count_of_events()) + len(list(new.iterdir())) >= count
        assert kills > 1
        await self.check(count)

    async def test_two_drains_and_a_service_at_once_write_each_event_once(self, settings: Settings, fresh_database: Database) -> None:
        count = 2000
        self.fill(settings, count)
        service = self.start(settings, fresh_database, "serve", "--port", "0")
        drains = [self.start(settings, fresh_database, "drain") for _ in range(2)]
        try:
            async with asyncio.timeout(60):
                while spool_of(settings).state().waiting:
                    await asyncio.sleep(0.1)
            assert [process.wait(30) for process in drains] == [0, 0]
            put(settings, "PreToolUse", session_id=self.SESSIONS[0], tool_use_id=f"t{count}")
            async with asyncio.timeout(60):
                while spool_of(settings).state().waiting:
                    await asyncio.sleep(0.1)
        finally:
            for process in [service, *drains]:
                process.terminate()
                process.wait(30)
        await self.check(count + 1)
