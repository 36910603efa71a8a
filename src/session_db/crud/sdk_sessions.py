"""Which session an agent SDK's session belongs to."""

from collections.abc import Collection
from datetime import timedelta
from typing import Any, Literal
from uuid import UUID

from sqlalchemy import Uuid, delete, select, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession
from sqlmodel import col

from session_db.crud.adopting import adopt_session
from session_db.crud.locking import lock_session, lock_session_if_any
from session_db.crud.rows import one_of
from session_db.errors import Conflict
from session_db.ids import derived_id
from session_db.models import Agent, SDKSession
from session_db.models.table import now

BoundBy = Literal["auto", "environment", "recorder", "agent"]

TOMBSTONE_AGE = timedelta(days=400)
"""How long it is remembered that a session was deleted."""

TOMBSTONES_A_BATCH = 1_000


def sdk_key(sdk_session_id: str, project_key: str = "") -> str:
    """Return the key of an SDK session: its id where that is a UUID and so unique, else behind its project."""
    # However it is written: of a deleted session another spelling would be a new one.
    return str(_uuid(sdk_session_id) or f"{project_key}/{sdk_session_id}")


def session_id_of(sdk_session_id: str, project_key: str = "") -> UUID:
    """Return the id that a session of its own would get."""
    return _uuid(sdk_session_id) or derived_id(project_key, sdk_session_id)


def main_agent_id(session_id: UUID, sdk_session_id: str) -> UUID:
    """Return the id of the agent that runs an SDK session, where nobody gave it one."""
    return derived_id(session_id, "main", sdk_session_id)


def _uuid(text: str) -> UUID | None:
    try:
        return UUID(text) if len(text) == len(str(UUID(int=0))) else None
    except ValueError:
        return None


async def get_sdk_session(db: AsyncSession, key: str) -> SDKSession | None:
    """Return the binding of an SDK session, or its tombstone, or None where it is unknown."""
    query = select(SDKSession).where(col(SDKSession.sdk_key) == key).execution_options(populate_existing=True)
    return (await db.execute(query)).scalar_one_or_none()


async def bind_sdk_session(db: AsyncSession, key: str, session_id: UUID, agent_id: UUID, bound_by: BoundBy) -> tuple[SDKSession, bool]:
    """Bind an SDK session, unless it is bound or a tombstone, and return what holds, and whether this call made it.

    Where another transaction is about to bind it, it is waited for.
    """
    fresh = insert(SDKSession).values(sdk_key=key, session_id=session_id, agent_id=agent_id, bound_by=bound_by)
    made = await db.execute(fresh.on_conflict_do_nothing(index_elements=["sdk_key"]).returning(col(SDKSession.sdk_key)))
    is_new = made.first() is not None
    binding = await get_sdk_session(db, key)
    assert binding is not None  # noqa: S101  inserted above, or found by the insert
    return binding, is_new


async def leave_tombstones(db: AsyncSession, session_ids: Collection[UUID]) -> None:
    """Remember that sessions were deleted, so that neither an import nor a late event brings them back."""
    values = {"session_id": None, "agent_id": None, "deleted_at": now()}
    bound = update(SDKSession).where(col(SDKSession.session_id) == one_of(session_ids, Uuid)).values(**values)
    await db.execute(bound.execution_options(synchronize_session=False))
    # An SDK session of this id may never have been bound to it; what it tells later must not bring it back.
    own = insert(SDKSession).values([{"sdk_key": str(session_id), "bound_by": "auto"} | values for session_id in session_ids])
    await db.execute(own.on_conflict_do_nothing(index_elements=["sdk_key"]))


async def lift_tombstone(db: AsyncSession, key: str) -> None:
    """Forget that the session of this SDK session was deleted, so that it can be recorded anew."""
    await db.execute(delete(SDKSession).where(col(SDKSession.sdk_key) == key, col(SDKSession.session_id).is_(None)))


def is_old(tombstone: SDKSession) -> bool:
    """Say whether a tombstone no longer keeps an import from bringing its session back."""
    return tombstone.deleted_at is not None and tombstone.deleted_at < now() - TOMBSTONE_AGE


async def delete_old_tombstones(db: AsyncSession) -> int:
    """Delete one batch of tombstones that are too old, and return how many; call it until it returns 0.

    Costs a walk over all tombstones, one for each session that was deleted.
    """
    old = (col(SDKSession.session_id).is_(None), col(SDKSession.deleted_at) < now() - TOMBSTONE_AGE)
    some = select(col(SDKSession.sdk_key)).where(*old).limit(TOMBSTONES_A_BATCH)
    # Asked again of the row itself: an agent may have brought the session back in the meantime.
    deleted: Any = await db.execute(
        delete(SDKSession).where(col(SDKSession.sdk_key).in_(some), *old).execution_options(synchronize_session=False)
    )
    return int(deleted.rowcount)


async def lock_for_agent(db: AsyncSession, session_id: UUID, sdk_session_id: str | None) -> None:
    """Lock an agent's session, and before or after it, in the order of their ids, the one that it will adopt.

    Raises:
        NotFound: the agent's session does not exist, or was deleted.
    """
    binding = await get_sdk_session(db, sdk_key(sdk_session_id)) if sdk_session_id else None
    if binding is not None and binding.session_id is not None and binding.bound_by == "auto" and binding.session_id < session_id:
        await lock_session_if_any(db, binding.session_id)
    await lock_session(db, session_id)


async def bind_agent(db: AsyncSession, agent: Agent) -> None:
    """Let the events of an agent's SDK session go to it; a session that was made for it by itself is adopted.

    The caller holds the lock that ``lock_for_agent`` took.

    Raises:
        Conflict: somebody recorded the SDK session in another session on purpose.
    """
    if agent.sdk_session_id is None:
        return
    key = sdk_key(agent.sdk_session_id)
    binding, _ = await bind_sdk_session(db, key, agent.session_id, agent.id, "agent")
    adopted = None
    if binding.session_id not in (None, agent.session_id) and binding.bound_by == "auto":
        adopted = await lock_session_if_any(db, binding.session_id)
        # While this waited for the lock it may have been adopted by another agent, or deleted.
        binding = await get_sdk_session(db, key) or binding
    # A tombstone ends here: the agent is alive.
    bound_by = "agent" if binding.session_id is None else binding.bound_by
    if binding.session_id not in (None, agent.session_id):
        target = await lock_session(db, agent.session_id)
        if adopted is None or adopted.session_type != "chat" or target.session_type == "chat":
            raise Conflict(
                f"SDK session {agent.sdk_session_id} is recorded in session {binding.session_id}; "
                "give the agent to that session, or delete it first.",
                sdk_session_id=agent.sdk_session_id,
                session_id=binding.session_id,
            )
        await adopt_session(db, adopted, main_agent_id(adopted.id, agent.sdk_session_id), agent)
        bound_by = "agent"
    values = {"session_id": agent.session_id, "agent_id": agent.id, "deleted_at": None, "bound_by": bound_by}
    await db.execute(update(SDKSession).where(col(SDKSession.sdk_key) == key).values(values).execution_options(synchronize_session=False))
