"""``session-db workspace`` and ``sessions create`` with a folder."""

import json
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from tests.cli.conftest import CommandLine
from tests.databases import Database
from tests.workspace.layouts import with_phases

SLUG = "auth"


@pytest.fixture
def state(cli: CommandLine, tmp_path: Path) -> Path:
    """The state.json of a session."""
    cli("sessions", "create", "--type", "full", "--slug", SLUG, "--title", "Authentication", "--dir", str(tmp_path))
    return tmp_path / "agents" / "sessions" / SLUG / "state.json"


def edit(state: Path, **values: Any) -> None:
    state.write_text(json.dumps(json.loads(state.read_text()) | values))


class TestCreate:
    def test_a_workflow_session_gets_its_folder(self, state: Path) -> None:
        assert json.loads(state.read_text())["title"] == "Authentication"

    def test_without_a_folder_where_none_is_wanted(self, cli: CommandLine, tmp_path: Path) -> None:
        cli("sessions", "create", "--slug", SLUG, "--dir", str(tmp_path), "--no-workspace")
        assert list(tmp_path.iterdir()) == []

    def test_a_project_elsewhere_gets_none_unless_asked_for(self, cli: CommandLine, tmp_path: Path) -> None:
        elsewhere = str(tmp_path / "elsewhere")
        cli("sessions", "create", "--slug", SLUG, "--dir", elsewhere)
        failed = cli("sessions", "create", "--slug", "other", "--dir", elsewhere, "--workspace", exit_code=2)
        assert "there is no directory" in failed.stderr
        assert len(cli.json("sessions", "list")["items"]) == 1

    def test_a_chat_has_none(self, cli: CommandLine) -> None:
        assert "a chat session has no folder" in cli("sessions", "create", "--agent", "a", "--workspace", exit_code=2).stderr


class TestSync:
    def test_tells_what_it_did_once(self, cli: CommandLine, state: Path, tmp_path: Path) -> None:
        edit(state, title="Sign in", cost=9)
        done = cli.json("workspace", "sync", str(tmp_path))
        (folder,) = done["folders"]
        assert (folder["slug"], folder["action"], folder["fields"]) == (SLUG, "updated", ["title"])
        assert folder["conflicts"] == [{"field": "cost", "file": 9, "database": 0.0, "kept": "database"}]
        assert cli.json("workspace", "sync", str(tmp_path)) == {"directory": str(tmp_path), "in_step": 1, "folders": [], "problems": []}
        assert cli.json("sessions", "show", SLUG)["session"]["title"] == "Sign in"

    def test_people_see_it_too(self, cli: CommandLine, state: Path, tmp_path: Path) -> None:
        edit(state, title="Sign in", cost=9)
        printed = cli("workspace", "sync", str(tmp_path)).stdout
        assert "auth: edits of the files are in the database now (title)" in printed
        assert "cost: both differ; the database has it." in printed
        assert cli("workspace", "sync", str(tmp_path)).stdout == "Session folders: 1, in step: 1.\n"

    def test_tells_what_cannot_be_read_and_does_the_others(self, cli: CommandLine, state: Path, tmp_path: Path) -> None:
        for slug, content in {"broken": "{", "old": json.dumps(with_phases("old"))}.items():
            (state.parent.parent / slug).mkdir()
            (state.parent.parent / slug / "state.json").write_text(content)
        done = cli.json("workspace", "sync", str(tmp_path), exit_code=1)
        assert [folder["slug"] for folder in done["folders"]] == ["old"]
        assert [problem["slug"] for problem in done["problems"]] == ["broken"]
        assert "broken: state.json: no JSON at line 1" in cli("workspace", "sync", str(tmp_path), exit_code=1).stderr

    def test_a_project_without_sessions_is_told(self, cli: CommandLine, tmp_path: Path) -> None:
        assert "has no session folders" in cli("workspace", "sync", str(tmp_path), exit_code=3).stderr
        assert "there is no" in cli("workspace", "sync", str(tmp_path / "none"), exit_code=3).stderr

    def test_a_deleted_session_stays_deleted_unless_asked_for(self, cli: CommandLine, state: Path, tmp_path: Path) -> None:
        cli("sessions", "delete", SLUG, "--yes")
        assert cli.json("workspace", "sync", str(tmp_path))["folders"][0]["action"] == "deleted"
        assert cli.json("workspace", "sync", str(tmp_path), "--restore-deleted")["folders"][0]["action"] == "created"


class TestStatus:
    def test_shows_differences_and_changes_nothing(self, cli: CommandLine, state: Path, tmp_path: Path) -> None:
        edit(state, title="Sign in")
        before = state.read_bytes()
        for _ in range(2):
            (folder,) = cli.json("workspace", "status", str(tmp_path))["folders"]
            assert (folder["action"], folder["fields"]) == ("updated", ["title"])
        assert state.read_bytes() == before
        assert "auth: was edited (title)" in cli("workspace", "status", str(tmp_path)).stdout
        assert cli.json("sessions", "show", SLUG)["session"]["title"] == "Authentication"


class TestWatch:
    def test_keeps_file_and_database_in_step_until_it_is_ended(
        self, cli: CommandLine, state: Path, tmp_path: Path, fresh_database: Database
    ) -> None:
        command: list[Any] = [Path(sys.executable).with_name("session-db"), "workspace", "watch", str(tmp_path), "--json"]
        watching = subprocess.Popen(
            command, env=fresh_database.environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=tmp_path
        )
        try:
            soon(lambda: _is_taken(cli, state))
            # Whoever changes the database here is a process that cannot see the folder.
            state.parent.parent.rename(tmp_path / "hidden")
            cli("sessions", "update", SLUG, "--title", "Log in")
            (tmp_path / "hidden").rename(state.parent.parent)
            soon(lambda: json.loads(state.read_text())["title"] == "Log in")
        finally:
            watching.send_signal(signal.SIGINT)
            _, errors = watching.communicate(timeout=20)
        assert watching.returncode in (0, 130), errors
        assert "Traceback" not in errors


def _is_taken(cli: CommandLine, state: Path) -> bool:
    edit(state, title="Sign in")
    time.sleep(1)
    return bool(cli.json("sessions", "show", SLUG)["session"]["title"] == "Sign in")


def soon(is_so: Any) -> None:
    deadline = time.monotonic() + 60
    while not is_so():
        assert time.monotonic() < deadline, "it did not happen"
        time.sleep(0.2)
