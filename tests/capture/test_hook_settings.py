"""Hooks in Claude Code's settings: put in, told and taken out, with everything else left alone."""

import json
import stat
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from session_db.capture import hook_settings
from session_db.capture.hook_entries import (
    EVENTS,
    ROUTE,
    SPOOLED_ALWAYS,
    Entry,
    command_entry,
    entries_for,
    events_of,
    http_entry,
    parse_version,
)
from session_db.capture.hook_settings import install, installed, uninstall
from session_db.errors import InvalidInput

NEWEST = (9, 9, 9)
SERVICE = "https://sessions.example/team"
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


def spooling(spool: Path, events: list[str] | None = None) -> dict[str, Entry]:
    return entries_for(events or events_of(NEWEST), command_entry(spool))


def posting(spool: Path, url: str = SERVICE, events: list[str] | None = None) -> dict[str, Entry]:
    return entries_for(events or events_of(NEWEST, "http"), command_entry(spool), http_entry(url, "laptop"))


Hooks = Callable[[Path], dict[str, Entry]]


def write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def meaning(settings: dict[str, Any]) -> dict[str, Any]:
    """Return settings without events that have no hooks: the client reads no difference."""
    hooks = {event: groups for event, groups in settings.get("hooks", {}).items() if groups}
    return {name: value for name, value in {**settings, "hooks": hooks}.items() if value}


class TestInstall:
    def test_each_event_that_the_client_knows_gets_one_hook_with_a_timeout(self, path: Path, tmp_path: Path) -> None:
        assert install(path, spooling(tmp_path / "a spool"))
        hooks = json.loads(path.read_text())["hooks"]
        assert set(hooks) == set(EVENTS)
        for ((each,),) in ([group["hooks"] for group in groups] for groups in hooks.values()):
            assert each["type"] == "command"
            assert each["command"].endswith(f"hook.py '{tmp_path}/a spool'")
            assert 0 < each["timeout"] <= 10

    def test_over_http_each_event_that_the_client_sends_so_goes_to_the_service(self, path: Path, tmp_path: Path) -> None:
        assert install(path, posting(tmp_path))
        hooks = json.loads(path.read_text())["hooks"]
        assert set(hooks) == set(EVENTS)
        for event, ((each,),) in ((event, [group["hooks"] for group in groups]) for event, groups in hooks.items()):
            assert each["type"] == ("command" if event in SPOOLED_ALWAYS else "http")
        sent = hooks["PreToolUse"][0]["hooks"][0]
        assert (sent["url"], sent["timeout"], sent["headers"]["Session-DB-Host"]) == (SERVICE + ROUTE, 2, "laptop")

    def test_no_secret_is_put_there_and_each_variable_is_one_that_the_client_may_send(self, path: Path, tmp_path: Path) -> None:
        install(path, posting(tmp_path))
        sent = json.loads(path.read_text())["hooks"]["Stop"][0]["hooks"][0]
        named = {value.partition("$")[2] for value in sent["headers"].values() if "$" in value}
        assert named == set(sent["allowedEnvVars"])
        assert sent["headers"]["Authorization"] == "Bearer $SESSION_DB_TOKEN"

    def test_another_transport_takes_the_place_of_the_first(self, path: Path, tmp_path: Path) -> None:
        install(path, posting(tmp_path))
        assert installed(path).transport == "http"
        assert install(path, spooling(tmp_path))
        found = installed(path)
        assert (found.transport, len(found.targets), len(found.events)) == ("spool", 1, len(EVENTS))

    def test_what_somebody_else_writes_meanwhile_is_kept(self, path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        write(path, json.dumps(FOREIGN))
        encode = hook_settings._encoded
        written: list[str] = []

        def encode_late(settings: dict[str, Any]) -> str:
            if len(written) < 2:
                written.append(f"Bash({len(written)})")
                write(path, json.dumps(FOREIGN | {"permissions": {"allow": written}}))
            return encode(settings)

        monkeypatch.setattr(hook_settings, "_encoded", encode_late)
        assert install(path, posting(tmp_path))
        assert json.loads(path.read_text())["permissions"] == {"allow": ["Bash(0)", "Bash(1)"]}
        assert installed(path).transport == "http"

    def test_many_at_once_leave_one_whole_file(self, path: Path, tmp_path: Path) -> None:
        write(path, json.dumps(FOREIGN))
        wanted = [hooks(tmp_path / str(number)) for number in range(4) for hooks in (spooling, posting)]
        with ThreadPoolExecutor(len(wanted)) as threads:
            list(threads.map(lambda entries: install(path, entries), wanted * 5))
        assert len(installed(path).events) == len(EVENTS)
        assert list(path.parent.iterdir()) == [path]
        assert uninstall(path)
        assert meaning(json.loads(path.read_text())) == meaning(FOREIGN)

    @pytest.mark.parametrize("groups", [None, {}, "all"], ids=["null", "an object", "a text"])
    def test_an_event_whose_hooks_are_no_list_is_left_as_it_is(self, path: Path, tmp_path: Path, groups: Any) -> None:
        write(path, json.dumps({"hooks": {"Stop": groups}}))
        with pytest.raises(InvalidInput, match=r"hooks\.Stop"):
            install(path, spooling(tmp_path))
        assert json.loads(path.read_text()) == {"hooks": {"Stop": groups}}

    def test_a_hook_that_would_work_in_gits_place_is_never_put(self) -> None:
        assert {"WorktreeCreate", "WorktreeRemove"} & set(EVENTS) == set()

    def test_one_that_the_model_would_read_of_is_never_put(self) -> None:
        assert {"PreCompact", "PostCompact"} & set(EVENTS) == set()

    def test_an_older_client_gets_what_it_knows(self) -> None:
        assert events_of((1, 0, 54)) == [
            "PreToolUse",
            "PostToolUse",
            "Notification",
            "Stop",
            "SubagentStop",
            "UserPromptSubmit",
        ]

    def test_one_without_http_hooks_gets_none(self) -> None:
        with pytest.raises(InvalidInput, match=r"2\.1\.63"):
            events_of((2, 1, 62), "http")
        assert "PreToolUse" in events_of((2, 1, 63), "http")

    @pytest.mark.parametrize("hooks", [spooling, posting])
    def test_again_it_changes_nothing(self, path: Path, tmp_path: Path, hooks: Hooks) -> None:
        install(path, hooks(tmp_path))
        before = path.read_bytes()
        assert not install(path, hooks(tmp_path))
        assert path.read_bytes() == before

    def test_with_another_spool_or_client_the_former_hooks_go(self, path: Path, tmp_path: Path) -> None:
        install(path, spooling(tmp_path / "old"))
        assert install(path, spooling(tmp_path / "new", ["Stop"]))
        found = installed(path)
        assert found.events == ("Stop",)
        (target,) = found.targets
        assert "new" in target

    def test_hooks_of_others_stay_where_they_are(self, path: Path, tmp_path: Path) -> None:
        write(path, json.dumps(FOREIGN))
        install(path, spooling(tmp_path))
        settings = json.loads(path.read_text())
        assert settings["hooks"]["PreToolUse"][:2] == FOREIGN["hooks"]["PreToolUse"]
        assert settings["hooks"]["WorktreeCreate"] == FOREIGN["hooks"]["WorktreeCreate"]
        assert (settings["permissions"], settings["model"]) == (FOREIGN["permissions"], FOREIGN["model"])

    @pytest.mark.parametrize("text", ["{", "[]", '{"hooks": []}', "// a comment\n{}", '{"a": 1}}'])
    def test_a_file_that_is_none_is_left_as_it_is(self, path: Path, tmp_path: Path, text: str) -> None:
        write(path, text)
        with pytest.raises(InvalidInput, match="nothing was changed"):
            install(path, spooling(tmp_path, ["Stop"]))
        with pytest.raises(InvalidInput, match="nothing was changed"):
            uninstall(path)
        assert path.read_text() == text

    @pytest.mark.parametrize(
        "text", ['{"a": 1e400}', '{"a": NaN}', '{"hooks": null}', '{"a": ' + "9" * 5000 + "}", "[" * 200_000], ids=range(5)
    )
    def test_what_cannot_be_written_again_is_left_as_it_is(self, path: Path, tmp_path: Path, text: str) -> None:
        write(path, text)
        with pytest.raises(InvalidInput, match="nothing was changed"):
            install(path, spooling(tmp_path, ["Stop"]))
        assert path.read_text() == text

    def test_numbers_and_odd_writing_stay_what_they_are(self, path: Path, tmp_path: Path) -> None:
        path.parent.mkdir()
        path.write_bytes(b'\xef\xbb\xbf{"a": 1.0,\r\n "b": 12345678901234567890, "c": 1e5, "d": "\\ud800", "c": 2}\r\n')
        before = json.loads(path.read_text("utf-8-sig"))
        install(path, spooling(tmp_path, ["Stop"]))
        uninstall(path)
        after = json.loads(path.read_text())
        assert (after, str(after["a"]), str(after["b"])) == (before, "1.0", "12345678901234567890")

    def test_where_the_file_cannot_be_written_it_is_said(self, path: Path, tmp_path: Path) -> None:
        path.parent.mkdir()
        path.symlink_to("/proc/nowhere/settings.json")
        with pytest.raises(InvalidInput, match="cannot be written"):
            install(path, spooling(tmp_path, ["Stop"]))

    def test_hooks_of_another_installation_are_replaced(self, path: Path, tmp_path: Path) -> None:
        old = "'/opt/old python/bin/python' -I -S '/opt/a b/session_db/capture/hook.py' /old/spool"
        write(path, json.dumps({"hooks": {"Stop": [{"hooks": [{"type": "command", "command": old}]}]}}))
        assert install(path, spooling(tmp_path, ["Stop"]))
        (target,) = installed(path).targets
        assert "/old/spool" not in target

    def test_with_the_service_at_another_url_the_former_hooks_go(self, path: Path, tmp_path: Path) -> None:
        install(path, posting(tmp_path, "http://127.0.0.1:1"))
        install(path, posting(tmp_path))
        assert installed(path).urls == [SERVICE + ROUTE]

    @pytest.mark.parametrize(
        "foreign",
        [
            {"type": "http", "url": "http://127.0.0.1:8765/hooks/claude-code"},
            {"type": "http", "url": "http://127.0.0.1:8765/hooks/claude-code", "headers": {"X-Host": "a"}},
            {"type": "http", "url": "http://127.0.0.1:8765/hooks", "headers": {"Session-DB-Host": "a"}},
            {"type": "http", "url": None, "headers": {"Session-DB-Host": "a"}},
            {"type": "http", "url": "http://127.0.0.1:8765/hooks/claude-code", "headers": ["Session-DB-Host"]},
            {"type": "prompt", "prompt": "/hooks/claude-code"},
            "Session-DB-Host",
        ],
        ids=range(7),
    )
    def test_an_http_hook_without_our_path_and_our_header_is_not_ours(self, path: Path, tmp_path: Path, foreign: Any) -> None:
        settings = {"hooks": {"Stop": [{"hooks": [foreign]}]}}
        write(path, json.dumps(settings))
        assert not uninstall(path)
        install(path, posting(tmp_path))
        assert uninstall(path)
        assert json.loads(path.read_text()) == settings

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
        install(path, spooling(tmp_path, ["Stop"]))
        assert path.is_symlink()
        assert stat.S_IMODE(real.stat().st_mode) == 0o640
        assert "Stop" in real.read_text()


class TestClashesWith:
    def test_only_equal_hooks_run_once(self, path: Path, tmp_path: Path) -> None:
        install(path, posting(tmp_path))
        found = installed(path)
        assert not found.clashes_with(posting(tmp_path))
        others = [spooling(tmp_path), posting(tmp_path, "http://127.0.0.1:1"), posting(tmp_path / "other")]
        assert [found.clashes_with(entries) for entries in others] == [True, True, True]

    def test_where_there_are_none_nothing_clashes(self, path: Path, tmp_path: Path) -> None:
        assert not installed(path).clashes_with(posting(tmp_path))


class TestUninstall:
    @pytest.mark.parametrize(
        "settings",
        [{}, FOREIGN, {"hooks": {}}, {"hooks": {"Stop": []}}, {"hooks": {"Stop": [{"matcher": "*", "hooks": []}]}, "env": {"A": "1"}}],
        ids=["empty", "foreign", "no hooks", "no groups", "an empty group"],
    )
    @pytest.mark.parametrize(
        "order", [[spooling], [posting], [spooling, posting], [posting, spooling]], ids=["spool", "http", "to http", "to spool"]
    )
    def test_after_it_everything_is_as_before(self, path: Path, tmp_path: Path, settings: dict[str, Any], order: list[Hooks]) -> None:
        write(path, json.dumps(settings, indent="\t", separators=(" ,", " :  ")) + "\r\n\n")
        for hooks in order:
            install(path, hooks(tmp_path))
        assert uninstall(path)
        left = json.loads(path.read_text()) if path.exists() else {}
        assert meaning(left) == meaning(settings)

    def test_where_there_was_no_file_there_is_none(self, path: Path, tmp_path: Path) -> None:
        install(path, spooling(tmp_path, ["Stop"]))
        assert uninstall(path)
        assert not path.exists()

    def test_a_hook_of_ours_that_somebody_grouped_with_others_goes_alone(self, path: Path, tmp_path: Path) -> None:
        install(path, spooling(tmp_path, ["Stop"]))
        settings = json.loads(path.read_text())
        settings["hooks"]["Stop"][0]["hooks"].append({"type": "command", "command": "notify"})
        write(path, json.dumps(settings))
        uninstall(path)
        assert json.loads(path.read_text()) == {"hooks": {"Stop": [{"hooks": [{"type": "command", "command": "notify"}]}]}}

    def test_another_one_at_the_same_moment_is_no_error(self, path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        install(path, spooling(tmp_path, ["Stop"]))
        unlink = Path.unlink

        def unlink_twice(file: Path, *, missing_ok: bool = False) -> None:
            unlink(file)
            unlink(file, missing_ok=missing_ok)

        monkeypatch.setattr(Path, "unlink", unlink_twice)
        assert not uninstall(path)
        assert not path.exists()

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
