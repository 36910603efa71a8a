"""All commands, and the settings that hold for each of them."""

from importlib.metadata import version
from pathlib import Path
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from session_db.cli import database, demo, importing, sessions
from session_db.cli.running import fail
from session_db.errors import InvalidInput
from session_db.settings import load_settings, use_settings

# Typer brings a click of its own or uses the installed one, by its version; either way it names this class's child alone.
_USAGE_ERROR: type[Any] = typer.BadParameter.__mro__[1]


class Commands(TyperGroup):
    """Knows before any command runs whether it will print JSON: errors in the settings or the arguments are JSON, too."""

    def parse_args(self, ctx: typer.Context, args: list[str]) -> list[str]:  # type: ignore[override]
        ctx.meta["as_json"] = "--json" in args
        return super().parse_args(ctx, args)

    def invoke(self, ctx: typer.Context) -> Any:  # type: ignore[override]
        try:
            return super().invoke(ctx)
        except _USAGE_ERROR as error:
            if not ctx.meta["as_json"]:
                raise
            fail(InvalidInput(error.format_message()), as_json=True)


app = typer.Typer(
    name="session-db",
    cls=Commands,
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
    context: typer.Context,
    env_file: Annotated[
        Path | None, typer.Option(help="Read settings from this file too; the working directory's .env is never read.")
    ] = None,
    _version: Annotated[bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version.")] = False,  # noqa: FBT002
) -> None:
    """Read the settings before any command runs."""
    try:
        use_settings(load_settings(env_file=env_file))
    except InvalidInput as error:
        fail(error, as_json=context.meta["as_json"])
