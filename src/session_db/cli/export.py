"""The command ``export``: a session to take away, verbatim, to be read, or whole; or all that there is."""

import json
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Annotated, Any, Literal

import typer

from session_db.capture.restoring import find_resumable
from session_db.cli.inputs import JSON
from session_db.cli.moving import export_all
from session_db.cli.output import as_json as model_json
from session_db.cli.running import refuse_others, run
from session_db.cli.sessions import WorkingDir, find_session
from session_db.crud import Page, list_agent_logs, list_agents, list_messages, stream_entries
from session_db.database import UnitOfWork, get_async_session
from session_db.errors import InvalidInput
from session_db.models import AgentRead, Session, SessionRead
from session_db.models.agent_logs import event_json

Format = Literal["markdown", "jsonl", "json"]

_PAGE = 200


def add_to(app: typer.Typer) -> None:
    """Add the command to the command line."""
    app.command()(export)


def export(  # noqa: PLR0913, PLR0917  each is an option of the command
    key: Annotated[str | None, typer.Argument(metavar="ID|SLUG", help="A session's id, or its slug.")] = None,
    working_dir: WorkingDir = None,
    format_: Annotated[
        str, typer.Option("--format", help="markdown (the conversation), jsonl (the transcript, byte for byte) or json (the whole record).")
    ] = "markdown",
    everything: Annotated[
        str | None, typer.Option("--all", metavar="FILE", help="Write the rows of all tables to a file for import; - is standard output.")
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Replace the file where it is there already.")] = False,  # noqa: FBT002
    as_json: JSON = False,  # noqa: FBT002  a command-line flag
) -> None:
    """Write a session to standard output, or all that there is to a file, however large it is."""
    if everything is not None and key is None:
        export_all(everything, force=force, as_json=as_json)
        return
    chosen = "json" if as_json else format_

    async def work() -> None:
        if key is None or everything is not None:
            raise InvalidInput("name a session by its id or its slug, or say --all FILE; one of them.")
        refuse_others("format", chosen, Format)
        async with get_async_session() as db:
            session = await find_session(db, key, working_dir)
            async for text in {"markdown": _markdown, "jsonl": _transcript, "json": _record}[chosen](db, session):
                sys.stdout.write(text)
            sys.stdout.flush()

    run(work, as_json=as_json)


async def _markdown(db: UnitOfWork, session: Session) -> AsyncIterator[str]:
    yield f"# {session.display_name}\n\n"
    yield f"{session.session_type}, {session.status}, begun {session.created_at:%Y-%m-%d %H:%M} UTC, session `{session.id}`\n"
    async for message in _messages(db, session):
        yield f"\n## {message['role']}, {message['timestamp']}\n\n{message['content'].rstrip()}\n"


async def _transcript(db: UnitOfWork, session: Session) -> AsyncIterator[str]:
    resumable = await find_resumable(db, session)
    (main,) = [stream for stream in resumable.streams if stream.subpath == ""]
    async for entry in stream_entries(db, session.id, main.id):
        yield f"{entry}\n"


async def _record(db: UnitOfWork, session: Session) -> AsyncIterator[str]:
    """Give the record as one JSON object, piece by piece: it may be larger than the memory."""
    yield f'{{"session": {_json(model_json(SessionRead.model_validate(session)))}'
    yield ',\n"agents": ['
    agents = _paged(lambda cursor: list_agents(db, session.id, limit=_PAGE, cursor=cursor))
    async for text in _listed(model_json(AgentRead.model_validate(agent)) async for agent in agents):
        yield text
    yield '],\n"messages": ['
    async for text in _listed(_messages(db, session)):
        yield text
    yield '],\n"events": ['
    events = _paged(lambda cursor: list_agent_logs(db, session.id, whole=True, limit=_PAGE, cursor=cursor))
    async for text in _listed(event_json(event, whole=True) async for event in events):
        yield text
    yield "]}\n"


def _messages(db: UnitOfWork, session: Session) -> AsyncIterator[dict[str, Any]]:
    return _paged(lambda cursor: list_messages(db, session.id, after_index=-1, limit=_PAGE, cursor=cursor))


async def _paged(read: Callable[[str | None], Awaitable[Page[Any]]]) -> AsyncIterator[Any]:
    cursor: str | None = None
    while True:
        page = await read(cursor)
        for row in page:
            yield row
        cursor = page.next_cursor
        if cursor is None:
            return


async def _listed(values: AsyncIterator[Any]) -> AsyncIterator[str]:
    separator = "\n"
    async for value in values:
        yield separator + _json(value)
        separator = ",\n"


def _json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=True)
