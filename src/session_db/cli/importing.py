"""The command ``import``: recorded runs into the database."""

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

from session_db.capture.importer import ImportReport, import_recordings
from session_db.capture.recordings import find_recordings
from session_db.cli.moving import import_export, is_export
from session_db.cli.output import console, messages_console, print_json
from session_db.cli.running import run
from session_db.lines import one_line

SHOWN_PROBLEMS = 20


def add_to(app: typer.Typer) -> None:
    """Add the command to the command line."""
    app.command("import")(import_)


def import_(
    paths: Annotated[
        list[Path] | None,
        typer.Argument(
            help="Transcripts, project folders, the folder of all projects; or a file of export --all (- is standard input).",
            show_default="~/.claude/projects",
        ),
    ] = None,
    restore_deleted: Annotated[bool, typer.Option("--restore-deleted", help="Import sessions that were deleted, too.")] = False,  # noqa: FBT002
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,  # noqa: FBT002
) -> None:
    """Import recorded Claude Code sessions. Goes on where the last import stopped; a second one changes nothing."""
    wanted = paths or [claude_directory() / "projects"]
    if any(map(is_export, wanted)):
        import_export(wanted, restore_deleted=restore_deleted, as_json=as_json)
        return
    report = run(lambda: import_with_progress(wanted, restore_deleted=restore_deleted), as_json=as_json)
    if as_json:
        print_json(report_json(report))
    else:
        print_report(report)


def claude_directory() -> Path:
    """Return where Claude Code keeps its files."""
    return Path(os.environ.get("CLAUDE_CONFIG_DIR") or Path.home() / ".claude")


async def import_with_progress(paths: list[Path], *, restore_deleted: bool = False) -> ImportReport:
    """Import, and show on a terminal how far it is."""
    size = sum(recording.size for recording in find_recordings(paths))
    with _progress(size) as advance:
        return await import_recordings(paths, restore_deleted=restore_deleted, on_progress=advance)


@contextmanager
def _progress(size: int) -> Iterator[Callable[[int], None]]:
    columns = (TextColumn("Importing"), BarColumn(), DownloadColumn(binary_units=True), TimeRemainingColumn())
    with Progress(*columns, console=messages_console(), transient=True) as progress:
        task = progress.add_task("import", total=size)
        yield lambda read: progress.advance(task, read)


def report_json(report: ImportReport) -> dict[str, object]:
    """Return the report as it is printed for programs."""
    sessions = ("sessions_new", "sessions_updated", "sessions_unchanged", "sessions_deleted")
    names = (*sessions, "entries", "events", "messages", "usage", "secrets_masked")
    problems = [{"path": str(problem.path), "line": problem.line, "reason": problem.reason} for problem in report.problems.values()]
    return {name: getattr(report, name) for name in names} | {"session_ids": list(map(str, report.session_ids)), "problems": problems}


def print_report(report: ImportReport) -> None:
    """Print what an import did."""
    table = Table(box=None, show_header=False, padding=(0, 1))
    table.add_column(justify="right")
    sessions = (
        (report.sessions_new, "new"),
        (report.sessions_updated, "updated"),
        (report.sessions_unchanged, "unchanged"),
        (report.sessions_deleted, "deleted, left out"),
    )
    table.add_row(
        str(sum(number for number, _ in sessions)), "sessions: " + ", ".join(f"{number} {what}" for number, what in sessions if number)
    )
    for number, what in (
        (report.entries, "transcript entries"),
        (report.events, "events"),
        (report.messages, "messages"),
        (report.usage, "answers with their cost"),
        (report.secrets_masked, "secrets masked"),
    ):
        table.add_row(f"{number:,}", what)
    console().print(table)
    if report.sessions_deleted:
        console().print("Deleted sessions stay deleted; --restore-deleted imports them again.")
    problems = list(report.problems.values())
    for problem in problems[:SHOWN_PROBLEMS]:
        place = f"{problem.path}:{problem.line}" if problem.line else str(problem.path)
        messages_console().print(f"{one_line(place)}: {one_line(problem.reason)}; skipped.", markup=False, soft_wrap=True)
    if len(problems) > SHOWN_PROBLEMS:
        messages_console().print(f"… and {len(problems) - SHOWN_PROBLEMS} more lines that could not be read; --json lists them all.")
