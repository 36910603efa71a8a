"""The strings of a JSON text, each with its place: under which key it stands, and whether in a list behind another one."""

import json
import re
from collections.abc import Iterator
from typing import NamedTuple

# A string, and behind a key its colon.
_STRING = re.compile(r'"([^"\\]*+(?:\\.[^"\\]*+)*+)"([ \t\r\n]*+:)?')
_BRACKET = re.compile(r"[\[\]{}]")
_NO_BRACKET = frozenset({"", " ", ",", ", "})
"""What mostly stands between two strings."""


class JSONString(NamedTuple):
    """A string of a JSON text, which is no key.

    Attributes:
        start: where it begins in the JSON text, with its quote.
        end: where it ends.
        text: what it says.
        key: under which it stands, or the list that it stands in.
        in_list: it stands in a list.
        continues: another string of the same list was given just before.
        is_below: it stands somewhere below one of the keys that were asked for.
    """

    start: int
    end: int
    text: str
    key: str
    in_list: bool
    continues: bool
    is_below: bool


def json_strings(text: str, min_length: int, below: frozenset[str], *, is_below: bool) -> Iterator[JSONString]:
    """Give the strings of a valid JSON text, in their order.

    Args:
        text: the JSON text.
        min_length: leave out shorter ones.
        below: keys that are told of what stands below them.
        is_below: the whole text stands below one.
    """
    around: list[tuple[str, bool, bool]] = []
    key, in_list, continues, at = "", False, False, 0
    for found in _STRING.finditer(text):
        start, end = found.span()
        gap, at = text[at:start], end
        for bracket in () if gap in _NO_BRACKET else _BRACKET.findall(gap):
            continues = False
            if bracket in "[{":
                around.append((key, in_list, is_below))
                is_below = is_below or key in below
                in_list = bracket == "["
            else:
                key, in_list, is_below = around.pop()
        if found[2] is not None:
            key = _decoded(found[1])
        elif end - start >= min_length + 2:
            yield JSONString(start, end, _decoded(found[1]), key, in_list, continues, is_below)
            continues = in_list


def _decoded(raw: str) -> str:
    return str(json.loads(f'"{raw}"')) if "\\" in raw else raw
