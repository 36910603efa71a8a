"""Deleting a session: gone from every read at once, its rows in batches later."""

import asyncio
from datetime import timedelta
from decimal import Decimal
from uuid import UUID, uuid4

import pytest
from sqlalchemy import func, select, text
from sqlmodel import col

from session_db import crud
from session_db.crud import erasing, sdk_sessions
from session_db.crud.erasing import LostTranscript, get_erasure_report
from session_db.crud.sdk_sessions import get_sdk_session, sdk_key
from session_db.crud.usage import put_usage
from session_db.database import UnitOfWork, async_session, get_async_session
from session_db.database.batches import in_batches
from session_db.errors import Conflict, NotFound
from session_db.models import (
    METADATA,
    Agent,
    AgentUpdate,
    MemoryFile,
    MemoryFileCreate,
    MemoryFileUpdate,
    SDKSession,
    Session,
    SessionNameUpdate,
    SessionUpdate,
    Transcript,
    TranscriptEntry,
)
from session_db.models.table import now
from tests.databases import Database
from tests.factories import event, make_agent, make_event, make_session, message

ODD_METADATA = [
    '{"agent_logs": "many", "messages": 7}',
    '{"session_db_erased": 5}',
    '{"session_db_erased": {"agent_logs": "many"}}',
    "null",
    "5",
    "[1]",
]
AGENTS = "session_id uuid, CONSTRAINT tickets_session_id_agent_id_fkey FOREIGN KEY (session_id, agent_id) REFERENCES agents"


async def fill(db: UnitOfWork) -> tuple[Session, Agent, MemoryFile]:
    """Make a session with a row in every table below it."""
    session = await make_session(db, session_slug="auth")
    agent = await make_agent(db, session, sdk_session_id=str(uuid4()))
    await make_agent(db, session, parent_agent_id=agent.id)
    for _ in range(5):
        await make_event(db, session, agent_id=agent.id)
    await crud.save_display_messages(db, session.id, [message() for _ in range(3)])
    memory_file = await crud.create_memory_file(db, MemoryFileCreate(session_id=session.id, file_path="a", is_primary=True))
    row = {"message_id": "msg_1", "agent_id": agent.id, "input_tokens": 1, "computed_cost": Decimal("0.5"), "occurred_at": now()}
    await put_usage(db, session.id, [row], {})
    transcript = Transcript(session_id=session.id, id=uuid4(), agent_id=agent.id, project_key="p", sdk_session_id="s", next_seq=4)
    db.add(transcript)
    await db.flush()
    db.add_all([TranscriptEntry(session_id=session.id, transcript_id=transcript.id, seq=seq, entry={}) for seq in range(4)])
    await db.flush()
    return session, agent, memory_file


class TestDeleteSession:
    async def test_it_is_gone_from_every_read(self, db: UnitOfWork) -> None:
        session, agent, memory_file = await fill(db)
        assert await crud.delete_session(db, session.id) is True
        assert await crud.get_session(db, session.id) is None
        assert await crud.get_session_by_slug(db, "auth") is None
        assert await crud.list_sessions(db) == []
        assert await crud.get_agent(db, agent.id) is None
        assert await crud.get_agent(db, agent.id, session.id) is None
        assert await crud.list_agents(db, session.id) == []
        assert await crud.list_agent_logs(db, session.id) == []
        assert await crud.load_messages_paginated(db, session.id) == []
        assert await crud.get_message_count(db, session.id) == 0
        assert await crud.get_session_memory_files(db, session.id) == []
        assert await crud.get_primary_memory_file(db, session.id) is None
        assert await crud.update_memory_file(db, memory_file.id or 0, MemoryFileUpdate(loaded=False)) is None
        assert await crud.delete_memory_file(db, memory_file.id or 0) is False

    async def test_nothing_can_be_added_or_changed(self, db: UnitOfWork) -> None:
        session, agent, _ = await fill(db)
        await crud.delete_session(db, session.id)
        with pytest.raises(NotFound):
            await crud.append_agent_logs(db, [event(session)])
        with pytest.raises(NotFound):
            await crud.save_display_messages(db, session.id, [message()])
        with pytest.raises(NotFound):
            await make_agent(db, session)
        with pytest.raises(NotFound):
            await crud.create_memory_file(db, MemoryFileCreate(session_id=session.id, file_path="b"))
        assert await crud.update_session(db, session.id, SessionUpdate(title="x")) is None
        assert await crud.update_session_name(db, session.id, SessionNameUpdate(name="x")) is None
        assert await crud.update_session_activity(db, session.id) is None
        assert await crud.update_agent(db, agent.id, AgentUpdate(status="failed")) is None
        assert await crud.delete_session(db, session.id) is False

    async def test_its_slug_is_free_again(self, db: UnitOfWork) -> None:
        first = await make_session(db, session_slug="auth")
        await crud.delete_session(db, first.id)
        second = await make_session(db, session_slug="auth")
        assert await crud.get_session_by_slug(db, "auth") is second

    async def test_its_sdk_sessions_are_remembered_until_an_agent_has_one_again(self, db: UnitOfWork) -> None:
        session, agent, _ = await fill(db)
        key = sdk_key(agent.sdk_session_id or "")
        await crud.delete_session(db, session.id)
        tombstone = await get_sdk_session(db, key)
        assert tombstone is not None
        assert (tombstone.session_id, tombstone.agent_id) == (None, None)
        assert tombstone.deleted_at is not None
        alive = await make_agent(db, sdk_session_id=agent.sdk_session_id)
        binding = await get_sdk_session(db, key)
        assert binding is not None
        assert (binding.session_id, binding.agent_id, binding.deleted_at) == (alive.session_id, alive.id, None)

    async def test_its_id_as_an_sdk_session_is_remembered_until_somebody_creates_it_anew(self, db: UnitOfWork) -> None:
        session = await make_session(db)
        await crud.delete_session(db, session.id)
        tombstone = await get_sdk_session(db, str(session.id))
        assert tombstone is not None
        assert (tombstone.session_id, tombstone.deleted_at is None) == (None, False)
        while await crud.erase_deleted_sessions(db, session.id):
            pass
        db.expunge_all()
        await make_session(db, session_id=session.id)
        assert await get_sdk_session(db, str(session.id)) is None

    async def test_an_unknown_session_was_not_there(self, db: UnitOfWork) -> None:
        assert await crud.delete_session(db, uuid4()) is False


class TestEraseDeletedSessions:
    async def test_it_goes_on_where_a_killed_one_stopped(self, fresh_database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(erasing, "BATCH", 2)
        async with get_async_session() as db:
            session, _, _ = await fill(db)
            kept, _, _ = await fill_other(db)
            await crud.delete_session(db, session.id)
        async with async_session() as db:
            assert await crud.erase_deleted_sessions(db) == 2
            await db.commit()
            assert await crud.erase_deleted_sessions(db) == 2
            # Killed before its commit.
            await db.rollback()
        batches = []
        async with async_session() as db:
            while gone := await crud.erase_deleted_sessions(db):
                batches.append(gone)
                await db.commit()
        # The rest of 5 events, 3 messages and 4 entries two by two; the usage; then the small tables and the session itself.
        assert batches == [2, 1, 2, 1, 2, 2, 1, 6]
        async with get_async_session() as db:
            assert await rows_below(db, session) == 0
            assert await rows_below(db, kept) == ROWS_OF_A_FILLED_SESSION
            assert await crud.get_session(db, kept.id) is not None

    async def test_it_leaves_other_deleted_sessions_alone_when_one_is_named(self, db: UnitOfWork) -> None:
        one, two = await make_session(db), await make_session(db)
        for session in (one, two):
            await crud.delete_session(db, session.id)
        assert await crud.erase_deleted_sessions(db, two.id) == 1
        assert await crud.erase_deleted_sessions(db, two.id) == 0
        assert await crud.erase_deleted_sessions(db) == 1

    async def test_rows_that_are_not_where_the_counters_say_go_as_well(self, db: UnitOfWork, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(erasing, "BATCH", 2)
        session, _, _ = await fill(db)
        await crud.delete_session(db, session.id)
        session.event_count, session.message_count = 20, 1
        while await crud.erase_deleted_sessions(db):
            pass
        assert await rows_below(db, session) == 0

    async def test_rows_above_the_counters_go_in_batches_as_well(self, db: UnitOfWork, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(erasing, "BATCH", 2)
        session, _, _ = await fill(db)
        await crud.delete_session(db, session.id)
        session.event_count, session.message_count = 1, 0
        assert [await crud.erase_deleted_sessions(db) for _ in range(5)] == [2, 2, 1, 2, 1]
        while await crud.erase_deleted_sessions(db):
            pass
        assert await rows_below(db, session) == 0

    @pytest.mark.parametrize("metadata", ODD_METADATA)
    async def test_a_session_that_an_older_release_deleted_goes_whatever_its_metadata_are(self, db: UnitOfWork, metadata: str) -> None:
        session, _, _ = await fill(db)
        other = await make_session(db)
        await crud.delete_session(db, other.id)
        await mark_as_before(db, session, metadata)
        while await crud.erase_deleted_sessions(db):
            pass
        assert await rows_below(db, session) + await rows_below(db, other) == 0

    @pytest.mark.parametrize(
        "columns", ["session_id uuid REFERENCES sessions", "session_id uuid REFERENCES sessions INITIALLY DEFERRED", AGENTS]
    )
    async def test_one_that_a_table_of_the_application_refers_to_stays_marked_and_holds_up_no_other(
        self, fresh_database: Database, columns: str
    ) -> None:
        async with get_async_session() as db:
            (held, agent, _), other = await fill(db), await make_session(db)
            await refer(db, columns, held, agent)
            for session in (held, other):
                await crud.delete_session(db, session.id)
        assert held.id < other.id
        assert await in_batches(crud.erase_deleted_sessions) > 1
        async with get_async_session() as db:
            assert await rows_below(db, other) == 0
            with pytest.raises(Conflict, match=rf"session {held.id} .* by tickets_session_id\w*_fkey; .* ON DELETE CASCADE"):
                await crud.erase_deleted_sessions(db, held.id)
            assert await erasing.get_deleted_session(db, held.id) is not None
            await db.execute(text("DELETE FROM tickets"))
        await in_batches(crud.erase_deleted_sessions)
        async with get_async_session() as db:
            assert await rows_below(db, held) == 0

    async def test_a_batch_takes_many_short_sessions(self, db: UnitOfWork, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(erasing, "BATCH", 20)
        for _ in range(25):
            session = await make_session(db)
            await make_event(db, session)
            await crud.delete_session(db, session.id)
        # Of each an event, a minute and the session itself.
        assert [await crud.erase_deleted_sessions(db) for _ in range(3)] == [20 * 3, 5 * 3, 0]

    async def test_a_batch_that_takes_several_takes_all_that_is_in_them(self, db: UnitOfWork) -> None:
        sessions = [(await fill(db))[0] if number == 0 else (await fill_other(db))[0] for number in range(2)]
        for session in sessions:
            await crud.delete_session(db, session.id)
        assert await crud.erase_deleted_sessions(db) > 2 * ROWS_OF_A_FILLED_SESSION
        assert [await rows_below(db, session) for session in sessions] == [0, 0]

    async def test_a_long_session_goes_by_itself_also_before_short_ones(self, db: UnitOfWork, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(erasing, "BATCH", 4)
        long, *short = [await make_session(db) for _ in range(3)]
        for _ in range(9):
            await make_event(db, long)
        for session in (long, *short):
            await crud.delete_session(db, session.id)
        # The long one while it has more events than a batch; then what is left of it with the others.
        assert [await crud.erase_deleted_sessions(db) for _ in range(4)] == [4, 4, 1 + 2 + 2, 0]

    async def test_a_batch_takes_many_short_transcripts(self, db: UnitOfWork) -> None:
        session, _, _ = await fill(db)
        (stream,) = (await db.execute(select(Transcript).where(col(Transcript.session_id) == session.id))).scalars()
        for _ in range(3):
            await make_stream(db, session, stream.agent_id, entries=2)
        await crud.delete_session(db, session.id)
        batches = [await crud.erase_deleted_sessions(db) for _ in range(3)]
        assert batches == [5, 3, 4 + 3 * 2]

    async def test_nobody_waits_for_a_batch(self, fresh_database: Database) -> None:
        async with get_async_session() as db:
            session, agent, _ = await fill(db)
            other = await make_session(db)
            await crud.delete_session(db, session.id)
        async with async_session() as erasing_now:
            await crud.erase_deleted_sessions(erasing_now)
            async with asyncio.timeout(5), get_async_session() as db:
                with pytest.raises(NotFound):
                    await crud.append_agent_logs(db, [event(session)])
                assert await crud.update_agent(db, agent.id, AgentUpdate(status="failed")) is None
                assert (await crud.append_agent_logs(db, [event(other)]))[0].is_new
            await erasing_now.rollback()


class TestGetErasureReport:
    async def test_it_is_the_same_before_and_in_the_middle_and_tells_what_went(
        self, fresh_database: Database, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(erasing, "BATCH", 2)
        async with get_async_session() as db:
            session, agent, _ = await fill(db)
            await make_stream(db, session, agent.id, entries=3, subpath="subagents/agent-a")
            await make_stream(db, session, agent.id, entries=0, subpath="subagents/agent-b")
            rows = await rows_by_table(db, session)
            await crud.delete_session(db, session.id)
        reports, batches = [], []
        while True:
            async with get_async_session() as db:
                report = await get_erasure_report(db, session.id)
            if report is None:
                break
            reports.append(report)
            async with get_async_session() as db:
                batches.append(await crud.erase_deleted_sessions(db))
        assert [report.rows for report in reports] == [rows] * len(batches)
        assert [report.rows_left for report in reports] == [sum(batches[done:]) for done in range(len(batches))]
        assert [report.transcripts for report in reports] == [[LostTranscript("p", "s", subpaths=2)]] * len(batches)
        assert len(batches) > 8

    async def test_it_is_the_same_beside_a_running_erasing(self, fresh_database: Database) -> None:
        async with get_async_session() as db:
            session, _, _ = await fill(db)
            rows = await rows_by_table(db, session)
            await crud.delete_session(db, session.id)
        async with async_session() as erasing_now, async_session() as reporting:
            assert await crud.erase_deleted_sessions(erasing_now) == 5
            report = asyncio.create_task(get_erasure_report(reporting, session.id))
            await asyncio.sleep(0.2)
            assert not report.done(), "a batch that is not committed may become part of it"
            await erasing_now.commit()
            done = await report
            next_batch = asyncio.create_task(crud.erase_deleted_sessions(erasing_now))
            await asyncio.sleep(0.2)
            assert not next_batch.done(), "a batch waits for the report's transaction"
            await reporting.commit()
            assert await next_batch == 3
            await erasing_now.commit()
        assert done is not None
        assert (done.rows, done.rows_left) == (rows, sum(rows.values()) - 5)

    @pytest.mark.parametrize("metadata", ODD_METADATA)
    async def test_metadata_that_an_older_release_left_are_no_numbers_of_rows(self, db: UnitOfWork, metadata: str) -> None:
        session, _, _ = await fill(db)
        rows = await rows_by_table(db, session)
        await mark_as_before(db, session, metadata)
        report = await get_erasure_report(db, session.id)
        assert report is not None
        assert (report.rows, report.rows_left) == (rows, sum(rows.values()))

    async def test_there_is_none_of_a_session_that_is_not_deleted(self, db: UnitOfWork) -> None:
        assert await get_erasure_report(db, (await make_session(db)).id) is None
        assert await get_erasure_report(db, uuid4()) is None

    async def test_metadata_that_a_session_had_are_no_numbers_of_rows(self, db: UnitOfWork) -> None:
        session = await make_session(db, metadata={"agent_logs": "many", "messages": 7})
        await make_event(db, session)
        await crud.delete_session(db, session.id)
        report = await get_erasure_report(db, session.id)
        assert report is not None
        assert (report.rows["agent_logs"], report.rows["messages"]) == (1, 0)
        assert await crud.erase_deleted_sessions(db, session.id) == 1


class TestDeleteOldTombstones:
    async def test_those_older_than_400_days_go_in_batches(self, db: UnitOfWork, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(sdk_sessions, "TOMBSTONES_A_BATCH", 2)
        session = await make_session(db)
        for age in (401, 402, 403, 399):
            db.add(SDKSession(sdk_key=f"p/{age}", deleted_at=now() - timedelta(days=age)))
        db.add(SDKSession(sdk_key="p/bound", session_id=session.id, created_at=now() - timedelta(days=500)))
        await db.flush()
        assert [await sdk_sessions.delete_old_tombstones(db) for _ in range(3)] == [2, 1, 0]
        kept = await db.execute(select(col(SDKSession.sdk_key)).order_by(col(SDKSession.sdk_key)))
        assert kept.scalars().all() == ["p/399", "p/bound"]


# The session, 2 agents, 5 events, 3 messages, a memory file, a usage row, and a transcript with 4 entries.
ROWS_OF_A_FILLED_SESSION = 18


async def mark_as_before(db: UnitOfWork, session: Session, metadata: str) -> None:
    """Delete a session as a release did that left its metadata as they were."""
    await db.execute(
        text("UPDATE sessions SET deleted_at = now(), metadata = CAST(:metadata AS jsonb) WHERE id = :id"),
        {"id": session.id, "metadata": metadata},
    )


async def refer(db: UnitOfWork, columns: str, session: Session, agent: Agent) -> None:
    """Let a table of an application refer to a session, or to an agent of it."""
    await db.execute(text(f"CREATE TABLE tickets (agent_id uuid, {columns})"))
    await db.execute(text("INSERT INTO tickets VALUES (:agent_id, :session_id)"), {"agent_id": agent.id, "session_id": session.id})


async def make_stream(db: UnitOfWork, session: Session, agent_id: UUID | None, entries: int, subpath: str | None = None) -> None:
    subpath = subpath or f"tool-results/{uuid4()}.txt"
    stream = Transcript(session_id=session.id, id=uuid4(), agent_id=agent_id, project_key="p", sdk_session_id="s", subpath=subpath)
    stream.next_seq = entries
    db.add(stream)
    await db.flush()
    db.add_all([TranscriptEntry(session_id=session.id, transcript_id=stream.id, seq=seq, entry={}) for seq in range(entries)])
    await db.flush()


async def fill_other(db: UnitOfWork) -> tuple[Session, Agent, MemoryFile]:
    await crud.update_session(db, (await crud.list_sessions(db))[0].id, SessionUpdate(session_slug="other"))
    return await fill(db)


async def rows_below(db: UnitOfWork, session: Session) -> int:
    """Count the session and the rows of every table that has its id, minutes aside."""
    return sum(rows for table, rows in (await rows_by_table(db, session)).items() if table != "activity_minutes")


async def rows_by_table(db: UnitOfWork, session: Session) -> dict[str, int]:
    """Count the session and the rows of every table that has its id, bindings aside."""
    rows = {"sessions": await db.scalar(select(func.count()).where(col(Session.id) == session.id)) or 0}
    for table in METADATA.sorted_tables:
        if "session_id" in table.c and table.name not in ("sdk_sessions", "clip_versions", "presence"):
            rows[table.name] = await db.scalar(select(func.count()).select_from(table).where(table.c.session_id == session.id)) or 0
    return rows
