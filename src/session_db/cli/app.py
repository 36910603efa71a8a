"""All commands, and the settings that hold for each of them."""

from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from importlib.metadata import version
from pathlib import Path
from typing import Annotated, Any

import typer
from typer.completion import install_callback, show_callback
from typer.core import TyperCommand, TyperGroup
from typer.main import get_group

from session_db.cli.failing import fail
from session_db.errors import InvalidInput
from session_db.settings import load_settings, use_settings

COMMANDS = {
    "init": ("database", "Make the tables, or bring them up to date. Safe to run again, and by many at once."),
    "upgrade": ("database", "Bring the tables to a newer revision; what is in them stays."),
    "downgrade": ("database", "Bring the tables back to an older revision, and drop what it cannot hold."),
    "current": ("database", "Print the revision of the tables, and the newest one that this version has."),
    "reset": ("database", "Drop all tables of session-db with everything in them, and make them anew."),
    "doctor": ("doctor", "Check settings, server, tables and capture, and say what to do."),
    "cleanup": ("cleanup", "Delete old sessions whole, and end what nobody ends any more. Others may go on writing."),
    "backup": ("backup", "Write all that is in the tables at this moment to a file for restore. Others may go on writing."),
    "restore": ("backup", "Put what a backup holds into an empty database. All of it, or after a failure nothing."),
    "import": ("importing", "Import recorded Claude Code sessions. Goes on where the last import stopped; a second one changes nothing."),
    "drain": ("draining", "Write the events that hooks captured. The service and every reading command do it by themselves."),
    "tail": ("tail", "Follow what agents do: events, messages and changes of state as they come, until Ctrl-C."),
    "search": ("search", "Search names of sessions, messages and what agents did, the newest first."),
    "resume": (
        "resume",
        "Go on with a session in Claude Code. Its files are put back where they are missing.",
    ),
    "export": ("export", "Write a session to standard output, or all that there is to a file, however large it is."),
    "demo": ("demo", "Import a recorded run of a real agent, and show it."),
    "serve": ("serve", "Run the service: REST and live streams, until Ctrl-C or SIGTERM."),
    "login": ("login", "Ask the running service for a link that logs a browser in, once, within ten minutes."),
}
GROUPS = {
    "hooks": ("hooks", "Let Claude Code tell of every event, and see whether it does."),
    "sessions": ("phases", "List, show, create, update and delete sessions."),
    "agents": ("agents", "List and show the agents of a session, start and finish them."),
    "workspace": ("workspace", "Keep folders of sessions (agents/sessions/SLUG) in step with the database."),
    "events": ("events", "List and show the events of a session."),
    "messages": ("messages", "List and append the messages of a session."),
    "memory": ("memory", "List, add, change and remove the memory files of a session."),
    "clips": ("clips", "List, show, set and delete clips."),
    "songs": ("songs", "List, show, set and delete songs."),
    "playlists": ("playlists", "List, show, set and delete playlists."),
    "tokens": ("tokens", "Create, list and revoke tokens of the service."),
}
"""By the name of the command: the module that has it, imported when it is run, and what it does."""

_COMPLETION: dict[str, Any] = {"--show-completion": show_callback, "--install-completion": install_callback}

# Typer brings a click of its own or uses the installed one, by its version; either way it names this class's child alone.
_USAGE_ERROR: type[Any] = typer.BadParameter.__mro__[1]


class Commands(TyperGroup):
    """Imports a command when it is run, and knows before that whether it prints JSON: all errors are JSON then.

    The libraries of the database take a second to import, which neither help nor completion waits for.
    """

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.commands = {name: TyperCommand(name, help=does) for name, (_, does) in (COMMANDS | GROUPS).items()}

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        name, command, rest = super().resolve_command(ctx, args)
        return name, load(name) if name else command, rest

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        ctx.meta["as_json"] = "--json" in args
        if len(args) > 1 and args[0] in _COMPLETION:
            # Typer asks the running processes for the shell, and there may be none; one that is named is meant.
            _COMPLETION[args[0]](ctx, None, args[1])
        with _usage_errors(ctx):
            return super().parse_args(ctx, args)

    def invoke(self, ctx: Any) -> Any:
        with _usage_errors(ctx):
            return super().invoke(ctx)


@contextmanager
def _usage_errors(ctx: typer.Context) -> Iterator[None]:
    try:
        yield
    except _USAGE_ERROR as error:
        if not ctx.meta["as_json"]:
            raise
        fail(InvalidInput(error.format_message()), as_json=True)


def load(name: str) -> Any:
    """Import the command or the group with this name."""
    module = import_module(f"session_db.cli.{(COMMANDS | GROUPS)[name][0]}")
    whole = typer.Typer(rich_markup_mode="markdown")
    if name in GROUPS:
        whole.add_typer(module.app, name=name)
    else:
        module.add_to(whole)
    return get_group(whole).commands[name]


app = typer.Typer(
    name="session-db",
    cls=Commands,
    help="The PostgreSQL session database for AI agents: records every agent session and gives it back.",
    no_args_is_help=True,
    rich_markup_mode="markdown",
    pretty_exceptions_show_locals=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


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
