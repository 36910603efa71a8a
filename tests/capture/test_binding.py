"""Which session an SDK session belongs to that begins where another one was cleared."""

import json
import os
from pathlib import Path
from uuid import UUID

import pytest
from sqlalchemy import event

from session_db import crud
from session_db.capture.binding import find_session
from session_db.capture.drain import drain
from session_db.capture.spool import spool_of
from session_db.crud.agents import list_agents
from session_db.database import async_session, get_async_session
from session_db.models import Session
from session_db.settings import Settings
from tests.databases import Database
from tests.factories import make_session

BEFORE = UUID("0c6b3c0a-7d31-4b7a-9d13-1f6b1f5b1c11")
AFTER = UUID("1d7c4d1b-8e42-4c8b-8e24-2a7c2a6c2d22")


@pytest.fixture
def settings(fresh_database: Database, tmp_path: Path) -> Settings:
    return fresh_database.settings.model_copy(update={"home": tmp_path / "home"})


def put(settings: Settings, session_id: UUID, name: str, *, environment: dict[str, str], host: str | None = None, **payload: str) -> None:
    told = {"session_id": str(session_id), "hook_event_name": name, "cwd": "/home/dev/demo"} | payload
    spool_of(settings).put(json.dumps(told).encode(), environment, host or os.uname().nodename)


async def session_of(session_id: UUID) -> Session | None:
    async with async_session() as db:
        return await crud.get_session(db, session_id)


class TestNamed:
    async def test_the_nearest_directory_that_has_the_slug_counts(self, fresh_database: Database) -> None:
        async with get_async_session() as db:
            for directory in ("/", "/home", "/home/dev", "/home/dev/demo/src/deep", "/home/develop"):
                await make_session(db, session_type="full", session_slug="feature", working_dir=directory)
            found = await find_session(db, "feature", "/home/dev/demo/../demo/src/")
            windows = await make_session(db, session_type="full", session_slug="feature", working_dir="C:\\Users")
            found_windows = await find_session(db, "feature", "C:\\Users\\dev")
        assert found is not None
        assert found.working_dir == "/home/dev"
        assert found_windows is not None
        assert found_windows.id == windows.id

    @pytest.mark.parametrize("directory", ["/" + "d/" * 500_000, "/" + "d/" * 2_000, "/" + "/" * 1_000_000])
    async def test_a_directory_as_deep_as_somebody_likes_costs_one_statement(self, fresh_database: Database, directory: str) -> None:
        statements: list[str] = []
        async with get_async_session() as db:
            connection = await db.connection()
            event.listen(connection.sync_connection, "before_cursor_execute", lambda *told: statements.append(told[2]))
            assert await find_session(db, "feature", directory) is None
        assert len(statements) <= 1


class TestCleared:
    async def test_the_new_session_knows_the_one_before_it(self, settings: Settings) -> None:
        put(settings, BEFORE, "SessionEnd", reason="clear", environment={"CLAUDE_PID": "7"})
        put(settings, AFTER, "SessionStart", source="clear", environment={"CLAUDE_PID": "7"})
        put(settings, AFTER, "UserPromptSubmit", prompt="On", environment={"CLAUDE_PID": "7"})
        await drain(settings)
        before, after = await session_of(BEFORE), await session_of(AFTER)
        assert before is not None
        assert after is not None
        assert (before.cleared_from, after.cleared_from) == (None, BEFORE)

    async def test_it_does_so_when_the_end_was_drained_before(self, settings: Settings) -> None:
        put(settings, BEFORE, "SessionEnd", reason="clear", environment={"CLAUDE_PID": "7"})
        await drain(settings)
        put(settings, AFTER, "SessionStart", source="clear", environment={"CLAUDE_PID": "7"})
        await drain(settings)
        after = await session_of(AFTER)
        assert after is not None
        assert after.cleared_from == BEFORE

    @pytest.mark.parametrize(
        ("reason", "source", "pids", "host"),
        [("clear", "clear", ("7", "8"), None), ("other", "clear", ("7", "7"), None), ("clear", "startup", ("7", "7"), None),
         ("clear", "clear", ("7", "7"), "elsewhere"), ("clear", "clear", ("", ""), None)],
        ids=["another process", "an end", "a start", "another host", "an unknown process"],
    )  # fmt: skip
    async def test_one_that_has_nothing_to_do_with_it_is_left(
        self, settings: Settings, reason: str, source: str, pids: tuple[str, str], host: str | None
    ) -> None:
        first, second = ({"CLAUDE_PID": pid} if pid else {} for pid in pids)
        put(settings, BEFORE, "SessionEnd", reason=reason, environment=first)
        put(settings, AFTER, "SessionStart", source=source, environment=second, host=host)
        await drain(settings)
        after = await session_of(AFTER)
        assert after is not None
        assert after.cleared_from is None

    async def test_in_a_workflow_the_new_one_is_a_further_agent(self, settings: Settings) -> None:
        async with get_async_session() as db:
            workflow = await make_session(db, session_type="full", session_slug="feature", working_dir="/home/dev/demo")
        put(settings, BEFORE, "SessionStart", source="startup", environment={"CLAUDE_PID": "7", "SESSION_DB_SESSION": "feature"})
        put(settings, BEFORE, "SessionEnd", reason="clear", environment={"CLAUDE_PID": "7"})
        put(settings, AFTER, "SessionStart", source="clear", environment={"CLAUDE_PID": "7"})
        await drain(settings)
        async with async_session() as db:
            agents = await list_agents(db, workflow.id)
            after = await crud.get_session(db, workflow.id)
        assert [agent.sdk_session_id for agent in agents] == [str(BEFORE), str(AFTER)]
        assert await session_of(AFTER) is None
        assert after is not None
        assert after.cleared_from is None
