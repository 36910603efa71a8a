"""Moments that commands are given: how long ago, or a date."""

from datetime import datetime
from typing import Annotated

import typer

from session_db.errors import InvalidInput
from session_db.models.table import as_utc, now
from session_db.settings import span_of

Since = Annotated[str | None, typer.Option(metavar="7d|DATE", help="Only from then on: 30min, 12h, 7d, 2w, or a date.")]
Until = Annotated[str | None, typer.Option(metavar="7d|DATE", help="Only before then.")]


def moment_of(option: str, text: str | None) -> datetime | None:
    """Return how long ago ``7d`` was, or the moment that a date names, in UTC unless it says otherwise."""
    if text is None:
        return None
    ago = span_of(text)
    try:
        return now() - ago if ago else as_utc(datetime.fromisoformat(text))
    except (ValueError, OverflowError):
        raise InvalidInput(f"--{option}: {text!r} is no time; use 30min, 12h, 7d, 2w, 2026-01-31 or 2026-01-31T12:00:00Z.") from None
