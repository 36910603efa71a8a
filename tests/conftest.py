"""A real PostgreSQL, and databases on it whose tables the real migrations made."""

import asyncio
import os
import shutil
import tempfile
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from session_db.database import UnitOfWork, init_db
from session_db.database.connection import _Engines, create_engine
from session_db.database.embedded import EmbeddedServer
from session_db.settings import use_settings
from tests.databases import Database, PostgreSQL

# Nothing here outlives a crash of the server.
FAST = {"fsync": "off", "synchronous_commit": "off", "full_page_writes": "off", "max_connections": "200"}


@pytest.fixture(scope="session")
def empty_directory() -> Iterator[Path]:
    """A directory that everybody may enter and that holds nothing."""
    path = Path(tempfile.mkdtemp(prefix="session-db-empty-"))
    path.chmod(0o755)
    yield path
    shutil.rmtree(path)


@pytest.fixture(autouse=True)
def no_settings_of_the_user(empty_directory: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Let neither the environment nor a ``.env`` of whoever runs the tests have a say."""
    for name in os.environ:
        if name.startswith(("SESSION_DB_", "TOOLER_DB_", "DB_")):
            monkeypatch.delenv(name)
    monkeypatch.setenv("SESSION_DB_HOME", str(empty_directory / "home"))
    monkeypatch.chdir(empty_directory)
    use_settings(None)
    yield
    use_settings(None)
    # One that was asked for outside of an event loop, and never connected.
    _Engines.unbound = None
    forgotten = list(_Engines.by_loop.values())
    _Engines.by_loop.clear()
    assert [engine.pool.status() for engine in forgotten] == [], "an event loop ended without close_db()"


@pytest.fixture(scope="session")
def postgres() -> Iterator[PostgreSQL]:
    """The server of ``SESSION_DB_TEST_URL``, else the project's own embedded one."""
    url = os.environ.get("SESSION_DB_TEST_URL")
    if url:
        yield PostgreSQL(url)
        return
    # Short, because it becomes part of a socket's path; and open to the unprivileged user that runs the server for root.
    parent = Path(tempfile.mkdtemp(prefix="sdb-", dir="/tmp" if os.name == "posix" else None))  # noqa: S108  the path must be short
    parent.chmod(0o711)
    server = EmbeddedServer(parent / "h", idle_seconds=0.5, settings=FAST)
    server.acquire()
    try:
        arguments = server.connect_arguments
        yield PostgreSQL(f"postgresql://{arguments['user']}@/{arguments['database']}?host={server.status().socket.parent}")
    finally:
        server.release()
        _wait_until_stopped(server)
        shutil.rmtree(parent)


def _wait_until_stopped(server: EmbeddedServer) -> None:
    for _ in range(200):
        if not server.status().running:
            return
        asyncio.run(asyncio.sleep(0.05))


@pytest.fixture(scope="session")
def template(postgres: PostgreSQL) -> Iterator[Database]:
    """A database that the migrations brought to head; nobody connects to it."""

    async def make() -> Database:
        database = await postgres.create("template")
        async with database.used():
            await init_db()
        return database

    database = asyncio.run(make())
    yield database
    asyncio.run(postgres.drop(database))


@pytest.fixture(scope="session")
def shared_database(postgres: PostgreSQL, template: Database) -> Iterator[Database]:
    """The database of all tests that roll back."""
    database = asyncio.run(postgres.create("shared", template.name))
    yield database
    asyncio.run(postgres.drop(database))


@pytest.fixture
async def db(shared_database: Database) -> AsyncIterator[UnitOfWork]:
    """A unit of work whose commits are savepoints of a transaction that is rolled back."""
    engine = create_engine(shared_database.settings, pooled=False)
    async with engine.connect() as connection:
        transaction = await connection.begin()
        db = UnitOfWork(bind=connection, join_transaction_mode="create_savepoint", expire_on_commit=False)
        yield db
        await db.rollback()
        await db.close()
        await transaction.rollback()
    await engine.dispose()


@pytest.fixture
async def fresh_database(postgres: PostgreSQL, template: Database) -> AsyncIterator[Database]:
    """A database of this test's own, which ``init_db``, ``get_async_session`` and ``async_session`` use."""
    async with postgres.own("fresh", template.name) as database:
        yield database


@pytest.fixture
async def empty_database(postgres: PostgreSQL) -> AsyncIterator[Database]:
    """Like ``fresh_database``, without any table."""
    async with postgres.own("empty") as database:
        yield database
