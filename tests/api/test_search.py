"""Search over HTTP."""

from typing import Any
from uuid import uuid4

import pytest
from httpx import AsyncClient

from tests.api.conftest import ClientWith
from tests.api.test_queries import refused
from tests.api.test_seed_routes import create_session

CALL = {
    "event_category": "hook",
    "event_type": "PreToolUse",
    "tool_name": "Bash",
    "tool_use_id": "toolu_1",
    "tool_input": {"command": "make <b>kick</b>"},
}


async def said(client: AsyncClient, *contents: str) -> str:
    """Make a session with these messages and a call of a tool; return its id."""
    session_id = str((await create_session(client, current_project="house", title="Kick"))["session_id"])
    messages = [{"role": "user", "content": content, "timestamp": "2025-12-25T01:35:06Z"} for content in contents]
    await client.post(f"/api/messages/{session_id}", json={"messages": messages})
    await client.post(f"/api/events/{session_id}", json={"events": [CALL | {"timestamp": "2025-12-24T00:00:00Z"}]})
    return session_id


async def hits(client: AsyncClient, **query: Any) -> list[dict[str, Any]]:
    answer = await client.get("/api/search", params=query)
    assert answer.status_code == 200, answer.text
    found: list[dict[str, Any]] = answer.json()["items"]
    return found


class TestSearch:
    async def test_a_hit_says_where_it_stands_and_why_it_was_found(self, client: AsyncClient) -> None:
        session_id = await said(client, "the kick, please")
        session, message, event = await hits(client, q="kick")
        assert [hit["type"] for hit in (session, message, event)] == ["session", "message", "event"]
        assert {hit["session_id"] for hit in (session, message, event)} == {session_id}
        assert (message["message_index"], message["event_index"], message["role"]) == (0, None, "user")
        assert message["timestamp"] == "2025-12-25T01:35:06Z"
        assert (message["display_name"], message["session_type"], message["current_project"]) == ("Test Session", "chat", "house")
        assert message["snippet"] == [
            {"text": "the ", "matches": False},
            {"text": "kick", "matches": True},
            {"text": ", please", "matches": False},
        ]
        assert (event["event_index"], event["message_index"], event["tool_name"], event["tool_use_id"]) == (0, None, "Bash", "toolu_1")
        assert [part["text"] for part in event["snippet"]] == ["make <b>", "kick", "</b>"]

    async def test_each_filter_leaves_out_what_it_says(self, client: AsyncClient) -> None:
        session_id = await said(client, "kick")
        for query, expected in (
            ({"type": "event"}, ["event"]),
            ({"session_id": session_id}, ["session", "message", "event"]),
            ({"session_id": uuid4()}, []),
            ({"session_type": "full"}, []),
            ({"project": "house", "type": "session"}, ["session"]),
            ({"working_dir": "/nowhere"}, []),
            ({"event_type": "PreToolUse"}, ["event"]),
            ({"tool_name": "Read"}, []),
            ({"tool_output": True, "type": "message"}, ["message"]),
            ({"since": "2025-12-25T00:00:00Z", "until": "2025-12-26T00:00:00Z"}, ["message"]),
        ):
            assert [hit["type"] for hit in await hits(client, q="kick", **query)] == expected, query

    async def test_pages_go_on(self, client: AsyncClient) -> None:
        await said(client, *(f"kick {number}" for number in range(5)))
        cursor, found = None, []
        for _ in range(10):
            query = "q=kick&type=message&limit=2" + (f"&cursor={cursor}" if cursor else "")
            page = (await client.get(f"/api/search?{query}")).json()
            found += [hit["message_index"] for hit in page["items"]]
            cursor = page["next_cursor"]
            if cursor is None:
                break
        assert found == [4, 3, 2, 1, 0]

    @pytest.mark.parametrize(
        ("query", "name"),
        [
            ("", "q"), ("q=", "q"), ("q=%00", "q"), ("q=-kick", "q"), ("q=%20", "q"), ("q=a%20or%20-b", "q"), ("q=" + "x" * 501, "q"),
            ("q=a&type=clip", "type"), ("q=a&limit=101", "limit"), ("q=a&cursor=x", "cursor"), ("q=a&since=5", "since"),
            ("q=a&project=%00", "project"), ("q=a&type=message&tool_name=x", "tool_name"), ("q=a&tool=x", "tool"),
            ("q=a&working_dir=x", "working_dir"),
        ],
    )  # fmt: skip
    async def test_what_cannot_be_searched_is_refused_by_its_name(self, client: AsyncClient, query: str, name: str) -> None:
        assert await refused(client, "GET", f"/api/search?{query}") == ("query", name)

    async def test_it_asks_for_scope_read(self, client_with: ClientWith) -> None:
        assert (await (await client_with("hooks")).get("/api/search?q=kick")).status_code == 403
        assert (await (await client_with("read")).get("/api/search?q=kick")).status_code == 200
