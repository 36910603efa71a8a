"""The routes of tokens: create, list, revoke."""

from uuid import uuid4

import httpx
import pytest

from session_db.models.tokens import Scope
from tests.api.conftest import ClientWith

SECRETS = {"token", "hash", "text"}


class TestCreateToken:
    async def test_its_text_works_at_once(self, client: httpx.AsyncClient, anonymous: httpx.AsyncClient) -> None:
        answer = await client.post("/api/tokens", json={"name": "deploy", "scope": "read", "expires_at": "2100-01-01T00:00:00Z"})
        assert answer.status_code == 201
        made = answer.json()
        assert (made["name"], made["scope"], made["kind"], made["expires_at"]) == ("deploy", "read", "api", "2100-01-01T00:00:00Z")
        seen = await anonymous.get("/api/sessions", headers={"Authorization": f"Bearer {made['token']}"})
        assert seen.status_code == 200

    @pytest.mark.parametrize("body", [{}, {"name": ""}, {"name": "x", "scope": "all"}, {"name": "x", "expires_at": "2000-01-01T00:00:00Z"}])
    async def test_what_cannot_be_is_refused(self, client: httpx.AsyncClient, body: dict[str, str]) -> None:
        assert (await client.post("/api/tokens", json=body)).status_code == 422

    @pytest.mark.parametrize("scope", ["read", "write", "hooks"])
    async def test_only_an_admin_may(self, client_with: ClientWith, scope: Scope) -> None:
        client = await client_with(scope)
        statuses = [
            (await client.post("/api/tokens", json={"name": "mine", "scope": "admin"})).status_code,
            (await client.get("/api/tokens")).status_code,
            (await client.delete(f"/api/tokens/{uuid4()}")).status_code,
        ]
        assert statuses == [403, 403, 403]


class TestListTokens:
    async def test_they_come_in_pages_the_newest_first_and_without_a_secret(self, client: httpx.AsyncClient) -> None:
        for name in ("a", "b", "c"):
            await client.post("/api/tokens", json={"name": name})
        first = (await client.get("/api/tokens", params={"limit": 2})).json()
        rest = (await client.get("/api/tokens", params={"limit": 2, "cursor": first["next_cursor"]})).json()
        tokens = first["items"] + rest["items"]
        assert [token["name"] for token in tokens][:3] == ["c", "b", "a"]
        assert SECRETS & {key for token in tokens for key in token} == set()


class TestRevokeToken:
    async def test_it_works_no_more(self, client: httpx.AsyncClient, anonymous: httpx.AsyncClient) -> None:
        made = (await client.post("/api/tokens", json={"name": "short"})).json()
        assert (await client.delete(f"/api/tokens/{made['id']}")).status_code == 204
        assert (await anonymous.get("/api/sessions", headers={"Authorization": f"Bearer {made['token']}"})).status_code == 401
        (shown,) = [token for token in (await client.get("/api/tokens")).json()["items"] if token["id"] == made["id"]]
        assert shown["revoked_at"] is not None

    async def test_a_second_time_changes_nothing(self, client: httpx.AsyncClient) -> None:
        made = (await client.post("/api/tokens", json={"name": "short"})).json()
        assert [(await client.delete(f"/api/tokens/{made['id']}")).status_code for _ in range(2)] == [204, 204]

    async def test_one_that_is_not_there_is_404(self, client: httpx.AsyncClient) -> None:
        assert (await client.delete(f"/api/tokens/{uuid4()}")).status_code == 404
