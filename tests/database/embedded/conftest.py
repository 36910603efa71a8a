"""A home that is cleaned up, and clients in processes of their own."""

import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest

import session_db
from session_db.database.embedded import EmbeddedServer
from session_db.database.embedded.launch import SUPERVISOR
from tests.servers import temporary_directory

SOURCE = Path(session_db.__file__).parent.parent
# Every commit still reaches the operating system: what a killed server had committed is there.
FAST = {"fsync": "off", "full_page_writes": "off"}

# Without the rest of session_db.database, whose libraries take longer to import than a server to start.
CLIENT = f"""
import asyncio, os, sys, types
from pathlib import Path
sys.path.insert(0, {str(SOURCE)!r})
package = types.ModuleType("session_db.database")
package.__path__ = [{str(SOURCE / "session_db" / "database")!r}]
sys.modules[package.__name__] = package
from session_db.database.embedded import EmbeddedServer
from session_db.errors import EmbeddedServerError

async def fetch(statement):
    import asyncpg
    connection = await asyncpg.connect(**server.connect_arguments)
    try:
        return await connection.fetchval(statement)
    finally:
        await connection.close()

def query(statement):
    return asyncio.run(fetch(statement))

server = EmbeddedServer(Path(sys.argv[1]), idle_seconds=float(sys.argv[2]), settings={FAST!r})
"""
ACQUIRE_AND_WAIT = """
server.acquire()
print(query("select 42"), flush=True)
sys.stdin.read()
"""


class Client:
    """Another Python process, which has ``server`` and ``query``."""

    def __init__(self, command: list[str], **options: Any) -> None:
        self.process: subprocess.Popen[str] = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, **options
        )

    def line(self) -> str:
        """Return what it prints next; a traceback fails the test."""
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        if not line or line.startswith("Traceback"):
            pytest.fail(f"the client ended:\n{line}{self.process.stdout.read()}")
        return line.strip()

    def finish(self) -> str:
        """Let it go on from its wait for us, and return the rest."""
        return self.process.communicate(timeout=60)[0]

    def kill(self) -> None:
        self.process.kill()
        self.process.communicate()


class Home:
    """A home directory, all processes that belong to it, and clients of it."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.clients: list[Client] = []

    def server(self, *, idle_seconds: float = 60) -> EmbeddedServer:
        return EmbeddedServer(self.path, idle_seconds=idle_seconds, settings=FAST)

    def client(
        self,
        code: str = ACQUIRE_AND_WAIT,
        *,
        idle_seconds: float = 60,
        python: str = sys.executable,
        wrapper: tuple[str, ...] = (),
        **options: Any,
    ) -> Client:
        client = Client([*wrapper, python, "-c", CLIENT + code, str(self.path), str(idle_seconds)], **options)
        self.clients.append(client)
        return client

    def processes(self) -> dict[int, str]:
        """Return the command lines of the supervisor and all server processes."""
        found = {}
        for process in Path("/proc").glob("[0-9]*"):
            with suppress(OSError):
                command = (process / "cmdline").read_bytes().decode(errors="replace")
                if self._is_ours(command):
                    found[int(process.name)] = command.replace("\0", " ")
        return found

    def _is_ours(self, command: str) -> bool:
        # Whole words and nothing less: what is found here may be killed.
        program, *arguments = command.split("\0")
        if arguments[2:4] == [str(SUPERVISOR), str(self.path)] or program.startswith(f"{self.path}/postgres/"):
            return True
        # A session's title has only the number of its home in it: without a home, none is ours.
        with suppress(FileNotFoundError):
            state = self.path.stat()
            return program.startswith(f"postgres: session-db-{state.st_dev:x}-{state.st_ino:x}: ")
        return False

    def sessions(self) -> list[int]:
        """Return the processes of the server that serve a client."""
        return [pid for pid, command in self.processes().items() if " [local] " in command]

    @property
    def supervisor(self) -> int:
        (pid,) = [pid for pid, command in self.processes().items() if "supervisor.py" in command]
        return pid

    @property
    def postmaster(self) -> int:
        # A session has the same command line until it has given itself a title.
        return int((self.path / "data" / "postmaster.pid").read_text().split()[0])

    def signal(self, pid: int, number: signal.Signals) -> bool:
        """Signal a process of this home; False where it has ended, whoever may have its number now."""
        with self._held(pid) as process:
            if process is not None:
                with suppress(ProcessLookupError):
                    signal.pidfd_send_signal(process, number)
            return process is not None

    def kill(self, pid: int) -> bool:
        """Kill a process of this home and wait until it is dead; False where it has ended before.

        It has no command line from early on, but its socket and its locks live as long as it does.
        """
        with self._held(pid) as process:
            if process is not None:
                with suppress(ProcessLookupError):
                    signal.pidfd_send_signal(process, signal.SIGKILL)
                assert select.select([process], [], [], 30)[0], f"process {pid} survives SIGKILL"
            return process is not None

    @contextmanager
    def _held(self, pid: int) -> Iterator[int | None]:
        """Yield a descriptor of a process of this home, which stays that process's; None where it has ended."""
        try:
            process = os.pidfd_open(pid)
        except ProcessLookupError:
            yield None
            return
        try:
            # Looked for with the descriptor in hand: if the number goes to somebody else, the descriptor does not.
            yield process if pid in self.processes() else None
        finally:
            os.close(process)

    def starts(self) -> int:
        return (self.path / "server.log").read_text().count("LOG:  starting PostgreSQL")

    def wait_until(self, condition: Callable[[], bool], seconds: float = 10) -> None:
        deadline = time.monotonic() + seconds
        while not condition():
            assert time.monotonic() < deadline, f"it did not happen in time: {self.processes()}"
            time.sleep(0.02)

    def wait_until_gone(self) -> None:
        self.wait_until(lambda: not self.processes())

    def end(self) -> None:
        """End everything, the server in good order first."""
        for client in self.clients:
            client.kill()
        for pid, command in self.processes().items():
            if "supervisor.py" in command:
                self.signal(pid, signal.SIGTERM)
        deadline = time.monotonic() + 5
        while remaining := self.processes():
            for pid in remaining if time.monotonic() > deadline else ():
                self.signal(pid, signal.SIGKILL)
            time.sleep(0.02)


@pytest.fixture(scope="session")
def made_home() -> Iterator[Path]:
    """A home with a database and without a server, to copy: that is faster than to make one."""
    with _temporary_home() as home:
        server = home.server(idle_seconds=0)
        server.acquire()
        server.release()
        home.wait_until_gone()
        yield home.path


@pytest.fixture
def home(made_home: Path) -> Iterator[Home]:
    """A home that has a database; root's server can reach it, where pytest's own temporary directories are private to root."""
    with _copied_home(made_home) as home:
        yield home


@pytest.fixture(scope="session")
def running_home(made_home: Path) -> Iterator[Home]:
    """A home whose server runs all the time, for tests that only look and touch nothing."""
    with _copied_home(made_home) as home:
        server = home.server()
        server.acquire()
        yield home
        server.release()


@pytest.fixture
def running_server(running_home: Home) -> Iterator[EmbeddedServer]:
    server = running_home.server()
    server.acquire()
    yield server
    server.release()


@pytest.fixture
def empty_home() -> Iterator[Home]:
    """A home that is not there yet."""
    with _temporary_home() as home:
        yield home


@pytest.fixture
def server(home: Home) -> Iterator[EmbeddedServer]:
    """A handle on a server that nobody has started."""
    server = home.server()
    yield server
    server.release()


@contextmanager
def _temporary_home() -> Iterator[Home]:
    with temporary_directory(of_servers=False) as parent:
        home = Home(parent / "home")
        try:
            yield home
        finally:
            home.end()


@contextmanager
def _copied_home(made_home: Path) -> Iterator[Home]:
    with _temporary_home() as home:
        home.path.mkdir()
        home.path.chmod(made_home.stat().st_mode)
        subprocess.run(["cp", "-a", made_home / "data", home.path], check=True)
        (home.path / "postgres").symlink_to(made_home / "postgres")
        yield home
