from session_db.database import UnitOfWork, get_async_session
from session_db import crud
from tests.databases import Database
from tests.factories import make_session

async def test_a(db: UnitOfWork) -> None:
    s = await make_session(db)
    await db.commit()
    assert await crud.get_session(db, s.id) is s

async def test_b(fresh_database: Database) -> None:
    async with get_async_session() as db:
        s = await make_session(db)
    async with fresh_database.connected() as c:
        assert await c.fetchval("select count(*) from sessions") == 1

def test_c(fresh_database: Database) -> None:
    assert fresh_database.url
async def test_d(empty_database: Database) -> None:
    assert empty_database.url
