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
from session_db.settings import use_settings
from tests.databases import Database, PostgreSQL
from tests.servers import server_of


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--server",
        default=os.environ.get("SESSION_DB_TEST_URL", "embedded"),
        help="PostgreSQL for the tests marked db: embedded, 15 (Debian's packages), pgbouncer (before that one), or a URL.",
    )


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark the tests that need nothing but a PostgreSQL: any of those that session-db runs on must do."""
    for item in items:
        if "postgres" in getattr(item, "fixturenames", ()):
            item.add_marker(pytest.mark.db)
        if getattr(getattr(item, "obj", None), "is_hypothesis_test", False):
            # Counting the lines of a thousand examples takes as long as running them.
            item.add_marker(pytest.mark.no_cover)


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
def postgres(request: pytest.FixtureRequest) -> Iterator[PostgreSQL]:
    """The server that ``--server`` names."""
    with server_of(request.config.getoption("--server")) as server:
        yield server


@pytest.fixture(scope="session")
def template(postgres: PostgreSQL) -> Iterator[Database]:
    """A database that the migrations brought to head; nobody connects to it."""

    async def make() -> Database:
        database = await postgres.create("template")
        async with database.used():
            await init_db()
        await postgres.disconnect(database)
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
