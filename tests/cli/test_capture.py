"""The commands of capture: hooks in the client's settings, and what they captured in the database."""

import asyncio
import json
import os
import stat
from pathlib import Path
from typing import Any

import pytest

from session_db.capture.spool import spool_of
from session_db.settings import get_settings
from tests.api.conftest import make_token
from tests.cli.conftest import CommandLine
from tests.cli.test_serve import run, serving
from tests.databases import Database

NEWEST = ("--client-version", "2.1.330")
NOBODY = "http://127.0.0.1:1"
SESSION = "0c6b3c0a-7d31-4b7a-9d13-1f6b1f5b1c11"


@pytest.fixture(autouse=True)
def directories(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SESSION_DB_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("CLAUDE_CONFIG_DIR", str(tmp_path / "claude"))
    monkeypatch.delenv("SESSION_DB_TOKEN", raising=False)
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
        assert [(each["transport"], len(each["events"])) for each in shown["settings"]] == [
            ("spool", len(done["events"])),
            (None, 0),
            (None, 0),
        ]
        assert (shown["services"], shown["problems"]) == ([], [])
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

    def test_over_http_they_go_to_the_service(self, cli: CommandLine, monkeypatch: pytest.MonkeyPatch) -> None:
        done = cli.json("hooks", "install", "--transport", "http", "--url", f"{NOBODY}/", *NEWEST)
        assert done["transport"] == "http"
        assert ["SESSION_DB_TOKEN" in problem for problem in done["problems"]] == [True]
        monkeypatch.setenv("SESSION_DB_TOKEN", "sdb_x")
        shown = cli.json("hooks", "status")
        assert (shown["settings"][0]["transport"], shown["problems"]) == ("http", [])
        assert [(each["url"], each["answers"]) for each in shown["services"]] == [(NOBODY, False)]

    @pytest.mark.parametrize(
        ("arguments", "named"),
        [
            (["--transport", "carrier-pigeon"], "carrier-pigeon"),
            (["--url", "http://127.0.0.1:1"], "--transport http"),
            (["--transport", "http", "--url", "ftp://host"], "ftp://host"),
            (["--transport", "http", "--url", "http://me:secret@host"], "http://me:secret@host"),
            (["--transport", "http", "--url", "http://host:port"], "http://host:port"),
            (["--transport", "http", "--client-version", "2.1.62"], "2.1.63"),
        ],
    )
    def test_what_cannot_be_installed_is_refused(self, cli: CommandLine, tmp_path: Path, arguments: list[str], named: str) -> None:
        error = cli.json("hooks", "install", *(NEWEST if "--client-version" not in arguments else ()), *arguments, exit_code=2)["error"]
        assert named in error["message"]
        assert not (tmp_path / "claude" / "settings.json").exists()

    @pytest.mark.parametrize(("first", "second"), [("--user", "--project"), ("--project", "--user")])
    @pytest.mark.parametrize(("there", "wanted"), [("spool", "http"), ("http", "spool")])
    def test_a_second_transport_at_another_level_is_refused(
        self, cli: CommandLine, first: str, second: str, there: str, wanted: str
    ) -> None:
        path = cli.json("hooks", "install", first, "--transport", there, *NEWEST)["path"]
        error = cli.json("hooks", "install", second, "--transport", wanted, *NEWEST, exit_code=4)["error"]
        remedy = "uninstall --project`" if first == "--project" else "uninstall`"
        assert path in error["message"]
        assert remedy in error["message"]
        cli("hooks", "uninstall", first)
        assert cli.json("hooks", "install", second, "--transport", wanted, *NEWEST)["changed"]

    def test_the_same_at_another_level_is_no_second_one(self, cli: CommandLine) -> None:
        path = cli.json("hooks", "install", *NEWEST)["path"]
        assert cli.json("hooks", "install", "--project", *NEWEST)["also_in"] == [path]
        assert cli.json("hooks", "status")["problems"] == []

    def test_those_that_somebody_put_into_the_projects_own_settings_count_and_go(self, cli: CommandLine, tmp_path: Path) -> None:
        local = Path(cli.json("hooks", "install", "--project", *NEWEST)["path"])
        shared = local.rename(local.with_name("settings.json"))
        error = cli.json("hooks", "install", "--transport", "http", *NEWEST, exit_code=4)["error"]
        assert str(shared) in error["message"]
        assert cli.json("hooks", "uninstall", "--project")["paths"] == [str(shared)]
        assert cli.json("hooks", "install", "--transport", "http", *NEWEST)["changed"]

    def test_at_home_the_projects_settings_are_the_users(self, cli: CommandLine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("CLAUDE_CONFIG_DIR", str(tmp_path / "project" / ".claude"))
        cli("hooks", "install", *NEWEST)
        assert cli.json("hooks", "install", "--transport", "http", *NEWEST)["also_in"] == []
        assert [each["transport"] for each in cli.json("hooks", "status")["settings"]] == ["http", None]

    @pytest.mark.parametrize(
        "settings",
        [{"disableAllHooks": True}, {"allowedHttpHookUrls": ["https://*"]}, {"httpHookAllowedEnvVars": ["SESSION_DB_SESSION"]}],
        ids=lambda settings: next(iter(settings)),
    )
    def test_settings_that_keep_them_from_running_are_told(
        self, cli: CommandLine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, settings: dict[str, Any]
    ) -> None:
        monkeypatch.setenv("SESSION_DB_TOKEN", "sdb_x")
        (tmp_path / "project" / ".claude").mkdir()
        (tmp_path / "project" / ".claude" / "settings.json").write_text(json.dumps(settings))
        (problem,) = cli.json("hooks", "install", "--transport", "http", *NEWEST)["problems"]
        assert next(iter(settings)) in problem
        assert cli.json("hooks", "status")["problems"] == [problem]

    def test_what_the_administrator_settled_is_told_even_where_it_cannot_be_read(
        self, cli: CommandLine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("session_db.capture.hook_reach.MANAGED", managed := tmp_path / "managed-settings.json")
        monkeypatch.setattr("session_db.capture.hook_policy.MANAGED", managed)
        managed.write_text('{"allowManagedHooksOnly": true}')
        assert "allowManagedHooksOnly" in cli.json("hooks", "install", *NEWEST)["problems"][0]
        managed.write_text("{")
        assert str(managed) in cli.json("hooks", "status")["problems"][0]

    async def test_status_asks_the_service_whether_it_takes_events(
        self, fresh_database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        (tmp_path / "home").mkdir(mode=0o700)
        async with serving(fresh_database, tmp_path / "home") as service:
            env = os.environ | {"SESSION_DB_HOME": str(tmp_path / "home"), "SESSION_DB_URL": fresh_database.url}
            url = ("--transport", "http", "--url", service.url)
            assert (await asyncio.to_thread(run, "hooks", "install", *url, *NEWEST, env=env)).returncode == 0

            async def asked(**token: str) -> Any:
                (answer,) = json.loads((await asyncio.to_thread(run, "hooks", "status", "--json", env=env | token)).stdout)["services"]
                return answer

            assert (await asked())["answers"]
            assert (await asked(SESSION_DB_TOKEN=await make_token("hooks")))["answers"]
            refused = await asked(SESSION_DB_TOKEN=await make_token("read"))
            assert (refused["answers"], "scope hooks" in refused["reason"]) == (False, True)
            assert list(spool_of(get_settings()).names()) == []

    def test_a_proxy_that_they_would_go_through_is_told(self, cli: CommandLine, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("SESSION_DB_TOKEN", "sdb_x")
        monkeypatch.setenv("HTTP_PROXY", "http://me:secret@proxy.example:3128")
        monkeypatch.delenv("NO_PROXY", raising=False)
        (problem,) = cli.json("hooks", "install", "--transport", "http", *NEWEST)["problems"]
        assert "NO_PROXY" in problem
        assert "the proxy http://proxy.example:3128;" in problem
        monkeypatch.setenv("NO_PROXY", "127.0.0.1")
        assert cli.json("hooks", "status")["problems"] == []

    def test_a_person_reads_what_happened(self, cli: CommandLine) -> None:
        assert "hooks are now in" in cli("hooks", "install", "--client-version", "2.1.330").stdout
        assert "were already in" in cli("hooks", "install", "--client-version", "2.1.330").stdout
        capture()
        assert "1 events wait" in cli("hooks", "status").stdout
        assert "are gone from" in cli("hooks", "uninstall").stdout


class TestTokens:
    def test_one_that_is_revoked_is_not_known_while_the_database_is_away(self, cli: CommandLine, tmp_path: Path) -> None:
        token_id = cli.json("tokens", "create", "--name", "hooks", "--scope", "hooks")["id"]
        known = tmp_path / "home" / "hook-tokens" / token_id.replace("-", "")
        known.parent.mkdir(parents=True)
        known.touch()
        cli("tokens", "revoke", token_id)
        assert not known.exists()


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
