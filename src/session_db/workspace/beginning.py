"""A session that a folder tells of and the database does not know: it is made as the files say, with its phases and agents."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any
from uuid import UUID

from pydantic import ValidationError
from sqlalchemy.ext.asyncio import AsyncSession

from session_db.crud import create_agent, create_session, update_session
from session_db.crud.erasing import get_deleted_session
from session_db.crud.sdk_sessions import get_sdk_session, is_old
from session_db.errors import InvalidInput, NotFound
from session_db.ids import derived_id
from session_db.models import AgentCreate, Session, SessionCreate, SessionUpdate
from session_db.models.sessions import SessionType, refuse_bad_slug
from session_db.models.table import now
from session_db.workspace.layouts import (
    history_in,
    is_older,
    moment_in,
    older_values,
    record_in,
    session_id_in,
    state_values,
    status_in,
)

_TYPES: dict[Any, SessionType] = {"full": "full", "quick": "quick", "research": "research"}


class WasDeleted(NotFound):
    """The session was deleted, and its folder is still there."""


async def begin_session(
    db: AsyncSession, working_dir: str, slug: str, document: Mapping[str, Any], *, restore_deleted: bool = False
) -> Session:
    """Make the session of a folder.

    Raises:
        WasDeleted: there was one, and it was deleted.
        InvalidInput: a value cannot be stored.
    """
    refuse_bad_slug(slug)
    record = record_in(document)
    session_id = session_id_in(record) or derived_id("workspace", working_dir, slug)
    await _refuse_deleted(db, session_id, restore_deleted=restore_deleted)
    values = state_values(record) or older_values(document)
    kind = record.get("type") or document.get("session_type")
    wanted = {
        "session_id": session_id,
        "session_slug": slug,
        "working_dir": working_dir,
        "session_type": _TYPES.get(kind if isinstance(kind, str) else None, "full"),
        "title": values.get("title"),
        "description": values.get("description"),
    }
    session = await create_session(db, _valid(SessionCreate, wanted), workspace=True)
    await _replay(db, session, document)
    if not is_older(document):
        await _add_agents(db, session, document.get("agents"))
    return session


async def _refuse_deleted(db: AsyncSession, session_id: UUID, *, restore_deleted: bool) -> None:
    tombstone = await get_sdk_session(db, str(session_id))
    erasing = await get_deleted_session(db, session_id)
    stays = tombstone is not None and tombstone.session_id is None and not is_old(tombstone)
    if erasing is not None or (stays and not restore_deleted):
        raise WasDeleted(f"session {session_id} was deleted; --restore-deleted makes it anew.", session_id=session_id)


async def _replay(db: AsyncSession, session: Session, document: Mapping[str, Any]) -> None:
    """Let the session go through its phases, each when it began."""
    history = history_in(document)
    told = [moment_in(document, "created_at"), *(at for _, at in history)]
    session.created_at = min([session.created_at, *(at for at in told if at is not None)])
    last = max([session.created_at, *(at for at in (moment_in(document, "updated_at"), told[-1]) if at is not None)])
    session.last_activity = min(last, now())
    status = status_in(document)
    for phase, at in [*history, (status, last)]:
        if phase != session.status and (phase == status or not _is_past(history, phase, status)):
            await _advance(db, session, phase, at or last)
    await db.flush()


def _is_past(history: list[tuple[str, datetime | None]], phase: str, status: str) -> bool:
    """Say whether the file tells of a phase only after it told of the one that the session is in."""
    phases = [name for name, _ in history]
    return status in phases and phases.index(phase) > phases.index(status)


async def _advance(db: AsyncSession, session: Session, status: str, moment: datetime) -> None:
    await update_session(db, session.id, SessionUpdate(status=status), moment=moment)


async def _add_agents(db: AsyncSession, session: Session, agents: Any) -> None:
    for agent in agents if isinstance(agents, list) else []:
        if isinstance(agent, Mapping):
            names = ("id", "status", "sdk_session_id", "model", "checkpoint_id", "cost", "started_at", "completed_at")
            values = {name: agent[name] for name in names if agent.get(name) is not None}
            values |= {"session_id": session.id, "agent_type": agent.get("type") or "main"}
            await create_agent(db, _valid(AgentCreate, values))


def _valid(kind: Any, values: dict[str, Any]) -> Any:
    """Make an input of what a file says; the error names the place."""
    try:
        return kind.model_validate(values)
    except ValidationError as error:
        problems = error.errors(include_input=False, include_url=False)
        told = "; ".join(f"{'.'.join(map(str, each['loc']))}: {each['msg']}".removeprefix(": Value error, ") for each in problems)
        raise InvalidInput(f"state.json: {told}.") from None
