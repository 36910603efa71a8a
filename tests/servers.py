"""The servers that the tests run on: the project's own, and Debian's packages, each started for the run."""

import os
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from session_db.database.embedded import EmbeddedServer
from tests.databases import PostgreSQL

# Nothing here outlives a crash of the server.
FAST = {"fsync": "off", "synchronous_commit": "off", "full_page_writes": "off", "max_connections": "200"}
DEBIAN = Path("/usr/lib/postgresql")
IS_ROOT = hasattr(os, "geteuid") and os.geteuid() == 0
NOBODY = 65534
UNPRIVILEGED: dict[str, Any] = {"user": NOBODY, "group": NOBODY, "extra_groups": []} if IS_ROOT else {}
"""Neither PostgreSQL nor PgBouncer runs as root."""

MEMORY = Path("/dev/shm")  # noqa: S108  every directory in it gets a name of its own.
"""Where Linux keeps files in memory. A database is some 400 of them: to make one takes a tenth of what it takes on a disk."""

ENOUGH_MEMORY = 4 * 2**30

POOLED_CONNECTIONS = 20
"""Fewer than the clients that tests start at once: they share connections, as in production."""


@contextmanager
def server_of(name: str) -> Iterator[PostgreSQL]:
    """Run a server: ``embedded``, a version of Debian's packages (``15``), ``pgbouncer`` before that one, or a URL of a running one."""
    if "://" in name:
        yield PostgreSQL(name)
    elif name == "embedded":
        with _embedded() as url:
            yield PostgreSQL(url)
    elif name == "pgbouncer":
        with debian_postgresql("15") as direct, _pgbouncer(direct) as pooled:
            yield PostgreSQL(direct, pooled)
    else:
        with debian_postgresql(name) as url:
            yield PostgreSQL(url)


@contextmanager
def _embedded() -> Iterator[str]:
    with temporary_directory(of_servers=False) as directory:
        server = EmbeddedServer(directory / "h", idle_seconds=0.5, settings=FAST)
        server.acquire()
        try:
            arguments = server.connect_arguments
            yield f"postgresql://{arguments['user']}@/{arguments['database']}?host={server.status().socket.parent}"
        finally:
            server.release()
            wait_until(lambda: not server.status().running)


@contextmanager
def debian_postgresql(version: str, *, port: int = 5432, **settings: str) -> Iterator[str]:
    """Run a PostgreSQL of Debian's packages, at a socket that only its owner and root can reach."""
    programs = DEBIAN / version / "bin"
    if not programs.is_dir():
        raise RuntimeError(f"PostgreSQL {version} is not installed; scripts/install-servers does it.")
    with temporary_directory(of_servers=True) as directory:
        data = directory / "data"
        options = ["-D", str(data), "-U", "session_db", "-A", "trust", "--encoding=UTF8", "--locale=C.UTF-8", "--no-sync"]
        subprocess.run([programs / "initdb", *options], check=True, capture_output=True, **UNPRIVILEGED)
        given = FAST | {"unix_socket_directories": str(directory), "listen_addresses": "", "port": str(port)} | settings
        command = [str(programs / "postgres"), "-D", str(data), *(f"--{name}={value}" for name, value in given.items())]
        with _running(command, directory / "log", lambda: _is_ready(data), stop=signal.SIGINT):
            yield f"postgresql://session_db@/postgres?host={directory}&port={port}"


def _is_ready(data: Path) -> bool:
    """Say whether the server takes connections: it writes so into the last line of its file."""
    file = data / "postmaster.pid"
    return file.exists() and file.read_text().split()[-1] == "ready"


@contextmanager
def _pgbouncer(direct: str) -> Iterator[str]:
    """Run a PgBouncer in transaction mode before a server, with fewer connections than it has clients."""
    program = shutil.which("pgbouncer", path=f"{os.environ['PATH']}:/usr/sbin")
    if program is None:
        raise RuntimeError("PgBouncer is not installed; scripts/install-servers does it.")
    with temporary_directory(of_servers=True) as directory:
        configuration = directory / "pgbouncer.ini"
        configuration.write_text(
            f"""
[databases]
* = host={direct.partition("host=")[2].partition("&")[0]} user=session_db

[pgbouncer]
pool_mode = transaction
auth_type = any
unix_socket_dir = {directory}
listen_port = 6432
max_client_conn = 500
default_pool_size = {POOLED_CONNECTIONS}
server_round_robin = 1
logfile = {directory}/log
"""
        )
        command = [program, "--quiet", str(configuration)]
        with _running(command, directory / "output", (directory / ".s.PGSQL.6432").exists, stop=signal.SIGTERM):
            yield f"postgresql://session_db@/postgres?host={directory}&port=6432"


@contextmanager
def _running(command: list[str], log: Path, is_ready: Callable[[], bool], *, stop: signal.Signals) -> Iterator[None]:
    with log.open("wb") as output, subprocess.Popen(command, stdout=output, stderr=output, **UNPRIVILEGED) as process:
        try:
            wait_until(lambda: is_ready() or process.poll() is not None)
            if process.poll() is not None:
                raise RuntimeError(f"{command[0]} ended: {log.read_text()}")
            yield
        finally:
            # PostgreSQL ends its connections and stops; PgBouncer would wait for its clients at a milder signal.
            process.send_signal(stop)


@contextmanager
def temporary_directory(*, of_servers: bool) -> Iterator[Path]:
    """Make a directory with a short path, because it becomes part of a socket's; in memory, where there is enough."""
    fits = MEMORY.is_dir() and os.access(MEMORY, os.W_OK) and shutil.disk_usage(MEMORY).free > ENOUGH_MEMORY
    path = Path(tempfile.mkdtemp(prefix="sdb-", dir=MEMORY if fits else "/tmp"))  # noqa: S108  the path must be short
    if IS_ROOT and of_servers:
        os.chown(path, NOBODY, NOBODY)
    elif IS_ROOT:
        # Open to the unprivileged user that runs the embedded server for root.
        path.chmod(0o711)
    try:
        yield path
    finally:
        shutil.rmtree(path)


def wait_until(condition: Callable[[], bool], seconds: float = 10) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            raise TimeoutError(f"it did not happen within {seconds:g} s")
        time.sleep(0.02)
