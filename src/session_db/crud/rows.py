"""Rows as the database has them: added, read anew, and moved by expressions."""

from collections.abc import Iterable
from typing import Any
from uuid import UUID

from sqlalchemy import BigInteger, BindParameter, Boolean, False_, Integer, String, Text, True_, Uuid, any_, inspect, literal, update
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm.attributes import set_committed_value
from sqlmodel import AutoString

from session_db.crud.showing import note_behind, raised_by
from session_db.database.violations import DRIVER_ERRORS, note_moved, translate, translated, violation
from session_db.errors import InvalidInput
from session_db.models.text import readable, shown


async def add(db: AsyncSession, row: Any, **details: Any) -> None:
    """Insert a row; the error of a violated constraint names the details."""
    mapper = inspect(type(row))
    known = db.sync_session.identity_map.get(mapper.identity_key_from_instance(row))
    if known is not None:
        # SQLAlchemy would warn of two objects for one row before the database refuses the second.
        raise violation(mapper.local_table.primary_key.name, **details)
    async with translated(db, **details):
        db.add(row)


async def run(db: AsyncSession, statement: Any, **details: Any) -> Any:
    """Execute a statement, and return its result; an error names the details.

    Raises:
        InvalidInput: a value is none that the column it is compared with may have.
        Unavailable: the database is gone, full or too slow.
    """
    refuse_incomparable(statement)
    try:
        return await db.execute(statement)
    except DRIVER_ERRORS as error:
        ours = translate(error, **details)
        if ours is None:
            raise
        raise ours from error


def refuse_incomparable(statement: Any) -> None:
    """Raise ``InvalidInput`` for a value that no row can have: PostgreSQL refuses it too, and ends the transaction with it."""
    where = getattr(statement, "whereclause", None)
    for condition in getattr(where, "clauses", [where]):
        given = getattr(condition, "right", None)
        if isinstance(given, True_ | False_) or (isinstance(given, BindParameter) and not given.expanding):
            value = given.value if isinstance(given, BindParameter) else isinstance(given, True_)
            name, wanted = getattr(condition.left, "key", None), _wanted(condition.left.type, value)
            if wanted is not None:
                raise InvalidInput(f"{name}: the database cannot take a value like {shown(value)}; send {wanted}.", path=name)


def _wanted(kind: Any, value: Any) -> str | None:
    """Return what a column of this type is compared with, or None where the value is that."""
    if isinstance(kind, Uuid):
        return None if isinstance(value, UUID) or _is_uuid(value) else "a UUID"
    if isinstance(kind, Boolean):
        return None if isinstance(value, bool) else "true or false"
    if isinstance(kind, Integer):
        bits = 63 if isinstance(kind, BigInteger) else 31
        is_number = isinstance(value, int) and not isinstance(value, bool)
        return None if is_number and -(2**bits) <= value < 2**bits else f"an integer of {bits + 1} bits"
    if isinstance(kind, String | AutoString):
        return None if isinstance(value, str) and value == readable(value) else "a text without NUL and lone surrogates"
    return None


def _is_uuid(value: Any) -> bool:
    try:
        return isinstance(value, str) and bool(UUID(value))
    except ValueError:
        return False


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
    values |= (shown_in_folder := raised_by(table, values))
    here = [column == value for column, value in zip(mapper.primary_key, key, strict=True)]
    statement = update(table).where(*here).values(values).returning(*(getattr(table, name) for name in values))
    moved = (await run(db, statement.execution_options(synchronize_session=False), columns=", ".join(values))).one()
    row = db.sync_session.identity_map.get(mapper.identity_key_from_primary_key(key))
    if row is not None:
        for name, value in zip(values, moved, strict=True):
            set_committed_value(row, name, value)
        note_moved(db, row)
    if shown_in_folder and moved.workspace_version:
        note_behind(db.sync_session, key[0])


def one_of(values: Iterable[Any], kind: Any = Text) -> Any:
    """Return what a column equals where it is one of these values; they are one parameter, however many there are."""
    return any_(literal(list(dict.fromkeys(values)), ARRAY(kind)))
