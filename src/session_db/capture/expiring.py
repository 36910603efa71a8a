"""Transcripts that Claude Code will delete soon: it keeps its files for some days, by its settings."""

import os
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import islice
from pathlib import Path

from sqlalchemy.ext.asyncio import AsyncSession

from session_db.capture.hook_policy import MANAGED
from session_db.capture.hook_settings import read_settings
from session_db.capture.reading import directories_of
from session_db.crud.transcripts import list_known_bytes
from session_db.errors import InvalidInput
from session_db.models.table import now
from session_db.settings import Settings

CLIENT_DAYS = 30
"""Days that the client keeps its files unless its settings say otherwise."""

SOON = timedelta(days=7)

SCANNED = 20_000
"""Files that are looked at; of those that end soon ``ASKED`` are asked for, the oldest first."""

ASKED = 1_000


@dataclass(frozen=True)
class Expiring:
    """A transcript that was not recorded to its end, and when the client may delete it."""

    path: Path
    deleted_at: datetime


def kept_days(directory: Path) -> int:
    """Return how many days the client keeps files of this directory of its own; settings that cannot be read say nothing."""
    days = CLIENT_DAYS
    for path in (directory / "settings.json", MANAGED):
        try:
            told = read_settings(path).get("cleanupPeriodDays")
        except InvalidInput:
            continue
        if isinstance(told, int) and not isinstance(told, bool) and told >= 0:
            days = told
    return days


async def list_expiring(db: AsyncSession, settings: Settings) -> list[Expiring]:
    """Return the transcripts that are deleted within a week and were not recorded to their end, those first that go first.

    Those of deleted sessions are left out: they are not recorded again.
    """
    ends = sorted((end for directory in directories_of(settings) for end in _ending(directory)), key=lambda end: end[0].deleted_at)[:ASKED]
    names = {(end.path.parent.name, end.path.stem) for end, _ in ends}
    known = await list_known_bytes(db, names)
    return [end for end, size in ends if known.get((end.path.parent.name, end.path.stem), 0) < size]


def _ending(directory: Path) -> Iterator[tuple[Expiring, int]]:
    """Give the transcripts of a directory that the client may delete soon, each with its size."""
    kept = timedelta(days=min(kept_days(directory), 36_500))
    for path in islice(_transcripts(directory), SCANNED):
        try:
            status = path.stat()
        except OSError:
            # It was deleted a moment ago.
            continue
        deleted_at = datetime.fromtimestamp(status.st_mtime, UTC) + kept
        if deleted_at < now() + SOON:
            yield Expiring(path, deleted_at), status.st_size


def _transcripts(directory: Path) -> Iterator[Path]:
    for project in _entries(directory / "projects"):
        yield from (path for path in _entries(project) if path.suffix == ".jsonl")


def _entries(directory: Path) -> Iterator[Path]:
    try:
        with os.scandir(directory) as entries:
            yield from (Path(entry.path) for entry in entries)
    except OSError:
        return
