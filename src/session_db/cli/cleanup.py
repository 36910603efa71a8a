"""The command ``cleanup``: old sessions go, and what nobody ends any more is ended."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from typing import Annotated, Any

import typer
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from session_db.capture.reaping import Reaped, reap
from session_db.cli.inputs import JSON, Yes, is_interactive
from session_db.cli.output import as_json as model_json
from session_db.cli.output import console, messages_console, print_json
from session_db.cli.running import fail, refuse_bytes, run
from session_db.cli.session_view import print_sessions
from session_db.cli.sessions import refuse_unknown
from session_db.crud import Page, cleanup_sessions, erase_deleted_sessions
from session_db.crud.cleaning import list_old_sessions
from session_db.crud.sdk_sessions import delete_old_tombstones
from session_db.database import get_async_session, in_transaction
from session_db.database.batches import in_batches
from session_db.errors import InvalidInput
from session_db.models import Session, SessionRead
from session_db.models.table import now
from session_db.settings import get_settings, span_of

COUNTED = 100_000
"""Sessions that are counted before any goes."""

_PAGE = 1000


@dataclass(frozen=True)
class _Old:
    """Which sessions are old: the first of them, and how many there are, or more."""

    before: datetime
    status: str | None
    session_type: str | None
    first: list[Session] = field(default_factory=list)
    count: int = 0
    has_more: bool = False

    @property
    def filters(self) -> dict[str, Any]:
        return {"before": self.before, "status": self.status, "session_type": self.session_type}

    @property
    def said(self) -> str:
        return f"more than {self.count:,} sessions" if self.has_more else "1 session" if self.count == 1 else f"{self.count:,} sessions"


def add_to(app: typer.Typer) -> None:
    """Add the command to the command line."""
    app.command()(cleanup)


def cleanup(  # noqa: PLR0913, PLR0917  each filter is an option
    older_than: Annotated[str | None, typer.Option(metavar="90d", help="In which nothing happened for so long: 12h, 90d, 52w.")] = None,
    status: Annotated[str | None, typer.Option(help="Only with this status.")] = None,
    session_type: Annotated[str | None, typer.Option("--type", help="Only full, quick, research or chat.")] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say how many would go, and which first.")] = False,  # noqa: FBT002
    shown: Annotated[int, typer.Option("--limit", min=1, max=_PAGE, help="Sessions that are shown of those.")] = 20,
    reaps: Annotated[bool, typer.Option("--reap", help="End first what nobody ends, as the service does.")] = False,  # noqa: FBT002
    yes: Yes = False,  # noqa: FBT002  a command-line flag
    as_json: JSON = False,  # noqa: FBT002  a command-line flag
) -> None:
    """Delete old sessions whole, and end what nobody ends any more. Others may go on writing."""

    async def look() -> tuple[Reaped | None, _Old | None]:
        from session_db.capture.drain import drain  # noqa: PLC0415  what it needs takes time to import, and other commands need none

        refuse_bytes(status=status, older_than=older_than)
        before = _moment(older_than, dry_run=dry_run, reaps=reaps)
        refuse_unknown(status, session_type)
        # What waits may tell that a session goes on: all of it is written, or nothing is ended and nothing goes.
        await drain(get_settings())
        reaped = await reap(get_settings()) if reaps else None
        return reaped, None if before is None else await _count(_Old(before, status, session_type), shown)

    reaped, old = run(look, as_json=as_json, drains=False)
    if reaped is not None and not as_json:
        console().print(f"{reaped.failed} agents have failed; {reaped.idle} chats are idle now, and {reaped.terminated} terminated.")
    told: dict[str, Any] = {} if reaped is None else {"reaped": {name: getattr(reaped, name) for name in ("idle", "terminated", "failed")}}
    if old is not None and dry_run:
        told |= _told(old, as_json=as_json)
    elif old is not None:
        told |= _clean(old, yes=yes, as_json=as_json)
    if as_json:
        print_json(told)


def _moment(older_than: str | None, *, dry_run: bool, reaps: bool) -> datetime | None:
    """Return since when nothing happened in old sessions; None where only what nobody ends is to be ended."""
    if reaps and dry_run:
        raise InvalidInput("--reap ends sessions, and --dry-run changes nothing; give one of them.")
    if older_than is None:
        if reaps:
            return None
        raise InvalidInput("which sessions are old? Say it with --older-than, e.g. --older-than 90d. --help lists all.")
    span = span_of(older_than)
    if span is None:
        raise InvalidInput(f"--older-than: {older_than!r} is no span of time; use 30min, 12h, 90d or 52w.", older_than=older_than)
    return now() - span


async def _count(old: _Old, shown: int) -> _Old:
    """Count the sessions that would go, page by page, and keep the first."""
    first: list[Session] = []
    count, cursor = 0, None
    while count < COUNTED:
        async with get_async_session() as db:
            page = await list_old_sessions(db, **old.filters, limit=_PAGE, cursor=cursor)
        first += page[: shown - len(first)]
        count, cursor = count + len(page), page.next_cursor
        if cursor is None:
            break
    return _Old(old.before, old.status, old.session_type, first, count, has_more=cursor is not None)


def _told(old: _Old, *, as_json: bool) -> dict[str, Any]:
    if not as_json:
        console().print(f"{old.said} would be deleted, in which nothing happened since {old.before:%Y-%m-%d %H:%M} UTC.")
        if old.first:
            print_sessions(Page(old.first))
    first = [model_json(SessionRead.model_validate(session)) for session in old.first]
    return {"dry_run": True, "before": old.before.isoformat(), "sessions": old.count, "has_more": old.has_more, "first": first}


def _clean(old: _Old, *, yes: bool, as_json: bool) -> dict[str, Any]:
    if old.count and not yes:
        if as_json or not is_interactive():
            fail(
                InvalidInput(f"nothing was deleted: {old.said}. See which with --dry-run, and say that you mean it with --yes."),
                as_json=as_json,
            )
        typer.confirm(f"Delete {old.said}, in which nothing happened since {old.before:%Y-%m-%d %H:%M} UTC?", abort=True)
    sessions, rows = run(lambda: _delete(old), as_json=as_json, drains=False)
    if not as_json:
        console().print(f"Deleted {sessions:,} {'session' if sessions == 1 else 'sessions'} ({rows:,} rows).")
    return {"dry_run": False, "before": old.before.isoformat(), "sessions": sessions, "rows": rows}


async def _delete(old: _Old) -> tuple[int, int]:
    """Delete page by page, each with its rows: what is interrupted leaves little that is marked."""
    sessions, cursor = 0, None
    rows = await in_batches(erase_deleted_sessions)
    with _progress(None if old.has_more else old.count) as advance:
        while True:
            page: Page[Any] = await in_transaction(lambda db: cleanup_sessions(db, **old.filters, cursor=cursor))  # noqa: B023  awaited here
            rows += await in_batches(erase_deleted_sessions)
            sessions, cursor = sessions + len(page), page.next_cursor
            advance(len(page))
            if cursor is None:
                break
    await in_batches(delete_old_tombstones)
    return sessions, rows


@contextmanager
def _progress(total: int | None) -> Iterator[Callable[[int], None]]:
    screen = messages_console()
    columns = (TextColumn("Deleting"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=screen, transient=True, disable=not screen.is_terminal) as progress:
        task = progress.add_task("delete", total=total)
        yield lambda sessions: progress.advance(task, sessions)
