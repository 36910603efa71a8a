"""``/api/me``: who asks."""

from datetime import UTC, datetime, timedelta
from importlib.metadata import version

import httpx
from fastapi import FastAPI

from tests.api.conftest import ClientWith, connected_to, make_token
from tests.api.test_login import new_link


class TestMe:
    async def test_a_program_is_told_its_token(self, app: FastAPI) -> None:
        until = datetime.now(UTC).replace(microsecond=0) + timedelta(days=1)
        async with connected_to(app, await make_token("write", name="nightly", expires_at=until)) as client:
            me = (await client.get("/api/me")).json()
        assert datetime.fromisoformat(me.pop("expires_at")) == until
        assert me == {"name": "nightly", "kind": "api", "scope": "write", "version": version("session-db")}

    async def test_a_browser_is_told_its_login(self, client: httpx.AsyncClient, anonymous: httpx.AsyncClient) -> None:
        await anonymous.get(await new_link(client))
        me = (await anonymous.get("/api/me")).json()
        assert (me["kind"], me["scope"]) == ("browser", "admin")
        assert me["name"].startswith("login by ")
        assert "hash" not in me

    async def test_who_may_see_nothing_is_told_nothing(self, client_with: ClientWith, anonymous: httpx.AsyncClient) -> None:
        assert (await (await client_with("hooks")).get("/api/me")).status_code == 403
        assert (await anonymous.get("/api/me")).status_code == 401
