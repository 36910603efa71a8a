"""The ``session-db`` command."""

from importlib.metadata import version
from pathlib import Path
from typing import Annotated

import typer

from session_db.cli import database, demo, importing, sessions
from session_db.cli.output import messages_console
from session_db.cli.running import exit_code
from session_db.errors import InvalidInput
from session_db.settings import load_settings, use_settings

app = typer.Typer(
    name="session-db",
    help="The PostgreSQL session database for AI agents: records every agent session and gives it back.",
    no_args_is_help=True,
    rich_markup_mode="markdown",
    pretty_exceptions_show_locals=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
database.add_to(app)
importing.add_to(app)
demo.add_to(app)
app.add_typer(sessions.app, name="sessions")


def _print_version(value: bool) -> None:  # noqa: FBT001  Typer calls it
    if value:
        typer.echo(f"session-db {version('session-db')}")
        raise typer.Exit


@app.callback()
def options(
    env_file: Annotated[
        Path | None, typer.Option(help="Read settings from this file too; the working directory's .env is never read.")
    ] = None,
    _version: Annotated[bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version.")] = False,  # noqa: FBT002
) -> None:
    """Read the settings before any command runs."""
    try:
        use_settings(load_settings(env_file=env_file))
    except InvalidInput as error:
        messages_console().print(f"Error: {error.message}", markup=False)
        raise typer.Exit(exit_code(error)) from None


def run() -> None:
    """Run the command line."""
    app()
