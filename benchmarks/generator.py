"""Fills a database with recorded sessions: a few giant ones, many tiny ones, the same rows for the same seed.

``python -m benchmarks.generator --sessions 1000000 --events 10000000 --home DIRECTORY``. The rows go through COPY, with every index, key
and check in place, from two processes.
"""

import argparse
import asyncio
import multiprocessing
import os
import sys
import time
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from contextlib import asynccontextmanager
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from random import Random
from typing import Any

from benchmarks.items import item_rows
from benchmarks.rows import FIRST_DAY, PROJECTS, TABLES, YEAR, Plan, messages_of
from session_db.database import close_db, init_db, reset_db
from session_db.database.connection import create_engine
from session_db.errors import Conflict
from session_db.settings import Settings, use_settings

CHUNK_EVENTS = 50_000
"""Events that one transaction copies, at least; the sessions of a chunk stay together, however large they are."""

BLOCK = 1_000
"""Rows that are sent at once."""

PROCESSES = 2

Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class Size:
    """How much to make, and of which seed."""

    sessions: int
    events: int
    largest: int
    seed: int = 1


@dataclass(frozen=True)
class Chunk:
    """Neighbouring sessions, by the number of events of each."""

    seed: int
    first: int
    of: int
    first_message_id: int
    sizes: Sequence[int]

    def plans(self) -> Iterator[Plan]:
        random = Random(f"{self.seed} plans {self.first}")  # noqa: S311  made-up rows
        message_id = self.first_message_id
        for number, events in enumerate(self.sizes, self.first):
            began = FIRST_DAY + number * YEAR // self.of
            # A few projects have many sessions, most have few.
            project = int(PROJECTS ** random.random()) - 1
            yield Plan(number, events, began, random.getrandbits(72), project, message_id)
            message_id += messages_of(events)


def event_counts(size: Size) -> list[int]:
    """Return how many events each session has: at least one, the rest by Zipf's law, with the largest as large as asked."""
    exponent = _exponent((size.events - size.sessions) / size.largest, size.sessions)
    counts = [1 + int(size.largest / rank**exponent) for rank in range(1, size.sessions + 1)]
    for rank in range(size.events - sum(counts)):
        counts[-1 - rank % size.sessions] += 1
    Random(size.seed).shuffle(counts)  # noqa: S311  made-up rows
    return counts


def _exponent(ratio: float, sessions: int) -> float:
    """Return the exponent with which the shares of all ranks add up to ``ratio`` times the first."""
    low, high = 0.0, 8.0
    for _ in range(40):
        middle = (low + high) / 2
        low, high = (middle, high) if sum(rank**-middle for rank in range(1, sessions + 1)) > ratio else (low, middle)
    return high


def chunks(size: Size) -> Iterator[Chunk]:
    counts = event_counts(size)
    first, message_id = 0, 1
    while first < len(counts):
        last, total = first, 0
        while last < len(counts) and total < CHUNK_EVENTS:
            total += counts[last]
            last += 1
        sizes = counts[first:last]
        yield Chunk(size.seed, first, size.sessions, message_id, sizes)
        first, message_id = last, message_id + sum(map(messages_of, sizes))


async def generate(settings: Settings, size: Size, *, processes: int = PROCESSES, progress: Progress = lambda _done, _all: None) -> None:
    """Fill an empty database that has its tables, and leave it as vacuum does.

    Raises:
        Conflict: it holds sessions already.
    """
    async with driver_connection(settings) as connection:
        if await connection.fetchval("SELECT EXISTS (SELECT FROM sessions)"):
            raise Conflict("the database holds sessions; name an empty one, or say --reset to drop everything in it.")
    done = 0
    for copied in _copied(settings, size, processes):
        done += copied
        progress(done, size.events)
    async with driver_connection(settings) as connection:
        for table, columns, lines in item_rows(size.sessions):
            await _copy(connection, table, columns, lines)
        for table in ("messages", "memory_files"):
            await connection.execute(f"SELECT setval('{table}_id_seq', (SELECT coalesce(max(id), 1) FROM {table}))")
        await connection.execute("VACUUM (ANALYZE)")


def _copied(settings: Settings, size: Size, processes: int) -> Iterator[int]:
    """Copy all chunks, the largest first, and give the number of events of each that is done."""
    largest_first = sorted(chunks(size), key=lambda chunk: sum(chunk.sizes), reverse=True)
    with ProcessPoolExecutor(processes, mp_context=multiprocessing.get_context("spawn")) as pool:
        try:
            yield from (copied.result() for copied in as_completed([pool.submit(copy_chunk, settings, chunk) for chunk in largest_first]))
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise


def copy_chunk(settings: Settings, chunk: Chunk) -> int:
    """Copy the rows of a chunk in one transaction; return how many events it has."""
    asyncio.run(_copy_chunk(settings, chunk))
    return sum(chunk.sizes)


async def _copy_chunk(settings: Settings, chunk: Chunk) -> None:
    plans = list(chunk.plans())
    async with driver_connection(settings) as connection, connection.transaction():
        # A foreign key is checked row by row. Its plan is made once, from empty tables, so it must not be a walk over them.
        await connection.execute("SET LOCAL plan_cache_mode = force_generic_plan; SET LOCAL enable_seqscan = off")
        for rows in TABLES:
            random = Random(f"{chunk.seed} {rows.table} {chunk.first}")  # noqa: S311  made-up rows
            await _copy(connection, rows.table, rows.columns, (line for plan in plans for line in rows.of(plan, random)))


async def _copy(connection: Any, table: str, columns: Sequence[str], lines: Iterable[str]) -> None:
    await connection.copy_to_table(table, source=_blocks(iter(lines)), columns=columns, format="text")


async def _blocks(lines: Iterator[str]) -> AsyncIterator[bytes]:
    while block := "".join(islice(lines, BLOCK)):
        yield block.encode()


@asynccontextmanager
async def driver_connection(settings: Settings) -> AsyncIterator[Any]:
    """Open a connection and give the bare driver's: COPY is its own."""
    engine = create_engine(settings, pooled=False)
    try:
        async with engine.connect() as connection:
            yield (await connection.get_raw_connection()).driver_connection
    finally:
        await engine.dispose()


def add_size_arguments(parser: argparse.ArgumentParser, *, sessions: int, events: int) -> None:
    parser.add_argument("--sessions", type=int, default=sessions, help=f"sessions to make ({sessions:,})")
    parser.add_argument("--events", type=int, default=events, help=f"events to make ({events:,})")
    parser.add_argument("--largest", type=int, help="events of the largest session (a tenth of all)")
    parser.add_argument("--seed", type=int, default=1, help="another seed makes other rows (1)")


def size_of(options: argparse.Namespace) -> Size:
    largest = options.largest or options.events // 10
    if not 0 < options.sessions + largest <= options.events:
        sys.exit(f"{options.events:,} events are too few for {options.sessions:,} sessions and one of {largest:,}.")
    return Size(options.sessions, options.events, largest, options.seed)


def say(text: str) -> None:
    print(text, flush=True)  # noqa: T201  benchmarks print what they measured


def show_progress(done: int, of: int) -> None:
    ends_line = "\n" if done == of or not sys.stderr.isatty() else "\r"
    sys.stderr.write(f"{done:>12,} of {of:,} events{ends_line}")
    sys.stderr.flush()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_size_arguments(parser, sessions=1_000_000, events=10_000_000)
    place = parser.add_mutually_exclusive_group(required=True)
    place.add_argument("--home", type=Path, help="directory of the embedded PostgreSQL to fill")
    place.add_argument("--url", help="PostgreSQL to fill")
    parser.add_argument("--processes", type=int, default=PROCESSES, help=f"processes that copy ({PROCESSES})")
    parser.add_argument("--reset", action="store_true", help="first drop what the database holds")
    options = parser.parse_args()
    settings = Settings(url=options.url) if options.url else Settings(home=options.home, url=None)
    began = time.perf_counter()
    try:
        asyncio.run(_run(settings, size_of(options), options))
    except Conflict as refused:
        sys.exit(str(refused))
    minutes, seconds = divmod(round(time.perf_counter() - began), 60)
    say(f"{options.sessions:,} sessions with {options.events:,} events in {minutes} min {seconds} s; load {os.getloadavg()[0]:.1f}")


async def _run(settings: Settings, size: Size, options: argparse.Namespace) -> None:
    use_settings(settings)
    await (reset_db() if options.reset else init_db())
    try:
        await generate(settings, size, processes=options.processes, progress=show_progress)
    finally:
        await close_db()


if __name__ == "__main__":
    main()
