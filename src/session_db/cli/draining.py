"""The command ``drain``: what hooks captured goes into the database."""

from dataclasses import asdict

import typer

from session_db.capture.drain import DrainReport, drain
from session_db.capture.spool import spool_of
from session_db.cli.inputs import JSON
from session_db.cli.output import console, messages_console, print_json
from session_db.cli.running import run
from session_db.settings import get_settings


def add_to(app: typer.Typer) -> None:
    """Add the command to the command line."""
    app.command("drain")(drain_)


def drain_(as_json: JSON = False) -> None:  # noqa: FBT002  a command-line flag
    """Write the events that hooks captured. The service and every reading command do it by themselves."""

    async def work() -> DrainReport:
        return await drain(get_settings())

    report = run(work, as_json=as_json, drains=False)
    if as_json:
        shown = {name: value for name, value in asdict(report).items() if name != "unmovable"}
        print_json(shown | {"transcripts": sorted(map(str, report.transcripts))})
        return
    spool = spool_of(get_settings())
    console().print(f"{report.events} events were written, {report.known} were known, and {len(report.transcripts)} transcripts read.")
    if report.deleted:
        console().print(f"{report.deleted} events of deleted sessions were left out.")
    if report.bad:
        messages_console().print(f"{report.bad} files were set aside, each with its reason: {spool.directory}/bad", soft_wrap=True)
    for problem in report.unread:
        messages_console().print(problem, soft_wrap=True, markup=False)
