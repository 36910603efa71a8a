"""What the database itself says about the tables that the migrations made."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from session_db.database.schema import VERSION_TABLE
from session_db.database.violations import CONSTRAINTS
from session_db.models import METADATA
from session_db.models.table import NAMING_CONVENTION
from tests.databases import Database

RULES = (Path(__file__).parent / "distribution_rules.sql").read_text()
EXCEPTIONS = [("sessions", "has a unique index without the distribution column", "uq_sessions_working_dir_session_slug")]
"""A slug is one folder of a project: only the whole table knows whether it is taken."""

NO_CALLER_VIOLATES = {
    "pk_activity_minutes": "written by an upsert",
    "pk_presence": "the id is new",
    "pk_tokens": "the id is new",
    "pk_memory_files": "the id is a sequence's",
    "pk_sdk_sessions": "written by an upsert",
    "pk_transcript_entries": "the seq is the stream's, under the session's lock",
    "pk_transcripts": "made under the session's lock where it is missing",
    "pk_usage": "written by an upsert",
    "uq_agent_logs_session_id_event_index": "the index is the session's, under its lock",
    "uq_transcript_entries_session_id_transcript_id_uuid": "known entries are left out, under the session's lock",
    "ck_sdk_sessions_bound_by": "no caller's value",
    "ck_tokens_kind": "no caller's value",
    "ck_tokens_scope": "TokenCreate refuses another one",
    "ck_transcripts_source": "no caller's value",
    "fk_activity_minutes_session_id_sessions": "written under the session's lock",
    "fk_transcript_entries_transcript": "written under the session's lock",
    "fk_transcripts_agent": "written under the session's lock",
    "fk_transcripts_session_id_sessions": "written under the session's lock",
    "fk_usage_session_id_sessions": "written under the session's lock",
}

CONSTRAINTS_OF = """
SELECT conrelid::regclass::text AS table_name, conname AS name, contype::text AS kind, confrelid::regclass::text AS parent,
       (SELECT string_agg(attname, '_' ORDER BY position)
        FROM unnest(conkey) WITH ORDINALITY AS k(number, position) JOIN pg_attribute ON attrelid = conrelid AND attnum = number) AS columns
FROM pg_constraint WHERE connamespace = 'public'::regnamespace AND contype IN ('p', 'u', 'f', 'c') AND conrelid <> 0
"""
INDEXES = "SELECT tablename AS table_name, indexname AS name, indexdef FROM pg_indexes WHERE schemaname = 'public'"
OWN_NAMES = {
    "fk_agents_parent", "fk_agent_logs_agent", "fk_usage_agent", "fk_transcripts_agent", "fk_transcript_entries_transcript",
    "uq_memory_files_session_id_primary", "ix_sessions_deleted", "ix_sessions_metadata",
}  # fmt: skip
"""Named for what they mean; the convention's name would be long, or the same for two."""


@pytest.fixture
async def catalog(shared_database: Database) -> AsyncIterator[Any]:
    async with shared_database.connected() as connection:
        yield connection


async def ours(catalog: Any, query: str) -> list[Any]:
    return [row for row in await catalog.fetch(query) if row["table_name"] != VERSION_TABLE]


class TestDistributionRules:
    async def test_the_schema_keeps_them_with_one_exception(self, catalog: Any) -> None:
        assert [tuple(row) for row in await catalog.fetch(RULES)] == EXCEPTIONS

    @pytest.mark.parametrize(
        ("change", "problem"),
        [
            ("DROP TABLE memory_files", "is missing"),
            ("ALTER TABLE usage ALTER session_id TYPE text", "has a distribution column of another type"),
            ("CREATE UNIQUE INDEX one ON agents (sdk_session_id)", "has a unique index without the distribution column"),
            ("ALTER TABLE memory_files DROP CONSTRAINT pk_memory_files", "has no primary key"),
            ("CREATE TRIGGER t AFTER INSERT ON agents EXECUTE FUNCTION suppress_redundant_updates_trigger()", "has a trigger"),
            ("ALTER TABLE usage ADD n serial", "has a sequence on a column smaller than bigint"),
            ("ALTER TABLE usage ADD n bigint GENERATED ALWAYS AS IDENTITY", "has an identity column"),
            (
                "ALTER TABLE clip_versions ADD FOREIGN KEY (session_id) REFERENCES sessions",
                "has a foreign key between a distributed and a local table",
            ),
            ("ALTER TABLE sessions ADD FOREIGN KEY (forked_from) REFERENCES sessions", "does not pair the distribution columns"),
            (
                "ALTER TABLE usage ADD FOREIGN KEY (session_id) REFERENCES sessions ON UPDATE CASCADE",
                "has a foreign key that would change the distribution column",
            ),
        ],
    )
    async def test_each_rule_finds_what_breaks_it(self, catalog: Any, change: str, problem: str) -> None:
        transaction = catalog.transaction()
        await transaction.start()
        if "TYPE text" in change:
            await catalog.execute("ALTER TABLE usage DROP CONSTRAINT fk_usage_agent, DROP CONSTRAINT fk_usage_session_id_sessions")
        await catalog.execute(change)
        found = [tuple(row) for row in await catalog.fetch(RULES)]
        await transaction.rollback()
        assert [row for row in found if row not in EXCEPTIONS and problem in row[1]] != []


class TestNames:
    async def test_every_constraint_is_named_by_the_convention(self, catalog: Any) -> None:
        strangers = []
        for row in await ours(catalog, CONSTRAINTS_OF):
            expected = {
                "p": f"pk_{row['table_name']}",
                "u": f"uq_{row['table_name']}_{row['columns']}",
                "f": f"fk_{row['table_name']}_{row['columns']}_{row['parent']}",
            }.get(row["kind"])
            fits = row["name"] == expected if expected else row["name"].startswith(f"ck_{row['table_name']}_")
            if not fits and row["name"] not in OWN_NAMES:
                strangers.append(row["name"])
        assert strangers == []

    async def test_every_index_is_named_for_its_table(self, catalog: Any) -> None:
        rows = await ours(catalog, INDEXES)
        assert [
            row["name"] for row in rows if not row["name"].startswith(tuple(f"{kind}_{row['table_name']}" for kind in ("pk", "uq", "ix")))
        ] == []

    def test_the_convention_names_every_kind(self) -> None:
        assert set(NAMING_CONVENTION) == {"pk", "uq", "ix", "fk", "ck"}

    async def test_no_name_was_cut(self, catalog: Any) -> None:
        names = [row["name"] for query in (CONSTRAINTS_OF, INDEXES) for row in await ours(catalog, query)]
        assert max(map(len, names)) < 63


class TestComments:
    async def test_every_table_and_every_column_has_one(self, catalog: Any) -> None:
        query = """
            SELECT attrelid::regclass::text AS table_name, attname FROM pg_attribute JOIN pg_class ON pg_class.oid = attrelid
            WHERE relnamespace = 'public'::regnamespace AND relkind = 'r' AND attnum >= 0 AND NOT attisdropped
              AND coalesce(col_description(attrelid, attnum), '') = ''
            UNION ALL
            SELECT oid::regclass::text, 'the table' FROM pg_class
            WHERE relnamespace = 'public'::regnamespace AND relkind = 'r' AND obj_description(oid, 'pg_class') IS NULL
        """
        assert [tuple(row) for row in await ours(catalog, query)] == []


class TestViolations:
    async def test_every_constraint_has_its_error_or_a_reason_to_need_none(self, catalog: Any) -> None:
        constraints = {row["name"] for row in await ours(catalog, CONSTRAINTS_OF)}
        unique = {row["name"] for row in await ours(catalog, INDEXES) if "UNIQUE" in row["indexdef"]}
        assert constraints | unique == {*CONSTRAINTS, *NO_CALLER_VIOLATES}
        assert {*CONSTRAINTS} & {*NO_CALLER_VIOLATES} == set()


class TestTables:
    async def test_they_are_those_of_the_models(self, catalog: Any) -> None:
        rows = await catalog.fetch("SELECT tablename FROM pg_tables WHERE schemaname = 'public'")
        assert {row["tablename"] for row in rows} == {*METADATA.tables, VERSION_TABLE}

    async def test_pages_of_tables_with_counters_keep_room_for_updates(self, catalog: Any) -> None:
        rows = await catalog.fetch("SELECT relname FROM pg_class WHERE reloptions @> ARRAY['fillfactor=80']")
        assert {row["relname"] for row in rows} == {"sessions", "agents", "transcripts", "activity_minutes"}

    async def test_no_counter_or_total_stands_in_an_index(self, catalog: Any) -> None:
        rows = await ours(catalog, INDEXES)
        moving = ("message_count", "event_count", "total_", "cost", "tokens", "updated_at", "next_seq", "file_offset")
        assert [row["name"] for row in rows if any(word in row["indexdef"].partition(" USING ")[2] for word in moving)] == []
