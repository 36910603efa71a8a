"""Through a pooler that hands out a connection for a transaction; with another server these tests say nothing new."""

import asyncio
from collections import Counter
from collections.abc import Iterator

import pytest
from sqlalchemy import text

from session_db import crud
from session_db.crud.rows import run
from session_db.database import UnitOfWork, async_session, close_db, get_async_session, init_db
from session_db.errors import Unavailable
from session_db.settings import use_settings
from tests.databases import Database, PostgreSQL
from tests.factories import event, make_session
from tests.servers import POOLED_CONNECTIONS


@pytest.fixture
def pooled(postgres: PostgreSQL, fresh_database: Database) -> Iterator[Database]:
    if postgres.pooler_url is None:
        pytest.skip("this server has no pooler before it; --server pgbouncer has one")
    yield fresh_database
    use_settings(fresh_database.settings)


class TestTransactions:
    async def test_more_clients_than_connections_mix_nothing_up(self, pooled: Database) -> None:
        async with get_async_session() as db:
            sessions = [(await make_session(db)).id for _ in range(3 * POOLED_CONNECTIONS)]

        async def append_and_read(number: int) -> None:
            for _ in range(5):
                async with get_async_session() as db:
                    await crud.append_agent_logs(db, [event(sessions[number], content=str(number))])
                async with get_async_session() as db:
                    read = await crud.list_agent_logs(db, sessions[number])
                assert {log.content for log in read} == {str(number)}

        use_settings(pooled.settings.model_copy(update={"pool_size": len(sessions)}))
        await close_db()
        await asyncio.gather(*(append_and_read(number) for number in range(len(sessions))))
        async with pooled.connected() as direct:
            found = await direct.fetch("SELECT session_id, event_index FROM agent_logs")
            assert Counter(row["session_id"] for row in found) == dict.fromkeys(sessions, 5)

    async def test_a_schema_of_ours_is_kept_from_the_next_client(self, pooled: Database) -> None:
        use_settings(pooled.settings.model_copy(update={"schema_name": "agent_data"}))
        await close_db()
        await init_db()
        async with get_async_session() as db:
            await make_session(db)
            assert await db.scalar(text("SELECT current_schema()")) == "agent_data"
        await close_db()
        use_settings(pooled.settings)
        for _ in range(2 * POOLED_CONNECTIONS):
            async with async_session() as db:
                assert await db.scalar(text("SELECT current_schema()")) == "public"
                assert await crud.list_sessions(db) == []


class TestWithoutTheSetting:
    async def test_the_first_connection_names_it(self, pooled: Database) -> None:
        use_settings(pooled.settings.model_copy(update={"pooler": None}))
        await close_db()
        with pytest.raises(Unavailable, match=r"plan_cache_mode.*SESSION_DB_POOLER=transaction"):
            await init_db()
        await close_db()

    async def test_a_lost_prepared_statement_names_it(self, db: UnitOfWork) -> None:
        with pytest.raises(Unavailable, match="SESSION_DB_POOLER=transaction"):
            await run(db, text("EXECUTE nobody_prepared_this"))
