"""The commands ``backup`` and ``restore``."""

from datetime import timedelta
from pathlib import Path
from typing import Annotated

import typer
from rich.filesize import decimal

from session_db.cli.database import ask
from session_db.cli.inputs import JSON, Yes
from session_db.cli.output import console, duration, print_json
from session_db.cli.progress import showing_progress
from session_db.cli.running import run
from session_db.database import head
from session_db.database.backup import Backup, Restored, backup_database, restore_database
from session_db.database.shown import where
from session_db.lines import one_line

Force = Annotated[bool, typer.Option("--force", help="Replace the file where it is there already.")]


def add_to(app: typer.Typer) -> None:
    """Add the commands to the command line."""
    app.command()(backup)
    app.command()(restore)


def backup(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="File to write; pg_restore can read it, too.")],
    force: Force = False,  # noqa: FBT002  a command-line flag
    as_json: JSON = False,  # noqa: FBT002  a command-line flag
) -> None:
    """Write all that is in the tables at this moment to a file for restore. Others may go on writing."""

    async def work() -> Backup:
        with showing_progress("Backing up") as advance:
            return await backup_database(file, replace=force, on_progress=advance)

    done = run(work, as_json=as_json, needs_tables=False)
    if as_json:
        facts = {"revision": done.revision, "size_bytes": done.size_bytes, "seconds": round(done.seconds, 3)}
        print_json({"database": where(), "file": str(file), **facts})
    else:
        took = duration(timedelta(seconds=done.seconds))
        console().print(f"{one_line(str(file))}: {decimal(done.size_bytes)}, revision {done.revision}, {took}.", markup=False)


def restore(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="File that backup wrote.")],
    replace: Annotated[bool, typer.Option("--replace", help="Delete what is in the tables first.")] = False,  # noqa: FBT002
    yes: Yes = False,  # noqa: FBT002  a command-line flag
    as_json: JSON = False,  # noqa: FBT002  a command-line flag
) -> None:
    """Put what a backup holds into an empty database. All of it, or after a failure nothing."""
    if replace and not yes:
        ask(f"Delete all sessions in {where()} and put those of {file} in their place?", f"restore {file} --replace --yes", as_json=as_json)

    async def work() -> Restored:
        with showing_progress("Restoring") as advance:
            return await restore_database(file, replace=replace, on_progress=advance)

    done = run(work, as_json=as_json, needs_tables=False)
    if as_json:
        facts = {"file_revision": done.revision, "revision": head(), "rows": done.rows, "seconds": round(done.seconds, 3)}
        print_json({"database": where(), "file": str(file), **facts})
    else:
        took = duration(timedelta(seconds=done.seconds))
        rows = f"{sum(done.rows.values()):,} rows, {done.rows.get('sessions', 0):,} of them sessions"
        upgraded = "" if done.revision == head() else f", upgraded from revision {done.revision} to {head()}"
        console().print(f"{rows}{upgraded}, {took}: {one_line(where())}.", markup=False)
