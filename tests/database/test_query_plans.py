"""What PostgreSQL does for crud: which index each statement reads, and how many pages, in a database with a giant session."""

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import select
from sqlmodel import col

from benchmarks.generator import Size, generate
from session_db import crud
from session_db.crud import sdk_sessions, transcripts, usage
from session_db.crud.agent_logs import get_tool_calls
from session_db.crud.erasing import BATCH
from session_db.crud.paging import encode_cursor
from session_db.database import UnitOfWork
from session_db.models import Session
from tests.databases import Database, PostgreSQL
from tests.factories import event as event_of
from tests.factories import message
from tests.plans import plans_of

SIZE = Size(sessions=4_000, events=40_000, largest=15_000)

PAGE = 51
"""Rows that a page of 50 reads; in the worst case each on a page of its own."""

DESCENT = 4
"""Pages from the root of an index to a row."""

WALKED = 400
"""Rows that a page of a filter without an index looks at here: with more, walking over the whole of a small table would be right."""

EVENT_PAGE = 3 * PAGE
"""Pages of a page of events: some have a payload that stands out of line."""

SESSION_ROW = 12 * DESCENT
"""Pages of a session whose row moves: its table, and every index of it."""

CHILD_ROW = 4 * DESCENT
"""Pages of a row below a session that is inserted or changed: its table, its indexes, the keys that it names."""

GIANT = """
    SELECT s.id, s.working_dir, s.last_activity, s.event_count, e.agent_id, e.tool_use_id, e."timestamp", e.id AS event_id
    FROM sessions s JOIN agent_logs e ON e.session_id = s.id AND e.event_index > s.event_count / 2 AND e.tool_use_id IS NOT NULL
    ORDER BY s.event_count DESC, e.event_index LIMIT 1
"""


@dataclass(frozen=True)
class Loaded:
    """A generated database, and what stands in it: a giant session and the middle of it, and a few others."""

    database: Database
    giant: UUID
    agent: UUID
    middle: int
    middle_moment: datetime
    event_id: UUID
    tool_use_id: str
    last_agent_created: datetime
    api_messages: list[str]
    recorded: UUID
    project_key: str
    slug: str
    project: str
    kept: UUID
    memory_file: int
    memory_path: str


@pytest.fixture(scope="module")
def loaded(postgres: PostgreSQL, template: Database) -> Iterator[Loaded]:
    """A database of its own for this module: nothing here commits."""

    async def make() -> Loaded:
        database = await postgres.create("plans", template.name)
        await generate(database.settings, SIZE, processes=1)
        return await _look(database)

    loaded = asyncio.run(make())
    yield loaded
    asyncio.run(postgres.drop(loaded.database))


async def _look(database: Database) -> Loaded:
    async with database.connected() as connection:
        giant = await connection.fetchrow(GIANT)
        agents = "SELECT created_at FROM agents WHERE session_id = $1 ORDER BY created_at OFFSET 100 LIMIT 1"
        answers = "SELECT message_id FROM usage WHERE session_id = $1 ORDER BY message_id LIMIT 20"
        stream = await connection.fetchrow("SELECT session_id, project_key FROM transcripts GROUP BY 1, 2 ORDER BY count(*) DESC LIMIT 1")
        workflow = await connection.fetchrow("SELECT session_slug, working_dir FROM sessions WHERE session_slug IS NOT NULL LIMIT 1")
        primary = await connection.fetchrow("SELECT session_id, id, file_path FROM memory_files WHERE is_primary LIMIT 1")
        return Loaded(
            database,
            giant=giant["id"],
            agent=giant["agent_id"],
            middle=giant["event_count"] // 2,
            middle_moment=giant["timestamp"],
            event_id=giant["event_id"],
            tool_use_id=giant["tool_use_id"],
            last_agent_created=await connection.fetchval(agents, giant["id"]),
            api_messages=[row["message_id"] for row in await connection.fetch(answers, giant["id"])],
            recorded=stream["session_id"],
            project_key=stream["project_key"],
            slug=workflow["session_slug"],
            project=workflow["working_dir"],
            kept=primary["session_id"],
            memory_file=primary["id"],
            memory_path=primary["file_path"],
        )


Call = Callable[[UnitOfWork, Loaded], Awaitable[Any]]


@dataclass(frozen=True)
class Case:
    """A call, the indexes that its statements may read, and the pages that they may touch all together."""

    call: Call
    indexes: set[str]
    buffers: int


def lists(*indexes: str, **filters: Any) -> Case:
    """A list of sessions, by one of these indexes: a row of the table for each of its rows."""
    return Case(lambda db, _: crud.list_sessions(db, **filters), {*indexes}, PAGE + 2 * DESCENT)


def of_items(noun: str) -> dict[str, Case]:
    """The reads that clips, songs and playlists have in common."""
    get, page = getattr(crud, f"get_{noun}"), getattr(crud, f"list_{noun}s")
    return {
        f"get_{noun}": Case(lambda db, _: get(db, f"{noun}-00000007"), {f"pk_{noun}s"}, DESCENT),
        f"list_{noun}s": Case(lambda db, _: page(db), {f"pk_{noun}s"}, PAGE + DESCENT),
        f"list_{noun}s of a project": Case(lambda db, _: page(db, "project-0007"), {f"ix_{noun}s_project_id_{noun}_id"}, PAGE + DESCENT),
    }


SINCE = encode_cursor(datetime(2024, 7, 1, tzinfo=UTC), UUID(int=0))
READS: dict[str, Case] = {
    "list_sessions": lists("ix_sessions_last_activity_id"),
    "list_sessions after a cursor": lists("ix_sessions_last_activity_id", cursor=SINCE),
    "list_sessions by status": lists("ix_sessions_status_last_activity_id", status="failed"),
    "list_sessions by status after a cursor": lists(
        "ix_sessions_status_last_activity_id", "ix_sessions_last_activity_id", status="complete", cursor=SINCE
    ),
    "list_sessions by type": lists("ix_sessions_session_type_last_activity_id", session_type="quick"),
    "list_sessions by agent": lists("ix_sessions_agent_name_last_activity_id", "ix_sessions_last_activity_id", agent_name="strudel"),
    "list_sessions by project": lists("ix_sessions_current_project_last_activity_id", current_project="project-0001"),
    "list_sessions by directory": lists("ix_sessions_working_dir_last_activity_id", working_dir="/home/dev/projects/project-0001"),
    "get_session": Case(lambda db, at: crud.get_session(db, at.giant), {"pk_sessions"}, DESCENT),
    "get_session_by_slug": Case(lambda db, at: crud.get_session_by_slug(db, at.slug), {"ix_sessions_session_slug"}, DESCENT),
    "get_session_by_slug in a directory": Case(
        lambda db, at: crud.get_session_by_slug(db, at.slug, at.project),
        {"uq_sessions_working_dir_session_slug", "ix_sessions_session_slug"},
        DESCENT,
    ),
    "get_agent": Case(lambda db, at: crud.get_agent(db, at.agent), {"ix_agents_id", "pk_sessions"}, 2 * DESCENT),
    "get_agent in a session": Case(
        lambda db, at: crud.get_agent(db, at.agent, at.giant), {"pk_agents", "ix_agents_id", "pk_sessions"}, 2 * DESCENT
    ),
    "list_agents": Case(
        lambda db, at: crud.list_agents(db, at.giant), {"ix_agents_session_id_created_at_id", "pk_sessions"}, PAGE + 2 * DESCENT
    ),
    "list_agents after a cursor": Case(
        lambda db, at: crud.list_agents(db, at.giant, cursor=encode_cursor(at.last_agent_created, UUID(int=0))),
        {"ix_agents_session_id_created_at_id", "pk_sessions"},
        PAGE + 2 * DESCENT,
    ),
    "list_agents by status": Case(
        lambda db, at: crud.list_agents(db, at.giant, status="complete"),
        {"ix_agents_session_id_created_at_id", "pk_sessions"},
        PAGE + 2 * DESCENT,
    ),
    "get_agent_log": Case(lambda db, at: crud.get_agent_log(db, at.giant, at.event_id), {"pk_agent_logs", "pk_sessions"}, 3 * DESCENT),
    "get_agent_log by its index": Case(
        lambda db, at: crud.get_agent_log(db, at.giant, at.middle), {"uq_agent_logs_session_id_event_index", "pk_sessions"}, 3 * DESCENT
    ),
    "list_agent_logs": Case(
        lambda db, at: crud.list_agent_logs(db, at.giant), {"uq_agent_logs_session_id_event_index", "pk_sessions"}, EVENT_PAGE
    ),
    "list_agent_logs after an index": Case(
        lambda db, at: crud.list_agent_logs(db, at.giant, after_index=at.middle),
        {"uq_agent_logs_session_id_event_index", "pk_sessions"},
        EVENT_PAGE,
    ),
    "list_agent_logs after a cursor": Case(
        lambda db, at: crud.list_agent_logs(db, at.giant, cursor=encode_cursor(at.middle)),
        {"uq_agent_logs_session_id_event_index", "pk_sessions"},
        EVENT_PAGE,
    ),
    "list_agent_logs as they happened": Case(
        lambda db, at: crud.list_agent_logs(db, at.giant, order="happened"),
        {"ix_agent_logs_session_id_timestamp_event_index", "pk_sessions"},
        EVENT_PAGE,
    ),
    "list_agent_logs as they happened after a cursor": Case(
        lambda db, at: crud.list_agent_logs(db, at.giant, order="happened", cursor=encode_cursor(at.middle_moment, at.middle)),
        {"ix_agent_logs_session_id_timestamp_event_index", "pk_sessions"},
        EVENT_PAGE,
    ),
    "list_agent_logs of an agent": Case(
        lambda db, at: crud.list_agent_logs(db, at.giant, agent_id=at.agent),
        {"ix_agent_logs_session_id_agent_id_event_index", "pk_sessions"},
        EVENT_PAGE,
    ),
    "list_agent_logs of a call": Case(
        lambda db, at: crud.list_agent_logs(db, at.giant, tool_use_id=at.tool_use_id),
        {"ix_agent_logs_session_id_tool_use_id", "pk_sessions"},
        3 * DESCENT,
    ),
    "list_agent_logs of a type that the session has not": Case(
        lambda db, at: crud.list_agent_logs(db, at.giant, event_type="StatusChange"),
        {"uq_agent_logs_session_id_event_index", "pk_sessions"},
        WALKED,
    ),
    "get_last_agent_logs": Case(
        lambda db, at: crud.get_last_agent_logs(db, at.giant), {"uq_agent_logs_session_id_event_index", "pk_sessions"}, EVENT_PAGE
    ),
    "get_last_agent_logs of an agent": Case(
        lambda db, at: crud.get_last_agent_logs(db, at.giant, agent_id=at.agent),
        {"ix_agent_logs_session_id_agent_id_event_index", "pk_sessions"},
        EVENT_PAGE,
    ),
    "get_tool_calls": Case(
        lambda db, at: get_tool_calls(db, at.giant, [at.tool_use_id]), {"ix_agent_logs_session_id_tool_use_id"}, 2 * DESCENT
    ),
    "load_messages_paginated": Case(lambda db, at: crud.load_messages_paginated(db, at.giant), {"pk_messages", "pk_sessions"}, EVENT_PAGE),
    "load_messages_paginated from the middle": Case(
        lambda db, at: crud.load_messages_paginated(db, at.giant, before_index=at.middle // 4), {"pk_messages", "pk_sessions"}, EVENT_PAGE
    ),
    "list_messages": Case(lambda db, at: crud.list_messages(db, at.giant), {"pk_messages", "pk_sessions"}, EVENT_PAGE),
    "list_messages after an index": Case(
        lambda db, at: crud.list_messages(db, at.giant, after_index=at.middle // 4), {"pk_messages", "pk_sessions"}, EVENT_PAGE
    ),
    "get_message_count": Case(lambda db, at: crud.get_message_count(db, at.giant), {"pk_sessions"}, DESCENT),
    "get_session_memory_files": Case(
        lambda db, at: crud.get_session_memory_files(db, at.kept),
        {"pk_memory_files", "uq_memory_files_session_id_file_path", "pk_sessions"},
        2 * DESCENT,
    ),
    "get_primary_memory_file": Case(
        lambda db, at: crud.get_primary_memory_file(db, at.kept), {"uq_memory_files_session_id_primary", "pk_sessions"}, 2 * DESCENT
    ),
    "get_memory_file_by_path": Case(
        lambda db, at: crud.get_memory_file_by_path(db, at.kept, at.memory_path),
        {"uq_memory_files_session_id_file_path", "pk_sessions"},
        2 * DESCENT,
    ),
    "get_usage": Case(lambda db, at: usage.get_usage(db, at.giant, at.api_messages), {"pk_usage"}, 20 * DESCENT),
    "list_transcripts": Case(
        lambda db, at: transcripts.list_transcripts(db, at.recorded), {"ix_transcripts_session_id_sdk_session_id_subpath"}, PAGE
    ),
    "find_transcripts": Case(
        lambda db, at: transcripts.find_transcripts(db, at.recorded, str(at.recorded), ""),
        {"ix_transcripts_session_id_sdk_session_id_subpath"},
        DESCENT,
    ),
    "get_sdk_session": Case(lambda db, at: sdk_sessions.get_sdk_session(db, str(at.recorded)), {"pk_sdk_sessions"}, DESCENT),
    "get_clip_version": Case(lambda db, _: crud.get_clip_version(db, "clip-00000007", 1), {"pk_clip_versions"}, DESCENT),
    "list_clip_versions": Case(lambda db, _: crud.list_clip_versions(db, "clip-00000007"), {"pk_clip_versions"}, DESCENT),
    **of_items("clip"),
    **of_items("song"),
    **of_items("playlist"),
}


async def _put_usage(db: UnitOfWork, at: Loaded) -> None:
    before = await usage.get_usage(db, at.giant, at.api_messages[:1])
    row = {"message_id": at.api_messages[0], "agent_id": at.agent, "model": None, "occurred_at": at.middle_moment, "computed_cost": None}
    tokens = dict.fromkeys(usage.TOKENS, 7)
    await usage.put_usage(db, at.giant, [row | tokens | {"reported_cost": None}], before)


async def _append_entries(db: UnitOfWork, at: Loaded) -> None:
    transcript = (await transcripts.find_transcripts(db, at.recorded, str(at.recorded), ""))[0]
    await transcripts.known_uuids(db, transcript, ["018cc251-f400-78f8-833e-bf663095c0ce"])
    await transcripts.append_entries(db, transcript, [("018cc251-f400-78f8-833e-bf663095c0ce", "{}")])
    await db.flush()


async def _erase_one_batch(db: UnitOfWork, at: Loaded) -> None:
    await crud.delete_session(db, at.giant)
    assert await crud.erase_deleted_sessions(db) == BATCH


def _events(at: Loaded) -> list[Any]:
    return [event_of(at.giant, agent_id=at.agent, tool_use_id="toolu_new", timestamp=at.middle_moment)]


WRITES: dict[str, Case] = {
    "append_agent_logs": Case(
        lambda db, at: crud.append_agent_logs(db, _events(at)), {"pk_sessions", "pk_agent_logs"}, SESSION_ROW + 3 * CHILD_ROW
    ),
    "save_display_messages": Case(
        lambda db, at: crud.save_display_messages(db, at.giant, [message(client_id="u-new")]),
        {"pk_sessions", "uq_messages_session_id_client_id"},
        SESSION_ROW + 2 * CHILD_ROW,
    ),
    "put_usage": Case(
        _put_usage, {"pk_usage", "pk_agents", "ix_agents_id", "pk_sessions", "ix_usage_session_id_agent_id"}, SESSION_ROW + 3 * CHILD_ROW
    ),
    "append_entries": Case(
        _append_entries,
        {
            "ix_transcripts_session_id_sdk_session_id_subpath",
            "uq_transcript_entries_session_id_transcript_id_uuid",
            "pk_transcripts",
        },
        4 * CHILD_ROW,
    ),
    "update_session_activity": Case(lambda db, at: crud.update_session_activity(db, at.giant), {"pk_sessions"}, SESSION_ROW + DESCENT),
    "update_session_status": Case(
        lambda db, at: crud.update_session_status(db, at.giant, "terminated"),
        {"pk_sessions", "pk_agent_logs"},
        2 * SESSION_ROW + 3 * CHILD_ROW,
    ),
    "delete_session": Case(
        lambda db, at: crud.delete_session(db, at.recorded), {"pk_sessions", "ix_sdk_sessions_session_id"}, SESSION_ROW + CHILD_ROW
    ),
    "erase_deleted_sessions": Case(
        _erase_one_batch,
        {"pk_sessions", "ix_sdk_sessions_session_id", "ix_sessions_deleted", "uq_agent_logs_session_id_event_index"},
        CHILD_ROW * BATCH,
    ),
}


async def _check(loaded: Loaded, case: Case) -> None:
    plans = await plans_of(loaded.database.settings, lambda db: case.call(db, loaded))
    assert (plans.indexes - case.indexes, plans.walks) == (set(), [])
    assert plans.indexes != set()
    assert plans.buffers <= case.buffers


@pytest.fixture(autouse=True)
def short_walks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("session_db.crud.paging.WALKED", WALKED)


class TestReads:
    @pytest.mark.parametrize("name", READS)
    async def test_each_reads_its_index_and_a_bounded_number_of_pages(self, loaded: Loaded, name: str) -> None:
        await _check(loaded, READS[name])

    def test_none_is_left_out(self) -> None:
        reads = {name for name in crud.__all__ if name.startswith(("get_", "list_", "load_"))}
        assert reads <= {name.partition(" ")[0] for name in READS}


class TestWrites:
    @pytest.mark.parametrize("name", WRITES)
    async def test_each_costs_the_same_in_a_giant_session(self, loaded: Loaded, name: str) -> None:
        await _check(loaded, WRITES[name])


class TestPlans:
    async def test_a_walk_over_a_table_is_seen(self, loaded: Loaded) -> None:
        walk = select(Session).where(col(Session.host) == "host-1").order_by(col(Session.title))
        plans = await plans_of(loaded.database.settings, lambda db: db.execute(walk))
        assert plans.walks == ["Sort", "Seq Scan sessions"]
        assert plans.buffers > 2 * PAGE
