"""What the client does, without what is another one each time: two of it can be compared."""

import json
import re
from dataclasses import dataclass
from itertools import zip_longest
from typing import Any

from tests.e2e.client import Client, Run

_CHANCE = [
    (re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}"), "UUID"),
    (re.compile(r"\ba[0-9a-f]{16}\b"), "AGENT"),
    (re.compile(r"\b[0-9a-f]{64}\b"), "DEVICE"),
    (re.compile(r"\b[0-9a-z]{9}-[0-9a-f]{8}\b"), "RUN"),
    (re.compile(r"\breq_[0-9a-f]{12}\b"), "REQUEST"),
    (re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z"), "TIME"),
    (re.compile(r"(?<=duration_ms[>:]) ?\d+"), "MILLISECONDS"),
]
# A compaction keeps what the client notes of Stop's hooks, too, and counts it.
_COMPACTED = r"^(preserved_messages|post_tokens|cumulative_dropped_tokens)$"
_MEASURED = re.compile(_COMPACTED + r"|(_ms|Ms|_at|_time|_pid|socket_path|duration|ttft.*|cache_control)$")


@dataclass(frozen=True)
class Behaviour:
    """What people, programs and the model see of the client; without order, for tools and agents at once end as they like."""

    exits: list[str]
    printed: list[str]
    asked: list[str]
    kinds_of_lines: list[str]


def behaviour_of(client: Client, runs: list[Run]) -> Behaviour:
    printed = [line for run in runs for line in run.lines if not _tells_of_session_start_hook(line)]
    lines = [json.loads(line) for path in client.transcripts() for line in path.read_text().splitlines()]
    return Behaviour(
        [f"{run.exit_code} {run.errors}" for run in runs],
        sorted(_without_chance(client, line) for line in printed),
        sorted(_without_chance(client, request) for request in client.model.requests),
        sorted({_kind(line) for line in lines if not _sums_up_stop_hooks(line)}),
    )


def differences(one: Behaviour, other: Behaviour) -> list[tuple[str, str, str]]:
    """Return what is not the same in both: of each text the part where they part."""
    pairs = [(name, *pair) for name, texts in vars(one).items() for pair in zip_longest(texts, vars(other)[name], fillvalue="")]
    return [(name, *_where_they_part(first, second)) for name, first, second in pairs if first != second]


def _where_they_part(first: str, second: str) -> tuple[str, str]:
    same = next((place for place, (here, there) in enumerate(zip(first, second, strict=False)) if here != there), 0)
    start = max(0, same - 100)
    return first[start : start + 300], second[start : start + 300]


def _tells_of_session_start_hook(line: dict[str, Any]) -> bool:
    """Say whether the client prints, as it always does, that a hook of SessionStart ran, and nothing but that."""
    if line.get("hook_event") != "SessionStart":
        return False
    said = [line.get(name) for name in ("exit_code", "outcome", "stdout", "stderr")]
    return line["subtype"] == "hook_started" or said == [0, "success", "", ""]


def _sums_up_stop_hooks(line: dict[str, Any]) -> bool:
    """Say whether the client notes, as it always does, that hooks of Stop ran, and nothing but that."""
    is_silent = not any(line.get(name) for name in ("hookErrors", "preventedContinuation", "hasOutput"))
    return line.get("subtype") == "stop_hook_summary" and is_silent


def _kind(line: dict[str, Any]) -> str:
    detail = line.get("subtype") or line.get("attachment", {}).get("type", "")
    return f"{line['type']} {detail}".strip()


def _without_chance(client: Client, value: Any) -> str:
    text = json.dumps(_without_measurements(value), sort_keys=True)
    folder = re.sub(r"[^A-Za-z0-9]", "-", str(client.directory))
    for own, name in ((str(client.directory), "DIRECTORY"), (folder, "FOLDER"), (client.model.name, "MODEL")):
        text = text.replace(own, name)
    for pattern, name in _CHANCE:
        text = pattern.sub(name, text)
    return text


def _without_measurements(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _without_measurements(each) for name, each in value.items() if not _MEASURED.search(name)}
    if not isinstance(value, list):
        return value
    # Tools that run at once end as they like.
    return sorted(map(_without_measurements, value), key=lambda each: each.get("tool_use_id", "") if isinstance(each, dict) else "")
