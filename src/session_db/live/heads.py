"""Heads: what a live reader has to know of a session, read for many sessions at once."""

from collections.abc import Collection
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from sqlalchemy import BigInteger, Uuid, any_, case, cast, func, literal, literal_column, select
from sqlalchemy import Text as SQLText
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.ext.asyncio import AsyncSession
from sqlmodel import col

from session_db.models import SDKSession, Session, SessionRead

GONE = 0
"""The version of a session that was deleted, or that never was."""

_VERSION = case(
    # It changes with each change of the row, whoever makes it.
    (col(Session.deleted_at).is_(None), cast(cast(literal_column("sessions.xmin"), SQLText), BigInteger)),
    else_=GONE,
).label("version")


@dataclass(frozen=True)
class Head:
    """A session as it stands now.

    Attributes:
        session_id: its id.
        event_count: the next ``event_index``; 0 where it is gone.
        message_count: the next ``message_index``; 0 where it is gone.
        session: the session, or None where it was deleted or never was.
        moved_to: the session that its rows went to, where an agent adopted it.
        version: another one after each change of the row.
    """

    session_id: UUID
    event_count: int = 0
    message_count: int = 0
    session: SessionRead | None = None
    moved_to: UUID | None = None
    version: int = GONE

    @property
    def is_deleted(self) -> bool:
        """Whether it is gone: deleted, moved into another one, or never there."""
        return self.session is None


async def read_heads(db: AsyncSession, session_ids: Collection[UUID]) -> dict[UUID, Head]:
    """Return the head of each session. Costs one statement, and a second one where some are gone."""
    # SQLAlchemy cannot load a session whose metadata are no object, as only a repair by hand leaves them; it must not hide the others.
    query = select(Session, _VERSION).where(
        _is_one_of(Session.id, session_ids),
        col(Session.deleted_at).is_(None),
        func.jsonb_typeof(col(Session.metadata_)) == "object",
    )
    heads = {session.id: _head(session, version) for session, version in await db.execute(query)}
    gone = [session_id for session_id in session_ids if session_id not in heads]
    moved = await _read_moves(db, gone) if gone else {}
    return heads | {session_id: Head(session_id, moved_to=moved.get(session_id)) for session_id in gone}


def _head(session: Session, version: int) -> Head:
    read = SessionRead.model_validate(session)
    return Head(session.id, session.event_count, session.message_count, read, version=version)


async def _read_moves(db: AsyncSession, session_ids: Collection[UUID]) -> dict[UUID, UUID]:
    """Return where the rows of adopted sessions went."""
    query = select(col(SDKSession.moved_from), col(SDKSession.session_id))
    moved = await db.execute(query.where(_is_one_of(SDKSession.moved_from, session_ids), col(SDKSession.session_id).is_not(None)))
    return {source: target for source, target in moved.all() if source is not None and target is not None}


async def read_versions(db: AsyncSession, session_ids: Collection[UUID]) -> dict[UUID, int]:
    """Return the versions of these sessions; those that never were are left out."""
    versions = await db.execute(select(col(Session.id), _VERSION).where(_is_one_of(Session.id, session_ids)))
    return {row.id: row.version for row in versions}


async def read_last_active(db: AsyncSession, limit: int) -> dict[UUID, int]:
    """Return the versions of the sessions in which something happened last."""
    newest_first = (col(Session.last_activity).desc(), col(Session.id).desc())
    versions = await db.execute(select(col(Session.id), _VERSION).order_by(*newest_first).limit(limit))
    return {row.id: row.version for row in versions}


def _is_one_of(column: Any, session_ids: Collection[UUID]) -> Any:
    # One parameter, however many there are: so it stays one statement to the server.
    return col(column) == any_(literal(list(session_ids), ARRAY(Uuid())))
