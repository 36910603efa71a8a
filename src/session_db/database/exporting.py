"""Export: all rows as JSON Lines, to be moved to another version or database. The format: docs/reference/json-lines.md.

PostgreSQL writes the lines: numbers of US dollars, JSON of others and ours as text, so that no reader changes them; moments in UTC.
"""

import json
from collections.abc import Callable
from dataclasses import dataclass
from importlib.metadata import version
from typing import Any

import asyncpg
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncConnection

from session_db.database.connection import create_engine
from session_db.database.filling import Columns, table_columns, take_time
from session_db.database.schema import known_revisions, table_revision
from session_db.errors import Conflict
from session_db.settings import get_settings

FORMAT = 1
MARK = "session_db_export"
"""Key of the first line alone, whose value is the number of the format."""

LEFT_OUT = ("presence", "tokens")
"""Tables that are of their database alone: who is connected to its service, and who may be."""

AS_TEXT = ("json", "jsonb", "numeric")
"""Beginnings of the types whose values stand in a text: a reader of JSON could change them."""

# Characters that JSON never holds unescaped: with them COPY changes nothing in a line.
_UNCHANGED = {"format": "csv", "quote": "\x01", "delimiter": "\x02"}


@dataclass(frozen=True)
class Exported:
    """What was written: rows by table."""

    revision: str
    rows: dict[str, int]


def is_text(kind: str) -> bool:
    """Say whether values of that type stand in a text."""
    return kind.startswith(AS_TEXT)


async def export_rows(write: Callable[[bytes], Any], *, on_progress: Callable[[str, int], None]) -> Exported:
    """Write all rows as they are at this moment, a line each; others may write meanwhile. Takes the memory of the largest row.

    Raises:
        Conflict: there are no tables, or they are of a newer session-db.
    """
    engine = create_engine(get_settings(), pooled=False)
    writer = _Writer(write, on_progress)
    try:
        async with engine.begin() as connection:
            await connection.execute(text("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY"))
            await take_time(connection)
            await connection.execute(text("SET LOCAL timezone = 'UTC'"))
            revision = await table_revision(connection)
            if revision not in known_revisions():
                reason = "there are no tables of session-db" if revision is None else f"revision {revision} is newer than this session-db"
                raise Conflict(f"nothing was exported: {reason}.", revision=revision)
            return Exported(revision, await writer.write_all(connection, revision))
    except DBAPIError:
        if writer.failure is not None:
            raise writer.failure from None
        raise
    finally:
        await engine.dispose()


class _Writer:
    def __init__(self, write: Callable[[bytes], Any], on_progress: Callable[[str, int], None]) -> None:
        self._write = write
        self._on_progress = on_progress
        self._written = 0
        self.failure: OSError | None = None

    async def write_all(self, connection: AsyncConnection, revision: str) -> dict[str, int]:
        tables: Columns = {name: columns for name, columns in (await table_columns(connection)).items() if name not in LEFT_OUT}
        driver: Any = (await connection.get_raw_connection()).driver_connection
        columns = {name: list(kinds) for name, kinds in tables.items()}
        self._write_line({MARK: FORMAT, "revision": revision, "made_by": f"session-db {version('session-db')}", "columns": columns})
        rows = {name: await self._write_table(driver, name, kinds) for name, kinds in tables.items()}
        # Whoever reads it knows by this line that nothing is missing.
        self._write_line({"end": rows})
        return rows

    async def _write_table(self, driver: Any, name: str, kinds: dict[str, str]) -> int:
        values = ", ".join(f'"{column}"::text AS "{column}"' if is_text(kind) else f'"{column}"' for column, kind in kinds.items())
        line = f"""'{{"table":"{name}","row":' || row_to_json(r)::text || '}}'"""

        async def take(piece: bytes) -> None:
            try:
                self._take(name, piece)
            except OSError as error:
                self.failure = error
                # asyncpg would wait for the end of a COPY that may have ended.
                driver.terminate()
                raise

        try:
            done: str = await driver.copy_from_query(f'SELECT {line} FROM (SELECT {values} FROM "{name}") r', output=take, **_UNCHANGED)
        except asyncpg.PostgresError as error:
            # As SQLAlchemy gives it, so that it is translated where all others are.
            raise DBAPIError(f"COPY {name}", None, error) from error
        return int(done.rsplit(maxsplit=1)[-1])

    def _write_line(self, value: dict[str, Any]) -> None:
        self._take("", json.dumps(value, separators=(",", ":")).encode() + b"\n")

    def _take(self, doing: str, piece: bytes) -> None:
        self._write(piece)
        self._written += len(piece)
        self._on_progress(doing, self._written)
