"""How sessions look: other people's text, odd trees, narrow terminals."""

import json
import re
from datetime import UTC, datetime
from pathlib import Path
from uuid import UUID, uuid4

import pytest

from session_db.cli import sessions
from session_db.cli.output import one_line
from session_db.cli.session_view import _tree
from session_db.models import Agent
from tests.capture.recorded import BACKGROUND, CLEARED, TRANSCRIPTS, copy_of, recording
from tests.cli.conftest import CommandLine


def agent(name: str, parent: UUID | None = None) -> Agent:
    return Agent(id=uuid4(), session_id=CLEARED, agent_type=name, parent_agent_id=parent, created_at=datetime.now(UTC))


class TestOneLine:
    @pytest.mark.parametrize("character", ["\x1b", "\x07", "\x9b", "\x85", "\u202a", "\u202e", "\u2066", "\u2069", "\u2028", "\udcff"])
    def test_nothing_that_steers_a_terminal_is_left(self, character: str) -> None:
        assert one_line(f"a{character}b") == "a b"


class TestMarkup:
    def test_a_models_name_is_text(self, cli: CommandLine, tmp_path: Path) -> None:
        path = copy_of(CLEARED, tmp_path)
        path.write_text(re.sub(r'"model": ?"[^"]*"', '"model": "x[/x]"', path.read_text()))
        cli("import", str(path))
        output = cli("sessions", "show", str(CLEARED)).stdout
        assert output.count("x[/x]") >= 2, "in the header and with the agent"

    @pytest.mark.parametrize("name", ["[/x]", "\\[/x]"])
    def test_an_errors_values_are_text(self, cli: CommandLine, name: str) -> None:
        assert name in cli("import", name, exit_code=3).stderr

    def test_settings_are_text(self, cli: CommandLine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("SESSION_DB_HOME", str(tmp_path / "[" / "x]"))
        assert "[/x]" in cli("doctor").stdout


class TestEscapes:
    def test_none_come_from_a_title_that_is_deleted(self, cli: CommandLine, tmp_path: Path) -> None:
        path = copy_of(CLEARED, tmp_path)
        path.write_text(path.read_text().replace("[[Q]] after", "\\u001b[2J\\u202ex"))
        cli("import", str(path))
        output = cli("sessions", "delete", str(CLEARED), "--yes").stdout
        assert "\x1b" not in output
        assert "\u202e" not in output
        assert "Deleted " in output

    def test_none_come_from_an_errors_values(self, cli: CommandLine) -> None:
        stderr = cli("import", "\x1b]0;owned\x07\u202e", exit_code=3).stderr
        assert not {"\x1b", "\x07", "\u202e"} & set(stderr)

    def test_none_come_from_the_name_of_a_file_that_cannot_be_read(self, cli: CommandLine, tmp_path: Path) -> None:
        path = copy_of(CLEARED, tmp_path / "\x1b[2Jx\u202e")
        path.write_bytes(b"{torn\n" + path.read_bytes())
        stderr = cli("import", str(path)).stderr
        assert ":1: the line is no JSON" in stderr
        assert not {"\x1b", "\u202e"} & set(stderr)


class TestTree:
    def test_an_agent_stands_below_its_parent(self) -> None:
        main = agent("main")
        first, second = agent("first", main.id), agent("second", main.id)
        below = agent("below", first.id)
        assert _tree([main, first, second, below]) == [(main, 0), (first, 1), (below, 2), (second, 1)]

    def test_a_cycle_is_drawn_from_its_first_agent(self) -> None:
        main, one, two, own = agent("main"), agent("one"), agent("two"), agent("own")
        one.parent_agent_id, two.parent_agent_id, own.parent_agent_id = two.id, one.id, own.id
        assert _tree([one, two, own, main]) == [(main, 0), (one, 0), (two, 1), (own, 0)]


class TestManyAgents:
    def test_all_pages_are_read(self, cli: CommandLine, monkeypatch: pytest.MonkeyPatch) -> None:
        cli("import", str(recording(BACKGROUND)))
        monkeypatch.setattr(sessions, "AGENTS_A_PAGE", 1)
        assert len(cli.json("sessions", "show", str(BACKGROUND))["agents"]) == 2
        assert "Agents  2" in cli("sessions", "show", str(BACKGROUND)).stdout

    def test_what_is_left_out_is_said(self, cli: CommandLine, monkeypatch: pytest.MonkeyPatch) -> None:
        cli("import", str(recording(BACKGROUND)))
        monkeypatch.setattr(sessions, "MOST_AGENTS", 1)
        assert "first 1 of more" in cli("sessions", "show", str(BACKGROUND)).stdout
        shown = cli("sessions", "show", str(BACKGROUND), "--json")
        assert len(json.loads(shown.stdout)["agents"]) == 1
        assert "the session has more" in shown.stderr


class TestWidths:
    def test_a_session_has_its_whole_id_and_its_project_at_eighty_columns(self, cli: CommandLine) -> None:
        cli("import", str(recording(CLEARED)))
        lines = cli("sessions", "list").stdout.splitlines()
        assert lines[1].split()[:4] == ["[[Q]]", "after", "idle", "2"]
        assert lines[2] == f"   {CLEARED}  /home/dev/demo"

    def test_a_long_project_is_cut_at_the_end_of_the_line(self, cli: CommandLine, tmp_path: Path) -> None:
        path = copy_of(CLEARED, tmp_path)
        path.write_text(path.read_text().replace("/home/dev/demo", "/home/dev/" + "d" * 90))
        cli("import", str(path))
        line = cli("sessions", "list").stdout.splitlines()[2]
        assert line.startswith(f"   {CLEARED}  /home/dev/ddd")
        assert len(line) == 80

    def test_forty_columns_are_enough_to_tell_sessions_and_agents_apart(self, cli: CommandLine, monkeypatch: pytest.MonkeyPatch) -> None:
        cli("import", str(TRANSCRIPTS))
        monkeypatch.setenv("COLUMNS", "40")
        listed = cli("sessions", "list").stdout
        assert "[[MAIN]] please write" in listed
        assert f"   {BACKGROUND}\n   /home/dev/demo" in listed
        shown = cli("sessions", "show", str(BACKGROUND)).stdout
        assert "└ general-purpose Look" in shown
        assert "Bash  echo from-sub" in shown
        assert max(map(len, (listed.partition("More:")[0] + shown).splitlines())) <= 40
