"""Memory files of a session."""

from typing import Any
from uuid import UUID

from sqlalchemy import select, update
from sqlalchemy.ext.asyncio import AsyncSession
from sqlmodel import col

from session_db.crud.locking import lock_session, lock_session_if_any
from session_db.crud.paging import Page, checked_limit, decode_cursor, page_of
from session_db.crud.rows import all_of, one_or_none
from session_db.database.violations import translated
from session_db.errors import InvalidInput
from session_db.models import MemoryFile, MemoryFileCreate, MemoryFileUpdate, Session
from session_db.models.table import now


async def create_memory_file(db: AsyncSession, memory_data: MemoryFileCreate) -> MemoryFile:
    """Add a memory file to a session; a primary one takes the flag from the one that had it.

    Raises:
        NotFound: there is no such session.
        AlreadyExists: the session has this path already.
    """
    session_id = memory_data.session_id
    await lock_session(db, session_id)
    memory_file = MemoryFile(**memory_data.model_dump())
    async with translated(db, session_id=session_id, file_path=memory_data.file_path):
        if memory_data.is_primary:
            await _clear_primary(db, session_id)
        db.add(memory_file)
    return memory_file


async def get_session_memory_files(db: AsyncSession, session_id: UUID, *, limit: int = 1000, cursor: str | None = None) -> Page[MemoryFile]:
    """Return the memory files of a session, the first added first."""
    checked_limit(limit)
    query = _live().where(col(MemoryFile.session_id) == session_id)
    if cursor is not None:
        query = query.where(col(MemoryFile.id) > decode_cursor(cursor, int)[0])
    return page_of(await all_of(db, query.order_by(col(MemoryFile.id)).limit(limit + 1)), limit, "id")


async def get_primary_memory_file(db: AsyncSession, session_id: UUID) -> MemoryFile | None:
    """Return the session's primary memory file, or None where it has none."""
    query = _live().where(col(MemoryFile.session_id) == session_id, col(MemoryFile.is_primary))
    primary: MemoryFile | None = await one_or_none(db, query)
    return primary


async def get_memory_file(db: AsyncSession, session_id: UUID, file_id: int) -> MemoryFile | None:
    """Return the session's memory file with this id, or None where it has none."""
    memory_file: MemoryFile | None = await one_or_none(db, _by_id(file_id, session_id))
    return memory_file


async def get_memory_file_by_path(db: AsyncSession, session_id: UUID, file_path: str) -> MemoryFile | None:
    """Return the session's memory file with this path, or None where it has none."""
    query = _live().where(col(MemoryFile.session_id) == session_id, col(MemoryFile.file_path) == file_path)
    memory_file: MemoryFile | None = await one_or_none(db, query)
    return memory_file


async def update_memory_file(
    db: AsyncSession, file_id: int, memory_update: MemoryFileUpdate, *, session_id: UUID | None = None
) -> MemoryFile | None:
    """Apply what was set, and return the memory file, or None where there is none. A new primary one takes the flag from the old.

    With a ``session_id`` a file of another session is none.

    Raises:
        AlreadyExists: the session has this path already.
        InvalidInput: a value is cleared.
    """
    memory_file = await _lock(db, file_id, session_id)
    if memory_file is None:
        return None
    changes: dict[str, Any] = memory_update.changes()
    for name, value in changes.items():
        if value is None:
            raise InvalidInput(f"{name} cannot be cleared; leave it out to keep it.", field=name)
    async with translated(db, session_id=memory_file.session_id, file_path=changes.get("file_path", memory_file.file_path)):
        if changes.get("is_primary"):
            await _clear_primary(db, memory_file.session_id)
        for name, value in changes.items():
            setattr(memory_file, name, value)
        memory_file.updated_at = now()
    return memory_file


async def delete_memory_file(db: AsyncSession, file_id: int, *, session_id: UUID | None = None) -> bool:
    """Take a memory file out of its session; return whether there was one. The file itself stays.

    With a ``session_id`` a file of another session is none.
    """
    memory_file = await _lock(db, file_id, session_id)
    if memory_file is None:
        return False
    await db.delete(memory_file)
    await db.flush()
    return True


async def _lock(db: AsyncSession, file_id: int, session_id: UUID | None) -> MemoryFile | None:
    """Return the memory file as it is now, its session locked until the transaction ends."""
    query = _by_id(file_id, session_id)
    memory_file: MemoryFile | None = await one_or_none(db, query)
    if memory_file is None or await lock_session_if_any(db, memory_file.session_id) is None:
        return None
    # Read again: it may have changed, or gone, while this one waited for the lock.
    present: MemoryFile | None = await one_or_none(db, query)
    return present


def _by_id(file_id: int, session_id: UUID | None) -> Any:
    query = _live().where(col(MemoryFile.id) == file_id)
    return query if session_id is None else query.where(col(MemoryFile.session_id) == session_id)


def _live() -> Any:
    return select(MemoryFile).join(Session, col(Session.id) == col(MemoryFile.session_id)).where(col(Session.deleted_at).is_(None))


async def _clear_primary(db: AsyncSession, session_id: UUID) -> None:
    cleared = update(MemoryFile).where(col(MemoryFile.session_id) == session_id, col(MemoryFile.is_primary))
    await db.execute(cleared.values(is_primary=False, updated_at=now()).execution_options(synchronize_session="fetch"))
