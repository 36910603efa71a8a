"""Backup and restore: our tables as a file of ``pg_dump``, and back.

``pg_restore`` only reads the file. What is written is written by statements of ours, in one transaction: nothing that stands in a file
is run, and a restore that ends early has changed nothing.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import asyncpg
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncConnection

from session_db.database.archives import Archive, Rows, open_archive
from session_db.database.connection import create_engine
from session_db.database.filling import SEQUENCES, drop_indexes, make_indexes, refuse_unknown_columns, table_columns, take_time
from session_db.database.programs import find_program, program_output, reaching_database
from session_db.database.schema import VERSION_TABLE, changing_tables, drop_tables, known_revisions, migrate, table_revision
from session_db.database.whole_files import whole_file
from session_db.errors import Conflict, Unavailable
from session_db.settings import get_settings

Progress = Callable[[str, int], None]
"""Called with what is done now, and the bytes that went through since it began."""

PATIENCE = "10s"
"""How long a restore waits for those who use the tables."""

_LOCK_NOT_AVAILABLE = "55P03"


@dataclass(frozen=True)
class Backup:
    """What a backup is."""

    path: Path
    revision: str
    size_bytes: int
    seconds: float


@dataclass(frozen=True)
class Restored:
    """What a restore did; the revision is the one that the file had."""

    revision: str
    rows: dict[str, int]
    seconds: float


def silent(_doing: str, _bytes: int) -> None:
    """Tell nobody of progress."""


async def backup_database(path: Path, *, replace: bool = False, on_progress: Progress = silent) -> Backup:
    """Write our tables, as they are at this moment, to a file of ``pg_dump --format=custom``; others may write meanwhile.

    The file gets its name when it is whole, and only its owner can read it.

    Raises:
        AlreadyExists: there is a file with that name, and ``replace`` is not set.
        Conflict: there are no tables, or they are of a newer session-db, or were upgraded meanwhile.
        Unavailable: the database cannot be reached, or is too new for every ``pg_dump`` that there is; or the disk is full.
    """
    began = time.monotonic()
    with whole_file(path, replace=replace) as file:
        before = await _tables()
        program = await asyncio.to_thread(find_program, "pg_dump", server=before.server)
        names = [f"--table={_quoted(before.schema)}.{_quoted(name)}" for name in before.names]
        command: list[str | Path] = [program, "--format=custom", "--compress=1", "--no-password", *names]
        async with reaching_database() as options, program_output(command, _not_backed_up, **options) as pieces:
            async for piece in pieces:
                file.write(piece)
                on_progress("writing", file.tell())
        if await _tables() != before:
            raise Conflict("nothing was backed up: the tables were upgraded meanwhile. Run it again.")
        size = file.tell()
    return Backup(path, before.revision, size, time.monotonic() - began)


def _not_backed_up(reason: str) -> Unavailable:
    return Unavailable(f"nothing was backed up: {reason}")


@dataclass(frozen=True)
class _Tables:
    server: int
    schema: str
    revision: str
    names: list[str]


async def _tables() -> _Tables:
    """Return which tables and sequences of ours there are."""
    engine = create_engine(get_settings(), pooled=False)
    try:
        async with engine.connect() as connection:
            revision = await table_revision(connection)
            if revision is None:
                raise Conflict("nothing was backed up: there are no tables of session-db.")
            if revision not in known_revisions():
                raise Conflict(f"nothing was backed up: revision {revision} of the tables is not known here: upgrade session-db.")
            names = [*await table_columns(connection), *SEQUENCES.values(), VERSION_TABLE]
            facts = await connection.execute(text("SELECT current_setting('server_version_num')::int / 10000, current_schema()"))
            server, schema = facts.one()
            return _Tables(server, schema, revision, names)
    finally:
        await engine.dispose()


def _quoted(name: str) -> str:
    """Write a name as SQL does; pg_dump would take some others for patterns."""
    return '"' + name.replace('"', '""') + '"'


async def restore_database(path: Path, *, replace: bool = False, on_progress: Progress = silent) -> Restored:
    """Make our tables as a backup has them, and bring them up to date.

    All of it is one transaction: where it fails, or is killed, everything is as before. Nobody can read or write meanwhile.

    Raises:
        InvalidInput: the file is no backup of session-db, or not whole.
        Conflict: the database holds something and ``replace`` is not set; others use the tables; the file is of a newer session-db; or
            a table of somebody else refers to ours.
    """
    began = time.monotonic()
    archive = await open_archive(path, schema=get_settings().schema_name)
    async with _emptied(replace=replace) as connection:
        await connection.run_sync(migrate, "upgrade", archive.revision)
        indexes = await drop_indexes(connection)
        rows, read = await _fill(connection, archive, on_progress)
        on_progress("indexes", read)
        await make_indexes(connection, indexes)
        await connection.run_sync(migrate, "upgrade", "head")
    return Restored(archive.revision, rows, time.monotonic() - began)


@asynccontextmanager
async def _emptied(*, replace: bool) -> AsyncIterator[AsyncConnection]:
    """Give a connection whose transaction has dropped our tables, and nobody else can make or use them."""
    try:
        async with changing_tables(patience=PATIENCE) as connection:
            await take_time(connection)
            ours = await table_columns(connection)
            if await table_revision(connection) is not None:
                await connection.execute(text(f"LOCK TABLE {', '.join(ours)} IN ACCESS EXCLUSIVE MODE"))
                full = [name for name in ours if (await connection.execute(text(f"SELECT EXISTS (SELECT FROM {name})"))).scalar_one()]
                if full and not replace:
                    raise Conflict(f"nothing was restored: there are rows in {', '.join(full)}. Say --replace to lose them.", tables=full)
                await connection.run_sync(drop_tables)
            yield connection
    except DBAPIError as error:
        if getattr(error.driver_exception, "sqlstate", None) != _LOCK_NOT_AVAILABLE:
            raise
        raise Conflict(
            f"nothing was restored: others use the tables, and did not let go of them for {PATIENCE}. Stop the service and whatever else "
            "writes, and try again."
        ) from error


async def _fill(connection: AsyncConnection, archive: Archive, on_progress: Progress) -> tuple[dict[str, int], int]:
    """Copy the rows of an archive into the tables; return how many each got, and how many bytes they were."""
    known = await table_columns(connection)
    driver: Any = (await connection.get_raw_connection()).driver_connection
    schema = (await connection.execute(text("SELECT current_schema()"))).scalar_one()
    done: dict[str, int] = {}
    read = 0

    async def counted(rows: Rows) -> AsyncIterator[bytes]:
        nonlocal read
        async for piece in rows.pieces():
            yield piece
            read += len(piece)
            on_progress(rows.table, read)

    async with archive.read([*known, *SEQUENCES.values()]) as script:
        async for rows in script.tables():
            refuse_unknown_columns(rows.table, rows.columns, known)
            try:
                answer = await driver.copy_to_table(rows.table, schema_name=schema, columns=rows.columns, source=counted(rows))
            except asyncpg.PostgresError as error:
                # As SQLAlchemy gives it, so that it is translated where all others are.
                raise DBAPIError(f"COPY {rows.table}", None, error) from error
            done[rows.table] = int(answer.split()[-1])
    for name in script.sequences.keys() & set(SEQUENCES.values()):
        await driver.execute("SELECT setval($1::text::regclass, $2, $3)", f"{_quoted(schema)}.{name}", *script.sequences[name])
    return done, read
