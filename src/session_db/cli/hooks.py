"""The commands ``hooks install|status|uninstall``: what makes Claude Code tell of every event."""

import os
import shutil
import subprocess
from pathlib import Path
from typing import Annotated, Any

import typer

from session_db.capture.hook_settings import events_of, install, installed, parse_version, uninstall
from session_db.capture.spool import spool_of
from session_db.cli.failing import fail
from session_db.cli.inputs import JSON
from session_db.cli.output import console, facts, print_json
from session_db.errors import InvalidInput, SessionDBError
from session_db.settings import get_settings

_SECONDS = 20
"""How long the client may take to tell its version."""

app = typer.Typer(help="Let Claude Code tell of every event, and see whether it does.", no_args_is_help=True)

Project = Annotated[bool, typer.Option("--project", help="In this folder's settings.local.json, for sessions here; else for all of yours.")]
Client = Annotated[str, typer.Option(metavar="PATH", help="Claude Code, which is asked for its version.")]
ClientVersion = Annotated[str | None, typer.Option(metavar="2.1.330", help="Its version, where it cannot be asked.")]


@app.command("install")
def install_(
    project: Project = False,  # noqa: FBT002  a command-line flag
    claude: Client = "claude",
    client_version: ClientVersion = None,
    as_json: JSON = False,  # noqa: FBT002  a command-line flag
) -> None:
    """Put a hook for each event that your Claude Code knows into its settings; other settings and hooks stay as they are."""
    try:
        version = parse_version(client_version or _asked(claude))
        path = _settings_file(project=project)
        has_changed = install(path, spool_of(get_settings()).directory, events_of(version))
    except SessionDBError as error:
        fail(error, as_json=as_json)
    shown = {"path": str(path), "changed": has_changed, "events": list(installed(path).events)}
    if as_json:
        print_json(shown)
        return
    console().print(f"{len(events_of(version))} hooks {'are now' if has_changed else 'were already'} in {path}.", soft_wrap=True)
    console().print("Sessions that begin from now on are recorded; `session-db sessions list` shows them.", soft_wrap=True)


@app.command("uninstall")
def uninstall_(
    project: Project = False,  # noqa: FBT002  a command-line flag
    as_json: JSON = False,  # noqa: FBT002  a command-line flag
) -> None:
    """Take our hooks out again. What was recorded stays, and what waits in the spool is still written."""
    path = _settings_file(project=project)
    try:
        has_changed = uninstall(path)
    except SessionDBError as error:
        fail(error, as_json=as_json)
    if as_json:
        print_json({"path": str(path), "changed": has_changed})
    else:
        console().print(f"The hooks are gone from {path}." if has_changed else f"No hook of ours was in {path}.", soft_wrap=True)


@app.command()
def status(as_json: JSON = False) -> None:  # noqa: FBT002  a command-line flag
    """Show where our hooks are, and what waits to be written."""
    try:
        found = [installed(_settings_file(project=project)) for project in (False, True)]
    except SessionDBError as error:
        fail(error, as_json=as_json)
    spool = spool_of(get_settings())
    state = spool.state()
    if as_json:
        print_json(
            {
                "settings": [{"path": str(each.path), "events": list(each.events)} for each in found],
                "spool": {"path": str(spool.directory), "waiting": state.waiting, "oldest": _moment(state.oldest), "bad": state.bad},
            }
        )
        return
    places = ("all sessions", "this folder")
    rows: list[tuple[str, Any]] = [(name, f"{len(each.events)} hooks, {each.path}") for name, each in zip(places, found, strict=True)]
    rows.append(("spool", f"{state.waiting} events wait, {state.bad} were set aside, {spool.directory}"))
    console().print(facts(rows))


def _moment(moment: Any) -> str | None:
    return None if moment is None else moment.isoformat()


def _settings_file(*, project: bool) -> Path:
    if project:
        # Not settings.json, which is committed: what is put there names files of this machine.
        return Path.cwd() / ".claude" / "settings.local.json"
    return Path(os.environ.get("CLAUDE_CONFIG_DIR") or "~/.claude").expanduser() / "settings.json"


def _asked(claude: str) -> str:
    """Return what the client says is its version.

    Raises:
        InvalidInput: it cannot be asked.
    """
    program = shutil.which(claude)
    if program is None:
        raise InvalidInput(f"there is no command {claude!r}; name Claude Code with --claude, or its version with --client-version.")
    command = [program, "--version"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=_SECONDS, check=True, stdin=subprocess.DEVNULL)  # noqa: S603
    except (OSError, subprocess.SubprocessError) as error:
        raise InvalidInput(f"{program} --version failed: {error}; name the version with --client-version.") from error
    return done.stdout
