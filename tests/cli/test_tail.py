"""``tail``: what agents do, as they do it."""

import asyncio
import json
import signal
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from session_db import crud
from session_db.capture.spool import Spool
from session_db.cli.tail import _unseen
from session_db.database import close_db, get_async_session
from session_db.live.heads import read_heads
from session_db.models.table import now
from tests.cli.conftest import CommandLine
from tests.databases import Database
from tests.factories import event, make_session, message

COMMAND = Path(sys.executable).with_name("session-db")


@asynccontextmanager
async def tailing(
    database: Database, *arguments: str, says: bytes = b"", ends_by_itself: bool = False
) -> AsyncIterator[AsyncIterator[dict[str, Any]]]:
    """Run the command, and give what it prints, line by line; Ctrl-C ends it well, and nothing but ``says`` is on standard error."""
    process = await asyncio.create_subprocess_exec(
        COMMAND, "tail", *arguments, "--json", env=database.environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    output = process.stdout
    assert output is not None

    async def lines() -> AsyncIterator[dict[str, Any]]:
        while line := await asyncio.wait_for(output.readline(), 20):
            yield json.loads(line)

    try:
        yield lines()
        if not ends_by_itself:
            process.send_signal(signal.SIGINT)
        _, errors = await asyncio.wait_for(process.communicate(), 20)
        assert (process.returncode, errors.replace(says, b"")) == (0, b"")
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()


async def new_session(**values: Any) -> Any:
    async with get_async_session() as db:
        session = await make_session(db, **values)
        await crud.append_agent_logs(
            db, [event(session, tool_name="Bash", tool_input={"command": f"echo {number}"}) for number in range(30)]
        )
        await crud.save_display_messages(db, session.id, [message("Hello!")])
        return session.id


async def until_all_are_followed(lines: AsyncIterator[dict[str, Any]], session_id: Any) -> int:
    """Let something happen again and again until the command shows it; return the index of the last such event, which it has shown, too."""
    told = asyncio.ensure_future(anext(lines))
    last = 29
    while not told.done():
        async with get_async_session() as db:
            await crud.append_agent_logs(db, [event(session_id)])
        last += 1
        await asyncio.wait([told], timeout=0.3)
    line = await told
    while line["data"]["event_index"] < last:
        line = await anext(lines)
    return last


class TestOne:
    async def test_it_shows_the_last_events_and_then_those_that_come(self, fresh_database: Database) -> None:
        session_id = await new_session()
        async with tailing(fresh_database, str(session_id)) as lines:
            first = [await anext(lines) for _ in range(22)]
            assert [line["type"] for line in first] == ["session", *["event"] * 20, "message"]
            assert (first[1]["data"]["event_index"], first[-1]["id"]) == (10, "30.1")
            async with get_async_session() as db:
                await crud.append_agent_logs(db, [event(session_id)])
            assert (await anext(lines))["id"] == "31.1"

    async def test_it_ends_with_the_session(self, fresh_database: Database) -> None:
        session_id = await new_session()
        async with tailing(fresh_database, str(session_id), "--after", "30.1", ends_by_itself=True) as lines:
            assert (await anext(lines))["type"] == "session"
            async with get_async_session() as db:
                await crud.delete_session(db, session_id)
            assert (await anext(lines))["type"] == "deleted"


class TestAll:
    async def test_it_shows_what_happens_in_every_session_from_now_on(self, fresh_database: Database) -> None:
        old = await new_session()
        async with tailing(fresh_database, "--all") as lines:
            last = await until_all_are_followed(lines, old)
            async with get_async_session() as db:
                await crud.append_agent_logs(db, [event(old)])
            told = await anext(lines)
            assert (told["session_id"], told["type"], told["data"]["event_index"]) == (str(old), "event", last + 1)
            new = await new_session()
            assert [(line["session_id"], line["type"]) for line in [await anext(lines), await anext(lines)]] == [
                (str(new), "session"),
                (str(new), "event"),
            ]

    async def test_what_hooks_capture_meanwhile_is_written_and_shown(
        self, fresh_database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("SESSION_DB_HOME", str(tmp_path))
        old = await new_session()
        async with tailing(fresh_database, "--all") as lines:
            await until_all_are_followed(lines, old)
            captured = {"session_id": "0c6b3c0a-7d31-4b7a-9d13-1f6b1f5b1c11", "hook_event_name": "ThoughtBegan"}
            Spool(tmp_path / "spool").put(json.dumps(captured).encode(), {}, "host")
            assert [(await anext(lines))["type"] for _ in range(2)] == ["session", "event"]

    async def test_an_old_session_that_it_did_not_know_begins_with_its_last_events(self, fresh_database: Database) -> None:
        old = await new_session()
        async with get_async_session() as db:
            head = (await read_heads(db, [old]))[old]
        assert _unseen(head, now()) == (10, 0)
        assert _unseen(head, datetime(2000, 1, 1, tzinfo=UTC)) == (0, 0)

    async def test_it_goes_on_after_the_database_ended_its_connections(self, fresh_database: Database) -> None:
        old = await new_session()
        polls = b"looking for changes each second instead of listening for them: the connection was lost\n"
        async with tailing(fresh_database, "--all", says=polls) as lines:
            last = await until_all_are_followed(lines, old)
            async with fresh_database.connected() as connection:
                others = (
                    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()"
                )
                await connection.execute(others)
            await close_db()
            async with get_async_session() as db:
                await crud.append_agent_logs(db, [event(old)])
            assert (await anext(lines))["data"]["event_index"] == last + 1


class TestOutput:
    @pytest.fixture
    async def session_id(self, fresh_database: Database) -> Any:
        async with get_async_session() as db:
            session = await make_session(db, title="Make the \x1b[31mkick punchier")
            told = event(session, event_type="PostToolUseFailure", tool_name="Bash", tool_input={"command": "rm \x1b[2J"}, tool_output="no")
            await crud.append_agent_logs(db, [told])
            await crud.save_display_messages(db, session.id, [message("Hello\nworld!")])
            return session.id

    def test_a_person_reads_lines_that_steer_no_terminal(self, session_id: Any, cli: CommandLine) -> None:
        printed = cli("tail", "--no-follow").stdout
        assert "\x1b" not in printed
        assert "Make the  [31mkick punchier" in printed
        assert "✗ PostToolUseFailure  Bash  rm  [2J  no" in printed
        assert "user Hello world!" in printed

    def test_all_takes_no_session(self, cli: CommandLine) -> None:
        cli("tail", "x", "--all", exit_code=2)

    def test_where_there_is_no_session_it_says_what_makes_one(self, cli: CommandLine) -> None:
        assert "session-db import" in cli.json("tail", "--no-follow", exit_code=3)["error"]["message"]
