"""Commands for the database as a whole: init, upgrade, downgrade, current, reset."""

from collections.abc import Awaitable, Callable
from typing import Annotated

import typer
from rich.text import Text

from session_db.cli.inputs import JSON, Yes, is_interactive
from session_db.cli.output import console, messages_console, print_json
from session_db.cli.running import fail, run
from session_db.database import RevisionChange, current_revision, downgrade_db, head, init_db, reset_db, upgrade_db
from session_db.database.shown import revision_state, where
from session_db.errors import InvalidInput
from session_db.lines import one_line


def add_to(app: typer.Typer) -> None:
    """Add the commands to the command line."""
    for command in (init, upgrade, downgrade, current, reset):
        app.command()(command)


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
    found, remedy = revision_state(revision)
    console().print(f"{found}, up to date." if remedy is None else f"{found}. {remedy}", markup=False)


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
