"""Folders that are behind the database: written after each commit by the process that made it, and what was left by whoever looks."""

import logging
from collections.abc import Collection
from pathlib import Path
from typing import NamedTuple
from uuid import UUID

from session_db.crud.workspaces import Place, get_place, list_behind
from session_db.database import async_session, in_transaction
from session_db.errors import NotFound, SessionDBError
from session_db.workspace.places import open_session_folder
from session_db.workspace.syncing import COMMITTER_LOCK_SECONDS, Asked, Outcome, sync_folder

BEHIND_A_PAGE = 100

logger = logging.getLogger(__name__)


async def write_after_commit(session_id: UUID, *, is_new: bool) -> None:
    """Write the folder of a session that was changed, where it is on this machine; never fail: it stays behind, and is written later.

    Args:
        session_id: the session.
        is_new: it was given its folder, which is made. Any other folder is touched only where its state.json names the session.
    """
    try:
        place = await in_transaction(lambda db: get_place(db, session_id), lock_seconds=COMMITTER_LOCK_SECONDS)
        if place is not None:
            await _write(place, is_new=is_new)
    except Exception as error:  # noqa: BLE001  whatever it is, what the caller wanted is committed.
        logger.warning("the folder of session %s is not written yet: %s", session_id, error)


class Written(NamedTuple):
    """What a look for folders that are behind did, and how many of them the system let nobody write."""

    outcomes: list[Outcome]
    failures: int


async def write_behind(below: Collection[Path]) -> Written:
    """Write every folder at or below these directories that is behind; what cannot be written stays so."""
    outcomes: list[Outcome] = []
    failures = 0
    after: UUID | None = None
    while below:
        async with async_session() as db:
            places = await list_behind(db, [str(directory) for directory in below], after=after, limit=BEHIND_A_PAGE)
        for place in places:
            try:
                outcome = await _write(place)
            except Exception as error:  # noqa: BLE001  one folder must not keep the others behind.
                failures += not isinstance(error, SessionDBError)
                logger.debug("the folder of session %s is not written yet: %s", place.id, error)
            else:
                outcomes += [outcome] if outcome else []
        if len(places) < BEHIND_A_PAGE:
            break
        after = places[-1].id
    return Written(outcomes, failures)


async def _write(place: Place, *, is_new: bool = False) -> Outcome | None:
    """Sync the folder of a session, or return None where it is on another machine."""
    asked = Asked(place.working_dir, place.session_slug, place.id, must_name=not is_new, version=place.workspace_version)
    try:
        with open_session_folder(place, make=is_new) as folder:
            return await sync_folder(folder, asked)
    except NotFound:
        if is_new:
            raise
        return None
