"""How a command says what went wrong, and the exit code that it ends with."""

import sys
from typing import Any, NoReturn

import typer
from rich.text import Text

from session_db.cli.output import messages_console, print_json, printable
from session_db.errors import AlreadyExists, Conflict, InvalidInput, NotFound, SessionDBError, Unauthorized, Unavailable

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


def fail(error: SessionDBError, *, as_json: bool) -> NoReturn:
    """Print an error and end the command with its exit code."""
    if as_json:
        details: dict[str, Any] = {name: str(value) for name, value in error.details.items()}
        print_json({"error": {"code": error.code, "message": error.message, "details": details}})
    else:
        message = Text.assemble(("Error:", "bold red"), " ", printable(error.message))
        messages_console().print(message, soft_wrap=not sys.stderr.isatty())
    raise typer.Exit(exit_code(error)) from None
