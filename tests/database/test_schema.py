"""Tables: made, brought up to date and dropped, by one process at a time."""

import asyncio
from typing import Any

import pytest
from sqlalchemy import text

from session_db import crud
from session_db.database import async_session, close_db, current_revision, get_async_session, head, init_db, reset_db
from session_db.errors import Conflict
from session_db.models import METADATA
from session_db.settings import Settings, use_settings
from tests.databases import Database
from tests.factories import make_session
from tests.processes import let_all_go, workers


async def tables(database: Database, schema: str = "public") -> set[str]:
    async with database.connected() as connection:
        rows = await connection.fetch("SELECT tablename FROM pg_tables WHERE schemaname = $1", schema)
    return {row["tablename"] for row in rows}


async def execute(database: Database, *statements: str) -> Any:
    """Run the statements, and return the rows of the last."""
    async with database.connected() as connection:
        for statement in statements:
            rows = await connection.fetch(statement)
    return rows


OURS = {*METADATA.tables, "session_db_version"}


class TestInitDb:
    async def test_it_makes_all_tables_once(self, empty_database: Database) -> None:
        assert await current_revision() is None
        await init_db()
        assert await tables(empty_database) == OURS
        async with get_async_session() as db:
            session = await make_session(db)
        await init_db()
        async with async_session() as db:
            assert await crud.get_session(db, session.id) is not None
        assert await current_revision() == head()

    async def test_twelve_processes_at_once_on_an_empty_database_all_succeed(self, empty_database: Database) -> None:
        with workers(empty_database, "asyncio.run(init_db())", [[]] * 12) as starters:
            await let_all_go(starters)
            assert await asyncio.gather(*(starter.end() for starter in starters)) == [(0, "")] * 12
        assert await tables(empty_database) == OURS

    async def test_twelve_callers_in_one_process_all_succeed(self, empty_database: Database) -> None:
        await asyncio.gather(*(init_db() for _ in range(12)))
        assert await tables(empty_database) == OURS

    @pytest.mark.parametrize("name", ["sessions", "messages"])
    async def test_somebody_elses_table_is_left_alone_and_nothing_is_changed(self, empty_database: Database, name: str) -> None:
        await execute(empty_database, f"CREATE TABLE {name} (id int)", f"INSERT INTO {name} VALUES (7)")
        for change in (init_db, reset_db):
            with pytest.raises(Conflict, match=rf"{name}; nothing was changed.*SESSION_DB_SCHEMA"):
                await change()
        assert await tables(empty_database) == {name}
        assert [row["id"] for row in await execute(empty_database, f"SELECT id FROM {name}")] == [7]

    async def test_a_failing_migration_changes_nothing(self, empty_database: Database) -> None:
        # An index's name is free for tables and yet taken.
        await execute(empty_database, "CREATE TABLE other (id int)", "CREATE INDEX ix_sessions_session_slug ON other (id)")
        with pytest.raises(Exception, match="ix_sessions_session_slug"):
            await init_db()
        assert await tables(empty_database) == {"other"}

    @pytest.mark.parametrize("name", ["messages_id_seq", "memory_files_id_seq"])
    async def test_somebody_elses_sequence_is_left_alone(self, empty_database: Database, name: str) -> None:
        await execute(empty_database, f"CREATE SEQUENCE {name}")
        for change in (init_db, reset_db):
            with pytest.raises(Conflict, match=rf"{name}; nothing was changed"):
                await change()
        assert await tables(empty_database) == set()

    async def test_tables_of_a_newer_release_ask_for_an_upgrade(self, fresh_database: Database) -> None:
        await execute(fresh_database, "UPDATE session_db_version SET version_num = '0099'")
        for change in (init_db, reset_db):
            with pytest.raises(Conflict, match=r"0099.*upgrade session-db") as caught:
                await change()
            assert caught.value.details["revision"] == "0099"
        assert await tables(fresh_database) == OURS


class TestSchemaName:
    async def test_the_tables_stand_in_that_schema_beside_somebody_elses(self, empty_database: Database) -> None:
        await execute(empty_database, "CREATE TABLE sessions (id int)")
        use_settings(Settings(url=empty_database.url, schema_name="agent_data"))
        await asyncio.gather(*(init_db() for _ in range(4)))
        assert await tables(empty_database) == {"sessions"}
        assert await tables(empty_database, "agent_data") == OURS
        async with get_async_session() as db:
            await make_session(db)
        assert len(await execute(empty_database, "SELECT FROM agent_data.sessions")) == 1
        assert await current_revision() == head()
        await reset_db()
        assert len(await execute(empty_database, "SELECT FROM agent_data.sessions")) == 0
        assert await tables(empty_database) == {"sessions"}


class TestResetDb:
    async def test_all_rows_of_ours_go_and_nobody_elses(self, fresh_database: Database) -> None:
        await execute(fresh_database, "CREATE TABLE customers (id int)", "INSERT INTO customers VALUES (7)")
        async with get_async_session() as db:
            await make_session(db)
        await reset_db()
        async with async_session() as db:
            assert await crud.list_sessions(db) == []
        assert await tables(fresh_database) == OURS | {"customers"}
        assert [row["id"] for row in await execute(fresh_database, "SELECT id FROM customers")] == [7]

    async def test_it_makes_the_tables_where_there_are_none(self, empty_database: Database) -> None:
        await reset_db()
        assert await tables(empty_database) == OURS


class TestWithoutTables:
    async def test_a_statement_says_what_is_missing(self, empty_database: Database) -> None:
        with pytest.raises(Exception, match='"sessions" does not exist'):
            async with async_session() as db:
                await db.execute(text("SELECT FROM sessions"))
        await close_db()
