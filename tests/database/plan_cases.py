"""A generated database for tests of query plans, and what a statement may cost in it."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from benchmarks.generator import Size
from session_db import crud
from session_db.database import UnitOfWork
from tests.databases import Database

SIZE = Size(sessions=4_000, events=40_000, largest=15_000)

PAGE = 51
"""Rows that a page of 50 reads; in the worst case each on a page of its own."""

DESCENT = 4
"""Pages from the root of an index to a row."""

WALKED = 400
"""Rows that a page of a filter without an index looks at here: with more, walking over the whole of a small table would be right."""

GLANCED = 100
"""Sessions among which a page looks for a value of metadata before it asks the index."""

EVENT_PAGE = 4 * PAGE
"""Pages of a page of events: some have a payload and a text that stand out of line."""

EVENT = 6 * DESCENT
"""Pages of an event with its session, and of what stands out of line."""

SESSION_ROW = 12 * DESCENT
"""Pages of a session whose row moves: its table, and every index of it."""

CHILD_ROW = 4 * DESCENT
"""Pages of a row below a session that is inserted or changed: its table, its indexes, the keys that it names."""

LOOKED_AT = 100
"""Rows that a statement of a search looks at here."""

OF_WORDS = {"ix_sessions_words", "ix_messages_words", "ix_agent_logs_content_words"}
OF_TIME = {"ix_sessions_last_activity_id", "ix_messages_said_at", "ix_agent_logs_timestamp"}
OF_HITS = {
    "pk_sessions", "pk_messages", "pk_agents", "ix_agents_id", "ix_agents_session_id_created_at_id", "uq_agent_logs_session_id_event_index",
    "ix_agent_logs_session_id_tool_use_id",
}  # fmt: skip
"""What finds the words, and the newest rows, of all; and what is looked up of those that are found."""

USAGE_OF_A_SESSION = {"pk_usage", "ix_usage_session_id_agent_id"}
USAGE_ROWS = 1_000
"""Pages of all usage rows of the giant session."""

HOUR = timedelta(hours=1)
USAGE_IN_AN_HOUR = 40
"""Pages of the usage rows of an hour, of all sessions."""

MINUTES = 2 * PAGE
"""Pages of the minutes that sessions count in an hour."""

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
    stream: UUID
    project_key: str
    slug: str
    project: str
    kept: UUID
    memory_file: int
    memory_path: str
    token: UUID


async def look(database: Database) -> Loaded:
    async with database.connected() as connection:
        giant = await connection.fetchrow(GIANT)
        agents = "SELECT created_at FROM agents WHERE session_id = $1 ORDER BY created_at OFFSET 100 LIMIT 1"
        answers = "SELECT message_id FROM usage WHERE session_id = $1 ORDER BY message_id LIMIT 20"
        stream = await connection.fetchrow(
            "SELECT session_id, project_key, min(id::text)::uuid AS id FROM transcripts GROUP BY 1, 2 ORDER BY count(*) DESC LIMIT 1"
        )
        workflow = await connection.fetchrow("SELECT session_slug, working_dir FROM sessions WHERE session_slug IS NOT NULL LIMIT 1")
        primary = await connection.fetchrow("SELECT session_id, id, file_path FROM memory_files WHERE is_primary LIMIT 1")
        await connection.execute("INSERT INTO presence SELECT gen_random_uuid(), id, 'host:1', now() + interval '1 hour' FROM sessions")
        await connection.execute("ANALYZE presence")
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
            stream=stream["id"],
            project_key=stream["project_key"],
            slug=workflow["session_slug"],
            project=workflow["working_dir"],
            kept=primary["session_id"],
            memory_file=primary["id"],
            memory_path=primary["file_path"],
            token=await connection.fetchval("SELECT id FROM tokens ORDER BY id OFFSET 1000 LIMIT 1"),
        )


Call = Callable[[UnitOfWork, Loaded], Awaitable[Any]]


@dataclass(frozen=True)
class Case:
    """A call, the indexes that its statements may read, and the pages that they may touch all together."""

    call: Call
    indexes: set[str]
    buffers: int
    sorts: bool = False
    """Whether it may sort the rows that it reads: it groups them all, or it is a walk, which ends."""


def lists(*indexes: str, **filters: Any) -> Case:
    """A list of sessions, by one of these indexes: a row of the table for each of its rows."""
    return Case(lambda db, _: crud.list_sessions(db, **filters), {*indexes}, PAGE + 2 * DESCENT)


def walks(*indexes: str, **filters: Any) -> Case:
    """A list of sessions by a filter without an index: it finds where the page ends, and reads until there."""
    return Case(lambda db, _: crud.list_sessions(db, **filters), {*indexes}, 2 * (WALKED + DESCENT), sorts=True)


def of_items(noun: str) -> dict[str, Case]:
    """The reads that clips, songs and playlists have in common."""
    get, page = getattr(crud, f"get_{noun}"), getattr(crud, f"list_{noun}s")
    return {
        f"get_{noun}": Case(lambda db, _: get(db, f"{noun}-00000007"), {f"pk_{noun}s"}, DESCENT),
        f"list_{noun}s": Case(lambda db, _: page(db), {f"pk_{noun}s"}, PAGE + DESCENT),
        f"list_{noun}s of a project": Case(lambda db, _: page(db, "project-0007"), {f"ix_{noun}s_project_id_{noun}_id"}, PAGE + DESCENT),
    }


def sums_of_a_session(by: Any) -> Case:
    indexes = {"ix_sessions_deleted", *USAGE_OF_A_SESSION}
    return Case(lambda db, at: crud.list_usage(db, by=by, session_id=at.giant), indexes, USAGE_ROWS, sorts=True)


def sums_in_an_hour(by: Any) -> Case:
    def call(db: UnitOfWork, at: Loaded) -> Awaitable[Any]:
        return crud.list_usage(db, by=by, since=at.middle_moment, until=at.middle_moment + HOUR)

    indexes = {"ix_usage_occurred_at", "ix_sessions_deleted"}
    if by != "agent":
        return Case(call, indexes, USAGE_IN_AN_HOUR, sorts=True)
    # Each agent of the page is looked up for its type.
    return Case(call, indexes | {"pk_agents", "ix_agents_session_id_created_at_id"}, USAGE_IN_AN_HOUR + PAGE * DESCENT, sorts=True)


def searches(words: str, *indexes: str, **filters: Any) -> Case:
    """A search: it looks at some rows by time, then at some by their words, and looks up a few things of each."""
    found = {*OF_HITS, *(indexes or OF_WORDS | OF_TIME)}
    return Case(lambda db, _: crud.search_records(db, words, **filters), found, 20 * LOOKED_AT, sorts=True)
