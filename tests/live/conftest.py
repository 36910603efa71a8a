"""Live readers of a database of the test's own."""

import asyncio
from collections.abc import AsyncIterator

import pytest
from pydantic import SecretStr

from session_db.live import Hub, get_hub
from session_db.settings import use_settings
from tests.databases import Database
from tests.live.heard import Heard


@pytest.fixture
async def heard(fresh_database: Database) -> AsyncIterator[Heard]:
    """The notifications of the database, heard by nobody of ours."""
    collected = Heard()
    async with fresh_database.connected() as connection:
        await connection.add_listener("session_db", collected)
        yield collected
        await connection.remove_listener("session_db", collected)


@pytest.fixture
async def hub(fresh_database: Database) -> Hub:
    """A hub that listens, whatever stands before the server; it ends with the connections of the test."""
    use_settings(fresh_database.settings.model_copy(update={"listen_url": SecretStr(fresh_database.direct_url)}))
    hub = get_hub()
    await hub.start()
    # On a busy machine the first proof may take too long, and the next one follows.
    # Then it looks once for what nobody heard until now. Past that, whatever is told is told by notifications.
    async with asyncio.timeout(30):
        while hub.mode != "listening" or not hub._poll_at:
            await asyncio.sleep(0.01)
    return hub


@pytest.fixture
async def polling_hub(fresh_database: Database) -> Hub:
    """A hub behind a pooler, where no notification arrives."""
    use_settings(fresh_database.settings.model_copy(update={"pooler": "transaction"}))
    hub = get_hub()
    await hub.start()
    assert hub.mode == "polling"
    return hub
