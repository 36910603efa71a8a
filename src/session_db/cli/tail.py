"""The command ``tail``: what agents do, as they do it."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing, asynccontextmanager, suppress
from datetime import datetime
from typing import Annotated, Any
from uuid import UUID

import typer
from rich.text import Text

from session_db.api.answers import JSONAnswer
from session_db.api.streams import LATEST, Frame, Position, Reader, position_of, session_frames
from session_db.capture.drain import drain
from session_db.cli.inputs import JSON
from session_db.cli.output import console, status_text
from session_db.cli.running import run
from session_db.cli.session_view import CALL_MARKS
from session_db.cli.sessions import WorkingDir, find_session
from session_db.crud import list_sessions
from session_db.database import get_async_session
from session_db.database.violations import DRIVER_ERRORS
from session_db.errors import NotFound, SessionDBError
from session_db.lines import one_line
from session_db.live import Lagged, Stopping, get_hub
from session_db.live.heads import Head, read_heads
from session_db.models import SessionRead
from session_db.models.labels import telling_input
from session_db.models.table import now
from session_db.settings import get_settings

_SHOWN = 2000
"""Characters of a message that are shown."""

_BACK = 20
"""Events that are shown of what was before."""

_DRAIN_SECONDS = 0.5

_NAME = 8
"""Characters of its id that tell a session from others; the last ones are random."""

_MARKS = {"StopFailure": ("✗", "bold red"), "PermissionRequest": ("?", "bold yellow")}


def add_to(app: typer.Typer) -> None:
    """Add the command to the command line."""
    app.command()(tail)


def tail(  # noqa: PLR0913, PLR0917  each is an option
    key: Annotated[str | None, typer.Argument(metavar="ID|SLUG", help="A session; unset: the one that was last active.")] = None,
    working_dir: WorkingDir = None,
    everything: Annotated[bool, typer.Option("--all", help="Of all sessions, from now on.")] = False,  # noqa: FBT002
    after: Annotated[str | None, typer.Option(metavar="12.3", help="Begin after this id of a line of --json.")] = None,
    no_follow: Annotated[bool, typer.Option("--no-follow", help="Print what there is, and end.")] = False,  # noqa: FBT002
    as_json: JSON = False,  # noqa: FBT002  a command-line flag
) -> None:
    """Follow what agents do: events, messages and changes of state as they come, until Ctrl-C.

    Nothing is skipped, however slowly it is read: Ctrl-S pauses most terminals, and Ctrl-Q goes on.
    """

    async def work() -> None:
        frames = _of_all() if everything else _of_one(key, working_dir, after, wait=not no_follow)
        async with aclosing(frames), _draining(follows=not no_follow):
            async for session_id, frame in frames:
                _print(session_id if everything else None, frame, as_json=as_json)

    if everything and (key is not None or after is not None or no_follow):
        raise typer.BadParameter("--all follows all sessions from now on; leave the session, --after and --no-follow out.")
    with suppress(KeyboardInterrupt):
        run(work, as_json=as_json)


@asynccontextmanager
async def _draining(*, follows: bool) -> AsyncIterator[None]:
    """Write what hooks capture meanwhile: where no service runs nobody else does."""
    task = asyncio.create_task(_drain_again_and_again()) if follows else None
    try:
        yield
    finally:
        if task is not None:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)


async def _drain_again_and_again() -> None:
    while True:
        await asyncio.sleep(_DRAIN_SECONDS)
        # What goes wrong is no reason not to show the rest, and is tried again.
        with suppress(SessionDBError, OSError, *DRIVER_ERRORS):
            await drain(get_settings())


async def _of_one(key: str | None, working_dir: str | None, after: str | None, *, wait: bool) -> AsyncGenerator[tuple[UUID, Frame]]:
    async with get_async_session() as db:
        if key is None:
            newest = await list_sessions(db, limit=1)
            if not newest:
                raise NotFound("there is no session yet; `session-db hooks install` or `session-db import` makes some.")
            session = newest[0]
        else:
            session = await find_session(db, key, working_dir)
        head = (await read_heads(db, [session.id]))[session.id]
    async for frame in session_frames(head, _beginning(after, SessionRead.model_validate(session)), wait=wait):
        yield session.id, frame


def _beginning(after: str | None, session: SessionRead) -> Position:
    if after is not None:
        return position_of(after, session)
    latest = position_of(LATEST, session)
    return Position(max(0, latest.event - _BACK), max(0, latest.message - _BACK))


async def _of_all() -> AsyncGenerator[tuple[UUID, Frame]]:
    """Give the frames of all sessions, each from where it stands now, and of new ones from their start."""
    readers: dict[UUID, Reader] = {}
    began = now()
    async with get_hub().watch() as watcher:
        for head in await _heads():
            readers[head.session_id] = Reader(head.session_id, Position(head.event_count, head.message_count))
            # It is known how they stand.
            async for _ in readers[head.session_id].news(head):
                pass
        while True:
            try:
                heads = list((await watcher.next()).values())
            except Lagged:
                heads = await _heads()
            except Stopping:
                return
            for head in heads:
                reader = readers.setdefault(head.session_id, Reader(head.session_id, _unseen(head, began)))
                async for frame in reader.news(head):
                    yield head.session_id, frame


def _unseen(head: Head, began: datetime) -> Position:
    """Return where to begin with a session that was not among those at the start: an old one is not told from its first event."""
    if head.session is None or head.session.created_at >= began:
        return Position()
    return Position(max(0, head.event_count - _BACK), max(0, head.message_count - _BACK))


async def _heads() -> list[Head]:
    """Return how the sessions stand that were active last."""
    async with get_async_session() as db:
        session_ids = [session.id for session in await list_sessions(db, limit=1000)]
        return list((await read_heads(db, session_ids)).values())


def _print(session_id: UUID | None, frame: Frame, *, as_json: bool) -> None:
    """Print a frame; of several sessions, with which one."""
    if frame.data is None:
        return
    if as_json:
        told = {} if session_id is None else {"session_id": str(session_id)}
        line = told | {"type": frame.kind, "id": None if frame.position is None else str(frame.position), "data": frame.data}
        # A line each, so that a program may read them one by one.
        print(bytes(JSONAnswer(line).body).decode(), flush=True)  # noqa: T201  it is what a command is for
    else:
        name = "" if session_id is None else f"{str(session_id)[-_NAME:]} "
        console().print(Text.assemble((name, "dim"), _line(frame)), soft_wrap=True)


def _line(frame: Frame) -> Text:
    write = {"event": _event, "message": _message, "session": _session}.get(frame.kind)
    return Text(f"{frame.kind} {one_line(str(frame.data))}", style="dim") if write is None else write(frame.data)


def _session(data: dict[str, Any]) -> Text:
    text = Text.assemble(("● ", "bold"), (one_line(data["display_name"] or ""), "bold"), "  ", status_text(data["status"]))
    return text.append(f"  {data['activity']}", style="dim")


def _message(data: dict[str, Any]) -> Text:
    style = "bold cyan" if data["role"] == "user" else "bold magenta"
    content = one_line(data["content"][:_SHOWN])
    return Text.assemble(("         ", "dim"), (f"{data['role']} ", style), content)


def _event(data: dict[str, Any]) -> Text:
    outcome = data["outcome"]
    ended = CALL_MARKS[outcome] if outcome not in {None, "ok"} else ("·", "dim")
    mark, style = _MARKS.get(data["event_type"], ended)
    at = datetime.fromisoformat(data["timestamp"]).astimezone().strftime("%H:%M:%S")
    what = Text(one_line(data["event_type"]))
    if data["tool_name"]:
        what.append(f"  {one_line(data['tool_name'])}", style="bold").append(f"  {telling_input(data['tool_input'])}")
    if outcome in {"denied", "interrupted"}:
        what.append(f"  {outcome}", style=style)
    told = data["tool_output"] if data["tool_input"] is not None else data["content"] or data["tool_output"]
    if told:
        what.append(f"  {one_line(told[:200])}", style="dim")
    return Text.assemble((f"{at} ", "dim"), (f"{mark} ", style), what)
