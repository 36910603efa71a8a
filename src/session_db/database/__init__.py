"""The database: engine, the one unit of work, tables, errors, and the embedded PostgreSQL.

``engine`` and ``DatabaseSession`` are made at first use: the one needs the settings, the other FastAPI.
"""

from typing import TYPE_CHECKING, Any

from session_db.database.connection import close_db, get_engine
from session_db.database.schema import (
    RevisionChange,
    current_revision,
    database_facts,
    downgrade_db,
    head,
    init_db,
    reset_db,
    upgrade_db,
)
from session_db.database.unit_of_work import UncommittedWarning, UnitOfWork, async_session, get_async_session, get_session, in_transaction

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncEngine

    from session_db.database.dependency import DatabaseSession

    engine: AsyncEngine

__all__ = [
    "DatabaseSession", "RevisionChange", "UncommittedWarning", "UnitOfWork", "async_session", "close_db", "current_revision",
    "database_facts", "downgrade_db", "get_async_session", "get_engine", "get_session", "head", "in_transaction", "init_db", "reset_db",
    "upgrade_db",
]  # fmt: skip


def __getattr__(name: str) -> Any:
    if name == "engine":
        return get_engine()
    if name == "DatabaseSession":
        from session_db.database.dependency import DatabaseSession  # noqa: PLC0415  costs half a second that few callers need

        return DatabaseSession
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
