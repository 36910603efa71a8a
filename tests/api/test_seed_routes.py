"""The routes that the second seed lists, each as it says, and what it says of a commit that fails."""

from typing import Any
from uuid import uuid4

import pytest
from httpx import AsyncClient

from tests.databases import Database

CHAT = {"agent_name": "strudel", "model_name": "grok-4-fast", "session_name": "Test Session"}
CLIP = {
    "clip_id": "kick",
    "project_id": "house_project",
    "name": "Kick",
    "code": "sound('bd').gain(0.8)",
    "metadata": {"bpm": 120, "scale": "C minor", "tags": ["drums", "kick"], "color": "#FF5733"},
}
SONG = {"song_id": "intro", "project_id": "house_project", "name": "Intro", "clip_ids": ["kick"], "metadata": {"bpm": 120}}
PLAYLIST = {"playlist_id": "set", "project_id": "house_project", "name": "Set", "song_ids": ["intro"], "metadata": {}}
ITEMS = {"clips": CLIP, "songs": SONG, "playlists": PLAYLIST}
PARTS_OF = {"clips": ["clips"], "songs": ["songs", "clips"], "playlists": ["playlists", "songs", "clips"]}
REFUSED_AT_COMMIT = """
    CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION 'too late'; END $$;
    CREATE CONSTRAINT TRIGGER refuse AFTER INSERT ON messages DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION refuse();
"""


async def create_session(client: AsyncClient, **values: Any) -> dict[str, Any]:
    answer = await client.post("/api/sessions", json=CHAT | values)
    assert answer.status_code == 201, answer.text
    session: dict[str, Any] = answer.json()
    return session


class TestSessions:
    async def test_create(self, client: AsyncClient) -> None:
        session = await create_session(client)
        assert (session["agent_name"], session["status"], session["session_name"]) == ("strudel", "active", "Test Session")
        assert session["metadata"]["name"] == "Test Session"

    async def test_a_known_session_id_is_a_conflict(self, client: AsyncClient) -> None:
        session_id = str(uuid4())
        await create_session(client, session_id=session_id)
        answer = await client.post("/api/sessions", json=CHAT | {"session_id": session_id})
        assert answer.status_code == 409
        assert answer.headers["content-type"] == "application/problem+json"
        assert answer.json()["code"] == "already_exists"

    async def test_list(self, client: AsyncClient) -> None:
        created = [(await create_session(client))["session_id"] for _ in range(3)]
        listed = (await client.get("/api/sessions")).json()
        assert {session["session_id"] for session in listed["items"]} == set(created)
        assert listed["next_cursor"] is None

    async def test_get(self, client: AsyncClient) -> None:
        session = await create_session(client)
        assert (await client.get(f"/api/sessions/{session['session_id']}")).json() == session
        assert (await client.get(f"/api/sessions/{uuid4()}")).status_code == 404

    async def test_delete(self, client: AsyncClient) -> None:
        path = f"/api/sessions/{(await create_session(client))['session_id']}"
        assert (await client.delete(path)).status_code == 204
        assert (await client.get(path)).status_code == 404
        assert (await client.delete(path)).status_code == 404


class TestMessages:
    async def test_two_hundred_are_paged_as_its_example_says(self, client: AsyncClient) -> None:
        session_id = (await create_session(client))["session_id"]
        messages = [{"role": "user", "content": f"message {index}", "timestamp": "2025-12-25T01:35:06Z"} for index in range(200)]
        assert (await client.post(f"/api/messages/{session_id}", json={"messages": messages})).status_code == 201
        last = (await client.get(f"/api/messages/{session_id}?page_size=50")).json()
        assert [message["message_index"] for message in last["items"]] == list(range(150, 200))
        before = (await client.get(f"/api/messages/{session_id}?page_size=50&before_index=150")).json()
        assert [message["message_index"] for message in before["items"]] == list(range(100, 150))
        assert before["items"][0] == messages[100] | {"message_index": 100}

    async def test_the_cursor_goes_through_all_of_them(self, client: AsyncClient) -> None:
        session_id = (await create_session(client))["session_id"]
        messages = [{"role": "assistant", "content": str(index)} for index in range(7)]
        await client.post(f"/api/messages/{session_id}", json={"messages": messages})
        page = (await client.get(f"/api/messages/{session_id}?page_size=3")).json()
        seen: list[int] = []
        while True:
            seen = [message["message_index"] for message in page["items"]] + seen
            if page["next_cursor"] is None:
                break
            page = (await client.get(f"/api/messages/{session_id}", params={"page_size": 3, "cursor": page["next_cursor"]})).json()
        assert seen == list(range(7))

    async def test_an_unknown_session_is_not_found(self, client: AsyncClient) -> None:
        assert (await client.get(f"/api/messages/{uuid4()}")).status_code == 404


@pytest.mark.parametrize("noun", ITEMS)
class TestItems:
    async def create(self, client: AsyncClient, noun: str) -> str:
        for kind, item in ITEMS.items():
            assert (await client.post(f"/api/{kind}", json=item)).status_code == 201
            if kind == noun:
                return f"/api/{kind}/{item[f'{noun[:-1]}_id']}"
        raise AssertionError(noun)

    async def test_create_and_get(self, client: AsyncClient, noun: str) -> None:
        item = (await client.get(await self.create(client, noun))).json()
        assert {name: item[name] for name in ITEMS[noun]} == ITEMS[noun]

    async def test_a_known_id_is_a_conflict(self, client: AsyncClient, noun: str) -> None:
        await self.create(client, noun)
        assert (await client.post(f"/api/{noun}", json=ITEMS[noun])).status_code == 409

    async def test_list_of_a_project(self, client: AsyncClient, noun: str) -> None:
        await self.create(client, noun)
        found = (await client.get(f"/api/{noun}?project_id=house_project")).json()["items"]
        assert [item[f"{noun[:-1]}_id"] for item in found] == [ITEMS[noun][f"{noun[:-1]}_id"]]
        assert (await client.get(f"/api/{noun}?project_id=another")).json()["items"] == []

    async def test_put_keeps_what_is_not_sent(self, client: AsyncClient, noun: str) -> None:
        path = await self.create(client, noun)
        changed = (await client.put(path, json={"name": "Another"})).json()
        assert {name: changed[name] for name in ITEMS[noun]} == ITEMS[noun] | {"name": "Another"}
        assert changed["version"] == 2

    async def test_delete(self, client: AsyncClient, noun: str) -> None:
        await self.create(client, noun)
        for kind in sorted(ITEMS, key=["playlists", "songs", "clips"].index):
            path = f"/api/{kind}/{ITEMS[kind][f'{kind[:-1]}_id']}"
            gone = await client.delete(path)
            assert gone.status_code == (204 if kind in PARTS_OF[noun] else 404)
            assert (await client.get(path)).status_code == 404


class TestFailedCommit:
    async def test_what_was_flushed_is_not_stored_and_not_acknowledged(self, client: AsyncClient, fresh_database: Database) -> None:
        session_id = (await create_session(client))["session_id"]
        async with fresh_database.connected() as connection:
            await connection.execute(REFUSED_AT_COMMIT)
        answer = await client.post(f"/api/messages/{session_id}", json={"messages": [{"role": "user", "content": "lost"}]})
        assert answer.status_code == 500
        assert "too late" not in answer.text
        async with fresh_database.connected() as connection:
            assert await connection.fetchval("SELECT count(*) FROM messages") == 0
            assert await connection.fetchval("SELECT message_count FROM sessions") == 0
