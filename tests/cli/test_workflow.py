"""``agents start|finish``, ``sessions advance|status`` and ``resume --phase``: what a script needs to run a workflow."""

from pathlib import Path
from uuid import UUID, uuid4

import pytest

from tests.capture.recorded import BACKGROUND, recording
from tests.cli.conftest import CommandLine


@pytest.fixture
def workflow(cli: CommandLine) -> CommandLine:
    cli("sessions", "create", "--slug", "auth", "--title", "Authentication", "--dir", "/p")
    return cli


class TestAgentsStart:
    def test_it_prints_the_id_alone_for_a_script(self, workflow: CommandLine) -> None:
        printed = workflow("agents", "start", "auth", "build", "--checkpoint", "2", "--name", "Login").stdout
        assert str(UUID(printed.strip())) + "\n" == printed
        (agent,) = workflow.json("agents", "list", "auth")["items"]
        assert (agent["id"], agent["status"], agent["checkpoint_id"], agent["name"]) == (printed.strip(), "executing", 2, "Login")
        assert workflow.json("sessions", "show", "auth")["session"]["status"] == "build"

    def test_with_an_id_it_is_started_once(self, workflow: CommandLine) -> None:
        agent_id = str(uuid4())
        assert [workflow.json("agents", "start", "auth", "spec", "--id", agent_id)["id"] for _ in range(2)] == [agent_id] * 2
        assert len(workflow.json("agents", "list", "auth")["items"]) == 1

    def test_an_unknown_session_is_an_error(self, cli: CommandLine) -> None:
        assert cli.json("agents", "start", "nope", "spec", exit_code=3)["error"]["code"] == "not_found"


class TestAgentsFinish:
    def test_it_is_complete_and_the_same_again_changes_nothing(self, workflow: CommandLine) -> None:
        agent_id = workflow("agents", "start", "auth", "spec").stdout.strip()
        done = workflow.json("agents", "finish", agent_id, "--cost", "0.5", "--sdk-session", "s")
        assert (done["status"], done["cost"], done["sdk_session_id"]) == ("complete", 0.5, "s")
        assert workflow.json("agents", "finish", agent_id, "--cost", "0.5", "--sdk-session", "s") == done
        assert workflow("agents", "finish", agent_id).stdout == f"spec is complete: {agent_id}\n"

    @pytest.mark.parametrize(
        ("options", "reason"),
        [
            (("--failed",), "no reason was given"),
            (("--error", "the tests fail"), "the tests fail"),
            (("--failed", "--error", "x"), "x"),
        ],
    )
    def test_it_failed_with_a_reason(self, workflow: CommandLine, options: tuple[str, ...], reason: str) -> None:
        agent_id = workflow("agents", "start", "auth", "spec").stdout.strip()
        failed = workflow.json("agents", "finish", agent_id, *options)
        assert (failed["status"], failed["error_message"]) == ("failed", reason)

    def test_another_result_is_an_error_and_so_is_an_unknown_agent(self, workflow: CommandLine) -> None:
        agent_id = workflow("agents", "start", "auth", "spec").stdout.strip()
        workflow("agents", "finish", agent_id)
        assert workflow.json("agents", "finish", agent_id, "--failed", exit_code=4)["error"]["code"] == "conflict"
        assert workflow.json("agents", "finish", str(uuid4()), exit_code=3)["error"]["code"] == "not_found"


class TestSessionsAdvance:
    def test_it_goes_forward_and_by_force_back(self, workflow: CommandLine) -> None:
        assert workflow.json("sessions", "advance", "auth", "build")["status"] == "build"
        assert "spec, plan" in workflow.json("sessions", "advance", "auth", "plan", exit_code=4)["error"]["message"]
        assert workflow.json("sessions", "advance", "auth", "plan", "--force")["status"] == "plan"
        assert "is in plan" in workflow("sessions", "advance", "auth", "plan").stdout

    def test_an_unknown_phase_is_an_error_with_those_there_are(self, workflow: CommandLine) -> None:
        assert "created, spec, plan" in workflow("sessions", "advance", "auth", "buidl", exit_code=2).stderr


class TestSessionsStatus:
    def test_it_tells_of_one_session_and_of_all_that_go_on(self, workflow: CommandLine) -> None:
        assert "Nothing goes on" not in workflow("sessions", "status").stdout
        running, failed = (workflow("agents", "start", "auth", kind).stdout.strip() for kind in ("build", "spec"))
        workflow("agents", "finish", failed, "--error", "no luck")
        (work,) = workflow.json("sessions", "status", "auth")["items"]
        assert [[agent["id"] for agent in work[state]] for state in ("running", "pending", "failed")] == [[running], [], [failed]]
        assert work["session"]["status"] == "build"
        assert workflow.json("sessions", "status")["items"] == [work]
        output = workflow("sessions", "status", "auth").stdout
        assert "running" in output
        assert "no luck" in output
        assert max(map(len, output.splitlines())) <= 80

    def test_pages_follow_one_another(self, workflow: CommandLine) -> None:
        workflow("sessions", "create", "--agent", "strudel")
        first = workflow.json("sessions", "status", "--limit", "1")
        second = workflow.json("sessions", "status", "--limit", "1", "--cursor", first["next_cursor"])
        assert [page["items"][0]["session"]["session_type"] for page in (first, second)] == ["chat", "full"]
        assert second["next_cursor"] is None
        assert f"--cursor {first['next_cursor']}" in workflow("sessions", "status", "--limit", "1").stdout

    def test_without_any_it_says_so(self, cli: CommandLine) -> None:
        assert cli("sessions", "status").stdout == "Nothing goes on.\n"

    def test_a_page_without_any_may_have_a_next_one(self, cli: CommandLine, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("session_db.crud.paging.WALKED", 1)
        for _ in range(2):
            session_id = cli.json("sessions", "create", "--agent", "strudel")["session_id"]
            cli("sessions", "update", session_id, "--status", "terminated")
        told = cli("sessions", "status").stdout
        assert told.startswith("Nothing goes on in the sessions that were looked at.\nMore: session-db sessions status --cursor ")

    def test_an_empty_phase_is_an_error(self, workflow: CommandLine) -> None:
        assert "--phase is empty" in workflow("resume", "auth", "--phase", "", exit_code=2).stderr


class TestResume:
    def test_of_a_phase_it_is_the_last_agent(self, cli: CommandLine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("CLAUDE_CONFIG_DIR", str(tmp_path / "claude"))
        cli("import", str(recording(BACKGROUND)))
        done = cli.json("resume", str(BACKGROUND), "--phase", "main", "--in", str(tmp_path))
        assert done["command"] == ["claude", "--resume", str(BACKGROUND)]
        assert "no build agent" in cli.json("resume", str(BACKGROUND), "--phase", "build", exit_code=3)["error"]["message"]
        cli("resume", str(BACKGROUND), "--phase", "main", "--sdk-session", str(BACKGROUND), exit_code=2)
