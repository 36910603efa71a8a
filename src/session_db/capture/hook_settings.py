"""Claude Code's settings files: our hooks put in, found, and taken out again, with everything else left as it is."""

import json
import os
import tempfile
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from session_db.capture.hook_entries import Entry, Transport, target_of
from session_db.errors import InvalidInput


@dataclass(frozen=True)
class Installed:
    """Our hooks in a settings file: their events, and the commands and URLs of them."""

    path: Path
    events: tuple[str, ...]
    targets: frozenset[str]

    @property
    def urls(self) -> list[str]:
        return sorted(target for target in self.targets if target.startswith(("http://", "https://")))

    @property
    def transport(self) -> Transport | None:
        """How events leave the client; None where there are no hooks."""
        if self.urls:
            return "http"
        return "spool" if self.targets else None

    def clashes_with(self, entries: dict[str, Entry]) -> bool:
        """Say whether the client would tell of an event twice, had another of its files these hooks: only equal ones it takes for one."""
        return bool(self.targets) and self.targets != {target_of(entry) for entry in entries.values()}


def install(path: Path, entries: dict[str, Entry]) -> bool:
    """Put our hooks, by event, into a settings file, in place of those of ours that are there; return whether it changed.

    Raises:
        InvalidInput: the file holds no settings; nothing is changed.
    """

    def with_ours(before: dict[str, Any]) -> dict[str, Any]:
        settings = _without_ours(before)
        hooks = settings.setdefault("hooks", {})
        for event, entry in entries.items():
            groups = hooks.setdefault(event, [])
            if not isinstance(groups, list):
                raise InvalidInput(f"{path} has hooks.{event} that is no list. Correct it first; nothing was changed.", path=str(path))
            groups.append({"hooks": [entry]})
        return settings

    return _change(path, with_ours)


def uninstall(path: Path) -> bool:
    """Take our hooks out of a settings file; return whether there were any. A file that held nothing else is removed.

    Raises:
        InvalidInput: the file holds no settings; nothing is changed.
    """
    return _change(path, _without_ours)


def installed(path: Path) -> Installed:
    """Return our hooks in a settings file.

    Raises:
        InvalidInput: the file holds no settings.
    """
    found = list(_ours(read_settings(path)))
    return Installed(path, tuple(event for event, _ in found), frozenset(target for _, target in found))


def _ours(settings: dict[str, Any]) -> Iterator[tuple[str, str]]:
    """Give each of our hooks: its event, and its command or URL."""
    for event, groups in settings.get("hooks", {}).items():
        for group in groups if isinstance(groups, list) else []:
            hooks = group.get("hooks") if isinstance(group, dict) else None
            for each in hooks if isinstance(hooks, list) else []:
                target = target_of(each)
                if target is not None:
                    yield event, target


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
        others = [each for each in hooks if target_of(each) is None] if isinstance(hooks, list) else hooks
        if others == hooks:
            kept.append(group)
        elif others:
            kept.append({**group, "hooks": others})
    return kept


def read_settings(path: Path) -> dict[str, Any]:
    """Return what a settings file holds; nothing where there is none.

    Raises:
        InvalidInput: it holds no settings.
    """
    return _decoded(path, _content(path))


def _content(path: Path) -> bytes | None:
    try:
        return path.read_bytes()
    except FileNotFoundError:
        return None
    except OSError as error:
        raise InvalidInput(f"{path} cannot be read: {error.strerror}.", path=str(path)) from error


def _decoded(path: Path, content: bytes | None) -> dict[str, Any]:
    try:
        text = (content or b"").decode("utf-8-sig")
        settings = json.loads(text) if text.strip() else {}
    except (ValueError, RecursionError) as error:
        raise InvalidInput(f"{path} is no JSON: {error}. Correct it first; nothing was changed.", path=str(path)) from error
    if not isinstance(settings, dict) or not isinstance(settings.get("hooks", {}), dict):
        raise InvalidInput(
            f"{path} holds no settings of Claude Code: it or its hooks are no JSON object; nothing was changed.", path=str(path)
        )
    return settings


def _change(path: Path, edit: Callable[[dict[str, Any]], dict[str, Any]]) -> bool:
    """Change a settings file, whole or not at all, and return whether there was something to change.

    The client writes it, too: what was written between our reading and our writing is read again.
    """
    while True:
        content = _content(path)
        before = _decoded(path, content)
        after = edit(before)
        if before == after:
            return False
        try:
            text = _encoded(after)
        except ValueError as error:
            raise InvalidInput(
                f"{path} holds a number that cannot be written again: {error}; nothing was changed.", path=str(path)
            ) from error
        try:
            if _replaced(path, content, text if after else None):
                return True
        except (OSError, RuntimeError) as error:
            reason = error.strerror if isinstance(error, OSError) else error
            raise InvalidInput(f"{path} cannot be written: {reason}; nothing was changed.", path=str(path)) from error


def _encoded(settings: dict[str, Any]) -> str:
    text = json.dumps(settings, indent=2, ensure_ascii=False, allow_nan=False) + "\n"
    # Half a character is no UTF-8; written as an escape it stays what it was.
    is_text = text.encode(errors="replace").decode() == text
    return text if is_text else json.dumps(settings, indent=2, allow_nan=False) + "\n"


def _replaced(path: Path, content: bytes | None, text: str | None) -> bool:
    """Write a text in place of what the file held, or remove it; return False where it holds something else by now."""
    if text is None and not path.is_symlink():
        try:
            is_same = _content(path) == content
            if is_same:
                path.unlink()
        except FileNotFoundError:
            # Somebody else removed it in the meantime.
            return False
        return is_same
    # Where it is a link, what it leads to changes, and the link stays.
    path = path.resolve()
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    temporary = Path(name)
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            file.write(text or "{}\n")
            file.flush()
            os.fsync(descriptor)
        with suppress(FileNotFoundError):
            temporary.chmod(path.stat().st_mode & 0o777)
        is_same = _content(path) == content
        if is_same:
            temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)
    return is_same
