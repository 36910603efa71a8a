"""What the entries of a Claude Code transcript say: events, messages, usage and facts.

Nothing here touches the database, and nothing here fails on what a line holds: what is not understood makes no row.
"""

import json
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, TypeGuard
from uuid import UUID

from session_db.capture.redaction import masked
from session_db.crud.usage import TOKENS
from session_db.ids import derived_id
from session_db.models import AgentLogCreate
from session_db.models.outcomes import DENIAL
from session_db.models.table import as_utc
from session_db.models.text import readable

MESSAGE_LIMIT = 1_000_000
"""Characters that a display message keeps; the whole text stands in the transcript."""

TITLE_LIMIT = 200

MAX_TOKENS = 10**10
"""Tokens that one answer may have; what says more is no count, and its cost would fit no column."""

_EVENT_TYPES = {
    "text": "TextBlock",
    "thinking": "ThinkingBlock",
    "redacted_thinking": "ThinkingBlock",
    "tool_use": "ToolUseBlock",
    "server_tool_use": "ToolUseBlock",
    "tool_result": "ToolResultBlock",
}
# The client writes these as lines of the user; nobody typed them to the agent.
NOT_TYPED = (
    "<command-name>",
    "<command-message>",
    "<local-command-",
    "<bash-input>",
    "<bash-stdout>",
    "<bash-stderr>",
    "<task-notification>",
)
_SYNTHETIC = "<synthetic>"

_TITLES = {"custom-title": ("customTitle", 5), "ai-title": ("aiTitle", 4), "last-prompt": ("lastPrompt", 3), "summary": ("summary", 2)}
_FIRST_PROMPT_RANK = 1


@dataclass
class Facts:
    """What the entries say about the session and the agent as a whole; None where they say nothing."""

    first_at: datetime | None = None
    last_at: datetime | None = None
    working_dir: str | None = None
    git_branch: str | None = None
    client_version: str | None = None
    entrypoint: str | None = None
    model: str | None = None
    forked_from: str | None = None
    title: str | None = None
    title_rank: int = 0
    reported_cost: float | None = None
    reported_usage: Any = None
    agent_setting: str | None = None
    agent_status: str | None = None
    agent_error: str | None = None
    answered_at: datetime | None = None


@dataclass
class Reading:
    """What a batch of entries says. ``messages`` carry their ``client_id``; ``usage`` is by message id.

    Secrets are masked in messages and facts, before anything is cut; in events not yet. ``masked`` counts those in prompts, by client_id.
    """

    events: list[AgentLogCreate] = field(default_factory=list)
    messages: dict[str, dict[str, Any]] = field(default_factory=dict)
    masked: dict[str, int] = field(default_factory=dict)
    usage: dict[str, dict[str, Any]] = field(default_factory=dict)
    facts: Facts = field(default_factory=Facts)


@dataclass(frozen=True)
class Source:
    """Whose entries are read."""

    session_id: UUID
    agent_id: UUID
    sdk_session_id: str
    is_main: bool


def read_entries(entries: Iterable[tuple[str, dict[str, Any]]], source: Source, fallback: datetime) -> Reading:
    """Read entries, each with its key: the entry's uuid, or its place where it has none.

    Args:
        entries: (key, entry) in the order of the transcript.
        source: whose they are.
        fallback: when an entry without a readable time happened, if none before it has one.
    """
    reading = Reading()
    moment = fallback
    for key, entry in entries:
        stated = moment_of(entry)
        moment = stated or moment
        _note_facts(reading.facts, entry, stated)
        kind = entry.get("type")
        if kind == "assistant":
            _read_answer(reading, source, key, entry, moment)
        elif kind == "user":
            _read_user(reading, source, key, entry, moment)
    return reading


def moment_of(entry: dict[str, Any]) -> datetime | None:
    """Return when an entry says that it was written, or None where it says nothing that can be read."""
    try:
        return as_utc(datetime.fromisoformat(entry["timestamp"]))
    except (KeyError, TypeError, ValueError, OverflowError):
        return None


def _note_facts(facts: Facts, entry: dict[str, Any], moment: datetime | None) -> None:
    if moment is not None:
        facts.first_at = min(facts.first_at or moment, moment)
        facts.last_at = max(facts.last_at or moment, moment)
    facts.working_dir = facts.working_dir or _text(entry.get("cwd"))
    facts.git_branch = _text(entry.get("gitBranch")) or facts.git_branch
    facts.client_version = _text(entry.get("version")) or facts.client_version
    facts.entrypoint = facts.entrypoint or _text(entry.get("entrypoint"))
    facts.forked_from = facts.forked_from or _origin_of(entry)
    kind = entry.get("type")
    if isinstance(kind, str) and kind in _TITLES:
        name, rank = _TITLES[kind]
        _note_title(facts, entry.get(name), rank)
    elif kind == "agent-setting":
        facts.agent_setting = _text(entry.get("agentSetting")) or facts.agent_setting
    elif kind == "cost-state" and is_cost(entry.get("totalCostUSD")):
        facts.reported_cost = float(entry["totalCostUSD"])
        facts.reported_usage = entry.get("modelUsage") or {}


def _origin_of(entry: dict[str, Any]) -> str | None:
    """Return the session that a fork copied the entry from: it is part of the conversation, and was paid for there."""
    # A fork that the SDK made, and one that the client made.
    named = (_object(entry.get("forkedFrom")).get("sessionId"), entry.get("requestSessionId"))
    return next((origin for origin in map(_text, named) if origin and origin != entry.get("sessionId")), None)


def title_of(text: str) -> str:
    """Return a text as a title: one line, a short one, and without secrets."""
    return " ".join(readable(masked(text).value[: 4 * TITLE_LIMIT]).split())[:TITLE_LIMIT]


def _note_title(facts: Facts, title: Any, rank: int) -> None:
    text = title_of(title) if isinstance(title, str) else ""
    newer_wins = rank > _FIRST_PROMPT_RANK
    if text and (rank > facts.title_rank or (newer_wins and rank == facts.title_rank)):
        facts.title, facts.title_rank = text, rank


def _read_answer(reading: Reading, source: Source, key: str, entry: dict[str, Any], moment: datetime) -> None:
    message = _object(entry.get("message"))
    message_id = _text(message.get("id")) or key
    for number, block in enumerate(_blocks(message.get("content"))):
        reading.events.append(_event(source, key, number, block, moment))
    if source.is_main and entry.get("isSidechain") is not True:
        texts = [
            block["text"] for block in _blocks(message.get("content")) if block.get("type") == "text" and isinstance(block.get("text"), str)
        ]
        for text in texts:
            _say(reading, readable(message_id[:255]), "assistant", text, moment)
    reading.facts.answered_at = moment
    _note_progress(reading.facts, entry, message)
    model = _text(message.get("model"))
    if model is None or model == _SYNTHETIC or _origin_of(entry) is not None:
        return
    model = readable(model[:100])
    reading.facts.model = model
    row = {"message_id": readable(message_id[:255]), "agent_id": source.agent_id, "model": model, "occurred_at": moment}
    _note_usage(reading, row, _object(message.get("usage")))


def _note_progress(facts: Facts, entry: dict[str, Any], message: dict[str, Any]) -> None:
    if entry.get("isApiErrorMessage") is True:
        texts = [_text(block.get("text")) or "" for block in _blocks(message.get("content"))]
        facts.agent_status, facts.agent_error = "failed", readable(masked("\n".join(texts)).value[:1000]) or "API error"
        return
    is_over = message.get("stop_reason") in ("end_turn", "stop_sequence", "max_tokens", "refusal")
    facts.agent_status, facts.agent_error = ("complete" if is_over else "executing"), None


def _note_usage(reading: Reading, row: dict[str, Any], usage: dict[str, Any]) -> None:
    """Take the maximum of each field: every line of an answer repeats its usage, and early ones may hold less."""
    if not usage:
        return
    tokens = _tokens(usage)
    noted = reading.usage.setdefault(row["message_id"], row)
    for name in TOKENS:
        noted[name] = max(noted.get(name, 0), tokens[name])


def _tokens(usage: dict[str, Any]) -> dict[str, int]:
    written = _object(usage.get("cache_creation"))
    hour = _count(written.get("ephemeral_1h_input_tokens"))
    # Older clients do not say for how long; it was five minutes then.
    five_minutes = _count(written.get("ephemeral_5m_input_tokens")) or max(0, _count(usage.get("cache_creation_input_tokens")) - hour)
    return {
        "input_tokens": _count(usage.get("input_tokens")),
        "output_tokens": _count(usage.get("output_tokens")),
        "cache_read_tokens": _count(usage.get("cache_read_input_tokens")),
        "cache_write_5m_tokens": five_minutes,
        "cache_write_1h_tokens": hour,
        "web_search_requests": _count(_object(usage.get("server_tool_use")).get("web_search_requests")),
    }


def _read_user(reading: Reading, source: Source, key: str, entry: dict[str, Any], moment: datetime) -> None:
    content = _object(entry.get("message")).get("content")
    results = [(number, block) for number, block in enumerate(_blocks(content)) if block.get("type") == "tool_result"]
    # The line, not the block, says that a call was denied or interrupted.
    denial = {DENIAL: entry[DENIAL]} if isinstance(entry.get(DENIAL), str) else {}
    for number, block in results:
        reading.events.append(_event(source, key, number, block | denial, moment))
    if results or not source.is_main or not _is_typed(entry):
        return
    texts = [content] if isinstance(content, str) else [_text(block.get("text")) or f"[{block.get('type')}]" for block in _blocks(content)]
    prompt = "\n\n".join(text for text in texts if text)
    if not prompt or prompt.lstrip().startswith(NOT_TYPED):
        return
    _note_title(reading.facts, prompt, _FIRST_PROMPT_RANK)
    _say(reading, readable(key[:255]), "user", prompt, moment)


def _is_typed(entry: dict[str, Any]) -> bool:
    """Say whether a user line came from whoever talks to the agent, and not from the client itself."""
    machine_made = ("isMeta", "isCompactSummary", "isVisibleInTranscriptOnly", "isSidechain")
    if any(entry.get(name) is True for name in machine_made) or entry.get("promptSource") == "system":
        return False
    return bool(_object(entry.get("origin")).get("kind", "human") == "human")


def _say(reading: Reading, client_id: str, role: str, text: str, moment: datetime) -> None:
    said = reading.messages.get(client_id)
    if said is None:
        said = reading.messages[client_id] = {"role": role, "content": "", "timestamp": moment.isoformat(), "client_id": client_id}
    text, secrets = masked(text)
    if role == "user":
        # What the agent says is an event as well, and its secrets are counted there.
        reading.masked[client_id] = secrets
    whole = f"{said['content']}\n\n{text}" if said["content"] else text
    said["content"] = readable(whole[:MESSAGE_LIMIT])
    if len(whole) > MESSAGE_LIMIT:
        said["truncated"] = True


def _event(source: Source, key: str, number: int, block: dict[str, Any], moment: datetime) -> AgentLogCreate:
    kind = block.get("type")
    event_type = _EVENT_TYPES.get(kind) if isinstance(kind, str) else None
    tool_use_id = _text(block.get("id") if event_type == "ToolUseBlock" else block.get("tool_use_id"))
    is_call, is_result = event_type == "ToolUseBlock", event_type == "ToolResultBlock"
    return AgentLogCreate(
        id=derived_id(source.sdk_session_id, event_type or "Block", key, number),
        session_id=source.session_id,
        agent_id=source.agent_id,
        event_category="response",
        event_type=event_type or readable(f"{kind}Block"[:200]),
        sdk_session_id=readable(source.sdk_session_id[:255]),
        tool_name=readable(str(block.get("name"))[:200]) if is_call else None,
        tool_use_id=readable(tool_use_id[:255]) if tool_use_id else None,
        tool_input=block.get("input") if is_call else None,
        tool_output=result_text(block.get("content")) if is_result else None,
        content=_text(block.get("text")) or _text(block.get("thinking")),
        payload=block,
        timestamp=moment,
    )


def result_text(content: Any) -> str:
    """Return what a tool answered, as text; other blocks are named in brackets."""
    if isinstance(content, str):
        return content
    texts = [block["text"] if isinstance(block.get("text"), str) else f"[{block.get('type')}]" for block in _blocks(content)]
    return "\n".join(texts) if texts or content is None or isinstance(content, list) else json.dumps(content)


def _blocks(content: Any) -> list[dict[str, Any]]:
    if isinstance(content, str):
        return [{"type": "text", "text": content}]
    return [block for block in content if isinstance(block, dict)] if isinstance(content, list) else []


def _object(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _text(value: Any) -> str | None:
    return value if isinstance(value, str) and value else None


def is_cost(value: Any) -> TypeGuard[float]:
    """Say whether a value is an amount of US dollars that somebody may have spent."""
    return isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value < 10**9


def _count(value: Any) -> int:
    return value if isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= MAX_TOKENS else 0
