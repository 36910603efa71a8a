"""What rows of recorded sessions hold: made-up texts in the shapes that an import writes.

A shape is the end of a row in PostgreSQL's text format for COPY. ``KEY``, ``TIME`` and ``WORD`` stand in it for what differs by row.
"""

import json
from collections.abc import Sequence
from math import exp, log
from random import Random
from statistics import NormalDist
from typing import Any

KEY = "\x01"
"""Stands for the tool_use_id of an event, the uuid of an entry."""

TIME = "\x02"
"""Stands for when it happened."""

WORD = "\x03"
"""Stands for words that few texts have; all others are in a thirty-second of them at least."""

POOL = 32
"""Shapes of one kind: a cycle of its sizes from small to large, in a mixed order."""

NULL = r"\N"

TEXT, THINKING, CALL, RESULT = "TextBlock", "ThinkingBlock", "ToolUseBlock", "ToolResultBlock"

TURN = (TEXT, CALL, RESULT, THINKING, CALL, RESULT, THINKING, CALL, RESULT, TEXT)
"""The events of one turn: four answers of the model, three calls of tools with their results."""

ANSWERS = (0, 3, 6, 9)
"""Where in a turn an answer begins, which is what usage is counted for."""

SAID = (0, 9)
"""Where in a turn an answer holds text, which is what the conversation shows."""

TOOLS = ("Bash", "Read", "Edit", "Bash", "Grep", "Write")

_RANDOM = Random("session-db shapes")  # noqa: S311  made-up texts
_WORDS = ["".join(_RANDOM.choices("etaoinshrdlucmfwypvbgkjqxz", weights=range(26, 0, -1), k=_RANDOM.randint(2, 9))) for _ in range(3_000)]


def _sizes(median: int, spread: float) -> list[int]:
    """Return log-normal sizes, as those of texts that people and programs write are."""
    sizes = [round(exp(log(median) + spread * NormalDist().inv_cdf((place + 0.5) / POOL))) for place in range(POOL)]
    _RANDOM.shuffle(sizes)
    return sizes


def _text(length: int, line: int = 12) -> str:
    words = _RANDOM.choices(_WORDS, k=length // 6 + 1)
    return "\n".join(" ".join(words[start : start + line]) for start in range(0, len(words), line))[:length]


def _texts(median: int, spread: float) -> list[str]:
    """Return texts to search, of such sizes."""
    return [f"{WORD} {_text(size)}" for size in _sizes(median, spread)]


def escaped(text: str) -> str:
    """Return a text as a column of COPY's text format."""
    return text.replace("\\", "\\\\").replace("\n", "\\n").replace("\t", "\\t")


def row(*columns: Any) -> str:
    """Return the columns, or the last of them, as the end of a row; None is null."""
    return "\t".join(NULL if column is None else str(column) for column in columns) + "\n"


def _json(value: Any) -> str:
    text = json.dumps(value)
    for mark in (KEY, TIME, WORD):
        text = text.replace(json.dumps(mark)[1:-1], mark)
    return escaped(text)


EVENT_COLUMNS = (
    "event_category", "event_type", "tool_name", "duration_ms", "tool_use_id", "tool_input", "payload", "tool_output", "content",
)  # fmt: skip


def _spoken(kind: str, text: str) -> str:
    block = (
        {"type": "text", "text": text}
        if kind == TEXT
        else {"type": "thinking", "thinking": text, "signature": _text(300, 1).replace("\n", "")}
    )
    return row("response", kind, None, None, None, None, _json(block), None, escaped(text))


def _call(tool: str, text: str) -> str:
    given = {"command": text, "description": text[:40]}
    block = {"type": "tool_use", "id": KEY, "name": tool, "input": given}
    return row("response", CALL, tool, None, KEY, _json(given), _json(block), None, escaped(f"{text}\n{text[:40]}"))


def _result(tool: str, text: str) -> str:
    block = {"type": "tool_result", "tool_use_id": KEY, "content": text, "is_error": False}
    return row("response", RESULT, tool, 20 + len(text), KEY, None, _json(block), escaped(text), None)


PHASE = row("phase", "StatusChange", None, None, None, None, _json({"from": "created", "to": "build"}), None, "build")
"""How a workflow session begins."""

EVENTS: dict[str, Sequence[str]] = {
    TEXT: [_spoken(TEXT, text) for text in _texts(180, 1.0)],
    THINKING: [_spoken(THINKING, text) for text in _texts(300, 0.9)],
    CALL: [_call(TOOLS[place % len(TOOLS)], text) for place, text in enumerate(_texts(120, 1.2))],
    RESULT: [_result(TOOLS[place % len(TOOLS)], text) for place, text in enumerate(_texts(350, 1.3))],
}
"""Ends of events, in the columns ``EVENT_COLUMNS``: 30 bytes to 12 kB of text, which stands in the payload and in a readable column."""


def _message(role: str, text: str) -> str:
    return _json({"role": role, "content": text, "timestamp": TIME})


MESSAGES = {role: [_message(role, text) for text in _texts(median, 1.0)] for role, median in (("user", 90), ("assistant", 180))}
"""Display messages by role."""


def _entry(text: str) -> str:
    said = {"role": "assistant", "content": [{"type": "text", "text": text}]}
    about = {"isSidechain": False, "userType": "external", "entrypoint": "cli", "cwd": "/home/dev/project", "version": "2.1.330"}
    return _json({"parentUuid": None, "type": "assistant", "message": said, "uuid": KEY, "timestamp": TIME, **about})


ENTRIES = [_entry(_text(size)) for size in _sizes(350, 1.1)]
"""Entries of transcripts."""

_TOKENS = [(3 + place % 7, 40 + 37 * place, 9_000 + 4_111 * place, 150 + 61 * place) for place in range(POOL)]
"""Tokens of answers: uncached input, output, read from the cache, written to it."""


def _cost(tokens: Sequence[int]) -> int:
    """Return what an answer costs, in hundred-millionths of a dollar: a price list of 5, 25, 0.5 and 6.25 dollars a million."""
    uncached, output, cached, written = tokens
    return 500 * uncached + 2_500 * output + 50 * cached + 625 * written


def dollars(cost: int) -> str:
    """Return hundred-millionths of a dollar as a number of dollars."""
    return f"{cost // 100_000_000}.{cost % 100_000_000:08d}"


ANSWERED = [(*tokens, _cost(tokens)) for tokens in _TOKENS]
"""Tokens and cost of answers."""

USAGE = ["\t".join(map(str, (*answer[:-1], dollars(answer[-1])))) for answer in ANSWERED]
"""The same as columns."""
