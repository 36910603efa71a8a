"""Events over HTTP: what a sender wrote is what a reader gets."""

import json

import pytest
from httpx import AsyncClient

from session_db.api.own_text import read_events
from session_db.models.table import JSONText
from tests.api.test_seed_routes import create_session

EVENT = '{"event_category": "hook", "event_type": "PreToolUse", "payload": %s, "tool_input": %s}'
OWN = [
    "1e400", "1.0", "1.10", "1E5", "-0", "-0.0", "0.10000000000000000001", "9" * 5000, '{"a":1,"a":2}', ' { "b" : 1 , "a":[ ] }'.strip(),
    '"\\u0000"', '"\\ud800"', '{"\\ud800":1}', '"é\\/"', "[" * 500 + "]" * 500, "false", '""', "[]",
]  # fmt: skip


async def append(client: AsyncClient, body: str) -> tuple[str, int, str]:
    """Send the body of an append; return the path of the session's events, the status, and the answer."""
    path = f"/api/events/{(await create_session(client))['session_id']}"
    answer = await client.post(path, content=body.encode(), headers={"Content-Type": "application/json"})
    return path, answer.status_code, answer.text


class TestOwnText:
    async def test_payload_and_tool_input_come_back_to_the_letter(self, client: AsyncClient) -> None:
        path, status, text = await append(client, f'{{"events": [{",".join(EVENT % (own, own) for own in OWN)}]}}')
        assert status == 201, text
        for event_index, own in enumerate(OWN):
            event = await client.get(f"{path}/{event_index}")
            assert event.text.endswith(f'"tool_input":{own},"payload":{own}}}')
            assert f'"payload_bytes":{len(own.encode())},' in event.text
        assert len((await client.get(path)).json()["items"]) == len(OWN)

    async def test_null_is_no_payload(self, client: AsyncClient) -> None:
        path, _, _ = await append(client, '{"events": [%s]}' % (EVENT % ("null", "null")))
        event = (await client.get(f"{path}/0")).json()
        assert (event["payload"], event["payload_bytes"]) == (None, None)

    async def test_an_event_that_python_appended_is_read_as_well(self, client: AsyncClient) -> None:
        path, _, _ = await append(client, '{"events": [{"event_category": "hook", "event_type": "Stop", "content": "done"}]}')
        event = (await client.get(f"{path}/0")).json()
        assert (event["content"], event["tool_input"], event["payload"]) == ("done", None, None)

    async def test_what_is_no_json_is_refused(self, client: AsyncClient) -> None:
        for own in ["NaN", "-Infinity", "[" * 100_000, "{1:2}", '"\n"', "01", "", "[1,]", "nul"]:
            _, status, text = await append(client, '{"events": [%s]}' % (EVENT % (own, "1")))
            assert (status, json.loads(text)["code"]) == (400, "invalid_json")

    async def test_what_is_nested_too_deep_is_refused_with_its_path(self, client: AsyncClient) -> None:
        deep = "[" * 501 + "]" * 501
        _, status, text = await append(client, f'{{"events": [{EVENT % (1, 2)}, {EVENT % (deep, 1)}]}}')
        assert (status, json.loads(text)["errors"][0]["path"]) == (422, "events[1].payload")


class TestReadEvents:
    @pytest.mark.parametrize(
        "body",
        ["null", "[]", "{}", '{"events": 1}', '{"events": []}', '{"events": {}}', '{"events": [1, null, "x", [], {}]}',
         '\t{ "events" :\r\n[ { "a" : 1 , "a" : { "payload" : 1 } } ] , "more" : [ { "payload" : 2 } ] } '],
    )  # fmt: skip
    def test_all_else_is_what_json_says(self, body: str) -> None:
        assert read_events(body) == json.loads(body)

    def test_only_an_event_has_its_own_text(self) -> None:
        read = read_events('{"payload": 1.0, "events": [{"payload": 1.0, "metadata": {"payload": 1.0}}]}')
        assert read == {"payload": 1.0, "events": [{"payload": "1.0", "metadata": {"payload": 1.0}}]}
        assert isinstance(read["events"][0]["payload"], JSONText)

    @pytest.mark.parametrize(
        "body", ["", " ", "{", "[", "{]", '{"events"}', '{"events":}', '{"events": [}', '{"events": [{}', '{"events": [{,}]}',
                 '{"events": [{} {}]}', '{"events": [{}],}', '{"events": []} x', "{'events': []}", "{events: []}", '{"events": [{}]]'],
    )  # fmt: skip
    def test_what_is_no_json_says_where(self, body: str) -> None:
        with pytest.raises(json.JSONDecodeError):
            read_events(body)
