"""Commands for the database as a whole: init, upgrade, downgrade, current, reset, doctor."""

import shutil
from collections.abc import Awaitable, Callable
from dataclasses import asdict, dataclass
from datetime import timedelta
from typing import Annotated, Any, Literal

import typer
from rich.table import Table
from rich.text import Text

from session_db.capture.spool import spool_of
from session_db.cli.inputs import JSON, Yes, is_interactive
from session_db.cli.output import console, messages_console, one_line, print_json, printable
from session_db.cli.running import fail, run
from session_db.crud.transcripts import get_missing, list_pending_hosts
from session_db.database import (
    RevisionChange,
    current_revision,
    database_facts,
    downgrade_db,
    get_async_session,
    head,
    init_db,
    reset_db,
    upgrade_db,
)
from session_db.database.url import shown_url
from session_db.errors import InvalidInput, SessionDBError
from session_db.models.table import now
from session_db.settings import get_settings, origins

_LONG = timedelta(hours=1)
"""How long captured events may wait."""

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
    for command in (init, upgrade, downgrade, current, reset, doctor):
        app.command()(command)


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


def upgrade(
    revision: Annotated[str, typer.Argument(help="Revision of the tables, or head for the newest.")] = "head",
    as_json: JSON = False,  # noqa: FBT002  a command-line flag
) -> None:
    """Bring the tables to a newer revision; what is in them stays."""
    _move(upgrade_db, revision, f"Upgrading to {revision}", as_json=as_json)


def downgrade(
    revision: Annotated[str, typer.Argument(help="Revision of the tables, or base for no tables at all.")],
    yes: Yes = False,  # noqa: FBT002  a command-line flag
    as_json: JSON = False,  # noqa: FBT002  a command-line flag
) -> None:
    """Bring the tables back to an older revision, and drop what it cannot hold."""
    if not yes:
        ask(f"Downgrade {where()} to {revision} and lose what it cannot hold?", f"downgrade {revision} --yes", as_json=as_json)
    _move(downgrade_db, revision, f"Downgrading to {revision}", as_json=as_json)


def _move(change: Callable[[str], Awaitable[RevisionChange]], revision: str, doing: str, *, as_json: bool) -> None:
    async def work() -> RevisionChange:
        with messages_console().status(Text(f"{one_line(doing)} …")):
            return await change(revision)

    before, after = run(work, as_json=as_json, needs_tables=False)
    if as_json:
        print_json({"database": where(), "before": before, "revision": after})
    else:
        console().print(f"{_moved(before, after)}: {one_line(where())}.", markup=False)


def _moved(before: str | None, after: str | None) -> str:
    if before == after:
        return f"Nothing to do, the tables are of revision {after}" if after else "Nothing to do, there are no tables"
    if before is None:
        return f"Made the tables of revision {after}"
    return f"Dropped the tables of revision {before}" if after is None else f"Changed the tables from revision {before} to {after}"


def current(as_json: JSON = False) -> None:  # noqa: FBT002  a command-line flag
    """Print the revision of the tables, and the newest one that this version has."""
    revision = run(current_revision, as_json=as_json, needs_tables=False)
    if as_json:
        print_json({"database": where(), "revision": revision, "head": head(), "up_to_date": revision == head()})
        return
    check = _migrations(revision)
    console().print(f"{check.found}, up to date." if check.remedy is None else f"{check.found}. {check.remedy}", markup=False)


def reset(
    yes: Yes = False,  # noqa: FBT002  a command-line flag
    as_json: JSON = False,  # noqa: FBT002  a command-line flag
) -> None:
    """Drop all tables of session-db with everything in them, and make them anew."""
    if not yes:
        ask(f"Delete all sessions in {where()}?", "reset --yes", as_json=as_json)
    run(reset_db, as_json=as_json, needs_tables=False)
    if as_json:
        print_json({"database": where(), "revision": head(), "reset": True})
    else:
        console().print(f"Everything was deleted; the tables are new: {one_line(where())}.", markup=False)


def ask(question: str, command: str, *, as_json: bool) -> None:
    """End the command unless a person at the terminal agrees."""
    if as_json or not is_interactive():
        fail(InvalidInput(f"nothing was deleted. Say that you mean it: session-db {command}"), as_json=as_json)
    typer.confirm(one_line(question), abort=True)


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
        revision = await current_revision()
        checks.append(_migrations(revision))
        if revision == head():
            checks.append(await _transcripts())
    except SessionDBError as error:
        checks.append(Check("server", "failed", error.message, "Start the server, or correct SESSION_DB_URL."))
    return [*checks, _disk(), _spool()]


async def _transcripts() -> Check:
    async with get_async_session() as db:
        pending, entries = await get_missing(db)
        hosts = await list_pending_hosts(db) if pending else []
    found = f"{pending} were not read yet, {entries} entries are missing"
    if pending:
        named = ", ".join(f"{host} ({count})" for host, count in hosts)
        return Check("transcripts", "warning", found, f"Run session-db drain, or session-db import, where they are: {named}.")
    if entries:
        return Check("transcripts", "warning", found, "Run session-db import where the client's own files are.")
    return Check("transcripts", "ok", found)


def _migrations(revision: str | None) -> Check:
    if revision == head():
        return Check("migrations", "ok", f"revision {revision}")
    if revision is None:
        return Check("migrations", "warning", "there are no tables", "Run session-db init.")
    remedy = "Run session-db init." if revision < head() else "Upgrade session-db."
    return Check("migrations", "warning", f"revision {revision}, this version needs {head()}", remedy)


def _disk() -> Check:
    home = get_settings().home
    existing = next(path for path in (home, *home.parents) if path.exists())
    free = shutil.disk_usage(existing).free
    found = f"{free / 1024**3:.1f} GiB free at {existing}"
    return Check("disk", "ok", found) if free >= _FREE_BYTES else Check("disk", "warning", found, "Free some space.")


def _spool() -> Check:
    spool = spool_of(get_settings())
    state = spool.state()
    found = f"{state.waiting} captured events wait, {state.bad} were set aside"
    if state.bad:
        return Check("spool", "warning", found, f"Each has its reason beside it, in {spool.directory}/bad.")
    if state.oldest is not None and now() - state.oldest > _LONG:
        return Check("spool", "warning", f"{found}, the first since {state.oldest:%Y-%m-%d %H:%M} UTC", "Run session-db drain.")
    return Check("spool", "ok", found)


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
