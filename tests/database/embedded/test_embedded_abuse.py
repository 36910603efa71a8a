"""Five clients that come, commit, leave and are killed at random: no commit is lost, no start refused, no process left.

``SESSION_DB_ABUSE_SECONDS`` says how long, ``SESSION_DB_ABUSE_SEED`` repeats the choices of a run, though not their timing.
"""

from __future__ import annotations

import asyncio
import os
import random
import signal
import subprocess
import threading
import time
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import asyncpg
import pytest

if TYPE_CHECKING:
    from tests.database.embedded.conftest import Home

# For each of the two tests.
SECONDS = float(os.environ.get("SESSION_DB_ABUSE_SECONDS", "10")) / 2
CLIENTS = 5
# The server stops as soon as nobody is there, so that starts and stops are many.
IDLE_SECONDS = 0.0
# One word says what a line is; a number is told only after its commit was acknowledged.
VISIT = """
import asyncpg, random, time

chance, number = random.Random(NUMBER), NUMBER
end = time.monotonic() + chance.uniform(0.05, 1)

def tell(word, *details):
    print(word, *(str(detail).replace("\\n", " ") for detail in details), flush=True)

async def commit_rows():
    global number
    connection = await asyncpg.connect(**server.connect_arguments)
    tell("connected")
    while time.monotonic() < end:
        number += 1
        async with connection.transaction():
            await connection.execute("insert into kept values ($1)", number)
        tell("committed", number)
        await asyncio.sleep(chance.uniform(0, 0.02))
    await connection.close()

while time.monotonic() < end:
    try:
        server.acquire()
        asyncio.run(commit_rows())
    except EmbeddedServerError as error:
        tell("refused", error)
    except (OSError, asyncpg.PostgresError, asyncpg.InterfaceError, asyncpg.InternalClientError) as error:
        tell("error", type(error).__name__, error)
        time.sleep(0.05)
if chance.random() < 0.5:
    server.release()
tell("left")
"""
# How a server that was killed looks to who is connected, or is just connecting.
LOST = {
    "BrokenPipeError",
    "CannotConnectNowError",
    "ConnectionDoesNotExistError",
    "ConnectionRefusedError",
    "ConnectionResetError",
    "CrashShutdownError",
    "AdminShutdownError",
    "FileNotFoundError",
    "InterfaceError",
    "InternalClientError",
}


@dataclass
class Report:
    """What was done to the clients and the server, and the lines that the clients printed, by their first word."""

    kills: Counter[str] = field(default_factory=Counter)
    lines: dict[str, list[str]] = field(default_factory=dict)

    def add(self, output: str) -> None:
        # Of a client that was killed the last line may be half.
        for line in output.splitlines(keepends=True):
            if line.endswith("\n"):
                word, _, rest = line.strip().partition(" ")
                self.lines.setdefault(word, []).append(rest)

    def __str__(self) -> str:
        counts = {word: len(lines) for word, lines in self.lines.items()}
        return f"{counts}, killed {dict(self.kills)}, errors {dict(Counter(line.split()[0] for line in self.lines.get('error', [])))}"


class Abuse:
    """Clients in as many threads, and the thread that calls kills servers."""

    def __init__(self, home: Home) -> None:
        self.home = home
        self.report = Report()
        self.seed = int(os.environ.get("SESSION_DB_ABUSE_SEED", random.SystemRandom().randrange(1_000_000)))
        self.end = time.monotonic() + SECONDS

    def run(self, *, kill_servers: bool) -> None:
        threads = [threading.Thread(target=self._clients, args=(slot,)) for slot in range(CLIENTS)]
        for thread in threads:
            thread.start()
        chance = random.Random(self.seed)  # noqa: S311 - chance, no secret.
        while kill_servers and time.monotonic() < self.end:
            time.sleep(chance.expovariate(1))
            self._kill_server(chance.choice(["postmaster", "supervisor", "session"]))
        for thread in threads:
            thread.join()

    def _clients(self, slot: int) -> None:
        chance = random.Random(self.seed + slot + 1)  # noqa: S311 - chance, no secret.
        for turn in range(100_000):
            if time.monotonic() > self.end:
                break
            first = (slot * 100_000 + turn) * 10_000
            client = self.home.client(VISIT.replace("NUMBER", str(first)), idle_seconds=IDLE_SECONDS)
            self.report.add(self._let_live(client.process, chance))
            time.sleep(chance.uniform(0, 0.5))

    def _let_live(self, process: subprocess.Popen[str], chance: random.Random) -> str:
        if chance.random() < 0.4:
            with suppress(subprocess.TimeoutExpired):
                return process.communicate(timeout=chance.uniform(0, 2))[0]
            self.report.kills["client"] += 1
            process.kill()
        return process.communicate(timeout=60)[0]

    def _kill_server(self, which: str) -> None:
        # There may be none just now.
        with suppress(FileNotFoundError, IndexError, ValueError):
            pids = {
                "postmaster": lambda: [self.home.postmaster],
                "supervisor": lambda: [self.home.supervisor],
                "session": self.home.sessions,
            }
            if self.home.signal(pids[which]()[0], signal.SIGKILL):
                self.report.kills[which] += 1


async def fetch_numbers(home: Home) -> set[int]:
    server = home.server(idle_seconds=IDLE_SECONDS)
    server.acquire()
    connection = await asyncpg.connect(**server.connect_arguments)
    numbers = {row["number"] for row in await connection.fetch("select number from kept")}
    await connection.close()
    server.release()
    return numbers


@pytest.fixture
def abuse(home: Home) -> Abuse:
    server = home.server(idle_seconds=IDLE_SECONDS)
    server.acquire()
    server.run_program("psql", ["-qc", "create table kept (number bigint primary key)"], check=True)
    server.release()
    home.wait_until_gone()
    return Abuse(home)


def check(abuse: Abuse) -> None:
    report = abuse.report
    print(f"seed {abuse.seed}, {SECONDS:g} s, {abuse.home.starts()} starts: {report}")  # noqa: T201 - pytest shows it on failure, and with -rP.
    assert report.lines.get("refused", []) == []
    assert report.lines.keys() <= {"connected", "committed", "error", "left"}
    abuse.home.wait_until_gone()
    acknowledged = {int(number) for number in report.lines["committed"]}
    assert acknowledged - asyncio.run(fetch_numbers(abuse.home)) == set()
    abuse.home.wait_until_gone()


@pytest.mark.timeout(SECONDS * 2 + 120)
class TestAbuse:
    def test_killed_clients_cost_the_others_nothing(self, abuse: Abuse) -> None:
        abuse.run(kill_servers=False)
        check(abuse)
        assert abuse.report.lines.get("error", []) == []

    def test_killed_servers_cost_the_connected_no_more_than_their_connection(self, abuse: Abuse) -> None:
        abuse.run(kill_servers=True)
        check(abuse)
        assert {line.split()[0] for line in abuse.report.lines.get("error", [])} <= LOST
