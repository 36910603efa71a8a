"""Workspaces: what the folder of a session shows, and which folders are behind."""

from collections.abc import Collection, Mapping
from typing import Any, NamedTuple
from uuid import UUID

from sqlalchemy import or_, select, update
from sqlalchemy.ext.asyncio import AsyncSession
from sqlmodel import col

from session_db.crud.agent_logs import get_phases
from session_db.crud.rows import all_of, one_of, one_or_none, run
from session_db.crud.showing import forget_behind
from session_db.models import Agent, AgentLog, SDKSession, Session
from session_db.models.sessions import normalised_directory

AGENTS_SHOWN = 500
PHASES_SHOWN = 200
"""How many a folder shows, the last ones."""


class Shown(NamedTuple):
    """What a folder shows: the session, the agents that no other agent started, and its changes of status."""

    session: Session
    agents: list[Agent]
    phases: list[AgentLog]


class Place(NamedTuple):
    """Where the folder of a session is, and whether it is behind."""

    id: UUID
    working_dir: str
    session_slug: str
    workspace_version: int
    workspace_synced_version: int


_PLACE = [getattr(Session, name) for name in Place._fields]
_HAS_PLACE = (col(Session.deleted_at).is_(None), col(Session.session_slug).is_not(None), col(Session.workspace_version) > 0)
_IS_BEHIND = col(Session.workspace_version) > col(Session.workspace_synced_version)


async def get_shown(db: AsyncSession, session: Session) -> Shown:
    """Return what the folder of a session shows now, and let nobody else write that. The caller holds the session's lock."""
    await db.flush()
    forget_behind(db.sync_session, session.id)
    found = select(Session).where(col(Session.id) == session.id)
    agents = select(Agent).where(col(Agent.session_id) == session.id, col(Agent.parent_agent_id).is_(None))
    newest = agents.order_by(col(Agent.created_at).desc(), col(Agent.id).desc()).limit(AGENTS_SHOWN)
    return Shown(await one_or_none(db, found), (await all_of(db, newest))[::-1], await get_phases(db, session.id, PHASES_SHOWN))


async def get_place(db: AsyncSession, session_id: UUID) -> Place | None:
    """Return where the folder of a session is, or None where it has none."""
    row = (await run(db, select(*_PLACE).where(col(Session.id) == session_id, *_HAS_PLACE))).first()
    return None if row is None else Place(*row)


async def list_places(db: AsyncSession, working_dir: str, *, after: str = "", limit: int = 500) -> list[Place]:
    """Return the folders of a project, by their names from ``after`` on."""
    here = (col(Session.working_dir) == normalised_directory(working_dir), col(Session.session_slug) > after)
    query = select(*_PLACE).where(*here, *_HAS_PLACE).order_by(col(Session.session_slug)).limit(limit)
    return [Place(*row) for row in await run(db, query)]


async def list_behind(db: AsyncSession, below: Collection[str], *, after: UUID | None = None, limit: int = 100) -> list[Place]:
    """Return folders at or below these directories that do not show the last change, in the order of their ids."""
    at = [col(Session.working_dir) == directory for directory in below]
    inside = [col(Session.working_dir).startswith(f"{directory.rstrip('/')}/", autoescape=True) for directory in below]
    query = select(*_PLACE).where(_IS_BEHIND, *_HAS_PLACE, or_(*at, *inside))
    if after is not None:
        query = query.where(col(Session.id) > after)
    return [Place(*row) for row in await run(db, query.order_by(col(Session.id)).limit(limit))]


async def list_sdk_sessions(db: AsyncSession, keys: Collection[str]) -> list[SDKSession]:
    """Return which of these SDK sessions are known, those of deleted sessions among them."""
    known: list[SDKSession] = await all_of(db, select(SDKSession).where(col(SDKSession.sdk_key) == one_of(keys)))
    return known


async def note_synced(db: AsyncSession, session_id: UUID, version: int, marks: Mapping[str, Any] | None = None) -> None:
    """Note that the folder shows this version, and so its state.json the edits that were made there, but those that are marked."""
    here = (col(Session.id) == session_id, col(Session.workspace_synced_version) <= version)
    synced = update(Session).where(*here).values(workspace_synced_version=version, workspace_edits=marks or None)
    await db.execute(synced.execution_options(synchronize_session=False))
