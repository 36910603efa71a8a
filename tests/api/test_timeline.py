"""``/api/sessions/{session_id}/timeline``: events as they are drawn, over HTTP."""

from uuid import uuid4

from httpx import AsyncClient

from tests.api.test_seed_routes import create_session


class TestTimeline:
    async def test_it_lists_events_in_pages_without_what_they_have_not(self, client: AsyncClient) -> None:
        path = f"/api/sessions/{(await create_session(client))['session_id']}/timeline"
        event = {"event_category": "hook", "event_type": "PreToolUse", "tool_name": "Bash", "timestamp": "2026-03-10T12:00:00Z"}
        events = [event | {"tool_input": {"command": f"ls {number}"}} for number in range(3)]
        await client.post(path.replace("sessions", "events").removesuffix("/timeline"), json={"events": events})
        first = (await client.get(path, params={"limit": 2})).json()
        second = (await client.get(path, params={"limit": 2, "cursor": first["next_cursor"]})).json()
        assert first["items"] + second["items"] == [event | {"event_index": number, "label": f"ls {number}"} for number in range(3)]
        assert second["next_cursor"] is None
        assert [each["event_index"] for each in (await client.get(path, params={"after_index": 1})).json()["items"]] == [2]

    async def test_an_unknown_session_is_not_found(self, client: AsyncClient) -> None:
        assert (await client.get(f"/api/sessions/{uuid4()}/timeline")).status_code == 404

    async def test_a_page_has_5000_events_at_most(self, client: AsyncClient) -> None:
        path = f"/api/sessions/{(await create_session(client))['session_id']}/timeline"
        assert [(await client.get(path, params={"limit": limit})).status_code for limit in (5000, 5001, 0)] == [200, 422, 422]
