"""What Claude Code's settings say of all hooks: whether ours run at all."""

import re
import sys
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from session_db.capture.hook_entries import VARIABLES

MANAGED = Path(
    "/Library/Application Support/ClaudeCode/managed-settings.json"
    if sys.platform == "darwin"
    else "/etc/claude-code/managed-settings.json"
)
"""The file of this machine's administrator, which no other one overrules."""

Source = tuple[Path, dict[str, Any]]
"""A settings file, and what it holds."""


def obstacles(sources: Sequence[Source], urls: Iterable[str]) -> Iterator[str]:
    """Say what keeps the client from calling hooks of ours, a sentence each.

    Args:
        sources: the settings in force, the weakest first.
        urls: where http hooks of ours lead.
    """
    switches = [(path, settings["disableAllHooks"]) for path, settings in sources if "disableAllHooks" in settings]
    if switches and switches[-1][1] is True:
        yield f"disableAllHooks is set in {switches[-1][0]}: the client runs no hooks."
    for path, settings in sources:
        if path == MANAGED and settings.get("allowManagedHooksOnly") is True:
            yield f"allowManagedHooksOnly is set in {path}: the client runs no hooks but those of its administrator."
    patterns, variables = _allowed(sources, "allowedHttpHookUrls"), _allowed(sources, "httpHookAllowedEnvVars")
    for url in urls:
        if patterns is not None and not any(_matches(pattern, url) for pattern in patterns):
            yield f"allowedHttpHookUrls leaves out {url}: the client does not call it."
        left_out = [name for name in VARIABLES if variables is not None and name not in variables]
        if left_out:
            yield f"httpHookAllowedEnvVars leaves out {', '.join(left_out)}: the client sends nothing in its place."


def _allowed(sources: Sequence[Source], name: str) -> list[Any] | None:
    """Return what all files together allow; None where none says anything."""
    lists = [settings[name] for _, settings in sources if isinstance(settings.get(name), list)]
    return [each for allowed in lists for each in allowed] if lists else None


def _matches(pattern: Any, url: str) -> bool:
    return isinstance(pattern, str) and re.fullmatch(".*".join(map(re.escape, pattern.split("*"))), url) is not None
