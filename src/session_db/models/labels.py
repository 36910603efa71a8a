"""Labels: what an event is about, in a line."""

from typing import Any

from session_db.lines import one_line

LABEL = 120
"""Characters of a label."""

# What a person looks for in a call, by the tools' common names of it.
_TELLING_INPUTS = ("command", "file_path", "path", "pattern", "query", "url", "prompt", "description", "name")


def telling_input(tool_input: Any) -> str:
    """Return what tells most of a call's input, in a line; empty where nothing does."""
    if not isinstance(tool_input, dict):
        return ""
    telling = next((tool_input[name] for name in _TELLING_INPUTS if isinstance(tool_input.get(name), str)), "")
    return one_line(telling)


def first_line(text: str | None) -> str:
    """Return the first line of a text that is not empty, as a person can read it."""
    return one_line((text or "").strip().partition("\n")[0])


def label_of(telling: str) -> str | None:
    """Return a line as a label, or None where it is empty."""
    return telling if 0 < len(telling) <= LABEL else f"{telling[: LABEL - 1]}…" if telling else None
