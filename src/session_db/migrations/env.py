"""Alembic's entry: on the connection that ``init_db`` hands over, or on one of its own."""

import asyncio
from typing import Any, Literal

from alembic import context
from sqlalchemy import Connection, text
from sqlmodel import AutoString

from session_db.database.connection import create_engine
from session_db.database.schema import VERSION_TABLE, prepare_schema
from session_db.models import METADATA
from session_db.models.table import ForeignJSON, OwnJSON, UtcDateTime
from session_db.settings import get_settings


def _ours(name: str | None, kind: str, _parents: object) -> bool:
    """Leave other tables of a shared database alone."""
    return kind != "table" or name in METADATA.tables


def _plain_type(kind: str, item: Any, _context: object) -> str | Literal[False]:
    """Write PostgreSQL's own types into a migration: it must not change when a class of ours does."""
    if kind != "type":
        return False
    if isinstance(item, UtcDateTime):
        return "sa.TIMESTAMP(timezone=True)"
    if isinstance(item, ForeignJSON):
        return "postgresql.JSON()"
    if isinstance(item, OwnJSON):
        return "postgresql.JSONB()"
    if isinstance(item, AutoString):
        return f"sa.String({item.length})"
    return False


def _migrate(connection: Connection) -> None:
    context.configure(
        connection=connection,
        target_metadata=METADATA,
        version_table=VERSION_TABLE,
        include_name=_ours,
        compare_server_default=True,
        render_item=_plain_type,
        transaction_per_migration=False,
    )
    with context.begin_transaction():
        context.run_migrations()
        if not context.get_context().get_current_heads():
            # Alembic keeps an empty one; a database without our tables holds nothing of ours.
            connection.execute(text(f"DROP TABLE IF EXISTS {VERSION_TABLE}"))


async def _migrate_on_own_connection() -> None:
    engine = create_engine(get_settings(), pooled=False)
    try:
        async with engine.begin() as connection:
            await prepare_schema(connection)
            await connection.run_sync(_migrate)
    finally:
        await engine.dispose()


given = context.config.attributes.get("connection")
if given is not None:
    _migrate(given)
else:
    asyncio.run(_migrate_on_own_connection())
