"""Programs in processes of their own, which use a test's database and can be killed at any moment."""

import asyncio
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from tests.databases import Database

PREAMBLE = """
import asyncio, sys
from itertools import count
from uuid import UUID
from session_db import crud
from session_db.database import close_db, get_async_session, init_db
from session_db.models import AgentCreate, AgentLogCreate

def event(session, id):
    return AgentLogCreate(session_id=session, id=id, event_category="hook", event_type="PreToolUse")

def tell_until(moment):
    # What tells of progress, and stands still at a moment until the process is killed.
    def tell(doing, done):
        print(doing, done, flush=True)
        if doing == moment:
            sys.stdin.readline()
    return tell

print("ready", flush=True)
sys.stdin.readline()
"""


class Worker:
    """A Python program that has imported everything and waits to be let go; what it acknowledges stays in a file when it is killed."""

    def __init__(self, database: Database, code: str, arguments: Sequence[object], acknowledgements: Path) -> None:
        self._acknowledgements = acknowledgements
        self._output = acknowledgements.open("w")
        self.process = subprocess.Popen(
            [sys.executable, "-W", "error", "-c", PREAMBLE + code, *map(str, arguments)],
            env=database.environment,
            stdin=subprocess.PIPE,
            stdout=self._output,
            stderr=subprocess.PIPE,
            text=True,
        )

    @property
    def lines(self) -> list[str]:
        """What it acknowledged in whole lines; a killed one may have torn the last."""
        return [line.strip() for line in self._acknowledgements.read_text().splitlines(keepends=True)[1:] if line.endswith("\n")]

    async def ready(self) -> None:
        while not self._acknowledgements.read_text().startswith("ready"):
            assert self.process.poll() is None, self.process.communicate()[1]
            await asyncio.sleep(0.01)

    def let_go(self) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write("go\n")
        self.process.stdin.flush()

    async def acknowledged(self, number: int) -> None:
        """Wait until it has acknowledged that many things."""
        while len(self.lines) < number:
            assert self.process.poll() is None, self.process.communicate()[1]
            await asyncio.sleep(0.002)

    def kill(self) -> None:
        self.process.send_signal(signal.SIGKILL)

    async def end(self) -> tuple[int, str]:
        """Wait for its end, and return its exit status and what it complained about."""
        _, errors = await asyncio.to_thread(self.process.communicate)
        return self.process.returncode, errors

    def close(self) -> None:
        if self.process.poll() is None:
            self.kill()
        if self.process.stderr is not None and not self.process.stderr.closed:
            self.process.communicate()
        self._output.close()


@contextmanager
def workers(database: Database, code: str, arguments: Sequence[Sequence[object]]) -> Iterator[list[Worker]]:
    """Start a worker for each list of arguments; all are gone after the block."""
    with tempfile.TemporaryDirectory(prefix="session-db-workers-") as directory:
        started: list[Worker] = []
        try:
            for number, values in enumerate(arguments):
                started.append(Worker(database, code, values, Path(directory) / str(number)))
            yield started
        finally:
            for worker in started:
                worker.close()


async def let_all_go(started: Sequence[Worker]) -> None:
    """Let all workers begin in the same moment."""
    await asyncio.gather(*(worker.ready() for worker in started))
    for worker in started:
        worker.let_go()
