"""Keeping the folders of a project in step: what changes in them, and what changes in the database."""

import asyncio
import logging
import os
import stat
from collections.abc import Callable
from contextlib import aclosing, suppress
from functools import partial
from pathlib import Path

from watchfiles import Change, awatch

from session_db.database.violations import DRIVER_ERRORS
from session_db.errors import NotFound, SessionDBError, Unavailable
from session_db.live import Lagged, get_hub
from session_db.models.sessions import normalised_directory
from session_db.workspace.contents import PLAN, SPEC
from session_db.workspace.places import SESSIONS, STATE
from session_db.workspace.projects import Report, sync_one, sync_project
from session_db.workspace.syncing import PLAINLY, How
from session_db.workspace.writing import write_behind

LOOK_SECONDS = 5.0
"""How often folders that are behind are looked for, whatever is heard; and how often for the first folder of a project."""

_PAUSE_SECONDS = 0.5
"""Between two looks for folders that are behind: whoever writes one is heard of, too."""

_QUIET_MILLISECONDS = 1000
"""After so long without a change of a file the watcher says so."""

_WATCHED = frozenset({STATE, SPEC, PLAN})

Identity = tuple[int, int]

logger = logging.getLogger(__name__)


async def watch_project(directory: Path, on_report: Callable[[Report], None], how: How = PLAINLY) -> None:
    """Sync a project now, and from then on whatever changes, until it is cancelled.

    Args:
        directory: the project.
        on_report: called with what was done each time.
        how: how folders are synced.
    """
    try:
        on_report(await sync_project(directory, how))
    except NotFound:
        if not await asyncio.to_thread(directory.is_dir):
            raise
    working_dir = normalised_directory(os.path.abspath(directory))  # noqa: PTH100, ASYNC240  nothing of it is asked of the disk
    await asyncio.gather(_watch_files(Path(working_dir), on_report, how), _watch_database(Path(working_dir), on_report))


async def _watch_files(directory: Path, on_report: Callable[[Report], None], how: How) -> None:
    while True:
        while (identity := await asyncio.to_thread(_identity, directory)) is None:  # noqa: ASYNC110  nobody tells of it.
            await asyncio.sleep(LOOK_SECONDS)
        with suppress(FileNotFoundError):
            await _watch_directory(directory, identity, on_report, how)


async def _watch_directory(directory: Path, identity: Identity, on_report: Callable[[Report], None], how: How) -> None:
    """Sync whatever changes in the folders of a project, until their directory is gone or is another one."""
    # The system tells of real paths.
    sessions = await asyncio.to_thread(directory.joinpath(*SESSIONS).resolve)
    # What was written before it is watched for, or while the database was away, nobody tells.
    is_behind = True
    watched = awatch(sessions, watch_filter=partial(_is_watched, sessions), rust_timeout=_QUIET_MILLISECONDS, yield_on_timeout=True)
    async with aclosing(watched) as rounds:
        async for changes in rounds:
            if not changes and await asyncio.to_thread(_identity, directory) != identity:
                return
            try:
                if is_behind:
                    on_report(await sync_project(directory, how))
                elif changes:
                    on_report(await _sync_changed(directory, {Path(path).relative_to(sessions).parts[0] for _, path in changes}, how))
                is_behind = False
            except NotFound:
                # There is no session yet, and nobody to be told so.
                continue
            except (SessionDBError, OSError, *DRIVER_ERRORS) as error:
                is_behind = _say_that_it_waits(error)


def _identity(directory: Path) -> Identity | None:
    """Return what tells whether the directory of the folders is still the same, or None where there is none."""
    try:
        status = directory.joinpath(*SESSIONS).stat()
    except OSError:
        return None
    return (status.st_dev, status.st_ino) if stat.S_ISDIR(status.st_mode) else None


async def _sync_changed(directory: Path, slugs: set[str], how: How) -> Report:
    report = Report(str(directory))
    for slug in sorted(slugs):
        if await asyncio.to_thread(directory.joinpath(*SESSIONS, slug, STATE).exists):
            await sync_one(report, slug, how)
    return report


def _is_watched(sessions: Path, _change: Change, path: str) -> bool:
    # Of a new folder only itself may be heard: what is written in it at once came before anybody listened there.
    return Path(path).name in _WATCHED or Path(path).parent == sessions


async def _watch_database(directory: Path, on_report: Callable[[Report], None]) -> None:
    async with get_hub().watch() as watcher:
        while True:
            with suppress(Lagged):
                await watcher.next(LOOK_SECONDS)
            try:
                written = await write_behind([directory])
                on_report(Report(str(directory), written.outcomes))
                await asyncio.sleep(LOOK_SECONDS if written.failures else _PAUSE_SECONDS)
            except (Unavailable, *DRIVER_ERRORS) as error:
                _say_that_it_waits(error)
                await asyncio.sleep(LOOK_SECONDS)


def _say_that_it_waits(error: Exception) -> bool:
    logger.warning("folders are synced later: %s", error)
    return True
