"""What PostgreSQL does for crud: which index each statement reads, and how many pages, in a database with a giant session."""

import asyncio
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import select
from sqlmodel import col

from benchmarks.generator import generate
from session_db import crud
from session_db.crud import sdk_sessions, transcripts, usage
from session_db.crud.agent_logs import get_tool_calls, list_hook_events
from session_db.crud.cleaning import list_old_sessions
from session_db.crud.erasing import BATCH
from session_db.crud.paging import encode_cursor
from session_db.crud.reaping import list_unended
from session_db.crud.tokens import is_valid, note_use
from session_db.database import UnitOfWork
from session_db.live.heads import read_heads, read_last_active, read_versions
from session_db.models import Session, SessionPatch, Token
from tests.database.plan_cases import (
    CHILD_ROW,
    DESCENT,
    EVENT,
    EVENT_PAGE,
    GLANCED,
    HOUR,
    LOOKED_AT,
    MINUTES,
    OF_HITS,
    OF_TIME,
    OF_WORDS,
    PAGE,
    SESSION_ROW,
    SIZE,
    USAGE_OF_A_SESSION,
    USAGE_ROWS,
    WALKED,
    Case,
    Loaded,
    lists,
    look,
    of_items,
    searches,
    sums_in_an_hour,
    sums_of_a_session,
    walks,
)
from tests.databases import Database, PostgreSQL
from tests.factories import event as event_of
from tests.factories import message
from tests.plans import plans_of


@pytest.fixture(scope="module")
def loaded(postgres: PostgreSQL, template: Database) -> Iterator[Loaded]:
    """A database of its own for this module: nothing here commits."""

    async def make() -> Loaded:
        database = await postgres.create("plans", template.name)
        await generate(database.settings, SIZE, processes=1)
        return await look(database)

    loaded = asyncio.run(make())
    yield loaded
    asyncio.run(postgres.drop(loaded.database))


SINCE = encode_cursor(datetime(2024, 7, 1, tzinfo=UTC), UUID(int=0))
SINCE_MAY = datetime(2024, 5, 1, tzinfo=UTC)
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
    "list_sessions by what goes on": walks("ix_sessions_last_activity_id", activity="waiting"),
    "list_sessions by a text that none has": walks("ix_sessions_last_activity_id", text="nowhere"),
    "list_sessions by a text and an agent": walks(
        "ix_sessions_agent_name_last_activity_id", "ix_sessions_last_activity_id", agent_name="claude-code", text="nowhere"
    ),
    "list_sessions of a span": lists("ix_sessions_last_activity_id", since=SINCE_MAY, until=SINCE_MAY + HOUR),
    "list_sessions by status of a span": lists(
        "ix_sessions_status_last_activity_id", "ix_sessions_last_activity_id", status="complete", until=SINCE_MAY
    ),
    "list_sessions by model": walks("ix_sessions_last_activity_id", model_name="none"),
    "list_sessions by cost": walks("ix_sessions_last_activity_id", min_cost=1e9),
    "list_unended": Case(
        lambda db, _: list_unended(db, before=datetime.now(UTC)),
        {"ix_sessions_last_activity_id", "ix_agents_session_id_created_at_id", "pk_agents"},
        (WALKED + PAGE) * DESCENT,
        sorts=True,
    ),
    "list_old_sessions": Case(
        lambda db, _: list_old_sessions(db, before=datetime.now(UTC)),
        {"ix_sessions_last_activity_id", "ix_agents_session_id_created_at_id", "pk_agents", "ix_presence_session_id"},
        2 * (WALKED + PAGE) * DESCENT,
        sorts=True,
    ),
    "list_sessions by metadata that most have": Case(
        lambda db, _: crud.list_sessions(db, metadata={"git_branch": "main"}), {"ix_sessions_last_activity_id"}, 2 * GLANCED
    ),
    "list_sessions by metadata that many have": Case(
        lambda db, _: crud.list_sessions(db, metadata={"item_type": "clip"}),
        {"ix_sessions_last_activity_id", "ix_sessions_metadata"},
        2 * GLANCED + 3 * WALKED,
        sorts=True,
    ),
    "list_sessions by metadata that few have": Case(
        lambda db, _: crud.list_sessions(db, metadata={"item_type": "clip", "bpm": "150"}),
        {"ix_sessions_last_activity_id", "ix_sessions_metadata"},
        2 * GLANCED + 4 * DESCENT,
    ),
    "list_sessions by metadata that none has": Case(
        lambda db, _: crud.list_sessions(db, metadata={"item_type": "playlist"}, cursor=SINCE),
        {"ix_sessions_last_activity_id", "ix_sessions_metadata"},
        2 * GLANCED + 4 * DESCENT,
    ),
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
    "get_agent_log": Case(lambda db, at: crud.get_agent_log(db, at.giant, at.event_id), {"pk_agent_logs", "pk_sessions"}, EVENT),
    "get_agent_log by its index": Case(
        lambda db, at: crud.get_agent_log(db, at.giant, at.middle), {"uq_agent_logs_session_id_event_index", "pk_sessions"}, EVENT
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
        EVENT,
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
    "list_timeline": Case(
        lambda db, at: crud.list_timeline(db, at.giant, limit=50), {"uq_agent_logs_session_id_event_index", "pk_sessions"}, EVENT_PAGE
    ),
    "list_timeline from the middle": Case(
        lambda db, at: crud.list_timeline(db, at.giant, after_index=at.middle, limit=50),
        {"uq_agent_logs_session_id_event_index", "pk_sessions"},
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
    "get_memory_file": Case(
        lambda db, at: crud.get_memory_file(db, at.kept, at.memory_file),
        {"pk_memory_files", "ix_memory_files_id", "pk_sessions"},
        2 * DESCENT,
    ),
    "get_valid_token": Case(lambda db, at: crud.get_valid_token(db, text_of(at.token)), {"pk_tokens"}, DESCENT),
    "is_valid": Case(lambda db, at: is_valid(db, at.token), {"pk_tokens"}, DESCENT),
    "list_tokens": Case(lambda db, _: crud.list_tokens(db), {"pk_tokens"}, WALKED),
    "list_tokens after a cursor": Case(lambda db, at: crud.list_tokens(db, cursor=encode_cursor(at.token)), {"pk_tokens"}, WALKED),
    "get_usage": Case(lambda db, at: usage.get_usage(db, at.giant, at.api_messages), {"pk_usage"}, 20 * DESCENT),
    "list_usage of a session": Case(
        lambda db, at: crud.list_usage(db, by="session", session_id=at.giant), {"pk_sessions", *USAGE_OF_A_SESSION}, USAGE_ROWS
    ),
    "list_usage of its agents": Case(
        lambda db, at: crud.list_usage(db, by="agent", session_id=at.giant), {"pk_sessions", "pk_agents", *USAGE_OF_A_SESSION}, USAGE_ROWS
    ),
    **{f"list_usage of its {by}s": sums_of_a_session(by) for by in ("model", "day")},
    **{f"list_usage of all in an hour by {by}": sums_in_an_hour(by) for by in ("session", "agent", "model", "day")},
    "get_activity": Case(
        lambda db, _: crud.get_activity(db, since=SINCE_MAY, until=SINCE_MAY + HOUR),
        {"ix_activity_minutes_minute", "ix_sessions_deleted"},
        MINUTES,
        sorts=True,
    ),
    "get_activity of a session": Case(
        lambda db, at: crud.get_activity(db, since=at.middle_moment - HOUR, until=at.middle_moment, session_id=at.giant),
        {"pk_activity_minutes", "ix_sessions_deleted", "ix_activity_minutes_minute"},
        MINUTES,
        sorts=True,
    ),
    "list_transcripts": Case(
        lambda db, at: crud.list_transcripts(db, at.recorded),
        {"ix_transcripts_session_id_sdk_session_id_subpath", "pk_sessions"},
        PAGE + DESCENT,
    ),
    "list_transcripts after a cursor": Case(
        lambda db, at: crud.list_transcripts(db, at.recorded, cursor=encode_cursor(str(at.recorded), "", UUID(int=0))),
        {"ix_transcripts_session_id_sdk_session_id_subpath", "pk_sessions"},
        PAGE + DESCENT,
    ),
    "get_transcript": Case(lambda db, at: crud.get_transcript(db, at.recorded, at.stream), {"pk_transcripts", "pk_sessions"}, 2 * DESCENT),
    "list_transcript_entries": Case(
        lambda db, at: crud.list_transcript_entries(db, at.recorded, at.stream, after_seq=2),
        {"pk_transcript_entries", "pk_sessions"},
        PAGE + 2 * DESCENT,
    ),
    "list_transcript_entries whole": Case(
        lambda db, at: crud.list_transcript_entries(db, at.recorded, at.stream, whole=True),
        {"pk_transcript_entries", "pk_sessions"},
        2 * (PAGE + 2 * DESCENT),
    ),
    "get_transcript_entry": Case(
        lambda db, at: crud.get_transcript_entry(db, at.recorded, at.stream, 2), {"pk_transcript_entries", "pk_sessions"}, 2 * DESCENT
    ),
    "list_pending_transcripts": Case(
        lambda db, _: transcripts.list_pending_transcripts(db, "buildbox"), {"ix_transcripts_pending", "pk_sessions"}, DESCENT
    ),
    "list_pending_hosts": Case(lambda db, _: transcripts.list_pending_hosts(db), {"ix_transcripts_pending", "pk_sessions"}, DESCENT),
    "get_missing": Case(
        lambda db, _: transcripts.get_missing(db), {"ix_transcripts_pending", "ix_transcripts_gaps", "pk_sessions"}, 2 * DESCENT
    ),
    "get_missing of a session": Case(
        lambda db, at: transcripts.get_missing(db, at.giant), {"ix_transcripts_pending", "ix_transcripts_gaps", "pk_sessions"}, 4 * DESCENT
    ),
    "list_hook_events": Case(
        lambda db, at: list_hook_events(db, at.giant, "none", ["Stop"], after_index=2 * at.middle - 200, limit=500),
        {"uq_agent_logs_session_id_event_index", "pk_sessions"},
        WALKED,
    ),
    "find_transcripts": Case(
        lambda db, at: transcripts.find_transcripts(db, at.recorded, str(at.recorded), ""),
        {"ix_transcripts_session_id_sdk_session_id_subpath"},
        DESCENT,
    ),
    "get_sdk_session": Case(lambda db, at: sdk_sessions.get_sdk_session(db, str(at.recorded)), {"pk_sdk_sessions"}, DESCENT),
    "get_clip_version": Case(lambda db, _: crud.get_clip_version(db, "clip-00000007", 1), {"pk_clip_versions"}, DESCENT),
    "list_clip_versions": Case(lambda db, _: crud.list_clip_versions(db, "clip-00000007"), {"pk_clip_versions"}, DESCENT),
    "diff_clip_versions": Case(
        lambda db, _: crud.diff_clip_versions(db, "clip-00000007", 1, 2), {"pk_clip_versions", "pk_clips"}, 3 * DESCENT
    ),
    **of_items("clip"),
    **of_items("song"),
    **of_items("playlist"),
    "search_records of a word that many have": searches("w1", *OF_TIME, *OF_WORDS),
    "search_records of a word that some have": searches("w50"),
    "search_records of a word that few have": searches("w99999"),
    "search_records of a phrase": searches('"w50 nowhere"'),
    "search_records in outputs": searches("w50", *OF_TIME, *OF_WORDS, "ix_agent_logs_tool_output_words", tool_output=True),
    "search_records of a tool that has none": searches("w1", *OF_TIME, *OF_WORDS, tool_name="Nothing"),
    "search_records of sessions": searches("part", "ix_sessions_last_activity_id", hit_type="session"),
    "search_records of a span of time": searches("w1", since=SINCE_MAY, until=SINCE_MAY + HOUR),
    "search_records of a project": searches(
        "w1",
        *OF_WORDS,
        "ix_sessions_working_dir_last_activity_id",
        "ix_messages_session_id_said_at",
        "ix_agent_logs_session_id_timestamp_event_index",
        working_dir="/home/dev/projects/project-0007",
    ),
    "search_records of a session": Case(
        lambda db, at: crud.search_records(db, "w1", session_id=at.giant),
        OF_HITS | OF_WORDS | {"ix_messages_session_id_said_at", "ix_agent_logs_session_id_timestamp_event_index"},
        20 * LOOKED_AT,
        sorts=True,
    ),
}


LIVE: dict[str, Case] = {
    "read_heads": Case(lambda db, at: read_heads(db, [at.giant, at.kept]), {"pk_sessions"}, 2 * DESCENT),
    "read_heads of sessions that are gone": Case(
        lambda db, _: read_heads(db, [UUID(int=1)]), {"pk_sessions", "ix_sdk_sessions_moved_from"}, 2 * DESCENT
    ),
    "read_versions": Case(lambda db, at: read_versions(db, [at.giant, at.kept]), {"pk_sessions"}, 2 * DESCENT),
    "read_last_active": Case(lambda db, _: read_last_active(db, PAGE), {"ix_sessions_last_activity_id"}, PAGE + 2 * DESCENT),
}
"""What the hub reads for all live readers together."""


def text_of(token_id: UUID) -> str:
    return f"sdb_{token_id.hex}_{'x' * 43}"


async def _put_usage(db: UnitOfWork, at: Loaded) -> None:
    before = await usage.get_usage(db, at.giant, at.api_messages[:1])
    row = {"message_id": at.api_messages[0], "agent_id": at.agent, "model": None, "occurred_at": at.middle_moment, "computed_cost": None}
    tokens = dict.fromkeys(usage.TOKENS, 7)
    await usage.put_usage(db, at.giant, [row | tokens | {"reported_cost": None}], before)


async def _note_use(db: UnitOfWork, at: Loaded) -> None:
    token = await db.get_one(Token, at.token)
    await note_use(db, token)


async def _append_entries(db: UnitOfWork, at: Loaded) -> None:
    transcript = (await transcripts.find_transcripts(db, at.recorded, str(at.recorded), ""))[0]
    await transcripts.known_uuids(db, transcript, ["018cc251-f400-78f8-833e-bf663095c0ce"])
    await transcripts.append_entries(db, transcript, [("018cc251-f400-78f8-833e-bf663095c0ce", "{}")])
    await db.flush()


async def _come_and_go(db: UnitOfWork, at: Loaded) -> None:
    clients = [await crud.create_presence(db, at.giant, worker="host:1", lease_seconds=seconds) for seconds in (60, -3600)]
    await crud.renew_presence(db, [clients[0].connection_id])
    assert await crud.delete_expired_presence(db) == 1
    assert await crud.delete_presence(db, clients[0].connection_id)


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
    "save_display_messages with an idempotency key": Case(
        lambda db, at: crud.save_display_messages(db, at.giant, [message()], idempotency_key="new"),
        {"pk_sessions", "uq_messages_session_id_client_id"},
        SESSION_ROW + 2 * CHILD_ROW,
    ),
    "patch_session": Case(
        lambda db, at: crud.patch_session(db, at.giant, SessionPatch(title="New", metadata={"bpm": 1})), {"pk_sessions"}, 2 * SESSION_ROW
    ),
    "note_use": Case(_note_use, {"pk_tokens"}, CHILD_ROW),
    "revoke_token": Case(lambda db, at: crud.revoke_token(db, at.token), {"pk_tokens"}, CHILD_ROW),
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
    "presence": Case(
        _come_and_go, {"pk_sessions", "pk_presence", "ix_presence_session_id", "ix_presence_expires_at"}, 2 * SESSION_ROW + 4 * CHILD_ROW
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
    walks = [walk for walk in plans.walks if not (case.sorts and walk.endswith("Sort"))]
    assert (plans.indexes - case.indexes, walks) == (set(), [])
    assert plans.indexes != set()
    assert plans.buffers <= case.buffers


@pytest.fixture(autouse=True)
def short_walks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("session_db.crud.paging.WALKED", WALKED)
    monkeypatch.setattr("session_db.crud.listing.GLANCED", GLANCED // 50)
    monkeypatch.setattr("session_db.crud.search_rows.GLANCED", LOOKED_AT)
    monkeypatch.setattr("session_db.crud.search_rows.CANDIDATES", LOOKED_AT)


class TestReads:
    @pytest.mark.parametrize("name", READS)
    async def test_each_reads_its_index_and_a_bounded_number_of_pages(self, loaded: Loaded, name: str) -> None:
        await _check(loaded, READS[name])

    @pytest.mark.parametrize("name", LIVE)
    async def test_each_of_the_hub_does_so_too(self, loaded: Loaded, name: str) -> None:
        await _check(loaded, LIVE[name])

    def test_none_is_left_out(self) -> None:
        reads = {name for name in crud.__all__ if name.startswith(("get_", "list_", "load_", "search_"))}
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
