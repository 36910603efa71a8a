"""The command ``doctor``: it checks everything, says what to do, and does what is safe."""

from dataclasses import asdict
from typing import Annotated, Any

import typer
from rich.table import Table
from rich.text import Text

from session_db.cli.inputs import JSON
from session_db.cli.output import console, messages_console, print_json, printable
from session_db.cli.running import run
from session_db.database.shown import where
from session_db.doctor.checks import Check, Examination, Fix
from session_db.doctor.examining import examine, shown_settings
from session_db.lines import one_line

_MARKS = {"ok": "[green]✓[/]", "warning": "[yellow]![/]", "failed": "[bold red]✗[/]"}


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
        run(lambda: examine(examination, tell, everything=everything), as_json=as_json, needs_tables=False)
    settings = shown_settings()
    if as_json:
        found = {"checks": [asdict(check) for check in examination.checks], "fixes": [asdict(each) for each in examination.fixes]}
        print_json({"database": where(), "settings": settings} | found)
    else:
        _print_checks(examination.checks)
        _print_fixes(examination.fixes)
        _print_settings(settings)
    if any(check.state == "failed" for check in examination.checks):
        raise typer.Exit(1)


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
