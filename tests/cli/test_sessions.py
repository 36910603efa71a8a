"""``session-db sessions``, ``import`` and ``demo``."""

import asyncio
import re
from pathlib import Path

import pytest

from session_db.crud import delete_session, erase_deleted_sessions, erasing
from session_db.database import get_async_session, in_transaction
from tests.capture.recorded import BACKGROUND, CLEARED, COMPACTED, TRANSCRIPTS, copy_of, recording
from tests.cli.conftest import CommandLine
from tests.databases import Database


class TestDemo:
    def test_it_shows_two_agents_a_timeline_and_a_cost(self, cli: CommandLine) -> None:
        output = cli("demo").stdout
        assert "general-purpose" in output
        assert "Timeline" in output
        assert "$0.0758" in output
        assert "✗  Bash" in output
        assert max(map(len, output.splitlines())) <= 80

    def test_a_second_run_shows_the_same(self, cli: CommandLine) -> None:
        assert cli.json("demo") == cli.json("demo")

    def test_it_comes_back_after_it_was_deleted(self, cli: CommandLine) -> None:
        cli("demo")
        cli("sessions", "delete", str(BACKGROUND), "--yes")
        assert cli.json("demo")["session"]["session_id"] == str(BACKGROUND)


class TestImport:
    def test_it_says_what_it_did(self, cli: CommandLine) -> None:
        report = cli.json("import", str(TRANSCRIPTS))
        assert report["sessions_new"] == 7
        assert report["problems"] == []
        assert len(report["session_ids"]) == 7
        again = cli("import", str(TRANSCRIPTS)).stdout
        assert "7 unchanged" in again

    def test_a_line_that_cannot_be_read_is_named_with_its_place(self, cli: CommandLine, tmp_path: Path) -> None:
        path = copy_of(CLEARED, tmp_path)
        path.write_bytes(b"{torn\n" + path.read_bytes())
        result = cli("import", str(path))
        assert f"{path}:1: the line is no JSON" in result.stderr
        (problem,) = cli.json("import", str(copy_of(COMPACTED, tmp_path)), str(path))["problems"] or [None]
        assert problem is None, "a second run reads nothing again"

    def test_a_path_that_does_not_exist_is_an_error(self, cli: CommandLine, tmp_path: Path) -> None:
        result = cli("import", str(tmp_path / "nowhere"), exit_code=3)
        assert "nowhere" in result.stderr


class TestList:
    def test_pages_follow_one_another(self, cli: CommandLine) -> None:
        cli("import", str(TRANSCRIPTS))
        first = cli.json("sessions", "list", "--limit", "4")
        second = cli.json("sessions", "list", "--limit", "4", "--cursor", first["next_cursor"])
        ids = [session["session_id"] for session in first["items"] + second["items"]]
        assert len(set(ids)) == 7
        assert second["next_cursor"] is None
        assert "--cursor" in cli("sessions", "list", "--limit", "4").stdout

    def test_filters_are_applied(self, cli: CommandLine) -> None:
        cli("import", str(TRANSCRIPTS))
        assert len(cli.json("sessions", "list", "--project", "demo", "--type", "chat")["items"]) == 7
        assert cli.json("sessions", "list", "--status", "terminated")["items"] == []
        assert cli.json("sessions", "list", "--dir", "/elsewhere")["items"] == []
        assert cli.json("sessions", "list", "--since", "1d", "--max-cost", "0")["items"] == []
        costs = [session["total_cost"] for session in cli.json("sessions", "list", "--min-cost", "0.01", "--until", "1min")["items"]]
        assert costs
        assert min(costs) >= 0.01

    def test_an_empty_list_says_what_to_do_next(self, cli: CommandLine) -> None:
        assert "session-db import" in cli("sessions", "list").stdout

    def test_a_filter_that_nothing_matches_is_no_empty_database(self, cli: CommandLine) -> None:
        cli("import", str(recording(CLEARED)))
        assert cli("sessions", "list", "--project", "nothing").stdout == "No sessions match.\n"

    @pytest.mark.parametrize(
        ("arguments", "allowed"),
        [
            (["--status", "bogus"], "idle, terminated, created"),
            (["--type", "bogus"], "full, quick, research, chat"),
            (["--type", "chat", "--status", "plan"], "active, idle, terminated"),
        ],
    )
    def test_a_word_that_nothing_can_have_is_an_error_with_the_allowed_ones(
        self, cli: CommandLine, arguments: list[str], allowed: str
    ) -> None:
        assert allowed in cli("sessions", "list", *arguments, exit_code=2).stderr
        assert cli.json("sessions", "list", *arguments, exit_code=2)["error"]["code"] == "invalid_input"

    def test_lines_fit_eighty_columns(self, cli: CommandLine) -> None:
        cli("import", str(TRANSCRIPTS))
        assert max(map(len, cli("sessions", "list").stdout.splitlines())) <= 80


class TestShow:
    def test_json_is_one_object_with_the_agreed_names(self, cli: CommandLine) -> None:
        cli("import", str(recording(BACKGROUND)))
        shown = cli.json("sessions", "show", str(BACKGROUND))
        assert list(shown) == ["session", "agents", "messages", "events", "missing"]
        tokens = ("input_tokens", "output_tokens", "cache_read_tokens", "cache_write_tokens")
        for name in tokens:
            assert shown["session"][f"total_{name}"] == sum(agent[name] for agent in shown["agents"])
        assert len(shown["events"]) == 23
        assert [event["timestamp"] for event in shown["events"]] == sorted(event["timestamp"] for event in shown["events"])
        assert shown["messages"][-1]["message_index"] == 6

    def test_reported_and_unattributed_costs_are_shown(self, cli: CommandLine) -> None:
        cli("import", str(recording(COMPACTED)))
        assert "unattributed $0.0082" in cli("sessions", "show", str(COMPACTED)).stdout

    async def test_a_slug_may_look_like_an_id(self, cli: CommandLine, fresh_database: Database) -> None:
        await asyncio.to_thread(cli, "import", str(recording(CLEARED)))
        slug = "0123456789abcdef0123456789abcdef"
        async with fresh_database.connected() as connection:
            await connection.execute("UPDATE sessions SET session_slug = $1", slug)
        shown = await asyncio.to_thread(cli.json, "sessions", "show", slug)
        assert shown["session"]["session_id"] == str(CLEARED)

    def test_an_unknown_key_is_an_error(self, cli: CommandLine) -> None:
        assert "no session 'nope'" in cli("sessions", "show", "nope", exit_code=3).stderr
        assert cli.json("sessions", "show", "nope", exit_code=3)["error"]["code"] == "not_found"

    def test_control_characters_do_not_reach_the_terminal(self, cli: CommandLine, tmp_path: Path) -> None:
        path = copy_of(CLEARED, tmp_path)
        path.write_text(path.read_text().replace("[[Q]] after", "\\u001b[2J[bold]x\\u0007"))
        cli("import", str(path))
        output = cli("sessions", "show", str(CLEARED)).stdout
        assert "\x1b[2J" not in output
        assert "\x07" not in output
        assert "[bold]x" in output


class TestDelete:
    def test_it_asks_first(self, cli: CommandLine) -> None:
        cli("import", str(recording(CLEARED)))
        assert "--yes" in cli("sessions", "delete", str(CLEARED), exit_code=2).stderr
        assert cli.json("sessions", "show", str(CLEARED))

    def test_without_yes_a_program_gets_json(self, cli: CommandLine) -> None:
        cli("import", str(recording(CLEARED)))
        assert cli.json("sessions", "delete", str(CLEARED), exit_code=2)["error"]["code"] == "invalid_input"

    def test_a_deleted_session_is_gone_and_stays_gone(self, cli: CommandLine) -> None:
        cli("import", str(recording(CLEARED)))
        assert cli.json("sessions", "delete", str(CLEARED), "--yes")["rows"] > 30
        cli("sessions", "show", str(CLEARED), exit_code=3)
        assert cli.json("import", str(recording(CLEARED)))["sessions_deleted"] == 1
        assert cli.json("import", str(recording(CLEARED)), "--restore-deleted")["sessions_new"] == 1

    async def test_after_400_days_an_import_brings_it_back(self, cli: CommandLine, fresh_database: Database) -> None:
        await asyncio.to_thread(cli, "import", str(recording(CLEARED)))
        await asyncio.to_thread(cli, "sessions", "delete", str(CLEARED), "--yes")
        async with fresh_database.connected() as connection:
            await connection.execute("UPDATE sdk_sessions SET deleted_at = deleted_at - interval '399 days'")
            assert (await asyncio.to_thread(cli.json, "import", str(recording(CLEARED))))["sessions_deleted"] == 1
            await connection.execute("UPDATE sdk_sessions SET deleted_at = deleted_at - interval '2 days'")
        assert (await asyncio.to_thread(cli.json, "import", str(recording(CLEARED))))["sessions_new"] == 1

    async def test_old_tombstones_go_with_the_next_deletion(self, cli: CommandLine, fresh_database: Database) -> None:
        await asyncio.to_thread(cli, "import", str(recording(CLEARED)), str(recording(COMPACTED)))
        await asyncio.to_thread(cli, "sessions", "delete", str(CLEARED), "--yes")
        async with fresh_database.connected() as connection:
            await connection.execute("UPDATE sdk_sessions SET deleted_at = deleted_at - interval '401 days'")
            await asyncio.to_thread(cli, "sessions", "delete", str(COMPACTED), "--yes")
            assert [row["sdk_key"] for row in await connection.fetch("SELECT sdk_key FROM sdk_sessions")] == [str(COMPACTED)]

    def test_a_report_tells_rows_by_table_and_lost_transcripts(self, cli: CommandLine) -> None:
        cli("import", str(recording(BACKGROUND)))
        deleted = cli.json("sessions", "delete", str(BACKGROUND), "--yes", "--report")
        rows = deleted["report"]["rows"]
        assert (rows["sessions"], rows["agents"], rows["agent_logs"], rows["messages"], rows["transcripts"]) == (1, 2, 23, 7, 2)
        assert deleted["rows"] == sum(rows.values())
        assert deleted["report"]["transcripts"] == [{"project_key": "-home-dev-demo", "sdk_session_id": str(BACKGROUND), "subpaths": 1}]

    def test_a_report_is_a_table_for_people(self, cli: CommandLine) -> None:
        cli("import", str(recording(BACKGROUND)))
        result = cli("sessions", "delete", str(BACKGROUND), "--yes", "--report")
        output = result.stdout
        assert result.stderr == "", "progress is for terminals"
        assert re.search(r"agent_logs +23 *$", output, re.MULTILINE)
        assert re.search(rf"{BACKGROUND} +-home-dev-demo +1 *$", output, re.MULTILINE)
        cli("sessions", "create", "--slug", "empty", "--dir", "/p")
        assert "no transcript" in cli("sessions", "delete", "empty", "--yes", "--report").stdout

    async def test_a_deletion_that_was_killed_is_finished_and_reported_in_full(
        self, cli: CommandLine, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(erasing, "BATCH", 2)
        await asyncio.to_thread(cli, "import", str(recording(BACKGROUND)))
        await in_transaction(lambda db: delete_session(db, BACKGROUND))
        assert await in_transaction(lambda db: erase_deleted_sessions(db, BACKGROUND)) == 2
        deleted = await asyncio.to_thread(cli.json, "sessions", "delete", str(BACKGROUND), "--report")
        assert deleted["report"]["rows"]["agent_logs"] == 23
        async with get_async_session() as db:
            assert await erase_deleted_sessions(db) == 0
        await asyncio.to_thread(cli, "sessions", "delete", str(BACKGROUND), "--yes", exit_code=3)


@pytest.mark.parametrize(
    "command",
    [
        [],
        ["init"],
        ["doctor"],
        ["reset"],
        ["import"],
        ["demo"],
        *(["sessions", name] for name in ("list", "show", "create", "update", "delete")),
    ],
)
def test_every_command_has_help(cli: CommandLine, command: list[str]) -> None:
    output = cli(*command, "--help").stdout
    assert "Usage" in output
    assert command in ([], ["sessions"]) or "--json" in output
