"""How commands run: on an event loop of their own, with the database ready, and with errors that say what to do."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar, get_args

from pydantic import ValidationError

from session_db.cli.failing import fail
from session_db.cli.output import messages_console
from session_db.database import close_db, current_revision, head, init_db
from session_db.database.violations import DRIVER_ERRORS, translate
from session_db.errors import InvalidInput, SessionDBError, Unavailable
from session_db.settings import get_settings

__all__ = ["fail", "refuse_bytes", "refuse_others", "run"]

Result = TypeVar("Result")

DRAINED_FIRST = 2_000
"""Captured events that a command writes before its own work, which takes a second or two."""


def run(work: Callable[[], Awaitable[Result]], *, as_json: bool = False, needs_tables: bool = True, drains: bool = True) -> Result:
    """Run a command's work to its end; an error of ours becomes a message and an exit code.

    One that needs the tables writes what hooks captured before, so that it reads what there is; ``drains`` says otherwise.
    """
    try:
        return asyncio.run(_run(work, needs_tables=needs_tables, drains=needs_tables and drains))
    except SessionDBError as error:
        fail(error, as_json=as_json)
    except DRIVER_ERRORS as error:
        reason = str(error).partition("\n")[0]
        fail(translate(error) or Unavailable(f"the database refused a statement: {reason}"), as_json=as_json)
    except BrokenPipeError:
        # Whoever read the output has gone; nobody is left to be told.
        raise
    except OSError as error:
        fail(_refused_by_system(error), as_json=as_json)
    except ValidationError as error:
        fail(InvalidInput("; ".join(map(_problem, error.errors(include_input=False, include_url=False)))), as_json=as_json)


def _refused_by_system(error: OSError) -> SessionDBError:
    if error.filename is None:
        return SessionDBError(f"the system refused: {error}.")
    return InvalidInput(f"{error.filename} cannot be used: {error.strerror}. Change its permissions or name another one.")


def _problem(details: Any) -> str:
    """Say what Pydantic found; an error that our own check raised names its place itself."""
    place, message = ".".join(map(str, details["loc"])), details["msg"].removeprefix("Value error, ")
    return f"{place}: {message}" if place else message


def refuse_bytes(**arguments: str | None) -> None:
    """Raise ``InvalidInput`` where an argument was typed in bytes that are no text; Python keeps them as surrogates."""
    for name, text in arguments.items():
        if text is not None and not text.isascii() and text != text.encode(errors="replace").decode():
            shown = text.encode(errors="backslashreplace").decode()
            raise InvalidInput(f"{name.replace('_', ' ')} '{shown}' is not valid UTF-8; type it in UTF-8.", argument=name)


def refuse_others(name: str, word: str | None, allowed: Any) -> None:
    """Raise ``InvalidInput`` where a word is none of a ``Literal``'s; nothing could match it."""
    words = get_args(allowed)
    if word is not None and word not in words:
        raise InvalidInput(f"there is no {name} {word!r}; use one of {', '.join(words)}.", **{name: word})


async def _run(work: Callable[[], Awaitable[Result]], *, needs_tables: bool, drains: bool) -> Result:
    try:
        if needs_tables:
            await _have_tables()
        if drains:
            await _drain_some()
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


async def _drain_some() -> None:
    """Write what hooks captured, as much as nobody waits for; what goes wrong with it is no reason not to read."""
    spool = get_settings().home / "spool"
    try:
        if not any(next(waiting.iterdir(), None) for waiting in (spool / "new", spool / "held") if waiting.is_dir()):
            return
        from session_db.capture.drain import drain  # noqa: PLC0415  what it needs takes time to import, and mostly nothing waits

        await drain(get_settings(), at_most=DRAINED_FIRST)
    except (SessionDBError, *DRIVER_ERRORS, OSError) as error:
        messages_console().print(f"What hooks captured could not be written now, and waits: {error}", soft_wrap=True, markup=False)
