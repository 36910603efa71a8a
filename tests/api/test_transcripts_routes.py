"""Transcripts and usage over HTTP: the bytes of the file, and sums that agree."""

import asyncio
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from httpx import AsyncClient

from session_db.capture.importer import import_recordings
from session_db.crud.transcripts import append_entries, ensure_transcript
from session_db.crud.usage import put_usage
from session_db.database import get_async_session, get_engine
from session_db.models import Agent
from tests.api.conftest import ClientWith
from tests.capture.recorded import BACKGROUND, recording
from tests.capture.test_redaction import MASK, SECRET, planted
from tests.factories import make_agent

ODD = '{"a" : 1.50,\t"a":"\\u0000\\ud800", "b":1e400}'
SUMMED = ("input_tokens", "output_tokens", "cache_read_tokens", "cache_write_tokens", "cost")


async def make_stream(entries: list[str]) -> str:
    """Store a stream, and return its path."""
    async with get_async_session() as db:
        agent = await make_agent(db)
        stream = await ensure_transcript(db, agent.session_id, agent.id, "-work", "s", "")
        await append_entries(db, stream, [(None, entry) for entry in entries])
        return f"/api/sessions/{agent.session_id}/transcripts/{stream.id}"


class TestTranscripts:
    async def test_a_recording_comes_back_byte_for_byte(self, client: AsyncClient) -> None:
        await import_recordings([recording(BACKGROUND)])
        path = f"/api/sessions/{BACKGROUND}/transcripts"
        streams = (await client.get(path)).json()["items"]
        assert [stream["subpath"].partition("/")[0] for stream in streams] == ["", "subagents"]
        for stream in streams:
            file = recording(BACKGROUND).with_suffix("") / stream["subpath"] if stream["subpath"] else recording(BACKGROUND).with_suffix("")
            lines = file.with_suffix(".jsonl").read_bytes().splitlines(keepends=True)
            whole = await client.get(f"{path}/{stream['id']}/entries.jsonl")
            assert whole.headers["Content-Type"] == "application/x-ndjson"
            assert whole.content == b"".join(lines)
            assert stream["next_seq"] == len(lines)
            assert (await client.get(f"{path}/{stream['id']}/entries/3")).content == lines[3].rstrip(b"\n")
            assert not {"hash", "file_print", "deleted_at"} & stream.keys()

    async def test_what_no_reader_could_decode_comes_back_as_well(self, client: AsyncClient) -> None:
        path = await make_stream([ODD])
        assert (await client.get(f"{path}/entries/0")).text == ODD
        assert (await client.get(f"{path}/entries.jsonl")).text == ODD + "\n"
        assert (await client.get(f"{path}/entries")).json()["items"][0]["entry"] == ODD
        assert (await client.get(f"{path}/entries/1")).status_code == 404

    async def test_a_reader_that_goes_away_gives_its_connection_back(self, reader: AsyncClient) -> None:
        path = await make_stream(['"%s"' % ("x" * 1_000_000)] * 40)
        for _ in range(3):
            async with reader.stream("GET", f"{path}/entries.jsonl") as answer:
                await anext(answer.aiter_bytes())
        pool: Any = get_engine().pool
        async with asyncio.timeout(10):
            while pool.checkedout():
                await asyncio.sleep(0.05)


async def spend(agent: Agent, *moments: datetime) -> None:
    """Store an answer of a model for each moment."""
    counters = ("output_tokens", "cache_read_tokens", "cache_write_5m_tokens", "cache_write_1h_tokens", "web_search_requests")
    tokens = dict.fromkeys(counters, 1)
    costs = {"computed_cost": Decimal("0.1000000001"), "reported_cost": None}
    rows = [
        {"message_id": str(moment), "agent_id": agent.id, "model": "m", "occurred_at": moment, "input_tokens": 10} | tokens | costs
        for moment in moments
    ]
    async with get_async_session() as db:
        await put_usage(db, agent.session_id, rows, {})


async def sums(client: AsyncClient, path: str, **asked: str) -> list[dict[str, Any]]:
    answer = await client.get(path, params=asked)
    assert answer.status_code == 200, answer.text
    items: list[dict[str, Any]] = answer.json()["items"]
    return items


class TestSecrets:
    async def test_entries_are_for_those_who_may_do_all(self, client_with: ClientWith, tmp_path: Path) -> None:
        await import_recordings([planted(tmp_path)])
        path = f"/api/sessions/{BACKGROUND}/transcripts"
        reader, admin = await client_with("read"), await client_with("admin")
        streams = (await reader.get(path)).json()["items"]
        for stream in streams:
            assert (await reader.get(f"{path}/{stream['id']}")).json() == stream
            for entries in ("entries", "entries.jsonl", "entries/0"):
                refused = await reader.get(f"{path}/{stream['id']}/{entries}")
                assert (refused.status_code, refused.json()["code"]) == (403, "forbidden")
                assert (await admin.get(f"{path}/{stream['id']}/{entries}")).status_code == 200
            assert SECRET in (await admin.get(f"{path}/{stream['id']}/entries.jsonl")).text
        assert (SECRET in str(streams), MASK in str(streams)) == (False, True)

    async def test_whoever_reads_finds_none(self, client_with: ClientWith, tmp_path: Path) -> None:
        await import_recordings([planted(tmp_path)])
        reader, session = await client_with("read"), f"/api/sessions/{BACKGROUND}"
        assert (await reader.get(session)).json()["secrets_masked"] > 10
        for path in ("/api/sessions", session, f"{session}/agents", f"/api/messages/{BACKGROUND}", f"/api/events/{BACKGROUND}"):
            answer = await reader.get(path)
            assert (answer.status_code, SECRET in answer.text) == (200, False), path
        assert MASK in (await reader.get(f"/api/messages/{BACKGROUND}")).text


class TestUsage:
    async def made(self, *moments: datetime) -> tuple[UUID, str]:
        async with get_async_session() as db:
            agent = await make_agent(db)
        await spend(agent, *moments)
        return agent.session_id, f"/api/sessions/{agent.session_id}/usage"

    @pytest.mark.parametrize("by", ["session", "agent", "model", "day"])
    async def test_each_way_to_sum_up_gives_the_sessions_totals(self, client: AsyncClient, by: str) -> None:
        session_id, path = await self.made(*(datetime(2026, 3, day, tzinfo=UTC) for day in range(1, 8)))
        session = (await client.get(f"/api/sessions/{session_id}")).json()
        totals = {name: session[f"total_{name}"] for name in SUMMED}
        assert (totals["input_tokens"], totals["cache_write_tokens"], totals["cost"]) == (70, 14, 0.7000000007)
        for asked in ({}, {"since": "2026-01-01"}):
            items = await sums(client, path, by=by, **asked)
            assert {name: round(sum(item[name] for item in items), 10) for name in SUMMED} == totals
        whole = await sums(client, "/api/usage", by=by, since="2026-01-01", until="2026-12-31T00:00:00+02:00")
        assert {name: round(sum(item[name] for item in whole), 10) for name in SUMMED} == totals

    async def test_days_are_those_of_the_zone_also_where_its_clocks_change(self, client: AsyncClient) -> None:
        # In Berlin the 29th of March has 23 hours, from 23:00 UTC of the 28th to 22:00 UTC.
        hours = [(28, 22), (28, 23), (29, 21), (29, 22)]
        _, path = await self.made(*(datetime(2026, 3, day, hour, tzinfo=UTC) for day, hour in hours))
        days = await sums(client, path, by="day", timezone="Europe/Berlin")
        assert [(item["day"], item["requests"]) for item in days] == [("2026-03-30", 1), ("2026-03-29", 2), ("2026-03-28", 1)]
        days = await sums(client, path, by="day")
        assert [(item["day"], item["requests"]) for item in days] == [("2026-03-29", 2), ("2026-03-28", 2)]

    async def test_a_span_without_a_zone_is_utc(self, client: AsyncClient) -> None:
        _, path = await self.made(datetime(2026, 3, 1, tzinfo=UTC), datetime(2026, 3, 2, tzinfo=UTC))
        (item,) = await sums(client, path, by="day", since="2026-03-01T00:00:00", until="2026-03-02")
        assert (item["day"], item["requests"]) == ("2026-03-01", 1)

    async def test_a_deleted_session_has_none(self, client: AsyncClient) -> None:
        session_id, path = await self.made(datetime(2026, 3, 1, tzinfo=UTC))
        await client.delete(f"/api/sessions/{session_id}")
        assert (await client.get(path)).status_code == 404
        assert await sums(client, "/api/usage", by="session", since="2026-02-01", until="2026-04-01") == []
