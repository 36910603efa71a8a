"""The command line, run in this process on a database of the test's own."""

import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from session_db.cli.app import app
from tests.databases import Database


@dataclass(frozen=True)
class CommandLine:
    """Runs commands as a person would type them, on a terminal of 80 columns."""

    runner: CliRunner

    def __call__(self, *arguments: str, exit_code: int = 0) -> Result:
        result = self.runner.invoke(app, list(arguments))
        assert result.exit_code == exit_code, (result.output, result.exception)
        return result

    def json(self, *arguments: str, exit_code: int = 0) -> Any:
        return json.loads(self(*arguments, "--json", exit_code=exit_code).stdout)


@pytest.fixture
def on_database(monkeypatch: pytest.MonkeyPatch) -> Callable[[Database], CommandLine]:
    def use(database: Database) -> CommandLine:
        for name, value in database.variables.items():
            monkeypatch.setenv(name, value)
        monkeypatch.setenv("COLUMNS", "80")
        return CommandLine(CliRunner())

    return use


@pytest.fixture
def cli(fresh_database: Database, on_database: Callable[[Database], CommandLine]) -> CommandLine:
    return on_database(fresh_database)
