"""``session-db cleanup``: what is old goes, and what nobody ends any more is ended."""

import asyncio
import json
import os

import pytest

from session_db.capture.spool import spool_of
from session_db.settings import get_settings
from tests.cli.conftest import CommandLine
from tests.databases import Database


@pytest.fixture
def aged(cli: CommandLine, fresh_database: Database) -> CommandLine:
    """Three chats that are 100, 95 and 10 days old."""
    for name, days in (("older", 100), ("old", 95), ("young", 10)):
        session_id = cli.json("sessions", "create", "--agent", "strudel", "--name", name)["session_id"]
        asyncio.run(age(fresh_database, session_id, days))
    return cli


async def age(database: Database, session_id: str, days: int) -> None:
    async with database.connected() as connection:
        await connection.execute(
            "UPDATE sessions SET last_activity = now() - $1 * interval '1 day' WHERE id = CAST($2 AS text)::uuid", days, session_id
        )
        await connection.execute("UPDATE agents SET updated_at = now() - $1 * interval '1 day'", days)


def names(cli: CommandLine) -> list[str]:
    return [session["session_name"] for session in cli.json("sessions", "list")["items"]]


class TestOlderThan:
    def test_old_sessions_go_with_their_rows(self, aged: CommandLine) -> None:
        done = aged.json("cleanup", "--older-than", "90d", "--yes")
        assert (done["sessions"], done["rows"], done["dry_run"]) == (2, 2, False)
        assert names(aged) == ["young"]
        assert aged("cleanup", "--older-than", "90d", "--yes").stdout == "Deleted 0 sessions (0 rows).\n"

    def test_a_dry_run_says_how_many_and_which_first_and_deletes_none(self, aged: CommandLine) -> None:
        told = aged.json("cleanup", "--older-than", "90d", "--dry-run", "--limit", "1")
        assert (told["sessions"], told["has_more"], told["dry_run"]) == (2, False, True)
        assert [session["session_name"] for session in told["first"]] == ["older"]
        output = aged("cleanup", "--older-than", "90d", "--dry-run").stdout
        assert "2 sessions would be deleted" in output
        assert output.index("older") < output.index("old ")
        assert len(names(aged)) == 3

    def test_status_and_type_are_filters(self, aged: CommandLine) -> None:
        session_id = aged.json("sessions", "list")["items"][-1]["session_id"]
        aged("sessions", "update", session_id, "--status", "idle")
        assert aged.json("cleanup", "--older-than", "90d", "--status", "idle", "--type", "chat", "--dry-run")["sessions"] == 1
        assert aged.json("cleanup", "--older-than", "90d", "--type", "full", "--dry-run")["sessions"] == 0
        assert "no status 'gone'" in aged("cleanup", "--older-than", "90d", "--status", "gone", "--yes", exit_code=2).stderr

    def test_one_that_is_pinned_stays(self, aged: CommandLine) -> None:
        session_id = aged.json("sessions", "list")["items"][-1]["session_id"]
        aged("sessions", "update", session_id, "--pinned")
        assert aged.json("cleanup", "--older-than", "90d", "--yes")["sessions"] == 1
        assert names(aged) == ["young", "older"]

    def test_without_a_person_and_without_yes_nothing_goes(self, aged: CommandLine) -> None:
        assert "nothing was deleted: 2 sessions" in aged("cleanup", "--older-than", "90d", exit_code=2).stderr
        assert aged.json("cleanup", "--older-than", "90d", exit_code=2)["error"]["code"] == "invalid_input"
        assert len(names(aged)) == 3

    @pytest.mark.parametrize("span", ["0d", "90", "soon", "-1d", "90 days", "1000000d"])
    def test_what_is_no_span_of_time_is_an_error(self, cli: CommandLine, span: str) -> None:
        assert "--older-than" in cli("cleanup", f"--older-than={span}", exit_code=2).stderr

    def test_it_says_what_is_missing(self, cli: CommandLine) -> None:
        assert "--older-than 90d" in cli("cleanup", exit_code=2).stderr


class TestWhatWaits:
    """Events that hooks captured, and nobody has written yet."""

    @pytest.fixture
    def waiting(self, aged: CommandLine, monkeypatch: pytest.MonkeyPatch) -> CommandLine:
        monkeypatch.setattr("session_db.cli.running.DRAINED_FIRST", 1)
        told = {"hook_event_name": "UserPromptSubmit", "cwd": "/home/dev/demo", "prompt": "Go on", "transcript_path": ""}
        for session in aged.json("sessions", "list")["items"]:
            payload = told | {"session_id": session["session_id"]}
            spool_of(get_settings()).put(json.dumps(payload).encode(), {}, os.uname().nodename)
        return aged

    def test_it_is_written_whole_before_anything_goes(self, waiting: CommandLine) -> None:
        assert waiting.json("cleanup", "--older-than", "90d", "--yes")["sessions"] == 0

    def test_it_is_written_whole_before_anything_is_ended(self, waiting: CommandLine) -> None:
        assert waiting.json("cleanup", "--reap")["reaped"]["idle"] == 0

    @pytest.mark.parametrize("option", [["--older-than", "90d", "--yes"], ["--reap"]], ids=["older than", "reap"])
    def test_where_it_cannot_be_written_nothing_goes(self, aged: CommandLine, monkeypatch: pytest.MonkeyPatch, option: list[str]) -> None:
        async def refuse(*_: object, **__: object) -> None:
            raise OSError(28, "No space left on device", "spool")

        with monkeypatch.context() as broken:
            broken.setattr("session_db.capture.drain.drain", refuse)
            assert "No space left" in aged("cleanup", *option, exit_code=2).stderr
        assert {session["status"] for session in aged.json("sessions", "list")["items"]} == {"active"}
        assert len(names(aged)) == 3


class TestReap:
    def test_a_dry_run_of_it_is_refused(self, aged: CommandLine) -> None:
        for options in ([], ["--older-than", "90d"]):
            assert "give one of them" in aged("cleanup", "--reap", "--dry-run", *options, exit_code=2).stderr
        assert {session["status"] for session in aged.json("sessions", "list")["items"]} == {"active"}

    def test_it_ends_what_nobody_ends(self, aged: CommandLine) -> None:
        assert aged.json("cleanup", "--reap") == {"reaped": {"idle": 3, "terminated": 0, "failed": 0}}
        assert {session["status"] for session in aged.json("sessions", "list")["items"]} == {"idle"}
        assert aged("cleanup", "--reap").stdout == "0 agents have failed; 0 chats are idle now, and 0 terminated.\n"

    def test_what_it_ended_may_go_in_the_same_run(self, cli: CommandLine, fresh_database: Database) -> None:
        session_id = cli.json("sessions", "create", "--agent", "strudel")["session_id"]
        cli("agents", "start", session_id, "main")
        asyncio.run(age(fresh_database, session_id, 100))
        assert cli.json("cleanup", "--older-than", "90d", "--yes")["sessions"] == 0
        done = cli.json("cleanup", "--older-than", "90d", "--reap", "--yes")
        assert (done["reaped"]["failed"], done["sessions"]) == (1, 1)
