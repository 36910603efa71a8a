"""Tables that are filled as a whole: quickly, and with nothing that they do not know."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from session_db.errors import InvalidInput
from session_db.models import METADATA
from session_db.models.memory_files import MEMORY_FILE_IDS
from session_db.models.messages import MESSAGE_IDS

SEQUENCES = {"messages": MESSAGE_IDS.name, "memory_files": MEMORY_FILE_IDS.name}
"""By the table whose column ``id`` is numbered by it."""

Columns = dict[str, dict[str, str]]
"""By table: its columns, and their types in SQL's words."""

_COLUMNS = """
SELECT relname, attname, format_type(atttypid, atttypmod)
FROM unnest(CAST(:names AS text[])) WITH ORDINALITY AS ours (name, place)
JOIN pg_class ON pg_class.oid = to_regclass(name)
JOIN pg_attribute ON attrelid = pg_class.oid AND attnum > 0 AND NOT attisdropped AND attgenerated = ''
ORDER BY place, attnum
"""

# In the order in which they can be made: a foreign key needs the key that it refers to.
_INDEXES = """
WITH ours AS (SELECT to_regclass(name) AS id FROM unnest(CAST(:names AS text[])) name)
SELECT format('ALTER TABLE %s DROP CONSTRAINT %I', conrelid::regclass, conname) AS remove,
       format('ALTER TABLE %s ADD CONSTRAINT %I %s', conrelid::regclass, conname, pg_get_constraintdef(oid)) AS make,
       CASE contype WHEN 'f' THEN 3 ELSE 1 END AS place
FROM pg_constraint WHERE conrelid IN (SELECT id FROM ours) AND contype IN ('p', 'u', 'f')
UNION ALL
SELECT format('DROP INDEX %s', indexrelid::regclass), pg_get_indexdef(indexrelid), 2
FROM pg_index WHERE indrelid IN (SELECT id FROM ours) AND NOT EXISTS (SELECT FROM pg_constraint WHERE conindid = indexrelid)
ORDER BY place, make
"""


async def take_time(connection: AsyncConnection) -> None:
    """Let the statements of this transaction, and its rests, take as long as they need."""
    for limit in ("statement_timeout", "idle_in_transaction_session_timeout"):
        await connection.exec_driver_sql(f"SET LOCAL {limit} = 0")


async def table_columns(connection: AsyncConnection) -> Columns:
    """Return our tables that the connection sees, with what can be written to them; those that others refer to come first."""
    columns: Columns = {}
    names = {"names": [table.name for table in METADATA.sorted_tables]}
    for table, column, kind in (await connection.execute(text(_COLUMNS), names)).all():
        columns.setdefault(table, {})[column] = kind
    return columns


def refuse_unknown_columns(table: str, columns: Iterable[str], known: Mapping[str, Iterable[str]]) -> None:
    """Raise ``InvalidInput`` where a table has not all of these columns, or is none of ours."""
    if table not in known:
        raise InvalidInput(f"the file has a table {table!r} that its revision does not have; nothing was changed.", table=table)
    unknown = sorted(set(columns) - set(known[table]))
    if unknown:
        raise InvalidInput(
            f"the file has columns of {table} that its revision does not have: {', '.join(unknown)}; nothing was changed.",
            table=table,
            columns=unknown,
        )


async def drop_indexes(connection: AsyncConnection) -> Sequence[Any]:
    """Take keys and indexes off our tables; return them for ``make_indexes``.

    To build them once takes a part of the time that is needed to keep them, and rows may come in any order.
    """
    indexes = (await connection.execute(text(_INDEXES), {"names": list(METADATA.tables)})).all()
    for index in reversed(indexes):
        await connection.exec_driver_sql(index.remove)
    return indexes


async def make_indexes(connection: AsyncConnection, indexes: Sequence[Any]) -> None:
    """Put keys and indexes back, and let PostgreSQL know what is in the tables: its first plans would be those for empty ones."""
    for index in indexes:
        await connection.exec_driver_sql(index.make)
    await connection.exec_driver_sql(f"ANALYZE {', '.join(await table_columns(connection))}")
