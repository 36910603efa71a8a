"""Clean up a large database while writers append to it, and print what they notice, what stayed and what became of the disk space.

``python -m benchmarks.cleanup`` makes 100,000 sessions with 5,000,000 events in a home of its own, which is removed after it, and runs
``session-db cleanup`` on them: every session but those that are pinned or in use. It needs about 15 GB of disk and 40 minutes; a hundredth
of it, ``--sessions 1000 --events 50000``, a minute or two. Nothing else should run on the machine.
"""

import argparse
import asyncio
import json
import os
import shutil
import sys
import tempfile
import time
from pathlib import Path
from typing import Any
from uuid import UUID

from benchmarks.generator import add_size_arguments, driver_connection, generate, say, show_progress, size_of
from benchmarks.writers import after, appends, new_session, percentile, print_appends
from session_db.database import close_db, init_db
from session_db.settings import Settings, use_settings

KEPT = """
    UPDATE sessions SET pinned = place % 4 = 0, activity = CASE place % 4 WHEN 1 THEN 'working' WHEN 2 THEN 'waiting' ELSE 'idle' END
    FROM (SELECT id, row_number() OVER (ORDER BY md5(id::text)) AS place FROM sessions) chosen
    WHERE sessions.id = chosen.id AND place <= $1
"""
"""Of a hundred sessions one stays: pinned, at work, waiting, and with an agent that executes."""

EXECUTING = """
    UPDATE agents SET status = 'executing' WHERE (session_id, id) IN (
        SELECT DISTINCT ON (session_id) session_id, id FROM agents JOIN (
            SELECT id AS session_id FROM (SELECT id, row_number() OVER (ORDER BY md5(id::text)) AS place FROM sessions) chosen
            WHERE place <= $1 AND place % 4 = 3
        ) chosen USING (session_id) ORDER BY session_id, id
    )
"""
OTHERS = "UPDATE agents SET status = 'complete' WHERE status = 'executing'"

IN_USE = """
    SELECT id FROM sessions s WHERE pinned OR activity IN ('working', 'waiting')
    OR EXISTS (SELECT FROM agents WHERE session_id = s.id AND status = 'executing')
    OR EXISTS (SELECT FROM presence WHERE session_id = s.id AND expires_at > now())
"""

SIZE = "SELECT sum(pg_total_relation_size(oid)) FROM pg_class WHERE relkind = 'r' AND relnamespace = current_schema()::regnamespace"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_size_arguments(parser, sessions=100_000, events=5_000_000)
    parser.add_argument("--writers", type=int, default=8, help="sessions that are written to meanwhile (8)")
    parser.add_argument("--seconds", type=float, default=60, help="how long the writers are measured alone (60)")
    parser.add_argument("--pause", type=float, default=0, help="seconds between two events of a writer (0: none)")
    parser.add_argument("--directory", type=Path, help="where the home is made (the system's place for temporary files)")
    options = parser.parse_args()
    # Short, because it becomes part of a socket's path; and open to the unprivileged user that runs the server for root.
    home = Path(tempfile.mkdtemp(prefix="sdb-", dir=options.directory))
    home.chmod(0o711)
    try:
        asyncio.run(_measure(Settings(home=home / "h"), options))
    finally:
        shutil.rmtree(home, ignore_errors=True)


async def _measure(settings: Settings, options: argparse.Namespace) -> None:
    use_settings(settings)
    await init_db()
    try:
        size = size_of(options)
        kept = await _filled(settings, size, max(4, size.sessions // 100))
        written = [await new_session() for _ in range(options.writers)]
        alone = await appends(written, after(options.seconds), options.pause)
        print_appends("alone", alone)
        cleaning = asyncio.create_task(_clean(settings))
        beside = await appends(written, cleaning.done, options.pause)
        print_appends("beside", beside)
        done, seconds = await cleaning
        say(f"cleanup: {done['sessions']:,} sessions with {done['rows']:,} rows in {seconds:.0f} s; load {os.getloadavg()[0]:.1f}")
        say(f"p99 beside / p99 alone = {percentile(beside, 99) / percentile(alone, 99):.2f}")
        await _check(settings, kept | set(written), size.sessions - len(kept), done["sessions"])
    finally:
        await close_db()


async def _filled(settings: Settings, size: Any, kept: int) -> set[UUID]:
    """Make the sessions, and return those that have to stay."""
    began = time.perf_counter()
    await generate(settings, size, progress=show_progress)
    async with driver_connection(settings) as connection:
        await connection.execute(OTHERS)
        await connection.execute("UPDATE sessions SET pinned = false, activity = 'idle' WHERE pinned OR activity IN ('working', 'waiting')")
        await connection.execute(KEPT, kept)
        await connection.execute(EXECUTING, kept)
        await connection.execute("VACUUM (ANALYZE)", timeout=3600)
        await connection.execute("CHECKPOINT", timeout=3600)
        say(
            f"{size.sessions:,} sessions with {size.events:,} events in {time.perf_counter() - began:.0f} s; {await _gigabytes(connection)}"
        )
        return {UUID(str(row["id"])) for row in await connection.fetch(IN_USE)}


async def _clean(settings: Settings) -> tuple[dict[str, Any], float]:
    """Run the command, and return what it says and how many seconds it took."""
    began = time.perf_counter()
    command = Path(sys.executable).with_name("session-db")
    process = await asyncio.create_subprocess_exec(
        command,
        *("cleanup", "--older-than", "90d", "--yes", "--json"),
        env=os.environ | {"SESSION_DB_HOME": str(settings.home)},
        stdout=asyncio.subprocess.PIPE,
    )
    printed, _ = await process.communicate()
    if process.returncode:
        sys.exit(f"cleanup failed: {printed.decode()}")
    return json.loads(printed), time.perf_counter() - began


async def _check(settings: Settings, stay: set[UUID], old: int, deleted: int) -> None:
    """Say what stayed, and what became of the space."""
    async with driver_connection(settings) as connection:
        there = {UUID(str(row["id"])) for row in await connection.fetch("SELECT id FROM sessions")}
        say(f"stayed: {len(there & stay):,} of {len(stay):,} that are in use, {len(there - stay):,} others; {deleted:,} of {old:,} went")
        say(f"on disk after the cleanup: {await _gigabytes(connection)}")
        await connection.execute("VACUUM (ANALYZE)", timeout=3600)
        say(f"after VACUUM: {await _gigabytes(connection)}")
        await connection.execute("VACUUM FULL", timeout=3600)
        say(f"after VACUUM FULL: {await _gigabytes(connection)}")
    if there != stay:
        sys.exit("what stayed is not what had to stay")


async def _gigabytes(connection: Any) -> str:
    return f"{await connection.fetchval(SIZE) / 1024**3:.2f} GiB"


if __name__ == "__main__":
    main()
