"""Importing what nobody would want to find in a transcript."""

import asyncio
import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import text

from session_db import crud
from session_db.capture import record
from session_db.capture.importer import import_recordings
from session_db.database import async_session
from session_db.models import Usage
from tests.capture.recorded import BACKGROUND, CLEARED, changed, copy_of, count_of, entries_of, stored_lines, write_entries
from tests.databases import Database

pytestmark = pytest.mark.usefixtures("fresh_database")

MANY = 200_000


async def test_a_torn_last_line_is_reported_and_read_when_it_is_whole(tmp_path: Path) -> None:
    path = copy_of(BACKGROUND, tmp_path)
    whole = path.read_bytes()
    path.write_bytes(whole[:-200])
    report = await import_recordings([path])
    (problem,) = report.problems.values()
    assert (problem.path, problem.line) == (path, len(whole.splitlines()))
    assert "in the middle" in problem.reason
    assert await stored_lines(BACKGROUND) == whole.decode().splitlines()[:-1]
    path.write_bytes(whole)
    report = await import_recordings([path])
    assert (report.entries, report.problems) == (1, {})
    assert await stored_lines(BACKGROUND) == whole.decode().splitlines()


@pytest.mark.parametrize(
    ("bad", "reason"),
    [
        (b'{"type": "user", "uuid": "torn', "no JSON"),
        (b'{"type": "user", "number": NaN}', "NaN, which is no JSON"),
        (b'["a list"]', "holds a list"),
        (b'{"text": "\xff\xfe"}', "no UTF-8"),
        (b'{"deep": ' + b"[" * 5000 + b"]" * 5000 + b"}", "nested deeper"),
        (b"\x00\x00\x00\x00", "no JSON"),
    ],
)
async def test_an_invalid_line_is_reported_and_skipped(tmp_path: Path, bad: bytes, reason: str) -> None:
    path = copy_of(CLEARED, tmp_path)
    lines = path.read_bytes().splitlines()
    path.write_bytes(b"\n".join([*lines[:7], bad, b"", *lines[7:]]) + b"\n")
    report = await import_recordings([path])
    (problem,) = report.problems.values()
    assert (problem.path, problem.line) == (path, 8)
    assert reason in problem.reason
    assert await stored_lines(CLEARED) == [line.decode() for line in lines]


async def test_nul_and_lone_surrogates_in_tool_output_are_kept(tmp_path: Path) -> None:
    path = copy_of(BACKGROUND, tmp_path)
    output = "before\x00middle\ud800after\udfff\U0001f600"

    def damage(entries: list[dict[str, Any]]) -> None:
        for entry in entries:
            for block in entry.get("message", {}).get("content", []) if isinstance(entry.get("message", {}).get("content"), list) else []:
                if block["type"] == "tool_result":
                    block["content"] = output
                if block["type"] == "text":
                    block["text"] = output
            entry["cwd\x00"] = "\ud800"

    changed(path, damage)
    report = await import_recordings([path])
    assert report.problems == {}
    assert await stored_lines(BACKGROUND) == path.read_text().splitlines()
    async with async_session() as db:
        events = await crud.list_agent_logs(db, BACKGROUND, event_type="ToolResultBlock", limit=1000)
        messages = await crud.load_messages_paginated(db, BACKGROUND)
    assert {event.payload["content"] for event in events if event.sdk_session_id and event.agent_id == events[0].agent_id} == {output}
    assert events[0].tool_output == "before\ufffdmiddle\ufffdafter\ufffd\U0001f600"
    assert messages[1]["content"] == "before\ufffdmiddle\ufffdafter\ufffd\U0001f600"


async def test_unknown_types_and_fields_are_kept(tmp_path: Path) -> None:
    path = copy_of(CLEARED, tmp_path)
    strange: list[Any] = [
        {"type": "quantum-state", "uuid": "33333333-0000-4000-8000-000000000000", "spin": [1, 2, {"x": 1e300}]},
        {"type": 7, "message": "text"},
        {"no": "type", "timestamp": "yesterday", "uuid": 12},
        {"type": "assistant", "message": {"id": "m1", "content": [{"type": "hologram", "data": "x"}, "text", None, 4]}},
        {"type": "assistant", "message": None, "timestamp": "0001-01-01T00:00:00+14:00"},
        {"type": "user", "message": {"content": {"not": "a list"}}, "uuid": "x" * 5000},
        {"type": "assistant", "message": {"id": ["a"], "model": {"m": 1}, "usage": {"input_tokens": "many", "output_tokens": -1}}},
        {"type": "assistant", "message": {"id": "m2", "model": "m" * 500, "usage": {"input_tokens": 2**70}, "content": []}},
        {"type": "cost-state", "totalCostUSD": "free", "big": 10**400},
        {"type": "custom-title", "customTitle": "\ud800 a title\nin two lines \x00"},
    ]
    with path.open("a") as file:
        file.writelines(json.dumps(entry) + "\n" for entry in strange)
    report = await import_recordings([path])
    assert report.problems == {}
    assert await stored_lines(CLEARED) == path.read_text().splitlines()
    async with async_session() as db:
        events = await crud.list_agent_logs(db, CLEARED)
        session = await crud.get_session(db, CLEARED)
    assert "hologramBlock" in {event.event_type for event in events}
    assert session is not None
    assert session.title == "\ufffd a title in two lines \ufffd"


async def test_values_that_fit_no_column_stop_nothing(tmp_path: Path) -> None:
    path = copy_of(BACKGROUND, tmp_path)
    answer = next(entry for entry in entries_of(path) if entry["type"] == "assistant")
    much = answer | {
        "uuid": "much",
        "message": answer["message"] | {"id": "msg_much", "usage": {"output_tokens": 2**53 - 1, "input_tokens": 10**10}},
    }
    early = answer | {"uuid": "early", "timestamp": "0001-01-01T00:00:00Z", "message": answer["message"] | {"id": "msg_early"}}
    write_entries(path, [entry | ({"cwd": "/" + "é/" * 3000} if "cwd" in entry else {}) for entry in [*entries_of(path), much, early]])
    (meta,) = path.with_suffix("").glob("subagents/*.meta.json")
    meta.write_text('{"agentType": "x", "value": NaN}')
    copy_of(CLEARED, tmp_path)
    report = await import_recordings([tmp_path])
    assert report.problems == {}
    assert report.sessions_new == 2
    async with async_session() as db:
        session = await crud.get_session(db, BACKGROUND)
    assert session is not None
    assert session.working_dir is not None
    assert session.working_dir.startswith("/é/é")
    assert session.metadata_["working_dir"] == "/" + "é/" * 3000


async def test_a_file_that_the_database_refuses_is_set_aside(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    refused = copy_of(BACKGROUND, tmp_path)
    copy_of(CLEARED, tmp_path)
    written = record.append_to_stream

    async def refuse(db: Any, stream: Any, *arguments: Any, **keywords: Any) -> Any:
        if stream.session.id == BACKGROUND:
            await db.execute(text("SELECT CAST('x' AS integer)"))
        return await written(db, stream, *arguments, **keywords)

    monkeypatch.setattr("session_db.capture.importer.append_to_stream", refuse)
    report = await import_recordings([tmp_path])
    assert (refused, 0) in report.problems
    assert "cannot be stored" in report.problems[refused, 0].reason
    assert await stored_lines(CLEARED)


async def test_what_is_no_transcript_makes_no_session(tmp_path: Path) -> None:
    (tmp_path / "history.jsonl").write_text('{"display": "hello", "sessionId": "x"}\n')
    (tmp_path / "empty.jsonl").write_text("")
    (tmp_path / "bad.jsonl").write_text("not JSON\n")
    report = await import_recordings([tmp_path])
    assert report.sessions_new == 0
    assert {path.name: problem.line for (path, _), problem in report.problems.items()} == {"history.jsonl": 0, "bad.jsonl": 1}


async def test_repeated_uuids_are_kept_and_say_nothing_new(tmp_path: Path) -> None:
    path = copy_of(CLEARED, tmp_path)
    path.write_bytes(path.read_bytes() * 3)
    report = await import_recordings([path])
    assert report.messages == 2
    assert await stored_lines(CLEARED) == path.read_text().splitlines()
    assert (await import_recordings([path])).entries == 0


async def test_a_ten_megabyte_line_is_kept_whole(tmp_path: Path) -> None:
    path = copy_of(BACKGROUND, tmp_path)
    content = "wörd\x00 " * 1_500_000

    def grow(entries: list[dict[str, Any]]) -> None:
        result = next(entry for entry in entries if "toolUseResult" in entry)
        result["message"]["content"][0]["content"] = content

    changed(path, grow)
    await import_recordings([path])
    assert await stored_lines(BACKGROUND) == path.read_text().splitlines()
    async with async_session() as db:
        event = (await crud.list_agent_logs(db, BACKGROUND, event_type="ToolResultBlock", whole=True))[0]
    assert event.payload["content"] == content
    assert event.truncated
    assert event.tool_output is not None
    assert 16_380 < len(event.tool_output.encode()) <= 16_384


async def test_what_cannot_be_opened_is_named_and_the_rest_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    closed = copy_of(BACKGROUND, tmp_path)
    copy_of(CLEARED, tmp_path)
    opened = Path.open

    def refuse(self: Path, *arguments: Any, **keywords: Any) -> Any:
        if self == closed:
            raise PermissionError(13, "Permission denied", str(self))
        return opened(self, *arguments, **keywords)

    monkeypatch.setattr(Path, "open", refuse)
    report = await import_recordings([tmp_path])
    (problem,) = report.problems.values()
    assert (problem.path, problem.line) == (closed, 0)
    assert "Permission denied" in problem.reason
    assert await stored_lines(CLEARED)


async def test_file_names_that_are_no_text_are_imported(tmp_path: Path) -> None:
    path = copy_of(BACKGROUND, tmp_path)
    folder = path.with_suffix("") / "tool-results"
    folder.mkdir()
    Path(os.fsdecode(os.fsencode(folder) + b"/\xff\xfe.txt")).write_text("output")
    report = await import_recordings([tmp_path])
    assert report.problems == {}
    assert json.loads((await stored_lines(BACKGROUND, "tool-results/\ufffd\ufffd.txt"))[0])["data"] == "output"


async def test_what_a_sub_agents_file_says_of_our_notes_is_no_note(tmp_path: Path) -> None:
    path = copy_of(BACKGROUND, tmp_path)
    (meta,) = path.with_suffix("").glob("subagents/*.meta.json")
    meta.write_text(json.dumps(json.loads(meta.read_text()) | {"told": {}}))
    agent = meta.with_name(meta.name.replace(".meta.json", ".jsonl"))
    for _ in range(2):
        assert (await import_recordings([path])).problems == {}
        with agent.open("a") as file:
            file.write('{"type": "more"}\n')


async def test_what_a_sub_agent_is_stands_in_no_link(tmp_path: Path) -> None:
    path = copy_of(BACKGROUND, tmp_path)
    (meta,) = path.with_suffix("").glob("subagents/*.meta.json")
    meta.rename(tmp_path / "outside.json")
    meta.symlink_to(tmp_path / "outside.json")
    await import_recordings([path])
    async with async_session() as db:
        agents = await crud.list_agents(db, BACKGROUND)
    assert sorted(agent.agent_type for agent in agents) == ["agent", "main"]


async def test_a_folder_called_like_one_of_the_clients_is_no_hindrance(tmp_path: Path) -> None:
    path = copy_of(CLEARED, tmp_path / "subagents" / "tool-results")
    assert (await import_recordings([path])).sessions_new == 1
    assert (await import_recordings([tmp_path])).sessions_unchanged == 1


def many_lines(path: Path) -> Iterator[str]:
    """Give as many lines as wanted, each round of the recording with ids of its own."""
    lines = path.read_text().splitlines()
    for number in range(MANY):
        turn, place = divmod(number, len(lines))
        line = lines[place].replace("msg_fake_", f"msg_{turn}_").replace("toolu_fake_", f"toolu_{turn}_")
        yield re.sub(r'("uuid": ?")[^"]+', rf"\g<1>{UUID(int=number)}", line) + "\n"


# A process of its own, so that its peak is the import's; it prints the report and the MiB that the import added.
IMPORT = """
import asyncio, json, resource, sys
from pathlib import Path
from session_db.capture.importer import import_recordings
from session_db.cli.importing import report_json

def peak():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (1024 if sys.platform == "linux" else 1024**2)

before = peak()
report = asyncio.run(import_recordings([Path(sys.argv[1])]))
print(json.dumps(report_json(report) | {"added": peak() - before}))
"""


@pytest.mark.large
@pytest.mark.timeout(900)
async def test_two_hundred_thousand_lines_import_whole_in_bounded_memory(tmp_path: Path, fresh_database: Database) -> None:
    path = copy_of(BACKGROUND, tmp_path)
    source = path.rename(path.with_suffix(".source"))
    with path.open("w") as file:
        file.writelines(many_lines(source))
    command = [sys.executable, "-c", IMPORT, str(path)]
    done = await asyncio.to_thread(subprocess.run, command, env=fresh_database.environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout)
    assert report["problems"] == []
    assert report["entries"] == MANY + 27
    assert report["added"] < 150, "the peak grew by more MiB than a batch and the price list need"
    with path.open() as file:
        assert await stored_lines(BACKGROUND) == file.read().splitlines()
    async with async_session() as db:
        session = await crud.get_session(db, BACKGROUND)
        agents = await crud.list_agents(db, BACKGROUND)
        assert await count_of(db, Usage, BACKGROUND) == report["usage"]
    assert session is not None
    assert session.event_count == report["events"]
    assert session.total_cost == pytest.approx(sum(agent.cost for agent in agents), abs=1e-6)
