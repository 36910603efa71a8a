"""``session-db clips|songs|playlists``."""

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest

from session_db.cli.app import app
from tests.cli.conftest import CommandLine

NEEDED = {"clips": ("--name", "N", "--project", "P", "--code", "c"), "songs": ("--name", "N", "--project", "P")} | {
    "playlists": ("--name", "N", "--project", "P")
}


@pytest.fixture(params=["clips", "songs", "playlists"])
def noun(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def make(cli: CommandLine, noun: str, item_id: str, *more: str) -> Any:
    return cli.json(noun, "set", item_id, *NEEDED[noun], *more)


def coded(cli: CommandLine, code: bytes, clip_id: str = "kick") -> Any:
    """Set the code of a clip by standard input."""
    result = cli.runner.invoke(app, ["clips", "set", clip_id, *NEEDED["clips"][:4], "--code-file", "-", "--json"], input=code)
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout)


class TestList:
    def test_pages_follow_one_another(self, cli: CommandLine, noun: str) -> None:
        for item_id in ("c", "a", "b"):
            make(cli, noun, item_id)
        first = cli.json(noun, "list", "--limit", "2")
        second = cli.json(noun, "list", "--limit", "2", "--cursor", first["next_cursor"])
        assert [item[f"{noun[:-1]}_id"] for item in first["items"] + second["items"]] == ["a", "b", "c"]
        assert second["next_cursor"] is None
        more = f"More: session-db {noun} list --project P --cursor {first['next_cursor']}"
        assert more in cli(noun, "list", "--limit", "2", "--project", "P").stdout

    def test_a_projects_are_listed_alone(self, cli: CommandLine, noun: str) -> None:
        make(cli, noun, "a")
        make(cli, noun, "b", "--project", "other")
        assert [item["project_id"] for item in cli.json(noun, "list", "--project", "other")["items"]] == ["other"]
        assert cli(noun, "list", "--project", "none").stdout == f"No {noun} match.\n"

    def test_an_empty_list_says_what_to_do(self, cli: CommandLine, noun: str) -> None:
        assert f"session-db {noun} set ID --name NAME" in cli(noun, "list").stdout

    @pytest.mark.parametrize("columns", [80, 40])
    def test_what_an_agent_named_does_not_steer_the_terminal(
        self, cli: CommandLine, noun: str, columns: int, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("COLUMNS", str(columns))
        name, project = "\u202e[b]n" + "n" * 150, "p" * 100
        make(cli, noun, "[i]" + "x" * 90 + "\x1b[2J", "--name", name, "--project", project, "--metadata", '{"a": "\\u001b[0m"}')
        for command in (("list",), ("show", "[i]" + "x" * 90 + "\x1b[2J")):
            output = cli(noun, *command).stdout
            assert not {"\x1b", "\u202e"} & set(output)
            assert output.count("x") >= 90, "an id can be read whole"
            assert max(map(len, output.splitlines())) <= columns


class TestShow:
    def test_it_shows_what_was_set(self, cli: CommandLine, noun: str) -> None:
        make(cli, noun, "a", "--metadata", '{"bpm": 120}')
        shown = cli.json(noun, "show", "a")
        assert (shown["name"], shown["project_id"], shown["version"], shown["metadata"]) == ("N", "P", 1, {"bpm": 120})
        output = cli(noun, "show", "a").stdout
        assert '{"bpm": 120}' in output

    def test_the_code_stands_as_it_is_but_for_control_characters(self, cli: CommandLine) -> None:
        line = "stack([bold], " + "x" * 100 + ")"
        coded(cli, f"{line}\n\x1b[2Jend\n".encode())
        assert cli("clips", "show", "kick").stdout.endswith(f"\n\n{line}\n [2Jend\n")

    def test_an_unknown_one_is_named(self, cli: CommandLine, noun: str) -> None:
        message = cli.json(noun, "show", "nope", exit_code=3)["error"]["message"]
        assert message == f"there is no {noun[:-1]} 'nope'; session-db {noun} list shows which there are."


class TestSet:
    def test_it_says_whether_it_created_or_changed(self, cli: CommandLine, noun: str) -> None:
        key = f"{noun[:-1]}_id"
        assert make(cli, noun, "a") == {key: "a", "version": 1, "outcome": "created"}
        assert make(cli, noun, "a") == {key: "a", "version": 1, "outcome": "unchanged"}
        assert make(cli, noun, "a", "--name", "New") == {key: "a", "version": 2, "outcome": "changed"}
        assert cli(noun, "set", "a", "--metadata", '{"a": true}').stdout == f"{noun[:-1].capitalize()} a is changed: version 3.\n"

    def test_what_a_new_one_needs_is_said(self, cli: CommandLine, noun: str) -> None:
        message = cli.json(noun, "set", "a", "--project", "P", exit_code=2)["error"]["message"]
        assert message.startswith(f"there is no {noun[:-1]} 'a'; to create it, give name")

    def test_a_version_may_be_expected(self, cli: CommandLine, noun: str) -> None:
        assert make(cli, noun, "a", "--expect-version", "0")["outcome"] == "created"
        assert cli.json(noun, "set", "a", "--name", "X", "--expect-version", "1")["version"] == 2
        for expected in ("0", "1"):
            error = cli.json(noun, "set", "a", "--name", "Y", "--expect-version", expected, exit_code=4)["error"]
            assert error["code"] == "stale_version"
        assert "no " in cli(noun, "set", "b", *NEEDED[noun], "--expect-version", "1", exit_code=3).stderr

    @pytest.mark.parametrize(
        ("arguments", "reason"),
        [
            (["--metadata", '{"a": '], "--metadata: no JSON at line 1, column 7"),
            (["--metadata", "[1]"], "--metadata: is no JSON object"),
            (["--metadata", "{} {}"], "--metadata: is no JSON object"),
            (["--metadata", '{"a": ["\\u0000"]}'], "metadata.a[0]: holds a NUL"),
            (["--metadata", '{"a": Infinity}'], "metadata.a: is inf"),
            (["--metadata", "\udcff"], "not valid UTF-8"),
            (["--name", "\udcff"], "not valid UTF-8"),
            (["--name", ""], "name: String should have at least 1 character"),
            (["--name", "n" * 201], "name: String should have at most 200 characters"),
        ],
    )
    def test_bad_values_are_named(self, cli: CommandLine, arguments: list[str], reason: str) -> None:
        make(cli, "songs", "a")
        message = cli.json("songs", "set", "a", *arguments, exit_code=2)["error"]["message"]
        assert reason in message
        assert "Value error" not in message

    @pytest.mark.parametrize(("item_id", "reason"), [("", "at least 1 character"), ("i" * 101, "at most 100"), ("\udcff", "valid UTF-8")])
    def test_bad_ids_are_named(self, cli: CommandLine, item_id: str, reason: str) -> None:
        assert reason in cli.json("clips", "set", item_id, *NEEDED["clips"], exit_code=2)["error"]["message"]

    def test_code_comes_in_as_it_is(self, cli: CommandLine, tmp_path: Path) -> None:
        path = tmp_path / "kick.js"
        path.write_bytes("é\r\n\tend".encode())
        make(cli, "clips", "kick", "--code", "x")
        cli("clips", "set", "kick", "--code-file", str(path))
        assert cli.json("clips", "show", "kick")["code"] == "é\r\n\tend"
        coded(cli, b"x" * 10_000_000)
        assert len(cli.json("clips", "show", "kick")["code"]) == 10_000_000

    @pytest.mark.parametrize(("code", "reason"), [(b"a\xff", "not valid UTF-8 from byte 1 on"), (b"a\x00", "code: holds a NUL")])
    def test_code_that_is_no_text_is_refused(self, cli: CommandLine, code: bytes, reason: str) -> None:
        result = cli.runner.invoke(app, ["clips", "set", "kick", "--code", "-"], input=code)
        assert result.exit_code == 2
        assert reason in result.stderr
        assert "give one of them" in cli("clips", "set", "kick", "--code", "x", "--code-file", "y", exit_code=2).stderr

    def test_parts_keep_their_order_and_may_be_taken_out(self, cli: CommandLine) -> None:
        for clip_id in ("kick", "bass"):
            make(cli, "clips", clip_id)
        make(cli, "songs", "s", "--clip-ids", "kick", "--clip-ids", "bass", "--clip-ids", "kick")
        make(cli, "playlists", "p", "--song-ids", "s")
        assert cli.json("songs", "show", "s")["clip_ids"] == ["kick", "bass", "kick"]
        assert "kick, bass, kick" in cli("songs", "show", "s").stdout
        assert cli.json("songs", "set", "s", "--name", "New")["version"] == 2
        assert cli.json("songs", "show", "s")["clip_ids"] == ["kick", "bass", "kick"]
        cli("songs", "set", "s", "--no-clip-ids")
        cli("playlists", "set", "p", "--no-song-ids")
        assert cli.json("songs", "show", "s")["clip_ids"] == []
        assert cli.json("playlists", "show", "p")["song_ids"] == []

    def test_unknown_parts_are_named(self, cli: CommandLine) -> None:
        error = cli.json("songs", "set", "s", *NEEDED["songs"], "--clip-ids", "nope", exit_code=2)["error"]
        assert "there is no clip nope" in error["message"]
        assert "valid UTF-8" in cli("playlists", "set", "p", "--song-ids", "\udcff", exit_code=2).stderr
        assert "give one of them" in cli("songs", "set", "s", "--clip-ids", "a", "--no-clip-ids", exit_code=2).stderr


class TestDelete:
    def test_it_asks_first(self, cli: CommandLine, noun: str) -> None:
        make(cli, noun, "a")
        assert f"session-db {noun} delete a --yes" in cli(noun, "delete", "a", exit_code=2).stderr
        assert cli.json(noun, "delete", "a", exit_code=2)["error"]["code"] == "invalid_input"
        assert cli.json(noun, "delete", "a", "--yes") == {f"{noun[:-1]}_id": "a", "deleted": True}
        cli(noun, "show", "a", exit_code=3)

    def test_an_unknown_one_is_named(self, cli: CommandLine, noun: str) -> None:
        assert "'nope'" in cli(noun, "delete", "nope", "--yes", exit_code=3).stderr

    def test_who_uses_it_is_named(self, cli: CommandLine) -> None:
        make(cli, "clips", "kick")
        make(cli, "songs", "s", "--clip-ids", "kick")
        make(cli, "playlists", "p", "--song-ids", "s")
        assert "used by songs: s" in cli("clips", "delete", "kick", "--yes", exit_code=4).stderr
        error = cli.json("songs", "delete", "s", "--yes", exit_code=4)["error"]
        assert (error["code"], "used by playlists: p" in error["message"]) == ("conflict", True)


class TestLog:
    def test_versions_are_paged_from_the_newest_on(self, cli: CommandLine) -> None:
        for code in (b"one", b"two\nlines", b"three", b"four"):
            coded(cli, code)
        first = cli.json("clips", "log", "kick", "--limit", "2")
        second = cli.json("clips", "log", "kick", "--limit", "2", "--cursor", first["next_cursor"])
        assert [(item["version"], item["code"]) for item in first["items"] + second["items"]] == [
            (3, "three"),
            (2, "two\nlines"),
            (1, "one"),
        ]
        fields = {"clip_id", "version", "code", "code_bytes", "metadata", "session_id", "message_index", "created_at"}
        assert set(first["items"][0]) == fields
        output = cli("clips", "log", "kick", "--limit", "2").stdout
        assert output.startswith("Clip kick is at version 4.\n")
        assert f"session-db clips log kick --cursor {first['next_cursor']}" in output

    def test_those_of_a_deleted_clip_stay(self, cli: CommandLine) -> None:
        coded(cli, b"one")
        assert cli("clips", "log", "kick").stdout == "Clip kick is at version 1. No former versions are kept.\n"
        cli("clips", "delete", "kick", "--yes")
        assert cli("clips", "log", "kick").stdout.startswith("Clip kick was deleted.\n")
        assert [item["code"] for item in cli.json("clips", "log", "kick")["items"]] == ["one"]

    def test_an_unknown_clip_is_named(self, cli: CommandLine) -> None:
        assert "no clip 'nope'" in cli("clips", "log", "nope", exit_code=3).stderr


class TestDiff:
    def test_the_last_version_is_compared_with_the_present(self, cli: CommandLine, tmp_path: Path) -> None:
        before, after = b"a\n\tb\r\nc", b"a\n\tb\n\x0bc\nd\n"
        coded(cli, b"long ago")
        coded(cli, before)
        coded(cli, after)
        compared = cli.json("clips", "diff", "kick")
        assert compared["from"] == {"version": 2, "code": before.decode(), "metadata": {}}
        assert compared["to"] == {"version": 3, "code": after.decode(), "metadata": {}}
        file = tmp_path / "kick"
        file.write_bytes(before)
        subprocess.run(["git", "init", "-q", str(tmp_path)], check=True, capture_output=True)
        diff = compared["diff"].replace("kick version 2", "a/kick").replace("kick version 3", "b/kick")
        subprocess.run(["git", "apply", "-"], cwd=tmp_path, input=diff.encode(), check=True, capture_output=True)
        assert file.read_bytes() == after

    def test_people_see_what_cannot_be_seen(self, cli: CommandLine) -> None:
        coded(cli, b"a\nb\x1b[2J\n" + b"x" * 100)
        coded(cli, b"a\r\nb\n" + b"x" * 100)
        assert cli("clips", "diff", "kick").stdout.splitlines() == [
            "--- kick version 1",
            "+++ kick version 2",
            "@@ -1,3 +1,3 @@",
            "-a",
            "-b\\x1b[2J",
            "+a\\r",
            "+b",
            " " + "x" * 100,
            "\\ No newline at end of file",
        ]

    def test_a_terminal_gets_colours(self, cli: CommandLine, monkeypatch: pytest.MonkeyPatch) -> None:
        coded(cli, b"one\n")
        coded(cli, b"two\n")
        monkeypatch.setenv("FORCE_COLOR", "1")
        monkeypatch.setenv("TERM", "xterm")
        output = cli("clips", "diff", "kick").stdout
        assert "\x1b[31m-one\x1b[0m" in output
        assert "\x1b[32m+two\x1b[0m" in output

    def test_versions_may_be_named(self, cli: CommandLine) -> None:
        for code in (b"one\n", b"two\n", b"three\n"):
            coded(cli, code)
        for named, versions in ((("1",), (1, 3)), (("1", "2"), (1, 2)), (("3", "1"), (3, 1))):
            compared = cli.json("clips", "diff", "kick", *named)
            assert (compared["from"]["version"], compared["to"]["version"]) == versions

    def test_of_a_deleted_clip_the_last_two_are_compared(self, cli: CommandLine) -> None:
        for code in (b"one\n", b"two\n", b"three\n"):
            coded(cli, code)
        cli("clips", "delete", "kick", "--yes")
        compared = cli.json("clips", "diff", "kick")
        assert (compared["from"]["code"], compared["to"]["code"]) == ("two\n", "three\n")

    def test_what_is_the_same_is_said(self, cli: CommandLine) -> None:
        for code in (b"one\n", b"two\n", b"one\n"):
            coded(cli, code)
        cli("clips", "set", "kick", "--metadata", '{"a": 1}')
        output = cli("clips", "diff", "kick", "1").stdout
        assert output.splitlines() == [
            "The code of version 1 and of version 4 is the same.",
            "The metadata is another one; --json shows both.",
        ]

    def test_long_codes_are_said_to_be_compared_as_a_whole(self, cli: CommandLine) -> None:
        lines = [b"line %d\n" % number for number in range(1_500)]
        coded(cli, b"".join(lines))
        coded(cli, b"".join([*lines[:700], b"new\n", *lines[701:]]))
        result = cli("clips", "diff", "kick")
        assert result.stdout.splitlines()[2:] == ["@@ -698,7 +698,7 @@", *(f" line {n}" for n in (697, 698, 699)), "-line 700", "+new"] + [
            f" line {n}" for n in (701, 702, 703)
        ]
        assert "Too long to compare line by line" in result.stderr
        assert cli.json("clips", "diff", "kick")["is_line_by_line"] is False

    @pytest.mark.parametrize(
        ("arguments", "exit_code", "reason"),
        [
            (["nope"], 3, "no clip 'nope'"),
            (["kick"], 3, "no version before 1"),
            (["kick", "7"], 3, "no kept version 7; session-db clips log kick lists them"),
            (["kick", "1", "7"], 3, "no kept version 7"),
            (["kick", "0"], 2, "greater than or equal to 1"),
            (["kick", str(2**31)], 2, str(2**31)),
            (["\udcff"], 2, "not valid UTF-8"),
        ],
    )
    def test_what_is_not_there_is_named(self, cli: CommandLine, arguments: list[str], exit_code: int, reason: str) -> None:
        coded(cli, b"one\n")
        assert reason in cli.json("clips", "diff", *arguments, exit_code=exit_code)["error"]["message"]


class TestRestore:
    def test_a_former_version_becomes_a_new_one(self, cli: CommandLine) -> None:
        make(cli, "clips", "kick", "--code", "one", "--metadata", '{"bpm": 1}')
        make(cli, "clips", "kick", "--code", "two", "--metadata", '{"bpm": 2}')
        assert cli.json("clips", "restore", "kick", "1") == {"clip_id": "kick", "version": 3, "outcome": "changed"}
        shown = cli.json("clips", "show", "kick")
        assert (shown["code"], shown["metadata"]) == ("one", {"bpm": 1})
        assert [item["code"] for item in cli.json("clips", "log", "kick")["items"]] == ["two", "one"]

    def test_a_deleted_clip_comes_back(self, cli: CommandLine) -> None:
        coded(cli, b"one")
        cli("clips", "delete", "kick", "--yes")
        assert "give project_id, name too" in cli("clips", "restore", "kick", "1", exit_code=2).stderr
        assert cli("clips", "restore", "kick", "1", "--name", "N", "--project", "P").stdout == "Clip kick is created: version 2.\n"
        assert cli.json("clips", "show", "kick")["code"] == "one"

    def test_a_version_may_be_expected(self, cli: CommandLine) -> None:
        coded(cli, b"one")
        coded(cli, b"two")
        assert "at version 2, not 1" in cli("clips", "restore", "kick", "1", "--expect-version", "1", exit_code=4).stderr

    @pytest.mark.parametrize("version", ["1", "9"])
    def test_a_version_that_was_not_kept_is_named(self, cli: CommandLine, version: str) -> None:
        coded(cli, b"one")
        assert f"no kept version {version};" in cli("clips", "restore", "kick", version, exit_code=3).stderr
