"""Times the queries of crud in a large database against one of 10,000 events, and prints a table of medians and ratios.

``python -m benchmarks.queries`` makes both in homes of their own, which are removed after it. Each has an embedded server with its default
settings. Each call is made in one database and then in the other, so that a busy machine slows both. What is timed is the call of crud
on an open connection, without the commit; what a call wrote is rolled back.
"""

import argparse
import asyncio
import contextlib
import os
import platform
import shutil
import statistics
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any
from uuid import UUID

from benchmarks.generator import Size, add_size_arguments, driver_connection, generate, say, show_progress, size_of
from session_db import crud
from session_db.crud import sdk_sessions, transcripts, usage
from session_db.crud.paging import encode_cursor
from session_db.database import UnitOfWork, close_db, init_db
from session_db.database.connection import create_engine, embedded_server
from session_db.models import AgentLogCreate
from session_db.settings import Settings, use_settings

REFERENCE = Size(sessions=1_000, events=10_000, largest=1_000)

SAMPLE = 300
"""Different sessions that the queries go to."""

ROW_SECONDS = 30
"""How long a query is called again, where its calls are slow."""

SUBJECTS = """
    SELECT s.id, s.session_type, s.working_dir, s.session_slug, s.current_project, s.event_count, s.message_count, s.created_at,
           e.agent_id, e.tool_use_id, e."timestamp"
    FROM (SELECT * FROM sessions WHERE event_count >= 100 ORDER BY {order} LIMIT {count}) s
    JOIN LATERAL (
        SELECT * FROM agent_logs WHERE session_id = s.id AND event_index >= s.event_count / 2 AND tool_use_id IS NOT NULL
        ORDER BY event_index LIMIT 1
    ) e ON true
"""
"""Sessions whose pages are full in both databases, each with an event in the middle of it."""


WORKFLOWS = "SELECT session_slug, working_dir FROM sessions WHERE session_slug IS NOT NULL ORDER BY md5(id::text) LIMIT 300"
RECORDED = "SELECT session_id FROM transcripts WHERE subpath = '' ORDER BY md5(id::text) LIMIT 300"
KEPT = "SELECT session_id FROM memory_files WHERE is_primary ORDER BY md5(id::text) LIMIT 300"


@dataclass(frozen=True)
class Subject:
    """A session to ask for, and what of it."""

    id: UUID
    events: int
    messages: int
    agent: UUID
    tool_use_id: str
    moment: datetime
    began: datetime
    workflow: tuple[str, str]
    recorded: UUID
    api_messages: list[str]
    kept: UUID
    directory: str

    @property
    def middle(self) -> int:
        return self.events // 2


Query = Callable[[UnitOfWork, Subject], Awaitable[Any]]


def _since(at: Subject) -> str:
    return encode_cursor(at.began, at.id)


async def _append(db: UnitOfWork, at: Subject) -> None:
    event = {"session_id": at.id, "agent_id": at.agent, "event_category": "hook", "event_type": "PreToolUse", "tool_use_id": "toolu_new"}
    await crud.append_agent_logs(db, [AgentLogCreate.model_validate(event | {"payload": {"command": "true " * 100}})])


async def _say(db: UnitOfWork, at: Subject) -> None:
    await crud.save_display_messages(db, at.id, [{"role": "user", "content": "Go on. " * 10, "client_id": "new"}])


QUERIES: dict[str, Query] = {
    "`list_sessions`": lambda db, _: crud.list_sessions(db),
    "`list_sessions(cursor=…)`": lambda db, at: crud.list_sessions(db, cursor=_since(at)),
    "`list_sessions(status=…)`": lambda db, _: crud.list_sessions(db, "complete"),
    "`list_sessions(session_type=…)`": lambda db, _: crud.list_sessions(db, session_type="full"),
    "`list_sessions(agent_name=…)`": lambda db, _: crud.list_sessions(db, agent_name="strudel"),
    "`list_sessions(current_project=…)`": lambda db, _: crud.list_sessions(db, current_project="project-0000"),
    "`list_sessions(working_dir=…)`": lambda db, at: crud.list_sessions(db, working_dir=at.directory),
    "`get_session`": lambda db, at: crud.get_session(db, at.id),
    "`get_session_by_slug`": lambda db, at: crud.get_session_by_slug(db, *at.workflow),
    "`get_agent`": lambda db, at: crud.get_agent(db, at.agent),
    "`list_agents`": lambda db, at: crud.list_agents(db, at.id),
    "`list_agent_logs`": lambda db, at: crud.list_agent_logs(db, at.id),
    "`list_agent_logs(after_index=…)`": lambda db, at: crud.list_agent_logs(db, at.id, after_index=at.events - 51),
    '`list_agent_logs(order="happened")`': lambda db, at: crud.list_agent_logs(db, at.id, order="happened"),
    "`list_agent_logs(tool_use_id=…)`": lambda db, at: crud.list_agent_logs(db, at.id, tool_use_id=at.tool_use_id),
    "`get_agent_log`": lambda db, at: crud.get_agent_log(db, at.id, at.middle),
    "`get_last_agent_logs`": lambda db, at: crud.get_last_agent_logs(db, at.id),
    "`load_messages_paginated`": lambda db, at: crud.load_messages_paginated(db, at.id, 25),
    "`load_messages_paginated(before_index=…)`": lambda db, at: crud.load_messages_paginated(db, at.id, 10, before_index=at.messages // 2),
    "`get_message_count`": lambda db, at: crud.get_message_count(db, at.id),
    "`get_session_memory_files`": lambda db, at: crud.get_session_memory_files(db, at.kept),
    "`get_usage`, 20 answers": lambda db, at: usage.get_usage(db, at.id, at.api_messages),
    "`find_transcripts`": lambda db, at: transcripts.find_transcripts(db, at.recorded, str(at.recorded), ""),
    "`get_sdk_session`": lambda db, at: sdk_sessions.get_sdk_session(db, str(at.recorded)),
    "`list_clips`": lambda db, _: crud.list_clips(db),
    "`append_agent_logs`, one event": _append,
    "`save_display_messages`, one message": _say,
}
"""By what the table calls them: asked of many sessions."""

LARGEST: dict[str, Query] = {
    "`list_agents`": lambda db, at: crud.list_agents(db, at.id),
    "`list_agent_logs`": lambda db, at: crud.list_agent_logs(db, at.id),
    "`list_agent_logs(cursor=…)`, from the middle": lambda db, at: crud.list_agent_logs(db, at.id, cursor=encode_cursor(at.middle)),
    '`list_agent_logs(order="happened", cursor=…)`, from the middle': lambda db, at: crud.list_agent_logs(
        db, at.id, order="happened", cursor=encode_cursor(at.moment, at.middle)
    ),
    "`list_agent_logs(agent_id=…)`": lambda db, at: crud.list_agent_logs(db, at.id, agent_id=at.agent, limit=10),
    "`load_messages_paginated(before_index=…)`, from the middle": lambda db, at: crud.load_messages_paginated(
        db, at.id, before_index=at.messages // 2
    ),
    '`list_agent_logs(event_type="StatusChange")`, of which there are none': lambda db, at: crud.list_agent_logs(
        db, at.id, event_type="StatusChange"
    ),
    "`append_agent_logs`, one event": _append,
}
"""Asked of the largest session."""


@dataclass
class Timed:
    """A database with an open connection, and the sessions to ask for."""

    db: UnitOfWork
    subjects: list[Subject]
    largest: list[Subject]
    events: int
    sessions: int
    version: str

    async def call(self, query: Query, subject: Subject) -> float:
        """Return the seconds that a call took; nothing of it is kept."""
        await self.db.connection()
        began = time.perf_counter()
        await query(self.db, subject)
        seconds = time.perf_counter() - began
        await self.db.rollback()
        self.db.expunge_all()
        return seconds


@asynccontextmanager
async def opened(home: Path, size: Size) -> AsyncIterator[Timed]:
    """Open the database of a home, filled where it was empty."""
    settings = Settings(home=home, url=None)
    use_settings(settings)
    await init_db()
    await close_db()
    async with driver_connection(settings) as connection:
        is_empty = not await connection.fetchval("SELECT EXISTS (SELECT FROM sessions)")
    if is_empty:
        await generate(settings, size, progress=show_progress)
    engine = create_engine(settings)
    try:
        async with driver_connection(settings) as connection, engine.connect() as open_connection:
            sample, largest = await _subjects(connection, "md5(id::text)", SAMPLE), await _subjects(connection, "event_count DESC", 1)
            sessions, events = await connection.fetchrow("SELECT count(*), sum(event_count)::bigint FROM sessions")
            version = await connection.fetchval("SHOW server_version")
            yield Timed(UnitOfWork(bind=open_connection, expire_on_commit=False), sample, largest, events, sessions, version)
    finally:
        await engine.dispose()
        embedded_server(home).release()


async def _subjects(connection: Any, order: str, count: int) -> list[Subject]:
    rows = await connection.fetch(SUBJECTS.format(order=order, count=count))
    workflows, recorded, kept = [await connection.fetch(query) for query in (WORKFLOWS, RECORDED, KEPT)]
    subjects = []
    for number, row in enumerate(rows):
        answers = await connection.fetch("SELECT message_id FROM usage WHERE session_id = $1 ORDER BY message_id LIMIT 20", row["id"])
        subjects.append(
            Subject(
                id=row["id"],
                events=row["event_count"],
                messages=row["message_count"],
                agent=row["agent_id"],
                tool_use_id=row["tool_use_id"],
                moment=row["timestamp"],
                began=row["created_at"],
                workflow=tuple(workflows[number % len(workflows)]),
                recorded=recorded[number % len(recorded)]["session_id"],
                api_messages=[answer["message_id"] for answer in answers],
                kept=kept[number % len(kept)]["session_id"],
                directory="/home/dev/projects/project-0000",
            )
        )
    return subjects


async def _measured(reference: Timed, large: Timed, calls: int) -> None:
    say(f"| query | {reference.events:,} events | {large.events:,} events | ratio |\n|---|---|---|---|")
    for name, query in QUERIES.items():
        await _row(name, query, (reference, reference.subjects), (large, large.subjects), calls=calls)
    say("| **the largest session:** | " + " | ".join(f"{timed.largest[0].events:,} events" for timed in (reference, large)) + " | |")
    for name, query in LARGEST.items():
        await _row(name, query, (reference, reference.largest), (large, large.largest), calls=calls // 3)


async def _row(name: str, query: Query, *databases: tuple[Timed, list[Subject]], calls: int) -> None:
    seconds: list[list[float]] = []
    for round_number in range(2):
        # The first round warms both; only the second one counts.
        seconds = [[] for _ in databases]
        for number in range(calls if round_number else calls // 3 + 1):
            if sum(map(sum, seconds)) > ROW_SECONDS:
                break
            for (timed, subjects), taken in zip(databases, seconds, strict=True):
                taken.append(await timed.call(query, subjects[number % len(subjects)]))
    small, large = (statistics.median(taken) * 1000 for taken in seconds)
    say(f"| {name} | {small:.2f} ms | {large:.2f} ms | {large / small:.2f} |")


@contextlib.contextmanager
def _home(given: Path | None) -> Iterator[Path]:
    """Give the home that was named, or one for this run."""
    if given is not None:
        yield given
        return
    # Short, because it becomes part of a socket's path; and open to the unprivileged user that runs the server for root.
    parent = Path(tempfile.mkdtemp(prefix="sdb-"))
    parent.chmod(0o711)
    try:
        yield parent / "h"
        server = embedded_server(parent / "h")
        while server.status().running:
            time.sleep(0.1)
    finally:
        shutil.rmtree(parent, ignore_errors=True)


Measure = Callable[[Timed, Timed, int], Awaitable[None]]


async def _run(measure: Measure, options: argparse.Namespace, home: Path, reference_home: Path) -> None:
    async with opened(reference_home, REFERENCE) as reference, opened(home, size_of(options)) as large:
        say(
            f"PostgreSQL {large.version}, Python {platform.python_version()}, {os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}; "
            f"{reference.sessions:,} and {large.sessions:,} sessions; median of {options.calls} calls\n"
        )
        await measure(reference, large, options.calls)
    say(f"\nload {os.getloadavg()[0]:.1f}")


def compare(description: str | None, calls: int, measure: Measure) -> None:
    """Measure a large database against the reference, as the command line says."""
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_size_arguments(parser, sessions=20_000, events=200_000)
    parser.add_argument("--home", type=Path, help="a home that is kept; its database is filled where it is empty")
    parser.add_argument("--calls", type=int, default=calls, help=f"calls of each query ({calls})")
    options = parser.parse_args()
    with _home(options.home) as home, _home(None) as reference_home:
        asyncio.run(_run(measure, options, home, reference_home))


if __name__ == "__main__":
    compare(__doc__, SAMPLE, _measured)
