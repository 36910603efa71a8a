"""Sessions: create, read, update, delete."""

from collections.abc import Collection, Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import func, select, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession
from sqlmodel import col

from session_db.crud import agent_logs
from session_db.crud.erasing import mark_deleted
from session_db.crud.locking import lock_session_if_any
from session_db.crud.rows import add, all_of, one_of, one_or_none, run
from session_db.crud.sdk_sessions import leave_tombstones, lift_tombstone
from session_db.crud.showing import note_behind
from session_db.database.violations import translated
from session_db.errors import AlreadyExists, Conflict, InvalidInput
from session_db.live import note_changed
from session_db.models import AgentLogCreate, Session, SessionCreate, SessionNameUpdate, SessionPatch, SessionUpdate
from session_db.models.sessions import ENDED_STATUSES, normalised_directory, refuse_bad_slug, refuse_unknown_status
from session_db.models.table import now


async def create_session(db: AsyncSession, session_data: SessionCreate, *, workspace: bool = False) -> Session:
    """Create a session.

    Args:
        db: the database session.
        session_data: the session.
        workspace: give it a folder, ``agents/sessions/<slug>`` below its working_dir, which is made after the commit.

    Raises:
        AlreadyExists: the session_id, or the slug in this working_dir, is taken.
        InvalidInput: a chat session, or one without a slug, is to have a folder.
    """
    if workspace:
        _refuse_folder(session_data)
    values = session_data.model_dump(exclude={"session_id", "session_name", "metadata_"})
    metadata = dict(session_data.metadata_)
    if session_data.session_name:
        metadata = _named(metadata, session_data.session_name)
    if session_data.session_id is not None:
        values["id"] = session_data.session_id
    session = Session(**values, metadata_=metadata, workspace_version=int(workspace))
    _set_status(session, session.status)
    try:
        await add(db, session, session_id=session.id, session_slug=session.session_slug)
    except AlreadyExists as error:
        await _say_if_being_erased(db, session.id, error)
        raise
    if session_data.session_id is not None:
        # One that was deleted is wanted again: what its SDK session still tells goes into it.
        await lift_tombstone(db, str(session.id))
    note_changed(db, session.id)
    if workspace:
        note_behind(db.sync_session, session.id, is_new=True)
    return session


def _refuse_folder(session_data: SessionCreate) -> None:
    if session_data.session_type == "chat":
        raise InvalidInput("workspace: a chat session has no folder; give a workflow's session_type.", field="session_type")
    if session_data.session_slug is None:
        raise InvalidInput("workspace: a folder needs a name; give session_slug and working_dir.", field="session_slug")


async def _say_if_being_erased(db: AsyncSession, session_id: UUID, error: AlreadyExists) -> None:
    deleted = select(col(Session.deleted_at)).where(col(Session.id) == session_id, col(Session.deleted_at).is_not(None))
    if error.details["constraint"] == "pk_sessions" and await db.scalar(deleted) is not None:
        raise AlreadyExists(
            f"session {session_id} was deleted and is being erased; call erase_deleted_sessions until it returns 0, "
            "or use another session_id.",
            **error.details,
        ) from error


async def get_session(db: AsyncSession, session_id: UUID) -> Session | None:
    """Return the session, or None where there is none."""
    query = select(Session).where(col(Session.id) == session_id, col(Session.deleted_at).is_(None))
    session: Session | None = await one_or_none(db, query)
    return session


async def get_session_by_slug(db: AsyncSession, slug: str, working_dir: str | None = None) -> Session | None:
    """Return the session with this slug, or None where there is none.

    Raises:
        Conflict: several projects have one; the error names their directories.
    """
    query = select(Session).where(col(Session.session_slug) == slug, col(Session.deleted_at).is_(None)).order_by(col(Session.working_dir))
    if working_dir is not None:
        query = query.where(col(Session.working_dir) == normalised_directory(working_dir))
    found = await all_of(db, query.limit(20))
    if len(found) > 1:
        directories = [session.working_dir for session in found]
        raise Conflict(
            f"several sessions have the slug {slug!r}; say which working_dir: {', '.join(directories)}.", slug=slug, directories=directories
        )
    return found[0] if found else None


async def get_nearest_session(db: AsyncSession, slug: str, working_dirs: Collection[str]) -> Session | None:
    """Return the session with this slug that has the longest of these directories, or None where there is none."""
    here = (col(Session.session_slug) == slug, col(Session.working_dir) == one_of(working_dirs), col(Session.deleted_at).is_(None))
    query = select(Session).where(*here).order_by(func.length(col(Session.working_dir)).desc()).limit(1)
    session: Session | None = await one_or_none(db, query)
    return session


async def update_session(
    db: AsyncSession, session_id: UUID, session_update: SessionUpdate, *, moment: datetime | None = None
) -> Session | None:
    """Apply what was set, and return the session, or None where there is none.

    A workflow session's change of status, and a chat's end, are recorded as a ``phase`` event.

    Args:
        db: the database session.
        session_id: the session.
        session_update: what to set.
        moment: when it became so; unset: now.

    Raises:
        InvalidInput: the status does not fit the session's type, or a required value is cleared.
        AlreadyExists: the slug is taken in that working_dir.
    """
    session = await lock_session_if_any(db, session_id)
    return None if session is None else await _change(db, session, session_update.changes(), moment)


async def patch_session(db: AsyncSession, session_id: UUID, session_patch: SessionPatch) -> Session | None:
    """Apply what was set as ``update_session`` does, but merge ``metadata`` into what is there, and return the session, or None.

    Two patches at once both hold. ``name`` is set after ``metadata``, as ``update_session_name`` does.
    """
    session = await lock_session_if_any(db, session_id)
    if session is None:
        return None
    changes = session_patch.changes()
    if "metadata_" in changes:
        # As a patch of its own null makes nothing of it, and nothing is no metadata.
        changes["metadata_"] = _merged(session.metadata_, changes["metadata_"]) or {}
    if "name" in changes:
        changes["metadata_"] = _named(changes.get("metadata_", session.metadata_), changes.pop("name"))
    return await _change(db, session, changes)


def _merged(stored: Any, patch: Any) -> Any:
    """Return what an RFC 7396 patch makes of a JSON value: it is nested no deeper than the deeper of both."""
    if not isinstance(patch, dict):
        return patch
    merged = dict(stored) if isinstance(stored, dict) else {}
    for key, value in patch.items():
        if value is None:
            merged.pop(key, None)
        else:
            merged[key] = _merged(merged.get(key), value)
    return merged


def _named(metadata: dict[str, Any], name: str | None) -> dict[str, Any]:
    others = {key: value for key, value in metadata.items() if key not in ("name", "created_by_user")}
    return others if name is None else others | {"name": name, "created_by_user": True}


async def _change(db: AsyncSession, session: Session, changes: dict[str, Any], moment: datetime | None = None) -> Session:
    """Change a locked session."""
    changes = _checked_changes(session, changes)
    before = session.status
    status = changes.pop("status", before)
    async with translated(db, session_id=session.id, session_slug=changes.get("session_slug")):
        for name, value in changes.items():
            setattr(session, name, {} if name == "metadata_" and value is None else value)
        if status != before:
            _set_status(session, status, moment)
        session.updated_at = now()
    if status != before and (session.session_type != "chat" or status == "terminated"):
        await _record_phase(db, session, before, moment)
    return session


def _checked_changes(session: Session, changes: dict[str, Any]) -> dict[str, Any]:
    """Return the changes, where the session can be like that."""
    needed = ["status", "activity", "use_claude_code", "pinned"]
    if session.session_type == "chat":
        needed.append("agent_name")
    if changes.get("session_slug", session.session_slug) is not None:
        needed.append("working_dir")
        if changes.get("working_dir", session.working_dir) is None:
            raise InvalidInput("working_dir: a session with a slug needs the absolute path of its project.", field="working_dir")
    for name in needed:
        if name in changes and changes[name] is None:
            raise InvalidInput(f"{name} cannot be cleared; leave it out to keep it.", field=name)
    if session.session_type == "chat" and changes.get("agent_name") == "":
        raise InvalidInput("agent_name: a chat session needs the name of its agent.", field="agent_name")
    if "status" in changes:
        refuse_unknown_status(session.session_type, changes["status"])
    if changes.get("session_slug") is not None:
        refuse_bad_slug(changes["session_slug"])
    if changes.get("working_dir") is not None:
        changes["working_dir"] = normalised_directory(changes["working_dir"])
    return changes


def _set_status(session: Session, status: str, moment: datetime | None = None) -> None:
    """Set the status, and with it when a workflow began and when a session ended."""
    session.status = status
    # The sender's clock may be ahead of ours.
    happened = min(moment or now(), now())
    if session.session_type != "chat" and status != "created":
        session.started_at = session.started_at or happened
    session.completed_at = (session.completed_at or happened) if status in ENDED_STATUSES else None


async def _record_phase(db: AsyncSession, session: Session, before: str, moment: datetime | None) -> None:
    await agent_logs.append_agent_logs(db, [_phase(session, before, moment)], last_activity=moment)


def _phase(session: Session, before: str, moment: datetime | None) -> AgentLogCreate:
    change = {"from": before, "to": session.status}
    return AgentLogCreate(
        session_id=session.id,
        event_category="phase",
        event_type="StatusChange",
        payload=change,
        content=session.status,
        timestamp=moment,
    )


async def replay_phases(db: AsyncSession, session: Session, phases: Sequence[tuple[str, datetime]]) -> None:
    """Let a workflow session that was just created go through phases, each at its moment, in one append."""
    events = []
    for status, moment in phases:
        before = session.status
        _set_status(session, status, moment)
        events.append(_phase(session, before, moment))
    if events:
        await agent_logs.append_agent_logs(db, events, last_activity=phases[-1][1])


async def update_session_status(db: AsyncSession, session_id: UUID, status: str) -> Session | None:
    """Set the status, and return the session, or None where there is none."""
    return await update_session(db, session_id, SessionUpdate(status=status))


async def update_session_activity(db: AsyncSession, session_id: UUID) -> Session | None:
    """Note that something happened now, and return the session, or None where there is none.

    ``last_activity`` stands in indexes, so it moves once a second at most, and never back.
    """
    later = agent_logs.later_activity(None)
    moved = update(Session).where(col(Session.id) == session_id, col(Session.last_activity) < later)
    touched = await run(db, moved.values(last_activity=later).execution_options(synchronize_session=False))
    if touched.rowcount:
        note_changed(db, session_id)
    return await get_session(db, session_id)


async def update_session_name(db: AsyncSession, session_id: UUID, name_update: SessionNameUpdate) -> Session | None:
    """Name the session, or with None clear its name, and return it, or None where there is none."""
    return await patch_session(db, session_id, SessionPatch(name=name_update.name))


async def delete_session(db: AsyncSession, session_id: UUID) -> bool:
    """Delete a session; return whether there was one.

    It is gone from every read at once; its rows go with ``erase_deleted_sessions``. Its SDK sessions, and its id as one, are remembered,
    so that neither an import nor a late event brings it back.
    """
    session = await lock_session_if_any(db, session_id)
    if session is None:
        return False
    mark_deleted(session)
    await db.flush()
    await leave_tombstones(db, [session_id])
    return True


async def ensure_session(db: AsyncSession, session_data: SessionCreate, began: datetime) -> bool:
    """Create the session with this id where there is none, and return whether it was; it began in the past."""
    # The sender's clock may be ahead of ours.
    began = min(began, now())
    values = session_data.model_dump(exclude={"session_id", "session_name", "metadata_"})
    fresh = insert(Session).values(**values, id=session_data.session_id, created_at=began, last_activity=began)
    created = (await db.scalars(fresh.on_conflict_do_nothing(index_elements=["id"]).returning(col(Session.id)))).first()
    if created is None:
        return False
    note_changed(db, created)
    return True
