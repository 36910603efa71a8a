"""``session-db serve`` in processes of its own, which are ended, killed and started anew at the same port."""

import asyncio
import os
import random
import signal
import socket
import subprocess
import sys
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import httpx

COMMAND = Path(sys.executable).with_name("session-db")

WORKER = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw"))
PORTS = 2000

_SEED = int(os.environ.get("SESSION_DB_TEST_SEED", random.SystemRandom().randrange(1_000_000)))


def seeded_chance() -> random.Random:
    """Return a source of chance; ``SESSION_DB_TEST_SEED`` repeats what a failed test printed, as far as clocks allow."""
    print(f"SESSION_DB_TEST_SEED={_SEED}")  # noqa: T201  pytest shows it where a test fails.
    return random.Random(_SEED)  # noqa: S311  chance, no secret.


class Service:
    """The service at a port that stays the same, whether it runs or not."""

    def __init__(self, directory: Path, environment: Mapping[str, str], *arguments: str) -> None:
        self.url = f"http://127.0.0.1:{(port := _free_port())}"
        self._directory = directory
        self._environment = dict(environment)
        self._command = [str(COMMAND), "serve", "--port", str(port), "--json", *arguments]
        self._log = directory / "service.log"
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def token(self) -> str:
        return Path(self._environment["SESSION_DB_HOME"], "token").read_text().strip()

    @property
    def log(self) -> str:
        return self._log.read_text()

    def client(self) -> httpx.AsyncClient:
        return httpx.AsyncClient(base_url=self.url, headers={"Authorization": f"Bearer {self.token}"}, timeout=60)

    async def start(self) -> None:
        """Start it, and wait until it answers."""
        with self._log.open("a") as log:
            # A group of its own: so its workers can be found when it is gone.
            self._process = subprocess.Popen(
                self._command, env=self._environment, cwd=self._directory, stdout=subprocess.DEVNULL, stderr=log, start_new_session=True
            )
        async with asyncio.timeout(60), httpx.AsyncClient(timeout=60) as client:
            while not await self._answers(client):
                assert self._process.poll() is None, self.log
                await asyncio.sleep(0.05)

    async def _answers(self, client: httpx.AsyncClient) -> bool:
        try:
            return (await client.get(f"{self.url}/health")).status_code == 200
        except httpx.TransportError:
            return False

    async def end(self, number: signal.Signals = signal.SIGTERM) -> int:
        """Send it a signal, wait for its end, and return the exit status."""
        assert self._process is not None
        self._process.send_signal(number)
        return await asyncio.to_thread(self._process.wait, 60)

    async def all_answer(self, starts: int) -> None:
        """Wait until so many workers, those that have ended among them, began to answer."""
        while self.log.count("Application startup complete") < starts:
            await asyncio.sleep(0.05)

    def workers(self) -> list[int]:
        """Return the processes that answer, where it was started with several."""
        assert self._process is not None
        children = Path(f"/proc/{self._process.pid}/task/{self._process.pid}/children").read_text().split()
        return [int(pid) for pid in children if _is_worker(pid)]

    def close(self) -> None:
        """Let nothing of it outlive the test."""
        if self._process is not None:
            with suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()


def _is_worker(pid: str) -> bool:
    # Beside the workers there is a process that tracks what they share; one that has ended has no command line.
    with suppress(OSError):
        return b"spawn_main" in Path(f"/proc/{pid}/cmdline").read_bytes()
    return False


def _free_port() -> int:
    """Return a port that is free; while the service is away, no outgoing connection is given it, and no other worker's service takes it."""
    first = 20_000 + WORKER % 6 * PORTS
    while True:
        port = random.SystemRandom().randrange(first, first + PORTS)
        with suppress(OSError), socket.create_server(("127.0.0.1", port)):
            return port


@asynccontextmanager
async def serving(directory: Path, environment: Mapping[str, str], *arguments: str) -> AsyncIterator[Service]:
    """Run the service inside the block; whatever happens there, no process of it is left."""
    service = Service(directory, environment, *arguments)
    try:
        await service.start()
        yield service
    finally:
        service.close()
