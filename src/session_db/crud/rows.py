"""Rows as the database has them: added, read anew, and moved by expressions."""

from collections.abc import Iterable
from typing import Any

from sqlalchemy import Text, any_, inspect, literal, update
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm.attributes import set_committed_value

from session_db.database.violations import DRIVER_ERRORS, note_moved, translate, translated, violation


async def add(db: AsyncSession, row: Any, **details: Any) -> None:
    """Insert a row; the error of a violated constraint names the details."""
    mapper = inspect(type(row))
    known = db.sync_session.identity_map.get(mapper.identity_key_from_instance(row))
    if known is not None:
        # SQLAlchemy would warn of two objects for one row before the database refuses the second.
        raise violation(mapper.local_table.primary_key.name, **details)
    async with translated(db, **details):
        db.add(row)


async def run(db: AsyncSession, statement: Any) -> Any:
    """Execute a statement, and return its result.

    Raises:
        InvalidInput: PostgreSQL cannot take a value that it compares with; the transaction has ended then.
        Unavailable: the database is gone, full or too slow.
    """
    try:
        return await db.execute(statement)
    except DRIVER_ERRORS as error:
        ours = translate(error)
        if ours is None:
            raise
        raise ours from error


async def one_or_none(db: AsyncSession, query: Any) -> Any:
    """Return the one row of a query, or None.

    A unit of work that has the row already gets its present values: counters and totals move behind its back, and so do other processes.
    """
    return (await run(db, query.execution_options(populate_existing=True))).scalar_one_or_none()


async def all_of(db: AsyncSession, query: Any) -> list[Any]:
    """Return the rows of a query, with their present values."""
    return list((await run(db, query.execution_options(populate_existing=True))).scalars().all())


async def move(db: AsyncSession, table: type[Any], key: tuple[Any, ...], **values: Any) -> None:
    """Set columns of one row to SQL expressions; where this unit of work has the row, it shows the outcome."""
    mapper = inspect(table)
    here = [column == value for column, value in zip(mapper.primary_key, key, strict=True)]
    statement = update(table).where(*here).values(values).returning(*(getattr(table, name) for name in values))
    moved = (await run(db, statement.execution_options(synchronize_session=False))).one()
    row = db.sync_session.identity_map.get(mapper.identity_key_from_primary_key(key))
    if row is not None:
        for name, value in zip(values, moved, strict=True):
            set_committed_value(row, name, value)
        note_moved(db, row)


def one_of(values: Iterable[Any], kind: Any = Text) -> Any:
    """Return what a column equals where it is one of these values; they are one parameter, however many there are."""
    return any_(literal(list(dict.fromkeys(values)), ARRAY(kind)))
