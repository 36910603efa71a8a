"""The command ``drain``: what hooks captured goes into the database."""

from dataclasses import asdict
from typing import Annotated

import typer

from session_db.capture.drain import DrainReport, drain
from session_db.capture.reading import read_pending
from session_db.capture.spool import Spool, spool_of
from session_db.cli.asking import service_url
from session_db.cli.failing import fail
from session_db.cli.forwarding import forward
from session_db.cli.inputs import JSON
from session_db.cli.output import console, messages_console, print_json
from session_db.cli.running import run
from session_db.cli.token_file import find_token
from session_db.errors import SessionDBError
from session_db.settings import get_settings


def add_to(app: typer.Typer) -> None:
    """Add the command to the command line."""
    app.command("drain")(drain_)


def drain_(
    url: Annotated[str | None, typer.Option(metavar="URL", help="Send them to this service instead, which writes them.")] = None,
    as_json: JSON = False,  # noqa: FBT002  a command-line flag
) -> None:
    """Write the events that hooks captured. The service and every reading command do it by themselves.

    Transcripts of this machine that could not be read before are read, too, as the service does once a minute.
    """
    if url is not None:
        _forward(url, as_json=as_json)
        return

    async def work() -> DrainReport:
        report = await drain(get_settings())
        await read_pending(get_settings(), report)
        return report

    report = run(work, as_json=as_json, drains=False)
    if as_json:
        shown = {name: value for name, value in asdict(report).items() if name != "unmovable"}
        print_json(shown | {"transcripts": sorted(map(str, report.transcripts))})
        return
    spool = spool_of(get_settings())
    console().print(f"{report.events} events were written, {report.known} were known, and {len(report.transcripts)} transcripts read.")
    if report.told:
        console().print(f"{report.told} messages were made of what hooks told: their transcripts cannot be read here.")
    if report.deleted:
        console().print(f"{report.deleted} events of deleted sessions were left out.")
    _print_bad(report.bad, spool)
    for problem in report.unread:
        messages_console().print(problem, soft_wrap=True, markup=False)


def _forward(url: str, *, as_json: bool) -> None:
    spool = spool_of(get_settings())
    try:
        done = forward(spool, service_url(url), find_token(get_settings()))
    except SessionDBError as error:
        fail(error, as_json=as_json)
    if as_json:
        print_json(asdict(done))
        return
    console().print(f"{done.sent} events were sent.")
    _print_bad(done.bad, spool)


def _print_bad(count: int, spool: Spool) -> None:
    if count:
        messages_console().print(f"{count} files were set aside, each with its reason: {spool.directory}/bad", soft_wrap=True)
