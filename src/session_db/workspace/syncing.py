"""One folder and its session: what was edited in the files goes into the database, then the file is written anew.

Killed at any point, the next sync goes on: an edit that is in the database already is none any more, and a file that was not written
is behind.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any, Literal, NamedTuple, TypeVar
from uuid import UUID

from pydantic import ValidationError

from session_db.crud import append_agent_logs, update_session
from session_db.crud.locking import lock_session_if_any
from session_db.crud.sessions import get_session_by_slug
from session_db.crud.workspaces import get_place, get_shown, note_synced
from session_db.database import UnitOfWork, async_session, in_transaction
from session_db.errors import Conflict as ConflictError
from session_db.errors import InvalidInput, NotFound, Unavailable
from session_db.ids import derived_id
from session_db.models import AgentLogCreate, Session, SessionUpdate
from session_db.workspace.beginning import WasDeleted, begin_session
from session_db.workspace.contents import Files, fingerprints, is_named_in, new_content, read_files
from session_db.workspace.folders import LOCK_SECONDS, Folder, Stamp
from session_db.workspace.layouts import (
    Values,
    is_older,
    older_values,
    record_in,
    session_id_in,
    state_values,
)
from session_db.workspace.merging import Conflict, Marks, merge, put_back
from session_db.workspace.places import SESSIONS, STATE
from session_db.workspace.state import CHECKPOINTS, Synced, checkpoints_of, record_of

Returned = TypeVar("Returned")

COMMITTER_LOCK_SECONDS = 1.0
COMMITTER_FOLDER_SECONDS = 0.3
"""How long whoever has just committed waits for somebody else's lock, in the database and of the folder; then it is written later."""

ATTEMPTS = 5
"""How often a sync begins anew because somebody edited the file while it worked."""

CONFLICT = "WorkspaceConflict"
"""Type of the event that says what gave way."""

Action = Literal["created", "updated", "written", "unchanged", "deleted"]


@dataclass(frozen=True)
class How:
    """How folders are synced.

    Attributes:
        is_rehearsal: change nothing, and say what would be changed.
        restore_deleted: make a session anew that was deleted.
        move: let a folder be its session's where that has its folder elsewhere.
    """

    is_rehearsal: bool = False
    restore_deleted: bool = False
    move: bool = False


PLAINLY = How()


@dataclass(frozen=True)
class Asked:
    """Which folder is synced.

    Attributes:
        working_dir: the project.
        slug: the folder's name.
        session_id: only this session; None: whichever the files tell of.
        must_name: only where the state.json that is there names it.
        version: done where somebody else let the folder show this version meanwhile, and soon given up; None: neither.
        how: how.
    """

    working_dir: str
    slug: str
    session_id: UUID | None = None
    must_name: bool = False
    version: int | None = None
    how: How = PLAINLY


@dataclass(frozen=True)
class Outcome:
    """What a sync did with one folder.

    Attributes:
        slug: the folder's name.
        session_id: its session.
        action: the session was created or updated, or only the file was written; or nothing was to be done.
        fields: what was edited in the files, and is in the database now.
        conflicts: what gave way.
        note: what could not be read beside state.json, or not be taken over from it.
    """

    slug: str
    session_id: UUID | None
    action: Action
    fields: list[str] = field(default_factory=list)
    conflicts: list[Conflict] = field(default_factory=list)
    note: str | None = None

    def after(self, before: "Outcome | None") -> "Outcome":
        """Return this one together with what an attempt before it did already."""
        if before is None or before.action not in ("created", "updated"):
            return self
        fields, conflicts = before.fields + self.fields, before.conflicts + self.conflicts
        return replace(self, action=before.action, fields=fields, conflicts=conflicts, note=self.note or before.note)


class Exchanged(NamedTuple):
    """What a transaction found.

    Attributes:
        outcome: what it did.
        content: the new content of the file, or None where it is as it should be.
        version: what the file shows with that.
        is_noted: whether the database says so already.
        marks: edits that are in the database and that the file does not show with that, either.
    """

    outcome: Outcome
    content: bytes | None
    version: int
    is_noted: bool
    marks: Marks


async def sync_folder(folder: Folder, asked: Asked) -> Outcome:
    """Bring a folder and its session together.

    Raises:
        InvalidInput: state.json cannot be read; nothing is changed.
        Conflict: it is the folder of another session, or another place's copy.
        Unavailable: somebody else writes there all the time.
        OSError: the system refuses to read or write.
    """
    if asked.how.is_rehearsal:
        return await _rehearse(folder, asked)
    outcome = None
    async with folder.locked(LOCK_SECONDS if asked.version is None else COMMITTER_FOLDER_SECONDS) as has_waited:
        if has_waited and await _is_shown(asked):
            return Outcome(asked.slug, asked.session_id, "unchanged")
        await asyncio.to_thread(folder.remove_abandoned)
        for _ in range(ATTEMPTS):
            files = await asyncio.to_thread(read_files, folder)
            try:
                exchanged = await _in_transaction(asked, partial(_exchange, asked=asked, files=files))
            except WasDeleted as error:
                return Outcome(asked.slug, error.details["session_id"], "deleted")
            outcome = exchanged.outcome.after(outcome)
            if await _written(folder, asked, files, exchanged):
                return outcome
    raise Unavailable(f"{folder.path / STATE} is edited all the time; try again.", path=str(folder.path))


async def _in_transaction(asked: Asked, work: Callable[[UnitOfWork], Awaitable[Returned]]) -> Returned:
    return await in_transaction(work, lock_seconds=None if asked.version is None else COMMITTER_LOCK_SECONDS)


async def _is_shown(asked: Asked) -> bool:
    """Say whether the folder shows by now what it was to show."""
    session_id, version = asked.session_id, asked.version
    if session_id is None or version is None:
        return False
    place = await _in_transaction(asked, lambda db: get_place(db, session_id))
    return place is not None and place.workspace_synced_version >= version


async def _written(folder: Folder, asked: Asked, files: Files, exchanged: Exchanged) -> bool:
    """Write the file where it is to be written, and say whether nobody else did meanwhile."""
    if exchanged.content is not None:
        write = partial(folder.replace, STATE, exchanged.content, unless_changed_from=files.stamp)
        if not await asyncio.to_thread(write):
            return False
    session_id = exchanged.outcome.session_id
    if session_id is not None and not exchanged.is_noted:
        await _in_transaction(asked, lambda db: note_synced(db, session_id, exchanged.version, exchanged.marks))
    return True


async def _rehearse(folder: Folder, asked: Asked) -> Outcome:
    files = await asyncio.to_thread(read_files, folder)
    async with async_session() as db:
        try:
            return (await _exchange(db, asked=asked, files=files)).outcome
        except WasDeleted as error:
            return Outcome(asked.slug, error.details["session_id"], "deleted")
        finally:
            await db.rollback()


async def _exchange(db: UnitOfWork, *, asked: Asked, files: Files) -> Exchanged:
    """Bring the edits of the files into the database, and say what the file has to hold."""
    record = record_in(files.document)
    session = await _find(db, asked, record, files.stamp is not None)
    is_new, note = session is None, files.note
    if session is None:
        session, left_out = await begin_session(
            db, asked.working_dir, asked.slug, files.document, restore_deleted=asked.how.restore_deleted
        )
        note = "; ".join(filter(None, (files.note, left_out))) or None
    session.workspace_version = session.workspace_version or 1
    synced = None if is_new else _synced_of(record)
    merged = merge(_sources(files, record), synced, _owned_by_files(session), session.workspace_edits)
    edits = _with_heading(merged.edits, session, files)
    written = {} if is_new else await _written_before(db, session, synced, record)
    await _apply(db, session, edits)
    marks = _marks_of_silent(session, files)
    session.workspace_edits = {**merged.marks, **marks} or None
    shown = await get_shown(db, session)
    new = record_of(shown)
    conflicts = [] if is_new else merged.conflicts + put_back(record, written, new)
    await _tell(db, session, conflicts, files.stamp)
    content = await asyncio.to_thread(new_content, files, new, synced)
    action: Action = "created" if is_new else "updated" if edits else "written" if content else "unchanged"
    outcome = Outcome(asked.slug, session.id, action, list(edits), conflicts, note)
    version = shown.session.workspace_version
    is_noted = not merged.marks and shown.session.workspace_synced_version == version
    return Exchanged(outcome, content, version, is_noted, marks)


async def _find(db: UnitOfWork, asked: Asked, record: Mapping[str, Any], has_state: bool) -> Session | None:  # noqa: FBT001  one caller
    """Return the session of a folder, locked, or None where the database does not know it."""
    named = session_id_in(record)
    if asked.session_id is not None:
        return await _find_asked(db, asked, asked.session_id, named, has_state=has_state)
    session = await lock_session_if_any(db, named) if named is not None else None
    if session is not None and not _is_place_of(session, asked):
        await _refuse_move(session, asked)
        place = SessionUpdate(working_dir=asked.working_dir, session_slug=asked.slug)
        session = await update_session(db, session.id, place)
    if session is None:
        session = await _find_by_slug(db, asked, named)
    if session is not None and session.session_type == "chat":
        raise ConflictError(f"session {session.id} is a chat, which has no folder; name the folder otherwise.", session_id=session.id)
    return session


async def _refuse_move(session: Session, asked: Asked) -> None:
    """Let a folder be that of a session only where nobody could mean the one that it has."""
    elsewhere = Path(session.working_dir or "?", *SESSIONS, session.session_slug or "?")
    if not asked.how.move:
        problem = f"state.json names session {session.id}, whose folder is {elsewhere}; --move makes this one its folder."
        raise ConflictError(problem, session_id=session.id)
    if session.session_slug is not None and await asyncio.to_thread(is_named_in, elsewhere, session.id):
        problem = f"{elsewhere} names session {session.id} as well; remove one of the two, or its session_id."
        raise ConflictError(problem, session_id=session.id)


async def _find_asked(db: UnitOfWork, asked: Asked, session_id: UUID, named: UUID | None, *, has_state: bool) -> Session:
    may_be = named == session_id if asked.must_name or named is not None else True
    if not may_be or (asked.must_name and not has_state):
        raise ConflictError(f"state.json does not name session {session_id}; it is left as it is.", session_id=session_id)
    session = await lock_session_if_any(db, session_id)
    if session is None or not _is_place_of(session, asked):
        raise NotFound(f"session {session_id} has no folder here any more.", session_id=session_id)
    return session


async def _find_by_slug(db: UnitOfWork, asked: Asked, named: UUID | None) -> Session | None:
    found = await get_session_by_slug(db, asked.slug, asked.working_dir)
    if found is None:
        return None
    if named is not None:
        problem = f"state.json names session {named}, which is not known; that of this folder is {found.id}: write that one there."
        raise ConflictError(problem, session_id=found.id)
    return await lock_session_if_any(db, found.id)


def _is_place_of(session: Session, asked: Asked) -> bool:
    if session.session_slug != asked.slug or session.working_dir is None:
        return False
    if session.working_dir == asked.working_dir:
        return True
    try:
        return Path(session.working_dir).samefile(asked.working_dir)
    except OSError:
        return False


def _synced_of(record: Mapping[str, Any]) -> dict[str, Any] | None:
    """Return what was the same at last, or None where somebody removed or damaged it."""
    try:
        return Synced.model_validate(record.get("synced")).model_dump()
    except ValidationError:
        return None


def _marks_of_silent(session: Session, files: Files) -> Marks:
    """Return the marked edits of a plan.json that says nothing now: when it can be read again, they are none."""
    marks: Marks = session.workspace_edits or {}
    return {} if files.plan else {key: mark for key, mark in marks.items() if key.startswith("plan.")}


async def _written_before(db: UnitOfWork, session: Session, synced: Mapping[str, Any] | None, record: Mapping[str, Any]) -> dict[str, str]:
    """Return fingerprints of what the database owns as it was written; where nobody knows, as the database has it."""
    if synced is not None:
        known: dict[str, str] = synced["database"]
        return known
    return fingerprints(record_of(await get_shown(db, session)), record)


def _sources(files: Files, record: Mapping[str, Any]) -> list[tuple[str, Values]]:
    layout = older_values(files.document) if is_older(files.document) else {}
    return [("state", state_values(record)), ("layout", layout), ("plan", files.plan)]


def _owned_by_files(session: Session) -> Values:
    texts = {"title": session.title, "description": session.description, "status": session.status}
    return texts | checkpoints_of(session).model_dump()


def _with_heading(edits: Values, session: Session, files: Files) -> Values:
    is_nameless = session.title is None and edits.get("title") is None
    return edits | {"title": files.heading} if is_nameless and files.heading else edits


async def _apply(db: UnitOfWork, session: Session, edits: Values) -> None:
    changes: dict[str, Any] = {name: edits[name] for name in ("title", "description", "status") if name in edits}
    counts = {name: edits[name] for name in ("total", "done") if name in edits}
    if counts:
        noted = session.metadata_.get(CHECKPOINTS)
        kept = dict(noted) if isinstance(noted, Mapping) else {}
        changes["metadata_"] = {**session.metadata_, CHECKPOINTS: kept | counts}
    if changes:
        try:
            wanted = SessionUpdate.model_validate(changes)
        except ValidationError as error:
            problem = error.errors(include_input=False, include_url=False)[0]["msg"].removeprefix("Value error, ")
            raise InvalidInput(f"{STATE}: {problem}") from None
        await update_session(db, session.id, wanted)


async def _tell(db: UnitOfWork, session: Session, conflicts: list[Conflict], stamp: Stamp | None) -> None:
    """Record what gave way, so that nothing is overruled silently: once, however often a killed sync of this file is begun anew."""
    events = [
        AgentLogCreate(
            id=derived_id("workspace", session.id, each.field, *(stamp or ())),
            session_id=session.id,
            event_category="phase",
            event_type=CONFLICT,
            payload={"field": each.field, "file": each.file, "database": each.database, "kept": each.kept},
            content=f"{each.field}: kept what the {each.kept} said",
        )
        for each in conflicts
    ]
    if events:
        await append_agent_logs(db, events)
