"""A database of an older PostgreSQL becomes one of ours, by ``pg_upgrade``.

It works on a copy. The old directory is only read until the new one is complete; then the new one takes its name, and the old one is
removed when the new server has started. Whoever is killed in between leaves the old one, from which the next start begins anew.
"""

import logging
import os
import pwd
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from session_db.database.embedded import cluster, ownership
from session_db.database.embedded.installation import MAJOR_VERSION, upgrading_programs
from session_db.database.embedded.status import size_of
from session_db.database.embedded.supervisor import (
    ORPHAN_KILL_SECONDS,
    ORPHAN_STOP_SECONDS,
    command_lines,
    data_directory_path,
    kill_orphans,
    open_lock,
    opened_directory,
    sync,
    try_lock,
    unlock_and_close,
)
from session_db.errors import EmbeddedServerError

WORK = "upgrading"
"""Directory of what is not complete yet, or not needed any more; nothing in it is missed."""

OLD = "data-before-upgrade"

RESERVE_BYTES = 400 * 1024**2
"""What the new directory, the programs and the log need beside the copy."""

LOCK_SECONDS = 60.0
LOGS = "upgrade-logs"
# Of servers that run for a minute, in a copy.
OPTIONS = "-c shared_buffers=16MB -c dynamic_shared_memory_type=mmap"

_log = logging.getLogger(__name__)


def is_upgrading(home: Path) -> bool:
    """Say whether somebody upgrades the database there, or was killed while it did."""
    return (home / WORK).exists()


def bring_up_to_date(home: Path, cluster_name: str, settings: Mapping[str, str]) -> None:
    """Upgrade the database of a home where it is older than our PostgreSQL. The caller holds the start lock.

    Raises:
        EmbeddedServerError: it cannot be; it is as it was.
    """
    data = home / "data"
    if not data.exists() and (home / OLD).exists():
        # Somebody was killed between the two names.
        (home / OLD).rename(data)
    version = _version_of(data)
    if version is None or version == MAJOR_VERSION:
        return
    if version > MAJOR_VERSION:
        raise EmbeddedServerError(
            f"{data} was made by PostgreSQL {version}, and this session-db brings {MAJOR_VERSION}: upgrade session-db, or set "
            "SESSION_DB_HOME to another directory.",
            data=str(data),
        )
    with _server_lock(home, cluster_name) as lock, upgrading_programs(ownership.programs_parent(home), version) as programs:
        _upgrade(home, version, _Upgrade(home / WORK, *programs, cluster_name, ownership.server_user(data), lock, settings))


def remove_remains(home: Path) -> None:
    """Remove what an upgrade left, once the new server has started."""
    work, old = home / WORK, home / OLD
    shutil.rmtree(work, ignore_errors=True)
    if old.exists():
        # First the name: one that is half removed must not be taken for the database.
        with suppress(OSError):
            old.rename(work)
        shutil.rmtree(work, ignore_errors=True)


def _version_of(data: Path) -> int | None:
    try:
        return int((data / "PG_VERSION").read_text(encoding="ascii"))
    except (FileNotFoundError, ValueError):
        return None


@contextmanager
def _server_lock(home: Path, cluster_name: str) -> Iterator[int]:
    """Yield the lock that says that no process of the data directory lives; those of a killed upgrade are ended."""
    lock = open_lock(home / "server.lock")
    began = time.monotonic()
    try:
        while not try_lock(lock):
            waited = time.monotonic() - began
            _kill(f"{cluster_name}-upgrade")
            if waited > ORPHAN_STOP_SECONDS:
                kill_orphans(cluster_name, signal.SIGQUIT if waited < ORPHAN_KILL_SECONDS else signal.SIGKILL)
            if waited > LOCK_SECONDS:
                raise EmbeddedServerError(f"a PostgreSQL of {home} does not end: see {home / 'server.log'}.", home=str(home))
            time.sleep(0.05)
        yield lock
    finally:
        unlock_and_close(lock)


def _kill(cluster_name: str) -> None:
    words = (f"cluster_name={cluster_name}".encode(), f"postgres: {cluster_name}: ".encode())
    for pid, command in command_lines():
        if any(word in command for word in words):
            with suppress(ProcessLookupError, PermissionError):
                os.kill(pid, signal.SIGKILL)


def _upgrade(home: Path, version: int, upgrade: "_Upgrade") -> None:
    data = home / "data"
    size = size_of(data)
    shutil.rmtree(upgrade.work, ignore_errors=True)
    free = shutil.disk_usage(home).free
    if free < size + RESERVE_BYTES:
        raise EmbeddedServerError(
            f"{data} was made by PostgreSQL {version}. Its upgrade to {MAJOR_VERSION} needs {_shown(size + RESERVE_BYTES)}, and "
            f"{_shown(free)} are free at {home}: free some space there.",
            data=str(data),
        )
    began = time.monotonic()
    _log.warning(
        "Upgrading %s (%s) from PostgreSQL %d to %d, once; the old one is kept until it is done.",
        data,
        _shown(size),
        version,
        MAJOR_VERSION,
    )
    try:
        upgrade.run(data)
        data.rename(home / OLD)
        (upgrade.work / "data").rename(data)
        sync(home)
    except OSError as error:
        raise EmbeddedServerError(f"{data} could not be upgraded, and is as it was: {error}.", data=str(data)) from error
    finally:
        shutil.rmtree(upgrade.work, ignore_errors=True)
    _log.warning("Upgraded to PostgreSQL %d in %.0f s.", MAJOR_VERSION, time.monotonic() - began)


def _shown(size: int) -> str:
    return f"{size / 1024**3:.1f} GiB" if size >= 1024**3 else f"{size / 1024**2:.0f} MiB"


@dataclass(frozen=True)
class _Upgrade:
    """One run of pg_upgrade, in a directory of its own."""

    work: Path
    old_programs: Path
    new_programs: Path
    cluster_name: str
    user: ownership.ServerUser
    server_lock: int
    settings: Mapping[str, str]

    def run(self, data: Path) -> None:
        """Make ``data`` in the work directory, of what is in the old one."""
        # Ours alone: the account that pg_upgrade needs is nobody's, whose other processes may not come in.
        self.work.mkdir(mode=0o700)
        _copy(data, self.work / "old")
        for name in ("data", "sockets", "logs"):
            (self.work / name).mkdir(mode=0o700)
        self._give_to(self.user.initdb_uid)
        with ExitStack() as stack:
            opened = {name: stack.enter_context(opened_directory(self.work / name)) for name in ("old", "data", "sockets", "logs")}
            self._run_steps(opened)
        self._give_to(self.user.server_uid)
        self._write_access(self.work / "data", ownership.owner_name())
        # Once for all files: a power failure must not leave empty ones behind the final name.
        os.sync()

    def _run_steps(self, opened: Mapping[str, int]) -> None:
        old, new = (data_directory_path(opened[name], str(self.work / name)) for name in ("old", "data"))

        def run(program: Path, *arguments: str) -> str:
            return self._run(program, arguments, opened)

        # One that was not shut down in order recovers first.
        run(self.old_programs / "postgres", "--single", "-D", old, "postgres")
        has_checksums = "Data page checksum version:           0" not in run(self.old_programs / "pg_controldata", "-D", old)
        checksums = "--data-checksums" if has_checksums else "--no-data-checksums"
        run(self.new_programs / "initdb", "-D", new, checksums, *cluster.initdb_arguments(self.settings))
        uid = self.user.initdb_uid
        for name in ("old", "data"):
            self._write_access(self.work / name, ownership.owner_name() if uid is None else pwd.getpwuid(uid).pw_name)
        options = f"{OPTIONS} -c cluster_name={self.cluster_name}-upgrade"
        run(
            self.new_programs / "pg_upgrade",
            *("--old-bindir", str(self.old_programs), "--new-bindir", str(self.new_programs), "--old-datadir", old, "--new-datadir", new),
            *("--socketdir", self._socket_directory(opened["sockets"]), "--username", cluster.ROLE, "--link"),
            *("--old-options", options, "--new-options", options),
            *(["--no-sync"] if self.settings.get("fsync") == "off" else []),
        )

    def _socket_directory(self, opened: int) -> str:
        short = ownership.socket_directory(self.work.parent)
        return data_directory_path(opened, "") if short == "." else short

    def _run(self, program: Path, arguments: tuple[str, ...], opened: Mapping[str, int]) -> str:
        done = subprocess.run(  # noqa: S603  our own program
            [str(program), *arguments],
            user=self.user.initdb_uid,
            group=self.user.server_uid,
            extra_groups=None if self.user.server_uid is None else [],
            cwd=self.work / "logs",
            env={"LC_ALL": "C", "TZ": "UTC", "PATH": os.environ.get("PATH", os.defpath)},
            pass_fds=(*opened.values(), self.server_lock),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            check=False,
        )
        output = done.stdout.decode(errors="replace")
        # A server in single-user mode ends with 0 after an error as well.
        if done.returncode != 0 or "FATAL:" in output:
            raise EmbeddedServerError(
                f"{self.work.parent / 'data'} could not be upgraded, and is as it was: {program.name} ended with status {done.returncode}."
                f"{self._kept_logs()} Until that is repaired, use the session-db that made it.\n{output[-2000:]}",
                data=str(self.work.parent / "data"),
            )
        return output

    def _kept_logs(self) -> str:
        """Keep what pg_upgrade wrote, and say where."""
        written, kept = self.work / "data" / "pg_upgrade_output.d", self.work.parent / LOGS
        if not written.exists():
            return ""
        shutil.rmtree(kept, ignore_errors=True)
        shutil.copytree(written, kept, symlinks=True)
        return f" Its logs are in {kept}."

    def _give_to(self, uid: int | None) -> None:
        """Let that user own all but the work directory itself; its group is the server's."""
        if uid is None or self.user.server_uid is None:
            return
        for directory in self.work.iterdir():
            for path in (directory, *directory.rglob("*")):
                os.chown(path, uid, self.user.server_uid, follow_symlinks=False)

    @staticmethod
    def _write_access(data: Path, owner: str) -> None:
        for name, content in cluster.access_files(owner).items():
            (data / name).write_text(content, encoding="utf-8")


def _copy(data: Path, target: Path) -> None:
    """Copy a data directory without what belongs to its last server.

    Raises:
        EmbeddedServerError: a part of it lies elsewhere.
    """
    links = [path for path in data.rglob("*") if path.is_symlink()]
    if links:
        raise EmbeddedServerError(
            f"{data} could not be upgraded, and is as it was: {links[0]} leads out of it. Export all with the session-db that made it, and "
            "import that here.",
            data=str(data),
        )
    shutil.copytree(data, target, ignore=shutil.ignore_patterns("postmaster.pid", ".s.PGSQL.*"))
