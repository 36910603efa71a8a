"""What the folder of a session shows of it: a change of that raises ``workspace_version`` in the same transaction.

SQLAlchemy tells here of every row that it inserts or changes, whoever asked for it. ``move`` and who else changes rows by a statement
calls this module by itself.
"""

import importlib
from collections.abc import Collection
from functools import partial
from typing import Any
from uuid import UUID

from sqlalchemy import Connection, case, event, inspect, update
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import Mapper, object_session
from sqlalchemy.orm import Session as SyncSession
from sqlmodel import col

from session_db.database.unit_of_work import after_commit, forget_after_commit
from session_db.models import Agent, Session

_OF_SESSION = frozenset({"session_slug", "title", "description", "session_type", "status", "metadata_", "total_cost"})
_OF_AGENT = frozenset(
    {"agent_type", "status", "sdk_session_id", "model", "checkpoint_id", "cost", "started_at", "completed_at", "parent_agent_id"}
)

_WRITER = "session_db.workspace.writing"
"""Who writes folders. It stands above this layer, and is imported when there is something to write."""

_RAISED = case((col(Session.workspace_version) > 0, col(Session.workspace_version) + 1), else_=0)


def raised_by(table: type[Any], changed: Collection[str]) -> dict[str, Any]:
    """Return what else a statement has to set that changes these columns of a row of this table."""
    return {"workspace_version": _RAISED} if table is Session and not _OF_SESSION.isdisjoint(changed) else {}


async def raise_version(db: AsyncSession, session_id: UUID) -> None:
    """Note that a statement changed what the folder of a session shows. The caller holds the session's lock."""
    await db.run_sync(lambda session: _raise(session, session.connection(), session_id))


def note_behind(session: SyncSession, session_id: UUID, *, is_new: bool = False) -> None:
    """Let the folder be written, or made, when the unit of work has committed."""
    after_commit(session, ("workspace", session_id), partial(_write, session_id, is_new=is_new))


def forget_behind(session: SyncSession, session_id: UUID) -> None:
    """Let nobody write the folder after the commit: the caller does."""
    forget_after_commit(session, ("workspace", session_id))


async def _write(session_id: UUID, *, is_new: bool) -> None:
    await importlib.import_module(_WRITER).write_after_commit(session_id, is_new=is_new)


def _raise(session: SyncSession, connection: Connection, session_id: UUID) -> None:
    known = session.identity_map.get(inspect(Session).identity_key_from_primary_key((session_id,)))
    if known is not None and "workspace_version" in known.__dict__ and not known.workspace_version:
        return
    table = Session.__table__  # type: ignore[attr-defined]
    has_folder = (table.c.id == session_id, table.c.workspace_version > 0)
    raised: Any = connection.execute(update(table).where(*has_folder).values(workspace_version=table.c.workspace_version + 1))
    if raised.rowcount:
        note_behind(session, session_id)


@event.listens_for(Session, "after_update")
def _session_changed(_mapper: Mapper[Any], connection: Connection, session: Session) -> None:
    _row_changed(connection, session, session.id, _OF_SESSION)


@event.listens_for(Agent, "after_insert")
@event.listens_for(Agent, "after_update")
def _agent_changed(_mapper: Mapper[Any], connection: Connection, agent: Agent) -> None:
    _row_changed(connection, agent, agent.session_id, _OF_AGENT)


def _row_changed(connection: Connection, row: Any, session_id: UUID, shown: Collection[str]) -> None:
    attributes = inspect(row).attrs
    session = object_session(row)
    if session is not None and any(attributes[name].history.has_changes() for name in shown):
        _raise(session, connection, session_id)
