"""Tables: made, brought up to date and dropped, by one process at a time."""

import asyncio
import shutil
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import text

from session_db import crud
from session_db.database import (
    async_session,
    close_db,
    current_revision,
    downgrade_db,
    get_async_session,
    head,
    init_db,
    reset_db,
    schema,
    upgrade_db,
)
from session_db.errors import Conflict, InvalidInput
from session_db.models import METADATA
from session_db.settings import use_settings
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

REVISION = """
from alembic import op

revision = "{revision}"
down_revision = "{before}"

def upgrade() -> None:
    op.execute("ALTER TABLE songs ADD tempo int")

def downgrade() -> None:
    op.execute("ALTER TABLE songs DROP tempo")
"""


@pytest.fixture
def next_revision(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A release of session-db whose tables are one revision newer."""
    migrations = shutil.copytree(schema.MIGRATIONS, tmp_path / "migrations", ignore=shutil.ignore_patterns("__pycache__"))
    revision = f"{int(head()) + 1:04}"
    (migrations / "versions" / f"{revision}_tempo.py").write_text(REVISION.format(revision=revision, before=head()))
    monkeypatch.setattr(schema, "MIGRATIONS", migrations)
    return revision


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


class TestUpgradeDb:
    async def test_it_makes_the_tables(self, empty_database: Database) -> None:
        assert await upgrade_db() == (None, head())
        assert await tables(empty_database) == OURS
        assert await upgrade_db() == (head(), head())

    async def test_it_stops_at_a_revision(self, empty_database: Database, next_revision: str) -> None:
        before = f"{int(next_revision) - 1:04}"
        assert await upgrade_db(before) == (None, before)
        assert await upgrade_db(next_revision) == (before, next_revision)
        assert await execute(empty_database, "SELECT tempo FROM songs") == []

    async def test_one_that_the_tables_have_behind_them_is_refused(self, fresh_database: Database, next_revision: str) -> None:
        before = await current_revision()
        await upgrade_db()
        with pytest.raises(Conflict, match=rf"of revision {next_revision}, newer than {before}: session-db downgrade {before}"):
            await upgrade_db(str(before))
        assert await current_revision() == next_revision

    @pytest.mark.parametrize("revision", ["9999", "base", "", "+1", "0001_initial_schema"])
    async def test_one_that_is_none_is_refused_with_those_there_are(self, empty_database: Database, revision: str) -> None:
        with pytest.raises(InvalidInput, match=r"0001.* or head"):
            await upgrade_db(revision)
        assert await tables(empty_database) == set()

    async def test_twelve_at_once_all_succeed(self, empty_database: Database) -> None:
        changes = await asyncio.gather(*(upgrade_db() for _ in range(12)))
        assert sorted(before or "" for before, _ in changes) == ["", *[head()] * 11]


class TestDowngradeDb:
    async def test_base_leaves_nothing_of_ours(self, fresh_database: Database) -> None:
        await execute(fresh_database, "CREATE TABLE customers (id int)")
        assert await downgrade_db("base") == (head(), None)
        assert await tables(fresh_database) == {"customers"}
        sequences = "SELECT FROM pg_class WHERE relkind = 'S' AND relnamespace = 'public'::regnamespace"
        assert await execute(fresh_database, sequences) == []
        assert await downgrade_db("base") == (None, None)

    async def test_it_goes_back_one_and_keeps_the_rows(self, fresh_database: Database, next_revision: str) -> None:
        before = str(await current_revision())
        await upgrade_db()
        async with get_async_session() as db:
            session = await make_session(db)
        assert await downgrade_db(before) == (next_revision, before)
        assert await tables(fresh_database) == OURS
        async with async_session() as db:
            assert await crud.get_session(db, session.id) is not None

    async def test_a_newer_one_is_refused(self, fresh_database: Database, next_revision: str) -> None:
        with pytest.raises(Conflict, match=rf"older than {next_revision}: session-db upgrade {next_revision}"):
            await downgrade_db(next_revision)

    async def test_without_tables_there_is_nothing_to_go_back_from(self, empty_database: Database) -> None:
        with pytest.raises(Conflict, match=rf"there are no tables: session-db upgrade {head()}"):
            await downgrade_db(head())
        assert await tables(empty_database) == set()

    async def test_one_that_is_none_is_refused_with_those_there_are(self, fresh_database: Database) -> None:
        with pytest.raises(InvalidInput, match=r"no revision 'head'; use 0001.* or base"):
            await downgrade_db("head")

    async def test_tables_of_a_newer_release_are_left_alone(self, fresh_database: Database) -> None:
        await execute(fresh_database, "UPDATE session_db_version SET version_num = '0099'")
        for change in (downgrade_db("base"), upgrade_db()):
            with pytest.raises(Conflict, match=r"0099.*upgrade session-db"):
                await change
        assert await tables(fresh_database) == OURS


class TestSomebodyElsesTables:
    async def test_they_are_untouched_by_every_change_with_the_version_of_their_own_alembic(self, empty_database: Database) -> None:
        await execute(
            empty_database,
            "CREATE TABLE customers (id int)",
            "INSERT INTO customers VALUES (7)",
            "CREATE TABLE alembic_version (version_num varchar(32) PRIMARY KEY)",
            "INSERT INTO alembic_version VALUES ('0001')",
        )
        for change in (init_db, reset_db, lambda: downgrade_db("base"), upgrade_db):
            await change()
            assert await tables(empty_database) - OURS == {"customers", "alembic_version"}
        (row,) = await execute(empty_database, "SELECT id, version_num FROM customers, alembic_version")
        assert tuple(row) == (7, "0001")

    async def test_one_that_refers_to_ours_is_named_before_anything_is_dropped(self, fresh_database: Database) -> None:
        async with get_async_session() as db:
            session = await make_session(db)
        await execute(
            fresh_database,
            "CREATE TABLE notes (session_id uuid CONSTRAINT notes_of_sessions REFERENCES sessions)",
            f"INSERT INTO notes VALUES ('{session.id}')",
        )
        for change in (reset_db, lambda: downgrade_db("base")):
            with pytest.raises(Conflict, match=r"nothing was changed.*constraint notes_of_sessions on table notes"):
                await change()
        assert await tables(fresh_database) == OURS | {"notes"}
        assert len(await execute(fresh_database, "SELECT FROM notes JOIN sessions ON session_id = id")) == 1


class TestSchemaName:
    async def test_the_tables_stand_in_that_schema_beside_somebody_elses(self, empty_database: Database) -> None:
        await execute(empty_database, "CREATE TABLE sessions (id int)")
        use_settings(empty_database.settings.model_copy(update={"schema_name": "agent_data"}))
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
        await downgrade_db("base")
        assert (await tables(empty_database), await tables(empty_database, "agent_data")) == ({"sessions"}, set())


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
