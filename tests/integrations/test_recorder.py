"""What a program's agent leaves in the database, told by the SDK's own messages and hooks; `make e2e` installs the SDK and runs this."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import aclosing
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import pytest
from pydantic import SecretStr
from sqlalchemy import select
from sqlmodel import col

from session_db import crud
from session_db.capture.drain import drain
from session_db.capture.spool import spool_of
from session_db.crud.transcripts import list_transcripts
from session_db.database import async_session, close_db, get_async_session
from session_db.errors import InvalidInput
from session_db.integrations.claude_agent_sdk import PostgresSessionStore, record, recorded, recorder
from session_db.models import Agent, AgentLog
from session_db.settings import get_settings, use_settings
from tests.factories import make_session

sdk = pytest.importorskip("claude_agent_sdk", reason="needs the Claude Agent SDK: make e2e")

pytestmark = [pytest.mark.e2e, pytest.mark.usefixtures("fresh_database")]


@pytest.fixture(autouse=True)
def _home(fresh_database: Any, tmp_path: Path) -> None:
    use_settings(get_settings().model_copy(update={"home": tmp_path / "home"}))


def hook(session_id: UUID, name: str, **values: Any) -> dict[str, Any]:
    common = {"session_id": str(session_id), "hook_event_name": name, "cwd": "/home/dev/demo", "prompt_id": "p"}
    return common | {"transcript_path": f"/home/dev/.claude/projects/-home-dev-demo/{session_id}.jsonl"} | values


def result(session_id: UUID, total: float, **values: Any) -> Any:
    known: dict[str, Any] = {
        "subtype": "success", "duration_ms": 1200, "duration_api_ms": 900, "is_error": False, "num_turns": 1, "total_cost_usd": total,
    }  # fmt: skip
    return sdk.ResultMessage(session_id=str(session_id), **known | values)


def said(session_id: UUID, text: str) -> dict[str, Any]:
    message = {"role": "user", "content": text}
    return {"type": "user", "uuid": str(uuid4()), "sessionId": str(session_id), "timestamp": "2026-11-22T10:00:00Z", "message": message}


async def tell(options: Any, payload: dict[str, Any]) -> list[Any]:
    """Call the hooks of these options as the SDK does, and return their answers."""
    context: Any = {"signal": None}
    return [await call(payload, None, context) for matcher in options.hooks[payload["hook_event_name"]] for call in matcher.hooks]


async def given(*messages: Any) -> AsyncIterator[Any]:
    for message in messages:
        yield message


async def agents_of(session_id: UUID) -> list[Agent]:
    async with async_session() as db:
        return list((await db.execute(select(Agent).where(col(Agent.session_id) == session_id))).scalars())


class TestRecord:
    async def test_the_options_themselves_stay_as_they_are(self) -> None:
        async def own(*_: Any) -> dict[str, Any]:
            return {}

        theirs = sdk.HookMatcher(matcher="Bash", hooks=[own])
        options = sdk.ClaudeAgentOptions(model="m", env={"A": "1"}, hooks={"PreToolUse": [theirs]})
        ours = record(options)
        assert (options.env, options.session_store, options.hooks) == ({"A": "1"}, None, {"PreToolUse": [theirs]})
        assert ours.model == "m"
        assert ours.env == {"A": "1", "SESSION_DB_RECORDER": "1"}
        assert isinstance(ours.session_store, PostgresSessionStore)
        assert ours.hooks["PreToolUse"][0] is theirs
        assert {"PreToolUse", "PostToolUse", "UserPromptSubmit", "Stop", "SubagentStop"} <= set(ours.hooks)
        assert "WorktreeCreate" not in ours.hooks

    async def test_another_store_is_refused(self) -> None:
        with pytest.raises(InvalidInput, match="InMemorySessionStore already; leave it out"):
            record(sdk.ClaudeAgentOptions(session_store=sdk.InMemorySessionStore()))

    async def test_an_event_is_in_the_database_when_the_messages_end(self) -> None:
        session_id = uuid4()
        options = record()
        assert await tell(options, hook(session_id, "UserPromptSubmit", prompt="Hello")) == [{}]
        assert [message async for message in recorded(given("one", "two"))] == ["one", "two"]
        async with async_session() as db:
            session = await crud.get_session(db, session_id)
            events = await crud.list_agent_logs(db, session_id)
        assert session is not None
        assert session.status == "active"
        assert [(event.event_type, event.content) for event in events] == [("UserPromptSubmit", "Hello")]

    async def test_the_agent_is_one_of_the_session_that_is_named(self) -> None:
        async with get_async_session() as db:
            workflow = await make_session(db, session_type="full", session_slug="feature", working_dir="/home/dev/demo")
        here = sdk.ClaudeAgentOptions(cwd="/home/dev/demo/src")
        for options in (
            record(here, session="feature", agent_type="plan", checkpoint_id=3),
            record(session=workflow.id, agent_type="build"),
        ):
            session_id = uuid4()
            await tell(options, hook(session_id, "UserPromptSubmit", prompt="Plan it"))
            await drain(get_settings())
            await options.session_store.append({"project_key": "p", "session_id": str(session_id)}, [said(session_id, "Plan it")])
        agents = await agents_of(workflow.id)
        assert sorted((agent.agent_type, agent.checkpoint_id) for agent in agents) == [("build", None), ("plan", 3)]

    async def test_the_store_alone_makes_the_same_agent(self) -> None:
        async with get_async_session() as db:
            workflow = await make_session(db, session_type="full", session_slug="feature", working_dir="/home/dev/demo")
        here = sdk.ClaudeAgentOptions(cwd="/home/dev/demo/src")
        options, session_id = record(here, session="feature", agent_type="plan", checkpoint_id=3), uuid4()
        await options.session_store.append({"project_key": "p", "session_id": str(session_id)}, [said(session_id, "Plan it")])
        (agent,) = await agents_of(workflow.id)
        assert (agent.agent_type, agent.checkpoint_id, agent.sdk_session_id) == ("plan", 3, str(session_id))

    async def test_its_transcript_is_not_read_from_the_file_as_well(self, tmp_path: Path) -> None:
        session_id = uuid4()
        file = tmp_path / "claude" / "projects" / "-p" / f"{session_id}.jsonl"
        file.parent.mkdir(parents=True)
        file.write_text("", encoding="utf-8")
        use_settings(get_settings().model_copy(update={"claude_dirs": str(tmp_path / "claude")}))
        await tell(record(), hook(session_id, "Stop", transcript_path=str(file)))
        report = await drain(get_settings())
        assert report.transcripts == set()

    async def test_without_a_database_it_waits_in_the_spool(self, tmp_path: Path) -> None:
        gone = get_settings().model_copy(update={"url": SecretStr("postgresql://nobody@127.0.0.1:1/none")})
        use_settings(gone)
        assert await tell(record(), hook(uuid4(), "Stop")) == [{}]
        assert [message async for message in recorded(given("one"))] == ["one"]
        await close_db()
        assert spool_of(gone).state().waiting == 1

    async def test_an_unwritable_spool_does_not_stop_the_agent(self, tmp_path: Path) -> None:
        (tmp_path / "file").touch()
        use_settings(get_settings().model_copy(update={"home": tmp_path / "file"}))
        assert await tell(record(), hook(uuid4(), "Stop")) == [{}]


class TestRecorded:
    async def test_a_turn_that_failed_says_why(self) -> None:
        session_id = uuid4()
        options = record()
        await tell(options, hook(session_id, "UserPromptSubmit", prompt="Hello"))
        failed = result(
            session_id, 0.5, subtype="error_during_execution", is_error=True, terminal_reason="aborted_tools", errors=["it broke"]
        )
        assert [message async for message in recorded(given(failed))] == [failed]
        (agent,) = await agents_of(session_id)
        assert (agent.status, agent.error_message, agent.sdk_session_id) == ("failed", "it broke", str(session_id))

    async def test_the_cost_that_the_client_sums_up_is_not_summed_up_again(self) -> None:
        session_id = uuid4()
        options = record()
        key: Any = {"project_key": "p", "session_id": str(session_id)}
        for total in (0.25, 0.75):
            await options.session_store.append(key, [said(session_id, "Hello")])
            assert [message async for message in recorded(given(result(session_id, total)))]
        again = record()
        # As the SDK does before it resumes the client, which counts from nothing then.
        await again.session_store.load(key)
        await again.session_store.append(key, [said(session_id, "Once more")])
        assert [message async for message in recorded(given(result(session_id, 0.5)))]
        async with async_session() as db:
            session = await crud.get_session(db, session_id)
        assert session is not None
        assert session.reported_cost == 1.25
        assert session.total_cost == 0

    @pytest.mark.parametrize("how", ["cancelled", "left"])
    async def test_whoever_leaves_before_the_end_waits_for_nothing(self, how: str, monkeypatch: pytest.MonkeyPatch) -> None:
        async def never(*_: Any, **__: Any) -> None:
            await asyncio.sleep(60)

        monkeypatch.setattr(recorder, "drain", never)
        closed = asyncio.Event()

        async def endless() -> AsyncIterator[Any]:
            try:
                yield result(uuid4(), 0.5)
                await asyncio.sleep(60)
            finally:
                closed.set()

        async def use() -> None:
            async with aclosing(recorded(endless())) as messages:
                async for _ in messages:
                    if how == "left":
                        break

        began = time.monotonic()
        task = asyncio.create_task(use())
        await asyncio.sleep(0.5)
        task.cancel()
        await asyncio.wait([task])
        # The rest would take a minute.
        assert time.monotonic() - began < 30
        assert closed.is_set()
        await close_db()

    async def test_a_batch_that_the_sdk_lost_is_a_gap(self) -> None:
        session_id = uuid4()
        options = record()
        key: Any = {"project_key": "p", "session_id": str(session_id)}
        await options.session_store.append(key, [said(session_id, "Hello")])
        lost = sdk.MirrorErrorMessage(subtype="mirror_error", data={}, key=key, error="no answer")
        assert [message async for message in recorded(given(lost))] == [lost]
        async with async_session() as db:
            (stream,) = await list_transcripts(db, session_id)
            events = (await db.execute(select(col(AgentLog.event_type)).where(col(AgentLog.session_id) == session_id))).scalars().all()
        assert stream.gaps == 1
        assert "MirrorErrorMessage" in events
