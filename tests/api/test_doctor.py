"""``/api/doctor``: the findings of the doctor over HTTP."""

import json
from pathlib import Path

import pytest
from fastapi import FastAPI
from httpx import AsyncClient
from pydantic import SecretStr

from session_db.settings import get_settings, use_settings
from tests.api.conftest import ClientWith


@pytest.fixture(autouse=True)
def _no_client(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CLAUDE_CONFIG_DIR", str(tmp_path / "claude"))
    monkeypatch.chdir(tmp_path)


class TestDoctor:
    async def test_it_tells_what_the_command_tells(self, client: AsyncClient) -> None:
        told = (await client.get("/api/doctor")).json()
        names = [check["name"] for check in told["checks"]]
        assert {"settings", "server", "migrations", "tables", "counters", "spool", "tokens", "hooks", "disk"} <= {*names}
        assert len(names) == len({*names})
        assert {check["state"] for check in told["checks"]} <= {"ok", "warning", "failed"}
        assert {"found", "remedy"} <= told["checks"][0].keys()
        assert told["settings"]["pool_size"].keys() == {"value", "from"}
        assert told.keys() == {"checks", "settings"}

    async def test_secrets_are_not_in_it(self, app: FastAPI, client: AsyncClient) -> None:
        use_settings(
            get_settings().model_copy(update={"token": SecretStr("sdb_hidden"), "listen_url": SecretStr("postgresql://a:hidden@b/c")})
        )
        told = (await client.get("/api/doctor")).json()
        assert told["settings"]["token"]["value"] == "**********"
        assert "hidden" not in json.dumps(told)

    async def test_it_is_for_those_who_may_do_all(self, client_with: ClientWith) -> None:
        for scope in ("read", "write", "hooks"):
            assert (await (await client_with(scope)).get("/api/doctor")).status_code == 403

    async def test_nothing_is_set_right(self, client: AsyncClient) -> None:
        assert (await client.get("/api/doctor?fix=true")).status_code == 422
        assert (await client.post("/api/doctor")).status_code == 405
