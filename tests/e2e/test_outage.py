"""Agents that work while the database is stopped: nothing is lost, and they do not notice."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack
from pathlib import Path

import pytest
from pydantic import SecretStr

from session_db.capture.spool import spool_of
from session_db.database import close_db, init_db
from session_db.settings import Settings, use_settings
from tests.api.conftest import make_token
from tests.api.serving import serving
from tests.api.test_hook_tokens import Outage
from tests.e2e.behaviour import behaviour_of, differences
from tests.e2e.client import Client
from tests.e2e.conftest import MakeClient, check_record
from tests.e2e.recorder import install_hooks, session_db
from tests.e2e.scenarios import Played, background_agent, denied_tool, fork, tools
from tests.servers import temporary_directory

pytestmark = pytest.mark.e2e


@pytest.fixture
def outage() -> Iterator[Outage]:
    with temporary_directory(of_servers=False) as directory:
        outage = Outage(directory)
        yield outage
        outage.stop()


@pytest.fixture
async def settings(outage: Outage, tmp_path: Path) -> AsyncIterator[Settings]:
    use_settings(settings := Settings(url=SecretStr(outage.url), home=tmp_path / "home", claude_dirs=str(tmp_path / "recorded" / "claude")))
    await init_db()
    yield settings
    await close_db()
    use_settings(None)


async def play_through(client: Client, outage: Outage | None) -> Played:
    """Play one scenario before the database is stopped, and the others while it is."""
    played = [await tools(client)]
    if outage is not None:
        outage.stop()
    played += [await scenario(client) for scenario in (background_agent, denied_tool, fork)]
    costs = tuple(cost for each in played for cost in each.paid_elsewhere[: len(each.conversations)])
    return Played([run for each in played for run in each.runs], [said for each in played for said in each.conversations], costs)


@pytest.mark.parametrize("transport", ["spool", "http"])
async def test_what_happens_meanwhile_is_recorded_afterwards(
    transport: str, outage: Outage, settings: Settings, make_client: MakeClient, tmp_path: Path
) -> None:
    client, plain = make_client("recorded", {"SESSION_DB_TOKEN": await make_token("hooks")}), make_client("plain")
    environment = client.environment | {
        "SESSION_DB_URL": outage.url,
        "SESSION_DB_HOME": str(settings.home),
        "SESSION_DB_CLAUDE_DIRS": settings.claude_dirs,
    }
    async with AsyncExitStack() as services:
        if transport == "http":
            service = await services.enter_async_context(serving(tmp_path, environment))
            await install_hooks(client, settings.home, "--transport", "http", "--url", service.url)
        else:
            await install_hooks(client, settings.home)
        played = await play_through(client, outage)
        assert (await session_db(environment, "drain")).returncode != 0
        outage.start()
        async with asyncio.timeout(60):
            while list(spool_of(settings).names()):
                assert (await session_db(environment, "drain")).returncode == 0
        await check_record(client, played)
    without_hooks = behaviour_of(plain, (await play_through(plain, None)).runs)
    assert differences(behaviour_of(client, played.runs), without_hooks) == []
