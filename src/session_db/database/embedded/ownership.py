"""Whose directory, whose processes: who may run the embedded server, and as whom."""

import os
import pwd
import secrets
import stat
import sys
import tempfile
from contextlib import suppress
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

from session_db.errors import EmbeddedServerError

# Debian's policy gives these to packages that create them on demand; nobody else hands them out.
SERVER_UIDS = range(64000, 65000)
SHELL_CHARACTERS = '"$`\\\n'
# A socket's path may have 104 bytes on macOS and the BSDs.
SOCKET_PATH_BYTES = 103


@dataclass(frozen=True)
class ServerUser:
    """Numeric users of the server and of initdb; None means our own."""

    server_uid: int | None
    initdb_uid: int | None


def prepare_home(home: Path) -> None:
    """Make our directory if it is absent, and refuse one that others own or may write to.

    Root's own has mode 0711: the server, which has no rights, must get to the binaries in it. Everything private has a mode of its own.
    """
    # Parents get the usual mode: they are not ours.
    home.parent.mkdir(parents=True, exist_ok=True)
    mode = 0o711 if os.geteuid() == 0 else 0o700
    with suppress(FileExistsError):
        home.mkdir(mode=mode)
        home.chmod(mode)
    state = home.stat()
    if state.st_uid != os.geteuid():
        raise EmbeddedServerError(
            f"{home} belongs to uid {state.st_uid}, but this process runs as uid {os.geteuid()}: it would leave files there that the owner "
            "cannot use. Run as the owner, or set SESSION_DB_HOME to a directory of your own.",
            home=str(home),
        )
    if state.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
        raise EmbeddedServerError(
            f"{home} may be written to by others (mode {stat.S_IMODE(state.st_mode):04o}): run 'chmod go-w' on it, or set SESSION_DB_HOME "
            "to another directory.",
            home=str(home),
        )


def owner_name() -> str:
    """Return our account's name, which PostgreSQL compares with the connecting process's (peer authentication)."""
    try:
        return pwd.getpwuid(os.geteuid()).pw_name
    except KeyError:
        raise EmbeddedServerError(
            f"uid {os.geteuid()} has no account (no line in /etc/passwd), as in a container with an arbitrary uid, and PostgreSQL needs "
            "its name. Add an account with that uid, or set SESSION_DB_URL to another PostgreSQL.",
            uid=os.geteuid(),
        ) from None


def server_user(data: Path) -> ServerUser:
    """Return as whom the server of that data directory runs: ourselves, or for root a number that has no account."""
    if os.geteuid() != 0:
        return ServerUser(None, None)
    if sys.platform != "linux":
        raise EmbeddedServerError(
            f"the embedded PostgreSQL cannot be run by root on {sys.platform}: run as an ordinary user, or set SESSION_DB_URL."
        )
    return ServerUser(_owner_of(data) or _unused_uid(), _nobody())


def _owner_of(data: Path) -> int | None:
    try:
        uid = data.stat().st_uid
    except FileNotFoundError:
        return None
    if uid == 0:
        raise EmbeddedServerError(
            f"{data} belongs to root, and PostgreSQL refuses to run as root. If it was restored from a copy, run "
            f"'chown -R {SERVER_UIDS[0]}:{SERVER_UIDS[0]}' on it.",
            data=str(data),
        )
    return uid


def _unused_uid() -> int:
    while _has_account(uid := secrets.choice(SERVER_UIDS)):
        pass
    return uid


def _has_account(uid: int) -> bool:
    try:
        pwd.getpwuid(uid)
    except KeyError:
        return False
    return True


def _nobody() -> int:
    try:
        return pwd.getpwnam("nobody").pw_uid
    except KeyError:
        raise EmbeddedServerError(
            "there is no account 'nobody', and PostgreSQL's initdb needs one without rights: add it to /etc/passwd, or set SESSION_DB_URL."
        ) from None


def programs_parent(home: Path) -> Path:
    """Return the directory for the copied binaries: below home, or below our default home where they cannot be run there."""
    if _can_run_programs(home):
        return home / "postgres"
    from session_db.settings import default_home  # noqa: PLC0415 - seldom needed, and costs more to import than a warm start.

    default = default_home()
    prepare_home(default)
    if _can_run_programs(default):
        return default / "postgres"
    raise EmbeddedServerError(
        f"PostgreSQL's programs can be put neither into {home} nor into {default}: a user without rights, as whom root's server runs, must "
        f"be able to reach them, and none of {SHELL_CHARACTERS!r} may be in the path. Set SESSION_DB_HOME to such a directory.",
        home=str(home),
    )


def _can_run_programs(directory: Path) -> bool:
    # initdb gives its own path to a shell, in double quotes.
    return (os.geteuid() != 0 or reachable_by_others(directory)) and not set(SHELL_CHARACTERS) & set(str(directory))


def reachable_by_others(directory: Path) -> bool:
    """Tell whether everybody may look up a name in that directory."""
    return all(path.stat().st_mode & stat.S_IXOTH for path in (directory, *directory.parents))


def socket_directory(home: Path) -> str:
    """Return where the server puts its socket: in the data directory, where only a system with /proc can name it at any length."""
    if sys.platform == "linux":
        return "."
    # The user's private one on macOS; elsewhere it may be /tmp, so nothing but our own directory is accepted.
    directory = Path(tempfile.gettempdir()) / f"session-db-{sha256(bytes(home)).hexdigest()[:12]}"
    with suppress(FileExistsError):
        directory.mkdir(mode=0o700)
    state = directory.lstat()
    if not stat.S_ISDIR(state.st_mode) or state.st_uid != os.geteuid() or state.st_mode & 0o077:
        raise EmbeddedServerError(f"{directory} is not a private directory of uid {os.geteuid()}: remove it, or set TMPDIR.")
    if len(bytes(directory)) + len("/.s.PGSQL.5432") > SOCKET_PATH_BYTES:
        raise EmbeddedServerError(f"{directory} is too long for a socket: set TMPDIR to a shorter one.")
    return str(directory)
