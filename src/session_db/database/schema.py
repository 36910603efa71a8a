"""Tables: made, brought up to date and dropped, by one process at a time."""

import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from sqlalchemy import Connection, text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncConnection

from session_db.database.connection import create_engine
from session_db.errors import Conflict, InvalidInput
from session_db.models import METADATA
from session_db.models.memory_files import MEMORY_FILE_IDS
from session_db.models.messages import MESSAGE_IDS
from session_db.settings import get_settings

if TYPE_CHECKING:
    from alembic.config import Config

MIGRATIONS = Path(__file__).parents[1] / "migrations"
VERSION_TABLE = "session_db_version"
_LOCK = "SELECT pg_advisory_xact_lock(hashtextextended('session_db schema ' || current_schema(), 0))"
_STILL_REFERRED_TO = "2BP01"


async def init_db() -> None:
    """Make all tables, or bring them up to date.

    Many processes may call it at once: one works, the others wait and find it done.

    Raises:
        Conflict: the database holds somebody else's ``sessions`` table, or another one of ours by name; or its tables are of a newer
            session-db than this one. Nothing is changed.
    """
    # Without the lock: this is what nearly every call finds.
    if await current_revision() != head():
        await upgrade_db()


async def reset_db() -> None:
    """Drop all tables of ours with everything in them and make them anew. WARNING: deletes all data.

    Raises:
        Conflict: as ``init_db``; or a table of somebody else refers to one of ours. Nothing is changed.
    """
    async with changing_tables() as connection:
        await connection.run_sync(drop_tables)
        await connection.run_sync(migrate, "upgrade", "head")


class RevisionChange(NamedTuple):
    """The revision that the tables had, and the one that they have; None: there are no tables."""

    before: str | None
    after: str | None


async def upgrade_db(revision: str = "head") -> RevisionChange:
    """Bring the tables to a revision that is not older than theirs.

    Raises:
        InvalidInput: there is no such revision.
        Conflict: as ``init_db``; or the tables are newer than that.
    """
    target = _target(revision, "head")
    async with changing_tables() as connection:
        before = await table_revision(connection)
        if before is not None and before > target:
            raise Conflict(f"the tables are of revision {before}, newer than {target}: session-db downgrade {target}.", revision=before)
        await connection.run_sync(migrate, "upgrade", target)
    return RevisionChange(before, target)


async def downgrade_db(revision: str) -> RevisionChange:
    """Bring the tables back to a revision; ``base`` leaves none of ours. WARNING: deletes what newer columns and tables hold.

    Raises:
        InvalidInput: there is no such revision.
        Conflict: as ``init_db``; or the tables are older than that, or a table of somebody else refers to one that would go.
    """
    target = _target(revision, "base")
    async with changing_tables() as connection:
        before = await table_revision(connection)
        if target != "base" and (before is None or before < target):
            state = "there are no tables" if before is None else f"the tables are of revision {before}, older than {target}"
            raise Conflict(f"{state}: session-db upgrade {target}.", revision=before)
        await connection.run_sync(migrate, "downgrade", target)
    return RevisionChange(before, None if target == "base" else target)


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
            return await table_revision(connection)
    finally:
        await engine.dispose()


def head() -> str:
    """Return the newest revision that this package has; their files are numbered."""
    return max(known_revisions())


def known_revisions() -> set[str]:
    """Return the revisions that this package can make and bring up to date."""
    return {path.name.partition("_")[0] for path in (MIGRATIONS / "versions").glob("[0-9]*.py")}


def _target(revision: str, end: Literal["head", "base"]) -> str:
    """Return the revision to go to; they are in order, so they can be compared."""
    if revision == end:
        return head() if end == "head" else end
    known = sorted(known_revisions())
    if revision not in known:
        raise InvalidInput(f"there is no revision {revision!r}; use {', '.join(known)} or {end}.", revision=revision)
    return revision


def alembic_config(**attributes: Any) -> "Config":
    """Return Alembic's configuration for the migrations in this package."""
    # Alembic takes a fifth of a second to import, and most processes find their tables up to date.
    from alembic.config import Config  # noqa: PLC0415

    # Its default is what standard output was when Alembic was imported.
    config = Config(stdout=sys.stdout)
    config.set_main_option("script_location", str(MIGRATIONS).replace("%", "%%"))
    config.attributes.update(attributes)
    return config


@asynccontextmanager
async def changing_tables(*, patience: str = "0") -> AsyncIterator[AsyncConnection]:
    """Give a connection whose transaction alone may change our tables; what fails changes nothing.

    ``patience`` is how long it waits for a lock that somebody else has, in PostgreSQL's words; 0: as long as it takes.
    """
    engine = create_engine(get_settings(), pooled=False)
    try:
        async with engine.begin() as connection:
            await connection.execute(text(f"SET LOCAL lock_timeout = '{patience}'"))
            await prepare_schema(connection)
            yield connection
    except DBAPIError as error:
        if getattr(error.driver_exception, "sqlstate", None) != _STILL_REFERRED_TO:
            raise
        dependents = getattr(error.driver_exception, "detail", None)
        raise Conflict(f"nothing was changed; drop first what needs session-db's tables: {dependents}", dependents=dependents) from error
    finally:
        await engine.dispose()


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
    version = await table_revision(connection)
    if version is None:
        await _refuse_foreign(connection)
    elif version not in known_revisions():
        raise Conflict(
            f"the tables are of revision {version}, which this session-db does not know (its newest is {head()}): upgrade session-db.",
            revision=version,
        )
    else:
        # Writers lock their sessions first, so they wait here, and those that came before are awaited: later a change of another table
        # and a writer could each have what the other one wants.
        await connection.execute(text("LOCK TABLE sessions IN EXCLUSIVE MODE"))


async def keep_revision(connection: AsyncConnection) -> None:
    """Let nobody change the tables, which must be up to date, until the transaction ends.

    Raises:
        Conflict: they are not.
    """
    await connection.execute(text(_LOCK.replace("lock(", "lock_shared(")))
    revision = await table_revision(connection)
    if revision != head():
        raise Conflict(f"the tables are of revision {revision}, and this needs {head()}: run session-db init.", revision=revision)


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


async def table_revision(connection: AsyncConnection) -> str | None:
    """Return the revision of the tables that a connection sees, or None where there are none."""
    # A connection that was used before (a pooler's) remembers names that it did not find, until it locks another table: here pg_class.
    if not await connection.scalar(text("SELECT to_regclass(:name) FROM pg_class LIMIT 1"), {"name": VERSION_TABLE}):
        return None
    revision: str | None = await connection.scalar(text(f"SELECT version_num FROM {VERSION_TABLE}"))
    return revision


def migrate(connection: Connection, direction: Literal["upgrade", "downgrade"], revision: str) -> None:
    """Let Alembic bring the tables of the connection's schema to a revision."""
    from alembic import command  # noqa: PLC0415  see alembic_config

    getattr(command, direction)(alembic_config(connection=connection), revision)


def drop_tables(connection: Connection) -> None:
    """Drop all tables and sequences of ours that the connection's schema has."""
    METADATA.drop_all(connection)
    connection.execute(text(f"DROP TABLE IF EXISTS {VERSION_TABLE}"))
