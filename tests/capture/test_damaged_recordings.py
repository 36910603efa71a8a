"""Importing recordings with damage that nobody thought of: every line that holds a JSON object is kept, every other one is reported."""

import json
from collections.abc import Callable, Iterator
from itertools import count
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import select
from sqlmodel import col

from session_db.capture.importer import ImportReport, import_recordings
from session_db.crud.transcripts import list_transcripts, stream_entries
from session_db.database import async_session, get_async_session
from session_db.models import METADATA, Agent
from tests.capture.recorded import BACKGROUND, CLEARED, COMPACTED, FOREGROUND, copy_of, entries_of, write_entries
from tests.databases import Database
from tests.hostile import hostile
from tests.invariants import violations

pytestmark = pytest.mark.usefixtures("fresh_database")

Damage = Callable[[bytes], bytes]

_RAW = [
    *["null", "true", "-0", "-0.0", "0.1e1", "1e-400", "1e400", "-1e99999999999999999999", "9" * 5000, "-" + "9" * 4301],
    *["[]", "{}", '""', '"x"', '"\\u0000"', '"\\ud800"', '"\\udfff\\ud800"', '"\\ud83d\\ude00"', '"\u202e\ufeff\U0001f600"'],
    *['{"a": 1, "a": 2}', '{"": {"\\u0000": []}}', "[" * 300 + "]" * 300, "[" * 5000 + "]" * 5000, '"' + "x" * 5000 + '"'],
    *['[{"type": "text", "text": 7}, null, {"type": {}}, [[]]]', '{"input_tokens": 1e400, "output_tokens": true}'],
    *['"0001-01-01T00:00:00+23:59"', '"9999-12-31T23:59:59.999999-23:59"', '{"content": 5}'],
    '{"id": 5, "content": "x", "model": "claude-opus-4-1", "usage": {"output_tokens": 10000000000}}',
    *["NaN", "-Infinity", "'", "01", ""],
]
"""What may stand where a value stood."""

_BYTES = [
    *[b"\x00", b"\xff\xfe", b"\xef\xbb\xbf", b"\xed\xa0\x80", b"\xc3", b"\\", b'"', b"}\n{"],
    *[b"\n", b"\n\n", b"\r", b"\r\n", b"\x0b\n", b"[1]\n"],
]


def _changed(where: float, new: bytes, left_out: int) -> Damage:
    """Put bytes in the place of some others."""

    def damage(data: bytes) -> bytes:
        place = int(where * len(data))
        return data[:place] + new + data[place + left_out :]

    return damage


def _with_lines(change: Callable[[list[bytes], int], None], where: float) -> Damage:
    def damage(data: bytes) -> bytes:
        lines = data.splitlines(keepends=True)
        if lines:
            change(lines, int(where * len(lines)))
        return b"".join(lines)

    return damage


def _drop(lines: list[bytes], place: int) -> None:
    del lines[place]


def _swap(lines: list[bytes], place: int) -> None:
    lines[place], lines[0] = lines[0], lines[place]


def _slots(value: Any) -> Iterator[tuple[Any, Any]]:
    """Walk everything that stands in an entry: (object or list, its key or index)."""
    for key, child in list(value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()):
        yield value, key
        yield from _slots(child)


def _replaced(where: float, slot: float, raw: str) -> Damage:
    """Put raw text in the place of a value of some entry."""

    def change(lines: list[bytes], place: int) -> None:
        try:
            entry = json.loads(lines[place])
            slots = list(_slots(entry))
        except (ValueError, RecursionError):
            return
        if slots:
            holder, key = slots[int(slot * len(slots))]
            holder[key] = "@place@"
            lines[place] = json.dumps(entry).replace('"@place@"', raw).encode() + b"\n"

    return _with_lines(change, where)


_WHERE = st.floats(0, 1, exclude_max=True)
DAMAGES = st.lists(
    st.one_of(
        st.builds(_changed, _WHERE, st.just(b""), st.just(10**9)),
        st.builds(_changed, _WHERE, st.binary(min_size=1, max_size=1), st.just(1)),
        st.builds(_changed, _WHERE, st.sampled_from(_BYTES), st.just(0)),
        st.builds(lambda where: _with_lines(lambda lines, place: lines.insert(place, lines[place]), where), _WHERE),
        st.builds(lambda where: _with_lines(_drop, where), _WHERE),
        st.builds(lambda where: _with_lines(_swap, where), _WHERE),
        *[st.builds(_replaced, _WHERE, _WHERE, st.sampled_from(_RAW))] * 4,
    ),
    min_size=1,
    max_size=5,
)

_numbers = count(1)


def fresh_copy(source: UUID, folder: Path) -> Path:
    """Copy a recording as one of a session that nobody has imported, and return its transcript file."""
    number = next(_numbers)
    path = copy_of(source, folder / str(number))
    renamed = path.with_stem(str(UUID(int=number)))
    if path.with_suffix("").is_dir():
        path.with_suffix("").rename(renamed.with_suffix(""))
    return path.rename(renamed)


def damaged(path: Path, damages: list[Damage]) -> None:
    data = path.read_bytes()
    for damage in damages:
        data = damage(data)
    path.write_bytes(data)


def _refuse(word: str) -> Any:
    raise ValueError(word)


def _depth(value: Any) -> int:
    level, depth = [value], 0
    while level:
        level = [child for part in level for child in (part.values() if isinstance(part, dict) else part if isinstance(part, list) else ())]
        depth += 1
    return depth


def good_and_bad(data: bytes) -> tuple[list[str], set[int]]:
    """Read a file in the plainest way: the texts of its JSON objects, and the numbers of the lines that hold none."""
    good, bad = [], set()
    for number, line in enumerate(data.split(b"\n"), 1):
        content = line.removeprefix(b"\xef\xbb\xbf")
        if not content.strip():
            continue
        try:
            # Numbers of any size are fine here: they stay texts.
            value = json.loads(content.decode(), parse_int=str, parse_float=str, parse_constant=_refuse)
        except (ValueError, RecursionError):
            bad.add(number)
        else:
            if isinstance(value, dict) and _depth(value) < 500:
                good.append(content.decode())
            else:
                bad.add(number)
    return good, bad


async def rows_of(session_id: UUID) -> dict[str, list[Any]]:
    """Return the rows of a session, to compare two states of it."""
    tables = {table: table.c.get("session_id", table.c.get("id")) for table in METADATA.sorted_tables}
    async with async_session() as db:
        return {
            table.name: sorted(tuple(map(str, row)) for row in await db.execute(select(table).where(key == session_id)))
            for table, key in tables.items()
            if key is not None
        }


async def streams_of(session_id: UUID) -> dict[str, list[str]]:
    async with async_session() as db:
        return {
            stream.subpath: [text async for text in stream_entries(db, session_id, stream.id)]
            for stream in await list_transcripts(db, session_id)
        }


async def imported(path: Path, database: Database) -> ImportReport:
    """Import a recording twice; the second time changes nothing, and every number of the database is right."""
    session_id = UUID(path.stem)
    report = await import_recordings([path.parent])
    before = await rows_of(session_id)
    again = await import_recordings([path.parent])
    assert again.entries == 0
    assert again.problems.keys() <= report.problems.keys()
    assert await rows_of(session_id) == before
    async with database.connected() as connection:
        assert await violations(connection) == []
    return report


def assert_all_kept_or_reported(path: Path, stored: list[str] | None, report: ImportReport) -> None:
    good, bad = good_and_bad(path.read_bytes())
    reported = {problem.line for problem in report.problems.values() if problem.path == path}
    if 0 in reported:
        # Only a file without a single entry as the client writes them is refused as a whole.
        assert "no transcript" in report.problems[path, 0].reason
        assert not any(isinstance(json.loads(text, parse_int=str).get("type"), str) for text in good)
    else:
        assert (stored or []) == good
        assert reported == bad


class TestDamage:
    @hostile(20)
    @given(source=st.sampled_from([CLEARED, BACKGROUND, COMPACTED]), damages=DAMAGES)
    async def test_a_damaged_transcript_loses_nothing_that_is_left(
        self, tmp_path: Path, fresh_database: Database, source: UUID, damages: list[Damage]
    ) -> None:
        path = fresh_copy(source, tmp_path)
        damaged(path, damages)
        report = await imported(path, fresh_database)
        assert_all_kept_or_reported(path, (await streams_of(UUID(path.stem))).get(""), report)

    @hostile(8)
    @given(source=st.sampled_from([BACKGROUND, FOREGROUND]), damages=DAMAGES, meta=DAMAGES)
    async def test_a_damaged_sub_agent_loses_nothing_that_is_left(
        self, tmp_path: Path, fresh_database: Database, source: UUID, damages: list[Damage], meta: list[Damage]
    ) -> None:
        path = fresh_copy(source, tmp_path)
        (below,) = path.with_suffix("").glob("subagents/*.jsonl")
        damaged(below, damages)
        damaged(below.with_suffix(".meta.json"), meta)
        report = await imported(path, fresh_database)
        streams = await streams_of(UUID(path.stem))
        assert_all_kept_or_reported(below, streams.get(f"subagents/{below.stem}"), report)
        assert streams[""] == path.read_text().splitlines()

    @hostile(8)
    @given(source=st.sampled_from([CLEARED, BACKGROUND]), damages=DAMAGES)
    async def test_a_file_that_is_damaged_later_takes_nothing_away(
        self, tmp_path: Path, fresh_database: Database, source: UUID, damages: list[Damage]
    ) -> None:
        path = fresh_copy(source, tmp_path)
        whole = path.read_text().splitlines()
        await import_recordings([path])
        damaged(path, damages)
        await imported(path, fresh_database)
        assert (await streams_of(UUID(path.stem)))[""][: len(whole)] == whole


class TestKept:
    async def test_lines_with_a_byte_order_mark_are_kept_without_it(self, tmp_path: Path) -> None:
        path = copy_of(CLEARED, tmp_path)
        lines = path.read_bytes().splitlines()
        path.write_bytes(b"".join(b"\xef\xbb\xbf" + line + b"\r\n" for line in lines) + b"\xef\xbb\xbf")
        report = await import_recordings([path])
        assert report.problems == {}
        assert (await streams_of(CLEARED))[""] == [line.decode() + "\r" for line in lines]

    async def test_numbers_of_any_size_are_kept_and_can_be_read_back(self, tmp_path: Path) -> None:
        path = copy_of(BACKGROUND, tmp_path)
        large = '{"digits": ' + "9" * 100_000 + ', "huge": [1e400, -1E+99999]}'
        call = '{"type": "tool_use", "id": "toolu_1", "name": "Count", "input": ' + large + "}"
        with path.open("a") as file:
            file.write('{"type": "assistant", "message": {"id": "m1", "content": [' + call + "]}}\n")
            file.write('{"type": "cost-state", "totalCostUSD": 1.5, "modelUsage": ' + large + "}\n")
        (meta,) = path.with_suffix("").glob("subagents/*.meta.json")
        meta.write_text('{"agentType": "Explore", "large": ' + large + "}")
        report = await import_recordings([path])
        assert report.problems == {}
        assert (await streams_of(BACKGROUND))[""] == path.read_text().splitlines()
        texts = {"digits": "9" * 100_000, "huge": ["1e400", "-1E+99999"]}
        async with async_session() as db:
            main, below = await list_transcripts(db, BACKGROUND)
            assert main.reported_usage == texts
            assert below.meta["large"] == texts
        assert (await import_recordings([path])).entries == 0

    async def test_sub_agents_that_name_each_other_as_parent_make_no_circle(self, tmp_path: Path, fresh_database: Database) -> None:
        path = copy_of(BACKGROUND, tmp_path)
        (one,) = path.with_suffix("").glob("subagents/*.jsonl")
        names = [one.stem.removeprefix("agent-"), "second", "third"]
        for name, parent in zip(names, [*names[1:], names[0]], strict=True):
            copy = one.with_name(f"agent-{name}.jsonl")
            write_entries(copy, entries_of(one))
            copy.with_suffix(".meta.json").write_text(json.dumps({"agentType": "Explore", "parentAgentId": parent}))
        assert (await import_recordings([path])).problems == {}
        async with fresh_database.connected() as connection:
            assert await violations(connection) == []
        async with get_async_session() as db:
            parents = (await db.execute(select(col(Agent.parent_agent_id)))).scalars().all()
        assert len(parents) == 4
        assert parents.count(None) == 1
