"""The command ``demo``: a recorded run that comes with the package, imported and shown."""

from pathlib import Path
from typing import Annotated

import typer

from session_db.cli.importing import import_with_progress
from session_db.cli.output import console, print_json
from session_db.cli.running import run
from session_db.cli.sessions import Shown, load, print_shown, shown_json

RECORDING = Path(__file__).parent / "demo_recording"


def add_to(app: typer.Typer) -> None:
    """Add the command to the command line."""
    app.command()(demo)


def demo(as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False) -> None:  # noqa: FBT002  a command-line flag
    """Import a recorded run of a real agent, and show it."""
    shown = run(_import_and_load, as_json=as_json)
    if as_json:
        print_json(shown_json(shown))
        return
    print_shown(shown)
    console().print("\nNext: [bold]session-db import[/] takes your own sessions in, [bold]session-db serve[/] shows them in a browser.")


async def _import_and_load() -> Shown:
    report = await import_with_progress([RECORDING], restore_deleted=True)
    return await load(str(report.session_ids[0]), messages=10, events=50)
