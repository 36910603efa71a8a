"""Labels: what an event is about, in a line."""

from typing import Any

import pytest

from session_db.models.labels import LABEL, first_line, label_of, telling_input


class TestTellingInput:
    @pytest.mark.parametrize(
        ("tool_input", "telling"),
        [
            ({"description": "List files", "command": "ls -l"}, "ls -l"),
            ({"file_path": "/a/b.py", "content": "x = 1"}, "/a/b.py"),
            ({"pattern": "T.DO", "path": "src"}, "src"),
            ({"command": 5, "name": "kick"}, "kick"),
            ({"command": "a\n  b\tc\x1b[31m\u202e\x00"}, "a b c [31m  "),
            ({"other": "x"}, ""),
            ([1], ""),
            (None, ""),
            ("text", ""),
        ],
    )
    def test_it_is_what_a_person_looks_for_in_a_line(self, tool_input: Any, telling: str) -> None:
        assert telling_input(tool_input) == telling


class TestFirstLine:
    @pytest.mark.parametrize(("text", "line"), [("\n\n  a\tb \nc", "a b"), ("\x00a", " a"), ("", ""), (None, ""), (" \n ", "")])
    def test_it_is_the_first_that_is_not_empty(self, text: str | None, line: str) -> None:
        assert first_line(text) == line


class TestLabelOf:
    def test_it_is_cut_with_a_mark(self) -> None:
        assert label_of("x" * LABEL) == "x" * LABEL
        assert label_of("x" * (LABEL + 1)) == "x" * (LABEL - 1) + "…"

    def test_an_empty_line_is_none(self) -> None:
        assert label_of("") is None
