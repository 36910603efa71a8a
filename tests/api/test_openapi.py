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


def test_no_two_routes_have_one_name() -> None:
    names = [operation["operationId"] for _, operation in OPERATIONS]
    assert len(names) == len(set(names))
