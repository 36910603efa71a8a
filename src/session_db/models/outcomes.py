"""How calls of tools ended, as the events of a call tell."""

from collections.abc import Iterable
from typing import Any, Literal, Protocol

Outcome = Literal["ok", "failed", "denied", "interrupted"]
"""A call that was begun and has none was never finished, or still runs."""

DENIAL = "toolDenialKind"
"""Where a transcript's line says that a call was not run, or not to its end; the payload of its result has it, too."""

_INTERRUPTED = frozenset({"interrupted", "cancelled"})
_REJECTED = "The user doesn't want to proceed with this tool use."
# What older clients write into the result, and say nowhere else.
_OF_OLDER_CLIENTS: dict[str, Outcome] = {"[Request interrupted by user": "interrupted", _REJECTED: "denied"}


class _Told(Protocol):
    event_type: str
    tool_output: str | None
    payload: Any


class _Event(_Told, Protocol):
    tool_name: str | None
    tool_use_id: str | None
    tool_input: Any


def outcome_of(event: _Told) -> Outcome | None:
    """Return what an event says of how its call ended, or None where it says nothing, or its payload was left out."""
    payload = event.payload if isinstance(event.payload, dict) else {}
    if event.event_type == "PostToolUse":
        answer = payload.get("tool_response")
        return "interrupted" if isinstance(answer, dict) and answer.get("interrupted") is True else "ok"
    if event.event_type == "PostToolUseFailure":
        return "interrupted" if payload.get("is_interrupt") is True else "failed"
    if event.event_type == "PermissionDenied":
        return "denied"
    return _of_result(payload, event.tool_output or "") if event.event_type == "ToolResultBlock" and payload else None


def _of_result(payload: dict[str, Any], output: str) -> Outcome:
    kind = payload.get(DENIAL)
    if isinstance(kind, str):
        return "interrupted" if kind in _INTERRUPTED else "denied"
    if payload.get("is_error") is not True:
        return "ok"
    return next((outcome for beginning, outcome in _OF_OLDER_CLIENTS.items() if output.startswith(beginning)), "failed")


def outcomes_in(events: Iterable[_Event]) -> dict[str, Outcome]:
    """Return how calls ended, by tool_use_id, as far as these events tell.

    The transcript says it better than a hook. Where hooks alone tell, a call that its batch answers, and that no hook tells the end of, was
    denied: of one that was run they do. Where the transcript says that the user rejected a call, and hooks that nobody asked him, he
    interrupted it.
    """
    calls = [event for event in events if event.tool_use_id or event.event_type in {"PostToolBatch", "PermissionRequest"}]
    asked = [(event.tool_name, event.tool_input) for event in calls if event.event_type == "PermissionRequest"]
    unasked = {
        event.tool_use_id for event in calls if event.event_type == "PreToolUse" and (event.tool_name, event.tool_input) not in asked
    }
    batches = [call for event in calls if event.event_type == "PostToolBatch" for call in _calls_of(event.payload)]
    outcomes: dict[str, Outcome] = {}
    for event in calls:
        call, told = event.tool_use_id or "", outcome_of(event)
        if event.event_type == "ToolResultBlock":
            is_interrupted = told == "denied" and call in unasked and (event.tool_output or "").startswith(_REJECTED)
            # A list leaves out what is large, and a large result is seldom an error.
            outcomes[call] = "interrupted" if is_interrupted else told or outcomes.get(call, "ok")
        elif told is not None:
            outcomes.setdefault(call, told)
    begun = {event.tool_use_id for event in calls}
    denied: dict[str, Outcome] = {call: "denied" for call in batches if call in begun}
    return denied | outcomes


def _calls_of(payload: Any) -> list[str]:
    calls = payload.get("tool_calls") if isinstance(payload, dict) else None
    ids = [call.get("tool_use_id") for call in calls if isinstance(call, dict)] if isinstance(calls, list) else []
    return [call for call in ids if isinstance(call, str)]
