"""The SDK's own tests of a store, and what it does with one; `make e2e` installs the SDK and runs them."""

import json
from pathlib import Path
from typing import Any

import pytest

from session_db.database import close_db
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
    directory = tmp_path / "project"
    directory.mkdir()
    file = copy_of(FOREGROUND, tmp_path / "claude" / "projects")
    file.parent.rename(file.parents[1] / sdk.project_key_for_directory(str(directory)))
    monkeypatch.setenv("CLAUDE_CONFIG_DIR", str(tmp_path / "claude"))
    ours = await _used(PostgresSessionStore(), str(directory))
    assert ours == await _used(sdk.InMemorySessionStore(), str(directory))
    assert ours["messages"]
    assert ours["agents"]
    assert len(ours["listed"]) == 2


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
