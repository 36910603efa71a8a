"""The embedded PostgreSQL as a program sees it: take a share, connect, give the share back."""

import os
import subprocess
import threading
import time
import weakref
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from functools import cached_property
from pathlib import Path
from typing import Any

from session_db.database.embedded import cluster, ownership
from session_db.database.embedded.installation import expected_installation, wheel_postgres_version
from session_db.database.embedded.launch import START_SECONDS, launch
from session_db.database.embedded.status import ServerStatus, size_of
from session_db.database.embedded.supervisor import (
    POLL_SECONDS,
    SOCKET_NAME,
    is_ready,
    open_lock,
    opened_directory,
    postmaster_state,
    socket_host,
    try_lock,
    unlock_and_close,
)
from session_db.database.embedded.upgrade import is_upgrading
from session_db.errors import EmbeddedServerError

# A starter whose server was killed while it started tries again.
START_ATTEMPTS = 5
WAIT_SECONDS = START_SECONDS + 60


class EmbeddedServer:
    """This process's handle on the server of one home directory; threads may share it, and a forked child may go on using it.

    ``settings`` are PostgreSQL's own, such as ``{"fsync": "off"}`` for tests, and count in the process that starts the server only.
    """

    def __init__(self, home: Path, *, idle_seconds: float = 5.0, settings: Mapping[str, str] | None = None) -> None:
        self.home = Path(home).expanduser().resolve()
        self._idle_seconds = idle_seconds
        self._settings = dict(settings or {})
        self._lock = threading.Lock()
        self._share: int | None = None
        # Kept, under the same number, as long as this object lives: pools remember the host name made of it.
        self._data: int | None = None
        self._data_state: os.stat_result | None = None
        self._data_closer: weakref.finalize[..., EmbeddedServer] | None = None
        _instances.add(self)

    def acquire(self) -> None:
        """Take this process's share and start the server where it is not running; call it before every new connection.

        Costs about 0.05 ms when the server runs; blocks up to a second while it starts, longer after a crash. A server that is killed in
        the meantime, or recovers from the kill of a session, refuses the connection: acquire and connect once more.
        """
        with self._lock:
            had_share = self._share is not None
            try:
                self._take_share()
                self._ensure_ready()
            except BaseException as error:
                if not had_share:
                    # Else connections of this process may still be in use.
                    self._give_share_back()
                if isinstance(error, OSError):
                    raise EmbeddedServerError(
                        f"the embedded PostgreSQL of {self.home} cannot be used: {error}. Set SESSION_DB_HOME to another directory, or "
                        "SESSION_DB_URL to another PostgreSQL.",
                        home=str(self.home),
                    ) from error
                raise

    def release(self) -> None:
        """Give the share back; the server stops some seconds after the last one of all processes, and not while somebody is connected."""
        with self._lock:
            self._give_share_back()

    @property
    def connect_arguments(self) -> dict[str, Any]:
        """Keyword arguments for ``asyncpg.connect``; the same for the life of this object, from the first :meth:`acquire` on."""
        return {
            "host": self._socket_host(),
            "port": 5432,
            "user": cluster.ROLE,
            "database": cluster.DATABASE,
            # The environment's PGSSLMODE is meant for other servers.
            "ssl": False,
        }

    @cached_property
    def version(self) -> str:
        """PostgreSQL's version, such as ``18.4``."""
        return wheel_postgres_version()

    @property
    def data_directory(self) -> Path:
        return self.home / "data"

    def status(self) -> ServerStatus:
        """Look at the server without starting it or making anything; reads the size of every file of the database."""
        pid = None
        with suppress(FileNotFoundError), opened_directory(self.data_directory) as data:
            state = postmaster_state(data)
            if state is not None and is_ready(data, self._socket_directory):
                pid = state[0]
        return ServerStatus(
            running=pid is not None,
            pid=pid,
            version=self.version,
            data_directory=self.data_directory,
            socket=self.data_directory / self._socket_directory / SOCKET_NAME,
            log=self.home / "server.log",
            size_bytes=size_of(self.data_directory),
        )

    def program(self, name: str) -> Path:
        """Return the path of one of our copies of ``psql``, ``pg_dump``, ``pg_restore`` or ``pg_ctl``; there after the first start."""
        return expected_installation(ownership.programs_parent(self.home)).programs / name

    def run_program(self, name: str, arguments: Sequence[str] = (), **options: Any) -> subprocess.CompletedProcess[Any]:
        """Run one of the client programs on our database; options are those of ``subprocess.run``."""
        command = [str(self.program(name)), *arguments]
        return subprocess.run(command, **self.program_options, **options)  # noqa: S603, PLW1510 - our own; the caller says what a failure means.

    @property
    def program_options(self) -> dict[str, Any]:
        """What a client program must be started with to reach our database, as options of ``subprocess``."""
        host = self._socket_host()
        environment = {key: value for key, value in os.environ.items() if not key.startswith("PG")}
        connection = {"PGHOST": host, "PGPORT": "5432", "PGUSER": cluster.ROLE, "PGDATABASE": cluster.DATABASE}
        return {"env": environment | connection, "pass_fds": () if self._data is None else (self._data,)}

    def _socket_host(self) -> str:
        if self._data is None:
            raise EmbeddedServerError("the embedded PostgreSQL was not started by this process yet: call acquire() first.")
        return socket_host(self._data, self._socket_directory)

    @cached_property
    def _socket_directory(self) -> str:
        return ownership.socket_directory(self.home)

    # The rest runs with the thread lock held.

    def _take_share(self) -> None:
        if self._share is not None:
            if os.fstat(self._share).st_nlink:
                return
            # The home directory was removed under us.
            self._give_share_back()
        ownership.prepare_home(self.home)
        share = open_lock(self.home / "clients.lock")
        try:
            _wait_until(lambda: try_lock(share, shared=True), f"the server of {self.home} to stop")
        except BaseException:
            os.close(share)
            raise
        # Tells the supervisor that somebody came, even if gone before it looks.
        os.utime(share)
        self._share = share

    def _give_share_back(self) -> None:
        # Forgotten first: a child that another thread forks just now would close a number that is no longer ours.
        share, self._share = self._share, None
        if share is not None:
            unlock_and_close(share)

    def _ensure_ready(self) -> None:
        if self._is_ready():
            return
        start_lock = open_lock(self.home / "start.lock")
        try:
            # Whoever waits looks for itself, so that all go on at once when the server is there.
            _wait_until(
                lambda: self._is_ready() or self._start(start_lock),
                f"another process to start the server of {self.home}",
                takes_longer=lambda: is_upgrading(self.home),
            )
        finally:
            unlock_and_close(start_lock)

    def _start(self, start_lock: int) -> bool:
        """Start the server unless another process is about to, and tell whether it is ready."""
        reason = ""
        for _ in range(START_ATTEMPTS):
            # Each time: a supervisor gives the lock back, ours as well, once its server is ready, which may be dead by now.
            if not try_lock(start_lock):
                return False
            # Another one may have started it before we got the lock.
            if self._is_ready():
                return True
            reason = launch(self.home, start_lock, idle_seconds=self._idle_seconds, settings=self._settings)
        if self._is_ready():
            return True
        killed = f"the embedded PostgreSQL of {self.home} was killed while it started, {START_ATTEMPTS} times; see server.log there."
        raise EmbeddedServerError(reason or killed, home=str(self.home))

    def _is_ready(self) -> bool:
        return self._open_data_directory() and self._data is not None and is_ready(self._data, self._socket_directory)

    def _open_data_directory(self) -> bool:
        """Have the data directory of now open, under the number that it had first; False while there is none."""
        try:
            if _is_open(self._data, self.data_directory.stat()):
                return True
            with opened_directory(self.data_directory) as fresh:
                self._keep_data_directory(fresh)
        except FileNotFoundError:
            return False
        return True

    def _keep_data_directory(self, descriptor: int) -> None:
        if self._data is not None and _is_open(self._data, self._data_state):
            os.dup2(descriptor, self._data, inheritable=False)
        else:
            if self._data_closer is not None:
                self._data_closer.detach()
            self._data = os.dup(descriptor)
            self._data_closer = weakref.finalize(self, os.close, self._data)
            self._data_closer.atexit = False
        self._data_state = os.fstat(self._data)

    def _forget_parent(self) -> None:
        """Start afresh in a forked child: the share is the parent's, and another of its threads may have held the lock."""
        self._lock = threading.Lock()
        if self._share is not None:
            # Only closed: to unlock it would take the parent's share away.
            os.close(self._share)
            self._share = None


_instances: weakref.WeakSet[EmbeddedServer] = weakref.WeakSet()


def _after_fork_in_child() -> None:
    for instance in list(_instances):
        instance._forget_parent()  # noqa: SLF001 - the same module; a fork is no caller's business.


os.register_at_fork(after_in_child=_after_fork_in_child)


def _is_open(descriptor: int | None, state: os.stat_result | None) -> bool:
    """Tell whether a descriptor still means that file: who becomes a daemon closes all, and opens others under the same numbers."""
    if descriptor is None or state is None:
        return False
    try:
        return os.path.samestat(os.fstat(descriptor), state)
    except OSError:
        return False


def _wait_until(condition: Callable[[], bool], what: str, *, takes_longer: Callable[[], bool] = lambda: False) -> None:
    deadline = time.monotonic() + WAIT_SECONDS
    while not condition():
        if takes_longer():
            deadline = time.monotonic() + WAIT_SECONDS
        if time.monotonic() > deadline:
            raise EmbeddedServerError(f"waited {WAIT_SECONDS:g} s for {what}, in vain: see server.log there.")
        time.sleep(POLL_SECONDS)
