"""The commands ``workspace sync|watch|status``."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.text import Text

from session_db.cli.inputs import JSON
from session_db.cli.output import console, messages_console, print_json
from session_db.cli.running import run
from session_db.lines import one_line
from session_db.workspace.projects import Report, sync_project
from session_db.workspace.syncing import How, Outcome
from session_db.workspace.watching import watch_project

SHOWN = 50
"""Folders that are named one by one."""

_STYLES = {"created": "green", "updated": "cyan", "written": "blue", "deleted": "dim"}
_DOES = {
    "created": "a new session",
    "updated": "edits of the files are in the database now",
    "written": "state.json is up to date now",
    "deleted": "its session was deleted; --restore-deleted makes it anew",
}
_WOULD = {
    "created": "is not in the database",
    "updated": "was edited",
    "written": "is behind the database",
    "deleted": "its session was deleted",
}

app = typer.Typer(help="Keep folders of sessions (agents/sessions/SLUG) in step with the database.", no_args_is_help=True)

Directory = Annotated[Path | None, typer.Argument(metavar="DIR", help="A project.", show_default="the current directory")]
RestoreDeleted = Annotated[bool, typer.Option("--restore-deleted", help="Make sessions anew that were deleted.")]
Move = Annotated[bool, typer.Option("--move", help="Let a folder be its session's where that has its folder elsewhere.")]


@app.command()
def sync(
    directory: Directory = None,
    restore_deleted: RestoreDeleted = False,  # noqa: FBT002  a command-line flag
    move: Move = False,  # noqa: FBT002  a command-line flag
    as_json: JSON = False,  # noqa: FBT002  a command-line flag
) -> None:
    """Bring edits of all session folders into the database, and their state.json up to date. A second run changes nothing.

    A folder that cannot be read is told with its reason and left as it is; the exit code is 1 then.
    """
    how = How(restore_deleted=restore_deleted, move=move)
    _report(_run(directory, how, as_json=as_json), _DOES, as_json=as_json)


@app.command()
def status(
    directory: Directory = None,
    as_json: JSON = False,  # noqa: FBT002  a command-line flag
) -> None:
    """Show how session folders and database differ, and change nothing."""
    _report(_run(directory, How(is_rehearsal=True), as_json=as_json), _WOULD, as_json=as_json)


@app.command()
def watch(
    directory: Directory = None,
    as_json: JSON = False,  # noqa: FBT002  a command-line flag
) -> None:
    """Sync now, and from then on whatever changes in the folders or in the database, until Ctrl-C."""

    def tell(report: Report) -> None:
        if as_json and (changed := report_json(report)) and (changed["folders"] or changed["problems"]):
            print_json(changed)
        elif not as_json:
            _print_folders(report, _DOES)
            _print_problems(report)

    project = directory or Path.cwd()
    if not as_json:
        messages_console().print(f"Watching {one_line(str(project))}; Ctrl-C ends it.", markup=False, soft_wrap=True)
    with suppress(KeyboardInterrupt):
        run(lambda: watch_project(project, tell), as_json=as_json)


def _run(directory: Path | None, how: How, *, as_json: bool) -> Report:
    async def work() -> Report:
        with _progress() as advance:
            return await sync_project(directory or Path.cwd(), how, on_progress=advance)

    return run(work, as_json=as_json)


@contextmanager
def _progress() -> Iterator[Callable[[int, int], None]]:
    columns = (TextColumn("Folders"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    screen = messages_console()
    with Progress(*columns, console=screen, transient=True, disable=not screen.is_terminal) as progress:
        task = progress.add_task("folders", total=None)
        yield lambda done, total: progress.update(task, completed=done, total=total)


def _report(report: Report, words: dict[str, str], *, as_json: bool) -> None:
    if as_json:
        print_json(report_json(report))
    else:
        _print_folders(report, words)
        unchanged = sum(outcome.action == "unchanged" for outcome in report.outcomes)
        console().print(f"Session folders: {len(report.outcomes):,}, in step: {unchanged:,}.", markup=False)
        _print_problems(report)
    if report.problems:
        raise typer.Exit(1)


def report_json(report: Report) -> dict[str, Any]:
    """Return what was done, for programs; folders that are in step are only counted."""
    changed = [outcome for outcome in report.outcomes if outcome.action != "unchanged" or outcome.conflicts or outcome.note]
    return {
        "directory": report.directory,
        "in_step": len(report.outcomes) - len(changed),
        "folders": [_outcome_json(outcome) for outcome in changed],
        "problems": [{"slug": each.slug, "path": str(each.path), "reason": each.reason} for each in report.problems],
    }


def _outcome_json(outcome: Outcome) -> dict[str, Any]:
    return asdict(outcome) | {"session_id": None if outcome.session_id is None else str(outcome.session_id)}


def _print_folders(report: Report, words: dict[str, str]) -> None:
    changed = [outcome for outcome in report.outcomes if outcome.action != "unchanged" or outcome.conflicts]
    for outcome in changed[:SHOWN]:
        said = words.get(outcome.action, "")
        fields = f" ({', '.join(outcome.fields)})" if outcome.fields else ""
        line = Text.assemble((one_line(outcome.slug), _STYLES.get(outcome.action, "")), f": {said}{fields}")
        console().print(line, soft_wrap=True)
        for conflict in outcome.conflicts:
            console().print(f"  {conflict.field}: both differ; the {conflict.kept} has it.", markup=False, soft_wrap=True)
    if len(changed) > SHOWN:
        console().print(f"… and {len(changed) - SHOWN:,} more; --json lists them all.")


def _print_problems(report: Report) -> None:
    tell = partial(messages_console().print, markup=False, soft_wrap=True)
    for outcome in report.outcomes:
        if outcome.note:
            tell(f"{one_line(outcome.slug)}: {one_line(outcome.note)}")
    for problem in report.problems[:SHOWN]:
        tell(f"{one_line(problem.slug)}: {one_line(problem.reason)}")
    if len(report.problems) > SHOWN:
        tell(f"… and {len(report.problems) - SHOWN:,} more that cannot be synced; --json lists them all.")
