"""How commands run: on an event loop of their own, with the database ready, and with errors that say what to do."""

import asyncio
import sys
from collections.abc import Awaitable, Callable
from typing import Any, NoReturn, TypeVar

import typer
from pydantic import ValidationError
from rich.text import Text

from session_db.cli.output import messages_console, print_json, printable
from session_db.database import close_db, current_revision, head, init_db
from session_db.database.violations import DRIVER_ERRORS, translate
from session_db.errors import AlreadyExists, Conflict, InvalidInput, NotFound, SessionDBError, Unauthorized, Unavailable
from session_db.settings import get_settings

Result = TypeVar("Result")

EXIT_CODES: dict[type[SessionDBError], int] = {
    SessionDBError: 1,
    InvalidInput: 2,
    NotFound: 3,
    AlreadyExists: 4,
    Conflict: 4,
    Unavailable: 5,
    Unauthorized: 6,
}
"""Exit code of a command by the family of its error."""


def exit_code(error: SessionDBError) -> int:
    """Return the exit code of the nearest family of an error."""
    return next(EXIT_CODES[family] for family in type(error).__mro__ if family in EXIT_CODES)


def run(work: Callable[[], Awaitable[Result]], *, as_json: bool = False, needs_tables: bool = True) -> Result:
    """Run a command's work to its end; an error of ours becomes a message and an exit code."""
    try:
        return asyncio.run(_run(work, needs_tables=needs_tables))
    except SessionDBError as error:
        fail(error, as_json=as_json)
    except DRIVER_ERRORS as error:
        reason = str(error).partition("\n")[0]
        fail(translate(error) or Unavailable(f"the database refused a statement: {reason}"), as_json=as_json)
    except OSError as error:
        if error.filename is None:
            raise
        fail(
            InvalidInput(f"{error.filename} cannot be used: {error.strerror}. Change its permissions or name another one."), as_json=as_json
        )
    except ValidationError as error:
        problems = "; ".join(f"{'.'.join(map(str, e['loc']))}: {e['msg']}" for e in error.errors(include_input=False, include_url=False))
        fail(InvalidInput(problems), as_json=as_json)


def fail(error: SessionDBError, *, as_json: bool) -> NoReturn:
    """Print an error and end the command with its exit code."""
    if as_json:
        details: dict[str, Any] = {name: str(value) for name, value in error.details.items()}
        print_json({"error": {"code": error.code, "message": error.message, "details": details}})
    else:
        message = Text.assemble(("Error:", "bold red"), " ", printable(error.message))
        messages_console().print(message, soft_wrap=not sys.stderr.isatty())
    raise typer.Exit(exit_code(error)) from None


def refuse_bytes(**arguments: str | None) -> None:
    """Raise ``InvalidInput`` where an argument was typed in bytes that are no text; Python keeps them as surrogates."""
    for name, text in arguments.items():
        if text is not None and not text.isascii() and text != text.encode(errors="replace").decode():
            shown = text.encode(errors="backslashreplace").decode()
            raise InvalidInput(f"{name.replace('_', ' ')} '{shown}' is not valid UTF-8; type it in UTF-8.", argument=name)


async def _run(work: Callable[[], Awaitable[Result]], *, needs_tables: bool) -> Result:
    try:
        if needs_tables:
            await _have_tables()
        return await work()
    finally:
        await close_db()


async def _have_tables() -> None:
    """Make the tables of the embedded database by the way; those of a server belong to its team, and are made when somebody says so."""
    if get_settings().url is None:
        await init_db()
        return
    revision = await current_revision()
    if revision != head():
        state = "has no tables of session-db" if revision is None else f"has tables of revision {revision}, this version needs {head()}"
        raise Unavailable(f"the database {state}; run `session-db init`.", revision=revision)
