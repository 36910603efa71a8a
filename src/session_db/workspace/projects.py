"""All folders of a project, and their sessions."""

import os
import stat
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from uuid import UUID

from sqlalchemy.exc import DBAPIError

from session_db.crud.workspaces import Place, list_places
from session_db.database import async_session
from session_db.database.violations import translate
from session_db.errors import InvalidInput, NotFound, SessionDBError, Unavailable
from session_db.models.sessions import normalised_directory
from session_db.workspace.folders import Folder, open_folder
from session_db.workspace.places import SESSIONS, STATE
from session_db.workspace.syncing import PLAINLY, Asked, How, Outcome, sync_folder

PLACES_A_PAGE = 500


@dataclass(frozen=True)
class Problem:
    """A folder that could not be synced, and why; and the session that it names, where that is known."""

    slug: str
    path: Path
    reason: str
    session_id: UUID | None = None


@dataclass
class Report:
    """What became of the folders of a project."""

    directory: str
    outcomes: list[Outcome] = field(default_factory=list)
    problems: list[Problem] = field(default_factory=list)


async def sync_project(directory: Path, how: How = PLAINLY, *, on_progress: Callable[[int, int], None] | None = None) -> Report:
    """Sync every session folder of a project, and make those that were to be made and are missing.

    One that cannot be read is told with its reason, and left as it is; the others are synced.

    Args:
        directory: the project.
        how: how.
        on_progress: called with how many are done, and of how many.

    Raises:
        NotFound: there is no such directory, or it has no sessions.
    """
    working_dir = normalised_directory(os.path.abspath(directory))  # noqa: PTH100, ASYNC240  nothing of it is asked of the disk
    report = Report(working_dir)
    made = {place.session_slug: place for place in await _places(working_dir)}
    names = _found(Path(working_dir), report)
    total = len({*names, *made})
    if not total and not report.problems:
        raise NotFound(f"{working_dir} has no session folders: there is nothing in {Path(working_dir, *SESSIONS)}.", path=working_dir)
    for done, slug in enumerate(sorted(names)):
        if on_progress is not None:
            on_progress(done, total)
        await sync_one(report, slug, how)
    for place in await _missing(report, names) if made.keys() - names else []:
        await sync_one(report, place.session_slug, how, place.id)
    return report


async def _missing(report: Report, names: set[str]) -> list[Place]:
    """Return the folders that were to be made; one that was renamed is none of them, its session is named by another one."""
    named = {each.session_id for each in report.outcomes} | {each.session_id for each in report.problems}
    return [place for place in await _places(report.directory) if place.session_slug not in names and place.id not in named]


async def sync_one(report: Report, slug: str, how: How, session_id: UUID | None = None) -> None:
    """Sync one folder of a project, and note what became of it.

    Args:
        report: what is noted in.
        slug: the folder's name.
        how: how.
        session_id: the session that is to have the folder, where it is missing.
    """
    asked = Asked(report.directory, slug, session_id, how=how)
    with _noting(report, slug):
        if session_id is not None and how.is_rehearsal:
            report.outcomes.append(Outcome(slug, session_id, "written"))
            return
        with open_folder(Path(report.directory), *SESSIONS, slug, make=session_id is not None) as folder:
            report.outcomes.append(await sync_folder(folder, asked))


@contextmanager
def _noting(report: Report, slug: str) -> Iterator[None]:
    path = Path(report.directory, *SESSIONS, slug)
    note = partial(Problem, slug, path)
    try:
        yield
    except Unavailable as error:
        if "path" not in error.details:
            # The database is away: the others would fail as well.
            raise
        report.problems.append(note(error.message))
    except SessionDBError as error:
        report.problems.append(note(error.message, error.details.get("session_id")))
    except OSError as error:
        report.problems.append(note(f"it cannot be read or written: {error.strerror}"))
    except DBAPIError as error:
        reason = translate(error)
        if not isinstance(reason, InvalidInput):
            raise
        report.problems.append(note(f"a value in it cannot be stored: {reason.message}"))


async def _places(working_dir: str) -> list[Place]:
    places: list[Place] = []
    async with async_session() as db:
        while page := await list_places(db, working_dir, after=places[-1].session_slug if places else "", limit=PLACES_A_PAGE):
            places += page
    return places


def _found(directory: Path, report: Report) -> set[str]:
    """Return the names of the folders that have a state.json."""
    try:
        with open_folder(directory, *SESSIONS) as sessions:
            return {name for name in sessions.names() if _has_state(sessions, name, report)}
    except NotFound:
        if not directory.is_dir():
            raise
        return set()


def _has_state(sessions: Folder, name: str, report: Report) -> bool:
    status = sessions.status(name)
    if status is None or name.startswith("."):
        return False
    if stat.S_ISLNK(status.st_mode):
        reason = "it is a symbolic link, which is not followed; sync the project that it leads to"
        report.problems.append(Problem(name, sessions.path / name, reason))
        return False
    if not stat.S_ISDIR(status.st_mode):
        return False
    with _noting(report, name), sessions.below(name) as folder:
        return folder.status(STATE) is not None
    return False
