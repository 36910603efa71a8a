"""Display messages: what a conversation shows of a model's message."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from session_db.errors import InvalidInput
from session_db.models.table import as_utc, now, refuse_unstorable
from session_db.models.text import shown

MAX_CLIENT_ID = 255

ROLES = ("user", "assistant", "system")
_TO_EVENTS = "record it as an event with append_agent_logs"
ELSEWHERE = {
    **dict.fromkeys(("tool_calls", "tool_use", "tool_call_id", "tool_result", "tool_results", "function_call", "tool_name"), _TO_EVENTS),
    **dict.fromkeys(("thinking", "reasoning", "reasoning_content", "signature"), _TO_EVENTS),
    **dict.fromkeys(("usage", "model", "stop_reason", "stop_sequence"), "it belongs to the agent and its usage"),
}
"""Keys that no display message has, and where each belongs."""


def checked_message(message: Mapping[str, Any], path: str) -> tuple[str | None, dict[str, Any]]:
    """Return a message's client_id and what is stored of it.

    Raises:
        InvalidInput: it is no display message; the error names the part by its path.
    """
    if not isinstance(message, Mapping):
        raise InvalidInput(f"{path}: is a {type(message).__name__}; send an object with role, content and timestamp.", path=path)
    data = dict(message)
    client_id = data.pop("client_id", None)
    if client_id is not None and (not isinstance(client_id, str) or not 0 < len(client_id) <= MAX_CLIENT_ID):
        raise InvalidInput(
            f"{path}.client_id: is {shown(client_id)}; send a text of 1 to {MAX_CLIENT_ID} characters.", path=f"{path}.client_id"
        )
    for key, place in ELSEWHERE.items():
        if key in data:
            raise InvalidInput(
                f"{path}.{key}: a display message has no {key}; {place}, or make the message with display_message().", path=f"{path}.{key}"
            )
    _check_role_and_content(data, path)
    data["timestamp"] = _timestamp(data.get("timestamp"), f"{path}.timestamp")
    _check_object(data, "context", path)
    _check_object(data, "code_changes", path)
    refuse_unstorable(client_id, f"{path}.client_id")
    refuse_unstorable(data, path)
    return client_id, data


def _check_role_and_content(data: dict[str, Any], path: str) -> None:
    if data.get("role") not in ROLES:
        raise InvalidInput(f"{path}.role: is {shown(data.get('role'))}; use one of {', '.join(ROLES)}.", path=f"{path}.role")
    if not isinstance(data.get("content"), str):
        kind = type(data.get("content")).__name__
        raise InvalidInput(
            f"{path}.content: is a {kind}; send the text, or make the message with display_message().", path=f"{path}.content"
        )


def _timestamp(value: Any, path: str) -> str:
    """Return the time as text: as it was sent where it is ISO 8601, now where none was."""
    if value is None:
        return now().isoformat()
    if isinstance(value, datetime):
        try:
            return as_utc(value).isoformat()
        except InvalidInput as error:
            raise InvalidInput(f"{path}: {error}", path=path) from None
    try:
        datetime.fromisoformat(value)
    except (TypeError, ValueError):
        raise InvalidInput(f"{path}: is {shown(value)}; send ISO 8601, e.g. 2025-12-25T01:35:06Z.", path=path) from None
    return str(value)


def said_at(timestamp: str) -> datetime:
    """Return the time that a checked message has as text."""
    try:
        return as_utc(datetime.fromisoformat(timestamp))
    except InvalidInput:
        # In UTC it is before the year 1 or after the year 9999.
        return now()


def _check_object(data: dict[str, Any], key: str, path: str) -> None:
    if data.get(key) is not None and not isinstance(data[key], Mapping):
        raise InvalidInput(f"{path}.{key}: is a {type(data[key]).__name__}; send an object.", path=f"{path}.{key}")


def display_message(model_message: Mapping[str, Any], **more: Any) -> dict[str, Any] | None:
    """Make a display message of a full model message, or None where it shows nothing: only tool calls, tool results or thinking.

    Args:
        model_message: ``{"role", "content"}`` as the APIs have it; content is a text, or a list of blocks, whose texts are joined by a
            blank line.
        more: what else the message has: ``timestamp``, ``client_id``, ``context``, ``code_changes``.
    """
    content = model_message.get("content")
    if isinstance(content, list):
        content = "\n\n".join(text for text in map(_text_of, content) if text)
    if not content or model_message.get("role") not in ROLES:
        return None
    kept = {key: value for key, value in model_message.items() if key in ("timestamp", "client_id", "context", "code_changes")}
    return {"role": model_message["role"], "content": content, **kept, **more}


def _text_of(block: Any) -> str | None:
    """Return what a content block shows."""
    if isinstance(block, Mapping):
        block = block.get("text") if block.get("type") == "text" else None
    return block if isinstance(block, str) else None
