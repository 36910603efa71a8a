"""Redaction: secrets are masked in what people and searches read, before it is written.

A mask says what stood there: ``[masked:github-classic-token]``. Keys, ids, numbers and structure stay as they are. What an application
writes by itself is left alone: it gets back what it gave.
"""

import asyncio
import json
from bisect import bisect_right
from collections import defaultdict
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

from session_db.capture.json_strings import JSONString, json_strings
from session_db.capture.secret_shapes import MIN_LENGTH, Secret, find_secrets
from session_db.models import AgentLogCreate
from session_db.models.table import JSONText, decode_json
from session_db.settings import get_settings

IDS = frozenset({
    "agentId", "agent_id", "agent_transcript_path", "cwd", "id", "leafUuid", "logicalParentUuid", "messageId", "messageUuid",
    "message_id", "parentAgentId", "parentUuid", "parent_tool_use_id", "promptId", "prompt_id", "requestId", "requestSessionId",
    "request_id", "sessionId", "session_id", "signature", "sourceToolAssistantUUID", "sourceToolUseID", "task_id", "toolUseID",
    "tool_use_id", "transcript_path", "turn_id", "uuid",
})  # fmt: skip
"""Fields of the client whose texts tell things apart, or are signed: another text would be another thing."""

_OF_TOOLS = frozenset({"tool_input", "tool_response", "toolUseResult", "input"})
"""Fields of the client that hold what a tool was given and what it gave: below them an ``id`` is not the client's."""

_APART = b"\n--\n"
"""Stands between texts that are looked at together and have nothing to do with one another: no shape goes on behind two dashes."""

_CONTEXT = 64
"""Bytes before a secret that may have to stand there for it to be found."""


class Masked(NamedTuple):
    """A value without its secrets, and how many there were."""

    value: Any
    secrets: int


class _Place(NamedTuple):
    """Where a string of a JSON text stands among the joined ones, in bytes, and in the JSON text."""

    start: int
    end: int
    string_start: int
    string_end: int


def masked(value: Any, *, is_of_tool: bool = False) -> Masked:
    """Mask the secrets in a JSON value, or in a JSON text; where there are none, or masking is off, it is the same value.

    ``is_of_tool`` says that a tool was given the value, or gave it, so that it has no ids of the client.
    """
    settings = get_settings()
    return _masked(value, is_of_tool=is_of_tool) if settings.redact or settings.redact_transcripts else Masked(value, 0)


def mask_events(events: Sequence[AgentLogCreate]) -> list[int]:
    """Mask the secrets in events that are about to be written, and return how many stood in the payload of each.

    It takes a second for 10 MB that are full of secrets: an event loop gives it to a thread.
    """
    counts = []
    for event in events:
        event.payload, count = masked(event.payload)
        if count:
            event.tool_input = masked(event.tool_input, is_of_tool=True).value
        # They say the same once more, but in other words.
        event.tool_output, event.content = masked(event.tool_output).value, masked(event.content).value
        counts.append(count)
    return counts


def stored_text(entry: str) -> str:
    """Return the text of a transcript's entry as it is stored: verbatim, unless secrets are to be masked in transcripts, too."""
    text: str = _masked_json(entry).value if get_settings().redact_transcripts else entry
    return text


async def stored_texts(entries: Iterable[str]) -> list[str]:
    """Return the texts of entries as they are stored; the event loop goes on meanwhile."""
    texts = list(entries)
    return await asyncio.to_thread(lambda: [stored_text(text) for text in texts]) if get_settings().redact_transcripts else texts


def stored_bytes(content: bytes) -> bytes:
    """Return bytes of a file as they are stored, like ``stored_text``; they may be no text at all."""
    return _without(content, 0, len(content), find_secrets(content)) if get_settings().redact_transcripts else content


def whole_end(content: bytes, end: int) -> int:
    """Return where to cut bytes, at ``end`` or behind it, so that no secret that is to be masked is cut through."""
    for secret in find_secrets(content) if get_settings().redact_transcripts else []:
        if secret.start - _CONTEXT < end < secret.end:
            end = secret.end
    return end


def _masked(value: Any, *, is_of_tool: bool = False) -> Masked:
    if isinstance(value, JSONText):
        return _masked_json(value, is_of_tool=is_of_tool)
    if isinstance(value, str):
        return _masked_text(value)
    if not isinstance(value, dict | list | tuple):
        return Masked(value, 0)
    text, secrets = _masked_json(json.dumps(value, ensure_ascii=False), is_of_tool=is_of_tool)
    return Masked(decode_json(text), secrets) if secrets else Masked(value, 0)


def _masked_text(text: str) -> Masked:
    raw = _encoded(text)
    secrets = find_secrets(raw)
    return Masked(_decoded(_without(raw, 0, len(raw), secrets)), len(secrets)) if secrets else Masked(text, 0)


def _masked_json(text: str, *, is_of_tool: bool = False) -> Masked:
    """Mask the strings of a JSON text, and leave every other byte of it: no number is read, and no key comes elsewhere."""
    raw, places = _joined(json_strings(text, MIN_LENGTH, _OF_TOOLS, is_below=is_of_tool))
    secrets = _by_place(find_secrets(raw), places)
    parts, at = [], 0
    for place, inside in secrets.items():
        value = _decoded(_without(raw, place.start, place.end, inside))
        parts += [text[at : place.string_start], json.dumps(value)]
        at = place.string_end
    count = len({secret for inside in secrets.values() for secret in inside})
    return Masked(JSONText("".join([*parts, text[at:]])), count) if count else Masked(text, 0)


def _joined(strings: Iterable[JSONString]) -> tuple[bytes, list[_Place]]:
    """Return strings as one text to look at: behind its key each, and those of a list line by line, because a key may be its lines."""
    parts, places, size = [], [], 0
    for string in strings:
        if string.key in IDS and not string.in_list and not string.is_below:
            continue
        before = b"\n" if string.continues else b'%s"%s": "' % (_APART, _encoded(string.key))
        value = _encoded(string.text)
        start, size = size + len(before), size + len(before) + len(value)
        parts += [before, value]
        places.append(_Place(start, size, string.start, string.end))
    return b"".join(parts), places


def _by_place(secrets: Iterable[Secret], places: Sequence[_Place]) -> dict[_Place, list[Secret]]:
    """Return the places that secrets stand in, in their order. One may stand in several; what only a key holds is in none."""
    ends = [place.end for place in places]
    found: dict[_Place, list[Secret]] = defaultdict(list)
    for secret in secrets:
        number = bisect_right(ends, secret.start)
        while number < len(places) and places[number].start < secret.end:
            found[places[number]].append(secret)
            number += 1
    return found


def _without(raw: bytes, start: int, end: int, secrets: Iterable[Secret]) -> bytes:
    parts, at = [], start
    for secret in secrets:
        parts += [raw[at : max(secret.start, start)], b"[masked:%s]" % secret.shape.encode()]
        at = min(secret.end, end)
    return b"".join([*parts, raw[at:end]])


def _encoded(text: str) -> bytes:
    # A lone surrogate is no UTF-8, and yet may stand in JSON.
    return text.encode(errors="surrogatepass")


def _decoded(raw: bytes) -> str:
    return raw.decode(errors="surrogatepass")
