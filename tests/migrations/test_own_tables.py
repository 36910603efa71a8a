"""An application that keeps tables of its own beside ours, with an Alembic of its own: docs/how-to/own-tables.md."""

import asyncio
import re
import subprocess
import sys
from pathlib import Path

import pytest

from session_db.database import current_revision, head
from tests.databases import Database

PAGE = (Path(__file__).parents[2] / "docs/how-to/own-tables.md").read_text()
PROGRAM, INCLUDE_NAME = re.findall(r"^```py(?:thon)?\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
MODELS = """
from sqlalchemy import Column, ForeignKey, Integer, MetaData, Table
from session_db.models import Session

metadata = MetaData()
Table("customers", metadata, Column("id", Integer, primary_key=True))
Table("tickets", metadata, Column("number", Integer, primary_key=True), Column("session_id", ForeignKey(Session.__table__.c.id)))
"""


class Application:
    """A folder with an Alembic as ``alembic init`` makes it, for an application whose tables stand in ``models.py``."""

    def __init__(self, directory: Path, database: Database) -> None:
        self.directory = directory
        self.database = database

    async def alembic(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        command = [str(Path(sys.executable).with_name("alembic")), *arguments]

        def run() -> subprocess.CompletedProcess[str]:
            return subprocess.run(command, cwd=self.directory, capture_output=True, text=True, check=False)

        return await asyncio.to_thread(run)

    async def begin(self, snippet: str, argument: str) -> None:
        done = await self.alembic("init", "--template", "async", "migrations")
        assert done.returncode == 0, done.stderr
        (self.directory / "models.py").write_text(MODELS)
        self._change(
            "alembic.ini", r"^sqlalchemy.url = .*", f"sqlalchemy.url = {self.database.direct_url.replace('://', '+asyncpg://', 1)}"
        )
        self._change("migrations/env.py", r"^target_metadata = None", f"from models import metadata as target_metadata\n{snippet}")
        self._change("migrations/env.py", r"connection=connection, ", f"connection=connection, {argument}")

    def _change(self, name: str, pattern: str, replacement: str) -> None:
        path = self.directory / name
        text, changes = re.subn(pattern, lambda _: replacement, path.read_text(), flags=re.MULTILINE)
        assert changes == 1, pattern
        path.write_text(text)


@pytest.fixture
def application(fresh_database: Database, tmp_path: Path) -> Application:
    return Application(tmp_path, fresh_database)


async def test_its_alembic_leaves_ours_alone_and_sees_its_own(application: Application) -> None:
    await application.begin(INCLUDE_NAME, "include_name=include_name, ")
    for arguments in (("revision", "--autogenerate", "-m", "own"), ("upgrade", "head"), ("check",)):
        done = await application.alembic(*arguments)
        assert done.returncode == 0, done.stdout + done.stderr
    (revision,) = (application.directory / "migrations/versions").glob("*_own.py")
    upgrade = revision.read_text().partition("def upgrade")[2].partition("def downgrade")[0]
    assert re.findall(r"op\.(\w+)\(\s*'(\w+)'", upgrade) == [("create_table", "customers"), ("create_table", "tickets")]
    assert await current_revision() == head()


async def test_without_the_pages_lines_it_would_drop_ours(application: Application) -> None:
    await application.begin("", "")
    done = await application.alembic("revision", "--autogenerate", "-m", "own")
    assert "Detected removed table 'sessions'" in done.stderr


async def test_the_pages_program_saves_a_row_that_refers_to_a_session(fresh_database: Database) -> None:
    await asyncio.to_thread(subprocess.run, [sys.executable, "-c", PROGRAM], env=fresh_database.environment, check=True)
    async with fresh_database.connected() as connection:
        assert await connection.fetchval("SELECT number FROM ticket JOIN sessions ON session_id = id") == 4711
        await connection.execute("DELETE FROM sessions")
        assert await connection.fetchval("SELECT count(*) FROM ticket") == 0
