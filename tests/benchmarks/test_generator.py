"""The generated database: the same for the same seed, as large as asked, and one that crud could have written."""

from typing import Any

import pytest

from benchmarks.generator import Size, event_counts, generate
from session_db import crud
from session_db.database import get_async_session
from session_db.errors import Conflict
from session_db.models import METADATA, MemoryFileCreate
from tests.databases import Database, PostgreSQL
from tests.factories import event, message
from tests.invariants import violations

SIZE = Size(sessions=300, events=2_000, largest=400)


async def digests(database: Database) -> dict[str, Any]:
    """Return a digest of each table's rows, in whatever order they stand."""
    async with database.connected() as connection:
        return {table: await connection.fetchval(f"SELECT sum(hashtextextended(t::text, 0)) FROM {table} t") for table in METADATA.tables}


class TestEventCounts:
    def test_they_add_up_with_one_giant_and_many_tiny_ones(self) -> None:
        counts = sorted(event_counts(Size(sessions=10_000, events=100_000, largest=10_000)))
        assert (len(counts), sum(counts), counts[-1]) == (10_000, 100_000, 10_001)
        assert counts[0] >= 1
        assert counts[5_000] < 10

    def test_another_seed_puts_them_elsewhere(self) -> None:
        assert event_counts(SIZE) != event_counts(Size(SIZE.sessions, SIZE.events, SIZE.largest, seed=2))


class TestGenerate:
    async def test_the_same_seed_makes_the_same_rows_in_any_number_of_processes(
        self, postgres: PostgreSQL, template: Database, fresh_database: Database
    ) -> None:
        await generate(fresh_database.settings, SIZE, processes=1)
        made = await digests(fresh_database)
        assert [table for table, digest in made.items() if digest is None] == []
        async with postgres.own("again", template.name) as again:
            await generate(again.settings, SIZE, processes=2)
            assert await digests(again) == made
        async with postgres.own("other", template.name) as other:
            await generate(other.settings, Size(SIZE.sessions, SIZE.events, SIZE.largest, seed=2), processes=1)
            different = await digests(other)
        assert different["agent_logs"] != made["agent_logs"]

    async def test_crud_works_on_it(self, fresh_database: Database) -> None:
        await generate(fresh_database.settings, SIZE, processes=1)
        async with get_async_session() as db:
            session = max(await crud.list_sessions(db, limit=1000), key=lambda session: session.event_count)
            (appended,) = await crud.append_agent_logs(db, [event(session)])
            (said,) = await crud.save_display_messages(db, session.id, [message()])
            await crud.create_memory_file(db, MemoryFileCreate(session_id=session.id, file_path="new.md"))
            events = await crud.list_agent_logs(db, session.id, limit=1000)
        assert appended.event_index == len(events) - 1 == SIZE.largest + 1
        assert said.message_index == session.message_count - 1
        async with fresh_database.connected() as connection:
            assert await connection.fetchval("SELECT sum(event_count) FROM sessions") == SIZE.events + 1
            assert await violations(connection) == []

    async def test_it_refuses_a_database_that_holds_sessions(self, fresh_database: Database) -> None:
        await generate(fresh_database.settings, Size(sessions=10, events=100, largest=50), processes=1)
        with pytest.raises(Conflict, match="--reset"):
            await generate(fresh_database.settings, SIZE, processes=1)
