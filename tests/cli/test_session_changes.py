"""``session-db sessions create`` and ``update``."""

from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from tests.cli.conftest import CommandLine


@pytest.fixture
def chat(cli: CommandLine) -> dict[str, Any]:
    created: dict[str, Any] = cli.json("sessions", "create", "--agent", "strudel", "--name", "Bass", "--metadata", '{"bpm": 120}')
    return created


@pytest.fixture
def workflow(cli: CommandLine) -> dict[str, Any]:
    created: dict[str, Any] = cli.json("sessions", "create", "--slug", "auth", "--title", "Authentication", "--dir", "/p")
    return created


class TestCreate:
    def test_a_chat_has_what_was_given(self, cli: CommandLine) -> None:
        given = ("--agent", "strudel", "--model", "grok", "--name", "Bass", "--project", "album", "--description", "Low")
        session_id = str(uuid4())
        created = cli.json("sessions", "create", *given, "--id", session_id, "--metadata", '{"bpm": 120}')
        assert created == cli.json("sessions", "show", session_id)["session"]
        names = ("session_type", "status", "agent_name", "model_name", "session_name", "current_project", "description", "working_dir")
        assert [created[name] for name in names] == ["chat", "active", "strudel", "grok", "Bass", "album", "Low", None]
        assert created["metadata"] == {"bpm": 120, "name": "Bass", "created_by_user": True}

    def test_a_workflow_belongs_to_the_current_directory(self, cli: CommandLine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.chdir(tmp_path)
        created = cli.json("sessions", "create", "--slug", "auth", "--title", "Authentication")
        names = ("session_type", "status", "session_slug", "title", "working_dir")
        assert [created[name] for name in names] == ["full", "created", "auth", "Authentication", str(Path.cwd())]
        assert cli.json("sessions", "create", "--type", "quick", "--dir", "/p/../q")["working_dir"] == "/q"

    def test_people_see_its_name_and_its_id(self, cli: CommandLine) -> None:
        session_id = str(uuid4())
        assert (
            cli("sessions", "create", "--agent", "a", "--name", "[b]\x1b[2J", "--id", session_id).stdout
            == f"Created [b] [2J: {session_id}\n"
        )

    @pytest.mark.parametrize(
        ("arguments", "message"),
        [
            ([], "--agent, or a workflow's --slug"),
            (["--type", "bogus"], "full, quick, research, chat"),
            (["--slug", "a/b"], "'a/b' is no folder name"),
            (["--slug", "a", "--dir", "relative"], "'relative' is relative"),
            (["--agent", "a" * 51], "agent_name: String should have at most 50"),
            (["--agent", "a", "--metadata", "[1]"], "--metadata: is no JSON object"),
            (["--agent", "a", "--metadata", '{"a": NaN}'], "metadata.a: is nan"),
            (["--agent", "a", "--title", "\udcff"], "not valid UTF-8"),
            (["--agent", "a", "--id", "7"], "invalid length"),
        ],
    )
    def test_what_cannot_be_is_an_error_that_says_why(self, cli: CommandLine, arguments: list[str], message: str) -> None:
        assert message in " ".join(cli("sessions", "create", *arguments, exit_code=2).stderr.split())
        assert cli.json("sessions", "create", *arguments, exit_code=2)["error"]["code"] == "invalid_input"
        assert cli.json("sessions", "list")["items"] == []

    def test_a_slug_or_id_that_is_taken_is_an_error_of_its_family(self, cli: CommandLine, workflow: dict[str, Any]) -> None:
        error = cli.json("sessions", "create", "--slug", "auth", "--dir", "/p", exit_code=4)["error"]
        assert error["code"] == "already_exists"
        cli("sessions", "create", "--agent", "a", "--id", workflow["session_id"], exit_code=4)


class TestUpdate:
    def test_what_is_given_changes_and_the_rest_stays(self, cli: CommandLine, workflow: dict[str, Any]) -> None:
        given = ("--status", "plan", "--description", "Login", "--project", "web", "--model", "m", "--error", "e", "--pinned")
        updated = cli.json("sessions", "update", "auth", *given)
        assert updated == cli.json("sessions", "show", "auth")["session"]
        names = ("status", "description", "current_project", "model_name", "error_message", "pinned", "title")
        assert [updated[name] for name in names] == ["plan", "Login", "web", "m", "e", True, "Authentication"]
        assert cli.json("sessions", "update", "auth", "--no-pinned")["pinned"] is False
        assert cli.json("sessions", "show", "auth")["events"][0]["event_type"] == "StatusChange"

    def test_an_empty_text_clears(self, cli: CommandLine, chat: dict[str, Any]) -> None:
        cli("sessions", "update", chat["session_id"], "--title", "Bass line", "--project", "album")
        updated = cli.json("sessions", "update", chat["session_id"], "--title", "", "--name", "")
        assert (updated["title"], updated["session_name"], updated["current_project"]) == (None, None, "album")
        assert updated["metadata"] == {"bpm": 120}

    def test_a_new_slug_finds_it(self, cli: CommandLine, workflow: dict[str, Any]) -> None:
        cli("sessions", "update", "auth", "--slug", "login")
        assert cli.json("sessions", "show", "login")["session"]["session_id"] == workflow["session_id"]
        cli("sessions", "update", "auth", "--title", "x", exit_code=3)

    @pytest.mark.parametrize(
        ("arguments", "metadata"),
        [
            (["--metadata", '{"key": "c"}'], {"key": "c", "name": "Bass", "created_by_user": True}),
            (["--metadata", '{"name": "Drums"}'], {"name": "Drums"}),
            (["--metadata", '{"key": "c"}', "--name", "Drums"], {"key": "c", "name": "Drums", "created_by_user": True}),
            (["--metadata", "{}", "--name", ""], {}),
            (["--name", "Drums"], {"bpm": 120, "name": "Drums", "created_by_user": True}),
        ],
    )
    def test_new_metadata_replace_the_old_ones_but_not_the_name(
        self, cli: CommandLine, chat: dict[str, Any], arguments: list[str], metadata: dict[str, Any]
    ) -> None:
        assert cli.json("sessions", "update", chat["session_id"], *arguments)["metadata"] == metadata

    def test_people_see_its_name_and_its_id(self, cli: CommandLine, workflow: dict[str, Any]) -> None:
        assert cli("sessions", "update", "auth", "--title", "Login").stdout == f"Updated Login: {workflow['session_id']}\n"

    @pytest.mark.parametrize(
        ("arguments", "message"),
        [
            ([], "nothing to change"),
            (["--status", "idle"], "created, spec, plan, build, docs, complete, failed"),
            (["--status", ""], "status cannot be cleared"),
            (["--slug", "a/b"], "no folder name"),
            (["--metadata", "{"], "--metadata: no JSON at line 1"),
            (["--name", "\udcff"], "not valid UTF-8"),
        ],
    )
    def test_what_cannot_be_is_an_error_and_changes_nothing(
        self, cli: CommandLine, workflow: dict[str, Any], arguments: list[str], message: str
    ) -> None:
        assert message in cli("sessions", "update", "auth", *arguments, exit_code=2).stderr
        assert cli.json("sessions", "update", "auth", *arguments, exit_code=2)["error"]["code"] == "invalid_input"
        assert cli.json("sessions", "show", "auth")["session"] == workflow

    def test_all_changes_of_a_call_are_made_or_none(self, cli: CommandLine, workflow: dict[str, Any]) -> None:
        cli("sessions", "create", "--slug", "taken", "--dir", "/p")
        cli("sessions", "update", "auth", "--title", "x", "--name", "y", "--slug", "taken", exit_code=4)
        assert cli.json("sessions", "show", "auth")["session"] == workflow

    def test_an_unknown_session_is_an_error(self, cli: CommandLine) -> None:
        assert cli.json("sessions", "update", "nope", "--title", "x", exit_code=3)["error"]["code"] == "not_found"
