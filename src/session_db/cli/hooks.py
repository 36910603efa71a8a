"""The commands ``hooks install|status|uninstall``: what makes Claude Code tell of every event."""

import os
import shutil
import subprocess
from pathlib import Path
from typing import Annotated, Any

import typer

from session_db.capture.hook_entries import (
    Entry,
    Transport,
    command_entry,
    entries_for,
    events_of,
    http_entry,
    parse_version,
)
from session_db.capture.hook_reach import installed_here, problems_of, service_at, settings_files, why_not
from session_db.capture.hook_settings import install, installed, uninstall
from session_db.capture.spool import spool_of
from session_db.cli.asking import URL, service_url
from session_db.cli.failing import fail
from session_db.cli.inputs import JSON
from session_db.cli.output import console, facts, messages_console, print_json
from session_db.cli.running import refuse_others
from session_db.errors import Conflict, InvalidInput, SessionDBError
from session_db.settings import get_settings

_VERSION_SECONDS = 20
"""How long the client may take to tell its version."""

_SERVICE_SECONDS = 5

app = typer.Typer(help="Let Claude Code tell of every event, and see whether it does.", no_args_is_help=True)

Project = Annotated[
    bool, typer.Option("--project/--user", help="In this folder's settings.local.json, for sessions here; or for all of yours.")
]
Client = Annotated[str, typer.Option(metavar="PATH", help="Claude Code, which is asked for its version.")]
ClientVersion = Annotated[str | None, typer.Option(metavar="2.1.330", help="Its version, where it cannot be asked.")]
Way = Annotated[str, typer.Option(help="spool: into files of this machine; http: to the service.")]
URLOption = Annotated[str | None, typer.Option("--url", metavar="URL", help="Where the service is, for http.", show_default=URL)]


@app.command("install")
def install_(  # noqa: PLR0913, PLR0917  each is an option
    project: Project = False,  # noqa: FBT002  a command-line flag
    transport: Way = "spool",
    url: URLOption = None,
    claude: Client = "claude",
    client_version: ClientVersion = None,
    as_json: JSON = False,  # noqa: FBT002  a command-line flag
) -> None:
    """Put a hook for each event that your Claude Code knows into its settings; other settings and hooks stay as they are."""
    try:
        entries = _entries(transport, url, claude, client_version)
        path = settings_files(project=project)[0]
        same = _refuse_another_beside(path, entries)
        has_changed = install(path, entries)
        problems = list(problems_of(installed_here()))
    except SessionDBError as error:
        fail(error, as_json=as_json)
    if as_json:
        done = {"path": str(path), "changed": has_changed, "transport": transport, "events": list(installed(path).events)}
        print_json(done | {"also_in": [str(each) for each in same], "problems": problems})
        return
    console().print(f"{len(entries)} hooks {'are now' if has_changed else 'were already'} in {path}.", soft_wrap=True)
    for each in same:
        console().print(f"The same are in {each}; where both hold, the client runs each once.", soft_wrap=True)
    console().print("Sessions that begin from now on are recorded; `session-db sessions list` shows them.", soft_wrap=True)
    _print_problems(problems)


@app.command("uninstall")
def uninstall_(
    project: Project = False,  # noqa: FBT002  a command-line flag
    as_json: JSON = False,  # noqa: FBT002  a command-line flag
) -> None:
    """Take our hooks out again. What was recorded stays, and what waits in the spool is still written."""
    paths = settings_files(project=project)
    try:
        changed = [path for path in paths if uninstall(path)]
    except SessionDBError as error:
        fail(error, as_json=as_json)
    if as_json:
        print_json({"path": str(paths[0]), "changed": bool(changed), "paths": [str(path) for path in changed]})
        return
    for path in changed or paths[:1]:
        console().print(f"The hooks are gone from {path}." if changed else f"No hook of ours was in {path}.", soft_wrap=True)


@app.command()
def status(as_json: JSON = False) -> None:  # noqa: FBT002  a command-line flag
    """Show where our hooks are, whether they run, and what waits to be written."""
    try:
        found = installed_here()
        problems = list(problems_of(found))
    except SessionDBError as error:
        fail(error, as_json=as_json)
    services = {url: why_not(url) for each in found for url in each.urls}
    spool = spool_of(get_settings())
    state = spool.state()
    if as_json:
        print_json(
            {
                "settings": [{"path": str(each.path), "transport": each.transport, "events": list(each.events)} for each in found],
                "services": [{"url": service_at(url), "answers": reason is None, "reason": reason} for url, reason in services.items()],
                "problems": problems,
                "spool": {"path": str(spool.directory), "waiting": state.waiting, "oldest": _moment(state.oldest), "bad": state.bad},
            }
        )
        return
    rows: list[tuple[str, Any]] = [("hooks", f"{len(each.events)}, {each.transport}, {each.path}") for each in found if each.events]
    rows = rows or [("hooks", "none: `session-db hooks install` puts them in")]
    rows += [("service", f"{service_at(url)} {'answers' if reason is None else reason}") for url, reason in services.items()]
    rows.append(("spool", f"{state.waiting} events wait, {state.bad} were set aside, {spool.directory}"))
    console().print(facts(rows))
    _print_problems(problems)


def _print_problems(problems: list[str]) -> None:
    for problem in problems:
        messages_console().print(problem, soft_wrap=True, markup=False)


def _moment(moment: Any) -> str | None:
    return None if moment is None else moment.isoformat()


def _entries(transport: str, url: str | None, claude: str, client_version: str | None) -> dict[str, Entry]:
    """Return the hook of each event that the client knows."""
    refuse_others("transport", transport, Transport)
    if transport != "http" and url is not None:
        raise InvalidInput("--url is given without --transport http; give both.")
    is_http = transport == "http"
    events = events_of(parse_version(client_version or _asked(claude)), "http" if is_http else "spool")
    http = http_entry(service_url(url or URL), os.uname().nodename) if is_http else None
    return entries_for(events, command_entry(spool_of(get_settings()).directory), http)


def _refuse_another_beside(path: Path, entries: dict[str, Entry]) -> list[Path]:
    """Return the other files that have the same hooks.

    Raises:
        Conflict: one has other hooks of ours: both would run, and each event be recorded twice.
    """
    others = [each for each in installed_here() if each.targets and os.path.realpath(each.path) != os.path.realpath(path)]
    for other in others:
        if other.clashes_with(entries):
            project = " --project" if other.path in settings_files(project=True) else ""
            raise Conflict(
                f"{other.path} has hooks of ours that are not the same ({other.transport}), and the client would run both; take them out "
                f"first with `session-db hooks uninstall{project}`, or install there.",
                path=str(other.path),
                transport=other.transport,
            )
    return [other.path for other in others]


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
        done = subprocess.run(command, capture_output=True, text=True, timeout=_VERSION_SECONDS, check=True, stdin=subprocess.DEVNULL)  # noqa: S603
    except (OSError, subprocess.SubprocessError) as error:
        raise InvalidInput(f"{program} --version failed: {error}; name the version with --client-version.") from error
    return done.stdout
