"""Backup and restore: everything comes back, into any place that is ours, and what fails or is killed has changed nothing."""

import asyncio
import os
import subprocess
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr

from session_db import crud
from session_db.database import (
    UnitOfWork,
    async_session,
    close_db,
    current_revision,
    downgrade_db,
    get_async_session,
    head,
    init_db,
    reset_db,
    upgrade_db,
)
from session_db.database import archives as archives_module
from session_db.database import backup as backup_module
from session_db.database.backup import backup_database, restore_database
from session_db.database.filling import SEQUENCES
from session_db.database.programs import _programs, find_program, program_output
from session_db.database.schema import known_revisions
from session_db.errors import AlreadyExists, Conflict, InvalidInput, Unavailable
from session_db.models import METADATA
from session_db.settings import get_settings, use_settings
from tests.contents import HOSTILE_JSON, LARGE_JSON, digests, fill
from tests.databases import Database, PostgreSQL
from tests.factories import event, make_session
from tests.invariants import violations
from tests.migrations.test_migrations import shape
from tests.processes import let_all_go, workers

BACKUP = """
from pathlib import Path
from session_db.database.backup import backup_database

async def main():
    await backup_database(Path(sys.argv[1]), on_progress=tell_until("writing"))

asyncio.run(main())
"""
RESTORE = """
from pathlib import Path
from session_db.database.backup import restore_database

async def main():
    await restore_database(Path(sys.argv[1]), replace=True, on_progress=tell_until(sys.argv[2]))

asyncio.run(main())
"""
WRITE = """
async def main():
    session = UUID(sys.argv[1])
    try:
        for number in count():
            async with get_async_session() as db:
                await crud.append_agent_logs(db, [event(session, None), event(session, None)])
            print(number, flush=True)
    finally:
        await close_db()

asyncio.run(main())
"""


@asynccontextmanager
async def used(database: Database, **changes: object) -> AsyncIterator[None]:
    """Use a database with other settings; pg_dump reaches it without the pooler that may stand before it."""
    await close_db()
    use_settings(database.settings.model_copy(update={"listen_url": SecretStr(database.direct_url), **changes}))
    try:
        yield
    finally:
        await close_db()
        use_settings(database.settings)


@pytest.fixture
async def fresh_database(fresh_database: Database) -> AsyncIterator[Database]:
    async with used(fresh_database):
        yield fresh_database


@pytest.fixture
async def empty_database(empty_database: Database) -> AsyncIterator[Database]:
    async with used(empty_database):
        yield empty_database


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "all.backup"


async def add_session(**values: object) -> None:
    async with get_async_session() as db:
        await make_session(db, **values)


async def number_of_sessions() -> int:
    async with async_session() as db:
        return len(await crud.list_sessions(db))


def listed(file: Path) -> str:
    return subprocess.run([find_program("pg_restore"), "--list", file], check=True, capture_output=True, text=True).stdout


class TestBackupAndRestore:
    async def test_all_tables_are_as_they_were(self, fresh_database: Database, file: Path) -> None:
        await fill(payloads=[*HOSTILE_JSON, LARGE_JSON])
        before, shape_before = await digests(fresh_database), await shape(fresh_database)
        assert [name for name, (rows, _) in before.items() if not rows] == []
        done = await backup_database(file)
        assert (done.size_bytes, done.revision) == (file.stat().st_size, head())
        await downgrade_db("base")
        assert await digests(fresh_database) == {}
        restored = await restore_database(file)
        assert await digests(fresh_database) == before
        assert restored.rows == {name: rows for name, (rows, _) in before.items()}
        assert await shape(fresh_database) == shape_before

    async def test_what_others_write_meanwhile_is_in_it_whole_or_not_at_all(self, fresh_database: Database, file: Path) -> None:
        async with get_async_session() as db:
            session = await make_session(db)
            for _ in range(20):
                await crud.append_agent_logs(db, [event(session, payload={"text": "x" * 10_000}) for _ in range(100)])
        with workers(fresh_database, WRITE, [[session.id], [session.id]]) as writers:
            await let_all_go(writers)
            await asyncio.gather(*(writer.acknowledged(3) for writer in writers))
            await backup_database(file)
            for writer in writers:
                writer.kill()
                await writer.end()
        await restore_database(file, replace=True)
        async with fresh_database.connected() as connection:
            assert await violations(connection) == []
        async with async_session() as db:
            assert (found := await crud.get_session(db, session.id)) is not None
            assert found.event_count >= 2_006

    async def test_numbers_go_on_behind_the_last_one(self, fresh_database: Database, file: Path) -> None:
        await fill(payloads=[])
        await backup_database(file)
        await restore_database(file, replace=True)
        async with fresh_database.connected() as connection:
            for table in ("messages", "memory_files"):
                assert await connection.fetchval(f"SELECT nextval('{table}_id_seq') > (SELECT max(id) FROM {table})")

    async def test_an_empty_database_is_backed_up_as_well(self, fresh_database: Database, file: Path) -> None:
        await backup_database(file)
        await add_session()
        await restore_database(file, replace=True)
        assert await number_of_sessions() == 0

    async def test_a_schema_of_its_own_goes_into_any_other(self, empty_database: Database, file: Path) -> None:
        async with used(empty_database, schema_name="one"):
            await init_db()
            await add_session()
            await backup_database(file)
        async with used(empty_database, schema_name="other"):
            await restore_database(file)
            assert (await number_of_sessions(), await current_revision()) == (1, head())
        async with empty_database.connected() as connection:
            assert await connection.fetchval("SELECT count(*) FROM one.sessions, other.sessions") == 1


class TestBackup:
    async def test_only_its_owner_can_read_the_file(self, fresh_database: Database, file: Path) -> None:
        await backup_database(file)
        assert file.stat().st_mode & 0o777 == 0o600
        assert list(file.parent.iterdir()) == [file]

    async def test_a_file_that_is_there_is_replaced_only_when_told_so(self, fresh_database: Database, file: Path) -> None:
        file.write_text("mine")
        with pytest.raises(AlreadyExists, match=r"all\.backup exists already.*--force"):
            await backup_database(file)
        assert file.read_text() == "mine"
        await backup_database(file, replace=True)
        assert "TABLE DATA public sessions" in listed(file)

    async def test_what_is_no_file_is_refused(self, fresh_database: Database, tmp_path: Path) -> None:
        with pytest.raises(InvalidInput, match="is no file"):
            await backup_database(tmp_path, replace=True)
        with pytest.raises(InvalidInput, match="there is no directory"):
            await backup_database(tmp_path / "none" / "file")

    async def test_tables_of_others_are_left_out(self, fresh_database: Database, file: Path) -> None:
        async with fresh_database.connected() as connection:
            await connection.execute("CREATE TABLE customers (id int); CREATE SCHEMA other; CREATE TABLE other.sessions (id int)")
            await connection.execute("INSERT INTO customers VALUES (1)")
        await backup_database(file)
        assert "customers" not in listed(file)
        assert " other " not in listed(file)
        await restore_database(file, replace=True)
        async with fresh_database.connected() as connection:
            assert await connection.fetchval("SELECT id FROM customers") == 1

    async def test_a_killed_one_leaves_no_file_and_the_next_one_removes_its_remains(self, fresh_database: Database, file: Path) -> None:
        await fill(payloads=[LARGE_JSON])
        with workers(fresh_database.without_pooler, BACKUP, [[file]]) as (worker,):
            await let_all_go([worker])
            await worker.acknowledged(1)
            worker.kill()
            await worker.end()
        assert not file.exists()
        assert len(list(file.parent.iterdir())) == 1
        await backup_database(file)
        assert list(file.parent.iterdir()) == [file]

    async def test_one_at_the_same_time_loses_no_file_of_the_other(self, fresh_database: Database, file: Path) -> None:
        await fill(payloads=[LARGE_JSON])
        results = await asyncio.gather(*(backup_database(path) for path in (file, file, file.with_name("b"))), return_exceptions=True)
        assert sorted(type(result).__name__ for result in results) == ["AlreadyExists", "Backup", "Backup"]
        assert sorted(path.name for path in file.parent.iterdir()) == ["all.backup", "b"]

    async def test_tables_of_an_older_revision_are_backed_up_as_they_are(self, fresh_database: Database, file: Path) -> None:
        await fill(payloads=[])
        await downgrade_db("0003")
        assert (await backup_database(file)).revision == "0003"
        assert await current_revision() == "0003"
        await upgrade_db()
        upgraded = await digests(fresh_database)
        assert (await restore_database(file, replace=True)).revision == "0003"
        assert await current_revision() == head()
        assert await digests(fresh_database) == upgraded

    async def test_no_revision_has_a_table_that_would_be_left_out(self, fresh_database: Database) -> None:
        for revision in sorted(known_revisions(), reverse=True):
            await downgrade_db(revision)
            async with fresh_database.connected() as connection:
                names = await connection.fetch(
                    "SELECT relname FROM pg_class WHERE relnamespace = 'public'::regnamespace AND relkind IN ('r', 'S')"
                )
            assert {row["relname"] for row in names} <= {*METADATA.tables, *SEQUENCES.values(), "session_db_version"}

    async def test_without_tables_there_is_nothing_to_back_up(self, empty_database: Database, file: Path) -> None:
        with pytest.raises(Conflict, match="there are no tables"):
            await backup_database(file)
        assert list(file.parent.iterdir()) == []

    async def test_tables_of_a_newer_session_db_are_left_to_it(self, fresh_database: Database, file: Path) -> None:
        async with fresh_database.connected() as connection:
            await connection.execute("UPDATE session_db_version SET version_num = '9999'")
        with pytest.raises(Conflict, match=r"9999.*upgrade session-db"):
            await backup_database(file)

    async def test_an_upgrade_meanwhile_is_told(self, fresh_database: Database, file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        await downgrade_db("0003")

        @asynccontextmanager
        async def upgraded_then(*arguments: Any, **options: Any) -> AsyncIterator[Any]:
            async with program_output(*arguments, **options) as pieces:
                yield pieces
            await init_db()

        monkeypatch.setattr(backup_module, "program_output", upgraded_then)
        with pytest.raises(Conflict, match="upgraded meanwhile"):
            await backup_database(file)
        assert list(file.parent.iterdir()) == []

    async def test_a_server_that_is_too_new_for_every_pg_dump(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("PATH", "/nowhere")
        _programs.cache_clear()
        with pytest.raises(
            Unavailable, match=r"the newest pg_dump here is of 18: install the client programs of PostgreSQL 19.*export --all"
        ):
            find_program("pg_dump", server=19)
        _programs.cache_clear()

    async def test_a_newer_pg_dump_in_the_path_is_taken(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        program = tmp_path / "pg_dump"
        program.write_text("#!/bin/sh\necho 'pg_dump (PostgreSQL) 19.2 (Debian 19.2-1)'\n")
        program.chmod(0o755)
        monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
        _programs.cache_clear()
        assert find_program("pg_dump", server=19) == program
        assert find_program("pg_dump", server=18) != program
        _programs.cache_clear()

    async def test_a_pooler_that_nothing_leads_around_is_refused(self, fresh_database: Database, postgres: PostgreSQL, file: Path) -> None:
        if postgres.pooler_url is None:
            pytest.skip("no pooler stands before this server")
        use_settings(get_settings().model_copy(update={"listen_url": None}))
        with pytest.raises(Unavailable, match=r"pooler.*SESSION_DB_LISTEN_URL"):
            await backup_database(file)


class TestRestore:
    async def test_what_is_there_is_lost_only_when_told_so(self, fresh_database: Database, file: Path) -> None:
        await backup_database(file)
        await add_session()
        before = await digests(fresh_database)
        with pytest.raises(Conflict, match=r"rows in sessions\. Say --replace"):
            await restore_database(file)
        assert await digests(fresh_database) == before

    async def test_nothing_but_rows_of_ours_is_taken_from_a_file(self, fresh_database: Database, file: Path) -> None:
        await add_session()
        async with fresh_database.connected() as connection:
            await connection.execute(
                """CREATE FUNCTION spy() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RAISE EXCEPTION ''run''; END';
                   CREATE TRIGGER spy BEFORE INSERT ON sessions FOR EACH ROW EXECUTE FUNCTION spy();
                   CREATE INDEX slow ON sessions (description); ALTER TABLE sessions ENABLE ROW LEVEL SECURITY"""
            )
        await backup_database(file)
        await restore_database(file, replace=True)
        async with fresh_database.connected() as connection:
            assert await connection.fetchval("SELECT count(*) FROM pg_trigger WHERE tgname = 'spy'") == 0
            assert await connection.fetchval("SELECT to_regclass('slow')") is None
        await add_session()

    @pytest.mark.parametrize("content", [b"", b"hello\n", b'{"type": "user"}\n', b"PGDMP", b"PGDMP" + bytes(3000)])
    async def test_a_file_that_is_no_backup_is_named(self, fresh_database: Database, file: Path, content: bytes) -> None:
        await add_session()
        file.write_bytes(content)
        with pytest.raises(InvalidInput, match=r"all\.backup cannot be read as a backup"):
            await restore_database(file, replace=True)
        assert await number_of_sessions() == 1

    async def test_one_that_is_not_there_is_named(self, fresh_database: Database, file: Path) -> None:
        with pytest.raises(InvalidInput, match=r"there is no file .*all\.backup"):
            await restore_database(file)

    async def test_one_that_was_cut_changes_nothing(self, fresh_database: Database, file: Path) -> None:
        await fill()
        await backup_database(file)
        whole = file.read_bytes()
        await reset_db()
        await add_session()
        before = await digests(fresh_database)
        for end in [len(whole) - 1, *(len(whole) * part // 8 for part in range(1, 8))]:
            file.write_bytes(whole[:end])
            with pytest.raises(InvalidInput, match="cannot be read as a backup"):
                await restore_database(file, replace=True)
            assert await digests(fresh_database) == before

    async def test_a_dump_of_something_else_is_named(self, empty_database: Database, file: Path) -> None:
        async with empty_database.connected() as connection:
            await connection.execute("CREATE TABLE customers (id int)")
        subprocess.run([find_program("pg_dump"), "--format=custom", f"--file={file}", empty_database.direct_url], check=True)
        with pytest.raises(InvalidInput, match="it has none"):
            await restore_database(file)

    async def test_a_whole_database_that_pg_dump_wrote_will_do(self, fresh_database: Database, file: Path) -> None:
        await add_session()
        async with fresh_database.connected() as connection:
            await connection.execute("CREATE TABLE customers (id int); CREATE SCHEMA other; CREATE TABLE other.sessions (id int)")
        subprocess.run([find_program("pg_dump"), "--format=custom", f"--file={file}", fresh_database.direct_url], check=True)
        before = await digests(fresh_database)
        await restore_database(file, replace=True)
        assert await digests(fresh_database) == before

    async def test_one_of_a_newer_session_db_is_left_to_it(
        self, fresh_database: Database, file: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        await backup_database(file)
        monkeypatch.setattr(archives_module, "known_revisions", lambda: {"0001"})
        with pytest.raises(Conflict, match=rf"revision {head()}, which this session-db does not know.*upgrade session-db"):
            await restore_database(file)

    async def test_a_column_that_its_revision_does_not_have_is_named(self, fresh_database: Database, file: Path) -> None:
        async with fresh_database.connected() as connection:
            await connection.execute("ALTER TABLE songs ADD tempo int")
        await backup_database(file)
        with pytest.raises(InvalidInput, match="columns of songs that its revision does not have: tempo"):
            await restore_database(file)
        assert await current_revision() == head()

    async def test_a_table_of_others_that_refers_to_ours_stops_it(self, fresh_database: Database, file: Path) -> None:
        await add_session()
        await backup_database(file)
        async with fresh_database.connected() as connection:
            await connection.execute("CREATE TABLE notes (session_id uuid REFERENCES sessions)")
        before = await digests(fresh_database)
        with pytest.raises(Conflict, match="notes"):
            await restore_database(file, replace=True)
        assert await digests(fresh_database) == before

    async def test_it_gives_way_to_those_who_use_the_tables(
        self, fresh_database: Database, file: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        await backup_database(file)
        monkeypatch.setattr(backup_module, "PATIENCE", "200ms")
        async with fresh_database.connected() as reader, reader.transaction():
            await reader.execute("SELECT FROM songs")
            with pytest.raises(Conflict, match="others use the tables"):
                await restore_database(file, replace=True)

    @pytest.mark.parametrize("moment", ["agent_logs", "indexes"])
    async def test_a_killed_one_has_changed_nothing(self, fresh_database: Database, file: Path, moment: str) -> None:
        await fill(payloads=[LARGE_JSON])
        await backup_database(file)
        await reset_db()
        await add_session()
        before = await digests(fresh_database)
        await close_db()
        with workers(fresh_database.without_pooler, RESTORE, [[file, moment]]) as (worker,):
            await let_all_go([worker])
            while not any(line.startswith(moment) for line in worker.lines):
                await asyncio.sleep(0.005)
            worker.kill()
            await worker.end()
        assert await digests(fresh_database) == before
        await restore_database(file, replace=True)


async def test_a_unit_of_work_sees_what_was_restored(fresh_database: Database, file: Path) -> None:
    await add_session(agent_name="restored")
    await backup_database(file)
    await reset_db()
    await restore_database(file)
    db: UnitOfWork
    async with async_session() as db:
        assert [session.agent_name for session in await crud.list_sessions(db)] == ["restored"]
