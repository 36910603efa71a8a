"""Tables: made, brought up to date and dropped, by one process at a time."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sqlalchemy import Connection, text
from sqlalchemy.ext.asyncio import AsyncConnection

from session_db.database.connection import create_engine
from session_db.errors import Conflict
from session_db.models import METADATA
from session_db.models.memory_files import MEMORY_FILE_IDS
from session_db.models.messages import MESSAGE_IDS
from session_db.settings import get_settings

if TYPE_CHECKING:
    from alembic.config import Config

MIGRATIONS = Path(__file__).parents[1] / "migrations"
VERSION_TABLE = "session_db_version"
_LOCK = "SELECT pg_advisory_xact_lock(hashtextextended('session_db schema ' || current_schema(), 0))"


async def init_db() -> None:
    """Make all tables, or bring them up to date.

    Many processes may call it at once: one works, the others wait and find it done.

    Raises:
        Conflict: the database holds somebody else's ``sessions`` table, or another one of ours by name; or its tables are of a newer
            session-db than this one. Nothing is changed.
    """
    engine = create_engine(get_settings(), pooled=False)
    try:
        async with engine.connect() as connection:
            if await _version(connection) == head():
                return
        async with engine.begin() as connection:
            await prepare_schema(connection)
            await connection.run_sync(_upgrade)
    finally:
        await engine.dispose()


async def reset_db() -> None:
    """Drop all tables of ours with everything in them and make them anew. WARNING: deletes all data."""
    engine = create_engine(get_settings(), pooled=False)
    try:
        async with engine.begin() as connection:
            await prepare_schema(connection)
            await connection.run_sync(_drop)
            await connection.run_sync(_upgrade)
    finally:
        await engine.dispose()


@dataclass(frozen=True)
class DatabaseFacts:
    """What the server says of itself."""

    version: str
    size_bytes: int


async def database_facts() -> DatabaseFacts:
    """Ask the server what it is. Costs a walk over the database's files."""
    engine = create_engine(get_settings(), pooled=False)
    try:
        async with engine.connect() as connection:
            row = (await connection.execute(text("SELECT current_setting('server_version'), pg_database_size(current_database())"))).one()
            return DatabaseFacts(version=row[0], size_bytes=row[1])
    finally:
        await engine.dispose()


async def current_revision() -> str | None:
    """Return the revision of the tables, or None where there are none."""
    engine = create_engine(get_settings(), pooled=False)
    try:
        async with engine.connect() as connection:
            return await _version(connection)
    finally:
        await engine.dispose()


def head() -> str:
    """Return the newest revision that this package has; their files are numbered."""
    return max(_revisions())


def _revisions() -> set[str]:
    return {path.name.partition("_")[0] for path in (MIGRATIONS / "versions").glob("[0-9]*.py")}


def alembic_config(**attributes: Any) -> "Config":
    """Return Alembic's configuration for the migrations in this package."""
    # Alembic takes a fifth of a second to import, and most processes find their tables up to date.
    from alembic.config import Config  # noqa: PLC0415

    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS).replace("%", "%%"))
    config.attributes.update(attributes)
    return config


async def prepare_schema(connection: AsyncConnection) -> None:
    """Keep other processes from changing the tables until the transaction ends, and make sure that those in our place are ours.

    Raises:
        Conflict: they are somebody else's, or of a newer session-db.
    """
    schema = get_settings().schema_name
    if schema is not None and not await connection.scalar(text("SELECT to_regnamespace(:name)"), {"name": f'"{schema}"'}):
        # IF NOT EXISTS still collides with another process that creates it now; the lock must name something that exists.
        await connection.execute(text("SELECT pg_advisory_xact_lock(hashtextextended('session_db create schema', 0))"))
        await connection.execute(text(f'CREATE SCHEMA IF NOT EXISTS "{schema}"'))
    await connection.execute(text(_LOCK))
    version = await _version(connection)
    if version is None:
        await _refuse_foreign(connection)
    elif version not in _revisions():
        raise Conflict(
            f"the tables are of revision {version}, which this session-db does not know (its newest is {head()}): upgrade session-db.",
            revision=version,
        )


async def _refuse_foreign(connection: AsyncConnection) -> None:
    names = {"names": sorted([*METADATA.tables, MESSAGE_IDS.name, MEMORY_FILE_IDS.name])}
    found = await connection.scalars(
        text("SELECT name FROM unnest(CAST(:names AS text[])) name WHERE to_regclass(quote_ident(name)) IS NOT NULL"), names
    )
    foreign = found.all()
    if foreign:
        raise Conflict(
            f"this database already has tables or sequences that are not session-db's: {', '.join(foreign)}; nothing was changed. "
            "Set SESSION_DB_SCHEMA to a schema of its own (SESSION_DB_SCHEMA=session_db), or SESSION_DB_URL to another database.",
            tables=foreign,
        )


async def _version(connection: AsyncConnection) -> str | None:
    if not await connection.scalar(text("SELECT to_regclass(:name)"), {"name": VERSION_TABLE}):
        return None
    revision: str | None = await connection.scalar(text(f"SELECT version_num FROM {VERSION_TABLE}"))
    return revision


def _upgrade(connection: Connection) -> None:
    from alembic import command  # noqa: PLC0415  see alembic_config

    command.upgrade(alembic_config(connection=connection), "head")


def _drop(connection: Connection) -> None:
    METADATA.drop_all(connection)
    connection.execute(text(f"DROP TABLE IF EXISTS {VERSION_TABLE}"))
