"""The SDK's own tests of a store, and what it does with one; `make e2e` installs the SDK and runs them."""

import json
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest

from session_db import crud
from session_db.capture.importer import import_recordings
from session_db.database import async_session, close_db
from session_db.integrations.claude_agent_sdk import PostgresSessionStore
from session_db.settings import use_settings
from tests.capture.recorded import FOREGROUND, copy_of
from tests.databases import Database, PostgreSQL

sdk = pytest.importorskip("claude_agent_sdk", reason="needs the Claude Agent SDK: make e2e")

pytestmark = pytest.mark.e2e


async def test_the_sdks_conformance_suite_passes(postgres: PostgreSQL, template: Database) -> None:
    from claude_agent_sdk.testing import run_session_store_conformance  # noqa: PLC0415  the SDK may be missing

    made: list[Database] = []

    async def make_store() -> Any:
        await close_db()
        made.append(await postgres.create("conformance", template.name))
        use_settings(made[-1].settings)
        return PostgresSessionStore()

    try:
        await run_session_store_conformance(make_store)
    finally:
        await close_db()
        for database in made:
            await postgres.drop(database)
    # One for each contract, and one to look at.
    assert len(made) == 15


@pytest.mark.usefixtures("fresh_database")
async def test_the_sdk_does_the_same_with_it_as_with_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    directory = _recorded_in(tmp_path, monkeypatch)
    ours = await _used(PostgresSessionStore(), directory)
    assert ours == await _used(sdk.InMemorySessionStore(), directory)
    assert ours["messages"]
    assert ours["agents"]
    assert len(ours["listed"]) == 2


@pytest.mark.usefixtures("fresh_database")
class TestForksOfTheSDK:
    """Their copies have new uuids, and name where they came from otherwise than those of the client."""

    async def test_one_in_the_store_was_paid_for_where_it_came_from(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        directory = _recorded_in(tmp_path, monkeypatch)
        store = PostgresSessionStore()
        await sdk.import_session_to_store(str(FOREGROUND), store, directory=directory)
        fork = await sdk.fork_session_via_store(store, str(FOREGROUND), directory=directory)
        await _assert_is_free(UUID(fork.session_id))

    async def test_one_in_a_file_was_paid_for_where_it_came_from(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        directory = _recorded_in(tmp_path, monkeypatch)
        fork = sdk.fork_session(str(FOREGROUND), directory=directory)
        await import_recordings([tmp_path / "claude" / "projects"])
        await _assert_is_free(UUID(fork.session_id))


async def _assert_is_free(fork: UUID) -> None:
    async with async_session() as db:
        origin, copy = await crud.get_session(db, FOREGROUND), await crud.get_session(db, fork)
        messages = await crud.get_message_count(db, fork)
    assert origin is not None
    assert copy is not None
    assert (copy.forked_from, float(copy.total_cost), messages) == (FOREGROUND, 0, await _count(FOREGROUND))
    assert origin.total_cost > 0


async def _count(session_id: UUID) -> int:
    async with async_session() as db:
        return await crud.get_message_count(db, session_id)


def _recorded_in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """Record a session in a new directory, where the SDK finds it, and return the directory."""
    directory = tmp_path / "project"
    directory.mkdir()
    file = copy_of(FOREGROUND, tmp_path / "claude" / "projects")
    file.parent.rename(file.parents[1] / sdk.project_key_for_directory(str(directory)))
    monkeypatch.setenv("CLAUDE_CONFIG_DIR", str(tmp_path / "claude"))
    return str(directory)


async def _used(store: Any, directory: str) -> dict[str, Any]:
    """Return what the SDK reads from a store that it imported a session into, renamed and forked it."""
    session_id = str(FOREGROUND)
    await sdk.import_session_to_store(session_id, store, directory=directory)
    await sdk.rename_session_via_store(store, session_id, "A better title", directory=directory)
    fork = await sdk.fork_session_via_store(store, session_id, directory=directory)
    listed = await sdk.list_sessions_from_store(store, directory=directory)
    agents = await sdk.list_subagents_from_store(store, session_id, directory=directory)
    found = {
        "listed": sorted((one.summary, one.custom_title, one.first_prompt, one.created_at) for one in listed),
        "messages": await sdk.get_session_messages_from_store(store, session_id, directory=directory),
        "agents": [await sdk.get_subagent_messages_from_store(store, session_id, one, directory=directory) for one in agents],
        "forked": len(await sdk.get_session_messages_from_store(store, fork.session_id, directory=directory)),
    }
    await sdk.delete_session_via_store(store, session_id, directory=directory)
    plain: dict[str, Any] = json.loads(json.dumps(found, default=vars))
    return plain | {"left": len(await sdk.list_sessions_from_store(store, directory=directory))}
