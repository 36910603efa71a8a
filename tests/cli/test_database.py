"""``session-db init``, ``upgrade``, ``downgrade``, ``current`` and ``reset``, and the settings of all commands."""

import asyncio
from collections.abc import Callable
from pathlib import Path

import pytest
from sqlalchemy.exc import DBAPIError

from session_db.cli import database
from session_db.cli.failing import EXIT_CODES, exit_code
from session_db.database import head
from session_db.errors import SessionDBError
from tests.capture.recorded import CLEARED, recording
from tests.cli.conftest import CommandLine
from tests.databases import Database

OnDatabase = Callable[[Database], CommandLine]


def refused(path: Path) -> bool:
    raise PermissionError(13, "Permission denied", str(path))


def families(error: type[SessionDBError]) -> list[type[SessionDBError]]:
    return [error, *(below for child in error.__subclasses__() for below in families(child))]


class TestInit:
    def test_it_makes_the_tables_and_may_run_again(self, empty_database: Database, on_database: OnDatabase) -> None:
        cli = on_database(empty_database)
        assert cli.json("init") == cli.json("init")
        assert cli.json("sessions", "list") == {"items": [], "next_cursor": None}

    def test_a_servers_database_without_tables_is_named_with_the_remedy(self, empty_database: Database, on_database: OnDatabase) -> None:
        assert "session-db init" in on_database(empty_database)("sessions", "list", exit_code=5).stderr


class TestUpgrade:
    def test_it_makes_the_tables_and_says_so(self, empty_database: Database, on_database: OnDatabase) -> None:
        cli = on_database(empty_database)
        assert cli.json("current")["up_to_date"] is False
        upgraded = cli.json("upgrade")
        assert (upgraded["before"], upgraded["revision"]) == (None, head())
        assert "Nothing to do" in cli("upgrade", "head").stdout
        assert cli.json("current")["up_to_date"] is True

    def test_a_revision_that_is_none_is_an_error_with_those_there_are(self, cli: CommandLine) -> None:
        assert "use 0001" in cli("upgrade", "9999", exit_code=2).stderr
        assert cli.json("upgrade", "9999", exit_code=2)["error"]["code"] == "invalid_input"

    async def test_somebody_elses_table_stops_it(self, empty_database: Database, on_database: OnDatabase) -> None:
        async with empty_database.connected() as connection:
            await connection.execute("CREATE TABLE sessions (id int)")
        error = (await asyncio.to_thread(on_database(empty_database).json, "upgrade", exit_code=4))["error"]
        assert "SESSION_DB_SCHEMA" in error["message"]


class TestDowngrade:
    def test_it_asks_first(self, cli: CommandLine) -> None:
        assert "session-db downgrade base --yes" in cli("downgrade", "base", exit_code=2).stderr
        assert cli.json("downgrade", "base", exit_code=2)["error"]["code"] == "invalid_input"
        assert cli.json("current")["up_to_date"] is True

    def test_base_drops_all_tables(self, cli: CommandLine) -> None:
        dropped = cli.json("downgrade", "base", "--yes")
        assert (dropped["before"], dropped["revision"]) == (head(), None)
        assert "no tables" in cli("downgrade", "base", "--yes").stdout
        assert "session-db init" in cli("sessions", "list", exit_code=5).stderr

    def test_a_revision_that_is_none_is_an_error_with_those_there_are(self, cli: CommandLine) -> None:
        assert "use 0001" in cli("downgrade", "head", "--yes", exit_code=2).stderr


class TestCurrent:
    def test_tables_of_this_version_are_up_to_date(self, cli: CommandLine) -> None:
        current = cli.json("current")
        assert (current["revision"], current["head"], current["up_to_date"]) == (head(), head(), True)
        assert cli("current").stdout == f"revision {head()}, up to date.\n"

    def test_without_tables_it_says_what_to_do(self, empty_database: Database, on_database: OnDatabase) -> None:
        cli = on_database(empty_database)
        assert (cli.json("current")["revision"], cli.json("current")["up_to_date"]) == (None, False)
        assert "session-db init" in cli("current").stdout

    async def test_tables_of_a_newer_version_ask_for_that_version(self, fresh_database: Database, cli: CommandLine) -> None:
        async with fresh_database.connected() as connection:
            await connection.execute("UPDATE session_db_version SET version_num = '0099'")
        assert "Upgrade session-db." in (await asyncio.to_thread(cli, "current")).stdout


class TestReset:
    def test_it_asks_first(self, cli: CommandLine) -> None:
        cli("import", str(recording(CLEARED)))
        assert "--yes" in cli("reset", exit_code=2).stderr
        assert len(cli.json("sessions", "list")["items"]) == 1

    def test_without_yes_a_program_gets_json(self, cli: CommandLine) -> None:
        assert cli.json("reset", exit_code=2)["error"]["code"] == "invalid_input"

    def test_it_deletes_everything(self, cli: CommandLine) -> None:
        cli("import", str(recording(CLEARED)))
        cli("reset", "--yes")
        assert cli.json("sessions", "list")["items"] == []


class TestSettings:
    @pytest.fixture(autouse=True)
    def no_client_of_the_user(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """Let doctor find neither hooks nor transcripts of whoever runs the tests."""
        monkeypatch.setenv("CLAUDE_CONFIG_DIR", str(tmp_path / "claude"))
        monkeypatch.setenv("SESSION_DB_CLAUDE_DIRS", str(tmp_path / "claude"))

    def test_the_working_directorys_env_file_is_not_read(self, cli: CommandLine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        (tmp_path / ".env").write_text("SESSION_DB_POOL_SIZE=3\n")
        monkeypatch.chdir(tmp_path)
        assert cli.json("doctor")["settings"]["pool_size"] == {"value": 10, "from": "default"}

    def test_a_named_env_file_is_read(self, cli: CommandLine, tmp_path: Path) -> None:
        path = tmp_path / "settings"
        path.write_text("SESSION_DB_POOL_SIZE=3\n")
        assert cli.json("--env-file", str(path), "doctor")["settings"]["pool_size"] == {"value": 3, "from": f"{path} SESSION_DB_POOL_SIZE"}

    def test_a_wrong_value_is_an_error_that_names_the_setting(self, cli: CommandLine, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("SESSION_DB_POOL_SIZE", "many")
        assert "SESSION_DB_POOL_SIZE" in cli("sessions", "list", exit_code=2).stderr
        assert "SESSION_DB_POOL_SIZE" in cli.json("sessions", "list", exit_code=2)["error"]["message"]

    @pytest.mark.parametrize(
        "arguments", [["--env-file", "/no/file", "doctor"], ["sessions", "list", "--limit", "x"], ["bogus"], ["--bogus", "doctor"]]
    )
    def test_errors_before_the_command_are_json_for_a_program(self, cli: CommandLine, arguments: list[str]) -> None:
        assert cli.json(*arguments, exit_code=2)["error"]["code"] == "invalid_input"

    @pytest.mark.parametrize("command", [["doctor"], ["sessions", "list"], ["import"]])
    def test_a_home_that_may_not_be_read_is_named(self, cli: CommandLine, monkeypatch: pytest.MonkeyPatch, command: list[str]) -> None:
        monkeypatch.setenv("SESSION_DB_HOME", "/forbidden")
        monkeypatch.setattr(Path, "is_file", refused)
        assert "/forbidden/.env" in cli(*command, exit_code=2).stderr
        assert "/forbidden/.env" in cli.json(*command, exit_code=2)["error"]["message"]


class TestErrors:
    @pytest.mark.parametrize(
        ("error", "code"),
        [
            (TimeoutError(), "unavailable"),
            (DBAPIError("SELECT 1", {}, Exception("it broke\nin two")), "unavailable"),
            (PermissionError(13, "Permission denied", "/somewhere"), "invalid_input"),
            (OSError(24, "Too many open files"), "error"),
        ],
    )
    def test_one_that_nobody_expected_is_short(
        self, cli: CommandLine, monkeypatch: pytest.MonkeyPatch, error: Exception, code: str
    ) -> None:
        async def fails() -> None:
            raise error

        monkeypatch.setattr(database, "init_db", fails)
        expected = {"unavailable": 5, "invalid_input": 2, "error": 1}[code]
        assert cli.json("init", exit_code=expected)["error"]["code"] == code
        assert "Traceback" not in cli("init", exit_code=expected).output


def test_every_error_has_an_exit_code() -> None:
    for error in families(SessionDBError):
        assert exit_code(error("what happened")) in EXIT_CODES.values()
        assert error is SessionDBError or exit_code(error("what happened")) > 1, error
