"""Each event loop has connections of its own, and takes them along when it ends."""

import asyncio
import threading

import asyncpg

from session_db import crud
from session_db.database import get_async_session
from session_db.database.connection import _Engines
from session_db.settings import use_settings
from tests.databases import Database


async def use() -> None:
    async with get_async_session() as db:
        await crud.list_sessions(db)


async def connections_to(database: Database) -> int:
    connection = await asyncpg.connect(database.direct_url)
    try:
        count: int = await connection.fetchval(
            "SELECT count(*) FROM pg_stat_activity WHERE datname = $1 AND pid <> pg_backend_pid() AND backend_type = 'client backend'",
            database.name,
        )
        return count
    finally:
        await connection.close()


def test_a_loop_that_ends_leaves_no_connection(fresh_database: Database) -> None:
    use_settings(fresh_database.without_pooler.settings)
    before = asyncio.run(connections_to(fresh_database))
    for _ in range(10):
        asyncio.run(use())
    assert asyncio.run(connections_to(fresh_database)) == before
    assert not any(loop.is_closed() for loop in _Engines.by_loop)


def test_loops_in_threads_do_not_disturb_each_other(fresh_database: Database) -> None:
    use_settings(fresh_database.without_pooler.settings)
    threads = [threading.Thread(target=lambda: [asyncio.run(use()) for _ in range(3)]) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert asyncio.run(connections_to(fresh_database)) == 0
