"""What the recorder of an agent SDK tells of turns, whenever it is drained."""

import json
from pathlib import Path
from typing import Any

import pytest

from session_db import crud
from session_db.capture.drain import drain
from session_db.capture.importer import import_recordings
from session_db.capture.spool import spool_of
from session_db.crud.transcripts import list_transcripts
from session_db.database import async_session
from session_db.integrations.claude_agent_sdk import PostgresSessionStore
from session_db.models import Transcript
from session_db.settings import Settings
from tests.capture.recorded import CLEARED, PROJECT, copy_of, entries_of, recording
from tests.databases import Database

KEY: Any = {"project_key": PROJECT, "session_id": str(CLEARED)}


@pytest.fixture
def settings(fresh_database: Database, tmp_path: Path) -> Settings:
    return fresh_database.settings.model_copy(update={"home": tmp_path / "home"})


async def tell(settings: Settings, name: str, **payload: Any) -> None:
    spool_of(settings).put(json.dumps(KEY | {"hook_event_name": name} | payload).encode(), {"SESSION_DB_RECORDER": "1"}, "host")
    await drain(settings)


async def streams() -> list[Transcript]:
    async with async_session() as db:
        return list(await list_transcripts(db, CLEARED))


async def reported() -> float | None:
    async with async_session() as db:
        session = await crud.get_session(db, CLEARED)
    assert session is not None
    return session.reported_cost


class TestBeforeTheStore:
    """The database was away when the store wanted to write; what waited in the spool comes first."""

    async def test_what_a_turn_cost_is_kept_and_the_store_goes_on_in_its_stream(self, settings: Settings) -> None:
        await tell(settings, "ResultMessage", cost_of_turn=0.25)
        await PostgresSessionStore().append(KEY, entries_of(recording(CLEARED))[:3])
        await tell(settings, "ResultMessage", cost_of_turn=0.5, uuid="next")
        (stream,) = await streams()
        assert (stream.source, stream.next_seq, float(stream.reported_cost or 0), await reported()) == ("store", 3, 0.75, 0.75)

    @pytest.mark.parametrize(
        "dollars", [None, "1", True, -1, 10**400, float(10**6)], ids=["none", "text", "true", "less", "digits", "much"]
    )
    async def test_what_is_no_cost_makes_no_stream(self, settings: Settings, dollars: Any) -> None:
        await tell(settings, "ResultMessage", cost_of_turn=dollars)
        assert await streams() == []

    async def test_a_lost_batch_of_a_sub_agent_is_a_gap_of_its_own_stream(self, settings: Settings) -> None:
        await tell(settings, "MirrorErrorMessage", subpath="subagents/agent-a1", error="no answer")
        (stream,) = await streams()
        async with async_session() as db:
            (agent,) = [agent for agent in await crud.list_agents(db, CLEARED) if agent.sdk_agent_id == "a1"]
        assert (stream.subpath, stream.gaps, stream.agent_id) == ("subagents/agent-a1", 1, agent.id)

    async def test_a_file_that_has_all_of_it_ends_the_gap(self, settings: Settings, tmp_path: Path) -> None:
        await tell(settings, "MirrorErrorMessage", error="no answer")
        await import_recordings([copy_of(CLEARED, tmp_path)])
        (stream,) = await streams()
        assert (stream.gaps, stream.next_seq) == (0, len(entries_of(recording(CLEARED))))


class TestReportedCost:
    @pytest.mark.parametrize("order", ["the transcript first", "the turn first"])
    async def test_what_the_transcript_reports_holds_the_turn_already(self, settings: Settings, tmp_path: Path, order: str) -> None:
        path = copy_of(CLEARED, tmp_path)
        total = [entry for entry in entries_of(path) if entry["type"] == "cost-state"][-1]["totalCostUSD"]
        if order == "the transcript first":
            await import_recordings([path])
        await tell(settings, "ResultMessage", cost_of_turn=total)
        await import_recordings([path])
        assert await reported() == pytest.approx(total)

    async def test_a_total_that_no_float_holds_is_none(self, settings: Settings) -> None:
        store = PostgresSessionStore()
        await store.append(KEY, [{"type": "cost-state", "totalCostUSD": 10**400}])
        assert len(await store.load(KEY) or []) == 1
        assert store.cost_of_turn(str(CLEARED), 0.5) == 0.5
