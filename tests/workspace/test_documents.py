"""JSON of people and agents, also where there is much of it."""

import json
import time
from typing import Any

import pytest

from session_db.errors import InvalidInput
from session_db.workspace.documents import MAX_BYTES, format_object, parse_object
from tests.workspace.conftest import Project

WIDE = {"numbers": [0] * 700_000}
"""Has 1.4 MB in one line, and 5 MB where each number has a line of its own."""


class TestParse:
    def test_finds_a_key_that_is_there_twice_among_many(self) -> None:
        names = [f'"key {number}": 0' for number in range(50_000)]
        began = time.perf_counter()
        with pytest.raises(InvalidInput, match="has the key 'key 49999' twice"):
            parse_object(f"{{{','.join([*names, names[-1]])}}}".encode(), "state.json")
        assert time.perf_counter() - began < 3


class TestFormat:
    @pytest.mark.parametrize("document", [{"a": [1, "é"]}, {"a": "\ud800 é"}, {"a": 10**30, "b": 1e-7}, WIDE])
    def test_gives_what_reads_as_it_was(self, document: dict[str, Any]) -> None:
        content = format_object(document, "state.json")
        assert len(content) <= MAX_BYTES
        assert parse_object(content, "state.json") == document

    def test_is_for_people_where_it_can_be(self) -> None:
        assert format_object({"a": "é", "b": "\ud800"}, "state.json") == '{\n  "a": "é",\n  "b": "\\ud800"\n}\n'.encode()

    def test_refuses_what_could_not_be_read_again(self) -> None:
        with pytest.raises(InvalidInput, match=r"state\.json would get more than 4,194,304 bytes; make it smaller"):
            format_object({"a": "a" * MAX_BYTES}, "state.json")


class TestSync:
    async def test_writes_a_wide_file_so_that_it_can_be_read_again(self, project: Project) -> None:
        await project.create()
        project.state.write_text(json.dumps(project.read() | WIDE | {"title": "Sign in"}, separators=(",", ":")))
        assert [outcome.fields for outcome in (await project.sync()).outcomes] == [["title"]]
        assert project.state.stat().st_size <= MAX_BYTES
        report = await project.sync()
        assert ([outcome.action for outcome in report.outcomes], report.problems) == (["unchanged"], [])

    async def test_leaves_a_file_that_would_get_too_large(self, project: Project) -> None:
        await project.create()
        full = {"title": "Sign in", "note": ""}
        size = len(json.dumps(project.read() | full, separators=(",", ":")).encode())
        content = json.dumps(project.read() | full | {"note": "a" * (MAX_BYTES - size), "synced": None}, separators=(",", ":"))
        project.state.write_text(content)
        await project.update(status="build")
        report = await project.sync()
        assert report.outcomes == []
        assert "would get more than" in report.problems[0].reason
        assert project.state.read_text() == content
        assert (await project.session()).title == "Authentication"
