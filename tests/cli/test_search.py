"""``session-db search``."""

import asyncio
import json
from datetime import timedelta
from typing import Any
from uuid import UUID

import pytest

from session_db.crud import append_agent_logs, save_display_messages
from session_db.database import get_async_session
from session_db.models import Session
from session_db.models.table import now
from tests.capture.recorded import BACKGROUND, recording
from tests.cli.conftest import CommandLine
from tests.databases import Database
from tests.factories import event, make_session, message


async def session_with(*contents: str, days_ago: float = 0, **call: Any) -> Session:
    moment = now() - timedelta(days=days_ago)
    async with get_async_session() as db:
        session = await make_session(db, current_project="house", session_name="Mine")
        await save_display_messages(db, session.id, [message(content, timestamp=moment.isoformat()) for content in contents])
        if call:
            await append_agent_logs(db, [event(session, **({"timestamp": moment} | call))])
        return session


class TestSearch:
    def test_a_recorded_call_is_found_once_and_its_place_can_be_opened(self, cli: CommandLine) -> None:
        cli("import", str(recording(BACKGROUND)))
        output = cli("search", "echo hi", "--tool", "Bash").stdout
        (command,) = {line.strip() for line in output.splitlines() if line.strip().startswith("session-db events show")}
        shown = cli(*command.split()[1:]).stdout
        assert "echo hi" in shown
        assert "ToolUseBlock" in shown

    async def test_every_place_that_is_given_can_be_opened(self, cli: CommandLine, fresh_database: Database) -> None:
        await session_with("first", "the kick", content="kick", tool_name="Bash")
        output = (await asyncio.to_thread(cli, "search", "kick")).stdout
        commands = [line.split()[1:] for line in output.splitlines() if line.strip().startswith("session-db ")]
        assert [command[:2] for command in commands] == [["messages", "list"], ["events", "show"]]
        for command in commands:
            assert "kick" in (await asyncio.to_thread(cli, *command)).stdout
        assert "first" not in (await asyncio.to_thread(cli, *commands[0])).stdout

    async def test_it_fits_eighty_columns(self, cli: CommandLine, fresh_database: Database) -> None:
        await session_with(f"{'long ' * 80} kick {'longer ' * 80}", content="kick " * 100, tool_name="mcp__a_server__a_tool" * 9)
        output = (await asyncio.to_thread(cli, "search", "kick")).stdout
        assert max(map(len, output.splitlines())) <= 80
        assert "user  Mine" in output

    async def test_what_the_shell_quoted_is_a_phrase(self, cli: CommandLine, fresh_database: Database) -> None:
        await session_with("run pytest -x now", "x pytest", 'say "pytest x"')
        for words, expected in (
            (["pytest -x"], [2, 0]),
            (["pytest", "x"], [2, 1, 0]),
            (['"pytest x" say'], [2]),
            (["--", "pytest", "-say", "-run"], [1]),
            (["--", "--verbose"], []),
        ):
            found = json.loads((await asyncio.to_thread(cli, "search", "--json", *words)).stdout)["items"]
            assert [item["message_index"] for item in found] == expected, words

    async def test_filters(self, cli: CommandLine, fresh_database: Database) -> None:
        old = await session_with("kick", days_ago=10)
        new = await session_with("kick", content="kick", tool_name="Bash", event_type="Notification", tool_output="snare")
        for options, expected in (
            (["--since", "7d"], [new.id, new.id]),
            (["--since", "9 d", "--until", "1h"], []),
            (["--until", "1w"], [old.id]),
            (["--since", "2000-01-01", "--until", "2000-01-01T12:00:00+02:00"], []),
            (["--type", "message"], [new.id, old.id]),
            (["--session", str(old.id)], [old.id]),
            (["--session-type", "full"], []),
            (["--project", "house", "--tool", "Bash"], [new.id]),
            (["--event-type", "Notification"], [new.id]),
            (["--dir", "/nowhere"], []),
        ):
            items = (await asyncio.to_thread(cli.json, "search", "kick", *options))["items"]
            assert [UUID(item["session_id"]) for item in items] == expected, options
        assert len((await asyncio.to_thread(cli.json, "search", "snare", "--tool-output"))["items"]) == 1

    async def test_nothing_found_says_where_else_to_look(self, cli: CommandLine, fresh_database: Database) -> None:
        assert (await asyncio.to_thread(cli, "search", "kick")).stdout == "Nothing found. --tool-output also looks into what tools gave.\n"
        assert (await asyncio.to_thread(cli, "search", "kick", "--tool-output")).stdout == "Nothing found.\n"

    async def test_it_goes_on_until_it_finds_something(
        self, cli: CommandLine, fresh_database: Database, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("session_db.crud.search_rows.GLANCED", 2)
        monkeypatch.setattr("session_db.crud.search.GLANCES", 1)
        await session_with("out of memory", *["memory out of"] * 9)
        page = await asyncio.to_thread(cli.json, "search", "out of memory")
        assert [item["message_index"] for item in page["items"]] == [0]

    async def test_more_is_found_with_the_cursor(self, cli: CommandLine, fresh_database: Database) -> None:
        await session_with("kick 1", "kick 2", "kick 3")
        output = (await asyncio.to_thread(cli, "search", "kick", "--limit", "2")).stdout
        cursor = output.rstrip().rpartition("--cursor ")[2]
        more = (await asyncio.to_thread(cli, "search", "kick", "--limit", "2", "--cursor", cursor)).stdout
        assert "kick 3" in output
        assert "kick 1" not in output
        assert "kick 1" in more
        assert "More:" not in more

    async def test_nothing_of_what_was_found_steers_the_terminal(self, cli: CommandLine, fresh_database: Database) -> None:
        await session_with("\x1b[2J kick \x07[bold]x", content="kick \x1b]0;evil\x07", tool_name="\x1b[31m", event_type="\x1b[2J")
        output = (await asyncio.to_thread(cli, "search", "kick")).stdout
        assert "[bold]x" in output
        assert {"\x1b", "\x07"} & set(output) == set()

    @pytest.mark.parametrize(
        ("options", "word"),
        [
            (["--", "-kick"], "no word"),
            (["kick", "--since", "yesterday"], "--since"),
            (["kick", "--since", "999999999w"], "--since"),
            (["kick", "--until", "7 years"], "--until"),
            (["kick", "--type", "clip"], "session, message, event"),
            (["kick", "--session-type", "talk"], "full, quick"),
            (["kick", "--type", "message", "--tool", "Bash"], "only events"),
            (["kick", "--cursor", "x"], "cursor"),
            (["kick", "--limit", "0"], "limit"),
            ([], "WORDS"),
        ],
    )
    async def test_what_cannot_be_searched_is_an_error(
        self, cli: CommandLine, fresh_database: Database, options: list[str], word: str
    ) -> None:
        result = await asyncio.to_thread(cli, "search", "--json", *options, exit_code=2)
        assert word.lower() in result.stdout.lower()
        assert '"invalid_input"' in result.stdout

    async def test_a_session_that_is_not_there_is_an_error(self, cli: CommandLine, fresh_database: Database) -> None:
        error = (await asyncio.to_thread(cli.json, "search", "kick", "--session", "nowhere", exit_code=3))["error"]
        assert error["code"] == "not_found"
