"""Redaction: secrets are masked in what people and searches read, before it is written.

A mask says what stood there: ``[masked:github-classic-token]``. Keys, ids, numbers and structure stay as they are. What an application
writes by itself is left alone: it gets back what it gave.
"""

import json
import re
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

from session_db.capture.secret_shapes import find_secrets
from session_db.models import AgentLogCreate
from session_db.models.table import JSONText
from session_db.settings import get_settings

IDS = frozenset({
    "agentId", "agent_id", "agent_transcript_path", "cwd", "id", "leafUuid", "logicalParentUuid", "messageId", "messageUuid",
    "message_id", "parentAgentId", "parentUuid", "parent_tool_use_id", "promptId", "prompt_id", "requestId", "requestSessionId",
    "request_id", "sessionId", "session_id", "signature", "sourceToolAssistantUUID", "sourceToolUseID", "task_id", "toolUseID",
    "tool_use_id", "transcript_path", "turn_id", "uuid",
})  # fmt: skip
"""Fields of the client whose texts tell things apart, or are signed: another text would be another thing."""

# A string of a JSON text, and behind a key its colon.
_STRING = re.compile(r'("[^"\\]*+(?:\\.[^"\\]*+)*+")([ \t\r\n]*+:[ \t\r\n]*+)?')


class Masked(NamedTuple):
    """A value without its secrets, and how many there were."""

    value: Any
    secrets: int


def masked(value: Any) -> Masked:
    """Mask the secrets in a JSON value, or in a JSON text; where there are none, or masking is off, it is the same value."""
    settings = get_settings()
    return _masked(value) if settings.redact or settings.redact_transcripts else Masked(value, 0)


def mask_events(events: Sequence[AgentLogCreate]) -> list[int]:
    """Mask the secrets in events that are about to be written, and return how many stood in the payload of each."""
    counts = []
    for event in events:
        event.payload, count = masked(event.payload)
        if count:
            # They say the same once more.
            for name in ("tool_input", "tool_output", "content"):
                setattr(event, name, masked(getattr(event, name)).value)
        counts.append(count)
    return counts


def stored_text(entry: str) -> str:
    """Return the text of a transcript's entry as it is stored: verbatim, unless secrets are to be masked in transcripts, too."""
    text: str = _masked_json(entry).value if get_settings().redact_transcripts else entry
    return text


def _masked(value: Any) -> Masked:
    if isinstance(value, JSONText):
        return _masked_json(value)
    if isinstance(value, str):
        return _masked_text(value)
    places: Iterable[Any]
    copy: Any
    if isinstance(value, dict):
        places, copy = [key for key, part in value.items() if not (key in IDS and isinstance(part, str))], dict(value)
    elif isinstance(value, list | tuple):
        places, copy = range(len(value)), list(value)
    else:
        return Masked(value, 0)
    count = 0
    # In this very function, and in no comprehension: JSON may be nested as deep as the stack allows.
    for place in places:
        part = _masked(copy[place])
        if part.secrets:
            copy[place] = part.value
            count += part.secrets
    return Masked(copy if count else value, count)


def _masked_text(text: str) -> Masked:
    # A lone surrogate is no UTF-8, and yet may stand in JSON.
    raw = text.encode(errors="surrogatepass")
    secrets = find_secrets(raw)
    if not secrets:
        return Masked(text, 0)
    parts, at = [], 0
    for secret in secrets:
        parts += [raw[at : secret.start], b"[masked:%s]" % secret.shape.encode()]
        at = secret.end
    return Masked(b"".join([*parts, raw[at:]]).decode(errors="surrogatepass"), len(secrets))


def _masked_json(text: str) -> Masked:
    """Mask the strings of a JSON text, and leave every other byte of it: no number is read, and no key comes elsewhere."""
    parts, at, count = [], 0, 0
    name, value_at = "", -1
    for string in _STRING.finditer(text):
        if string[2] is not None:
            name, value_at = string[1], string.end()
            continue
        if string.start() == value_at and json.loads(name) in IDS:
            continue
        value, secrets = _masked_text(json.loads(string[1]))
        if secrets:
            parts += [text[at : string.start()], json.dumps(value)]
            at, count = string.end(), count + secrets
    return Masked(JSONText("".join([*parts, text[at:]])), count) if count else Masked(text, 0)
