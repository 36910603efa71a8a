"""``/api/activity``: the pulse over HTTP."""

from uuid import uuid4

from httpx import AsyncClient

from tests.api.test_seed_routes import create_session

HOUR = {"since": "2026-03-10T12:00:00Z", "until": "2026-03-10T13:00:00Z", "bins": "2"}


class TestActivity:
    async def test_it_counts_events_over_time(self, client: AsyncClient) -> None:
        session_id = (await create_session(client))["session_id"]
        event = {"event_category": "hook", "event_type": "Stop", "timestamp": "2026-03-10T12:31:00Z"}
        assert (await client.post(f"/api/events/{session_id}", json={"events": [event]})).status_code == 201
        expected = {
            "since": "2026-03-10T12:00:00Z",
            "until": "2026-03-10T13:00:00Z",
            "bin_seconds": 1800,
            "bins": [
                {"at": "2026-03-10T12:00:00Z", "events": 0, "cost": 0.0},
                {"at": "2026-03-10T12:30:00Z", "events": 1, "cost": 0.0},
            ],
        }
        assert (await client.get("/api/activity", params=HOUR)).json() == expected
        assert (await client.get("/api/activity", params=HOUR | {"session_id": session_id})).json() == expected

    async def test_unset_it_has_a_bin_for_each_quarter_of_the_last_day(self, client: AsyncClient) -> None:
        assert len((await client.get("/api/activity")).json()["bins"]) in {96, 97}

    async def test_an_unknown_session_is_not_found(self, client: AsyncClient) -> None:
        assert (await client.get("/api/activity", params=HOUR | {"session_id": str(uuid4())})).status_code == 404

    async def test_a_span_that_is_too_long_is_refused_by_name(self, client: AsyncClient) -> None:
        answer = await client.get("/api/activity", params=HOUR | {"since": "2026-01-01T00:00:00Z"})
        (error,) = answer.json()["errors"]
        assert (answer.status_code, error["path"], error["place"]) == (422, "since", "query")
        assert "more than 31 days" in error["message"]
