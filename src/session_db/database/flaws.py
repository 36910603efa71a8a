"""Flaws of the tables: indexes and constraints that are missing or do not hold, with the statements that mend them."""

import re
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from typing import Any, NamedTuple

from sqlalchemy import ForeignKeyConstraint, MetaData, Table, text
from sqlalchemy.dialects.postgresql.base import PGDialect
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncEngine
from sqlalchemy.schema import AddConstraint, CreateIndex

from session_db.database.connection import create_engine
from session_db.errors import Conflict
from session_db.models import METADATA
from session_db.settings import get_settings

_INDEXES = text("""
    SELECT t.relname AS table_name, x.relname AS name, format('%I.%I', n.nspname, x.relname) AS qualified, i.indisvalid AS is_sound,
           i.indrelid IN (SELECT relid FROM pg_stat_progress_create_index)
           OR i.indrelid IN (
               SELECT relation FROM pg_locks
               WHERE database = (SELECT oid FROM pg_database WHERE datname = current_database())
                   AND mode = 'ShareUpdateExclusiveLock' AND granted AND pid <> pg_backend_pid()
           ) AS is_held
    FROM pg_index i
    JOIN pg_class t ON t.oid = i.indrelid
    JOIN pg_class x ON x.oid = i.indexrelid
    JOIN pg_namespace n ON n.oid = t.relnamespace
    WHERE n.nspname = current_schema() AND t.relname = ANY(CAST(:tables AS text[]))
    ORDER BY t.relname, x.relname
""")
_CONSTRAINTS = text("""
    SELECT t.relname AS table_name, c.conname AS name, format('%I.%I', n.nspname, t.relname) AS qualified, c.convalidated AS is_sound
    FROM pg_constraint c
    JOIN pg_class t ON t.oid = c.conrelid
    JOIN pg_namespace n ON n.oid = t.relnamespace
    WHERE n.nspname = current_schema() AND t.relname = ANY(CAST(:tables AS text[]))
    ORDER BY t.relname, c.conname
""")
_COLUMNS = text("""
    SELECT t.relname AS table_name, a.attname AS name
    FROM pg_attribute a
    JOIN pg_class t ON t.oid = a.attrelid
    JOIN pg_namespace n ON n.oid = t.relnamespace
    WHERE n.nspname = current_schema() AND t.relname = ANY(CAST(:tables AS text[])) AND a.attnum > 0 AND NOT a.attisdropped
""")

_LEFT_OVER = re.compile(r"_cc(new|old)[0-9]*$")
"""How PostgreSQL names what a rebuilding that was cut off leaves behind."""

_LOCK = "hashtextextended('session_db mending ' || current_schema(), 0)"

_POSTGRESQL = PGDialect()  # type: ignore[no-untyped-call]


class Flaw(NamedTuple):
    """What is wrong with the tables.

    Attributes:
        problem: what, and where.
        statement: SQL that mends it, or None where no statement does.
        is_safe: whether writers go on meanwhile, and nothing can be lost; without a statement: whether it mends itself.
    """

    problem: str
    statement: str | None
    is_safe: bool = True


async def list_flaws() -> list[Flaw]:
    """Return what the tables lack of what this version declares, and what of it does not hold; from the catalog alone."""
    # In a transaction: behind a pooler only that has our schema.
    async with _engine() as engine, engine.begin() as connection:
        tables = {"tables": sorted(METADATA.tables)}
        indexes, constraints, columns = [(await connection.execute(query, tables)).all() for query in (_INDEXES, _CONSTRAINTS, _COLUMNS)]
        schema = await connection.scalar(text("SELECT current_schema()"))
    declared = _declared(str(schema))
    known = {(row.table_name, row.name) for row in (*indexes, *constraints, *columns)}
    ours = _names(declared)
    return [
        *_missing(declared, known),
        *map(_invalid_index, _unsound(indexes, ours)),
        *map(_not_validated, _unsound(constraints, ours)),
    ]


@asynccontextmanager
async def mending() -> AsyncIterator[None]:
    """Keep others from mending the same tables inside the block.

    Raises:
        Conflict: another one mends them at this moment.
    """
    # A lock of a transaction: a pooler hands the connection on between two.
    async with _engine() as engine, engine.begin() as connection:
        if not await connection.scalar(text(f"SELECT pg_try_advisory_xact_lock({_LOCK})")):
            raise Conflict("another session-db mends these tables at this moment; wait until it is done, and look again.")
        # The next statement ends the last one's snapshot, for which whoever builds an index would wait.
        async with connection.begin_nested():
            yield


async def mend(flaw: Flaw) -> None:
    """Run the statement of a flaw outside of a transaction; writers go on, and it takes as long as the table is large.

    Raises:
        Conflict: the rows that are there do not allow it, or nothing mends it.
    """
    if flaw.statement is None:
        raise Conflict(f"{flaw.problem}: no statement mends that.")
    async with _engine() as engine, engine.connect() as plain:
        # An index is built beside writers only outside of a transaction.
        connection = await plain.execution_options(isolation_level="AUTOCOMMIT")
        try:
            await connection.exec_driver_sql(flaw.statement)
        except DBAPIError as error:
            # Not in the words for a caller who writes a row: here it is about rows that are there.
            raise Conflict(f"{flaw.statement}: {_reason(error)}") from error


def _reason(error: DBAPIError) -> str:
    told = error.driver_exception
    return ". ".join(filter(None, (str(told), getattr(told, "detail", None))))


@asynccontextmanager
async def _engine() -> AsyncIterator[AsyncEngine]:
    engine = create_engine(get_settings(), pooled=False)
    try:
        yield engine
    finally:
        await engine.dispose()


def _declared(schema: str) -> list[Table]:
    """Return the tables as they are in a schema, named with it: a pooler's connection may look elsewhere."""
    placed = MetaData(schema=schema, naming_convention=METADATA.naming_convention)
    for table in METADATA.sorted_tables:
        table.to_metadata(placed)
    return list(placed.sorted_tables)


def _missing(declared: Iterable[Table], known: set[tuple[str, str]]) -> list[Flaw]:
    present = {table for table, _ in known}
    flaws = [Flaw(f"table {table.name} is missing", None, is_safe=False) for table in declared if table.name not in present]
    for table in (table for table in declared if table.name in present):
        lacking = [column.name for column in table.columns if (table.name, column.name) not in known]
        flaws += [Flaw(f"column {table.name}.{name} is missing", None, is_safe=False) for name in lacking]
        flaws += [_no_index(index) for index in _by_name(table.indexes) if (table.name, index.name) not in known]
        flaws += [_no_constraint(each) for each in _by_name(table.constraints) if (table.name, each.name) not in known]
    return flaws


def _by_name(parts: Iterable[Any]) -> list[Any]:
    return sorted(parts, key=lambda part: str(part.name))


def _no_index(index: Any) -> Flaw:
    # On a copy of the table: the migrations make theirs in a transaction.
    index.dialect_options["postgresql"]["concurrently"] = True
    statement = str(CreateIndex(index).compile(dialect=_POSTGRESQL))
    return Flaw(f"index {index.name} of {index.table.name} is missing", statement)


def _no_constraint(constraint: Any) -> Flaw:
    """Return the flaw that a constraint is missing; to add it keeps writers out for a moment, so that is left to a person."""
    statement = str(AddConstraint(constraint).compile(dialect=_POSTGRESQL))
    waits = " NOT VALID" if isinstance(constraint, ForeignKeyConstraint) else ""
    return Flaw(f"constraint {constraint.name} of {constraint.table.name} is missing", statement + waits, is_safe=False)


def _names(declared: Iterable[Table]) -> set[tuple[str, str]]:
    """Return the tables and names of all indexes and constraints that are ours; what others added is theirs."""
    return {(table.name, str(part.name)) for table in declared for part in _by_name((*table.indexes, *table.constraints))}


def _unsound(rows: Iterable[Any], ours: set[tuple[str, str]]) -> list[Any]:
    return [row for row in rows if not row.is_sound and (row.table_name, _LEFT_OVER.sub("", row.name)) in ours]


def _invalid_index(row: Any) -> Flaw:
    if row.is_held:
        # Its builder waits for us as we wait for it: the server would end one of the two.
        return Flaw(f"index {row.name} of {row.table_name} is being built, or another command holds its table", None)
    if _LEFT_OVER.search(row.name):
        return Flaw(f"index {row.name} of {row.table_name} was left over", f"DROP INDEX CONCURRENTLY {row.qualified}")
    return Flaw(f"index {row.name} of {row.table_name} is invalid", f"REINDEX INDEX CONCURRENTLY {row.qualified}")


def _not_validated(row: Any) -> Flaw:
    statement = f"ALTER TABLE {row.qualified} VALIDATE CONSTRAINT {_POSTGRESQL.identifier_preparer.quote(row.name)}"
    return Flaw(f"constraint {row.name} of {row.table_name} was never checked on the rows that were there before it", statement)
