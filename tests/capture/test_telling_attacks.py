"""Telling and reading what nobody does on purpose: spools that may not be changed, files that move, kills at any moment, and thousands."""

import asyncio
import json
import os
import random
import shutil
import signal
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest

from session_db import crud
from session_db.capture.drain import drain
from session_db.capture.importer import import_recordings
from session_db.capture.spool import Spool, spool_of
from session_db.crud.transcripts import get_missing
from session_db.database import get_async_session
from session_db.settings import Settings
from tests.capture.recorded import BACKGROUND, PROJECT, copy_of, rows_without_clocks
from tests.databases import Database

HOST = os.uname().nodename
SDK_SESSION = "0c6b3c0a-7d31-4b7a-9d13-1f6b1f5b1c11"
SESSION = UUID(SDK_SESSION)
COMMAND = Path(sys.executable).with_name("session-db")
SAID = [("user", "hello"), ("assistant", "Done.")]


@pytest.fixture
def settings(fresh_database: Database, tmp_path: Path) -> Settings:
    return fresh_database.settings.model_copy(update={"home": tmp_path / "home", "claude_dirs": str(tmp_path / "claude")})


@pytest.fixture
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is waited for."""
    monkeypatch.setattr("session_db.capture.drain.HELD", timedelta(0))
    monkeypatch.setattr("session_db.capture.drain.LAG", timedelta(0))


def put(settings: Settings, name: str, host: str = "buildbox", /, **payload: Any) -> str:
    event = {"session_id": SDK_SESSION, "hook_event_name": name, "cwd": "/home/dev/demo"} | payload
    return spool_of(settings).put(json.dumps(event).encode(), {}, host)


def put_session(settings: Settings, session_id: str = SDK_SESSION, **more: Any) -> list[str]:
    about = {"session_id": session_id, "prompt_id": "p"} | more
    shown = {"message_id": "m", "index": 0, "final": True, "delta": "Done."}
    events: list[tuple[str, dict[str, Any]]] = [
        ("UserPromptSubmit", {"prompt": "hello"}),
        ("MessageDisplay", shown),
        ("Stop", {"last_assistant_message": "Done."}),
        ("SessionEnd", {"reason": "other"}),
    ]
    return [put(settings, name, **about, **payload) for name, payload in events]


def age(settings: Settings, name: str, seconds: float) -> None:
    """Let an event have been captured some time ago."""
    path = spool_of(settings).directory / "new" / name
    boot, since, wall, pid = name.split("-")
    old = f"{int(wall) - int(seconds * 1e9):020d}"
    path.write_bytes(path.read_bytes().replace(f"captured_at={wall}".encode(), f"captured_at={int(old)}".encode(), 1))
    path.rename(path.with_name(f"{boot}-{since}-{old}-{pid}"))


async def spoken(session_id: UUID = SESSION) -> list[tuple[str, str]]:
    async with get_async_session() as db:
        return [(row["role"], row["content"]) for row in await crud.list_messages(db, session_id, limit=1000)]


class TestSpool:
    async def test_one_whose_files_may_not_be_removed_is_read_whole_and_told(
        self, settings: Settings, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        put_session(settings)
        put_session(settings, str(UUID(int=1)))

        def refuse(spool: Spool, name: str) -> None:
            raise PermissionError(13, "Permission denied", str(spool.directory / name))

        with monkeypatch.context() as patch:
            patch.setattr(Spool, "remove", refuse)
            patch.setattr(Spool, "hold", refuse)
            for _ in range(2):
                with pytest.raises(PermissionError):
                    await drain(settings)
        async with get_async_session() as db:
            counts = [len(await crud.list_agent_logs(db, UUID(one), event_category="hook")) for one in (SDK_SESSION, str(UUID(int=1)))]
        assert counts == [4, 4]
        assert (await drain(settings)).known == 8

    async def test_one_whose_lock_may_not_be_made_says_so(self, settings: Settings, fresh_database: Database) -> None:
        put_session(settings)
        (spool_of(settings).directory / "drain.lock").mkdir()
        environment = fresh_database.environment | {"SESSION_DB_HOME": str(settings.home)}
        done = subprocess.run([COMMAND, "drain"], env=environment, capture_output=True, text=True, check=False)
        assert done.returncode != 0
        assert f"{spool_of(settings).directory}/drain.lock cannot be used" in done.stderr
        assert "Traceback" not in done.stderr
        listed = subprocess.run([COMMAND, "sessions", "list"], env=environment, capture_output=True, text=True, check=False)
        assert (listed.returncode, "waits" in listed.stderr) == (0, True)

    @pytest.mark.parametrize("gone", ["new", "held", "the spool"])
    async def test_what_is_removed_while_it_is_drained_is_no_error(
        self, settings: Settings, monkeypatch: pytest.MonkeyPatch, at_once: None, gone: str
    ) -> None:
        put_session(settings)
        spool_of(settings).put(b"no event", {}, HOST)
        read = Spool.read

        def read_and_remove(spool: Spool, name: str) -> Any:
            captured = read(spool, name)
            shutil.rmtree(spool.directory if gone == "the spool" else spool.directory / gone, ignore_errors=True)
            return captured

        monkeypatch.setattr(Spool, "read", read_and_remove)
        report = await drain(settings)
        assert report.events >= 1

    async def test_what_nobody_understands_is_no_longer_held(self, settings: Settings, at_once: None) -> None:
        held = spool_of(settings).directory / "held"
        held.mkdir(parents=True)
        (held / "what is that").write_text("no event")
        os.mkfifo(held / "pipe")
        report = await asyncio.wait_for(drain(settings), 30)
        assert (report.bad, list(held.iterdir())) == (2, [])

    async def test_of_ten_thousand_that_are_held_none_is_read_before_its_time(
        self, settings: Settings, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        name = put(settings, "SessionEnd")
        spool = spool_of(settings)
        spool.hold(name)
        held = spool.directory / "held"
        boot, since, wall, _ = name.split("-")
        for number in range(10_000):
            os.link(held / name, held / f"{boot}-{since}-{wall}-{10**7 + number}")
        put(settings, "ThoughtBegan")
        reads: list[str] = []
        read = Spool.read

        def read_and_note(spool: Spool, name: str) -> Any:
            reads.append(name)
            return read(spool, name)

        monkeypatch.setattr(Spool, "read", read_and_note)
        assert (await drain(settings)).events == 1
        assert len(reads) == 1

    @pytest.mark.parametrize("hours", [1, -1], ids=["an hour ago", "in an hour"])
    async def test_a_clock_that_is_wrong_is_no_reason_to_wait(self, settings: Settings, hours: int) -> None:
        for name in put_session(settings):
            age(settings, name, hours * 3600)
        await drain(settings)
        await drain(settings)
        assert await spoken() == SAID


class TestLarge:
    async def test_a_prompt_of_ten_megabytes_is_told(self, settings: Settings, at_once: None) -> None:
        put(settings, "UserPromptSubmit", prompt_id="p", prompt="é" * 10_000_000)
        put(settings, "Stop", last_assistant_message="Done.")
        assert (await drain(settings)).told == 2
        (_, prompt), answer = await spoken()
        assert (len(prompt), answer) == (1_000_000, ("assistant", "Done."))


class TestMoves:
    async def test_a_transcript_that_moves_to_another_project_is_one_stream_of_one_session(
        self, settings: Settings, tmp_path: Path, at_once: None
    ) -> None:
        """The client does that where its agent enters a worktree."""
        transcript = copy_of(BACKGROUND, tmp_path / "claude" / "projects")
        whole = transcript.read_bytes()
        transcript.write_bytes(b"".join(whole.splitlines(keepends=True)[:20]))
        put(settings, "PostToolBatch", HOST, session_id=str(BACKGROUND), transcript_path=str(transcript))
        await drain(settings)
        moved = tmp_path / "claude" / "projects" / "-home-dev-demo--claude-worktrees-x" / transcript.name
        shutil.move(transcript.parent, moved.parent)
        moved.write_bytes(whole)
        for name in ("Stop", "SessionEnd"):
            put(settings, name, HOST, session_id=str(BACKGROUND), transcript_path=str(moved))
        await drain(settings)
        found = await rows_without_clocks()
        assert (len(found["sessions"]), len(found["messages"])) == (1, 7)
        assert sum('"subpath": ""' in row for row in found["transcripts"]) == 1
        assert len(found["transcript_entries"]) == sum(len(path.read_bytes().splitlines()) for path in moved.parent.rglob("*.jsonl"))

    async def test_a_host_that_changes_its_name_is_told_and_its_file_imported(
        self, settings: Settings, tmp_path: Path, at_once: None, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        transcript = copy_of(BACKGROUND, tmp_path / "claude" / "projects")
        put_session(settings, str(BACKGROUND), transcript_path=str(transcript))
        put(settings, "SessionStart", "dhcp-17", session_id=str(BACKGROUND), source="resume", transcript_path=str(transcript))
        await drain(settings)
        assert await spoken(BACKGROUND) == SAID
        async with get_async_session() as db:
            session = await crud.get_session(db, BACKGROUND)
            assert session is not None
            assert (session.host, (await get_missing(db)).pending) == ("buildbox", 1)
        await import_recordings([transcript])
        async with get_async_session() as db:
            assert (await get_missing(db)).pending == 0
        assert len(await spoken(BACKGROUND)) == 7


class TestTwoHomes:
    async def test_two_spools_at_once_tell_one_session_once(self, settings: Settings, at_once: None) -> None:
        homes = [settings.model_copy(update={"home": settings.home / name}) for name in ("one", "two")]
        for round_ in range(5):
            for home in homes:
                put_session(home, prompt_id=f"{round_}")
            await asyncio.gather(*(drain(home) for home in homes))
        async with get_async_session() as db:
            messages = await crud.list_messages(db, SESSION, limit=100)
            told = await crud.list_agent_logs(db, SESSION, limit=1000)
        assert [(row["role"], row["content"]) for row in messages] == SAID * 5
        assert [event.event_index for event in told] == list(range(len(told)))
        # An event is one row, whoever told it; but of two ends nobody can say that they are one.
        assert [event.event_type for event in told].count("UserPromptSubmit") == 5

    @pytest.mark.parametrize("ends", [["Done."], ["Let me see.", "Done."]])
    async def test_an_end_that_comes_again_when_all_was_told_says_nothing_new(
        self, settings: Settings, at_once: None, ends: list[str]
    ) -> None:
        homes = [settings.model_copy(update={"home": settings.home / name}) for name in ("one", "two")]
        for round_ in range(3):
            for home in homes:
                put(home, "UserPromptSubmit", prompt_id=f"{round_}", prompt="hello")
                for answer in ends:
                    put(home, "Stop", prompt_id=f"{round_}", last_assistant_message=answer)
                await drain(home)
        assert await spoken() == [("user", "hello"), *(("assistant", answer) for answer in ends)] * 3

    async def test_an_answer_that_only_the_second_one_knows_is_told(self, settings: Settings, at_once: None) -> None:
        homes = [settings.model_copy(update={"home": settings.home / name}) for name in ("one", "two")]
        put(homes[0], "UserPromptSubmit", prompt_id="p", prompt="hello")
        put(homes[0], "Stop", prompt_id="p", last_assistant_message="Let me see.")
        await drain(homes[0])
        put(homes[1], "Stop", prompt_id="p", last_assistant_message="Let me see.")
        put(homes[1], "Stop", prompt_id="p", last_assistant_message="Done.")
        await drain(homes[1])
        assert await spoken() == [("user", "hello"), ("assistant", "Let me see."), ("assistant", "Done.")]


class TestKills:
    """Real processes, ended at moments that nobody chose."""

    async def test_a_drain_that_is_killed_again_and_again_tells_everything_once(self, settings: Settings, fresh_database: Database) -> None:
        sessions = [UUID(int=number + 1) for number in range(60)]
        for session_id in sessions:
            for name in put_session(settings, str(session_id), transcript_path=f"/p/{session_id}.jsonl"):
                age(settings, name, 100)
        spool = spool_of(settings)
        chance = random.Random()  # noqa: S311  no secret
        environment = fresh_database.environment | {"SESSION_DB_HOME": str(settings.home)}
        kills = 0
        while left := spool.state().waiting + len(list(spool.held.names())):
            process = subprocess.Popen(
                [COMMAND, "drain"], env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, stdin=subprocess.DEVNULL
            )
            limit = chance.randrange(max(0, left - 40), left + 1)
            while process.poll() is None and spool.state().waiting + len(list(spool.held.names())) >= limit:
                await asyncio.sleep(0.001)
            kills += process.poll() is None
            process.send_signal(signal.SIGKILL)
            process.wait()
        assert kills > 1
        for session_id in sessions:
            assert await spoken(session_id) == SAID
        async with get_async_session() as db:
            assert (await get_missing(db)).pending == len(sessions)

    async def test_an_import_that_is_killed_takes_every_place_in_the_end(
        self, settings: Settings, tmp_path: Path, fresh_database: Database, at_once: None
    ) -> None:
        transcript = tmp_path / "claude" / "projects" / PROJECT / f"{SDK_SESSION}.jsonl"
        transcript.parent.mkdir(parents=True)
        count = 3_000
        with transcript.open("w") as file:
            for number in range(count):
                entry = {
                    "type": "user",
                    "uuid": f"u{number}",
                    "timestamp": datetime.now(UTC).isoformat(),
                    "message": {"content": f"{number}"},
                }
                file.write(json.dumps(entry) + "\n")
        for number in range(count // 2):
            put(settings, "UserPromptSubmit", prompt_id=f"{number}", prompt=f"told {number}", transcript_path=str(transcript))
        put(settings, "SessionEnd", transcript_path=str(transcript))
        assert (await drain(settings)).told == count // 2
        chance = random.Random()  # noqa: S311  no secret
        kills = 0
        while (await count_pending()) == 1:
            process = subprocess.Popen(
                [COMMAND, "import", str(transcript)], env=fresh_database.environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
            )
            try:
                process.wait(chance.uniform(1.5, 6) + kills)
            except subprocess.TimeoutExpired:
                kills += 1
            process.send_signal(signal.SIGKILL)
            process.wait()
        async with get_async_session() as db:
            rows = [row async for row in all_messages()]
            assert await crud.get_message_count(db, SESSION) == count
        assert [row["content"] for row in rows] == [str(number) for number in range(count)]
        assert [row["message_index"] for row in rows] == list(range(count))


async def count_pending() -> int:
    async with get_async_session() as db:
        return (await get_missing(db)).pending


async def all_messages() -> Any:
    after = -1
    while True:
        async with get_async_session() as db:
            page = await crud.list_messages(db, SESSION, after_index=after, limit=1000)
        if not page:
            return
        for row in page:
            yield row
        after = page[-1]["message_index"]
