"""Whatever an agent does is recorded as its transcript has it, by any transport and in any order, and the agent does not notice."""

import json
from collections import Counter
from pathlib import Path

import pytest

from session_db.capture.drain import drain
from session_db.capture.importer import import_recordings
from session_db.settings import Settings
from tests.api.conftest import make_token
from tests.api.serving import serving
from tests.capture.recorded import rows_without_clocks
from tests.databases import Database, PostgreSQL
from tests.e2e.behaviour import Behaviour, behaviour_of, differences
from tests.e2e.client import Client
from tests.e2e.conftest import MakeClient, check_record
from tests.e2e.recorder import Copies, drain_meanwhile, install_hooks
from tests.e2e.scenarios import SCENARIOS, Scenario

pytestmark = [pytest.mark.e2e, pytest.mark.parametrize("scenario", SCENARIOS, ids=lambda scenario: scenario.__name__)]


async def as_it_comes(_: Client, settings: Settings) -> None:
    await drain(settings)


async def transcript_first(client: Client, settings: Settings) -> None:
    await import_recordings([client.projects])
    await drain(settings)


async def hooks_first(client: Client, settings: Settings) -> None:
    aside = client.configuration.rename(client.directory / "aside")
    await drain(settings)
    aside.rename(client.configuration)
    await import_recordings([client.projects])


def only_one_has(first: dict[str, list[str]], second: dict[str, list[str]]) -> list[str]:
    """Return the rows that one of two records has and the other not."""
    counted = [Counter(f"{table} {row}" for table, rows in record.items() for row in rows) for record in (first, second)]
    return sorted([*(counted[0] - counted[1]), *(counted[1] - counted[0])])


class TestSpool:
    async def test_it_is_the_same_in_any_order(  # noqa: PLR0913, PLR0917  fixtures
        self,
        scenario: Scenario,
        behaviour_without_hooks: Behaviour,
        make_client: MakeClient,
        tmp_path: Path,
        postgres: PostgreSQL,
        template: Database,
    ) -> None:
        client = make_client("recorded")
        await install_hooks(client, tmp_path / "hooks")
        homes = {order: tmp_path / order.__name__ for order in (as_it_comes, transcript_first, hooks_first)}
        copies = Copies(tmp_path / "hooks", homes.values())
        found = {}
        for order, home in homes.items():
            async with postgres.own("order", template.name) as database:
                settings = database.settings.model_copy(update={"home": home, "claude_dirs": str(client.configuration)})
                if order is as_it_comes:
                    played = await drain_meanwhile(scenario(client), copies, settings)
                    captured = copies.payloads
                await order(client, settings)
                payloads = await check_record(client, played)
                found[order] = await rows_without_clocks()
            assert Counter(map(json.dumps, payloads)) == Counter(map(json.dumps, captured))
        assert differences(behaviour_of(client, played.runs), behaviour_without_hooks) == []
        for order in (transcript_first, hooks_first):
            assert only_one_has(found[as_it_comes], found[order]) == [], order.__name__


class TestHTTP:
    async def test_it_is_the_same(
        self, scenario: Scenario, behaviour_without_hooks: Behaviour, make_client: MakeClient, tmp_path: Path, fresh_database: Database
    ) -> None:
        client = make_client("recorded", {"SESSION_DB_TOKEN": await make_token("hooks")})
        home = {"SESSION_DB_HOME": str(tmp_path / "home"), "SESSION_DB_CLAUDE_DIRS": str(client.configuration)}
        async with serving(tmp_path, fresh_database.environment | home) as service:
            await install_hooks(client, tmp_path / "home", "--transport", "http", "--url", service.url)
            played = await scenario(client)
            await service.end()
        await drain(fresh_database.settings.model_copy(update={"home": tmp_path / "home", "claude_dirs": str(client.configuration)}))
        await check_record(client, played)
        assert differences(behaviour_of(client, played.runs), behaviour_without_hooks) == []
