"""Hooks in Claude Code's settings: put in, told and taken out, with everything else left alone."""

import json
import stat
from pathlib import Path
from typing import Any

import pytest

from session_db.capture.hook_settings import EVENTS, events_of, install, installed, parse_version, uninstall
from session_db.errors import InvalidInput

NEWEST = (9, 9, 9)
FOREIGN: dict[str, Any] = {
    "permissions": {"allow": ["Bash(npm run:*)"]},
    "hooks": {
        "PreToolUse": [{"matcher": "Bash", "hooks": [{"type": "command", "command": "~/check.sh"}]}, {"hooks": []}],
        "WorktreeCreate": [{"hooks": [{"type": "command", "command": "git worktree add"}]}],
        "Stop": [],
    },
    "model": "opus é \u2028",
}


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / ".claude" / "settings.json"


def write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def meaning(settings: dict[str, Any]) -> dict[str, Any]:
    """Return settings without events that have no hooks: the client reads no difference."""
    hooks = {event: groups for event, groups in settings.get("hooks", {}).items() if groups}
    return {name: value for name, value in {**settings, "hooks": hooks}.items() if value}


class TestInstall:
    def test_each_event_that_the_client_knows_gets_one_hook_with_a_timeout(self, path: Path, tmp_path: Path) -> None:
        assert install(path, tmp_path / "a spool", events_of(NEWEST))
        hooks = json.loads(path.read_text())["hooks"]
        assert set(hooks) == set(EVENTS)
        for ((each,),) in ([group["hooks"] for group in groups] for groups in hooks.values()):
            assert each["type"] == "command"
            assert each["command"].endswith(f"hook.py '{tmp_path}/a spool'")
            assert 0 < each["timeout"] <= 10

    def test_a_hook_that_would_work_in_gits_place_is_never_put(self) -> None:
        assert {"WorktreeCreate", "WorktreeRemove"} & set(EVENTS) == set()

    def test_an_older_client_gets_what_it_knows(self) -> None:
        assert events_of((1, 0, 54)) == [
            "PreToolUse",
            "PostToolUse",
            "Notification",
            "Stop",
            "SubagentStop",
            "PreCompact",
            "UserPromptSubmit",
        ]

    def test_again_it_changes_nothing(self, path: Path, tmp_path: Path) -> None:
        install(path, tmp_path, events_of(NEWEST))
        before = path.read_bytes()
        assert not install(path, tmp_path, events_of(NEWEST))
        assert path.read_bytes() == before

    def test_with_another_spool_or_client_the_former_hooks_go(self, path: Path, tmp_path: Path) -> None:
        install(path, tmp_path / "old", events_of(NEWEST))
        assert install(path, tmp_path / "new", ["Stop"])
        found = installed(path)
        assert found.events == ("Stop",)
        assert "new" in found.commands[0]

    def test_hooks_of_others_stay_where_they_are(self, path: Path, tmp_path: Path) -> None:
        write(path, json.dumps(FOREIGN))
        install(path, tmp_path, events_of(NEWEST))
        settings = json.loads(path.read_text())
        assert settings["hooks"]["PreToolUse"][:2] == FOREIGN["hooks"]["PreToolUse"]
        assert settings["hooks"]["WorktreeCreate"] == FOREIGN["hooks"]["WorktreeCreate"]
        assert (settings["permissions"], settings["model"]) == (FOREIGN["permissions"], FOREIGN["model"])

    @pytest.mark.parametrize("text", ["{", "[]", '{"hooks": []}', "// a comment\n{}", '{"a": 1}}'])
    def test_a_file_that_is_none_is_left_as_it_is(self, path: Path, tmp_path: Path, text: str) -> None:
        write(path, text)
        with pytest.raises(InvalidInput, match="nothing was changed"):
            install(path, tmp_path, ["Stop"])
        with pytest.raises(InvalidInput, match="nothing was changed"):
            uninstall(path)
        assert path.read_text() == text

    @pytest.mark.parametrize(
        "text", ['{"a": 1e400}', '{"a": NaN}', '{"hooks": null}', '{"a": ' + "9" * 5000 + "}", "[" * 200_000], ids=range(5)
    )
    def test_what_cannot_be_written_again_is_left_as_it_is(self, path: Path, tmp_path: Path, text: str) -> None:
        write(path, text)
        with pytest.raises(InvalidInput, match="nothing was changed"):
            install(path, tmp_path, ["Stop"])
        assert path.read_text() == text

    def test_numbers_and_odd_writing_stay_what_they_are(self, path: Path, tmp_path: Path) -> None:
        path.parent.mkdir()
        path.write_bytes(b'\xef\xbb\xbf{"a": 1.0,\r\n "b": 12345678901234567890, "c": 1e5, "d": "\\ud800", "c": 2}\r\n')
        before = json.loads(path.read_text("utf-8-sig"))
        install(path, tmp_path, ["Stop"])
        uninstall(path)
        after = json.loads(path.read_text())
        assert (after, str(after["a"]), str(after["b"])) == (before, "1.0", "12345678901234567890")

    def test_where_the_file_cannot_be_written_it_is_said(self, path: Path, tmp_path: Path) -> None:
        path.parent.mkdir()
        path.symlink_to("/proc/nowhere/settings.json")
        with pytest.raises(InvalidInput, match="cannot be written"):
            install(path, tmp_path, ["Stop"])

    def test_hooks_of_another_installation_are_replaced(self, path: Path, tmp_path: Path) -> None:
        old = "'/opt/old python/bin/python' -I -S '/opt/a b/session_db/capture/hook.py' /old/spool"
        write(path, json.dumps({"hooks": {"Stop": [{"hooks": [{"type": "command", "command": old}]}]}}))
        assert install(path, tmp_path, ["Stop"])
        (command,) = installed(path).commands
        assert "/old/spool" not in command

    def test_a_command_that_only_names_our_script_is_not_ours(self, path: Path, tmp_path: Path) -> None:
        settings = {"hooks": {"Stop": [{"hooks": [{"type": "command", "command": "ruff check src/session_db/capture/hook.py"}]}]}}
        write(path, json.dumps(settings))
        assert not uninstall(path)
        assert json.loads(path.read_text()) == settings

    def test_mode_and_link_stay(self, path: Path, tmp_path: Path) -> None:
        real = tmp_path / "dotfiles.json"
        real.write_text("{}")
        real.chmod(0o640)
        path.parent.mkdir()
        path.symlink_to(real)
        install(path, tmp_path, ["Stop"])
        assert path.is_symlink()
        assert stat.S_IMODE(real.stat().st_mode) == 0o640
        assert "Stop" in real.read_text()


class TestUninstall:
    @pytest.mark.parametrize(
        "settings",
        [{}, FOREIGN, {"hooks": {}}, {"hooks": {"Stop": []}}, {"hooks": {"Stop": [{"matcher": "*", "hooks": []}]}, "env": {"A": "1"}}],
        ids=["empty", "foreign", "no hooks", "no groups", "an empty group"],
    )
    def test_after_it_everything_is_as_before(self, path: Path, tmp_path: Path, settings: dict[str, Any]) -> None:
        write(path, json.dumps(settings, indent="\t", separators=(" ,", " :  ")) + "\r\n\n")
        install(path, tmp_path, events_of(NEWEST))
        assert uninstall(path)
        left = json.loads(path.read_text()) if path.exists() else {}
        assert meaning(left) == meaning(settings)

    def test_where_there_was_no_file_there_is_none(self, path: Path, tmp_path: Path) -> None:
        install(path, tmp_path, ["Stop"])
        assert uninstall(path)
        assert not path.exists()

    def test_a_hook_of_ours_that_somebody_grouped_with_others_goes_alone(self, path: Path, tmp_path: Path) -> None:
        install(path, tmp_path, ["Stop"])
        settings = json.loads(path.read_text())
        settings["hooks"]["Stop"][0]["hooks"].append({"type": "command", "command": "notify"})
        write(path, json.dumps(settings))
        uninstall(path)
        assert json.loads(path.read_text()) == {"hooks": {"Stop": [{"hooks": [{"type": "command", "command": "notify"}]}]}}

    def test_where_none_is_of_ours_nothing_happens(self, path: Path) -> None:
        write(path, '{"model":"opus"}')
        assert not uninstall(path)
        assert path.read_text() == '{"model":"opus"}'


class TestParseVersion:
    def test_as_the_client_prints_it(self) -> None:
        assert parse_version("2.1.330 (Claude Code)\n") == (2, 1, 330)

    @pytest.mark.parametrize("text", ["", "Claude Code", "2.1", "x.y.z"])
    def test_anything_else_is_refused(self, text: str) -> None:
        with pytest.raises(InvalidInput, match="no version"):
            parse_version(text)
