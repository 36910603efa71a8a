"""Start the supervisor, which starts the server."""

import contextlib
import json
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

from session_db.database.embedded import cluster, ownership, upgrade
from session_db.database.embedded.installation import used_installation
from session_db.database.embedded.supervisor import Plan
from session_db.errors import EmbeddedServerError

SUPERVISOR = Path(__file__).with_name("supervisor.py")
# Nothing else of our environment is the server's business: it would read PG*, and others' secrets are there.
KEPT_VARIABLES = ("PATH", "LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH")
LOG_BYTES = 1_000_000
# Recovery after a crash replays at most some hundred MB.
START_SECONDS = 120.0


def launch(home: Path, start_lock: int, *, idle_seconds: float, settings: Mapping[str, str]) -> str:
    """Start the server and wait until it is ready. The caller holds the start lock, which the supervisor inherits.

    Returns what went wrong where another attempt may succeed: the server ended while it started. It is empty also where the supervisor
    was killed before it could tell: look whether the server is ready.
    """
    _put_long_log_aside(home / "server.log")
    with _plan(home, start_lock, idle_seconds=idle_seconds, settings=settings) as plan:
        answer = _run_supervisor(plan)
    word, _, reason = answer.partition("\n")
    if word == "ok":
        upgrade.remove_remains(home)
    if word in {"", "ok", "ended"}:
        return reason
    if word != "error":
        reason = f"{sys.executable} could not run {SUPERVISOR}:\n{answer[-2000:]}"
    raise EmbeddedServerError(reason, home=str(home))


@contextlib.contextmanager
def _plan(home: Path, start_lock: int, *, idle_seconds: float, settings: Mapping[str, str]) -> Iterator[Plan]:
    state = home.stat()
    cluster_name = f"session-db-{state.st_dev:x}-{state.st_ino:x}"
    upgrade.bring_up_to_date(home, cluster_name, settings)
    user = ownership.server_user(home / "data")
    owner = ownership.owner_name()
    socket_directory = ownership.socket_directory(home)
    with used_installation(ownership.programs_parent(home)) as (installation, installation_lock):
        yield Plan(
            home=str(home),
            programs=str(installation.programs),
            environment={"LC_ALL": "C", "TZ": "UTC"} | {name: os.environ[name] for name in KEPT_VARIABLES if name in os.environ},
            start_lock=start_lock,
            installation_lock=installation_lock,
            idle_seconds=idle_seconds,
            start_seconds=START_SECONDS,
            server_uid=user.server_uid,
            initdb_uid=user.initdb_uid,
            initdb=cluster.initdb_arguments(settings),
            create_database=cluster.CREATE_DATABASE,
            access_files=cluster.access_files(owner),
            settings=cluster.server_arguments(settings, cluster_name=cluster_name, socket_directory=socket_directory),
            cluster_name=cluster_name,
            socket_directory=socket_directory,
        )


def _put_long_log_aside(log: Path) -> None:
    with contextlib.suppress(FileNotFoundError):
        if log.stat().st_size > LOG_BYTES:
            log.replace(log.with_suffix(".log.old"))


def _run_supervisor(plan: Plan) -> str:
    """Return what the supervisor said; it goes on after that."""
    if not sys.executable:
        raise EmbeddedServerError("this Python does not know its own program (sys.executable is empty): set SESSION_DB_URL.")
    # The program and the directory, never data, are in the arguments, which everybody can list.
    command = [sys.executable, "-I", "-S", str(SUPERVISOR), plan["home"]]
    try:
        return subprocess.run(  # noqa: S603 - our own Python and file.
            command,
            input=json.dumps(plan),
            stdout=subprocess.PIPE,
            # Only until the log is open: what Python itself says when it cannot start.
            stderr=subprocess.STDOUT,
            encoding="utf-8",
            errors="replace",
            cwd="/",
            env=plan["environment"],
            pass_fds=(plan["start_lock"], plan["installation_lock"]),
            start_new_session=True,
            check=False,
            timeout=START_SECONDS + 30,
        ).stdout
    except subprocess.TimeoutExpired:
        raise EmbeddedServerError(f"the embedded PostgreSQL of {plan['home']} did not start within {START_SECONDS + 30:g} s.") from None
