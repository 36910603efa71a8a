"""Importing again: the same file, a grown one, another copy, and many at once."""

import asyncio
import json
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from session_db import crud
from session_db.capture.importer import import_recordings
from session_db.crud.transcripts import list_transcripts
from session_db.database import async_session, get_async_session
from session_db.integrations.claude_agent_sdk import PostgresSessionStore
from tests.capture.recorded import (
    BACKGROUND,
    CLEARED,
    COMPACTED,
    FORK,
    PROJECT,
    TRANSCRIPTS,
    copy_of,
    entries_of,
    everything,
    recording,
    stored_lines,
    write_entries,
)
from tests.databases import Database
from tests.factories import make_agent, make_session

pytestmark = pytest.mark.usefixtures("fresh_database")


class TestTwice:
    async def test_a_second_import_changes_nothing(self) -> None:
        first = await import_recordings([TRANSCRIPTS])
        async with async_session() as db:
            before = await everything(db)
        second = await import_recordings([TRANSCRIPTS])
        async with async_session() as db:
            after = await everything(db)
        assert first.sessions_new == 7
        assert (second.sessions_new, second.sessions_updated, second.sessions_unchanged) == (0, 0, 7)
        assert (second.entries, second.events, second.messages, second.usage) == (0, 0, 0, 0)
        assert before == after

    async def test_a_grown_file_goes_on_where_it_stopped(self, tmp_path: Path) -> None:
        whole = recording(BACKGROUND).read_bytes()
        path = copy_of(BACKGROUND, tmp_path)
        await import_recordings([path])
        async with async_session() as db:
            at_once = await everything(db)
            await crud.delete_session(db, BACKGROUND)
            await db.commit()
        for length in range(1000, len(whole) + 5000, 5000):
            path.write_bytes(whole[:length])
            await import_recordings([path], restore_deleted=True)
        async with async_session() as db:
            in_pieces = await everything(db)
        for name in ("usage", "transcript_entries"):
            assert in_pieces[name] == at_once[name]
        async with async_session() as db:
            messages = await crud.load_messages_paginated(db, BACKGROUND)
            events = await crud.list_agent_logs(db, BACKGROUND, limit=1000)
        assert [message["content"] for message in messages][-1] == "All done: wrote hello.txt."
        assert len(messages) == 7
        assert len(events) == 23

    async def test_a_rewritten_file_adds_what_is_new_and_keeps_what_was(self, tmp_path: Path) -> None:
        path = copy_of(CLEARED, tmp_path)
        await import_recordings([path])
        before = await stored_lines(CLEARED)
        entries = entries_of(path)
        answer = next(entry for entry in entries if entry["type"] == "assistant")
        added = answer | {"uuid": "11111111-0000-4000-8000-000000000000", "message": answer["message"] | {"id": "msg_new"}}
        write_entries(path, [added, *entries[3:]])
        report = await import_recordings([path])
        assert report.entries == 1
        assert await stored_lines(CLEARED) == [*before, json.dumps(added)]

    async def test_a_file_that_moved_to_another_project_is_the_same_stream(self, tmp_path: Path) -> None:
        path = copy_of(CLEARED, tmp_path)
        await import_recordings([path])
        moved = tmp_path / "-home-dev-other" / path.name
        moved.parent.mkdir()
        path.rename(moved)
        with moved.open("a") as file:
            file.write(json.dumps({"type": "relocated", "relocatedCwd": "/home/dev/other"}) + "\n")
        report = await import_recordings([moved])
        assert (report.entries, report.sessions_updated) == (1, 1)
        async with async_session() as db:
            assert len(await list_transcripts(db, CLEARED)) == 1

    async def test_two_imports_at_once_record_everything_once(self, fresh_database: Database) -> None:
        command = (str(Path(sys.executable).with_name("session-db")), "import", str(TRANSCRIPTS), "--json")
        environment = fresh_database.environment
        processes = [await asyncio.create_subprocess_exec(*command, env=environment, stdout=-1, stderr=-1) for _ in range(3)]
        for process in processes:
            _, errors = await process.communicate()
            assert process.returncode == 0, errors.decode()
        report = await import_recordings([TRANSCRIPTS])
        assert report.sessions_unchanged == 7
        async with async_session() as db:
            for session in await crud.list_sessions(db):
                events = await crud.list_agent_logs(db, session.id, limit=1000)
                assert [event.event_index for event in events] == list(range(session.event_count))
        assert await stored_lines(BACKGROUND) == recording(BACKGROUND).read_text().splitlines()

    async def test_a_session_that_is_still_being_erased_is_told_and_the_others_go_on(self, fresh_database: Database) -> None:
        first = await import_recordings([recording(BACKGROUND)])
        async with fresh_database.connected() as connection:
            await connection.execute("DELETE FROM sdk_sessions")
            await connection.execute("UPDATE sessions SET deleted_at = now() WHERE id = $1", first.session_ids[0])
        again = await import_recordings([recording(BACKGROUND), recording(COMPACTED)])
        assert [(problem.path, problem.reason) for problem in again.problems.values()] == [
            (
                recording(BACKGROUND),
                f"session {first.session_ids[0]} was deleted and is still being erased; repeat the import when it is gone.",
            )
        ]
        assert again.sessions_new == 1


def line(text: str, uuid: str | None = None) -> dict[str, Any]:
    """Return something said, or without a uuid a line that the client may write any number of times."""
    if uuid is None:
        return {"type": "queue-operation", "operation": "enqueue", "content": text, "sessionId": str(CLEARED)}
    said = {"type": "user", "sessionId": str(CLEARED), "timestamp": "2026-11-22T10:00:00Z"}
    return said | {"uuid": uuid, "message": {"role": "user", "content": text}}


class TestEqualLines:
    """The client writes lines without a uuid, and the same one more than once."""

    FIRST = (line("one", "u1"), line("more"), line("more"), line("two", "u2"))
    MORE = (line("more"), line("three", "u3"), line("more"), line("more"))

    @pytest.fixture
    def path(self, tmp_path: Path) -> Path:
        path = tmp_path / PROJECT / f"{CLEARED}.jsonl"
        path.parent.mkdir()
        return path

    @staticmethod
    async def assert_it_grows(path: Path, entries: list[dict[str, Any]]) -> None:
        for end in range(1, len(entries) + 1):
            write_entries(path, entries[:end])
            await import_recordings([path])
        assert await stored_lines(CLEARED) == path.read_text().splitlines()
        assert (await import_recordings([path])).entries == 0

    async def test_a_file_that_takes_the_place_of_a_stores_stream_keeps_them(self, path: Path) -> None:
        await PostgresSessionStore().append({"project_key": PROJECT, "session_id": str(CLEARED)}, list(self.FIRST))
        await self.assert_it_grows(path, [*self.FIRST, *self.MORE])

    async def test_a_file_that_was_cut_and_grows_again_keeps_them(self, path: Path) -> None:
        write_entries(path, list(self.FIRST))
        await import_recordings([path])
        await self.assert_it_grows(path, [*self.FIRST, *self.MORE])

    async def test_a_file_that_was_rewritten_has_as_many_as_it_has(self, path: Path) -> None:
        write_entries(path, list(self.FIRST))
        await import_recordings([path])
        rewritten = [line("zero", "u0"), *self.FIRST, *self.MORE]
        write_entries(path, rewritten)
        await import_recordings([path])
        stored = [json.loads(text) for text in await stored_lines(CLEARED)]
        assert stored == [*self.FIRST, rewritten[0], *self.MORE]
        write_entries(path, [*rewritten, *self.MORE])
        await import_recordings([path])
        assert [json.loads(text) for text in await stored_lines(CLEARED)] == [*stored, *(one for one in self.MORE)]

    async def test_a_uuid_that_comes_again_stands_again(self, path: Path) -> None:
        write_entries(path, list(self.FIRST))
        await import_recordings([path])
        repeated = [line("zero", "u0"), *self.FIRST, self.FIRST[0], self.FIRST[0]]
        for _ in range(2):
            write_entries(path, repeated)
            await import_recordings([path])
            repeated.append(line("more"))
        assert len(await stored_lines(CLEARED)) == len(self.FIRST) + 4

    async def test_a_store_and_a_file_by_turns_double_none(self, path: Path) -> None:
        store = PostgresSessionStore()
        key: Any = {"project_key": PROJECT, "session_id": str(CLEARED)}
        entries: list[dict[str, Any]] = []
        for number in range(4):
            new = [line(f"said {number}", f"u{number}"), line("more"), line("more")]
            entries += new
            if number % 2:
                await store.append(key, new)
            # The client leaves out the spaces that the SDK writes.
            path.write_text("".join(json.dumps(entry, separators=(",", ":")) + "\n" for entry in entries))
            await import_recordings([path])
        assert [json.loads(text) for text in await stored_lines(CLEARED)] == entries


class TestOtherCopies:
    async def test_a_shorter_copy_changes_nothing_however_often(self, tmp_path: Path) -> None:
        whole = copy_of(BACKGROUND, tmp_path / "whole")
        part = copy_of(BACKGROUND, tmp_path / "part")
        part.write_bytes(b"".join(whole.read_bytes().splitlines(keepends=True)[:30]))
        await import_recordings([whole])
        for _ in range(3):
            report = await import_recordings([whole, part])
            assert (report.entries, report.events, report.messages) == (0, 0, 0)
        assert await stored_lines(BACKGROUND) == whole.read_text().splitlines()

    async def test_a_file_that_is_cut_and_grows_again_is_there_once(self, tmp_path: Path) -> None:
        path = copy_of(BACKGROUND, tmp_path)
        whole = path.read_bytes()
        await import_recordings([path])
        path.write_bytes(b"".join(whole.splitlines(keepends=True)[:30]))
        await import_recordings([path])
        path.write_bytes(whole)
        assert (await import_recordings([path])).entries == 0
        assert await stored_lines(BACKGROUND) == whole.decode().splitlines()

    async def test_another_beginning_in_another_project_doubles_no_answer(self, tmp_path: Path) -> None:
        path = copy_of(CLEARED, tmp_path)
        await import_recordings([path])
        moved = tmp_path / "-home-dev-other" / path.name
        moved.parent.mkdir()
        moved.write_text(json.dumps({"type": "relocated", "relocatedCwd": "/home/dev/other"}) + "\n" + path.read_text())
        report = await import_recordings([moved])
        assert report.entries == 1
        async with async_session() as db:
            messages = await crud.load_messages_paginated(db, CLEARED)
        assert [message["content"] for message in messages] == ["[[Q]] after", "Hello-from-fake"]

    async def test_a_file_that_was_rewritten_behind_its_beginning_loses_nothing(self, tmp_path: Path) -> None:
        path = copy_of(CLEARED, tmp_path)
        entries = entries_of(path)
        answer = next(entry for entry in entries if entry["type"] == "assistant")
        filler = {"type": "system", "subtype": "filler", "content": "x" * 5000}

        def answers(prefix: str, count: int) -> list[dict[str, Any]]:
            return [answer | {"uuid": f"{prefix}-{n}", "message": answer["message"] | {"id": f"msg_{prefix}_{n}"}} for n in range(count)]

        write_entries(path, [*entries, filler, *answers("old", 20)])
        await import_recordings([path])
        write_entries(path, [*entries, filler, *answers("new", 40)])
        report = await import_recordings([path])
        assert (report.entries, report.problems) == (40, {})
        async with async_session() as db:
            assert await crud.get_message_count(db, CLEARED) == 2 + 20 + 40

    async def test_what_the_client_says_later_of_a_sub_agent_is_taken(self, tmp_path: Path) -> None:
        path = copy_of(BACKGROUND, tmp_path)
        (meta,) = path.with_suffix("").glob("subagents/*.meta.json")
        text = meta.read_text()
        meta.unlink()
        await import_recordings([path])
        meta.write_text(text)
        await import_recordings([path])
        async with async_session() as db:
            agents = await crud.list_agents(db, BACKGROUND)
        assert [(agent.agent_type, agent.name) for agent in agents] == [("main", None), ("general-purpose", "Look around")]
        assert (await import_recordings([path])).sessions_unchanged == 1

    async def test_a_fork_in_the_session_of_its_origin_repeats_no_answer(self, tmp_path: Path) -> None:
        async with get_async_session() as db:
            workflow = await make_session(db, session_slug="feature")
            for sdk_session_id in (COMPACTED, FORK):
                await make_agent(db, workflow, sdk_session_id=str(sdk_session_id))
        await import_recordings([copy_of(COMPACTED, tmp_path)])
        async with async_session() as db:
            before = await crud.load_messages_paginated(db, workflow.id)
        await import_recordings([copy_of(FORK, tmp_path)])
        async with async_session() as db:
            after = await crud.load_messages_paginated(db, workflow.id)
        assert len(after) > len(before) > 0
        assert after[: len(before)] == before

    async def test_a_recording_of_a_clock_that_is_ahead_begins_now(self, tmp_path: Path) -> None:
        path = copy_of(CLEARED, tmp_path)
        write_entries(path, [entry | {"timestamp": "9000-01-01T00:00:00Z"} for entry in entries_of(path)])
        await import_recordings([path])
        async with async_session() as db:
            session = await crud.get_session(db, CLEARED)
            first, *_ = await crud.list_agent_logs(db, CLEARED)
        assert session is not None
        assert first.timestamp.year == 9000
        assert max(session.created_at, session.last_activity) <= session.updated_at <= datetime.now(UTC)
