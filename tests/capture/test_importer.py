"""Importing recorded runs, as they are."""

import base64
import json
import os
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import func, select
from sqlmodel import col

from session_db import crud
from session_db.capture.importer import import_recordings
from session_db.crud.transcripts import list_transcripts
from session_db.database import UnitOfWork, async_session, get_async_session
from session_db.errors import NotFound
from session_db.models import Agent, AgentCreate, Session, SessionCreate, SessionRead, SessionUpdate, Usage
from tests.capture.recorded import (
    BACKGROUND,
    BEFORE_CLEAR,
    CLEARED,
    COMPACTED,
    FOREGROUND,
    FORK,
    TRANSCRIPTS,
    changed,
    copy_of,
    entries_of,
    recording,
    stored_lines,
    write_entries,
)

pytestmark = pytest.mark.usefixtures("fresh_database")

TOKENS = {
    "inputTokens": "input_tokens",
    "outputTokens": "output_tokens",
    "cacheReadInputTokens": "cache_read_tokens",
    "cacheCreationEphemeral5mInputTokens": "cache_write_5m_tokens",
    "cacheCreationEphemeral1hInputTokens": "cache_write_1h_tokens",
}


async def session_of(session_id: UUID) -> Session:
    async with async_session() as db:
        session = await crud.get_session(db, session_id)
        assert session is not None
        return session


async def usage_totals(db: UnitOfWork, session_id: UUID) -> dict[str, Any]:
    columns = [func.coalesce(func.sum(getattr(Usage, name)), 0).label(name) for name in (*TOKENS.values(), "computed_cost")]
    row = (await db.execute(select(func.count().label("calls"), *columns).where(col(Usage.session_id) == session_id))).one()
    return dict(row._mapping)


class TestCosts:
    @pytest.mark.parametrize("session_id", [FOREGROUND, BACKGROUND, CLEARED, BEFORE_CLEAR])
    async def test_usage_rows_sum_to_what_the_client_reports(self, session_id: UUID) -> None:
        reported = [entry for entry in entries_of(recording(session_id)) if entry["type"] == "cost-state"][-1]
        await import_recordings([recording(session_id)])
        async with async_session() as db:
            totals = await usage_totals(db, session_id)
        by_model = list(reported["modelUsage"].values())
        for theirs, ours in TOKENS.items():
            assert int(totals[ours]) == sum(usage[theirs] for usage in by_model), ours
        assert float(totals["computed_cost"]) == pytest.approx(reported["totalCostUSD"], abs=1e-6)
        session = await session_of(session_id)
        assert session.reported_cost == pytest.approx(reported["totalCostUSD"], abs=1e-9)
        assert SessionRead.model_validate(session).unattributed_cost == pytest.approx(0, abs=1e-6)

    async def test_a_compaction_shows_one_unattributed_call(self) -> None:
        await import_recordings([recording(COMPACTED)])
        async with async_session() as db:
            totals = await usage_totals(db, COMPACTED)
        session = SessionRead.model_validate(await session_of(COMPACTED))
        one_call = session.total_cost / 3
        assert totals["calls"] == 3
        assert session.unattributed_cost == pytest.approx(one_call, abs=1e-6)

    async def test_a_fork_pays_for_its_own_call_only(self) -> None:
        await import_recordings([recording(FORK)])
        async with async_session() as db:
            totals = await usage_totals(db, FORK)
        session = SessionRead.model_validate(await session_of(FORK))
        assert totals["calls"] == 1
        assert session.total_cost == pytest.approx(0.00824, abs=1e-6)
        assert session.forked_from == COMPACTED
        assert session.unattributed_cost is None, "the report includes what was spent before the fork"

    async def test_a_fork_that_the_sdk_made_pays_for_its_own_calls_only(self, tmp_path: Path) -> None:
        fork, own_call = UUID(int=1), {"uuid": "own", "sessionId": str(UUID(int=1))}
        path = tmp_path / "p" / f"{fork}.jsonl"
        path.parent.mkdir()
        entries = [entry for entry in entries_of(recording(CLEARED)) if entry["type"] in {"user", "assistant"}]
        copies = [
            {name: value for name, value in entry.items() if name != "requestSessionId"}
            | {"uuid": f"copy-{n}", "sessionId": str(fork), "forkedFrom": {"sessionId": str(CLEARED), "messageUuid": entry["uuid"]}}
            for n, entry in enumerate(entries)
        ]
        answer = copies[-1] | own_call | {"message": copies[-1]["message"] | {"id": "msg_own"}}
        write_entries(path, [*copies, {name: value for name, value in answer.items() if name != "forkedFrom"}])
        await import_recordings([path])
        async with async_session() as db:
            assert (await usage_totals(db, fork))["calls"] == 1
        assert (await session_of(fork)).forked_from == CLEARED

    async def test_totals_are_the_sum_over_agents_and_usage(self) -> None:
        await import_recordings([TRANSCRIPTS])
        async with async_session() as db:
            for session in await crud.list_sessions(db):
                agents = await crud.list_agents(db, session.id)
                assert session.total_cost == pytest.approx(sum(agent.cost for agent in agents), abs=1e-9)
                assert session.total_output_tokens == sum(agent.output_tokens for agent in agents)
                assert session.total_cost == pytest.approx(float((await usage_totals(db, session.id))["computed_cost"]), abs=1e-9)


class TestRecord:
    async def test_agents_are_the_main_thread_and_every_sub_agent(self) -> None:
        await import_recordings([recording(BACKGROUND)])
        async with async_session() as db:
            main, sub_agent = await crud.list_agents(db, BACKGROUND)
        assert (main.agent_type, main.status, main.sdk_session_id) == ("main", "complete", str(BACKGROUND))
        assert (sub_agent.agent_type, sub_agent.name, sub_agent.status) == ("general-purpose", "Look around", "complete")
        assert sub_agent.parent_agent_id == main.id

    async def test_calls_are_paired_with_their_results(self) -> None:
        await import_recordings([recording(BACKGROUND)])
        async with async_session() as db:
            events = await crud.list_agent_logs(db, BACKGROUND, limit=1000)
        calls = {event.tool_use_id: event for event in events if event.event_type == "ToolUseBlock"}
        results = {event.tool_use_id: event for event in events if event.event_type == "ToolResultBlock"}
        assert calls.keys() == results.keys()
        assert len(calls) == 7
        for tool_use_id, result in results.items():
            call = calls[tool_use_id]
            assert result.tool_name == call.tool_name
            assert result.duration_ms == round((result.timestamp - call.timestamp).total_seconds() * 1000)
        failed = [result for result in results.values() if result.payload.get("is_error")]
        assert [(result.tool_name, result.tool_output) for result in failed] == [("Bash", "Exit code 3\noops")]

    async def test_conversation_is_what_was_typed_and_answered(self) -> None:
        await import_recordings([recording(BACKGROUND)])
        async with async_session() as db:
            messages = await crud.load_messages_paginated(db, BACKGROUND)
        assert [(message["role"], message["content"]) for message in messages] == [
            ("user", "[[MAIN]] please write hello.txt"),
            ("assistant", "I'll write a file."),
            ("assistant", "Now two tools at once."),
            ("assistant", "A command that fails."),
            ("assistant", "Delegating."),
            ("assistant", "All done: wrote hello.txt."),
            ("assistant", "All done: wrote hello.txt."),
        ]

    async def test_compaction_and_local_commands_are_no_conversation(self) -> None:
        await import_recordings([recording(COMPACTED)])
        async with async_session() as db:
            messages = await crud.load_messages_paginated(db, COMPACTED)
        assert [message["content"] for message in messages] == ["[[X]] go", "first", "[[X]] go", "second", "[[X]] go", "third"]

    async def test_session_says_where_and_with_what_it_ran(self) -> None:
        await import_recordings([recording(BACKGROUND)])
        session = await session_of(BACKGROUND)
        assert session.session_type == "chat"
        assert session.status == "idle"
        assert session.working_dir == "/home/dev/demo"
        assert session.current_project == "demo"
        assert session.model_name == "claude-opus-5-5"
        assert session.title == "[[MAIN]] please write hello.txt"
        assert session.metadata_ == {"git_branch": "main", "client_version": "2.1.330", "entrypoint": "sdk-cli"}
        assert session.created_at < session.last_activity

    async def test_answer_in_several_lines_is_one_message(self, tmp_path: Path) -> None:
        path = copy_of(BACKGROUND, tmp_path)

        def second_paragraph(entries: list[dict[str, Any]]) -> None:
            place = next(number for number, entry in enumerate(entries) if entry.get("uuid", "").startswith("f5871af8"))
            more = json.loads(json.dumps(entries[place]))
            more["uuid"] = "f5871af8-0000-4000-8000-000000000000"
            more["message"]["content"][0]["text"] = "And then I read it."
            entries.insert(place + 1, more)

        changed(path, second_paragraph)
        await import_recordings([path])
        async with async_session() as db:
            messages = await crud.load_messages_paginated(db, BACKGROUND)
        assert messages[1]["content"] == "I'll write a file.\n\nAnd then I read it."


class TestLossless:
    async def test_every_stream_reads_back_as_its_file(self) -> None:
        await import_recordings([TRANSCRIPTS])
        for path in TRANSCRIPTS.rglob("*.jsonl"):
            inside = path.parts.index("subagents") if "subagents" in path.parts else None
            session_id = UUID(path.stem if inside is None else path.parts[inside - 1])
            subpath = "" if inside is None else f"subagents/{path.stem}"
            assert await stored_lines(session_id, subpath) == path.read_text().splitlines()

    async def test_meta_and_tool_results_come_along(self, tmp_path: Path) -> None:
        path = copy_of(BACKGROUND, tmp_path)
        folder = path.with_suffix("") / "tool-results"
        folder.mkdir()
        output = os.urandom(2_500_000)
        (folder / "toolu_1.txt").write_bytes(output)
        (folder / "toolu_2.txt").write_text("plain\x00text")
        meta = next(path.with_suffix("").glob("subagents/*.meta.json")).read_text()
        await import_recordings([path])
        async with async_session() as db:
            streams = {stream.subpath: stream for stream in await list_transcripts(db, BACKGROUND)}
        assert streams["subagents/agent-a28bce1e4c15629df"].meta == json.loads(meta)
        chunks = [json.loads(line) for line in await stored_lines(BACKGROUND, "tool-results/toolu_1.txt")]
        assert b"".join(base64.b64decode(chunk["data"]) for chunk in chunks) == output
        assert json.loads((await stored_lines(BACKGROUND, "tool-results/toolu_2.txt"))[0])["data"] == "plain\x00text"


class TestBinding:
    async def test_an_agent_with_the_sdk_session_gets_its_events(self) -> None:
        async with get_async_session() as db:
            workflow = await crud.create_session(db, SessionCreate(session_slug="2026-01-15_auth-feature", working_dir="/work/project"))
            agent = await crud.create_agent(db, AgentCreate(session_id=workflow.id, agent_type="build", sdk_session_id=str(BACKGROUND)))
        report = await import_recordings([recording(BACKGROUND)])
        assert report.session_ids == [workflow.id]
        async with async_session() as db:
            assert await crud.get_session(db, BACKGROUND) is None
            agents = await crud.list_agents(db, workflow.id)
            events = await crud.list_agent_logs(db, workflow.id, agent_id=agent.id, limit=1000)
            session = await crud.get_session(db, workflow.id)
        assert [row.agent_type for row in agents] == ["build", "general-purpose"]
        assert len(events) == 19
        assert session is not None
        assert (session.status, session.title) == ("created", None)
        assert session.total_cost == pytest.approx(0.07584, abs=1e-6)

    async def test_an_imported_session_is_adopted_and_its_file_goes_on_there(self, tmp_path: Path) -> None:
        path = copy_of(BACKGROUND, tmp_path)
        whole = path.read_bytes()
        path.write_bytes(b"".join(whole.splitlines(keepends=True)[:60]))
        await import_recordings([path])
        async with get_async_session() as db:
            workflow = await crud.create_session(db, SessionCreate(session_slug="2026-01-15_auth-feature", working_dir="/work/project"))
            agent = await crud.create_agent(db, AgentCreate(session_id=workflow.id, agent_type="build", sdk_session_id=str(BACKGROUND)))
        path.write_bytes(whole)
        report = await import_recordings([path])
        assert (report.session_ids, report.sessions_updated) == ([workflow.id], 1)
        assert await stored_lines(workflow.id) == whole.decode().splitlines()
        assert (await import_recordings([path])).entries == 0
        async with async_session() as db:
            assert await crud.get_session(db, BACKGROUND) is None
            agents = await crud.list_agents(db, workflow.id)
            events = await crud.list_agent_logs(db, workflow.id, limit=1000)
            messages = await crud.load_messages_paginated(db, workflow.id)
        assert [row.agent_type for row in agents] == ["general-purpose", "build"]
        assert agents[0].parent_agent_id == agent.id
        assert [event.event_index for event in events] == list(range(23))
        assert [message["message_index"] for message in messages] == list(range(7))
        session = await session_of(workflow.id)
        assert session.total_cost == pytest.approx(0.07584, abs=1e-9)
        assert session.total_cost == pytest.approx(sum(row.cost for row in agents), abs=1e-9)

    async def test_a_deleted_session_stays_deleted_unless_told(self) -> None:
        await import_recordings([recording(CLEARED)])
        async with get_async_session() as db:
            await crud.delete_session(db, CLEARED)
        report = await import_recordings([recording(CLEARED)])
        assert (report.sessions_deleted, report.entries) == (1, 0)
        async with async_session() as db:
            assert await crud.get_session(db, CLEARED) is None
        restored = await import_recordings([recording(CLEARED)], restore_deleted=True)
        assert restored.sessions_new == 1
        assert await stored_lines(CLEARED) == recording(CLEARED).read_text().splitlines()

    async def test_a_deleted_session_stays_deleted_under_another_spelling_of_its_id(self, tmp_path: Path) -> None:
        path = copy_of(CLEARED, tmp_path)
        await import_recordings([path])
        async with get_async_session() as db:
            await crud.delete_session(db, CLEARED)
        report = await import_recordings([path.rename(path.with_stem(path.stem.upper()))])
        assert (report.sessions_deleted, report.entries) == (1, 0)

    async def test_a_name_that_is_no_uuid_gets_a_session_of_its_own_in_each_project(self, tmp_path: Path) -> None:
        for project in ("-work-a", "-work-b"):
            (tmp_path / project).mkdir()
            write_entries(tmp_path / project / "notes.jsonl", entries_of(recording(CLEARED)))
        report = await import_recordings([tmp_path])
        assert report.sessions_new == 2
        assert len(set(report.session_ids)) == 2

    async def test_a_title_given_by_hand_stays(self, tmp_path: Path) -> None:
        path = copy_of(CLEARED, tmp_path)
        await import_recordings([path])
        async with get_async_session() as db:
            await crud.update_session(db, CLEARED, SessionUpdate(title="Mine"))
        with path.open("a") as file:
            file.write(json.dumps({"type": "custom-title", "customTitle": "Theirs"}) + "\n")
        await import_recordings([path])
        assert (await session_of(CLEARED)).title == "Mine"


async def test_a_path_that_does_not_exist_is_named(tmp_path: Path) -> None:
    with pytest.raises(NotFound, match="nowhere"):
        await import_recordings([tmp_path / "nowhere"])


async def test_agents_model_is_what_answered_last(tmp_path: Path) -> None:
    path = copy_of(CLEARED, tmp_path)

    def other_model(entries: list[dict[str, Any]]) -> None:
        answer = json.loads(json.dumps(next(entry for entry in entries if entry["type"] == "assistant")))
        answer["uuid"] = "22222222-0000-4000-8000-000000000000"
        answer["message"] |= {"id": "msg_other", "model": "claude-unheard-of-9"}
        entries.append(answer)

    changed(path, other_model)
    await import_recordings([path])
    async with async_session() as db:
        agent = (await db.execute(select(Agent).where(col(Agent.session_id) == CLEARED))).scalar_one()
        usage = (await db.execute(select(Usage).where(col(Usage.message_id) == "msg_other"))).scalar_one()
    assert agent.model == "claude-unheard-of-9"
    assert usage.computed_cost is None
    assert usage.input_tokens == 1200
