"""The token file: the first start of the service makes it, and commands find their token in it."""

import os
import re
import socket
import stat
import sys
from contextlib import suppress
from pathlib import Path
from tempfile import NamedTemporaryFile

from session_db.cli.output import messages_console
from session_db.crud.tokens import create_token, get_valid_token, revoke_token
from session_db.database import in_transaction
from session_db.errors import Forbidden, Unauthorized
from session_db.models import Token, TokenCreate
from session_db.settings import Settings, token_file

_OTHERS = stat.S_IRWXG | stat.S_IRWXO


def find_token(settings: Settings) -> str:
    """Return the token that commands send: ``SESSION_DB_TOKEN``, or the one in the file.

    Raises:
        Unauthorized: there is neither, or it is none that can be sent.
    """
    path = token_file(settings)
    text = _read(path) if settings.token is None else settings.token.get_secret_value().strip()
    if text is None:
        raise Unauthorized(f"there is no token: set SESSION_DB_TOKEN. `session-db serve` makes {path}.")
    if not re.fullmatch(r"[!-~]+", text):
        raise Unauthorized(
            f"{path if settings.token is None else 'SESSION_DB_TOKEN'} holds no token; `session-db tokens create` makes one."
        )
    return text


async def have_token(settings: Settings) -> Token:
    """Return the token of the file; where there is none, or one that does not work in this database, it is made and put there."""
    path = token_file(settings)
    _prepare(path.parent)
    text = _read(path)
    token = await _valid(text)
    if token is not None:
        return token
    made = await in_transaction(lambda db: create_token(db, TokenCreate(name=f"serve@{socket.gethostname()}"[:100], scope="admin")))
    # A link that leads nowhere is in the way, and no token of another process.
    if _put(path, made.text, replace=text is not None or path.is_symlink()):
        if text is not None:
            _say(f"The token in {path} does not work in this database; a new one replaces it.")
        return made.token
    # Another process was first.
    await in_transaction(lambda db: revoke_token(db, made.token.id))
    return await have_token(settings)


async def _valid(text: str | None) -> Token | None:
    if text is None:
        return None
    return await in_transaction(lambda db: get_valid_token(db, text))


def _prepare(home: Path) -> None:
    if sys.platform == "win32":
        home.mkdir(parents=True, exist_ok=True)
        return
    from session_db.database.embedded.ownership import prepare_home  # noqa: PLC0415  POSIX alone has it

    prepare_home(home)


def _read(path: Path) -> str | None:
    """Return the token of the file, or None where there is no file; one that others can read is closed to them.

    Raises:
        Forbidden: it is somebody else's.
    """
    try:
        with path.open(encoding="ascii", errors="replace") as file:
            _guard(path, file.fileno())
            return file.readline().strip()
    except FileNotFoundError:
        return None


def _guard(path: Path, descriptor: int) -> None:
    if sys.platform == "win32":
        return
    state = os.fstat(descriptor)
    if state.st_uid not in (os.geteuid(), 0):
        raise Forbidden(f"{path} belongs to uid {state.st_uid}; run as that user, or set SESSION_DB_TOKEN.", path=str(path))
    if state.st_mode & _OTHERS:
        os.fchmod(descriptor, 0o600)
        mode = stat.S_IMODE(state.st_mode)
        _say(f"Others could read the token in {path} (mode {mode:04o}); now they cannot. If one did, revoke it: session-db tokens revoke")


def _put(path: Path, text: str, *, replace: bool) -> bool:
    """Write the file, which appears whole or not at all; return False where another process wrote it first."""
    # A temporary file of Python has mode 0600.
    with NamedTemporaryFile("w", dir=path.parent, prefix=".token-", delete=False) as file:
        temporary = Path(file.name)
        file.write(f"{text}\n")
    try:
        if replace:
            temporary.replace(path)
        else:
            path.hardlink_to(temporary)
    except FileExistsError:
        return False
    finally:
        with suppress(FileNotFoundError):
            temporary.unlink()
    return True


def _say(text: str) -> None:
    messages_console().print(text, markup=False, soft_wrap=True)
