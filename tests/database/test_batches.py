"""Large work in many short transactions."""

import time

import pytest
from sqlalchemy import text

from session_db.database import UnitOfWork, async_session
from session_db.database.batches import in_batches
from tests.databases import Database


@pytest.fixture
async def table(fresh_database: Database) -> str:
    async with async_session() as db:
        await db.execute(text("CREATE TABLE done (batch int)"))
        await db.commit()
    return "done"


class TestInBatches:
    async def test_each_batch_is_committed_before_the_next_one_and_told(self, table: str) -> None:
        batches = iter([3, 2, 0])
        seen: list[int] = []

        async def work(db: UnitOfWork) -> int:
            async with async_session() as other:
                seen.append(await other.scalar(text("SELECT count(*) FROM done")) or 0)
            await db.execute(text("INSERT INTO done VALUES (1)"))
            return next(batches)

        told: list[int] = []
        assert await in_batches(work, on_batch=told.append) == 5
        assert seen == [0, 1, 2]
        assert told == [3, 2]

    async def test_one_that_fails_keeps_those_before(self, table: str) -> None:
        async def work(db: UnitOfWork) -> int:
            await db.execute(text("INSERT INTO done VALUES (1)"))
            if await db.scalar(text("SELECT count(*) FROM done")) == 2:
                raise LookupError
            return 1

        with pytest.raises(LookupError):
            await in_batches(work)
        async with async_session() as db:
            assert await db.scalar(text("SELECT count(*) FROM done")) == 1

    async def test_it_rests_as_long_as_it_works(self, table: str) -> None:
        batches = iter([1, 1, 0])

        async def work(db: UnitOfWork) -> int:
            await db.execute(text("SELECT pg_sleep(0.2)"))
            return next(batches)

        began = time.monotonic()
        await in_batches(work)
        assert time.monotonic() - began > 3 * 0.2 + 2 * 0.2
