"""Conversations whose transcripts cannot be read here: what hooks told makes them, and a transcript that comes later takes its places."""

import json
import os
from collections.abc import Sequence
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest

from session_db import crud
from session_db.capture.drain import HELD, drain
from session_db.capture.importer import import_recordings
from session_db.capture.reading import ReadReport, read_pending
from session_db.capture.spool import spool_of
from session_db.crud.transcripts import get_missing, list_pending_hosts, list_pending_transcripts
from session_db.database import get_async_session
from session_db.models import AgentCreate, Session, SessionCreate, Transcript
from session_db.settings import Settings
from tests.capture.recorded import BACKGROUND, PROJECT, copy_of, entries_of, rows_without_clocks, write_entries
from tests.capture.test_states import age
from tests.databases import Database, PostgreSQL
from tests.factories import make_session, message

HOST = os.uname().nodename
SDK_SESSION = "0c6b3c0a-7d31-4b7a-9d13-1f6b1f5b1c11"
SESSION = UUID(SDK_SESSION)
ELSEWHERE = "buildbox"

Spoken = list[tuple[str, str]]


@pytest.fixture
def settings(fresh_database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    """Settings with which nothing is waited for."""
    monkeypatch.setattr("session_db.capture.drain.HELD", timedelta(0))
    return fresh_database.settings.model_copy(update={"home": tmp_path / "home", "claude_dirs": str(tmp_path / "claude")})


def put(settings: Settings, name: str, host: str = ELSEWHERE, /, **payload: Any) -> str:
    path = f"/home/dev/.claude/projects/{PROJECT}/{payload.get('session_id', SDK_SESSION)}.jsonl"
    event = {"session_id": SDK_SESSION, "hook_event_name": name, "cwd": "/home/dev/demo", "transcript_path": path} | payload
    return spool_of(settings).put(json.dumps(event).encode(), {}, host)


def put_turn(settings: Settings, number: int, *answers: str, host: str = ELSEWHERE, **more: Any) -> None:
    put(settings, "UserPromptSubmit", host, prompt_id=f"p{number}", prompt=f"prompt {number}", **more)
    for place, answer in enumerate(answers):
        shown = {"message_id": f"m{number}.{place}", "index": 0, "final": True, "delta": answer}
        put(settings, "MessageDisplay", host, prompt_id=f"p{number}", **shown, **more)
    put(settings, "Stop", host, prompt_id=f"p{number}", last_assistant_message=answers[-1] if answers else "", **more)


def let_end(transcript: Path) -> Path:
    """Let the last entry of a transcript be later than what is put next."""
    later = datetime.now(UTC).timestamp() + 60
    os.utime(transcript, (later, later))
    return transcript


async def spoken(session_id: UUID = SESSION) -> Spoken:
    async with get_async_session() as db:
        return [(row["role"], row["content"]) for row in await crud.list_messages(db, session_id, limit=1000)]


async def session_of(session_id: UUID = SESSION) -> Session:
    async with get_async_session() as db:
        session = await crud.get_session(db, session_id)
    assert session is not None
    return session


async def stream_of(session_id: UUID = SESSION) -> Transcript:
    async with get_async_session() as db:
        (stream,) = [stream for stream in await crud.list_transcripts(db, session_id) if not stream.subpath]
        return stream


class TestConversation:
    async def test_prompts_and_what_was_shown_make_it_and_it_says_so(self, settings: Settings) -> None:
        put_turn(settings, 1, "I look.", "Done.")
        put_turn(settings, 2, "Again.")
        put(settings, "SessionEnd")
        assert (await drain(settings)).told == 5
        assert await spoken() == [
            ("user", "prompt 1"), ("assistant", "I look."), ("assistant", "Done."), ("user", "prompt 2"), ("assistant", "Again."),
        ]  # fmt: skip
        async with get_async_session() as db:
            messages = await crud.list_messages(db, SESSION)
        assert {row["source"] for row in messages} == {"hooks"}
        assert [row["message_index"] for row in messages] == list(range(5))
        stream, session = await stream_of(), await session_of()
        assert (stream.source, stream.host, stream.next_seq, stream.file_offset) == ("hooks", ELSEWHERE, 0, 0)
        assert stream.file_path == f"/home/dev/.claude/projects/{PROJECT}/{SDK_SESSION}.jsonl"
        assert (session.title, session.working_dir, session.current_project) == ("prompt 1", "/home/dev/demo", "demo")

    async def test_what_the_client_prompts_by_itself_is_left_out(self, settings: Settings) -> None:
        put(settings, "UserPromptSubmit", prompt_id="p", prompt="<task-notification>\n<task-id>a</task-id></task-notification>")
        put(settings, "UserPromptSubmit", prompt_id="q", prompt=" \n")
        put(settings, "MessageDisplay", message_id="m", index=0, final=True, delta="It is done.")
        put(settings, "Stop", last_assistant_message="It is done.")
        await drain(settings)
        assert await spoken() == [("assistant", "It is done.")]

    async def test_an_answer_is_joined_in_the_order_of_its_parts(self, settings: Settings) -> None:
        put(settings, "UserPromptSubmit", prompt_id="p", prompt="count")
        for index, part in [(1, "two "), (0, "one "), (2, "three")]:
            put(settings, "MessageDisplay", message_id="m", index=index, final=index == 2, delta=part)
        put(settings, "Stop", last_assistant_message="one two three")
        await drain(settings)
        assert await spoken() == [("user", "count"), ("assistant", "one two three")]

    @pytest.mark.parametrize(("name", "shown"), [("Stop", []), ("Stop", ["I look."]), ("StopFailure", ["I look."])])
    async def test_the_last_answer_stands_there_where_nobody_showed_it(self, settings: Settings, name: str, shown: Sequence[str]) -> None:
        put(settings, "UserPromptSubmit", prompt_id="p", prompt="look")
        for answer in shown:
            put(settings, "MessageDisplay", message_id=answer, index=0, final=True, delta=answer)
        put(settings, name, last_assistant_message="The end.")
        await drain(settings)
        assert await spoken() == [("user", "look"), *(("assistant", answer) for answer in [*shown, "The end."])]

    async def test_an_answer_that_is_told_after_the_stop_stands_once(self, settings: Settings) -> None:
        put(settings, "UserPromptSubmit", prompt_id="p", prompt="look")
        put(settings, "Stop", last_assistant_message="The  end.\n")
        put(settings, "MessageDisplay", message_id="m", index=0, final=True, delta="The end.")
        await drain(settings)
        assert await spoken() == [("user", "look"), ("assistant", "The end.")]

    async def test_what_a_sub_agent_says_is_no_part_of_it(self, settings: Settings) -> None:
        about = {"agent_id": "a1", "agent_type": "Explore"}
        put(settings, "UserPromptSubmit", prompt_id="p", prompt="look")
        put(settings, "MessageDisplay", message_id="m", index=0, final=True, delta="Sub looking.", **about)
        put(settings, "SubagentStop", last_assistant_message="Sub report.", **about)
        put(settings, "Stop", last_assistant_message="Done.")
        await drain(settings)
        assert await spoken() == [("user", "look"), ("assistant", "Done.")]

    async def test_a_turn_that_has_not_ended_is_not_told_yet(self, settings: Settings) -> None:
        put_turn(settings, 1, "Done.")
        put(settings, "UserPromptSubmit", prompt_id="p2", prompt="prompt 2")
        put(settings, "MessageDisplay", message_id="m", index=0, final=False, delta="I am ")
        await drain(settings)
        assert await spoken() == [("user", "prompt 1"), ("assistant", "Done.")]
        put(settings, "MessageDisplay", message_id="m", index=1, final=True, delta="here.")
        put(settings, "SessionEnd")
        await drain(settings)
        assert await spoken() == [("user", "prompt 1"), ("assistant", "Done."), ("user", "prompt 2"), ("assistant", "I am here.")]

    async def test_a_session_that_only_began_and_ended_has_none(self, settings: Settings) -> None:
        put(settings, "SessionStart", source="startup")
        put(settings, "SessionEnd")
        await drain(settings)
        async with get_async_session() as db:
            assert await crud.list_transcripts(db, SESSION) == []

    async def test_a_long_text_is_cut_and_says_so(self, settings: Settings) -> None:
        put(settings, "UserPromptSubmit", prompt_id="p", prompt="x" * 3_000_000)
        put(settings, "Stop", last_assistant_message="y" * 20_000)
        await drain(settings)
        async with get_async_session() as db:
            prompt, answer = await crud.list_messages(db, SESSION)
        assert (len(prompt["content"]), prompt["truncated"]) == (1_000_000, True)
        assert (answer["content"], "truncated" in answer) == ("y" * 20_000, False)

    async def test_it_is_read_in_pages(self, settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("session_db.capture.telling._PAGE", 2)
        for number in range(5):
            put_turn(settings, number, "I look.", "Done.")
        await drain(settings)
        assert [text for _, text in await spoken()] == [text for number in range(5) for text in (f"prompt {number}", "I look.", "Done.")]

    async def test_a_turn_without_an_end_takes_no_memory_without_an_end(self, settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("session_db.capture.telling._LARGE_TURN", 500)
        put_turn(settings, 1, *(f"answer {number}" for number in range(20)))
        await drain(settings)
        assert await spoken() == [("user", "prompt 1"), *(("assistant", f"answer {number}") for number in range(20))]

    @pytest.mark.parametrize(
        "payload",
        [
            {"prompt": 5},
            {"prompt": "\x00\ud800"},
            {"hook_event_name": "MessageDisplay", "message_id": ["m"], "index": "first", "delta": {"a": 1}},
            {"hook_event_name": "MessageDisplay", "message_id": None, "index": 1e300, "delta": "text"},
            {"hook_event_name": "Stop", "last_assistant_message": ["text"]},
            {"transcript_path": "\x00"},
            {"transcript_path": None},
            {"session_id": "x" * 10_000},
            {"session_id": "no uuid"},
        ],
        ids="-".join,
    )
    async def test_whatever_is_told_it_blocks_nothing(self, settings: Settings, payload: dict[str, Any]) -> None:
        put(settings, "UserPromptSubmit", **payload)
        put(settings, "SessionEnd", **{name: value for name, value in payload.items() if name in {"session_id", "transcript_path"}})
        put_turn(settings, 1, "Done.")
        report = await drain(settings)
        assert (report.events, report.bad) == (5, 0)
        assert list(spool_of(settings).held.names()) == []
        assert ("assistant", "Done.") in await spoken()


class TestWaiting:
    async def test_the_end_of_a_turn_is_held_for_a_minute(self, settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("session_db.capture.drain.HELD", HELD)
        put_turn(settings, 1, "Done.")
        for events in (3, 0, 0):
            report = await drain(settings)
            assert (report.events, report.known, report.told) == (events, 0, 0)
        spool = spool_of(settings)
        assert (spool.state().waiting, len(list(spool.held.names()))) == (0, 1)
        assert await spoken() == []

    async def test_a_transcript_that_can_be_read_by_then_is_read(
        self, settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        path = tmp_path / "claude" / "projects" / PROJECT / f"{BACKGROUND}.jsonl"
        with monkeypatch.context() as patience:
            patience.setattr("session_db.capture.drain.HELD", HELD)
            put_turn(settings, 1, "Done.", host=HOST, session_id=str(BACKGROUND), transcript_path=str(path))
            await drain(settings)
        copy_of(BACKGROUND, tmp_path / "claude" / "projects")
        report = await drain(settings)
        assert (report.told, report.transcripts) == (0, {path})
        assert (await session_of(BACKGROUND)).message_count == 7

    async def test_where_the_transcript_was_read_nothing_is_told(self, settings: Settings, tmp_path: Path) -> None:
        await import_recordings([let_end(copy_of(BACKGROUND, tmp_path / "elsewhere"))])
        put_turn(settings, 1, "Done.", session_id=str(BACKGROUND))
        assert (await drain(settings)).told == 0
        assert (await session_of(BACKGROUND)).message_count == 7

    async def test_one_that_is_damaged_is_told(self, settings: Settings, tmp_path: Path) -> None:
        path = tmp_path / "claude" / "projects" / PROJECT / f"{SDK_SESSION}.jsonl"
        path.parent.mkdir(parents=True)
        path.write_text('{"no": "type"}\n')
        put_turn(settings, 1, "Done.", host=HOST, transcript_path=str(path))
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr("session_db.capture.drain.LAG", timedelta(0))
            await drain(settings)
        assert await spoken() == [("user", "prompt 1"), ("assistant", "Done.")]

    async def test_a_deleted_session_is_not_told(self, settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
        with monkeypatch.context() as patience:
            patience.setattr("session_db.capture.drain.HELD", HELD)
            put_turn(settings, 1, "Done.")
            await drain(settings)
        async with get_async_session() as db:
            await crud.delete_session(db, SESSION)
        report = await drain(settings)
        assert (report.told, report.deleted, report.bad) == (0, 1, 0)
        assert list(spool_of(settings).held.names()) == []

    async def test_what_was_captured_meanwhile_is_written_between(self, settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("session_db.capture.drain.HELD_BATCH", 2)
        for number in range(5):
            put_turn(settings, number, "Done.", session_id=str(UUID(int=number + 1)))
        report = await drain(settings)
        assert (report.events, report.told) == (15, 10)
        assert list(spool_of(settings).held.names()) == []

    @pytest.mark.parametrize(
        "killed_in",
        ["drain.Spool.hold", "drain.Spool.remove", "drain.tell", "telling.save_display_messages", "telling.note_told", "drain.host_of"],
    )
    async def test_killed_at_any_step_it_stands_once(self, settings: Settings, monkeypatch: pytest.MonkeyPatch, killed_in: str) -> None:
        put_turn(settings, 1, "Done.")
        with monkeypatch.context() as killed:
            killed.setattr(f"session_db.capture.{killed_in}", lambda *_, **__: (_ for _ in ()).throw(KeyboardInterrupt))
            for _ in range(3):
                with suppress(KeyboardInterrupt):
                    await drain(settings)
        await drain(settings)
        assert await spoken() == [("user", "prompt 1"), ("assistant", "Done.")]


class TestHost:
    async def test_where_the_client_keeps_no_transcript_nobody_has_one(self, settings: Settings, tmp_path: Path) -> None:
        gone = str(tmp_path / "claude" / "projects" / PROJECT / f"{SDK_SESSION}.jsonl")
        put_turn(settings, 1, "Done.", host=HOST, transcript_path=gone)
        await drain(settings)
        stream = await stream_of()
        assert (stream.source, stream.host) == ("hooks", None)
        async with get_async_session() as db:
            assert (await get_missing(db)).pending == 0

    async def test_one_that_may_not_be_opened_is_on_this_machine(self, settings: Settings, tmp_path: Path) -> None:
        path = tmp_path / "outside" / f"{SDK_SESSION}.jsonl"
        path.parent.mkdir()
        path.write_text("{}\n")
        put_turn(settings, 1, "Done.", host=HOST, transcript_path=str(path))
        await drain(settings)
        assert (await stream_of()).host == HOST
        await read_pending(settings, ReadReport())
        async with get_async_session() as db:
            assert (await get_missing(db)).pending == (await get_missing(db, SESSION)).pending == 1
            assert await list_pending_hosts(db) == [(HOST, 1)]
        assert await spoken() == [("user", "prompt 1"), ("assistant", "Done.")]


class TestPending:
    """The session is told by hooks of another machine; the same database is then used there."""

    @pytest.fixture
    def transcript(self, tmp_path: Path) -> Path:
        return copy_of(BACKGROUND, tmp_path / "claude" / "projects")

    async def tell(self, settings: Settings, transcript: Path, *answers: str, host: str = ELSEWHERE) -> None:
        put_turn(settings, 1, *answers, session_id=str(BACKGROUND), transcript_path=str(transcript), host=host)
        await drain(settings)
        assert len(await spoken(BACKGROUND)) == 1 + len(answers)

    def be_there(self, monkeypatch: pytest.MonkeyPatch) -> None:
        there = os.uname_result(("Linux", ELSEWHERE, "6", "#1", "x86_64"))
        monkeypatch.setattr("session_db.capture.reading.os.uname", lambda: there)

    async def test_the_machine_that_has_it_reads_it(self, settings: Settings, transcript: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        await self.tell(settings, transcript, "Done.")
        await read_pending(settings, ReadReport())
        assert len(await spoken(BACKGROUND)) == 2
        self.be_there(monkeypatch)
        report = ReadReport()
        await read_pending(settings, report)
        assert report.transcripts == {transcript}
        stream = await stream_of(BACKGROUND)
        assert (stream.source, stream.gaps) == ("file", 0)
        async with get_async_session() as db:
            messages = await crud.list_messages(db, BACKGROUND)
            assert (await get_missing(db)).pending == 0
        assert [row["message_index"] for row in messages] == list(range(7))
        assert not any("source" in row for row in messages)

    async def test_one_that_is_gone_there_is_waited_for_no_longer(
        self, settings: Settings, transcript: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        await self.tell(settings, transcript, "Done.")
        self.be_there(monkeypatch)
        transcript.unlink()
        await read_pending(settings, ReadReport())
        assert (await stream_of(BACKGROUND)).host is None
        assert len(await spoken(BACKGROUND)) == 2

    async def test_where_not_even_its_folder_is_another_machine_of_the_same_name_may_have_it(
        self, settings: Settings, transcript: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        await self.tell(settings, transcript, "Done.")
        self.be_there(monkeypatch)
        transcript.parent.rename(tmp := transcript.parents[2] / "elsewhere")
        await read_pending(settings, ReadReport())
        assert (await stream_of(BACKGROUND)).host == ELSEWHERE
        tmp.rename(transcript.parent)
        await read_pending(settings, ReadReport())
        assert (await stream_of(BACKGROUND)).source == "file"

    async def test_what_may_not_be_opened_is_not(self, settings: Settings, transcript: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        await self.tell(settings, transcript, "Done.")
        self.be_there(monkeypatch)
        report = ReadReport()
        await read_pending(settings.model_copy(update={"claude_dirs": "/nowhere"}), report)
        assert report.transcripts == set()
        assert (await stream_of(BACKGROUND)).host == ELSEWHERE

    async def test_every_page_is_read(self, settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("session_db.capture.reading.list_pending_transcripts", _in_pages_of_one(list_pending_transcripts))
        for number in range(3):
            put_turn(settings, 1, "Done.", session_id=str(UUID(int=number + 1)), transcript_path=str(tmp_path / "gone.jsonl"))
        await drain(settings)
        self.be_there(monkeypatch)
        await read_pending(settings, ReadReport())
        assert [(await stream_of(UUID(int=number + 1))).host for number in range(3)] == [None] * 3

    @pytest.mark.parametrize("told", [1, 5, 6, 9])
    async def test_the_rows_are_those_of_a_transcript_that_was_read_first(
        self, settings: Settings, transcript: Path, postgres: PostgreSQL, template: Database, told: int
    ) -> None:
        found = []
        for order in (["hooks", "file"], ["file", "hooks"]):
            async with postgres.own("order", template.name) as database:
                own = database.settings.model_copy(update={"home": settings.home / order[0], "claude_dirs": settings.claude_dirs})
                for step in order:
                    if step == "file":
                        let_end(transcript)
                        with pytest.MonkeyPatch.context() as there:
                            there.setattr("session_db.capture.importer.socket.gethostname", lambda: ELSEWHERE)
                            await import_recordings([transcript])
                    else:
                        answers = [f"answer {number}" for number in range(told)]
                        put_turn(own, 1, *answers, session_id=str(BACKGROUND), transcript_path=str(transcript))
                        await drain(own)
                found.append(await rows_without_clocks())
        for table, rows in found[1].items():
            assert _without_message_ids(found[0][table]) == _without_message_ids(rows), table

    async def test_other_messages_keep_their_places(self, settings: Settings, transcript: Path) -> None:
        await self.tell(settings, transcript, *(f"answer {number}" for number in range(8)))
        async with get_async_session() as db:
            await crud.save_display_messages(db, BACKGROUND, [message("from elsewhere")])
        await import_recordings([transcript])
        said = await spoken(BACKGROUND)
        assert (len(said), said[9]) == (10, ("user", "from elsewhere"))
        assert [text for _, text in said[7:9]] == ["", ""]
        assert "" not in [text for _, text in said[:7]]

    async def test_a_session_that_goes_on_on_another_machine_is_told_from_there_on(self, settings: Settings, transcript: Path) -> None:
        whole = transcript.read_bytes()
        lines = whole.splitlines(keepends=True)
        transcript.write_bytes(b"".join(lines[:30]))
        put_turn(settings, 0, "Read already.", session_id=str(BACKGROUND), transcript_path=str(transcript))
        os.utime(transcript, (transcript.stat().st_mtime + 1, transcript.stat().st_mtime + 1))
        await import_recordings([transcript])
        before = await spoken(BACKGROUND)
        async with get_async_session() as db:
            (stream,) = [each for each in await crud.list_transcripts(db, BACKGROUND) if not each.subpath]
            # It was read an hour ago.
            read_at = stream.mtime = (stream.mtime or stream.created_at) - timedelta(hours=1)
        for path in list((spool_of(settings).directory / "new").iterdir()):
            age(spool_of(settings), path.name, read_at + timedelta(seconds=1))
        put_turn(settings, 1, "Done.", session_id=str(BACKGROUND), transcript_path=str(transcript))
        assert (await drain(settings)).told == 2
        assert await spoken(BACKGROUND) == [*before, ("user", "prompt 1"), ("assistant", "Done.")]
        stream = await stream_of(BACKGROUND)
        assert (stream.source, stream.host, stream.next_seq) == ("hooks", ELSEWHERE, 30)
        put_turn(settings, 2, "Again.", session_id=str(BACKGROUND), transcript_path=str(transcript))
        await drain(settings)
        assert (await spoken(BACKGROUND))[-2:] == [("user", "prompt 2"), ("assistant", "Again.")]
        await import_recordings([transcript])
        assert len(await spoken(BACKGROUND)) == len(before) + 4
        transcript.write_bytes(whole)
        await import_recordings([transcript])
        said = await spoken(BACKGROUND)
        assert (len(said), said[: len(before)], (await stream_of(BACKGROUND)).source) == (7, before, "file")

    async def test_a_turn_that_is_in_the_transcript_is_not_told_whatever_the_clocks_say(self, settings: Settings, transcript: Path) -> None:
        os.utime(transcript, (1, 1))
        await import_recordings([transcript])
        (prompt_id, *_) = [entry["promptId"] for entry in entries_of(transcript) if "promptId" in entry]
        about = {"session_id": str(BACKGROUND), "transcript_path": str(transcript)}
        put(settings, "UserPromptSubmit", prompt_id=prompt_id, prompt="prompt", **about)
        put(settings, "Stop", last_assistant_message="Done.", **about)
        assert (await drain(settings)).told == 0

    async def test_a_transcript_without_a_word_takes_nothing_away(self, settings: Settings, transcript: Path) -> None:
        await self.tell(settings, transcript, "Done.")
        whole = entries_of(transcript)
        write_entries(transcript, [entry for entry in whole if entry["type"] not in {"user", "assistant"}][:1])
        await import_recordings([transcript])
        assert len(await spoken(BACKGROUND)) == 2
        assert (await stream_of(BACKGROUND)).source == "hooks"

    async def test_a_reading_that_is_killed_between_two_batches_goes_on(
        self, settings: Settings, transcript: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        await self.tell(settings, transcript, *(f"answer {number}" for number in range(8)))
        monkeypatch.setattr("session_db.capture.importer.BATCH_LINES", 10)
        with monkeypatch.context() as killed:
            killed.setattr("session_db.capture.importer._FileStream.end_told", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
            with pytest.raises(KeyboardInterrupt):
                await import_recordings([transcript])
        assert (await session_of(BACKGROUND)).message_count == 9
        assert (await stream_of(BACKGROUND)).source == "hooks"
        await import_recordings([transcript])
        assert len(await spoken(BACKGROUND)) == 7
        stream = await stream_of(BACKGROUND)
        assert (stream.source, "told" in stream.meta) == ("file", False)

    async def test_a_file_that_moved_to_another_project_takes_the_same_places(self, settings: Settings, transcript: Path) -> None:
        await self.tell(settings, transcript, "Done.")
        moved = transcript.parent.with_name("-home-dev-demo--claude-worktrees-x") / transcript.name
        moved.parent.mkdir()
        transcript.rename(moved)
        await import_recordings([moved])
        assert len(await spoken(BACKGROUND)) == 7
        assert (await stream_of(BACKGROUND)).project_key == PROJECT

    async def test_what_was_told_before_and_after_a_move_is_one_conversation(self, settings: Settings) -> None:
        put_turn(settings, 1, "Done.")
        await drain(settings)
        put_turn(settings, 2, "Again.", transcript_path=f"/home/dev/.claude/projects/-another/{SDK_SESSION}.jsonl")
        await drain(settings)
        assert await spoken() == [("user", "prompt 1"), ("assistant", "Done."), ("user", "prompt 2"), ("assistant", "Again.")]
        assert (await stream_of()).file_path == f"/home/dev/.claude/projects/-another/{SDK_SESSION}.jsonl"

    async def test_an_adopted_session_is_told_on_in_the_workflow(self, settings: Settings, transcript: Path) -> None:
        await self.tell(settings, transcript, "Done.")
        async with get_async_session() as db:
            workflow = await make_session(db, session_slug="2026-01-15_auth", working_dir="/home/dev")
            await crud.save_display_messages(db, workflow.id, [message("plan it")])
            await crud.create_agent(db, AgentCreate(session_id=workflow.id, agent_type="build", sdk_session_id=str(BACKGROUND)))
        put_turn(settings, 2, "Again.", session_id=str(BACKGROUND), transcript_path=str(transcript))
        await drain(settings)
        assert [text for _, text in await spoken(workflow.id)] == ["plan it", "prompt 1", "Done.", "prompt 2", "Again."]
        await import_recordings([transcript])
        said = [text for _, text in await spoken(workflow.id)]
        assert (len(said), said[0]) == (8, "plan it")
        assert "prompt 1" not in said


class TestDeletedIds:
    async def test_a_session_that_no_client_ever_was_in_does_not_come_back(self, settings: Settings) -> None:
        async with get_async_session() as db:
            await crud.create_session(db, SessionCreate(session_id=SESSION, agent_name="mine"))
            await crud.delete_session(db, SESSION)
        put_turn(settings, 1, "Done.")
        report = await drain(settings)
        assert (report.deleted, report.events, report.bad) == (3, 0, 0)

    async def test_one_that_is_created_anew_is_recorded(self, settings: Settings) -> None:
        async with get_async_session() as db:
            await crud.create_session(db, SessionCreate(session_id=SESSION, agent_name="mine"))
            await crud.delete_session(db, SESSION)
            await crud.erase_deleted_sessions(db, SESSION)
        async with get_async_session() as db:
            await crud.create_session(db, SessionCreate(session_id=SESSION, agent_name="mine"))
        put_turn(settings, 1, "Done.")
        assert (await drain(settings)).events == 3


def _without_message_ids(rows: list[str]) -> list[str]:
    return sorted(json.dumps({name: value for name, value in json.loads(row).items() if name != "id"}) for row in rows)


def _in_pages_of_one(read: Any) -> Any:
    async def one(db: Any, host: str, *, cursor: str | None = None) -> Any:
        return await read(db, host, limit=1, cursor=cursor)

    return one
