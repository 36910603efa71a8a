"""How sessions look: other people's text, odd trees, narrow terminals."""

import json
import re
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import pytest

from session_db.capture.spool import spool_of
from session_db.cli import sessions
from session_db.cli.session_view import _tree
from session_db.lines import one_line
from session_db.models import Agent
from session_db.settings import get_settings
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


class TestCalls:
    def show(self, cli: CommandLine, *payloads: dict[str, Any]) -> str:
        for payload in payloads:
            event = {"session_id": str(CLEARED), "cwd": "/home/dev/demo", "tool_name": "Bash"} | payload
            spool_of(get_settings()).put(json.dumps(event).encode(), {}, "buildbox")
        return cli("sessions", "show", str(CLEARED)).stdout

    @pytest.fixture(autouse=True)
    def home(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("SESSION_DB_HOME", str(tmp_path))
        monkeypatch.setattr("session_db.capture.drain.HELD", timedelta(0))

    def test_each_is_one_line_that_says_how_it_ended(self, cli: CommandLine) -> None:
        calls: dict[str, list[dict[str, Any]]] = {
            "ran": [{"hook_event_name": "PostToolUse", "tool_response": {"stdout": "hi"}, "duration_ms": 5}],
            "broke": [{"hook_event_name": "PostToolUseFailure", "error": "Exit code 3"}],
            "stopped": [{"hook_event_name": "PostToolUseFailure", "error": "stop", "is_interrupt": True}],
            "classified": [{"hook_event_name": "PermissionDenied", "reason": "too dangerous"}],
            "refused": [{"hook_event_name": "PostToolBatch", "tool_calls": [{"tool_use_id": "refused", "tool_response": "no"}]}],
            "killed": [],
        }
        told: list[dict[str, Any]] = [{"hook_event_name": "UserPromptSubmit", "prompt": "go", "prompt_id": "p"}]
        for call, ends in calls.items():
            about = {"tool_use_id": call, "tool_input": {"command": call}}
            told += [{**about, "hook_event_name": "PreToolUse"}, *({**about, **end} for end in ends)]
        output = self.show(cli, *told)
        lines = [line for line in output.splitlines() if " Bash " in line]
        marks = {call: line.partition(" Bash ")[0].split()[-1] for call in calls for line in lines if f"  {call}" in line}
        assert marks == {"ran": "✓", "broke": "✗", "stopped": "■", "classified": "⊘", "refused": "⊘", "killed": "○"}
        assert "broke  Exit code 3" in output
        assert "denied  classified  too dangerous" in output
        assert "denied  refused" in output
        assert len(lines) == len(calls)
        ended = self.show(cli, {"hook_event_name": "SessionEnd"})
        assert "◌  Bash  unfinished  killed" in ended

    def test_a_transcript_that_was_not_read_is_said_to_be_missing(self, cli: CommandLine) -> None:
        assert "missing" not in self.show(cli, {"hook_event_name": "UserPromptSubmit", "prompt": "go", "prompt_id": "p"})
        output = self.show(cli, {"hook_event_name": "SessionEnd", "transcript_path": f"/p/{CLEARED}.jsonl"})
        assert "1 transcript, not read yet: hooks told what is shown" in output
        assert cli.json("sessions", "show", str(CLEARED))["missing"] == {"pending": 1, "entries": 0}

    def test_a_call_that_its_client_denied_is_shown_so(self, cli: CommandLine, tmp_path: Path) -> None:
        path = copy_of(BACKGROUND, tmp_path)
        lines = [json.loads(line) for line in path.read_text().splitlines()]
        result = next(line for line in lines if line["type"] == "user" and isinstance(line["message"]["content"], list))
        result["toolDenialKind"], result["message"]["content"][0]["is_error"] = "user-rejected", True
        path.write_text("".join(json.dumps(line) + "\n" for line in lines))
        cli("import", str(path))
        assert re.search("⊘ .* Write  denied  ", cli("sessions", "show", str(BACKGROUND)).stdout)
        assert "denied" in [event["outcome"] for event in cli.json("events", "list", str(BACKGROUND))["items"]]
        assert "denied" in cli("events", "list", str(BACKGROUND), "--type", "ToolResultBlock").stdout
        assert re.search("⊘ ToolResultBlock .*  denied", cli("tail", str(BACKGROUND), "--after", "0.0", "--no-follow").stdout)
