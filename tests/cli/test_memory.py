"""``session-db memory list|add|set|remove``."""

from typing import Any

import pytest

from session_db.database import get_async_session
from tests.cli.conftest import CommandLine
from tests.databases import Database
from tests.factories import make_session


@pytest.fixture
async def session_id(fresh_database: Database) -> str:
    async with get_async_session() as db:
        return str((await make_session(db)).id)


def listed(cli: CommandLine, session_id: str) -> list[tuple[str, bool, bool]]:
    items: list[dict[str, Any]] = cli.json("memory", "list", session_id)["items"]
    return [(item["file_path"], item["is_primary"], item["loaded"]) for item in items]


class TestList:
    def test_pages_follow_one_another(self, cli: CommandLine, session_id: str) -> None:
        for path in ("c", "a", "b"):
            cli("memory", "add", session_id, path)
        first = cli.json("memory", "list", session_id, "--limit", "2")
        second = cli.json("memory", "list", session_id, "--limit", "2", "--cursor", first["next_cursor"])
        assert [item["file_path"] for item in first["items"] + second["items"]] == ["c", "a", "b"]
        assert second["next_cursor"] is None
        more = f"More: session-db memory list {session_id} --cursor {first['next_cursor']}"
        assert more in cli("memory", "list", session_id, "--limit", "2").stdout

    def test_an_empty_one_says_what_to_do(self, cli: CommandLine, session_id: str) -> None:
        assert f"session-db memory add {session_id} PATH" in cli("memory", "list", session_id).stdout

    def test_a_path_that_is_long_or_hostile_is_shown_whole_in_eighty_columns(self, cli: CommandLine, session_id: str) -> None:
        cli("memory", "add", session_id, "[bold]\x1b[2J\u202e" + "d" * 200)
        output = cli("memory", "list", session_id).stdout
        assert not {"\x1b", "\u202e"} & set(output)
        assert "[bold]" in output
        assert output.count("d") >= 200
        assert max(map(len, output.splitlines())) <= 80

    def test_an_unknown_session_is_named(self, cli: CommandLine) -> None:
        assert "no session 'nope'" in cli("memory", "list", "nope", exit_code=3).stderr


class TestAdd:
    def test_it_is_loaded_and_not_primary_unless_told(self, cli: CommandLine, session_id: str) -> None:
        assert cli("memory", "add", session_id, "a.md").stdout == "Added: a.md (loaded).\n"
        added = cli.json("memory", "add", session_id, "b.md", "--primary", "--no-loaded")
        assert (added["session_id"], added["file_path"], added["is_primary"], added["loaded"]) == (session_id, "b.md", True, False)

    def test_a_second_primary_takes_the_flag(self, cli: CommandLine, session_id: str) -> None:
        cli("memory", "add", session_id, "a.md", "--primary")
        cli("memory", "add", session_id, "b.md", "--primary")
        assert listed(cli, session_id) == [("a.md", False, True), ("b.md", True, True)]

    def test_a_path_that_is_there_is_refused(self, cli: CommandLine, session_id: str) -> None:
        cli("memory", "add", session_id, "a.md")
        assert "file_path=a.md" in cli("memory", "add", session_id, "a.md", exit_code=4).stderr

    @pytest.mark.parametrize(
        ("path", "reason"), [("", "at least 1 character"), ("d" * 501, "at most 500 characters"), ("\udcff", "not valid UTF-8")]
    )
    def test_a_path_that_cannot_be_kept_is_refused(self, cli: CommandLine, session_id: str, path: str, reason: str) -> None:
        assert reason in cli.json("memory", "add", session_id, path, exit_code=2)["error"]["message"]


class TestSet:
    def test_only_what_is_given_changes(self, cli: CommandLine, session_id: str) -> None:
        cli("memory", "add", session_id, "a.md", "--primary")
        assert cli("memory", "set", session_id, "a.md", "--no-loaded").stdout == "Changed: a.md (primary, not loaded).\n"
        assert cli.json("memory", "set", session_id, "a.md", "--no-primary", "--loaded")["is_primary"] is False
        assert listed(cli, session_id) == [("a.md", False, True)]

    def test_the_flag_moves(self, cli: CommandLine, session_id: str) -> None:
        cli("memory", "add", session_id, "a.md", "--primary")
        cli("memory", "add", session_id, "b.md")
        cli("memory", "set", session_id, "b.md", "--primary")
        assert listed(cli, session_id) == [("a.md", False, True), ("b.md", True, True)]

    def test_nothing_to_change_is_said(self, cli: CommandLine, session_id: str) -> None:
        cli("memory", "add", session_id, "a.md")
        assert "use --primary" in cli("memory", "set", session_id, "a.md", exit_code=2).stderr

    @pytest.mark.parametrize("arguments", [("set", "--loaded"), ("remove",)])
    def test_an_unknown_path_is_named(self, cli: CommandLine, session_id: str, arguments: tuple[str, ...]) -> None:
        command, *options = arguments
        error = cli.json("memory", command, session_id, "no.md", *options, exit_code=3)["error"]
        assert "no memory file 'no.md'" in error["message"]
        assert f"session-db memory list {session_id}" in error["message"]


class TestRemove:
    def test_it_is_gone(self, cli: CommandLine, session_id: str) -> None:
        for path in ("a.md", "b.md"):
            cli("memory", "add", session_id, path)
        assert cli.json("memory", "remove", session_id, "a.md") == {"session_id": session_id, "file_path": "a.md", "removed": True}
        assert cli("memory", "remove", session_id, "b.md").stdout == "Removed: b.md (loaded).\n"
        assert listed(cli, session_id) == []
