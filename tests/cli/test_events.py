"""``session-db events``."""

import asyncio
from typing import Any

import pytest

from session_db.crud import append_agent_logs
from session_db.database import get_async_session
from session_db.models import Session
from session_db.models.text import READABLE_LIMIT
from tests.capture.recorded import BACKGROUND, recording
from tests.cli.conftest import CommandLine
from tests.databases import Database
from tests.factories import event, make_agent, make_session


@pytest.fixture
def imported(cli: CommandLine) -> CommandLine:
    cli("import", str(recording(BACKGROUND)))
    return cli


async def session_with(*events: dict[str, Any]) -> Session:
    async with get_async_session() as db:
        session = await make_session(db)
        await append_agent_logs(db, [event(session, **values) for values in events])
        return session


class TestList:
    def test_lines_fit_eighty_columns_and_forty(self, imported: CommandLine, monkeypatch: pytest.MonkeyPatch) -> None:
        output = imported("events", "list", str(BACKGROUND)).stdout
        assert "general-pu" in output
        assert "ToolUseBlock     Bash  echo hi" in output
        assert max(map(len, output.splitlines())) <= 80
        monkeypatch.setenv("COLUMNS", "40")
        assert max(map(len, imported("events", "list", str(BACKGROUND)).stdout.splitlines())) <= 40

    @pytest.mark.parametrize("order", ["recorded", "happened"])
    def test_pages_follow_one_another(self, imported: CommandLine, order: str) -> None:
        arguments = ("events", "list", str(BACKGROUND), "--order", order)
        whole = imported.json(*arguments)
        assert whole["next_cursor"] is None
        first = imported.json(*arguments, "--limit", "20")
        second = imported.json(*arguments, "--limit", "20", "--cursor", first["next_cursor"])
        assert first["items"] + second["items"] == whole["items"]
        assert len(whole["items"]) == 23
        assert f"--cursor {first['next_cursor']}" in imported(*arguments, "--limit", "20").stdout

    async def test_each_filter_finds_what_it_names(self, cli: CommandLine, fresh_database: Database) -> None:
        async with get_async_session() as db:
            agent = await make_agent(db)
            called = {"event_type": "PostToolUse", "tool_name": "Read", "tool_use_id": "toolu_1"}
            events: list[dict[str, Any]] = [{}, {"agent_id": agent.id}, called, {"event_category": "phase", "event_type": "status"}]
            await append_agent_logs(db, [event(agent.session_id, **values) for values in events])
        for filters, expected in (
            (["--agent", str(agent.id)], [1]),
            (["--type", "PreToolUse"], [0, 1]),
            (["--category", "phase"], [3]),
            (["--tool", "Read"], [2]),
            (["--tool-use-id", "toolu_1"], [2]),
            (["--after", "1"], [2, 3]),
            (["--after", "0", "--category", "hook"], [1, 2]),
        ):
            items = (await asyncio.to_thread(cli.json, "events", "list", str(agent.session_id), *filters))["items"]
            assert [item["event_index"] for item in items] == expected, filters

    @pytest.mark.parametrize(
        ("option", "allowed"), [("--category", "hook, response, phase"), ("--order", "recorded or happened"), ("--agent", "UUID")]
    )
    def test_a_word_that_nothing_can_have_is_an_error(self, imported: CommandLine, option: str, allowed: str) -> None:
        error = imported.json("events", "list", str(BACKGROUND), option, "bogus", exit_code=2)["error"]
        assert error["code"] == "invalid_input"
        assert allowed.lower() in error["message"].lower()

    async def test_an_empty_list_says_why(self, cli: CommandLine, fresh_database: Database) -> None:
        session = await session_with()
        assert (await asyncio.to_thread(cli, "events", "list", str(session.id))).stdout == "No events yet.\n"
        assert (await asyncio.to_thread(cli, "events", "list", str(session.id), "--tool", "x")).stdout == "No events match.\n"

    async def test_what_is_large_is_left_out_with_its_size(self, cli: CommandLine, fresh_database: Database) -> None:
        large = {"content": "x" * READABLE_LIMIT}
        session = await session_with({"tool_name": "Write", "tool_input": large, "payload": large})
        (item,) = (await asyncio.to_thread(cli.json, "events", "list", str(session.id)))["items"]
        assert (item["tool_input"], item["tool_input_bytes"], item["payload_bytes"]) == (None, 16399, 16399)
        assert "Write  (16.4kB)" in (await asyncio.to_thread(cli, "events", "list", str(session.id))).stdout


class TestShow:
    async def test_it_has_the_whole_payload_by_index_and_by_id(self, cli: CommandLine, fresh_database: Database) -> None:
        large = {"content": "x" * READABLE_LIMIT}
        session = await session_with({}, {"tool_name": "Write", "tool_input": large, "payload": [large, "\x00\ud800"]})
        by_index = await asyncio.to_thread(cli.json, "events", "show", str(session.id), "1")
        assert (by_index["tool_input"], by_index["payload"]) == (large, [large, "\x00\ud800"])
        assert await asyncio.to_thread(cli.json, "events", "show", str(session.id), by_index["id"]) == by_index

    async def test_json_holds_keys_that_are_no_text(self, cli: CommandLine, fresh_database: Database) -> None:
        async with get_async_session() as db:
            agent = await make_agent(db)
            odd = {"\ud800": 1}
            await append_agent_logs(db, [event(agent.session_id, agent_id=agent.id, tool_name="Write", tool_input=odd, payload=odd)])
        session_id = str(agent.session_id)
        shown = await asyncio.to_thread(cli.json, "events", "show", session_id, "0")
        assert (shown["tool_input"], shown["payload"]) == (odd, odd)
        for command in (("events", "list", session_id), ("sessions", "show", session_id), ("agents", "show", str(agent.id))):
            printed = await asyncio.to_thread(cli.json, *command)
            (listed,) = printed.get("items", printed.get("events"))
            assert listed == {name: value for name, value in shown.items() if name != "payload"}

    def test_people_see_it_at_eighty_columns(self, imported: CommandLine) -> None:
        output = imported("events", "show", str(BACKGROUND), "3").stdout
        for text in ("response · ToolResultBlock", "Write", "tool_output", "payload", '"type": "tool_result"'):
            assert text in output
        assert max(map(len, output.splitlines())) <= 80

    async def test_nothing_of_an_event_steers_the_terminal(self, cli: CommandLine, fresh_database: Database) -> None:
        evil = "\x1b[2J[bold]x\x07"
        session = await session_with({"event_type": "a\x1b[2J", "tool_name": "b\x07", "content": evil, "payload": {evil: evil}})
        for arguments in (("events", "show", str(session.id), "0"), ("events", "list", str(session.id))):
            output = (await asyncio.to_thread(cli, *arguments)).stdout
            assert "[bold]x" in output
            assert {"\x1b", "\x07"} & set(output) == set()

    @pytest.mark.parametrize(
        ("key", "code"), [("99", "not_found"), (str(BACKGROUND), "not_found"), ("9" * 18, "not_found"), ("first", "invalid_input"),
                          ("9" * 19, "invalid_input"), ("²", "invalid_input")]
    )  # fmt: skip
    def test_one_that_is_not_there_is_an_error(self, imported: CommandLine, key: str, code: str) -> None:
        exit_code = {"not_found": 3, "invalid_input": 2}[code]
        assert imported.json("events", "show", str(BACKGROUND), key, exit_code=exit_code)["error"]["code"] == code
