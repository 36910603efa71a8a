"""What a request may ask and send, and how a refusal names the place of it."""

from typing import Any
from uuid import uuid4

from httpx import AsyncClient

from tests.api.test_seed_routes import create_session

JSON = {"Content-Type": "application/json"}


async def refused(client: AsyncClient, method: str, path: str, **request: Any) -> tuple[str, str]:
    """Send what is refused, and return where and what it is."""
    answer = await client.request(method, path, **request)
    assert answer.status_code == 422, answer.text
    (error,) = answer.json()["errors"]
    return error["place"], error["path"]


class TestQueries:
    async def test_an_unknown_parameter_is_refused(self, client: AsyncClient) -> None:
        for path in ["/api/sessions?statsu=idle", "/api/sessions?metadata=clip", "/api/clips?project=house", "/health?x=1"]:
            assert await refused(client, "GET", path) == ("query", path.partition("?")[2].partition("=")[0])

    async def test_an_unknown_parameter_of_a_change_is_one_of_the_query(self, client: AsyncClient) -> None:
        assert await refused(client, "POST", "/api/sessions?name=x", json={"agent_name": "strudel"}) == ("query", "name")

    async def test_a_parameter_that_is_there_twice_is_refused(self, client: AsyncClient) -> None:
        for query in ["status=idle&status=active", "metadata.n=1&metadata.n=2"]:
            assert await refused(client, "GET", f"/api/sessions?{query}") == ("query", query.partition("=")[0])

    async def test_a_status_that_no_such_session_has_is_refused(self, client: AsyncClient) -> None:
        for query in ["status=nonsense", "status=", "type=full&status=idle", "type=chat&status=build"]:
            assert await refused(client, "GET", f"/api/sessions?{query}") == ("query", "status")

    async def test_what_crud_refuses_has_the_name_it_was_sent_by(self, client: AsyncClient) -> None:
        for query, name in [
            ("cursor=abc", "cursor"),
            ("working_dir=relative", "working_dir"),
            ("agent=%00", "agent"),
            ("project=%00", "project"),
            ("text=%00", "text"),
            ("model=%00", "model"),
            ("min_cost=-1", "min_cost"),
            ("max_cost=nan", "max_cost"),
            ("since=5", "since"),
            ("until=tomorrow", "until"),
            ("pinned=2", "pinned"),
            ("metadata.a=%00", "metadata.a"),
        ]:
            assert await refused(client, "GET", f"/api/sessions?{query}") == ("query", name)

    async def test_a_number_is_no_moment(self, client: AsyncClient) -> None:
        for moment in ["since=5", "until=2020", "since=0001-01-01T00:00:00%2B10:00", "timezone=Nowhere"]:
            assert await refused(client, "GET", f"/api/usage?by=day&{moment}") == ("query", moment.partition("=")[0])

    async def test_filters_by_metadata_find_text_numbers_and_paths(self, client: AsyncClient) -> None:
        values = {"item_type": "clip", "ü": "x", "": "empty", "mixer": {"gain": 0.8, "on": True}}
        session_id = (await create_session(client, metadata=values))["session_id"]
        await create_session(client)
        for name, value in {"item_type": "clip", "ü": "x", "": "empty", "mixer.gain": "0.8", "mixer.on": "true"}.items():
            found = (await client.get("/api/sessions", params={f"metadata.{name}": value})).json()["items"]
            assert [session["session_id"] for session in found] == [session_id]

    async def test_sessions_are_found_by_what_they_cost_by_model_by_time_and_pinned(self, client: AsyncClient) -> None:
        session_id = (await create_session(client, model_name="claude-opus-5", pinned=True))["session_id"]
        await create_session(client, model_name="other")
        for query, number in {
            "model=claude-opus-5": 1,
            "pinned=true": 1,
            "model=claude-opus-5&pinned=false": 0,
            "min_cost=0&max_cost=0&pinned=true": 1,
            "min_cost=0.01": 0,
            "since=2026-01-01T00:00:00Z&pinned=true": 1,
            "until=2026-01-01T00:00:00Z": 0,
        }.items():
            found = (await client.get(f"/api/sessions?{query}")).json()["items"]
            assert [session["session_id"] for session in found] == [session_id] * number, query

    async def test_a_slash_at_the_end_is_another_path(self, client: AsyncClient) -> None:
        assert (await client.get("/api/sessions/")).status_code == 404


class TestHeadersAndPaths:
    async def test_a_key_that_is_none_is_one_of_the_header(self, client: AsyncClient) -> None:
        path = f"/api/messages/{(await create_session(client))['session_id']}"
        body = {"messages": [{"role": "user", "content": "x"}]}
        assert await refused(client, "POST", path, json=body, headers={"Idempotency-Key": ""}) == ("header", "idempotency-key")

    async def test_what_is_in_the_path_is_named_once_for_its_types(self, client: AsyncClient) -> None:
        answer = (await client.get(f"/api/events/{uuid4()}/x")).json()
        assert {(error["place"], error["path"]) for error in answer["errors"]} == {("path", "event")}
        assert await refused(client, "GET", "/api/clips/%00") == ("path", "clip_id")


class TestBodies:
    async def test_a_refusal_names_the_field(self, client: AsyncClient) -> None:
        for path, body, name in [
            ("/api/sessions", {}, "agent_name"),
            ("/api/sessions", {"agent_name": "a", "status": "build"}, "status"),
            ("/api/sessions", {"session_slug": "../x", "working_dir": "/a"}, "session_slug"),
            ("/api/sessions", {"session_slug": "x"}, "working_dir"),
            ("/api/sessions", {"session_slug": "x", "working_dir": "a"}, "working_dir"),
            ("/api/sessions", {"agent_name": "a", "metadata": {"a": {"b": ["\0"]}}}, "metadata.a.b[0]"),
            ("/api/songs", {"song_id": "s", "project_id": "p", "name": "n", "clip_ids": ["gone"]}, "clip_ids"),
            ("/api/songs", {"song_id": "s", "project_id": "p", "name": "n", "clip_ids": ["\0"]}, "clip_ids[0]"),
            ("/api/playlists", {"playlist_id": "s", "project_id": "p", "name": "n", "song_ids": ["gone"]}, "song_ids"),
        ]:
            assert await refused(client, "POST", path, json=body) == ("body", name)

    async def test_a_refusal_names_the_event(self, client: AsyncClient) -> None:
        for values, name in [
            ({"tool_name": "\0"}, "tool_name"),
            ({"checkpoint_id": "x"}, "checkpoint_id"),
            ({"session_id": "018f2b1e-6c3a-7d51-9b1e-0242ac120002"}, "session_id"),
            ({"timestamp": "0001-01-01T00:00:00+10:00"}, "timestamp"),
        ]:
            event = {"event_category": "hook", "event_type": "Stop"}
            path = f"/api/events/{(await create_session(client))['session_id']}"
            assert await refused(client, "POST", path, json={"events": [event, event | values]}) == ("body", f"events[1].{name}")

    async def test_a_refusal_names_the_message(self, client: AsyncClient) -> None:
        path = f"/api/messages/{(await create_session(client))['session_id']}"
        message = {"role": "user", "content": "x"}
        for name, value in (("role", "bot"), ("content", None), ("context", []), ("tool_calls", [])):
            assert await refused(client, "POST", path, json={"messages": [message, message | {name: value}]}) == (
                "body",
                f"messages[1].{name}",
            )

    async def test_what_is_not_sent_as_json_is_told_how_to(self, client: AsyncClient) -> None:
        for content_type in ["text/plain", "application/x-www-form-urlencoded"]:
            answer = await client.post("/api/sessions", content='{"agent_name": "a"}', headers={"Content-Type": content_type})
            assert answer.status_code == 422
            assert "application/json" in answer.json()["detail"]

    async def test_what_cannot_be_read_is_told_why(self, client: AsyncClient) -> None:
        for body, reason in [
            (b'{"agent_name": "a", "metadata": {"n": %s}}' % (b"9" * 5000), "digits"),
            (b'{"agent_name": "a", "metadata": {"n": %s}}' % (b"[" * 100_000), "too deep"),
            (b'{"agent_name": "\xff"}', "UTF-8"),
            (b'{"agent_name": ', "Expecting value"),
        ]:
            answer = await client.post("/api/sessions", content=body, headers=JSON)
            assert (answer.status_code, answer.json()["code"]) == (400, "invalid_json")
            assert reason in answer.json()["detail"]
