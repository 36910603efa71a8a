"""What the payloads of Claude Code's hooks say: events, and how the session and its agents stand after them.

Nothing here touches the database, and an event that nobody has heard of is recorded like any other.
"""

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import UUID

from session_db.capture.spool import Captured
from session_db.errors import InvalidInput
from session_db.ids import derived_id
from session_db.models import AgentLogCreate
from session_db.models.sessions import Activity
from session_db.models.table import JSONText, decode_json, reads_back
from session_db.models.text import readable

_WORKS = frozenset({
    "UserPromptSubmit", "PreToolUse", "PostToolUse", "PostToolUseFailure", "PostToolBatch", "PermissionDenied", "SubagentStart",
    "PreCompact", "MessageDisplay",
})  # fmt: skip
_ACTIVITIES: dict[str, Activity] = {
    **dict.fromkeys(_WORKS, "working"),
    "PermissionRequest": "waiting",
    "Elicitation": "waiting",
    "SessionStart": "idle",
    "Stop": "idle",
    "StopFailure": "failed",
    "SessionEnd": "done",
}
_STATUSES: dict[Activity, str] = {"working": "active", "waiting": "active", "idle": "idle", "failed": "idle", "done": "terminated"}
"""What a chat's status is while its agent does that."""

_AGENT_STATUSES = {
    "UserPromptSubmit": "executing", "Stop": "complete", "SessionEnd": "complete", "StopFailure": "failed",
    "SubagentStart": "executing", "SubagentStop": "complete",
}  # fmt: skip

_OF_SUB_AGENTS = frozenset({"SubagentStart", "SubagentStop"})

READS_TRANSCRIPT = frozenset({"PostToolBatch", "Stop", "StopFailure", "SubagentStop", "SessionEnd", "PostCompact"})
"""After these the transcript has something new."""

RESULT, MIRROR_ERROR = "ResultMessage", "MirrorErrorMessage"
"""No hooks: what the recorder of an agent SDK tells, by the SDK's own names."""

ENDS_TURN = frozenset({"Stop", "StopFailure", "SessionEnd"})
"""After these all was said that is said in a turn."""


@dataclass(frozen=True)
class HookEvent:
    """A captured event that is one of Claude Code's."""

    captured: Captured
    payload: dict[str, Any]
    text: JSONText

    @property
    def sdk_session_id(self) -> str:
        return str(self.payload["session_id"])

    @property
    def name(self) -> str:
        return str(self.payload["hook_event_name"])

    @property
    def sdk_agent_id(self) -> str | None:
        """The sub-agent that it happened in; compaction names one that never was."""
        return self.word("agent_id") if self.word("agent_type") else None

    @property
    def project_key(self) -> str:
        """The client's name of the project folder."""
        return self.word("project_key") or Path(self.word("transcript_path") or "").parent.name

    def word(self, name: str) -> str | None:
        """Return a field that is a text and says something."""
        value = self.payload.get(name)
        return value if isinstance(value, str) and value else None

    @property
    def activity(self) -> Activity | None:
        """What goes on in the session after it."""
        if self.name == "Notification":
            return {"permission_prompt": "waiting", "idle_prompt": "idle"}.get(self.word("notification_type") or "")  # type: ignore[return-value]
        if self.name == RESULT:
            return "failed" if self._has_failed else "idle"
        return _ACTIVITIES.get(self.name)

    @property
    def chat_status(self) -> str | None:
        return None if self.activity is None else _STATUSES[self.activity]

    @property
    def agent_status(self) -> str | None:
        """What its agent does after it. A compaction ends as a sub-agent that has no name: that is no end of the main one."""
        if self.name in _OF_SUB_AGENTS and self.sdk_agent_id is None:
            return None
        if self.name == RESULT:
            return "failed" if self._has_failed else "complete"
        return _AGENT_STATUSES.get(self.name)

    @property
    def _has_failed(self) -> bool:
        return self.payload.get("is_error") is True

    @property
    def agent_error(self) -> str | None:
        """Why its agent failed."""
        if self.name == RESULT and self._has_failed:
            errors = self.payload.get("errors")
            told = "\n".join(error for error in errors if isinstance(error, str)) if isinstance(errors, list) else ""
            return told or self.word("result") or self.word("terminal_reason") or self.word("subtype")
        return (self.word("last_assistant_message") or self.word("error")) if self.name == "StopFailure" else None


def parse(captured: Captured) -> HookEvent:
    """Read a captured event.

    Raises:
        InvalidInput: it is no JSON object with the name of an event and of a session.
    """
    try:
        text = captured.payload.decode().strip()
        payload = decode_json(text)
    except (ValueError, RecursionError) as error:
        raise InvalidInput(f"it is no JSON: {error}") from error
    if not isinstance(payload, dict) or not reads_back(payload):
        raise InvalidInput("it is no JSON object, or one that is nested too deep.")
    for name in ("session_id", "hook_event_name"):
        if not isinstance(payload.get(name), str) or not payload[name]:
            raise InvalidInput(f"it has no {name}.")
    return HookEvent(captured, payload, JSONText(text))


def row_of(event: HookEvent, session_id: UUID, agent_id: UUID) -> AgentLogCreate:
    """Return the event to append; captured again it has the same id."""
    return AgentLogCreate(
        session_id=session_id,
        id=derived_id(event.sdk_session_id, event.name, *_natural_key(event)),
        agent_id=agent_id,
        event_category="hook",
        event_type=_cut(event.name, 200),
        tool_name=_cut(event.word("tool_name"), 200),
        tool_use_id=_cut(event.word("tool_use_id"), 255),
        sdk_session_id=_cut(event.sdk_session_id, 255),
        tool_input=event.payload.get("tool_input"),
        payload=event.text,
        tool_output=_output(event.payload),
        content=_content(event),
        duration_ms=_milliseconds(event.payload.get("duration_ms")),
        timestamp=event.captured.captured_at,
    )


def _natural_key(event: HookEvent) -> tuple[object, ...]:
    """Return what tells an event from all others of its name in its session, or else the name of its file.

    What it is about may happen more than once: a sub-agent that is resumed stops again, a call that was deferred is asked for again. So
    the whole payload belongs to the key; captured on two ways it is the same.
    """
    calls = event.payload.get("tool_calls")
    first = calls[0] if isinstance(calls, list) and calls and isinstance(calls[0], dict) else {}
    keys: dict[str, tuple[Any, ...]] = {
        "UserPromptSubmit": (event.word("prompt_id"),),
        "MessageDisplay": (event.word("message_id"), event.payload.get("index")),
        "SubagentStart": (event.word("agent_id"),),
        "SubagentStop": (event.word("agent_id"),),
        "PostToolBatch": (first.get("tool_use_id"),),
    }
    key = keys.get(event.name, (event.word("tool_use_id"),))
    if None in key:
        return event.captured.host, event.captured.name
    whole = json.dumps(event.payload, sort_keys=True)
    return *key, hashlib.sha256(whole.encode()).hexdigest()


def _output(payload: dict[str, Any]) -> str | None:
    """Return what a tool gave, as far as it can be read."""
    answer = payload.get("tool_response", payload.get("error"))
    if isinstance(answer, dict) and isinstance(answer.get("stdout"), str):
        answer = "\n".join(part for part in (answer["stdout"], answer.get("stderr")) if isinstance(part, str) and part)
    if answer is None or isinstance(answer, str):
        return answer
    return json.dumps(answer, ensure_ascii=False)


def _content(event: HookEvent) -> str | None:
    """Return what a person reads of an event."""
    words = (
        "prompt",
        "last_assistant_message",
        "delta",
        "message",
        "compact_summary",
        "reason",
        "task_subject",
        "source",
        "file_path",
        "result",
    )
    return next((text for text in map(event.word, words) if text is not None), None)


def _milliseconds(value: Any) -> int | None:
    return round(value) if isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < 2**62 else None


def _cut(text: str | None, limit: int) -> Any:
    return None if text is None else readable(text[:limit])
