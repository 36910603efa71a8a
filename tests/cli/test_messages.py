"""``session-db messages list|append``."""

import asyncio
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from session_db import crud
from session_db.cli import messages
from session_db.cli.app import app
from session_db.database import get_async_session
from tests.cli.conftest import CommandLine
from tests.databases import Database
from tests.factories import make_session, message

COMMAND = Path(sys.executable).with_name("session-db")


@pytest.fixture
async def session_id(fresh_database: Database) -> str:
    async with get_async_session() as db:
        return str((await make_session(db)).id)


async def save(session_id: str, *new: dict[str, Any]) -> None:
    async with get_async_session() as db:
        session = await crud.list_sessions(db)
        assert [str(row.id) for row in session] == [session_id]
        await crud.save_display_messages(db, session[0].id, new)


def typed(cli: CommandLine, given: bytes, *arguments: str, exit_code: int = 0) -> Any:
    """Run a command with this standard input, and return the JSON that it prints."""
    result = cli.runner.invoke(app, [*arguments, "--json"], input=given)
    assert result.exit_code == exit_code, (result.output, result.exception)
    return json.loads(result.stdout)


class TestList:
    async def test_the_last_messages_come_first_and_the_cursor_leads_back(self, cli: CommandLine, session_id: str) -> None:
        await save(session_id, *(message(str(number)) for number in range(5)))
        cursor: list[str] = []
        pages = []
        while True:
            page = await asyncio.to_thread(cli.json, "messages", "list", session_id, "--limit", "2", *cursor)
            pages.append([item["message_index"] for item in page["items"]])
            if page["next_cursor"] is None:
                break
            cursor = ["--cursor", page["next_cursor"]]
        assert pages == [[3, 4], [1, 2], [0]]

    async def test_after_an_index_they_go_on_forwards(self, cli: CommandLine, session_id: str) -> None:
        await save(session_id, *(message(str(number)) for number in range(5)))
        arguments = ("messages", "list", session_id, "--after", "0", "--limit", "2")
        first = await asyncio.to_thread(cli.json, *arguments)
        second = await asyncio.to_thread(cli.json, *arguments, "--cursor", first["next_cursor"])
        assert [item["content"] for item in first["items"] + second["items"]] == ["1", "2", "3", "4"]
        assert second["next_cursor"] is None
        between = await asyncio.to_thread(cli.json, "messages", "list", session_id, "--after", "0", "--before", "3")
        assert [item["message_index"] for item in between["items"]] == [1, 2]

    @pytest.mark.parametrize(("limits", "rest"), [((), "--before 3"), (("--after", "0"), "--after 2")])
    async def test_people_are_told_how_to_go_on(self, cli: CommandLine, session_id: str, limits: tuple[str, ...], rest: str) -> None:
        await save(session_id, *(message() for _ in range(5)))
        output = (await asyncio.to_thread(cli, "messages", "list", session_id, "--limit", "2", *limits)).stdout
        assert f"session-db messages list {session_id} {rest}\n" in output

    async def test_people_see_who_said_what_and_when(self, cli: CommandLine, session_id: str) -> None:
        await save(session_id, message("Hello\n  there", timestamp="2025-12-25T03:35:06+02:00"))
        output = (await asyncio.to_thread(cli, "messages", "list", session_id)).stdout
        assert [line.rstrip() for line in output.splitlines()] == ["0  user  2025-12-25 01:35:06", "  Hello", "    there", ""]

    async def test_a_long_message_is_cut_unless_told(self, cli: CommandLine, session_id: str, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(messages, "SHOWN_LINES", 2)
        await save(session_id, message("one\ntwo\nthree " + "word " * 100))
        cut = (await asyncio.to_thread(cli, "messages", "list", session_id)).stdout
        assert "  two\n  … 507 more characters; --full shows them\n" in cut
        assert "three" not in cut
        assert "three word" in (await asyncio.to_thread(cli, "messages", "list", session_id, "--full")).stdout

    async def test_what_was_said_does_not_steer_the_terminal(self, cli: CommandLine, session_id: str) -> None:
        await save(session_id, message("\x1b[2J\u202e[bold]x\x07"), message("y" * 300))
        for more in ((), ("--full",)):
            output = (await asyncio.to_thread(cli, "messages", "list", session_id, *more)).stdout
            assert not {"\x1b", "\x07", "\u202e"} & set(output)
            assert "[bold]x" in output
        cut = (await asyncio.to_thread(cli, "messages", "list", session_id)).stdout
        assert max(map(len, cut.splitlines())) <= 80

    def test_an_empty_session_says_what_to_do(self, cli: CommandLine, session_id: str) -> None:
        assert f"session-db messages append {session_id} --role" in cli("messages", "list", session_id).stdout
        assert cli("messages", "list", session_id, "--after", "3").stdout == "No messages match.\n"

    def test_a_cursor_of_another_list_is_refused(self, cli: CommandLine, session_id: str) -> None:
        error = cli.json("messages", "list", session_id, "--cursor", "nonsense", exit_code=2)["error"]
        assert "'nonsense'" in error["message"]

    def test_an_unknown_session_is_named(self, cli: CommandLine) -> None:
        assert "no session 'nope'" in cli("messages", "list", "nope", exit_code=3).stderr


class TestAppend:
    def test_it_prints_where_the_message_stands(self, cli: CommandLine, session_id: str) -> None:
        append = ("messages", "append", session_id, "--role", "user", "--content")
        assert cli(*append, "Hello").stdout == "Message 0 was appended.\n"
        assert cli.json(*append, "Again") == {"session_id": session_id, "messages": [{"message_index": 1, "is_new": True}]}
        assert [item["content"] for item in cli.json("messages", "list", session_id)["items"]] == ["Hello", "Again"]

    def test_the_same_client_id_again_changes_nothing(self, cli: CommandLine, session_id: str) -> None:
        append = ("messages", "append", session_id, "--role", "assistant", "--client-id", "a", "--content")
        cli(*append, "Hello")
        assert cli(*append, "Other").stdout == "Message 0 was there already; nothing changed.\n"
        assert cli.json(*append, "Other")["messages"] == [{"message_index": 0, "is_new": False}]
        assert [item["content"] for item in cli.json("messages", "list", session_id)["items"]] == ["Hello"]

    def test_the_text_may_come_from_a_file_or_standard_input(self, cli: CommandLine, session_id: str, tmp_path: Path) -> None:
        path = tmp_path / "text"
        path.write_bytes("fïle\r\n".encode())
        cli("messages", "append", session_id, "--role", "user", "--content-file", str(path))
        typed(cli, "ïnput\n".encode(), "messages", "append", session_id, "--role", "user", "--content", "-")
        typed(cli, b"file -", "messages", "append", session_id, "--role", "user", "--content-file", "-")
        assert [item["content"] for item in cli.json("messages", "list", session_id)["items"]] == ["fïle\r\n", "ïnput\n", "file -"]

    def test_ten_megabytes_go_in_and_come_back(self, cli: CommandLine, session_id: str) -> None:
        content = "ä" * 5_000_000
        typed(cli, content.encode(), "messages", "append", session_id, "--role", "user", "--content", "-")
        assert cli.json("messages", "list", session_id)["items"][0]["content"] == content
        assert "4,996,000 more characters" in cli("messages", "list", session_id).stdout

    @pytest.mark.parametrize(
        "given",
        [
            b'[{"role": "user", "content": "a"},\n {"role": "assistant", "content": "b", "context": {"file": "x"}}]',
            b'\xef\xbb\xbf{"role": "user", "content": "a"}\n\n{"role": "assistant",\n "content": "b", "context": {"file": "x"}}\n',
        ],
        ids=["array", "lines"],
    )
    def test_whole_messages_may_be_many(self, cli: CommandLine, session_id: str, given: bytes) -> None:
        appended = typed(cli, given, "messages", "append", session_id, "--json-message", "-")["messages"]
        assert [entry["message_index"] for entry in appended] == [0, 1]
        listed = cli.json("messages", "list", session_id)["items"]
        assert [(item["role"], item["content"], item.get("context")) for item in listed] == [
            ("user", "a", None),
            ("assistant", "b", {"file": "x"}),
        ]

    def test_people_are_told_how_many_were_there_already(self, cli: CommandLine, session_id: str, tmp_path: Path) -> None:
        path = tmp_path / "messages.jsonl"
        first, second, third = (json.dumps({"role": "user", "content": "x", "client_id": name}) for name in "abc")
        append = ("messages", "append", session_id, "--json-message", str(path))
        path.write_text(first)
        cli(*append)
        path.write_text(f"{first}\n{second}\n{third}")
        assert cli(*append).stdout == "Messages 1 to 2 were appended; 1 of 3 were there already.\n"
        assert cli(*append).stdout == "All 3 messages were there already; nothing changed.\n"

    @pytest.mark.parametrize(
        ("given", "reason"),
        [
            (b'{"role": "user",\n "content": oops}', "standard input: no JSON at line 2, column 13"),
            (b'{"role": "user", "content": "x"}\n{torn', "no JSON at line 2, column 2"),
            (b"", "standard input holds no message"),
            (b"[]", "standard input holds no message"),
            (b"7", "messages[0]: is a int"),
            (b'{"role": "user"}', "messages[0].content: is a NoneType"),
            (b'{"role": "robot", "content": ""}', "messages[0].role: is 'robot'; use one of user, assistant, system"),
            (b'{"role": "user", "content": "a\\u0000b"}', "messages[0].content: holds a NUL"),
            (b'{"role": "user", "content": "\\ud800"}', "messages[0].content: holds a lone surrogate"),
            (b'{"role": "user", "content": "", "n": NaN}', "messages[0].n: is nan"),
            (b'{"role": "user", "content": "", "n": ' + b"9" * 5000 + b"}", "a number too long"),
            (b"[" * 100_000, "nested too deep"),
            (b'{"role": "user", "content": "\xff"}', "standard input is not valid UTF-8 from byte 29 on"),
        ],
    )
    def test_bad_json_is_named_with_its_place(self, cli: CommandLine, session_id: str, given: bytes, reason: str) -> None:
        error = typed(cli, given, "messages", "append", session_id, "--json-message", "-", exit_code=2)["error"]
        assert error["code"] == "invalid_input"
        assert reason in error["message"]
        assert cli.json("messages", "list", session_id)["items"] == []

    @pytest.mark.parametrize(
        ("given", "reason"), [(b"ab\xffc", "not valid UTF-8 from byte 2 on"), (b"a\x00b", "messages[0].content: holds a NUL")]
    )
    def test_bytes_that_are_no_text_are_refused(self, cli: CommandLine, session_id: str, given: bytes, reason: str) -> None:
        error = typed(cli, given, "messages", "append", session_id, "--role", "user", "--content", "-", exit_code=2)["error"]
        assert reason in error["message"]

    @pytest.mark.parametrize(
        ("arguments", "remedy"),
        [
            ([], "--content, --content-file or --json-message"),
            (["--content", "x"], "--role user"),
            (["--role", "robot", "--content", "x"], "use one of user, assistant, system"),
            (["--role", "user", "--content", "x", "--content-file", "y"], "give one of them"),
            (["--role", "user", "--json-message", "x"], "leave --role"),
            (["--role", "user", "--content", "x", "--client-id", "c" * 256], "1 to 255 characters"),
            (["--role", "user", "--content", "x", "--client-id", "\udcff"], "not valid UTF-8"),
            (["--role", "user", "--content", "\udcff"], "not valid UTF-8"),
            (["--role", "user", "--content-file", "/nowhere/at all"], "/nowhere/at all cannot be used"),
        ],
    )
    def test_what_is_missing_or_too_much_is_said(self, cli: CommandLine, session_id: str, arguments: list[str], remedy: str) -> None:
        assert remedy in cli.json("messages", "append", session_id, *arguments, exit_code=2)["error"]["message"]

    def test_a_closed_standard_input_is_said(self, fresh_database: Database, session_id: str) -> None:
        command = f'exec "$0" messages append {session_id} --role user --content - <&-'
        result = subprocess.run(
            ["sh", "-c", command, COMMAND], env=fresh_database.environment, capture_output=True, text=True, timeout=60, check=False
        )
        assert (result.returncode, result.stderr) == (2, "Error: standard input is closed; name a file instead of -.\n")

    def test_an_unknown_session_is_named(self, cli: CommandLine) -> None:
        assert "no session 'nope'" in cli("messages", "append", "nope", "--role", "user", "--content", "x", exit_code=3).stderr
