"""Pages over HTTP: complete while rows come and go, and as cheap for fifty rows as for one."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from httpx import AsyncClient
from sqlalchemy import event

from session_db.crud.transcripts import append_entries, ensure_transcript
from session_db.database import get_async_session, get_engine
from tests.api.test_seed_routes import CLIP, create_session

ROWS = 50


@contextmanager
def statements() -> Iterator[list[str]]:
    """Note each statement that the engine of this event loop sends."""
    sent: list[str] = []

    def note(_connection: Any, _cursor: Any, statement: str, *_more: Any) -> None:
        sent.append(statement)

    engine = get_engine().sync_engine
    event.listen(engine, "before_cursor_execute", note)
    try:
        yield sent
    finally:
        event.remove(engine, "before_cursor_execute", note)


async def add_rows(client: AsyncClient, session_id: str, path: str) -> None:
    """Add so many rows that every list has a page of them."""
    events = [{"event_category": "hook", "event_type": "Stop", "payload": {"n": number}} for number in range(ROWS)]
    assert (await client.post(f"/api/events/{session_id}", json={"events": events})).status_code == 201
    messages = [{"role": "user", "content": str(number)} for number in range(ROWS)]
    assert (await client.post(f"/api/messages/{session_id}", json={"messages": messages})).status_code == 201
    for number in range(ROWS):
        await create_session(client)
        agent = await client.post(f"{path}/agents", json={"agent_type": "build", "cost": 0.1})
        assert (await client.post(f"{path}/memory-files", json={"file_path": f"{number}.json"})).status_code == 201
        assert (await client.post("/api/clips", json=CLIP | {"clip_id": str(number)})).status_code == 201
        assert (await client.put(f"/api/clips/{number}", json={"code": "changed"})).status_code == 200
    for number in range(ROWS):
        assert (await client.put("/api/clips/0", json={"code": str(number)})).status_code == 200
    async with get_async_session() as db:
        for number in range(ROWS):
            stream = await ensure_transcript(db, agent.json()["session_id"], agent.json()["id"], "-work", "s", str(number))
            await append_entries(db, stream, [(None, "{}")] * (ROWS if number == 0 else 1))


async def test_a_page_of_fifty_rows_costs_as_many_statements_as_one_row(client: AsyncClient) -> None:
    session_id = (await create_session(client))["session_id"]
    path = f"/api/sessions/{session_id}"
    await add_rows(client, session_id, path)
    stream = (await client.get(f"{path}/transcripts?limit=1")).json()["items"][0]["id"]
    lists = {
        "/api/sessions": "limit",
        "/api/sessions?status=active&text=test&metadata.created_by_user=true": "limit",
        f"/api/messages/{session_id}": "page_size",
        f"/api/events/{session_id}": "limit",
        f"/api/events/{session_id}?type=Stop&order=happened": "limit",
        f"{path}/agents": "limit",
        f"{path}/memory-files": "limit",
        f"{path}/transcripts": "limit",
        f"{path}/transcripts/{stream}/entries": "limit",
        f"{path}/usage?by=agent": "limit",
        "/api/clips": "limit",
        "/api/clips/0/versions": "limit",
    }
    for url, size in lists.items():
        costs: dict[int, int] = {}
        for rows in (1, ROWS):
            with statements() as sent:
                page = (await client.get(f"{url}{'&' if '?' in url else '?'}{size}={rows}")).json()
            assert len(page["items"]) == rows, url
            assert "total" not in page
            costs[rows] = len(sent)
        assert costs[ROWS] <= costs[1], (url, costs)
        # The token, its use and the list, with what a walk and the session cost.
        assert costs[ROWS] <= 8, (url, sent)


class TestPagesWhileRowsChange:
    async def test_what_stays_is_seen_once(self, client: AsyncClient) -> None:
        for number in range(20):
            assert (await client.post("/api/clips", json=CLIP | {"clip_id": f"{number:02}"})).status_code == 201
        seen: list[str] = []
        page = (await client.get("/api/clips?limit=4")).json()
        while True:
            seen += [clip["clip_id"] for clip in page["items"]]
            if page["next_cursor"] is None:
                break
            # Behind the reader, and before it; and what its cursor stands on goes away.
            for clip_id in ("00a", seen[-1] + "a", seen[-1] + "b"):
                await client.post("/api/clips", json=CLIP | {"clip_id": clip_id})
            await client.delete(f"/api/clips/{seen[-1]}")
            page = (await client.get("/api/clips", params={"limit": 4, "cursor": page["next_cursor"]})).json()
        assert len(seen) == len(set(seen))
        assert {f"{number:02}" for number in range(20)} <= set(seen)

    async def test_sessions_that_become_active_meanwhile_are_not_seen_twice(self, client: AsyncClient) -> None:
        created = [(await create_session(client))["session_id"] for _ in range(9)]
        first = (await client.get("/api/sessions?limit=3")).json()
        await client.delete(f"/api/sessions/{created[0]}")
        await client.post(f"/api/messages/{created[8]}", json={"messages": [{"role": "user", "content": "again"}]})
        rest = (await client.get("/api/sessions", params={"cursor": first["next_cursor"]})).json()
        assert [session["session_id"] for session in first["items"] + rest["items"]] == created[:0:-1]


@pytest.mark.parametrize("path", ["/api/clips", "/api/songs", "/api/playlists", "/api/sessions", "/api/usage?by=day"])
async def test_a_cursor_of_another_list_is_refused(client: AsyncClient, path: str) -> None:
    answer = await client.get(path, params={"cursor": "WzUsNSw1XQ"} | ({"by": "day"} if "usage" in path else {}))
    assert (answer.status_code, answer.json()["errors"][0]["path"]) == (422, "cursor")
