"""The command ``doctor``: it checks everything, says what to do, and does what is safe."""

from collections.abc import Callable
from dataclasses import asdict, replace
from typing import Annotated, Any

import typer
from rich.table import Table
from rich.text import Text

from session_db.cli import client_checks, data_checks, machine_checks, server_checks
from session_db.cli.checks import Check, Examination, Fix, Inspection
from session_db.cli.database import where
from session_db.cli.inputs import JSON
from session_db.cli.output import console, messages_console, print_json, printable
from session_db.cli.running import run
from session_db.database.url import shown_url
from session_db.models.text import one_line
from session_db.settings import get_settings, origins

_MARKS = {"ok": "[green]✓[/]", "warning": "[yellow]![/]", "failed": "[bold red]✗[/]"}

SETTINGS = (
    Inspection("settings", machine_checks.look_at_settings),
    Inspection("secrets", machine_checks.look_at_secrets, machine_checks.fix_secrets),
)
SERVER = Inspection("server", server_checks.look_at_server)
MIGRATIONS = Inspection("migrations", server_checks.look_at_migrations)
UPKEEP = (
    Inspection("upkeep", server_checks.look_at_upkeep),
    Inspection("connections", server_checks.look_at_connections),
)
TABLES = Inspection("tables", server_checks.look_at_tables, server_checks.fix_tables)
SPOOL = Inspection("spool", machine_checks.look_at_spool, machine_checks.fix_spool)
DATA = (
    Inspection("transcripts", data_checks.look_at_transcripts, data_checks.fix_transcripts),
    Inspection("client files", client_checks.look_at_client_files),
    Inspection("deleted sessions", data_checks.look_at_deleted, data_checks.fix_deleted),
    Inspection("agents", data_checks.look_at_agents, data_checks.fix_agents),
    Inspection("empty sessions", data_checks.look_at_empty),
    Inspection("tokens", data_checks.look_at_tokens),
    Inspection("ended tokens", data_checks.look_at_ended_tokens, data_checks.fix_ended_tokens),
)
MACHINE = (
    Inspection("hooks", machine_checks.look_at_hooks),
    Inspection("disk", machine_checks.look_at_disk),
)


def add_to(app: typer.Typer) -> None:
    """Add the command to the command line."""
    app.command()(doctor)


def doctor(
    everything: Annotated[bool, typer.Option("--all", help="Compare the counters of all sessions, not only of the last active.")] = False,  # noqa: FBT002
    fix: Annotated[bool, typer.Option("--fix", help="Do what is safe about what was found, and check again.")] = False,  # noqa: FBT002
    as_json: JSON = False,  # noqa: FBT002  a command-line flag
) -> None:
    """Check settings, server, tables and capture, and say what to do."""
    with messages_console().status("Checking …") as status:

        def tell(doing: str) -> None:
            status.update(Text(doing))

        examination = Examination(fixes_too=fix, tell=tell)
        run(lambda: _examine(examination, tell, everything=everything), as_json=as_json, needs_tables=False)
    settings = _settings()
    if as_json:
        found = {"checks": [asdict(check) for check in examination.checks], "fixes": [asdict(each) for each in examination.fixes]}
        print_json({"database": where(), "settings": settings} | found)
    else:
        _print_checks(examination.checks)
        _print_fixes(examination.fixes)
        _print_settings(settings)
    if any(check.state == "failed" for check in examination.checks):
        raise typer.Exit(1)


async def _examine(examination: Examination, tell: Callable[[str], None], *, everything: bool) -> None:
    await examination.make_all(SETTINGS)
    if await _is_ready(examination):
        # A counter that is too low refuses what waits in the spool, and what waits may be what the checks after it miss.
        counters = data_checks.Counters(everything=everything, tell=tell)
        await examination.make_all([TABLES, *counters.inspections, SPOOL, *DATA])
    else:
        await examination.make(replace(SPOOL, fix=None))
    await examination.make_all(MACHINE)


async def _is_ready(examination: Examination) -> bool:
    """Check the server, and say whether it has the tables of this version."""
    if (await examination.make(SERVER)).state == "failed":
        return False
    await examination.make_all(UPKEEP)
    return (await examination.make(MIGRATIONS)).state == "ok"


def _settings() -> dict[str, Any]:
    settings = get_settings()
    values = settings.model_dump(mode="json") | {"url": shown_url(settings.url.get_secret_value()) if settings.url else None}
    return {name: {"value": values[name], "from": origin} for name, origin in origins(settings).items()}


def _print_checks(checks: list[Check]) -> None:
    table = Table(box=None, show_header=False, padding=(0, 1))
    for check in checks:
        table.add_row(_MARKS[check.state], check.name, Text(printable(check.found + (f"\n→ {check.remedy}" if check.remedy else ""))))
    console().print(table)


def _print_fixes(fixes: list[Fix]) -> None:
    for fix in fixes:
        console().print(Text(one_line(f"Fixed {fix.name}: {fix.done}." if fix.done else f"Not fixed: {fix.name}: {fix.error}")))


def _print_settings(settings: dict[str, Any]) -> None:
    listed = Table(title="Settings", title_justify="left", box=None, padding=(0, 1), header_style="dim")
    for heading in ("setting", "value", "from"):
        listed.add_column(heading, overflow="fold")
    for name, setting in settings.items():
        value = "-" if setting["value"] is None else str(setting["value"])
        listed.add_row(name, Text(one_line(value)), Text(one_line(setting["from"])))
    console().print(listed)
