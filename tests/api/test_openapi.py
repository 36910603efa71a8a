"""The OpenAPI document: complete, and the one that is committed."""

import json
import re
from typing import Any

import pytest
from httpx import AsyncClient

from scripts.openapi import DOCUMENT, written
from session_db.server import create_app

OPERATIONS = [
    (f"{method.upper()} {path}", operation)
    for path, methods in create_app().openapi()["paths"].items()
    for method, operation in methods.items()
]


def test_the_committed_one_is_current() -> None:
    assert DOCUMENT.read_text() == written(), "run `make openapi`"


async def test_the_service_gives_it(client: AsyncClient) -> None:
    assert (await client.get("/openapi.json")).json() == json.loads(DOCUMENT.read_text())


@pytest.mark.parametrize(("name", "operation"), OPERATIONS, ids=[name for name, _ in OPERATIONS])
class TestOperations:
    def test_each_says_what_it_does_and_what_it_answers(self, name: str, operation: dict[str, Any]) -> None:
        assert operation["summary"]
        assert operation["description"]
        assert operation["tags"] or name in ("GET /health", "GET /ready", "GET /metrics")
        for status, answer in operation["responses"].items():
            if int(status) >= 400:
                assert list(answer["content"]) == ["application/problem+json"]
            elif status != "204":
                assert answer["content"]

    def test_each_parameter_says_what_it_is(self, name: str, operation: dict[str, Any]) -> None:
        assert [parameter["name"] for parameter in operation.get("parameters", []) if not parameter.get("description")] == []

    def test_what_is_in_a_path_may_be_unknown(self, name: str, operation: dict[str, Any]) -> None:
        in_path = re.findall(r"\{(\w+)\}", name)
        assert not in_path or "404" in operation["responses"] or operation["operationId"] == "list_clip_versions"


# Each after what it names: a song has clips.
EXAMPLES = [
    ("post", "/api/sessions"),
    ("patch", "/api/sessions/{session_id}"),
    ("post", "/api/messages/{session_id}"),
    ("post", "/api/sessions/{session_id}/memory-files"),
    ("post", "/api/sessions/{session_id}/agents"),
    ("post", "/api/events/{session_id}"),
    ("post", "/api/clips"),
    ("put", "/api/clips/{clip_id}"),
    ("post", "/api/songs"),
    ("post", "/api/playlists"),
    ("post", "/api/tokens"),
]


def bodies() -> dict[tuple[str, str], dict[str, Any]]:
    """Return the schemas of the bodies that routes take, by method and path."""
    document = create_app().openapi()
    schemas = document["components"]["schemas"]
    named = {
        (method, path): json.dumps(operation["requestBody"])
        for path, methods in document["paths"].items()
        for method, operation in methods.items()
        if "requestBody" in operation
    }
    return {key: schemas[found[1]] for key, body in named.items() if (found := re.search(r"schemas/(\w+)", body))}


class TestBodies:
    async def test_each_example_works(self, client: AsyncClient) -> None:
        session_id = (await client.post("/api/sessions", json={"agent_name": "strudel"})).json()["session_id"]
        for method, path in EXAMPLES:
            for example in bodies()[method, path]["examples"]:
                url = path.format(session_id=session_id, clip_id="kick")
                answer = await client.request(method, url, json=example)
                assert answer.is_success, (url, answer.text)

    def test_each_route_that_makes_something_has_one(self) -> None:
        made = {key for key, schema in bodies().items() if key[0] == "post" and "examples" not in schema}
        assert made <= {("post", "/api/clips/{clip_id}/versions/{version}/restore")}

    def test_each_field_says_what_it_is(self) -> None:
        for key, schema in bodies().items():
            assert [name for name, field in schema["properties"].items() if not field.get("description")] == [], key


def test_no_two_routes_have_one_name() -> None:
    names = [operation["operationId"] for _, operation in OPERATIONS]
    assert len(names) == len(set(names))
