"""Presence: chat clients that are connected now. A chat is active while it has one, and idle after the last."""

from collections.abc import Iterable
from datetime import timedelta
from typing import Any
from uuid import UUID

from sqlalchemy import ColumnElement, Uuid, delete, func, select, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession
from sqlmodel import col

from session_db.crud.locking import lock_session, lock_session_if_any
from session_db.crud.rows import one_of, run
from session_db.crud.sessions import update_session_status
from session_db.errors import Conflict
from session_db.ids import new_id
from session_db.models import Presence

LEASE_SECONDS = 60
"""How long a client counts as connected without being renewed."""


async def create_presence(db: AsyncSession, session_id: UUID, *, worker: str, lease_seconds: float = LEASE_SECONDS) -> Presence:
    """Note that a client is connected to a session; an idle chat becomes active, a workflow session keeps its status.

    Raises:
        NotFound: there is no such session.
        Conflict: the chat is terminated.
    """
    session = await lock_session(db, session_id)
    if session.status == "terminated":
        raise Conflict(
            f"session {session_id} is terminated; set its status to active to go on with it, or create another one with "
            f"resumed_from={session_id}.",
            session_id=session_id,
            status=session.status,
        )
    # Only a chat may be idle, active or terminated.
    if session.status == "idle":
        await update_session_status(db, session_id, "active")
    values = {"connection_id": new_id(), "session_id": session_id, "worker": worker, "expires_at": _after(lease_seconds)}
    connected: Presence = (await run(db, insert(Presence).values(values).returning(Presence))).scalar_one()
    return connected


async def renew_presence(db: AsyncSession, connection_ids: Iterable[UUID], *, lease_seconds: float = LEASE_SECONDS) -> set[UUID]:
    """Renew the leases of connections in one statement, and return which of them there were; connect the others anew."""
    renewed = update(Presence).where(col(Presence.connection_id) == one_of(connection_ids, Uuid())).values(expires_at=_after(lease_seconds))
    quiet = renewed.returning(col(Presence.connection_id)).execution_options(synchronize_session=False)
    return set((await run(db, quiet)).scalars())


async def delete_presence(db: AsyncSession, connection_id: UUID) -> bool:
    """Note that a client is gone, and return whether it was there; after the last one an active chat becomes idle."""
    this = col(Presence.connection_id) == connection_id
    session_id = await db.scalar(select(col(Presence.session_id)).where(this))
    return session_id is not None and await _end_leases(db, session_id, this) > 0


async def delete_expired_presence(db: AsyncSession, limit: int = 100) -> int:
    """End leases that nobody renewed, and return how many; call it, and commit, until it returns 0.

    Any number of hosts may do it at once: the lock of a session decides, one session after the other in the order of their ids.
    """
    expired = select(col(Presence.session_id)).where(_is_expired()).order_by(col(Presence.expires_at)).limit(limit)
    session_ids = set((await run(db, expired)).scalars())
    return sum([await _end_leases(db, session_id, _is_expired()) for session_id in sorted(session_ids)])


async def _end_leases(db: AsyncSession, session_id: UUID, which: ColumnElement[bool]) -> int:
    """Delete leases of a session, and return how many; a chat that has none left is idle."""
    session = await lock_session_if_any(db, session_id)
    deleted = delete(Presence).where(col(Presence.session_id) == session_id, which).execution_options(synchronize_session=False)
    ended: Any = await db.execute(deleted)
    if ended.rowcount and session is not None and session.status == "active" and not await _has_clients(db, session_id):
        await update_session_status(db, session_id, "idle")
    return int(ended.rowcount)


async def _has_clients(db: AsyncSession, session_id: UUID) -> bool:
    living = select(col(Presence.connection_id)).where(col(Presence.session_id) == session_id, ~_is_expired())
    return await db.scalar(living.limit(1)) is not None


def _is_expired() -> ColumnElement[bool]:
    return col(Presence.expires_at) <= func.now()


def _after(seconds: float) -> ColumnElement[Any]:
    # The database's clock: those of the hosts differ, and a transaction may have waited for its lock.
    return func.clock_timestamp() + timedelta(seconds=seconds)
