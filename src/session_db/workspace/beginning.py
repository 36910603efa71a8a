"""A session that a folder tells of and the database does not know: it is made as the files say, with its phases and agents."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any, NamedTuple
from uuid import UUID

from pydantic import ValidationError
from sqlalchemy.ext.asyncio import AsyncSession

from session_db.crud import create_agent, create_session
from session_db.crud.erasing import get_deleted_session
from session_db.crud.sdk_sessions import get_sdk_session, is_old, sdk_key
from session_db.crud.sessions import replay_phases
from session_db.crud.workspaces import AGENTS_SHOWN, PHASES_SHOWN, list_sdk_sessions
from session_db.errors import InvalidInput, NotFound
from session_db.ids import derived_id
from session_db.models import AgentCreate, Session, SessionCreate
from session_db.models.sessions import SessionType, refuse_bad_slug
from session_db.models.table import now
from session_db.models.text import shown
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

_NAMED = 5

_TYPES: dict[Any, SessionType] = {"full": "full", "quick": "quick", "research": "research"}


class WasDeleted(NotFound):
    """The session was deleted, and its folder is still there."""

    code = "was_deleted"


class Begun(NamedTuple):
    """A session that was made of a folder.

    Attributes:
        session: the session.
        note: what of the file was not taken over, and why.
    """

    session: Session
    note: str | None


async def begin_session(
    db: AsyncSession, working_dir: str, slug: str, document: Mapping[str, Any], *, restore_deleted: bool = False
) -> Begun:
    """Make the session of a folder, with as many phases and agents as a folder shows.

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
    agents = [] if is_older(document) else _agents_in(document, session)
    return Begun(session, await _add_agents(db, agents, restore_deleted=restore_deleted))


async def _refuse_deleted(db: AsyncSession, session_id: UUID, *, restore_deleted: bool) -> None:
    tombstone = await get_sdk_session(db, str(session_id))
    erasing = await get_deleted_session(db, session_id)
    stays = tombstone is not None and tombstone.session_id is None and not is_old(tombstone)
    if erasing is not None or (stays and not restore_deleted):
        raise WasDeleted(f"session {session_id} was deleted; --restore-deleted makes it anew.", session_id=session_id)


async def _replay(db: AsyncSession, session: Session, document: Mapping[str, Any]) -> None:
    """Let the session go through its phases, each when it began."""
    history = history_in(document)[-PHASES_SHOWN:]
    told = [moment_in(document, "created_at"), *(at for _, at in history)]
    session.created_at = min([session.created_at, *(at for at in told if at is not None)])
    last = max([session.created_at, *(at for at in (moment_in(document, "updated_at"), told[-1]) if at is not None)])
    session.last_activity = min(last, now())
    status = status_in(document)
    steps: list[tuple[str, datetime]] = []
    for phase, at in [*history, (status, last)]:
        before = steps[-1][0] if steps else session.status
        if phase != before and (phase == status or not _is_past(history, phase, status)):
            steps.append((phase, at or last))
    await replay_phases(db, session, steps)
    await db.flush()


def _is_past(history: list[tuple[str, datetime | None]], phase: str, status: str) -> bool:
    """Say whether the file tells of a phase only after it told of the one that the session is in."""
    phases = [name for name, _ in history]
    return status in phases and phases.index(phase) > phases.index(status)


def _agents_in(document: Mapping[str, Any], session: Session) -> list[AgentCreate]:
    names = ("id", "status", "sdk_session_id", "model", "checkpoint_id", "cost", "started_at", "completed_at")
    told = document.get("agents")
    agents = [agent for agent in told if isinstance(agent, Mapping)] if isinstance(told, list) else []
    wanted = []
    for agent in agents[-AGENTS_SHOWN:]:
        values = {name: agent[name] for name in names if agent.get(name) is not None}
        wanted.append(_valid(AgentCreate, values | {"session_id": session.id, "agent_type": agent.get("type") or "main"}))
    return wanted


async def _add_agents(db: AsyncSession, agents: list[AgentCreate], *, restore_deleted: bool) -> str | None:
    """Create agents, and say which of their SDK sessions they do not get: a file may come from anybody, and takes none from others."""
    told = {sdk_key(agent.sdk_session_id): agent.sdk_session_id for agent in agents if agent.sdk_session_id}
    known = await list_sdk_sessions(db, told)
    others = {each.sdk_key for each in known if each.session_id is not None or not (restore_deleted or is_old(each))}
    for agent in agents:
        is_other = agent.sdk_session_id is not None and sdk_key(agent.sdk_session_id) in others
        await create_agent(db, agent.model_copy(update={"sdk_session_id": None}) if is_other else agent)
    if not others:
        return None
    few = ", ".join(sorted(shown(told[key]) for key in others)[:_NAMED])
    more = f" and {len(others) - _NAMED:,} more" if len(others) > _NAMED else ""
    return f"its agents do not get the SDK sessions {few}{more}: they were recorded before, and stay where they are"


def _valid(kind: Any, values: dict[str, Any]) -> Any:
    """Make an input of what a file says; the error names the place."""
    try:
        return kind.model_validate(values)
    except ValidationError as error:
        problems = error.errors(include_input=False, include_url=False)
        told = "; ".join(f"{'.'.join(map(str, each['loc']))}: {each['msg']}".removeprefix(": Value error, ") for each in problems)
        raise InvalidInput(f"state.json: {told}.") from None
