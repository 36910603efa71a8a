"""A chat client over a WebSocket: present while it is connected, sending and receiving."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any
from uuid import uuid4

import pytest
from httpx import AsyncClient
from sqlalchemy import text
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidStatus

from session_db import crud
from session_db.api.gate import COOKIE
from session_db.api.routes import chat
from session_db.database import get_async_session
from session_db.live import get_hub
from tests.api.test_seed_routes import create_session

EXPIRED = text("UPDATE presence SET expires_at = now() - interval '1 second'")
LEASES = text("SELECT expires_at FROM presence ORDER BY expires_at")
HELLO = {"type": "messages", "messages": [{"role": "user", "content": "Hello!"}]}


@asynccontextmanager
async def chatting(reader: AsyncClient, session_id: Any, after: str = "latest", **headers: str) -> AsyncIterator[ClientConnection]:
    """Connect, and read the state of the session."""
    url = str(reader.base_url).replace("http", "ws").rstrip("/")
    headers = headers or {"Authorization": reader.headers["Authorization"]}
    async with connect(f"{url}/ws/sessions/{session_id}?after={after}", additional_headers=headers, open_timeout=5) as client:
        assert (await receive(client))["type"] == "session"
        yield client


async def receive(client: ClientConnection) -> dict[str, Any]:
    async with asyncio.timeout(10):
        told: dict[str, Any] = json.loads(await client.recv())
        return told


async def receive_kind(client: ClientConnection, kind: str) -> dict[str, Any]:
    while (told := await receive(client))["type"] != kind:
        pass
    return told


async def status_of(reader: AsyncClient, session_id: str) -> str:
    status: str = (await reader.get(f"/api/sessions/{session_id}")).json()["status"]
    return status


async def until(reader: AsyncClient, session_id: str, status: str) -> None:
    async with asyncio.timeout(10):
        while await status_of(reader, session_id) != status:
            await asyncio.sleep(0.02)


@pytest.fixture
async def session_id(client: AsyncClient) -> Any:
    return (await create_session(client))["session_id"]


class TestMessages:
    async def test_what_one_sends_all_receive(self, reader: AsyncClient, session_id: str) -> None:
        async with chatting(reader, session_id) as sender, chatting(reader, session_id) as other:
            await sender.send(json.dumps(HELLO))
            appended = await receive_kind(sender, "appended")
            assert appended["data"]["messages"] == [{"message_index": 0, "is_new": True}]
            told = await receive_kind(other, "message")
            assert (told["data"]["content"], told["id"]) == ("Hello!", "0.1")

    async def test_a_retry_with_its_key_changes_nothing(self, reader: AsyncClient, session_id: str) -> None:
        async with chatting(reader, session_id) as client:
            for is_new in (True, False):
                await client.send(json.dumps(HELLO | {"idempotency_key": "once"}))
                appended = await receive_kind(client, "appended")
                assert appended["data"] == {"idempotency_key": "once", "messages": [{"message_index": 0, "is_new": is_new}]}

    @pytest.mark.parametrize(
        ("sent", "named"),
        [
            ("{", "no JSON"),
            ("[]", "object"),
            ("{}", "messages"),
            ('{"messages": []}', "messages"),
            ('{"type": "shout", "messages": [{}]}', "type"),
            ('{"messages": [{"role": "robot", "content": "x"}]}', "role"),
            ('{"messages": [{"role": "user", "content": "\\u0000"}]}', "NUL"),
            ("[" * 100_000, "no JSON"),
        ],
    )
    async def test_what_is_wrong_is_said_and_the_connection_stays(
        self, reader: AsyncClient, session_id: str, sent: str, named: str
    ) -> None:
        async with chatting(reader, session_id) as client:
            await client.send(sent)
            error = await receive_kind(client, "error")
            assert (error["data"]["status"], error["data"]["code"]) == (422, "invalid_input")
            assert named in error["data"]["detail"]
            await client.send(json.dumps(HELLO))
            await receive_kind(client, "appended")

    async def test_bytes_are_no_text(self, reader: AsyncClient, session_id: str) -> None:
        async with chatting(reader, session_id) as client:
            await client.send(b"\xff\xfe")
            error = await receive_kind(client, "error")
            assert "text" in error["data"]["detail"]

    async def test_it_goes_on_after_the_last_id(self, reader: AsyncClient, session_id: str) -> None:
        messages = [{"role": "user", "content": str(index)} for index in range(4)]
        await reader.post(f"/api/messages/{session_id}", json={"messages": messages})
        async with chatting(reader, session_id, after="0.2") as client:
            assert [(await receive(client))["data"]["message_index"] for _ in range(2)] == [2, 3]


class TestPresence:
    async def test_an_idle_chat_is_active_while_somebody_is_there(self, reader: AsyncClient, session_id: str) -> None:
        await reader.patch(f"/api/sessions/{session_id}", json={"status": "idle"})
        async with chatting(reader, session_id):
            async with chatting(reader, session_id):
                assert await status_of(reader, session_id) == "active"
            assert await status_of(reader, session_id) == "active"
        await until(reader, session_id, "idle")

    async def test_one_that_is_terminated_is_refused(self, reader: AsyncClient, session_id: str) -> None:
        await reader.patch(f"/api/sessions/{session_id}", json={"status": "terminated"})
        with pytest.raises(InvalidStatus) as refused:
            async with chatting(reader, session_id):
                pass
        assert refused.value.response.status_code == 409
        assert b"terminated" in refused.value.response.body

    async def test_the_lease_is_renewed(self, reader: AsyncClient, session_id: str, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(chat, "LEASE_SECONDS", 0.3)
        async with chatting(reader, session_id):
            first = await leases()
            async with asyncio.timeout(10):
                while not await leases() > first:
                    await asyncio.sleep(0.02)
        await until(reader, session_id, "idle")
        assert await leases() == []

    async def test_a_lease_that_ended_is_made_anew(self, reader: AsyncClient, session_id: str, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(chat, "LEASE_SECONDS", 0.3)
        async with chatting(reader, session_id):
            async with get_async_session() as db:
                await db.execute(EXPIRED)
                assert await crud.delete_expired_presence(db) == 1
            await until(reader, session_id, "active")


async def leases() -> list[Any]:
    async with get_async_session() as db:
        return list((await db.execute(LEASES)).scalars())


class TestEnd:
    async def test_without_a_token_nobody_comes_in(self, reader: AsyncClient, session_id: str) -> None:
        with pytest.raises(InvalidStatus) as refused:
            async with chatting(reader, session_id, Authorization="Bearer sdb_wrong"):
                pass
        assert refused.value.response.status_code == 401

    async def test_a_page_of_another_site_does_not_come_in_with_the_cookie(self, reader: AsyncClient, session_id: str) -> None:
        cookie = f"{COOKIE}={reader.headers['Authorization'].removeprefix('Bearer ')}"
        with pytest.raises(InvalidStatus) as refused:
            async with chatting(reader, session_id, Cookie=cookie, Origin="http://evil.example"):
                pass
        assert refused.value.response.status_code == 403
        async with chatting(reader, session_id, Cookie=cookie, Origin=str(reader.base_url).rstrip("/")):
            pass

    async def test_an_unknown_session_is_not_found(self, reader: AsyncClient) -> None:
        with pytest.raises(InvalidStatus) as refused:
            async with chatting(reader, uuid4()):
                pass
        assert refused.value.response.status_code == 404

    async def test_it_is_told_that_the_session_was_deleted(self, reader: AsyncClient, session_id: str) -> None:
        async with chatting(reader, session_id) as client:
            await reader.delete(f"/api/sessions/{session_id}")
            await receive_kind(client, "deleted")
            with pytest.raises(ConnectionClosed) as closed:
                await receive(client)
        assert closed.value.rcvd is not None
        assert closed.value.rcvd.code == chat.NORMAL

    async def test_it_is_told_that_the_service_restarts(self, reader: AsyncClient, session_id: str) -> None:
        async with chatting(reader, session_id) as client:
            get_hub().stop()
            with pytest.raises(ConnectionClosed) as closed:
                await receive(client)
        assert closed.value.rcvd is not None
        assert closed.value.rcvd.code == chat.RESTARTING
