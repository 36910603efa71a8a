"""Our hooks as they stand in Claude Code's settings: for which events, what each does, and how one of ours is known again."""

import re
import shlex
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Literal

from session_db.capture import hook
from session_db.errors import InvalidInput

Version = tuple[int, int, int]
Entry = dict[str, Any]
"""A hook, as the client reads it."""

Transport = Literal["spool", "http"]
"""How an event leaves the client: spool, into a file of this machine; http, to the service, where the client can do that."""

EVENTS: dict[str, Version] = {
    "PreToolUse": (1, 0, 41), "PostToolUse": (1, 0, 41), "Notification": (1, 0, 41), "Stop": (1, 0, 41), "SubagentStop": (1, 0, 41),
    "UserPromptSubmit": (1, 0, 54), "SessionStart": (1, 0, 62), "SessionEnd": (1, 0, 85),
    "SubagentStart": (2, 0, 43), "PermissionRequest": (2, 0, 45), "Setup": (2, 1, 10), "TeammateIdle": (2, 1, 33),
    "TaskCompleted": (2, 1, 33), "ConfigChange": (2, 1, 49), "InstructionsLoaded": (2, 1, 69),
    "Elicitation": (2, 1, 76), "ElicitationResult": (2, 1, 76), "StopFailure": (2, 1, 78), "CwdChanged": (2, 1, 83),
    "TaskCreated": (2, 1, 84), "PermissionDenied": (2, 1, 89), "PostToolUseFailure": (2, 1, 119), "MessageDisplay": (2, 1, 152),
    "DirectoryAdded": (2, 1, 219), "PostToolBatch": (2, 1, 330), "UserPromptExpansion": (2, 1, 330), "PreModelSwitch": (2, 1, 330),
    "PostModelSwitch": (2, 1, 330),
}  # fmt: skip
"""Events that a hook only observes, with the version of the client that has them for sure: an older one refuses an unknown name.

Never WorktreeCreate and WorktreeRemove: a hook there does git's work in its place. Not FileChanged: it watches files that somebody names.
Nor PreCompact and PostCompact: the client writes into the conversation, where the model reads it, which hooks ran there. SessionStart tells
of a compaction, too.
"""

SPOOLED_ALWAYS = frozenset({"SessionStart", "Setup", "SessionEnd"})
"""Over HTTP the client does not tell of the first two, and when it ends it waits for nobody."""

HTTP_SINCE: Version = (2, 1, 63)
"""The client that has http hooks; an older one refuses them."""

COMMAND_SECONDS = 10
"""What the client may wait for a command that hangs; ours takes milliseconds."""
HTTP_SECONDS = 2
"""What it may wait for a service that hangs."""

ROUTE = "/hooks/claude-code"
HOST_HEADER = "Session-DB-Host"
"""On which machine it happened. No other hook has this header, so by it we know ours again."""
_HEADERS = {
    "Authorization": "Bearer $SESSION_DB_TOKEN",
    "Session-DB-Session": "$SESSION_DB_SESSION",
    "Session-DB-Agent-Type": "$SESSION_DB_AGENT_TYPE",
    "Session-DB-Checkpoint": "$SESSION_DB_CHECKPOINT",
    "Session-DB-Recorder": "$SESSION_DB_RECORDER",
}
VARIABLES = tuple(value.rpartition("$")[2] for value in _HEADERS.values())
"""Variables of the client's process that it puts into headers; one that is unset becomes an empty one."""

_SCRIPT = Path(hook.__file__).resolve()
_OUR_COMMAND = re.compile(r" -I -S .*session_db[/\\]+capture[/\\]+hook\.py")


def command_entry(spool: Path) -> Entry:
    """Return the hook that puts an event into a spool."""
    command = shlex.join([sys.executable, "-I", "-S", str(_SCRIPT), str(spool)])
    return {"type": "command", "command": command, "timeout": COMMAND_SECONDS}


def http_entry(url: str, host: str) -> Entry:
    """Return the hook that sends an event to the service at a URL. No secret is in it: the client reads the token from its environment."""
    return {
        "type": "http",
        "url": url + ROUTE,
        "timeout": HTTP_SECONDS,
        "headers": {**_HEADERS, HOST_HEADER: host},
        "allowedEnvVars": list(VARIABLES),
    }


def entries_for(events: Iterable[str], command: Entry, http: Entry | None = None) -> dict[str, Entry]:
    """Return the hook of each event: the http one, if there is one and the client calls it there, or else the command."""
    return {event: command if http is None or event in SPOOLED_ALWAYS else http for event in events}


def events_of(version: Version, transport: Transport = "spool") -> list[str]:
    """Return the events that a client of this version knows.

    Raises:
        InvalidInput: it does not know this transport.
    """
    if transport == "http" and version < HTTP_SINCE:
        raise InvalidInput(
            f"Claude Code {_shown(version)} has no http hooks; update it to {_shown(HTTP_SINCE)} or later, or use --transport spool."
        )
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


def target_of(entry: Any) -> str | None:
    """Return the command or the URL of a hook that is ours, and None for any other, whatever it is."""
    if not isinstance(entry, dict):
        return None
    command, url = entry.get("command"), entry.get("url")
    if isinstance(command, str) and _OUR_COMMAND.search(command):
        return command
    headers = entry.get("headers")
    is_ours = isinstance(url, str) and url.endswith(ROUTE) and isinstance(headers, dict) and HOST_HEADER in headers
    return url if is_ours else None


def _shown(version: Version) -> str:
    return ".".join(map(str, version))
