"""Claude Code's settings files: our hooks put in, found, and taken out again, with everything else left as it is."""

import json
import os
import re
import shlex
import sys
import tempfile
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from session_db.capture import hook
from session_db.errors import InvalidInput

Version = tuple[int, int, int]

EVENTS: dict[str, Version] = {
    "PreToolUse": (1, 0, 41), "PostToolUse": (1, 0, 41), "Notification": (1, 0, 41), "Stop": (1, 0, 41), "SubagentStop": (1, 0, 41),
    "PreCompact": (1, 0, 48), "UserPromptSubmit": (1, 0, 54), "SessionStart": (1, 0, 62), "SessionEnd": (1, 0, 85),
    "SubagentStart": (2, 0, 43), "PermissionRequest": (2, 0, 45), "Setup": (2, 1, 10), "TeammateIdle": (2, 1, 33),
    "TaskCompleted": (2, 1, 33), "ConfigChange": (2, 1, 49), "InstructionsLoaded": (2, 1, 69), "PostCompact": (2, 1, 76),
    "Elicitation": (2, 1, 76), "ElicitationResult": (2, 1, 76), "StopFailure": (2, 1, 78), "CwdChanged": (2, 1, 83),
    "TaskCreated": (2, 1, 84), "PermissionDenied": (2, 1, 89), "PostToolUseFailure": (2, 1, 119), "MessageDisplay": (2, 1, 152),
    "DirectoryAdded": (2, 1, 219), "PostToolBatch": (2, 1, 330), "UserPromptExpansion": (2, 1, 330), "PreModelSwitch": (2, 1, 330),
    "PostModelSwitch": (2, 1, 330),
}  # fmt: skip
"""Events that a hook only observes, with the version of the client that has them for sure: an older one refuses an unknown name.

Never WorktreeCreate and WorktreeRemove: a hook there does git's work in its place. Not FileChanged: it watches files that somebody names.
"""

TIMEOUT_SECONDS = 10
"""What the client may wait for a hook that hangs; ours takes milliseconds."""

_SCRIPT = Path(hook.__file__).resolve()
_OURS = re.compile(r" -I -S .*session_db[/\\]+capture[/\\]+hook\.py")


@dataclass(frozen=True)
class Installed:
    """Our hooks in a settings file: their events, and the commands that they run."""

    path: Path
    events: tuple[str, ...]
    commands: tuple[str, ...]


def command_for(spool: Path) -> str:
    """Return what the client runs for each event."""
    return shlex.join([sys.executable, "-I", "-S", str(_SCRIPT), str(spool)])


def events_of(version: Version) -> list[str]:
    """Return the events that a client of this version knows."""
    return [event for event, since in EVENTS.items() if since <= version]


def parse_version(text: str) -> Version:
    """Read a version as the client prints it: ``2.1.330 (Claude Code)``.

    Raises:
        InvalidInput: it is none.
    """
    found = re.match(r"\s*v?(\d{1,6})\.(\d{1,6})\.(\d{1,6})", text)
    if found is None:
        raise InvalidInput(f"{text.strip()[:100]!r} is no version of Claude Code; give one like 2.1.330.")
    return int(found[1]), int(found[2]), int(found[3])


def install(path: Path, spool: Path, events: list[str]) -> bool:
    """Put our hooks for these events into a settings file, in place of those of ours that are there; return whether it changed.

    Raises:
        InvalidInput: the file holds no settings; nothing is changed.
    """
    before = _read(path)
    settings = _without_ours(before)
    hooks = settings.setdefault("hooks", {})
    for event in events:
        ours = {"type": "command", "command": command_for(spool), "timeout": TIMEOUT_SECONDS}
        hooks.setdefault(event, []).append({"hooks": [ours]})
    return _write(path, before, settings)


def uninstall(path: Path) -> bool:
    """Take our hooks out of a settings file; return whether there were any. A file that held nothing else is removed.

    Raises:
        InvalidInput: the file holds no settings; nothing is changed.
    """
    before = _read(path)
    settings = _without_ours(before)
    if not settings and before and not path.is_symlink():
        try:
            path.unlink()
        except OSError as error:
            raise InvalidInput(f"{path} cannot be removed: {error.strerror}; nothing was changed.", path=str(path)) from error
        return True
    return _write(path, before, settings)


def installed(path: Path) -> Installed:
    """Return our hooks in a settings file.

    Raises:
        InvalidInput: the file holds no settings.
    """
    found = list(_ours(_read(path)))
    return Installed(path, tuple(event for event, _ in found), tuple(dict.fromkeys(command for _, command in found)))


def _ours(settings: dict[str, Any]) -> Iterator[tuple[str, str]]:
    for event, groups in settings.get("hooks", {}).items():
        for group in groups if isinstance(groups, list) else []:
            for each in group.get("hooks", []) if isinstance(group, dict) else []:
                if _is_ours(each):
                    yield event, each["command"]


def _is_ours(each: Any) -> bool:
    return isinstance(each, dict) and isinstance(each.get("command"), str) and _OURS.search(each["command"]) is not None


def _without_ours(settings: dict[str, Any]) -> dict[str, Any]:
    """Return the settings without our hooks, and without what held nothing but them."""
    hooks = {event: _kept(groups) for event, groups in settings.get("hooks", {}).items()}
    hooks = {event: groups for event, groups in hooks.items() if groups or settings["hooks"][event] == groups}
    rest = {name: value for name, value in settings.items() if name != "hooks"}
    if hooks or settings.get("hooks") == hooks:
        # In its place: a person may read the file.
        return {name: hooks if name == "hooks" else value for name, value in settings.items()}
    return rest


def _kept(groups: Any) -> Any:
    """Return the groups of an event without our hooks; one that held others as well keeps those."""
    if not isinstance(groups, list):
        return groups
    kept = []
    for group in groups:
        hooks = group.get("hooks") if isinstance(group, dict) else None
        others = [each for each in hooks if not _is_ours(each)] if isinstance(hooks, list) else hooks
        if others == hooks:
            kept.append(group)
        elif others:
            kept.append({**group, "hooks": others})
    return kept


def _read(path: Path) -> dict[str, Any]:
    try:
        text = path.read_text(encoding="utf-8-sig")
        settings = json.loads(text) if text.strip() else {}
    except FileNotFoundError:
        return {}
    except (ValueError, RecursionError) as error:
        raise InvalidInput(f"{path} is no JSON: {error}. Correct it first; nothing was changed.", path=str(path)) from error
    except OSError as error:
        raise InvalidInput(f"{path} cannot be read: {error.strerror}.", path=str(path)) from error
    if not isinstance(settings, dict) or not isinstance(settings.get("hooks", {}), dict):
        raise InvalidInput(
            f"{path} holds no settings of Claude Code: it or its hooks are no JSON object; nothing was changed.", path=str(path)
        )
    return settings


def _write(path: Path, before: dict[str, Any], after: dict[str, Any]) -> bool:
    """Write the settings, whole or not at all; a file that says the same already is left as it is."""
    if before == after:
        return False
    try:
        text = _encoded(after)
    except ValueError as error:
        raise InvalidInput(f"{path} holds a number that cannot be written again: {error}; nothing was changed.", path=str(path)) from error
    try:
        # Where it is a link, what it leads to changes, and the link stays.
        _replace(path.resolve(), text)
    except (OSError, RuntimeError) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        raise InvalidInput(f"{path} cannot be written: {reason}; nothing was changed.", path=str(path)) from error
    return True


def _encoded(settings: dict[str, Any]) -> str:
    text = json.dumps(settings, indent=2, ensure_ascii=False, allow_nan=False) + "\n"
    # Half a character is no UTF-8; written as an escape it stays what it was.
    is_text = text.encode(errors="replace").decode() == text
    return text if is_text else json.dumps(settings, indent=2, allow_nan=False) + "\n"


def _replace(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            file.write(text)
        with suppress(FileNotFoundError):
            Path(temporary).chmod(path.stat().st_mode & 0o777)
        Path(temporary).replace(path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise
