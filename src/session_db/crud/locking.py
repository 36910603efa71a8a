"""The lock that every writer under a session takes first."""

from collections.abc import Iterable
from uuid import UUID

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession
from sqlmodel import col

from session_db.crud.rows import one_or_none
from session_db.errors import NotFound
from session_db.live import note_changed
from session_db.models import Session


async def lock_session(db: AsyncSession, session_id: UUID) -> Session:
    """Lock one session until the transaction ends and return it as it is now.

    Raises:
        NotFound: there is none, or it was deleted.
    """
    return (await lock_sessions(db, [session_id]))[session_id]


async def lock_sessions(db: AsyncSession, session_ids: Iterable[UUID]) -> dict[UUID, Session]:
    """Lock sessions until the transaction ends and return them as they are now.

    They are locked in the order of their ids, so that writers of several sessions cannot wait for each other in a circle. The lock
    lets others insert children (``FOR NO KEY UPDATE``), one statement a session, as a cluster asks for. Look for existing keys only
    in a later statement: this one's snapshot is older than the lock that it waited for.

    Raises:
        NotFound: one does not exist, or was deleted.
    """
    locked: dict[UUID, Session] = {}
    for session_id in sorted(set(session_ids)):
        session = await lock_session_if_any(db, session_id)
        if session is None:
            raise NotFound(f"there is no session {session_id}.", session_id=session_id)
        locked[session_id] = session
    return locked


async def lock_session_if_any(db: AsyncSession, session_id: UUID) -> Session | None:
    """Lock one session until the transaction ends and return it as it is now, or None where there is none or it was deleted."""
    query = select(Session).where(col(Session.id) == session_id, col(Session.deleted_at).is_(None)).with_for_update(key_share=True)
    session: Session | None = await one_or_none(db, query)
    if session is not None:
        # Whoever locks it is about to change it.
        note_changed(db, session_id)
    return session
