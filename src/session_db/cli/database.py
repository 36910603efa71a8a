"""Commands for the database as a whole: init, doctor, reset."""

import shutil
import sys
from dataclasses import asdict, dataclass
from typing import Annotated, Any, Literal

import typer
from rich.table import Table
from rich.text import Text

from session_db.cli.output import console, one_line, print_json, printable
from session_db.cli.running import fail, run
from session_db.database import current_revision, database_facts, head, init_db, reset_db
from session_db.database.url import shown_url
from session_db.errors import InvalidInput, SessionDBError
from session_db.settings import get_settings, origins

JSON = Annotated[bool, typer.Option("--json", help="Print JSON.")]

_FREE_BYTES = 1024**3


@dataclass(frozen=True)
class Check:
    """One finding of ``doctor``."""

    name: str
    state: Literal["ok", "warning", "failed"]
    found: str
    remedy: str | None = None


def add_to(app: typer.Typer) -> None:
    """Add the commands to the command line."""
    app.command()(init)
    app.command()(doctor)
    app.command()(reset)


def where() -> str:
    """Say which database is used, without a password."""
    settings = get_settings()
    return f"embedded PostgreSQL in {settings.home}" if settings.url is None else shown_url(settings.url.get_secret_value())


def init(as_json: JSON = False) -> None:  # noqa: FBT002  a command-line flag
    """Make the tables, or bring them up to date. Safe to run again, and by many at once."""
    run(init_db, as_json=as_json, needs_tables=False)
    if as_json:
        print_json({"database": where(), "revision": head()})
    else:
        console().print(f"Ready: {one_line(where())}, revision {head()}.", markup=False)


def reset(
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,  # noqa: FBT002  a command-line flag
    as_json: JSON = False,  # noqa: FBT002  a command-line flag
) -> None:
    """Drop all tables of session-db with everything in them, and make them anew."""
    if not yes:
        if as_json or not sys.stdin.isatty():
            fail(InvalidInput("nothing was deleted. Say that you mean it: session-db reset --yes"), as_json=as_json)
        typer.confirm(f"Delete all sessions in {one_line(where())}?", abort=True)
    run(reset_db, as_json=as_json, needs_tables=False)
    if as_json:
        print_json({"database": where(), "revision": head(), "reset": True})
    else:
        console().print(f"Everything was deleted; the tables are new: {one_line(where())}.", markup=False)


def doctor(as_json: JSON = False) -> None:  # noqa: FBT002  a command-line flag
    """Check settings, server and tables, and say what to do."""
    checks = run(_checks, as_json=as_json, needs_tables=False)
    settings = _settings()
    if as_json:
        print_json({"database": where(), "settings": settings, "checks": [asdict(check) for check in checks]})
    else:
        _print_checks(checks, settings)
    if any(check.state == "failed" for check in checks):
        raise typer.Exit(1)


def _settings() -> dict[str, Any]:
    settings = get_settings()
    values = settings.model_dump(mode="json") | {"url": shown_url(settings.url.get_secret_value()) if settings.url else None}
    return {name: {"value": values[name], "from": origin} for name, origin in origins(settings).items()}


async def _checks() -> list[Check]:
    checks = []
    try:
        facts = await database_facts()
        checks.append(Check("server", "ok", f"PostgreSQL {facts.version}, {facts.size_bytes / 1024**2:.1f} MiB in {where()}"))
        checks.append(_migrations(await current_revision()))
    except SessionDBError as error:
        checks.append(Check("server", "failed", error.message, "Start the server, or correct SESSION_DB_URL."))
    return [*checks, _disk()]


def _migrations(revision: str | None) -> Check:
    if revision == head():
        return Check("migrations", "ok", f"revision {revision}")
    found = "there are no tables" if revision is None else f"revision {revision}, this version needs {head()}"
    return Check("migrations", "warning", found, "Run session-db init.")


def _disk() -> Check:
    home = get_settings().home
    existing = next(path for path in (home, *home.parents) if path.exists())
    free = shutil.disk_usage(existing).free
    found = f"{free / 1024**3:.1f} GiB free at {existing}"
    return Check("disk", "ok", found) if free >= _FREE_BYTES else Check("disk", "warning", found, "Free some space.")


def _print_checks(checks: list[Check], settings: dict[str, Any]) -> None:
    marks = {"ok": "[green]✓[/]", "warning": "[yellow]![/]", "failed": "[bold red]✗[/]"}
    table = Table(box=None, show_header=False, padding=(0, 1))
    for check in checks:
        table.add_row(marks[check.state], check.name, Text(printable(check.found + (f"\n→ {check.remedy}" if check.remedy else ""))))
    console().print(table)
    listed = Table(title="Settings", title_justify="left", box=None, padding=(0, 1), header_style="dim")
    for heading in ("setting", "value", "from"):
        listed.add_column(heading, overflow="fold")
    for name, setting in settings.items():
        value = "-" if setting["value"] is None else str(setting["value"])
        listed.add_row(name, Text(one_line(value)), Text(one_line(setting["from"])))
    console().print(listed)
