"""The commands of capture: hooks in the client's settings, and what they captured in the database."""

import json
import os
import stat
from pathlib import Path

import pytest

from session_db.capture.spool import spool_of
from session_db.settings import get_settings
from tests.cli.conftest import CommandLine

SESSION = "0c6b3c0a-7d31-4b7a-9d13-1f6b1f5b1c11"


@pytest.fixture(autouse=True)
def directories(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SESSION_DB_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("CLAUDE_CONFIG_DIR", str(tmp_path / "claude"))
    (tmp_path / "project").mkdir()
    monkeypatch.chdir(tmp_path / "project")


def capture(**payload: str) -> None:
    event = {"session_id": SESSION, "hook_event_name": "UserPromptSubmit", "prompt": "hello", "prompt_id": "p"} | payload
    spool_of(get_settings()).put(json.dumps(event).encode(), {}, os.uname().nodename)


class TestHooks:
    def test_they_are_installed_shown_and_taken_out(self, cli: CommandLine, tmp_path: Path) -> None:
        settings = tmp_path / "claude" / "settings.json"
        done = cli.json("hooks", "install", "--client-version", "2.1.330 (Claude Code)")
        assert (done["path"], done["changed"]) == (str(settings), True)
        assert "PostToolBatch" in done["events"]
        shown = cli.json("hooks", "status")
        assert [len(each["events"]) for each in shown["settings"]] == [len(done["events"]), 0]
        assert shown["spool"] == {"path": str(tmp_path / "home" / "spool"), "waiting": 0, "oldest": None, "bad": 0}
        assert cli.json("hooks", "uninstall")["changed"]
        assert not settings.exists()

    def test_the_client_is_asked_for_its_version(self, cli: CommandLine, tmp_path: Path) -> None:
        claude = tmp_path / "claude-cli"
        claude.write_text("#!/bin/sh\necho '1.0.54 (Claude Code)'\n")
        claude.chmod(claude.stat().st_mode | stat.S_IXUSR)
        assert "UserPromptSubmit" in cli.json("hooks", "install", "--claude", str(claude))["events"]
        assert "SessionStart" not in cli.json("hooks", "install", "--claude", str(claude))["events"]

    @pytest.mark.parametrize("arguments", [["--claude", "no-such-command"], ["--claude", "false"], ["--client-version", "new"]])
    def test_one_that_cannot_tell_is_an_error_that_says_what_to_do(self, cli: CommandLine, arguments: list[str]) -> None:
        error = cli.json("hooks", "install", *arguments, exit_code=2)["error"]
        assert "version" in error["message"]

    def test_those_of_a_project_are_not_committed(self, cli: CommandLine, tmp_path: Path) -> None:
        done = cli.json("hooks", "install", "--project", "--client-version", "2.1.330")
        assert done["path"] == str(tmp_path / "project" / ".claude" / "settings.local.json")

    def test_a_person_reads_what_happened(self, cli: CommandLine) -> None:
        assert "hooks are now in" in cli("hooks", "install", "--client-version", "2.1.330").stdout
        assert "were already in" in cli("hooks", "install", "--client-version", "2.1.330").stdout
        capture()
        assert "1 events wait" in cli("hooks", "status").stdout
        assert "are gone from" in cli("hooks", "uninstall").stdout


class TestDrain:
    def test_it_writes_what_waits(self, cli: CommandLine) -> None:
        capture()
        capture(prompt_id="q")
        assert cli.json("drain")["events"] == 2
        assert cli.json("drain")["events"] == 0

    def test_a_command_that_reads_does_it_by_itself(self, cli: CommandLine) -> None:
        capture()
        (session,) = cli.json("sessions", "list")["items"]
        assert (session["session_id"], session["activity"]) == (SESSION, "working")

    def test_what_nobody_understands_is_said_and_set_aside(self, cli: CommandLine, tmp_path: Path) -> None:
        spool_of(get_settings()).put(b"\xff", {}, "host")
        result = cli("drain")
        assert "1 files were set aside" in result.stderr
        assert len(list((tmp_path / "home" / "spool" / "bad").iterdir())) == 2
