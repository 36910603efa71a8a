"""What commands print: tables for people, JSON for programs."""

import json
import shlex
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from typing import Any

from pydantic import BaseModel
from rich.console import Console
from rich.table import Table
from rich.text import Text

from session_db.lines import one_line

STATUS_STYLES = {
    "active": "green", "executing": "green", "spec": "cyan", "plan": "cyan", "build": "cyan", "docs": "cyan", "created": "cyan",
    "pending": "yellow", "idle": "blue", "complete": "green", "terminated": "dim", "failed": "bold red",
}  # fmt: skip


NARROW = 60
"""Columns below which a table shows only what tells its rows apart."""


def console() -> Console:
    """Return the console of this moment's standard output."""
    return Console(highlight=False)


def messages_console() -> Console:
    """Return the console for what is no result: progress, warnings, errors."""
    return Console(stderr=True, highlight=False)


def print_json(value: Any) -> None:
    """Print a value as JSON, with ASCII alone: any terminal and any text in it goes through."""
    print(json.dumps(value, indent=2, ensure_ascii=True))  # noqa: T201  it is what a command is for


def as_json(model: BaseModel) -> dict[str, Any]:
    return model.model_dump(mode="json", by_alias=True)


def page_json(items: Iterable[BaseModel], next_cursor: str | None) -> dict[str, Any]:
    return {"items": [as_json(item) for item in items], "next_cursor": next_cursor}


def is_narrow() -> bool:
    """Say whether the terminal has no room for the less telling columns."""
    return console().width < NARROW


def facts(rows: Iterable[tuple[str, Text | str | None]]) -> Table:
    """Return names and values for a person, those that have one, a line each."""
    table = Table.grid(padding=(0, 2))
    table.add_column(style="dim", no_wrap=True)
    table.add_column(overflow="fold")
    for name, value in rows:
        if value:
            table.add_row(name, Text(one_line(value)) if isinstance(value, str) else value)
    return table


def status_text(status: str) -> Text:
    return Text(status, style=STATUS_STYLES.get(status, ""))


def dollars(amount: float | None) -> str:
    """Write US dollars: cents, and as many more digits as a small amount needs."""
    if amount is None:
        return "-"
    return f"${amount:,.2f}" if abs(amount) >= 1 or amount == 0 else f"${amount:.4f}"


def count(number: int) -> str:
    """Write a number in four characters or so: 950, 12.3k, 4.5M."""
    for size, letter in ((10**9, "G"), (10**6, "M"), (10**3, "k")):
        if abs(number) >= size:
            return f"{number / size:.1f}{letter}"
    return str(number)


def duration(span: timedelta | None) -> str:
    """Write how long something took in its two largest units."""
    if span is None:
        return "-"
    seconds = span.total_seconds()
    if seconds < 1:
        return f"{max(0, seconds) * 1000:.0f} ms"
    if seconds < 60:  # noqa: PLR2004  a minute
        return f"{seconds:.1f} s"
    minutes, seconds = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    days, hours = divmod(hours, 24)
    return f"{days} d {hours} h" if days else f"{hours} h {minutes} min" if hours else f"{minutes} min {seconds} s"


def ago(moment: datetime) -> str:
    """Write how long ago something was, in its largest unit."""
    seconds = (datetime.now(UTC) - moment).total_seconds()
    for size, unit in ((86400, "d"), (3600, "h"), (60, "min"), (1, "s")):
        if seconds >= size:
            return f"{seconds // size:.0f} {unit} ago"
    return "now"


def printable(text: str) -> str:
    """Return a text as ``one_line`` does, with its line breaks."""
    return "".join(character if character.isprintable() or character == "\n" else " " for character in text.expandtabs(4))


def quoted(text: str) -> str:
    """Return a text as an argument of a command that a person may copy."""
    return one_line(shlex.quote(text))
