"""Delete a session of a million events while writers append to others, and print what they notice of it.

Run it on a machine that does nothing else: ``.venv/bin/python -m benchmarks.deletion``. It needs about 4 GB of disk and ten minutes.
The database is the embedded one with its durable settings, in a home that is made for the run and removed after it.
"""

import argparse
import asyncio
import multiprocessing
import os
import shutil
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import UUID

from benchmarks.generator import say
from benchmarks.writers import after, appends, new_session, percentile, print_appends
from session_db import crud
from session_db.database import close_db, get_async_session, get_engine, in_transaction, init_db
from session_db.database.batches import in_batches
from session_db.models import AgentCreate
from session_db.settings import Settings, use_settings

# As the agents of a session write them: about 1 kB of payload in calls and their results, over 20 agents.
FILL = """
    INSERT INTO agent_logs (session_id, id, event_index, agent_id, event_category, event_type, tool_name, tool_use_id, payload, "timestamp")
    SELECT $1, uuidv7(), place, ($2::uuid[])[1 + place / 1000 % 20], 'hook', 'PreToolUse', 'Bash', 'toolu_' || md5((place / 2)::text),
           json_build_object('input', repeat(md5(place::text), 29)),
           now() + place * interval '1 second'
    FROM generate_series($3::bigint, $4::bigint) place
"""
FILL_BATCH = 50_000


@dataclass(frozen=True)
class Deletion:
    """How long marking and erasing took, and in how many transactions."""

    mark_seconds: float
    erase_seconds: float
    batches: int


def main() -> None:
    """Fill a database, measure the writers alone and beside a deletion, and print it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--events", type=int, default=1_000_000, help="events of the session that is deleted (1,000,000)")
    parser.add_argument("--writers", type=int, default=8, help="sessions that are written to meanwhile (8)")
    parser.add_argument("--seconds", type=float, default=20, help="how long the writers are measured alone (20)")
    parser.add_argument("--pause", type=float, default=0, help="seconds between two events of a writer (0: none)")
    options = parser.parse_args()
    # Short, because it becomes part of a socket's path; and open to the unprivileged user that runs the server for root.
    home = Path(tempfile.mkdtemp(prefix="sdb-"))
    home.chmod(0o711)
    try:
        asyncio.run(_measure(home / "h", options))
    finally:
        shutil.rmtree(home, ignore_errors=True)


async def _measure(home: Path, options: argparse.Namespace) -> None:
    use_settings(Settings(home=home))
    await init_db()
    try:
        began = time.perf_counter()
        large = await _filled_session(options.events)
        written = [await new_session() for _ in range(options.writers)]
        say(f"{options.events:,} events filled in {time.perf_counter() - began:.0f} s; load {os.getloadavg()[0]:.1f}")
        with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as other_process:
            other_process.submit(use_settings, None).result()
            alone = await appends(written, after(options.seconds), options.pause)
            print_appends("alone", alone)
            deleting = asyncio.wrap_future(other_process.submit(delete, home, large))
            beside = await appends(written, deleting.done, options.pause)
            print_appends("beside", beside)
        deletion = await deleting
        ratio = percentile(beside, 99) / percentile(alone, 99)
        say(f"mark {deletion.mark_seconds * 1000:.1f} ms, erase {deletion.erase_seconds:.1f} s in {deletion.batches} batches")
        say(f"p99 beside / p99 alone = {ratio:.2f}; load {os.getloadavg()[0]:.1f}")
    finally:
        await close_db()


async def _filled_session(events: int) -> UUID:
    """Make a session with events, and leave the server as if it had been made long ago."""
    session_id = await new_session()
    async with get_async_session() as db:
        agents = [(await crud.create_agent(db, AgentCreate(session_id=session_id, agent_type="build"))).id for _ in range(20)]
    async with get_engine().connect() as connection:
        raw: Any = (await connection.get_raw_connection()).driver_connection
        for start in range(0, events, FILL_BATCH):
            await raw.execute(FILL, session_id, agents, start, min(start + FILL_BATCH, events) - 1)
        await raw.execute("UPDATE sessions SET event_count = $2 WHERE id = $1", session_id, events)
        await raw.execute("VACUUM (ANALYZE)", timeout=600)
        await raw.execute("CHECKPOINT", timeout=600)
    return session_id


def delete(home: Path, session_id: UUID) -> Deletion:
    """Delete a session as the command does; in a process of its own."""
    return asyncio.run(_delete(home, session_id))


async def _delete(home: Path, session_id: UUID) -> Deletion:
    use_settings(Settings(home=home))
    try:
        async with get_async_session() as db:
            # What is measured is the deletion, not the start of a process.
            await crud.get_session(db, session_id)
        began = time.perf_counter()
        await in_transaction(lambda db: crud.delete_session(db, session_id))
        marked = time.perf_counter()
        batches: list[int] = []
        await in_batches(lambda db: crud.erase_deleted_sessions(db, session_id), on_batch=batches.append)
        return Deletion(marked - began, time.perf_counter() - marked, len(batches))
    finally:
        await close_db()


if __name__ == "__main__":
    main()
