"""The parent of the embedded PostgreSQL: creates the cluster, starts the server and stops it when nobody is left.

A script of its own, run as ``python -I -S supervisor.py`` with a :class:`Plan` as JSON on standard input; it imports the standard
library only, because it outlives the process that started it and the environment that process was installed in.
It answers ``ok``, or ``ended`` or ``error`` with a message, on standard output.

Three locks (``flock``, which the kernel gives back when a process dies) hold everything together:

* ``clients.lock``: shared by every client while it lives. Exclusive here means that nobody is left; it is kept until the server is down,
  so that a newcomer waits instead of meeting a dying server.
* ``start.lock``: exclusive while somebody starts the server; inherited from the starter, so that it outlives a killed starter.
* ``server.lock``: inherited by every PostgreSQL process. While it is free no process of this data directory lives, whatever
  ``postmaster.pid`` says.
"""

import contextlib
import errno
import fcntl
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NoReturn, TypedDict

PR_SET_PDEATHSIG = 1
SOCKET_NAME = ".s.PGSQL.5432"
# Of postmaster.pid, counted from 0; the server writes it last.
STATUS_LINE = 7
POLL_SECONDS = 0.003
# Sessions whose postmaster was killed end by themselves at once, unless they are busy: then they are stopped, then killed.
ORPHAN_STOP_SECONDS = 0.5
ORPHAN_KILL_SECONDS = 3.0
# How often an unused server looks whether somebody came back.
IDLE_POLL_SECONDS = 0.2


class Plan(TypedDict):
    """What the starter decided; file descriptors are inherited ones."""

    home: str
    programs: str
    environment: dict[str, str]
    start_lock: int
    installation_lock: int
    idle_seconds: float
    start_seconds: float
    server_uid: int | None
    initdb_uid: int | None
    initdb: list[str]
    create_database: str
    access_files: dict[str, str]
    settings: list[str]
    cluster_name: str
    socket_directory: str


class StartError(Exception):
    """The server cannot be started; the message is for the user."""


class EndedError(StartError):
    """The server ended while it started; where somebody killed it, the next attempt may succeed."""


def data_directory_path(descriptor: int, path: str) -> str:
    """Return a name of the directory without length limit or awkward characters where the system has one."""
    return f"/proc/self/fd/{descriptor}" if sys.platform == "linux" else path


def postmaster_state(data: int) -> tuple[int, str] | None:
    """Return process id and status (starting, ready, stopping) that ``postmaster.pid`` of the directory tells, which may be long dead."""
    try:
        # As root we read in a directory of somebody without rights: follow no link and wait for no FIFO.
        descriptor = os.open("postmaster.pid", os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK, dir_fd=data)
    except OSError:
        return None
    with os.fdopen(descriptor, encoding="utf-8", errors="replace") as file:
        lines = file.read(10_000).splitlines()
    if not lines or not lines[0].isdecimal():
        return None
    return int(lines[0]), lines[STATUS_LINE].strip() if len(lines) > STATUS_LINE else "starting"


def socket_is_served(path: str) -> bool:
    """Tell whether a process has this socket open.

    A datagram socket cannot be connected to PostgreSQL's stream socket, but the kernel's refusal differs from the one for a dead
    socket. An honest connection would make the server fork for every question.
    """
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(path)
        except OSError as error:
            return error.errno == errno.EPROTOTYPE
    return False


def socket_host(data: int, socket_directory: str) -> str:
    """Return the directory of the socket as a client may name it; "." is the opened data directory."""
    return data_directory_path(data, "") if socket_directory == "." else socket_directory


def is_ready(data: int, socket_directory: str) -> bool:
    """Tell whether the server of the opened data directory accepts connections."""
    state = postmaster_state(data)
    return state is not None and state[1] == "ready" and socket_is_served(f"{socket_host(data, socket_directory)}/{SOCKET_NAME}")


@contextlib.contextmanager
def opened_directory(path: Path) -> Iterator[int]:
    """Yield a descriptor; as a name only where the system can, for which no right to read the directory is needed."""
    descriptor = os.open(path, os.O_DIRECTORY | getattr(os, "O_PATH", os.O_RDONLY))
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def try_lock(descriptor: int, *, shared: bool = False) -> bool:
    """Take the flock if it is free; never waits."""
    try:
        fcntl.flock(descriptor, (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def unlock_and_close(descriptor: int) -> None:
    """Give the lock back: closing alone would not while a forked child has the descriptor, too."""
    fcntl.flock(descriptor, fcntl.LOCK_UN)
    os.close(descriptor)


def open_lock(path: str | Path) -> int:
    """Open the lock file, which only the owner can read: another reader could hold the lock for ever."""
    return os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o600)


class Supervisor:
    """One start of the server, from the lock to the end."""

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        self.home = Path(plan["home"])
        self.programs = Path(plan["programs"])
        self.deadline = time.monotonic() + plan["start_seconds"]
        self.log = os.open(self.home / "server.log", os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW, 0o600)
        self.log_start = os.fstat(self.log).st_size
        self.server_lock = open_lock(self.home / "server.lock")
        self.die_with_parent = make_die_with_parent()

    def start(self) -> subprocess.Popen[bytes] | None:
        """Start the server and wait until it is ready; None where another supervisor's server became ready meanwhile."""
        if not self.wait_for_server_lock():
            return None
        if not (self.home / "data").exists():
            self.create_cluster()
        with opened_directory(self.home / "data") as data:
            # Nobody of this directory lives, we hold its lock; the process id in these may be anybody's by now, and would be believed.
            socket_lock = f"{socket_host(data, self.plan['socket_directory'])}/{SOCKET_NAME}.lock"
            for name in ("postmaster.pid", socket_lock):
                with contextlib.suppress(FileNotFoundError):
                    os.unlink(name, dir_fd=data)
            name = data_directory_path(data, str(self.home / "data"))
            postmaster = self.run_as(
                [str(self.programs / "postgres"), "-D", name, *self.plan["settings"]],
                uid=self.plan["server_uid"],
                pass_fds=(data, self.server_lock, self.plan["installation_lock"]),
                stdout=self.log,
                stderr=self.log,
            )
            self.wait_until_ready(postmaster, data)
        return postmaster

    def run_as(self, command: list[str], *, uid: int | None, **options: Any) -> subprocess.Popen[bytes]:
        """Start a program as that user (None: ourselves) that ends when this process does."""
        # Every server uid has the group of the same number. initdb's nobody gets that group as well, not its own: other processes
        # of nobody may then not look into it.
        group = self.plan["server_uid"]
        return subprocess.Popen(  # noqa: S603 - a program of our own installation.
            command,
            user=uid,
            group=group,
            extra_groups=None if group is None else [],
            preexec_fn=self.die_with_parent,  # noqa: PLW1509 - this process has one thread here.
            cwd="/",
            env=self.plan["environment"],
            stdin=options.pop("stdin", subprocess.DEVNULL),
            **options,
        )

    def wait_for_server_lock(self) -> bool:
        """Wait for the last process of an earlier server; False where a server became ready instead."""
        started = time.monotonic()
        while not try_lock(self.server_lock):
            if self.another_is_ready():
                return False
            waited = time.monotonic() - started
            if waited > ORPHAN_STOP_SECONDS:
                kill_orphans(self.plan["cluster_name"], signal.SIGQUIT if waited < ORPHAN_KILL_SECONDS else signal.SIGKILL)
                time.sleep(0.1)
            if time.monotonic() > self.deadline:
                raise StartError(f"a PostgreSQL of {self.home} neither becomes ready nor ends; see {self.home / 'server.log'}.")
            time.sleep(POLL_SECONDS)
        return True

    def another_is_ready(self) -> bool:
        with contextlib.suppress(FileNotFoundError), opened_directory(self.home / "data") as data:
            return is_ready(data, self.plan["socket_directory"])
        return False

    def wait_until_ready(self, postmaster: subprocess.Popen[bytes], data: int) -> None:
        while (state := postmaster_state(data)) is None or state != (postmaster.pid, "ready"):
            if postmaster.poll() is not None:
                raise EndedError(f"PostgreSQL of {self.home} ended while starting (status {postmaster.returncode}):\n{self.log_tail()}")
            if time.monotonic() > self.deadline:
                postmaster.send_signal(signal.SIGQUIT)
                raise StartError(f"PostgreSQL of {self.home} was not ready after {self.plan['start_seconds']:g} s:\n{self.log_tail()}")
            time.sleep(POLL_SECONDS)

    def log_tail(self) -> str:
        text = os.pread(self.log, 4_000, max(self.log_start, os.fstat(self.log).st_size - 4_000)).decode(errors="replace")
        return "\n".join(text.splitlines()[-12:])

    def create_cluster(self) -> None:
        """Make the data directory: all of it, or nothing that the next start would mistake for one."""
        for leftover in self.home.glob("creating-*"):
            shutil.rmtree(leftover)
        # The outer directory is ours alone: initdb needs an account with a name (nobody), whose other processes may not come in.
        private = Path(tempfile.mkdtemp(prefix="creating-", dir=self.home))
        try:
            fresh = private / "data"
            fresh.mkdir(mode=0o700)
            if self.plan["initdb_uid"] is not None:
                os.chown(fresh, self.plan["initdb_uid"], self.plan["server_uid"] or 0)
            self.fill_cluster(fresh)
            if (uid := self.plan["server_uid"]) is not None:
                for path in (fresh, *fresh.rglob("*")):
                    os.chown(path, uid, uid, follow_symlinks=False)
            fresh.rename(self.home / "data")
            sync(self.home)
        finally:
            shutil.rmtree(private, ignore_errors=True)

    def fill_cluster(self, fresh: Path) -> None:
        with opened_directory(fresh) as data:
            name = data_directory_path(data, str(fresh))
            self.run_initdb_step(["initdb", "-D", name, *self.plan["initdb"]], data)
            self.run_initdb_step(["postgres", "--single", "-D", name, "postgres"], data, self.plan["create_database"])
        for file_name, text in self.plan["access_files"].items():
            (fresh / file_name).write_text(text, encoding="utf-8")
            sync(fresh / file_name)

    def run_initdb_step(self, command: list[str], data: int, standard_input: str = "") -> None:
        process = self.run_as(
            [str(self.programs / command[0]), *command[1:]],
            uid=self.plan["initdb_uid"],
            pass_fds=(data, self.server_lock),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        )
        output = process.communicate(standard_input.encode())[0].decode(errors="replace")
        # A server in single-user mode ends with 0 after an error as well.
        if process.returncode != 0 or "ERROR:" in output or "FATAL:" in output:
            raise StartError(f"{command[0]} could not make a database in {self.home} (status {process.returncode}):\n{output[-2000:]}")

    def watch(self, postmaster: subprocess.Popen[bytes]) -> NoReturn:
        """Stop the server when it is unused, or when told to end; this process ends after the server, however that ended."""
        # Blocked in every thread and fetched by this one, which started the server and so must stay: a handler could run too late.
        ending = {signal.SIGTERM, signal.SIGINT}
        signal.pthread_sigmask(signal.SIG_BLOCK, ending)
        clients_lock = open_lock(self.home / "clients.lock")
        threading.Thread(target=lambda: os._exit(0 if postmaster.wait() == 0 else 1), daemon=True).start()
        threading.Thread(target=stop_when_unused, args=(postmaster, clients_lock, self.plan), daemon=True).start()
        while True:
            signal.sigwait(ending)
            postmaster.send_signal(signal.SIGINT)


def stop_when_unused(postmaster: subprocess.Popen[bytes], clients_lock: int, plan: Plan) -> None:
    """Wait until no client has been there for the idle time, and stop the server with the lock held."""
    touched, unused_since = -1, 0.0
    while True:
        fcntl.flock(clients_lock, fcntl.LOCK_EX)
        # A client touches the file when it comes, so that one who came and went between two looks counts as well. The time is
        # compared with itself only: the machine's clock may jump.
        if touched != (touched := os.fstat(clients_lock).st_mtime_ns):
            unused_since = time.monotonic()
        remaining = unused_since + plan["idle_seconds"] - time.monotonic()
        # Who is connected without a share, as psql may be, would lose the work all the same.
        if remaining <= 0 and not any(b" [local] " in title for title in titles(plan["cluster_name"]).values()):
            break
        fcntl.flock(clients_lock, fcntl.LOCK_UN)
        time.sleep(min(remaining, IDLE_POLL_SECONDS) if remaining > 0 else IDLE_POLL_SECONDS)
    for number, seconds in ((signal.SIGINT, 60), (signal.SIGQUIT, 30), (signal.SIGKILL, 0)):
        postmaster.send_signal(number)
        time.sleep(seconds)


def make_die_with_parent() -> Callable[[], None] | None:
    """Return what makes a child end with this process (a PostgreSQL server: in good order); only Linux has it."""
    if sys.platform != "linux":
        return None
    import ctypes  # noqa: PLC0415 - clients import this module for its small functions and do not need the 2 MB.

    prctl = ctypes.CDLL(None, use_errno=True).prctl
    parent = os.getpid()

    def die_with_parent() -> None:
        # Runs after the change of user, which would clear it.
        prctl(PR_SET_PDEATHSIG, signal.SIGINT, 0, 0, 0)
        if os.getppid() != parent:
            os._exit(1)

    return die_with_parent


def command_lines() -> Iterator[tuple[int, bytes]]:
    """Yield every process's id and command line; nothing where there is no /proc."""
    for directory in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            yield int(directory.name), (directory / "cmdline").read_bytes()


def titles(cluster_name: str) -> dict[int, bytes]:
    """Return the command lines that the postmaster's children gave themselves, by process id."""
    return {pid: command for pid, command in command_lines() if command.startswith(f"postgres: {cluster_name}: ".encode())}


def kill_orphans(cluster_name: str, number: signal.Signals) -> None:
    """End the processes that a killed postmaster left behind; nothing while a postmaster lives."""
    orphans = titles(cluster_name)
    # Looked for afterwards: one that is just starting lived before the first of its children did.
    if any(f"--cluster_name={cluster_name}".encode() in command.split(b"\0") for _, command in command_lines()):
        return
    for pid in orphans:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, number)


def sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    os.fsync(descriptor)
    os.close(descriptor)


def explain(error: Exception, plan: Plan) -> str:
    if plan["server_uid"] is None or not isinstance(error, OSError) or error.errno not in {errno.EPERM, errno.EINVAL}:
        return str(error)
    return (
        f"root cannot become uid {plan['server_uid']} here ({error}), as in a rootless container or under 'unshare -r', and PostgreSQL "
        "refuses to run as root. Run as an ordinary user, or set SESSION_DB_URL to another PostgreSQL."
    )


def answer(text: str) -> None:
    """Tell the starter, who may have been killed meanwhile, and let go of the pipe it waits at."""
    with contextlib.suppress(OSError):
        os.write(1, text.encode())
    os.dup2(2, 1)


def become_daemon() -> None:
    """Leave the starter's process tree, so that it has no child to wait for, and forget what it made of the signals."""
    if os.fork():
        os._exit(0)
    signal.pthread_sigmask(signal.SIG_SETMASK, [])
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGCHLD, signal.SIGHUP):
        signal.signal(number, signal.SIG_DFL)
    os.umask(0o077)


def main() -> None:
    plan: Plan = json.load(sys.stdin)
    become_daemon()
    try:
        supervisor = Supervisor(plan)
        os.dup2(supervisor.log, 2)
        postmaster = supervisor.start()
    except (StartError, OSError, subprocess.SubprocessError) as error:
        answer(f"{'ended' if isinstance(error, EndedError) else 'error'}\n{explain(error, plan)}")
        sys.exit(1)
    unlock_and_close(plan["start_lock"])
    answer("ok")
    if postmaster is not None:
        supervisor.watch(postmaster)


if __name__ == "__main__":
    main()
