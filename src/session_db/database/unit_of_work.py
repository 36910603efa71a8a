"""One commit, at the edge: the database session that crud functions are given."""

import asyncio
import random
import warnings
from collections.abc import AsyncIterator, Awaitable, Callable, Hashable
from contextlib import asynccontextmanager
from types import TracebackType
from typing import Any, TypeVar, cast

from sqlalchemy import Result, event, text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncSession as SQLAlchemyAsyncSession
from sqlalchemy.ext.asyncio import AsyncSessionTransaction
from sqlalchemy.orm import ORMExecuteState, Session, UOWTransaction
from sqlmodel.ext.asyncio.session import AsyncSession

from session_db.database.connection import get_engine

Returned = TypeVar("Returned")

_AFTER_COMMIT = "session_db_after_commit"

_TO_BE_REPEATED = ("40P01", "40001")
"""Deadlock and serialization failure: the transaction did nothing and may succeed now."""


class UncommittedWarning(UserWarning):
    """Rows were written and never committed: they are gone."""


class _Transaction(AsyncSessionTransaction):
    async def commit(self) -> None:
        await super().commit()
        await cast(UnitOfWork, self.session).work_after_commit()

    async def __aexit__(self, type_: type[BaseException] | None, value: BaseException | None, traceback: TracebackType | None) -> None:
        await super().__aexit__(type_, value, traceback)
        if type_ is None:
            # What was rolled back inside the block has nothing that waits.
            await cast(UnitOfWork, self.session).work_after_commit()


class UnitOfWork(AsyncSession):
    """An ``AsyncSession`` with both ``exec`` and ``execute``, which warns when written rows are thrown away by a missing commit."""

    # SQLModel marks execute as deprecated; both seeds call it.
    execute = SQLAlchemyAsyncSession.execute

    def __init__(self, *arguments: Any, **keywords: Any) -> None:
        super().__init__(*arguments, **keywords)
        event.listen(self.sync_session, "after_flush", _note_flush)
        event.listen(self.sync_session, "do_orm_execute", _note_statement)
        event.listen(self.sync_session, "after_commit", _forget)
        event.listen(self.sync_session, "after_rollback", _forget)
        event.listen(self.sync_session, "after_rollback", _forget_work)

    async def __aexit__(self, type_: type[BaseException] | None, value: BaseException | None, traceback: TracebackType | None) -> None:
        if type_ is not None:
            await self.give_up()
        await super().__aexit__(type_, value, traceback)

    async def give_up(self) -> None:
        """Roll back what an error has ended. Nobody expects a commit: there is no warning, also where this is cancelled, too."""
        self.sync_session.info["written"] = False
        await self.rollback()

    async def commit(self) -> None:
        """Commit, and then do what ``after_commit`` was told; one that only joined a transaction of somebody else does not."""
        await super().commit()
        await self.work_after_commit()

    def begin(self) -> AsyncSessionTransaction:
        """Begin a transaction whose end commits as ``commit`` does."""
        return _Transaction(self)

    async def work_after_commit(self) -> None:
        """Do what waits for the commit that was just made."""
        waiting = self.sync_session.info.pop(_AFTER_COMMIT, {})
        if waiting and self.bind is get_engine():
            for work in waiting.values():
                await work()

    async def close(self) -> None:
        """Close the session; rows that were written and not committed are thrown away, with a warning."""
        lost = self.sync_session.info.get("written", False)
        await super().close()
        if lost:
            warnings.warn(
                "rows were written and not committed, so they are gone; "
                "use `async with get_async_session() as db`, or call `await db.commit()`.",
                UncommittedWarning,
                stacklevel=3,
            )


def _note_flush(session: Session, _context: UOWTransaction) -> None:
    session.info["written"] = True


def _note_statement(state: ORMExecuteState) -> Result[Any] | None:
    if not (state.is_insert or state.is_update or state.is_delete):
        return None
    result = state.invoke_statement()
    # -1 where the driver does not say.
    if getattr(result, "rowcount", -1) != 0:
        state.session.info["written"] = True
    return result


def after_commit(session: Session, key: Hashable, work: Callable[[], Awaitable[None]]) -> None:
    """Let work run once a ``UnitOfWork`` of the present engine has committed; of each key the first one. It must not fail.

    A rollback forgets it, and other kinds of database sessions do nothing of it.
    """
    session.info.setdefault(_AFTER_COMMIT, {}).setdefault(key, work)


def forget_after_commit(session: Session, key: Hashable) -> None:
    """Do nothing for this key after the commit: it is done already."""
    session.info.get(_AFTER_COMMIT, {}).pop(key, None)


def _forget(session: Session) -> None:
    # The end of a savepoint is told here, too; what was written before and in it still waits for the commit.
    if not session.in_nested_transaction():
        session.info["written"] = False


def _forget_work(session: Session) -> None:
    if not session.in_nested_transaction():
        session.info.pop(_AFTER_COMMIT, None)


def async_session() -> UnitOfWork:
    """Open a database session on the engine of this event loop. Whoever opens it commits it."""
    return UnitOfWork(get_engine(), expire_on_commit=False)


@asynccontextmanager
async def get_async_session() -> AsyncIterator[UnitOfWork]:
    """Open a database session that commits when the block ends well and rolls back when it raises."""
    db = async_session()
    try:
        yield db
        await db.commit()
    except BaseException:
        await db.give_up()
        raise
    finally:
        await db.close()


async def in_transaction(
    work: Callable[[UnitOfWork], Awaitable[Returned]], *, attempts: int = 5, lock_seconds: float | None = None
) -> Returned:
    """Run work in a transaction of its own and commit it; run it again where the database ended it for the sake of another one.

    Args:
        work: what is done; it may be called again.
        attempts: how often at most.
        lock_seconds: how long it waits for each lock; unset: as long as the server lets it.
    """
    for attempt in range(1, attempts + 1):
        try:
            async with get_async_session() as db:
                if lock_seconds is not None:
                    await db.execute(text(f"SET LOCAL lock_timeout = '{round(lock_seconds * 1000)}ms'"))
                return await work(db)
        except DBAPIError as error:
            if attempt == attempts or getattr(error.driver_exception, "sqlstate", None) not in _TO_BE_REPEATED:
                raise
            await asyncio.sleep(random.uniform(0, 0.05 * attempt))  # noqa: S311  spreads the retries, guards nothing
    raise AssertionError("the last attempt returns or raises")


async def get_session() -> AsyncIterator[UnitOfWork]:
    """Give a database session to a FastAPI route; see ``DatabaseSession``, which also commits before the answer is sent."""
    async with get_async_session() as db:
        yield db
