"""What the store of the Claude Agent SDK makes of the entries that it is given."""

import asyncio
import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import pytest
from sqlalchemy import func, select
from sqlmodel import col

from session_db import crud
from session_db.capture.importer import import_recordings
from session_db.crud.sdk_sessions import get_sdk_session
from session_db.crud.transcripts import list_transcripts
from session_db.database import UnitOfWork, async_session, get_async_session
from session_db.errors import InvalidInput, NotFound, Unavailable
from session_db.integrations.claude_agent_sdk import PostgresSessionStore
from session_db.integrations.claude_agent_sdk import store as store_module
from session_db.models import METADATA, Agent, AgentLog, Message, SessionCreate, Transcript, TranscriptEntry, Usage
from tests.capture.recorded import BACKGROUND, FOREGROUND, PROJECT, copy_of, count_of, entries_of, stored_lines, write_entries
from tests.databases import Database, PostgreSQL
from tests.factories import make_session
from tests.invariants import violations

pytestmark = pytest.mark.usefixtures("fresh_database")

STORED = Path(__file__).parents[1] / "fixtures" / "claude-code" / "sdk" / "session_store_main_entries.jsonl"
STORED_FORK = STORED.with_name("session_store_fork_entries.jsonl")


def key_of(entries: list[dict[str, Any]], subpath: str | None = None) -> Any:
    session_id = next(one["sessionId"] for one in entries if "sessionId" in one)
    return {"project_key": PROJECT, "session_id": session_id} | ({"subpath": subpath} if subpath else {})


def said(text: str, **values: Any) -> dict[str, Any]:
    message = {"role": "user", "content": text}
    return {"type": "user", "uuid": str(uuid4()), "timestamp": "2026-11-22T10:00:00.000Z", "message": message} | values


def parts(entries: list[dict[str, Any]], size: int) -> Iterator[list[dict[str, Any]]]:
    return (entries[start : start + size] for start in range(0, len(entries), size))


async def record_of(session_id: UUID) -> dict[str, list[dict[str, str]]]:
    """Return a session and its rows, without its streams and without what says when and where they were made."""
    made = {"recorded_at", "created_at", "updated_at", "last_activity", "host"}
    record = {}
    async with async_session() as db:
        for table in METADATA.sorted_tables:
            key = table.columns.get("id" if table.name == "sessions" else "session_id")
            if key is None or table.name in ("transcripts", "transcript_entries", "sdk_sessions", "presence"):
                continue
            # A message's id comes from a sequence.
            columns = [column for column in table.columns if column.name not in made and (table.name, column.name) != ("messages", "id")]
            rows = await db.execute(select(*columns).where(key == session_id).order_by(*table.primary_key.columns))
            record[table.name] = [{name: str(value) for name, value in row._mapping.items()} for row in rows]
    return record


class TestTheRecord:
    @pytest.mark.parametrize("size", [1, 7, 500])
    async def test_it_is_that_of_an_import_of_the_same_entries(
        self, fresh_database: Database, postgres: PostgreSQL, template: Database, tmp_path: Path, size: int
    ) -> None:
        entries = entries_of(STORED)
        key = key_of(entries)
        store = PostgresSessionStore()
        for part in parts(entries, size):
            await store.append(key, part)
        of_store = await record_of(UUID(key["session_id"]))
        async with fresh_database.connected() as connection:
            assert await violations(connection) == []
        assert len(of_store["agent_logs"]) == 4
        assert len(of_store["usage"]) == 2
        file = tmp_path / PROJECT / f"{key['session_id']}.jsonl"
        file.parent.mkdir()
        write_entries(file, entries)
        async with postgres.own("imported", template.name):
            await import_recordings([file])
            assert await record_of(UUID(key["session_id"])) == of_store

    @pytest.mark.parametrize("session_id", [FOREGROUND, BACKGROUND])
    async def test_sub_agents_are_those_of_an_import(
        self, postgres: PostgreSQL, template: Database, tmp_path: Path, session_id: UUID
    ) -> None:
        file = copy_of(session_id, tmp_path)
        (agent_file,) = file.with_suffix("").rglob("*.jsonl")
        shutil.rmtree(file.with_suffix("") / "tool-results", ignore_errors=True)
        key: Any = {"project_key": PROJECT, "session_id": str(session_id)}
        meta = json.loads(agent_file.with_suffix(".meta.json").read_text())
        store = PostgresSessionStore()
        # The client begins a sub-agent with what it is, and the main stream goes on beside it.
        sub_key = key | {"subpath": f"subagents/{agent_file.stem}"}
        main_entries, agent_entries = entries_of(file), entries_of(agent_file)
        half = len(main_entries) // 2
        await store.append(key, main_entries[:half])
        await store.append(sub_key, [{**meta, "type": "agent_metadata"}])
        await store.append(sub_key, agent_entries)
        await store.append(key, main_entries[half:])
        of_store = await record_of(session_id)
        assert {agent["agent_type"] for agent in of_store["agents"]} == {"main", meta["agentType"]}
        async with postgres.own("imported", template.name):
            await import_recordings([file])
            of_import = await record_of(session_id)
        assert all(of_store[table] for table in ("sessions", "agents", "agent_logs", "messages", "usage"))
        # Which stream was written first decides the index, and nothing else.
        for table in of_store:
            assert sorted(map(_without_index, of_store[table])) == sorted(map(_without_index, of_import[table])), table

    async def test_a_fork_pays_for_its_own_calls_only(self) -> None:
        store = PostgresSessionStore()
        for file in (STORED, STORED_FORK):
            entries = entries_of(file)
            await store.append(key_of(entries), entries)
        main, fork = (UUID(key_of(entries_of(file))["session_id"]) for file in (STORED, STORED_FORK))
        async with async_session() as db:
            assert [await count_of(db, Usage, session_id) for session_id in (main, fork)] == [2, 1]
            session = await crud.get_session(db, fork)
        assert session is not None
        assert session.forked_from == main

    async def test_a_sub_agents_metadata_that_come_last_count(self) -> None:
        key: Any = {"project_key": "p", "session_id": str(uuid4()), "subpath": "subagents/agent-1"}
        store = PostgresSessionStore()
        await store.append(key, [said("go", isSidechain=True)])
        metadata = {"type": "agent_metadata", "agentType": "Explore", "description": "Look around"}
        await store.append(key, [metadata | {"agentType": "first"}, metadata])
        async with async_session() as db:
            agents = {agent.sdk_agent_id: agent for agent in await crud.list_agents(db, UUID(key["session_id"]))}
        assert agents["1"].agent_type == "Explore"
        assert agents["1"].name == "Look around"

    async def test_deleting_the_streams_leaves_it(self) -> None:
        entries = entries_of(STORED)
        key = key_of(entries)
        store = PostgresSessionStore()
        await store.append(key, entries)
        before = await record_of(UUID(key["session_id"]))
        await store.delete(key)
        assert await record_of(UUID(key["session_id"])) == before
        await store.append(key, entries)
        assert await record_of(UUID(key["session_id"])) == before


def _without_index(row: dict[str, str]) -> str:
    return json.dumps({name: value for name, value in row.items() if name != "event_index"})


class TestLostAnswers:
    @pytest.fixture
    def lost_answers(self, monkeypatch: pytest.MonkeyPatch) -> list[bool]:
        """Say for the next commits whether they succeed; whoever waits for one hears of a broken connection."""
        outcomes: list[bool] = []
        commit = UnitOfWork.commit

        async def committed(db: UnitOfWork) -> None:
            if not outcomes:
                await commit(db)
                return
            if outcomes.pop(0):
                await commit(db)
            raise ConnectionResetError("the answer was lost")

        monkeypatch.setattr(UnitOfWork, "commit", committed)
        return outcomes

    @pytest.mark.parametrize("committed", [[True], [False], [True, True], [False, True], [False, False]], ids=str)
    async def test_a_repeated_append_is_stored_once(self, lost_answers: list[bool], committed: list[bool]) -> None:
        key: Any = {"project_key": "p", "session_id": str(uuid4())}
        store = PostgresSessionStore()
        title = {"type": "custom-title", "customTitle": "Same"}
        await store.append(key, [title])
        entries = [title, said("first"), title, title]
        lost_answers += committed
        for _ in committed:
            with pytest.raises(ConnectionResetError):
                await store.append(key, entries)
        await store.append(key, entries)
        assert await store.load(key) == [title, *entries]
        # Only what was not answered is looked for: this is new.
        await store.append(key, entries)
        assert await store.load(key) == [title, *entries, title, title, title]
        async with async_session() as db:
            assert await count_of(db, Message, UUID(key["session_id"])) == 1

    async def test_another_writer_meanwhile_changes_nothing_about_it(self, lost_answers: list[bool]) -> None:
        key: Any = {"project_key": "p", "session_id": str(uuid4())}
        store, other = PostgresSessionStore(), PostgresSessionStore()
        title = {"type": "custom-title", "customTitle": "Same"}
        lost_answers.append(True)
        with pytest.raises(ConnectionResetError):
            await store.append(key, [title])
        await other.append(key, [title])
        await store.append(key, [title])
        assert await store.load(key) == [title, title]

    async def test_entries_that_were_known_before_are_no_part_of_the_question(self, lost_answers: list[bool]) -> None:
        key: Any = {"project_key": "p", "session_id": str(uuid4())}
        store = PostgresSessionStore()
        known, title = said("known"), {"type": "custom-title", "customTitle": "Same"}
        await store.append(key, [known])
        lost_answers.append(True)
        with pytest.raises(ConnectionResetError):
            await store.append(key, [title, known, title])
        await store.append(key, [title, known, title])
        assert await store.load(key) == [known, title, title]


class TestSummaries:
    @pytest.fixture(autouse=True)
    def counting(self, monkeypatch: pytest.MonkeyPatch) -> None:
        def fold(before: dict[str, Any], _key: Any, entries: list[Any]) -> dict[str, Any]:
            return before | {"data": {"count": before["data"].get("count", 0) + len(entries)}}

        monkeypatch.setattr(store_module, "_fold_of_the_sdk", lambda: fold)

    async def test_every_entry_is_folded_once(self) -> None:
        key: Any = {"project_key": "p", "session_id": str(uuid4())}
        store = PostgresSessionStore()
        same = said("same")
        batches = [[said(str(number)), {"type": "mode"}, same] for number in range(20)]
        await asyncio.gather(*(store.append(key, batch) for batch in batches))
        await store.append(key, [same])
        (summary,) = await store.list_session_summaries("p")
        assert summary["data"] == {"count": len(await store.load(key) or [])} == {"count": 41}

    async def test_a_failed_append_leaves_it_as_it_was(self) -> None:
        key: Any = {"project_key": "p", "session_id": str(uuid4())}
        store = PostgresSessionStore()
        await store.append(key, [said("one")])
        with pytest.raises(InvalidInput, match=r"entries\[1\].value"):
            await store.append(key, [said("two"), {"type": "x", "value": float("nan")}])
        assert [one["data"] for one in await store.list_session_summaries("p")] == [{"count": 1}]
        assert len(await store.load(key) or []) == 1

    async def test_one_that_does_not_tell_of_all_entries_is_not_given(self, tmp_path: Path) -> None:
        file = copy_of(FOREGROUND, tmp_path)
        await import_recordings([file])
        key: Any = {"project_key": PROJECT, "session_id": str(FOREGROUND)}
        store = PostgresSessionStore()
        await store.append(key, [said("on")])
        assert [one["session_id"] for one in await store.list_sessions(PROJECT)] == [str(FOREGROUND)]
        assert await store.list_session_summaries(PROJECT) == []

    async def test_a_file_that_adds_entries_ends_it(self, tmp_path: Path) -> None:
        file = copy_of(FOREGROUND, tmp_path)
        entries = entries_of(file)
        store = PostgresSessionStore()
        await store.append(key_of(entries), entries[:5])
        assert len(await store.list_session_summaries(PROJECT)) == 1
        await import_recordings([file])
        assert await store.list_session_summaries(PROJECT) == []

    async def test_without_the_sdk_there_is_none(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(store_module, "_fold_of_the_sdk", lambda: None)
        key: Any = {"project_key": "p", "session_id": str(uuid4())}
        store = PostgresSessionStore()
        await store.append(key, [said("one")])
        assert await store.list_session_summaries("p") == []
        assert len(await store.load(key) or []) == 1


class TestImportedSessions:
    async def test_they_can_be_resumed_from_the_store(self, tmp_path: Path) -> None:
        file = copy_of(FOREGROUND, tmp_path)
        (agent_file,) = file.with_suffix("").rglob("*.jsonl")
        await import_recordings([file])
        key: Any = {"project_key": PROJECT, "session_id": str(FOREGROUND)}
        store = PostgresSessionStore()
        assert await store.load(key) == entries_of(file)
        assert await store.list_subkeys(key) == [f"subagents/{agent_file.stem}"]
        meta = json.loads(agent_file.with_suffix(".meta.json").read_text())
        loaded = await store.load(key | {"subpath": f"subagents/{agent_file.stem}"})
        assert loaded == [meta | {"type": "agent_metadata"}, *entries_of(agent_file)]

    async def test_one_that_went_on_in_the_store_is_not_doubled_by_its_file(self, tmp_path: Path) -> None:
        file = copy_of(FOREGROUND, tmp_path)
        await import_recordings([file])
        key: Any = {"project_key": PROJECT, "session_id": str(FOREGROUND)}
        store = PostgresSessionStore()
        further = said("What else?", sessionId=str(FOREGROUND))
        await store.append(key, [further])
        write_entries(file, [*entries_of(file), further])
        before = len(await stored_lines(FOREGROUND))
        report = await import_recordings([file])
        assert report.entries == 0
        assert len(await stored_lines(FOREGROUND)) == before


class TestFilesOfStoredSessions:
    """A stream has one source."""

    @staticmethod
    async def stored(file: Path, entries: list[dict[str, Any]]) -> PostgresSessionStore:
        store = PostgresSessionStore()
        await store.append({"project_key": PROJECT, "session_id": file.stem}, entries)
        return store

    async def test_a_file_that_has_all_of_it_replaces_it_in_its_order(self, tmp_path: Path) -> None:
        file = copy_of(FOREGROUND, tmp_path)
        await import_recordings([file])
        alone = await record_of(FOREGROUND)
        async with get_async_session() as db:
            await crud.delete_session(db, FOREGROUND)
        keyed = [entry for entry in entries_of(file) if "uuid" in entry]
        store = await self.stored(file, keyed[::2])
        await store.append({"project_key": PROJECT, "session_id": file.stem}, keyed[1::2])
        report = await import_recordings([file])
        assert report.problems == {}
        assert [json.loads(line) for line in await stored_lines(FOREGROUND)] == entries_of(file)
        async with async_session() as db:
            main = (await list_transcripts(db, FOREGROUND))[0]
        assert (main.source, main.gaps, main.next_seq) == ("file", 0, len(entries_of(file)))
        record = await record_of(FOREGROUND)
        for table in ("messages", "usage", "agent_logs"):
            assert len(record[table]) == len(alone[table]), table
        assert (await import_recordings([file])).entries == 0

    async def test_a_file_that_lacks_some_of_it_adds_nothing_and_leaves_a_gap(self, tmp_path: Path) -> None:
        file = copy_of(FOREGROUND, tmp_path)
        entries = entries_of(file)
        keyed = [entry for entry in entries if "uuid" in entry]
        said_elsewhere = said("What else?", sessionId=str(FOREGROUND))
        await self.stored(file, [*keyed[:-2], said_elsewhere])
        before = await record_of(FOREGROUND)
        for _ in range(2):
            report = await import_recordings([file])
            assert [problem.reason for problem in report.problems.values()] == [
                "it lacks 1 entries that the agent SDK stored, so nothing of it was added"
            ]
            async with async_session() as db:
                main = (await list_transcripts(db, FOREGROUND))[0]
            assert (main.source, main.gaps, main.next_seq) == ("store", 2, len(keyed) - 1)
        after = await record_of(FOREGROUND)
        assert after["messages"] == before["messages"]

    async def test_what_the_store_gets_later_goes_behind_the_file(self, tmp_path: Path) -> None:
        file = copy_of(FOREGROUND, tmp_path)
        store = await self.stored(file, [entry for entry in entries_of(file) if "uuid" in entry])
        await import_recordings([file])
        further = said("What else?", sessionId=str(FOREGROUND))
        await store.append({"project_key": PROJECT, "session_id": file.stem}, [further])
        write_entries(file, [*entries_of(file), further])
        assert (await import_recordings([file])).problems == {}
        assert [json.loads(line) for line in await stored_lines(FOREGROUND)] == entries_of(file)

    async def test_two_imports_at_once_replace_it_once(self, tmp_path: Path) -> None:
        file = copy_of(FOREGROUND, tmp_path)
        await self.stored(file, [entry for entry in entries_of(file) if "uuid" in entry])
        await asyncio.gather(*(import_recordings([file]) for _ in range(4)))
        assert [json.loads(line) for line in await stored_lines(FOREGROUND)] == entries_of(file)


class TestWhichSession:
    async def test_a_session_of_its_own_has_the_sdks_id(self) -> None:
        session_id = uuid4()
        await PostgresSessionStore().append({"project_key": "p", "session_id": str(session_id)}, [said("Hello")])
        async with async_session() as db:
            session = await crud.get_session(db, session_id)
            (stream,) = await list_transcripts(db, session_id)
        assert session is not None
        assert session.title == "Hello"
        assert stream.source == "store"

    @pytest.mark.parametrize("named", ["id", "text", "slug"])
    async def test_the_session_of_the_store_takes_every_sdk_session(self, named: str) -> None:
        async with get_async_session() as db:
            session = await make_session(db, session_slug="feature")
        names: dict[str, UUID | str] = {"id": session.id, "text": str(session.id), "slug": "feature"}
        store = PostgresSessionStore(session=names[named])
        for number in range(2):
            key: Any = {"project_key": "p", "session_id": str(uuid4())}
            await store.append(key, [said(f"Hello {number}")])
            await store.append(key | {"subpath": f"subagents/agent-{number}"}, [said("Go", isSidechain=True)])
            async with async_session() as db:
                binding = await get_sdk_session(db, key["session_id"])
                assert await crud.get_session(db, UUID(key["session_id"])) is None
            assert binding is not None
            assert (binding.session_id, binding.bound_by) == (session.id, "recorder")
        async with async_session() as db:
            assert await count_of(db, Message, session.id) == 2
            assert await count_of(db, Agent, session.id) == 4

    async def test_a_session_that_is_bound_stays_where_it_is(self) -> None:
        key: Any = {"project_key": "p", "session_id": str(uuid4())}
        await PostgresSessionStore().append(key, [said("Hello")])
        async with get_async_session() as db:
            workflow = await crud.create_session(db, SessionCreate(session_slug="feature", working_dir="/project"))
        await PostgresSessionStore(session=workflow.id).append(key, [said("Again")])
        async with async_session() as db:
            assert await count_of(db, Message, UUID(key["session_id"])) == 2

    @pytest.mark.parametrize("session", [UUID(int=7), "nobody"])
    async def test_one_that_does_not_exist_is_refused(self, session: Any) -> None:
        key: Any = {"project_key": "p", "session_id": str(uuid4())}
        with pytest.raises(NotFound, match="there is no session"):
            await PostgresSessionStore(session=session).append(key, [said("Hello")])
        assert await PostgresSessionStore().load(key) is None
        async with async_session() as db:
            assert await get_sdk_session(db, key["session_id"]) is None


class TestDeletedSessions:
    @pytest.mark.parametrize("erased", [True, False])
    async def test_an_append_that_fails_leaves_it_deleted(self, erased: bool) -> None:
        session_id = uuid4()
        key: Any = {"project_key": "p", "session_id": str(session_id)}
        await PostgresSessionStore().append(key, [said("before")])
        async with get_async_session() as db:
            await crud.delete_session(db, session_id)
            while erased and await crud.erase_deleted_sessions(db, session_id):
                pass
        with pytest.raises(NotFound):
            await PostgresSessionStore(session=uuid4()).append(key, [said("after")])
        async with async_session() as db:
            binding = await get_sdk_session(db, str(session_id))
        assert binding is not None
        assert binding.session_id is None

    @pytest.mark.parametrize("erased", [True, False])
    async def test_an_append_begins_anew(self, fresh_database: Database, erased: bool) -> None:
        session_id = uuid4()
        key: Any = {"project_key": "p", "session_id": str(session_id)}
        store = PostgresSessionStore()
        await store.append(key, [said("before")])
        async with get_async_session() as db:
            await crud.delete_session(db, session_id)
        assert await store.load(key) is None
        assert await store.list_sessions("p") == []
        async with get_async_session() as db:
            while erased and await crud.erase_deleted_sessions(db, session_id):
                pass
        after = said("after")
        await store.append(key, [after])
        assert await store.load(key) == [after]
        async with async_session() as db:
            assert await count_of(db, Message, session_id) == 1
        async with fresh_database.connected() as connection:
            assert await violations(connection) == []


class TestErrors:
    async def test_a_database_that_is_gone_is_unavailable(self, monkeypatch: pytest.MonkeyPatch) -> None:
        async def too_slow(*_arguments: Any) -> None:
            raise TimeoutError

        monkeypatch.setattr(store_module, "list_main_streams", too_slow)
        with pytest.raises(Unavailable):
            await PostgresSessionStore().list_sessions("p")

    async def test_a_key_without_a_session_is_refused(self) -> None:
        with pytest.raises(InvalidInput, match="session_id"):
            await PostgresSessionStore().append({"project_key": "p", "session_id": ""}, [said("Hello")])


async def test_nothing_of_a_deleted_stream_stays() -> None:
    key: Any = {"project_key": "p", "session_id": str(uuid4())}
    store = PostgresSessionStore()
    await store.append(key, [said("one")])
    await store.append(key | {"subpath": "subagents/agent-1"}, [said("two")])
    await store.delete(key)
    async with async_session() as db:
        for table in (Transcript, TranscriptEntry):
            assert await count_of(db, table, UUID(key["session_id"])) == 0
        assert await db.scalar(select(func.count()).select_from(AgentLog).where(col(AgentLog.session_id) == UUID(key["session_id"]))) == 0
