"""Migrations: up, down, up again, and nothing between them and the models."""

import asyncio
import subprocess
import sys
from pathlib import Path

import pytest
from alembic import command
from alembic.script import ScriptDirectory
from alembic.util import CommandError
from sqlalchemy import Connection

from session_db.database import current_revision, downgrade_db, get_async_session, head, init_db
from session_db.database.connection import create_engine
from session_db.database.schema import alembic_config
from session_db.models import METADATA
from session_db.settings import get_settings
from tests.databases import Database
from tests.factories import make_session

ROOT = Path(__file__).parents[2]
COLUMNS = """
SELECT table_name, column_name, data_type, is_nullable, column_default, character_maximum_length
FROM information_schema.columns WHERE table_schema = 'public' ORDER BY 1, 2
"""
OBJECTS = """
SELECT conname AS name, pg_get_constraintdef(oid) AS definition FROM pg_constraint WHERE connamespace = 'public'::regnamespace
UNION ALL SELECT indexname, indexdef FROM pg_indexes WHERE schemaname = 'public'
UNION ALL SELECT relname, relkind::text FROM pg_class WHERE relnamespace = 'public'::regnamespace AND relkind IN ('S', 'v')
ORDER BY 1, 2
"""


async def shape(database: Database) -> list[tuple[object, ...]]:
    """Return everything that stands in the schema."""
    async with database.connected() as connection:
        return [tuple(row) for query in (COLUMNS, OBJECTS) for row in await connection.fetch(query)]


async def alembic(name: str, *arguments: str) -> None:
    """Run a command of Alembic on a connection of ours."""

    def run(connection: Connection) -> None:
        getattr(command, name)(alembic_config(connection=connection), *arguments)

    engine = create_engine(get_settings(), pooled=False)
    async with engine.begin() as connection:
        await connection.run_sync(run)
    await engine.dispose()


async def alembic_command(database: Database, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run the command as people do, in the checkout."""
    program = Path(sys.executable).with_name("alembic")
    variables = database.environment | environment

    def run() -> subprocess.CompletedProcess[str]:
        return subprocess.run([program, *arguments], cwd=ROOT, env=variables, capture_output=True, text=True, check=False)

    return await asyncio.to_thread(run)


class TestMigrations:
    async def test_up_down_up_makes_the_same_schema(self, fresh_database: Database) -> None:
        before = await shape(fresh_database)
        await alembic("downgrade", "base")
        assert await shape(fresh_database) == []
        await init_db()
        assert await shape(fresh_database) == before
        assert await current_revision() == head()

    async def test_each_step_can_be_undone(self, fresh_database: Database) -> None:
        steps = list(ScriptDirectory.from_config(alembic_config()).walk_revisions())
        for _ in steps:
            await alembic("downgrade", "-1")
        assert await current_revision() is None
        for _ in steps:
            await alembic("upgrade", "+1")
        assert await current_revision() == head()

    async def test_nothing_is_missing_between_them_and_the_models(self, fresh_database: Database) -> None:
        await alembic("check")

    async def test_the_check_sees_a_difference(self, fresh_database: Database) -> None:
        async with fresh_database.connected() as connection:
            await connection.execute("ALTER TABLE agents DROP name; COMMENT ON COLUMN agents.model IS 'else'")
        with pytest.raises(CommandError, match="New upgrade operations detected"):
            await alembic("check")

    async def test_other_tables_of_the_database_are_none_of_its_business(self, fresh_database: Database) -> None:
        async with fresh_database.connected() as connection:
            await connection.execute("CREATE TABLE customers (id int); CREATE TABLE alembic_version (version_num varchar(32) PRIMARY KEY)")
            await connection.execute("CREATE TABLE notes (session_id uuid REFERENCES sessions)")
        await alembic("check")

    async def test_they_need_no_class_of_ours(self) -> None:
        for path in (ROOT / "src/session_db/migrations/versions").glob("*.py"):
            assert "session_db." not in path.read_text().replace("session_db.migrations", "")


class TestAlembicCommand:
    async def test_it_upgrades_checks_and_downgrades(self, empty_database: Database) -> None:
        for arguments in (("upgrade", "head"), ("check",), ("downgrade", "-1"), ("upgrade", "head")):
            done = await alembic_command(empty_database, *arguments)
            assert done.returncode == 0, done.stderr
        assert await current_revision() == head()

    async def test_it_makes_the_schema_that_the_settings_name(self, empty_database: Database) -> None:
        done = await alembic_command(empty_database, "upgrade", "head", SESSION_DB_SCHEMA="agent_data")
        assert done.returncode == 0, done.stderr
        async with empty_database.connected() as connection:
            rows = await connection.fetch("SELECT tablename FROM pg_tables WHERE schemaname = 'agent_data'")
        assert {row["tablename"] for row in rows} == {*METADATA.tables, "session_db_version"}

    async def test_it_leaves_somebody_elses_table_alone(self, empty_database: Database) -> None:
        async with empty_database.connected() as connection:
            await connection.execute("CREATE TABLE sessions (id int)")
        done = await alembic_command(empty_database, "upgrade", "head")
        assert done.returncode != 0
        assert "SESSION_DB_SCHEMA" in done.stderr


class TestBesideWriters:
    async def test_an_upgrade_and_a_writer_of_several_tables_wait_in_no_circle(self, fresh_database: Database) -> None:
        async with get_async_session() as db:
            session_id = (await make_session(db)).id
        await downgrade_db("0001")
        # By hand: the tables of that time are not those of the models.
        async with fresh_database.connected() as writer, writer.transaction():
            await writer.execute("SELECT FROM sessions WHERE id = $1 FOR NO KEY UPDATE", session_id)
            upgrade = asyncio.create_task(init_db())
            async with fresh_database.connected() as connection:
                while not await connection.fetchval("SELECT count(*) FROM pg_locks WHERE NOT granted"):
                    await asyncio.sleep(0.01)
            await writer.execute("DELETE FROM agents WHERE session_id = $1", session_id)
            await writer.execute("DELETE FROM transcripts WHERE session_id = $1", session_id)
        await upgrade
        assert await current_revision() == head()
