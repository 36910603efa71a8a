"""What the tables lack, or what in them does not hold, is found and mended while others write."""

import asyncio
from collections.abc import Awaitable, Callable

import pytest
from sqlalchemy import text

from session_db.database import async_session, get_async_session, init_db
from session_db.database.connection import close_db
from session_db.database.flaws import Flaw, list_flaws, mend, mending
from session_db.database.health import server_health
from session_db.doctor.server_checks import fix_tables, look_at_tables
from session_db.errors import Conflict
from session_db.settings import use_settings
from tests.databases import Database
from tests.factories import make_agent, make_event, make_session

Execute = Callable[[str], Awaitable[None]]


@pytest.fixture
async def execute(fresh_database: Database) -> Execute:
    async def work(statement: str) -> None:
        async with fresh_database.connected() as connection:
            await connection.execute(statement)

    return work


async def problems() -> list[str]:
    return [flaw.problem for flaw in await list_flaws()]


async def mend_all() -> None:
    for flaw in await list_flaws():
        await mend(flaw)


class TestListFlaws:
    async def test_the_tables_of_the_migrations_have_none(self, fresh_database: Database) -> None:
        assert await list_flaws() == []

    async def test_what_somebody_added_is_none(self, execute: Execute) -> None:
        await execute("CREATE INDEX somebodys ON sessions (host)")
        await execute("CREATE TABLE somebodys_table (id uuid REFERENCES sessions)")
        await execute("ALTER TABLE sessions ADD CONSTRAINT somebodys_rule CHECK (host <> 'x') NOT VALID")
        await execute("UPDATE pg_index SET indisvalid = false WHERE indexrelid = 'somebodys'::regclass")
        assert await list_flaws() == []

    @pytest.mark.parametrize(
        ("change", "problem"),
        [
            ("DROP TABLE presence", "table presence is missing"),
            ("ALTER TABLE sessions DROP owner", "column sessions.owner is missing"),
            ("DROP INDEX ix_agents_id", "index ix_agents_id of agents is missing"),
            ("ALTER TABLE agents DROP CONSTRAINT ck_agents_status", "constraint ck_agents_status of agents is missing"),
            ("ALTER TABLE clip_versions DROP CONSTRAINT pk_clip_versions", "constraint pk_clip_versions of clip_versions is missing"),
        ],
    )
    async def test_what_is_missing_is_named(self, execute: Execute, change: str, problem: str) -> None:
        await execute(change)
        assert await problems() == [problem]

    @pytest.mark.parametrize("as_behind_a_pooler", [False, True])
    async def test_a_schema_of_its_own_is_looked_at(self, empty_database: Database, *, as_behind_a_pooler: bool) -> None:
        await init_db()
        await close_db()
        pooler = "transaction" if as_behind_a_pooler else empty_database.settings.pooler
        use_settings(empty_database.settings.model_copy(update={"schema_name": "Odd", "pooler": pooler}))
        await init_db()
        assert await list_flaws() == []
        async with empty_database.connected() as connection:
            await connection.execute('DROP INDEX "Odd".ix_agents_id')
        assert await problems() == ["index ix_agents_id of agents is missing"]
        await mend_all()
        assert await list_flaws() == []
        await close_db()


class TestMend:
    async def test_a_missing_index_is_built(self, execute: Execute) -> None:
        for index in ("ix_sessions_words", "ix_agent_logs_phases", "uq_messages_session_id_client_id", "ix_sessions_metadata"):
            await execute(f"DROP INDEX {index}")
        assert len(await list_flaws()) == 4
        await mend_all()
        assert await list_flaws() == []

    async def test_an_invalid_index_is_built_anew(self, fresh_database: Database, execute: Execute) -> None:
        async with get_async_session() as db:
            await make_event(db)
        await execute("UPDATE pg_index SET indisvalid = false WHERE indexrelid = 'pk_agent_logs'::regclass")
        assert await list_flaws() == [
            Flaw("index pk_agent_logs of agent_logs is invalid", "REINDEX INDEX CONCURRENTLY public.pk_agent_logs"),
        ]
        await mend_all()
        assert await list_flaws() == []

    async def test_what_cannot_be_built_is_told_and_what_it_left_over_is_dropped_later(
        self, fresh_database: Database, execute: Execute
    ) -> None:
        async with get_async_session() as db:
            session = await make_session(db)
            await make_agent(db, session.id, name="one")
            other = await make_agent(db, session.id, name="one")
        await execute("DROP INDEX ix_agents_id")
        with pytest.raises(Exception, match="could not create unique index"):
            await execute("CREATE UNIQUE INDEX CONCURRENTLY ix_agents_id ON agents (name)")
        (flaw,) = await list_flaws()
        with pytest.raises(Conflict, match="is duplicated"):
            await mend(flaw)
        assert await problems() == ["index ix_agents_id of agents is invalid", "index ix_agents_id_ccnew of agents was left over"]
        await execute(f"UPDATE agents SET name = 'two' WHERE id = '{other.id}'")
        await mend_all()
        assert await list_flaws() == []

    async def test_a_constraint_is_checked_on_the_rows_that_were_there(self, fresh_database: Database, execute: Execute) -> None:
        async with get_async_session() as db:
            event = await make_event(db)
        await execute("ALTER TABLE agent_logs DROP CONSTRAINT fk_agent_logs_agent")
        await execute(f"UPDATE agent_logs SET agent_id = '{event.id}'")
        (missing,) = await list_flaws()
        assert not missing.is_safe
        await execute(str(missing.statement))
        (flaw,) = await list_flaws()
        assert "fk_agent_logs_agent" in flaw.problem
        with pytest.raises(Conflict, match="is not present"):
            await mend(flaw)
        await execute("UPDATE agent_logs SET agent_id = NULL")
        await mend(flaw)
        assert await list_flaws() == []

    async def test_writers_go_on_while_an_index_is_built(self, fresh_database: Database, execute: Execute) -> None:
        async with get_async_session() as db:
            session = await make_session(db)
        await execute("UPDATE pg_index SET indisvalid = false WHERE indexrelid = 'ix_sessions_words'::regclass")
        open_transaction = async_session()
        await open_transaction.execute(text("UPDATE sessions SET host = 'held'"))
        mending = asyncio.create_task(mend_all())
        # It waits for the open transaction, and nobody waits for it.
        await asyncio.sleep(0.2)
        assert not mending.done()
        async with get_async_session() as db:
            await make_session(db)
            await db.execute(text("UPDATE agents SET name = 'x' WHERE session_id = :id"), {"id": session.id})
        await open_transaction.commit()
        await open_transaction.close()
        await asyncio.wait_for(mending, 20)
        assert await list_flaws() == []

    async def test_what_somebody_builds_is_left_to_them(self, fresh_database: Database, execute: Execute) -> None:
        async with get_async_session() as db:
            await make_session(db)
        open_transaction = async_session()
        await open_transaction.execute(text("UPDATE agents SET name = 'held'"))
        building = asyncio.ensure_future(execute("REINDEX INDEX CONCURRENTLY ix_agents_id"))
        async with asyncio.timeout(10):
            while not (found := await list_flaws()):
                await asyncio.sleep(0.02)
        (flaw,) = found
        assert (flaw.statement, flaw.is_safe) == (None, True)
        assert flaw.problem.startswith("index ix_agents_id_ccnew of agents is being built")
        check = await look_at_tables()
        assert (check.state, check.remedy) == ("warning", "Wait until what is being built is done, and look again.")
        assert await fix_tables() is None
        await open_transaction.commit()
        await open_transaction.close()
        await asyncio.wait_for(building, 20)
        assert await list_flaws() == []

    async def test_two_do_not_meet(self, execute: Execute) -> None:
        await execute("DROP INDEX ix_agents_id")
        async with mending():
            with pytest.raises(Conflict, match="another session-db mends these tables"):
                await fix_tables()
        assert (await fix_tables() or "").startswith("CREATE INDEX CONCURRENTLY ix_agents_id")
        assert await list_flaws() == []

    async def test_a_table_cannot_be_mended(self, fresh_database: Database) -> None:
        with pytest.raises(Conflict, match="no statement"):
            await mend(Flaw("table presence is missing", None, is_safe=False))


class TestServerHealth:
    async def test_it_tells_of_upkeep_and_connections(self, fresh_database: Database) -> None:
        health = await server_health()
        assert health.autovacuum in (True, False)
        assert health.tables_without_autovacuum == []
        assert 0 < health.transaction_age < 2**31
        assert 0 < health.connections <= health.max_connections

    async def test_a_table_without_autovacuum_is_named(self, execute: Execute) -> None:
        await execute("ALTER TABLE usage SET (autovacuum_enabled = off, fillfactor = 90)")
        await execute("ALTER TABLE agents SET (autovacuum_enabled = on)")
        assert (await server_health()).tables_without_autovacuum == ["usage"]
