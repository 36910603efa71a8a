"""Import: the rows of an export, of this or an older version, into the tables.

They go into temporary tables of the revision that they had, which the migrations bring up to date like any others; then into ours. All of
it is one transaction: an import that ends early has changed nothing, and one that is repeated changes nothing more.
"""

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, BinaryIO

from sqlalchemy import text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncConnection

from session_db.database.connection import create_engine
from session_db.database.exporting import FORMAT, MARK, is_text
from session_db.database.filling import Columns, drop_indexes, make_indexes, refuse_unknown_columns, table_columns, take_time
from session_db.database.merging import Merged, merge
from session_db.database.schema import drop_tables, head, keep_revision, known_revisions, migrate
from session_db.errors import Conflict, InvalidInput
from session_db.settings import get_settings

HEADER_BYTES = 1 << 20
LINE_BYTES = 1 << 30
"""What PostgreSQL takes at once."""

BATCH_LINES, BATCH_BYTES = 2_000, 1 << 22
"""What is sent at once, at least."""

_WRONG_VALUE = ("22", "23", "54")
"""Beginnings of the SQLSTATEs that mean a value, and not the database."""


@dataclass(frozen=True)
class Header:
    """The first line of an export."""

    revision: str
    columns: dict[str, list[str]]


def read_header(file: BinaryIO) -> Header | None:
    """Read the first line; None where the file is something else than an export.

    Raises:
        InvalidInput: it is one of another format, or was changed.
        Conflict: it is of a newer session-db.
    """
    try:
        values = json.loads(file.readline(HEADER_BYTES))
        if not isinstance(values, dict) or MARK not in values:
            return None
    except (ValueError, RecursionError):
        return None
    if values[MARK] != FORMAT:
        raise InvalidInput(f"the export is of format {values[MARK]!r}, and this session-db reads {FORMAT}: upgrade session-db.")
    revision, columns = values.get("revision"), values.get("columns")
    if not isinstance(revision, str) or not isinstance(columns, dict) or not all(map(_are_names, columns.values())):
        raise InvalidInput("the first line of the export says no revision and no columns; export anew.")
    if revision not in known_revisions():
        raise Conflict(
            f"the export is of revision {revision}, which this session-db does not know (its newest is {head()}): upgrade session-db.",
            revision=revision,
        )
    return Header(revision, columns)


def _are_names(value: Any) -> bool:
    return isinstance(value, list) and bool(value) and all(isinstance(name, str) for name in value)


async def import_rows(file: BinaryIO, header: Header, *, restore_deleted: bool = False, on_progress: Callable[[str, int], None]) -> Merged:
    """Put the rows of an export, whose header was read, beside those that are there. Takes the memory of the largest row.

    A session that is there already stays as it is, with all that belongs to it; so do clips, songs and playlists. A session that was
    deleted here stays deleted.

    Args:
        file: the export.
        header: its first line.
        restore_deleted: import sessions that were deleted, too.
        on_progress: called with what is done now, and the bytes that were read.

    Raises:
        InvalidInput: a line cannot be read, or the last one is missing; the error names it.
        Conflict: the slug of a session is taken; or the tables are not up to date.
    """
    engine = create_engine(get_settings(), pooled=False)
    try:
        async with engine.begin() as connection:
            await take_time(connection)
            await keep_revision(connection)
            # One after the other: a second one finds what the first one wrote.
            await connection.execute(text("SELECT pg_advisory_xact_lock(hashtextextended('session_db import ' || current_schema(), 0))"))
            schema = (await connection.execute(text("SELECT quote_ident(current_schema())"))).scalar_one()
            await connection.execute(text("SET LOCAL search_path TO pg_temp"))
            await connection.run_sync(migrate, "upgrade", header.revision)
            indexes = await drop_indexes(connection)
            await _Reader(file, header.columns, on_progress).read_all(connection)
            on_progress("writing", 0)
            if header.revision != head():
                await make_indexes(connection, indexes)
                await connection.run_sync(migrate, "upgrade", "head")
            merged = await merge(connection, schema, restore_deleted=restore_deleted)
            # Behind a pooler the connection lives on.
            await connection.run_sync(drop_tables)
            return merged
    finally:
        await engine.dispose()


@dataclass
class _Batch:
    """Lines of one table that stand one after the other."""

    table: str
    first: int
    lines: list[str]
    size: int = 0

    def takes(self, table: str) -> bool:
        return table == self.table and len(self.lines) < BATCH_LINES and self.size < BATCH_BYTES


class _Reader:
    """Reads lines, and writes them to the tables that the connection sees."""

    def __init__(self, file: BinaryIO, columns: dict[str, list[str]], on_progress: Callable[[str, int], None]) -> None:
        self._file = file
        self._columns = columns
        self._on_progress = on_progress
        self._read = 0
        self._rows = dict.fromkeys(columns, 0)

    async def read_all(self, connection: AsyncConnection) -> None:
        known = await table_columns(connection)
        for table, names in self._columns.items():
            refuse_unknown_columns(table, names, known)
        for batch in self._batches():
            self._on_progress(batch.table, self._read)
            await _write(connection, _statement(batch.table, self._columns[batch.table], known), batch)

    def _batches(self) -> Iterator[_Batch]:
        batch = _Batch("", 0, [])
        for number, table, line in self._lines():
            if not batch.takes(table):
                if batch.lines:
                    yield batch
                batch = _Batch(table, number, [])
            batch.lines.append(line)
            batch.size += len(line)
        if batch.lines:
            yield batch

    def _lines(self) -> Iterator[tuple[int, str, str]]:
        """Give number, table and text of each row's line, up to the line that says that nothing is missing."""
        number = 1
        while line := self._file.readline(LINE_BYTES):
            number += 1
            self._read += len(line)
            value, decoded = _decoded(line, number)
            if "end" in value:
                self._refuse_missing(value["end"])
                if self._file.read(1):
                    raise _refusal(number, "is its last one, and more stands behind it: import one export at a time")
                return
            table = value.get("table")
            row = value.get("row")
            if table not in self._columns or not isinstance(row, dict) or row.keys() != set(self._columns[table]):
                raise _refusal(number, "is no row with the table and the columns that the first line tells")
            self._rows[table] += 1
            yield number, table, decoded
        raise InvalidInput(f"the export ends at line {number} without its last line: it is not whole. Nothing was imported.", line=number)

    def _refuse_missing(self, expected: Any) -> None:
        if expected != self._rows:
            raise InvalidInput(f"the export has {self._rows} rows, and {expected} were written: it was changed. Nothing was imported.")


def _refusal(number: int, problem: str) -> InvalidInput:
    return InvalidInput(f"line {number} of the export {problem}. Nothing was imported.", line=number)


def _decoded(line: bytes, number: int) -> tuple[dict[str, Any], str]:
    try:
        decoded = line.decode()
        value = json.loads(decoded)
    except (ValueError, RecursionError) as error:
        raise _refusal(number, f"is no JSON ({error})") from None
    if not isinstance(value, dict):
        raise _refusal(number, "is no JSON object")
    return value, decoded


def _statement(table: str, names: list[str], known: Columns) -> str:
    kinds = {name: known[table][name] for name in names}
    columns = ", ".join(f'"{name}"' for name in kinds)
    values = ", ".join(f'"{name}"::{kind}' if is_text(kind) else f'"{name}"' for name, kind in kinds.items())
    types = ", ".join(f'"{name}" {"text" if is_text(kind) else kind}' for name, kind in kinds.items())
    return (
        f'INSERT INTO pg_temp."{table}" ({columns}) SELECT {values} '
        f"FROM unnest($1::text[]) line, json_to_record(line::json -> 'row') AS r ({types})"
    )


async def _write(connection: AsyncConnection, statement: str, batch: _Batch) -> None:
    """Write a batch; where it is refused, look for the line to blame."""
    try:
        async with connection.begin_nested():
            await connection.exec_driver_sql(statement, (batch.lines,))
    except DBAPIError as error:
        if not (getattr(error.driver_exception, "sqlstate", None) or "").startswith(_WRONG_VALUE):
            raise
        if len(batch.lines) == 1:
            raise _refusal(batch.first, f"holds a value that the database refuses: {error.driver_exception}") from error
        middle = len(batch.lines) // 2
        await _write(connection, statement, _Batch(batch.table, batch.first, batch.lines[:middle]))
        await _write(connection, statement, _Batch(batch.table, batch.first + middle, batch.lines[middle:]))
