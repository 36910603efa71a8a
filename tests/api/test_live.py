"""Streams: what happens in a session, and in the list of all."""

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import Any
from uuid import uuid4

import pytest
from httpx import AsyncClient
from sqlalchemy import text

from session_db import crud
from session_db.database import get_async_session
from session_db.live import get_hub
from session_db.models import AgentCreate
from tests.api.frames import Frame, following, read, read_until
from tests.api.test_seed_routes import create_session
from tests.factories import event, make_agent, make_session, message

BOUND_BY_ITSELF = text("UPDATE sdk_sessions SET bound_by = 'auto' WHERE sdk_key = :sdk_key")


async def append(session_id: Any, *, events: int = 0, messages: int = 0) -> None:
    """Append as another program does, without the service."""
    async with get_async_session() as db:
        if events:
            await crud.append_agent_logs(db, [event(session_id) for _ in range(events)])
        if messages:
            await crud.save_display_messages(db, session_id, [message() for _ in range(messages)])


@pytest.fixture
async def session_id(client: AsyncClient) -> Any:
    return (await create_session(client))["session_id"]


async def news(frames: AsyncIterator[Frame], session_id: str, about: Callable[[Frame], bool] = lambda _: True) -> Frame:
    """Return the first news of a session that is about something; how often a list tells the same is nobody's promise."""
    async for frame in frames:
        if frame.data.get("session_id") == session_id and about(frame):
            return frame
    raise AssertionError("the stream ended")


def indexes(frames: list[Frame], kind: str) -> list[int]:
    return [frame.data[f"{kind}_index"] for frame in frames if frame.kind == kind]


class TestFollowSession:
    async def test_without_waiting_it_answers_what_there_is_and_closes(self, reader: AsyncClient, session_id: str) -> None:
        await append(session_id, events=3, messages=2)
        async with following(reader, f"/api/sessions/{session_id}/events?wait=0") as frames:
            told = [frame async for frame in frames]
        assert [frame.kind for frame in told] == ["session", *["event"] * 3, *["message"] * 2]
        assert [frame.id for frame in told] == ["0.0", "1.0", "2.0", "3.0", "3.1", "3.2"]

    async def test_what_comes_later_is_told_when_it_comes(self, reader: AsyncClient, session_id: str) -> None:
        async with following(reader, f"/api/sessions/{session_id}/events") as frames:
            assert (await anext(frames)).kind == "session"
            await append(session_id, events=2)
            assert indexes(await read(frames, 2), "event") == [0, 1]
            await append(session_id, messages=1)
            assert (await anext(frames)).id == "2.1"

    async def test_more_than_a_page_is_told_without_a_gap(self, reader: AsyncClient, session_id: str) -> None:
        await append(session_id, events=250, messages=130)
        async with following(reader, f"/api/sessions/{session_id}/events?wait=0") as frames:
            told = [frame async for frame in frames]
        assert (indexes(told, "event"), indexes(told, "message")) == (list(range(250)), list(range(130)))
        assert told[-1].id == "250.130"

    async def test_it_goes_on_after_the_last_id(self, reader: AsyncClient, session_id: str) -> None:
        await append(session_id, events=5, messages=5)
        path = f"/api/sessions/{session_id}/events?wait=0"
        async with following(reader, path, headers={"Last-Event-ID": "3.4"}) as frames:
            told = [frame async for frame in frames]
        assert (indexes(told, "event"), indexes(told, "message")) == ([3, 4], [4])
        async with following(reader, f"{path}&after=latest") as frames:
            assert [frame.kind async for frame in frames] == ["session"]

    async def test_the_browsers_id_is_newer_than_that_of_the_url(self, reader: AsyncClient, session_id: str) -> None:
        await append(session_id, events=5)
        async with following(reader, f"/api/sessions/{session_id}/events?wait=0&after=1.0", headers={"Last-Event-ID": "4.0"}) as frames:
            assert indexes([frame async for frame in frames], "event") == [4]

    @pytest.mark.parametrize("after", ["x", "1", "1.", "-1.0", "1.0.0", "9" * 19 + ".0", "1.0", "0.1"])
    async def test_a_position_that_the_session_has_not_reached_is_refused(self, client: AsyncClient, session_id: str, after: str) -> None:
        answer = await client.get(f"/api/sessions/{session_id}/events", params={"after": after})
        assert answer.status_code == 422
        assert answer.json()["errors"][0]["path"] == "after"

    async def test_a_change_of_state_is_told_and_an_event_is_none(self, reader: AsyncClient, session_id: str) -> None:
        async with following(reader, f"/api/sessions/{session_id}/events") as frames:
            await anext(frames)
            await append(session_id, events=1)
            assert (await anext(frames)).kind == "event"
            await reader.patch(f"/api/sessions/{session_id}", json={"name": "Renamed"})
            told = await anext(frames)
        assert (told.kind, told.data["display_name"]) == ("session", "Renamed")

    async def test_a_large_payload_is_not_carried(self, reader: AsyncClient, session_id: str) -> None:
        async with get_async_session() as db:
            await crud.create_agent_log(db, event(session_id, payload={"output": "x" * 100_000}, tool_input={"\ud800": "\udfff"}))
        async with following(reader, f"/api/sessions/{session_id}/events?wait=0") as frames:
            told = await read_until(frames, "event")
        assert told.data["payload_bytes"] > 100_000
        assert "payload" not in told.data
        assert told.data["tool_input"] == {"\ud800": "\udfff"}

    async def test_it_ends_when_the_session_is_deleted(self, reader: AsyncClient, session_id: str) -> None:
        async with following(reader, f"/api/sessions/{session_id}/events") as frames:
            await anext(frames)
            await reader.delete(f"/api/sessions/{session_id}")
            assert [(frame.kind, frame.data) async for frame in frames] == [("deleted", {"session_id": session_id})]
        assert (await reader.get(f"/api/sessions/{session_id}/events")).status_code == 404

    async def test_it_says_where_a_session_moved_that_was_adopted(self, reader: AsyncClient) -> None:
        async with get_async_session() as db:
            automatic = await make_session(db, agent_name="claude-code")
            sdk_session_id = str(uuid4())
            await make_agent(db, automatic, agent_type="main", sdk_session_id=sdk_session_id)
            await db.execute(BOUND_BY_ITSELF, {"sdk_key": sdk_session_id})
            workflow = await make_session(db, session_slug="2026-01-15_auth")
        async with following(reader, f"/api/sessions/{automatic.id}/events") as frames:
            await anext(frames)
            async with get_async_session() as db:
                await crud.create_agent(db, AgentCreate(session_id=workflow.id, agent_type="build", sdk_session_id=sdk_session_id))
            moved = {"session_id": str(automatic.id), "moved_to": str(workflow.id)}
            assert (await read_until(frames, "moved")).data == moved
        async with following(reader, f"/api/sessions/{automatic.id}/events") as frames:
            assert [(frame.kind, frame.data) async for frame in frames] == [("moved", moved)]

    async def test_an_unknown_session_is_not_found(self, client: AsyncClient) -> None:
        assert (await client.get(f"/api/sessions/{uuid4()}/events")).status_code == 404

    async def test_a_reader_that_leaves_is_forgotten(self, reader: AsyncClient, session_id: str) -> None:
        async with following(reader, f"/api/sessions/{session_id}/events") as frames:
            await anext(frames)
            assert len(get_hub()._topics) == 1
        while get_hub()._topics:
            await asyncio.sleep(0.01)

    async def test_the_end_of_the_service_ends_it(self, reader: AsyncClient, session_id: str) -> None:
        async with following(reader, f"/api/sessions/{session_id}/events") as frames:
            await anext(frames)
            get_hub().stop()
            assert [frame async for frame in frames] == []


class TestMetrics:
    async def test_the_lag_of_readers_that_are_at_the_end_is_measured(self, reader: AsyncClient, session_id: str) -> None:
        await append(session_id, events=3)
        async with following(reader, f"/api/sessions/{session_id}/events") as frames:
            await read(frames, 4)
            assert "session_db_stream_lag_seconds_count 0.0" in (await reader.get("/metrics")).text
            await append(session_id, events=1)
            await anext(frames)
            assert "session_db_stream_lag_seconds_count 1.0" in (await reader.get("/metrics")).text


class TestFollowAll:
    async def test_it_says_which_sessions_changed_and_how_they_stand(self, reader: AsyncClient, session_id: str) -> None:
        async with following(reader, "/api/events") as frames:
            assert (await anext(frames)).kind == "lagged"
            await append(session_id, events=2)
            told = await news(frames, session_id, lambda frame: frame.data["event_count"] == 2)
            assert told.kind == "session"
            created = await create_session(reader)
            assert (await news(frames, created["session_id"])).data == created
            await reader.delete(f"/api/sessions/{session_id}")
            assert await news(frames, session_id, lambda frame: frame.kind != "session") == Frame(
                "deleted", {"session_id": session_id}, None
            )
