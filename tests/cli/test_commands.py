"""The command tree: each command has its help, its JSON and its place in docs/reference/commands.md."""

import re
from pathlib import Path
from typing import Any

import pytest

from session_db.cli.app import COMMANDS, GROUPS, load
from session_db.cli.failing import EXIT_CODES

PAGE = (Path(__file__).parents[2] / "docs/reference/commands.md").read_text()
SECTIONS = dict(re.findall(r"^### (.+)\n((?:(?!^##).*\n?)*)", PAGE, re.MULTILINE))
LEAVES: dict[str, Any] = {name: load(name) for name in COMMANDS} | {
    f"{name} {below}": command for name in GROUPS for below, command in load(name).commands.items()
}


@pytest.fixture(params=LEAVES)
def leaf(request: pytest.FixtureRequest) -> tuple[str, Any]:
    return request.param, LEAVES[request.param]


def options(command: Any) -> set[str]:
    parameters = [parameter for parameter in command.params if parameter.param_type_name == "option"]
    return {name for parameter in parameters for name in (*parameter.opts, *parameter.secondary_opts)}


class TestEachCommand:
    def test_says_what_it_does_and_so_do_its_parameters(self, leaf: tuple[str, Any]) -> None:
        _, command = leaf
        assert command.help
        assert [parameter.name for parameter in command.params if not parameter.help] == []

    def test_prints_json(self, leaf: tuple[str, Any]) -> None:
        _, command = leaf
        assert "--json" in options(command)


class TestTheList:
    @pytest.mark.parametrize("name", COMMANDS | GROUPS)
    def test_says_of_a_command_what_the_command_says_of_itself(self, name: str) -> None:
        assert load(name).help.partition("\n\n")[0].replace("\n", " ") == (COMMANDS | GROUPS)[name][1]


class TestThePage:
    def test_has_one_heading_for_each_command_in_their_order(self) -> None:
        assert list(SECTIONS) == list(LEAVES)

    def test_shows_how_each_is_typed(self, leaf: tuple[str, Any]) -> None:
        name, command = leaf
        (typed,) = re.findall(r"^\$ session-db (.*)$", SECTIONS[name], re.MULTILINE)
        arguments = [parameter for parameter in command.params if parameter.param_type_name == "argument"]
        expected = [parameter.metavar or parameter.name.upper() for parameter in arguments]
        words = typed.removeprefix(name).split()
        assert [word.strip("[]…") for word in words[: len(expected)]] == expected
        assert [word.startswith("[") for word in words[: len(expected)]] == [not parameter.required for parameter in arguments]

    def test_tells_each_option_and_no_other(self, leaf: tuple[str, Any]) -> None:
        name, command = leaf
        typed_or_listed = re.findall(r"^(?:\$|\| `--).*$", SECTIONS[name], re.MULTILINE)
        told = {option for line in typed_or_listed for option in re.findall(r"--[a-z-]+", line.partition(" | ")[0])}
        assert told == options(command)

    def test_tells_each_exit_code(self) -> None:
        told = {int(code) for code in re.findall(r"^\| (\d+) \|", PAGE, re.MULTILINE)}
        assert told == {0, 130, *EXIT_CODES.values()}
