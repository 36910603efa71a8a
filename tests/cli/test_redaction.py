"""What commands say of secrets that were masked."""

import json
import os
from pathlib import Path

import pytest

from session_db.capture.spool import spool_of
from session_db.settings import get_settings, use_settings
from tests.capture.fake_secrets import SECRETS
from tests.capture.recorded import BACKGROUND
from tests.capture.test_redaction import SECRET, planted
from tests.cli.conftest import CommandLine

SESSION = "0c6b3c0a-7d31-4b7a-9d13-1f6b1f5b1c11"


@pytest.fixture(autouse=True)
def directories(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SESSION_DB_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("CLAUDE_CONFIG_DIR", str(tmp_path / "claude"))


class TestShow:
    def test_it_says_how_many_there_were(self, cli: CommandLine) -> None:
        for number, secret in enumerate(["github token", "anthropic key", "rsa key"], 1):
            event = {"session_id": SESSION, "hook_event_name": "UserPromptSubmit", "prompt": SECRETS[secret], "prompt_id": secret}
            spool_of(get_settings()).put(json.dumps(event).encode(), {}, os.uname().nodename)
            shown = cli("sessions", "show", SESSION).stdout
            assert f"{number} secret{'' if number == 1 else 's'} masked" in shown
            assert not any(text in shown for text in SECRETS.values())
        assert cli.json("sessions", "show", SESSION)["session"]["secrets_masked"] == 3


class TestImport:
    def test_it_says_how_many_it_masked(self, cli: CommandLine, tmp_path: Path) -> None:
        path = planted(tmp_path / "source")
        assert cli.json("import", str(path))["secrets_masked"] > 10
        assert cli.json("import", str(path))["secrets_masked"] == 0

    @pytest.mark.parametrize("shape", ["markdown", "json"])
    def test_only_the_transcript_is_exported_with_them(self, cli: CommandLine, tmp_path: Path, shape: str) -> None:
        cli("import", str(planted(tmp_path / "source")))
        assert SECRET not in cli("export", str(BACKGROUND), "--format", shape).stdout
        assert SECRET in cli("export", str(BACKGROUND), "--format", "jsonl").stdout


class TestResume:
    def test_a_masked_one_is_refused_with_the_reason(self, cli: CommandLine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("SESSION_DB_REDACT_TRANSCRIPTS", "1")
        use_settings(None)
        cli("import", str(planted(tmp_path / "source")))
        assert SECRET not in cli("export", str(BACKGROUND), "--format", "jsonl").stdout
        error = cli.json("resume", str(BACKGROUND), "--in", str(tmp_path), exit_code=4)["error"]
        assert "SESSION_DB_REDACT_TRANSCRIPTS" in error["message"]
