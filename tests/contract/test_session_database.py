"""The first seed, *Session Database*: its snippets in their order, as printed."""

import shlex
import shutil
import subprocess
import sys
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, get_type_hints
from uuid import UUID

import pytest
from sqlalchemy import text

from session_db.crud import get_agent, get_session, list_agent_logs, list_sessions
from session_db.database import async_session, current_revision, get_async_session, head, init_db
from session_db.models import Agent, AgentLog, Session, SessionCreate
from session_db.settings import load_settings
from tests.contract.conftest import Run
from tests.databases import Database

ROOT = Path(__file__).parents[2]
MIGRATIONS = Path("src/session_db/migrations")

CREATE_A_SESSION = """
    from session_db.database import get_async_session
    from session_db.crud import create_session
    from session_db.models import SessionCreate

    async with get_async_session() as db:
        session = await create_session(db, SessionCreate(
            session_slug="2026-01-15_auth-feature",
            title="Implement Authentication",
            working_dir="/path/to/project",
            session_type="full",
        ))
"""

CREATE_AN_AGENT = """
    from session_db.crud import create_agent
    from session_db.models import AgentCreate

    async with get_async_session() as db:
        agent = await create_agent(db, AgentCreate(
            session_id=session.id,
            agent_type="spec",
            model="claude-sonnet-4-5-20250929",
            model_alias="sonnet",
        ))
"""

STORE_SDK_SESSION_ID = """
    from session_db.crud import update_agent
    from session_db.models import AgentUpdate

    # After receiving init message from SDK
    async with get_async_session() as db:
        await update_agent(db, agent.id, AgentUpdate(
            sdk_session_id="sess_abc123",  # From SDK init message
            status="executing",
            started_at=datetime.utcnow(),
        ))
"""

LOG_EVENTS = """
    from session_db.crud import create_agent_log
    from session_db.models import AgentLogCreate

    async with get_async_session() as db:
        await create_agent_log(db, AgentLogCreate(
            agent_id=agent.id,
            session_id=session.id,
            event_category="hook",
            event_type="PreToolUse",
            tool_name="Read",
            tool_input={"file_path": "/src/auth.py"},
        ))
"""


async def tables() -> set[str]:
    async with async_session() as db:
        rows = await db.execute(text("SELECT tablename FROM pg_tables WHERE schemaname = current_schema()"))
        return set(rows.scalars().all())


class TestUsage:
    async def test_initialize_the_database(self, run: Run, empty_database: Database) -> None:
        await run("""
            from session_db.database import init_db

            # Create all tables
            await init_db()
        """)
        assert await tables() >= {"sessions", "agents", "agent_logs"}

    async def test_create_a_session(self, run: Run, fresh_database: Database) -> None:
        names = await run(CREATE_A_SESSION)
        async with get_async_session() as db:
            stored = await get_session(db, names["session"].id)
        assert stored is not None
        assert isinstance(stored.id, UUID)
        assert stored.session_slug == "2026-01-15_auth-feature"
        assert stored.title == "Implement Authentication"
        assert stored.working_dir == "/path/to/project"
        assert stored.session_type == "full"
        assert stored.status == "created"
        assert stored.total_cost == 0

    async def test_create_an_agent(self, run: Run, fresh_database: Database) -> None:
        names = await run(CREATE_AN_AGENT, await run(CREATE_A_SESSION))
        async with get_async_session() as db:
            stored = await get_agent(db, names["agent"].id)
        assert stored is not None
        assert stored.session_id == names["session"].id
        assert (stored.agent_type, stored.model, stored.model_alias) == ("spec", "claude-sonnet-4-5-20250929", "sonnet")
        assert stored.status == "pending"

    # `datetime.utcnow()` is deprecated since Python 3.12; the seed calls it.
    @pytest.mark.filterwarnings("ignore:datetime.datetime.utcnow:DeprecationWarning")
    async def test_store_sdk_session_id(self, run: Run, fresh_database: Database) -> None:
        before = datetime.now(UTC)
        names = await run(CREATE_AN_AGENT, await run(CREATE_A_SESSION))
        await run(STORE_SDK_SESSION_ID, names | {"datetime": datetime})
        async with get_async_session() as db:
            stored = await get_agent(db, names["agent"].id)
        assert stored is not None
        assert (stored.sdk_session_id, stored.status) == ("sess_abc123", "executing")
        # A naive moment is taken as UTC.
        assert stored.started_at is not None
        assert before <= stored.started_at <= datetime.now(UTC)

    async def test_log_events(self, run: Run, fresh_database: Database) -> None:
        names = await run(LOG_EVENTS, await run(CREATE_AN_AGENT, await run(CREATE_A_SESSION)))
        async with get_async_session() as db:
            stored = await list_agent_logs(db, names["session"].id)
        assert [(log.agent_id, log.event_category, log.event_type, log.tool_name, log.tool_input) for log in stored] == [
            (names["agent"].id, "hook", "PreToolUse", "Read", {"file_path": "/src/auth.py"})
        ]


class TestMigrationsWithAlembic:
    @pytest.fixture
    def alembic(self, tmp_path: Path) -> Callable[[str, Database], None]:
        """Runs what stands behind ``uv run``, in a copy, so that a generated migration does not land in the checkout."""
        shutil.copy(ROOT / "alembic.ini", tmp_path)
        shutil.copytree(ROOT / MIGRATIONS, tmp_path / MIGRATIONS, ignore=shutil.ignore_patterns("__pycache__"))

        def call(command: str, database: Database) -> None:
            program, *arguments = shlex.split(command.removeprefix("uv run "))
            path = Path(sys.executable).with_name(program)
            done = subprocess.run([path, *arguments], cwd=tmp_path, env=database.environment, capture_output=True, text=True, check=False)
            assert done.returncode == 0, done.stdout + done.stderr

        return call

    @pytest.mark.parametrize(
        ("command", "name"),
        [
            ('uv run alembic revision --autogenerate -m "description"', "description"),
            ('alembic revision --autogenerate -m "Add clips table"', "add_clips_table"),
        ],
    )
    async def test_generate_a_migration(
        self, alembic: Callable[[str, Database], None], fresh_database: Database, tmp_path: Path, command: str, name: str
    ) -> None:
        before = set((tmp_path / MIGRATIONS / "versions").glob("*.py"))
        alembic(command, fresh_database)
        (generated,) = set((tmp_path / MIGRATIONS / "versions").glob("*.py")) - before
        assert generated.stem.endswith(f"_{name}")
        source = generated.read_text()
        assert f'down_revision: str | None = "{head()}"' in source.replace("'", '"')
        # The models and the migrations say the same, so there is nothing to migrate.
        assert "op." not in source.partition("def upgrade")[2]

    async def test_apply_migrations(self, alembic: Callable[[str, Database], None], empty_database: Database) -> None:
        alembic("uv run alembic upgrade head", empty_database)
        assert await current_revision() == head()
        assert await tables() >= {"sessions", "agents", "agent_logs"}

    async def test_rollback(self, alembic: Callable[[str, Database], None], fresh_database: Database) -> None:
        alembic("uv run alembic downgrade -1", fresh_database)
        assert await current_revision() != head()
        await init_db()
        assert await current_revision() == head()


class TestModels:
    """The tables of fields: each is there, under its name and with its type."""

    @pytest.mark.parametrize(
        ("model", "table"),
        [
            (
                Session,
                """
                | `id` | UUID | Primary key |
                | `session_slug` | str | Folder name (e.g., '2026-01-15_auth-feature') |
                | `status` | str | Workflow phase: created, spec, plan, build, docs, complete, failed |
                | `session_type` | str | full, quick, or research |
                | `working_dir` | str | Absolute path to project root |
                | `total_cost` | float | Aggregated cost across all agents |
                """,
            ),
            (
                Agent,
                """
                | `id` | UUID | Primary key |
                | `session_id` | UUID | Foreign key to sessions |
                | `agent_type` | str | spec, plan, build, research, docs, debug |
                | `sdk_session_id` | str | Claude SDK session ID for resumption |
                | `model` | str | Claude model ID |
                | `status` | str | pending, executing, complete, failed |
                | `checkpoint_id` | int | Checkpoint number (for build agents) |
                """,
            ),
            (
                AgentLog,
                """
                | `id` | UUID | Primary key |
                | `agent_id` | UUID | Foreign key to agents |
                | `session_id` | UUID | Foreign key to sessions (denormalized) |
                | `event_category` | str | hook, response, or phase |
                | `event_type` | str | PreToolUse, TextBlock, etc. |
                | `tool_name` | str | Tool name for tool events |
                | `payload` | JSON | Full event data |
                """,
            ),
        ],
    )
    def test_has_the_printed_fields(self, model: Any, table: str) -> None:
        types = {"UUID": UUID, "str": str, "float": float, "int": int, "JSON": Any}
        for row in table.strip().splitlines():
            name, kind = (cell.strip(" `") for cell in row.split("|")[1:3])
            assert get_type_hints(model)[name] in (types[kind], types[kind] | None), name

    @pytest.mark.parametrize("session_type", ["full", "quick", "research"])
    @pytest.mark.parametrize("status", ["created", "spec", "plan", "build", "docs", "complete", "failed"])
    def test_a_workflow_session_takes_the_printed_words(self, session_type: str, status: str) -> None:
        created = SessionCreate.model_validate({"session_type": session_type, "status": status})
        assert (created.session_type, created.status) == (session_type, status)


class TestEnvironmentVariables:
    @pytest.mark.parametrize(
        "url", ["postgresql+asyncpg://localhost/session_db", "postgresql+asyncpg://user:password@localhost:5432/session_db"]
    )
    def test_session_db_url_takes_the_printed_values_from_an_env_file(
        self, url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.chdir(tmp_path)
        (tmp_path / ".env").write_text(f"SESSION_DB_URL={url}\n")
        settings = load_settings(working_directory=True)
        assert settings.url is not None
        assert settings.url.get_secret_value() == url


class TestDevelopment:
    async def test_reset_database(self, run: Run, fresh_database: Database) -> None:
        await run(CREATE_A_SESSION)
        await run("""
            from session_db.database import reset_db

            await reset_db()  # WARNING: Deletes all data!
        """)
        async with get_async_session() as db:
            assert await list_sessions(db) == []
        assert await current_revision() == head()
