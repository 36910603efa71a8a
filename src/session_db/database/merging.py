"""Rows of another database, in temporary tables, become rows of ours.

What is there stays. A session, a clip, a song or a playlist comes with all that belongs to it, or not at all: of two histories
of the same thing none is made.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Table
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncConnection

from session_db.database.exporting import LEFT_OUT
from session_db.database.filling import SEQUENCES, table_columns
from session_db.errors import Conflict
from session_db.models import METADATA

SHOWN = 5
"""Slugs that an error names."""

_LAST_NUMBER = 2**62
"""The largest number that a row may keep: behind it a sequence must still have some."""

_WITH_OTHERS = ("sessions", "clips")
"""Tables to whose rows those of others belong."""


_KEYS = "SELECT sdk_key, session_id FROM pg_temp.sdk_sessions UNION SELECT id::text, id FROM pg_temp.sessions"
"""Keys under which a deletion of the new sessions may be remembered."""


@dataclass(frozen=True)
class Merged:
    """What became of the rows: by table those that are new, and those that were left out because something is there, or was deleted."""

    new: dict[str, int]
    left_out: dict[str, int]
    deleted_sessions: int


async def merge(connection: AsyncConnection, schema: str, *, restore_deleted: bool) -> Merged:
    """Insert the rows of the temporary tables into those of a schema.

    Raises:
        Conflict: a session has the slug of another one that is there.
    """
    columns = await table_columns(connection)
    names = sorted(columns, key=lambda name: name not in _WITH_OTHERS)
    tables = [METADATA.tables[name] for name in names if name not in LEFT_OUT]
    before = {table.name: await _count(connection, table.name) for table in tables}
    if restore_deleted:
        await _erase_deleted(connection, schema)
    await _leave_out_known(connection, schema)
    deleted = 0 if restore_deleted else await _leave_out_deleted(connection, schema)
    await _refuse_taken_slugs(connection, schema)
    if restore_deleted:
        await _lift_tombstones(connection, schema)
    new = {table.name: await _insert(connection, schema, table, columns[table.name]) for table in tables}
    return Merged(new, {name: before[name] - new[name] for name in before}, deleted)


async def _count(connection: AsyncConnection, table: str) -> int:
    return int((await connection.exec_driver_sql(f"SELECT count(*) FROM pg_temp.{table}")).scalar_one())


async def _run(connection: AsyncConnection, statement: str) -> int:
    result: Any = await connection.exec_driver_sql(statement)
    return int(result.rowcount)


async def _erase_deleted(connection: AsyncConnection, schema: str) -> None:
    """Erase at once what is to be restored and waits to be erased."""
    await _run(
        connection, f"DELETE FROM {schema}.sessions old USING pg_temp.sessions new WHERE old.id = new.id AND old.deleted_at IS NOT NULL"
    )


async def _leave_out_known(connection: AsyncConnection, schema: str) -> None:
    for table, key in (("sessions", "id"), ("songs", "song_id"), ("playlists", "playlist_id")):
        await _run(connection, f"DELETE FROM pg_temp.{table} new USING {schema}.{table} old WHERE old.{key} = new.{key}")
    # What an SDK session told belongs to another session here: it would be there twice, with its cost.
    elsewhere = f"SELECT new.session_id FROM pg_temp.sdk_sessions new JOIN {schema}.sdk_sessions old USING (sdk_key)"
    await _run(connection, f"DELETE FROM pg_temp.sessions WHERE id IN ({elsewhere} WHERE old.session_id <> new.session_id)")
    # A clip that was deleted here has versions still; those of two clips must not mix.
    deleted = f"SELECT clip_id FROM {schema}.clip_versions EXCEPT SELECT clip_id FROM {schema}.clips"
    # Nor may anything name what is not there.
    songs = f"DELETE FROM pg_temp.songs WHERE clip_ids ?| ARRAY({deleted}) RETURNING song_id"
    gone = list((await connection.exec_driver_sql(songs)).scalars())
    await connection.exec_driver_sql("DELETE FROM pg_temp.playlists WHERE song_ids ?| $1::text[]", (gone,))
    for table in ("clip_versions", "clips"):
        await _run(connection, f"DELETE FROM pg_temp.{table} WHERE clip_id IN (SELECT clip_id FROM {schema}.clips UNION ALL ({deleted}))")


async def _leave_out_deleted(connection: AsyncConnection, schema: str) -> int:
    """Leave out sessions that were deleted here, as every import does; return how many."""
    return await _run(
        connection,
        f"""DELETE FROM pg_temp.sessions WHERE id IN (
            SELECT new.session_id FROM ({_KEYS}) new JOIN {schema}.sdk_sessions old USING (sdk_key) WHERE old.session_id IS NULL
        )""",
    )


async def _lift_tombstones(connection: AsyncConnection, schema: str) -> None:
    await _run(
        connection,
        f"""DELETE FROM {schema}.sdk_sessions old USING ({_KEYS}) new
            WHERE old.sdk_key = new.sdk_key AND old.session_id IS NULL AND new.session_id IN (SELECT id FROM pg_temp.sessions)""",
    )


async def _refuse_taken_slugs(connection: AsyncConnection, schema: str) -> None:
    taken: Any = await connection.exec_driver_sql(
        f"""SELECT new.session_slug, new.id, old.id
            FROM pg_temp.sessions new JOIN {schema}.sessions old USING (working_dir, session_slug) LIMIT {SHOWN}"""
    )
    if slugs := taken.all():
        shown = "; ".join(f"{slug} of {new} is that of {old}" for slug, new, old in slugs)
        raise Conflict(f"nothing was imported: slugs are taken here by other sessions: {shown}. Delete or rename those, and import again.")


async def _insert(connection: AsyncConnection, schema: str, table: Table, columns: Iterable[str]) -> int:
    """Insert what is left of a table; return how many rows are new."""
    values = {name: f'"{name}"' for name in columns}
    if table.name in SEQUENCES and not await _takes_numbers(connection, schema, table.name):
        values["id"] = f"nextval('{schema}.{SEQUENCES[table.name]}')"
    keys = ", ".join(column.name for column in table.primary_key)
    statement = f"""INSERT INTO {schema}.{table.name} ({", ".join(f'"{name}"' for name in values)})
        SELECT {", ".join(values.values())} FROM pg_temp.{table.name} {_condition(table)}
        ON CONFLICT ({keys}) DO NOTHING"""
    try:
        if table.name not in _WITH_OTHERS:
            return await _run(connection, statement)
        # One that somebody else made since stays as it is, and what belongs to ours is left out with ours.
        there = f"SELECT FROM inserted WHERE inserted.{keys} = mine.{keys}"
        new = f"WITH inserted AS ({statement} RETURNING {keys}) DELETE FROM pg_temp.{table.name} mine WHERE NOT EXISTS ({there})"
        gone = list((await connection.exec_driver_sql(f"{new} RETURNING {keys}")).scalars())
        if table.name == "clips":
            await connection.exec_driver_sql("DELETE FROM pg_temp.clip_versions WHERE clip_id = ANY($1)", (gone,))
        return await _count(connection, table.name)
    except IntegrityError as error:
        raise Conflict(f"nothing was imported: {table.name}: {error.driver_exception}") from error


def _condition(table: Table) -> str:
    if "session_id" in table.primary_key.columns:
        return "WHERE session_id IN (SELECT id FROM pg_temp.sessions)"
    if table.name == "sdk_sessions":
        return "WHERE session_id IS NULL OR session_id IN (SELECT id FROM pg_temp.sessions)"
    return ""


async def _takes_numbers(connection: AsyncConnection, schema: str, table: str) -> bool:
    """Say whether the rows may keep their numbers: where there are none yet, and enough behind theirs. Then the next one is behind them."""
    if (await connection.exec_driver_sql(f"SELECT max(id) > {_LAST_NUMBER} FROM pg_temp.{table}")).scalar_one():
        return False
    async with connection.begin_nested() as savepoint:
        await connection.exec_driver_sql(f"LOCK TABLE {schema}.{table} IN SHARE MODE")
        is_empty = not (await connection.exec_driver_sql(f"SELECT EXISTS (SELECT FROM {schema}.{table})")).scalar_one()
        if not is_empty:
            # Who writes to it need not wait.
            await savepoint.rollback()
            return False
    sequence = f"{schema}.{SEQUENCES[table]}"
    last = f"greatest(max(id), (SELECT last_value FROM {sequence}))"
    await connection.exec_driver_sql(f"SELECT setval('{sequence}', {last}) FROM pg_temp.{table} HAVING max(id) IS NOT NULL")
    return True
