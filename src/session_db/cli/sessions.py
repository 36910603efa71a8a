"""The commands ``sessions list|show|delete``."""

from contextlib import suppress
from dataclasses import asdict
from typing import Annotated, get_args
from uuid import UUID

import typer
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from session_db.cli.inputs import is_interactive
from session_db.cli.moments import Since, Until, moment_of
from session_db.cli.output import as_json as model_json
from session_db.cli.output import console, messages_console, page_json, print_json
from session_db.cli.running import fail, refuse_bytes, run
from session_db.cli.session_view import Shown, print_erased, print_sessions, print_shown
from session_db.crud import (
    Page,
    delete_session,
    erase_deleted_sessions,
    get_session,
    get_session_by_slug,
    list_agent_logs,
    list_agents,
    list_sessions,
    load_messages_paginated,
)
from session_db.crud.erasing import ErasureReport, get_deleted_session, get_erasure_report
from session_db.crud.sdk_sessions import delete_old_tombstones
from session_db.crud.transcripts import get_missing
from session_db.database import UnitOfWork, get_async_session, in_transaction
from session_db.database.batches import in_batches
from session_db.errors import InvalidInput, NotFound
from session_db.lines import one_line
from session_db.models import Agent, AgentLog, AgentRead, Session, SessionRead
from session_db.models.agent_logs import event_json
from session_db.models.sessions import CHAT_STATUSES, WORKFLOW_STATUSES, SessionType, refuse_unknown_status

__all__ = ["Shown", "app", "load", "print_shown", "shown_json"]

AGENTS_A_PAGE = 1000
MOST_AGENTS = 10_000
"""Agents that are shown of a session."""

app = typer.Typer(help="List, show, create, update and delete sessions.", no_args_is_help=True)

JSON = Annotated[bool, typer.Option("--json", help="Print JSON.")]
Key = Annotated[str, typer.Argument(metavar="ID|SLUG", help="A session's id, or its slug.")]
WorkingDir = Annotated[str | None, typer.Option("--dir", help="Project of the slug, where several have it.")]


@app.command("list")
def list_(  # noqa: PLR0913, PLR0917  each filter is an option
    status: Annotated[str | None, typer.Option(help="Only with this status.")] = None,
    session_type: Annotated[str | None, typer.Option("--type", help="Only full, quick, research or chat.")] = None,
    agent: Annotated[str | None, typer.Option(help="Only of this agent_name.")] = None,
    project: Annotated[str | None, typer.Option(help="Only of this current_project.")] = None,
    working_dir: Annotated[str | None, typer.Option("--dir", help="Only of this working_dir.")] = None,
    model: Annotated[str | None, typer.Option(help="Only of this model_name.")] = None,
    min_cost: Annotated[float | None, typer.Option(help="Only those that cost as many US dollars or more.")] = None,
    max_cost: Annotated[float | None, typer.Option(help="Only those that cost as many or less.")] = None,
    since: Since = None,
    until: Until = None,
    limit: Annotated[int, typer.Option(min=1, max=1000, help="Sessions a page.")] = 20,
    cursor: Annotated[str | None, typer.Option(help="next_cursor of the page before.")] = None,
    as_json: JSON = False,  # noqa: FBT002  a command-line flag
) -> None:
    """List sessions, the last active first."""

    async def load_page() -> Page[Session]:
        refuse_bytes(status=status, type=session_type, agent=agent, project=project, dir=working_dir, model=model, cursor=cursor)
        refuse_unknown(status, session_type)
        async with get_async_session() as db:
            return await list_sessions(
                db,
                status,
                session_type=session_type,
                agent_name=agent,
                current_project=project,
                working_dir=working_dir,
                model_name=model,
                min_cost=min_cost,
                max_cost=max_cost,
                since=moment_of("since", since),
                until=moment_of("until", until),
                limit=limit,
                cursor=cursor,
            )

    page = run(load_page, as_json=as_json)
    if as_json:
        print_json(page_json((SessionRead.model_validate(session) for session in page), page.next_cursor))
    else:
        print_sessions(
            page, filtered=any((status, session_type, agent, project, working_dir, model, min_cost, max_cost, since, until, cursor))
        )


def refuse_unknown(status: str | None, session_type: str | None) -> None:
    """Raise ``InvalidInput`` where no session can have this status or type."""
    types = get_args(SessionType)
    if session_type is not None and session_type not in types:
        raise InvalidInput(f"there is no session type {session_type!r}; use one of {', '.join(types)}.", session_type=session_type)
    if status is None:
        return
    if session_type is not None:
        refuse_unknown_status(session_type, status)
    if status not in CHAT_STATUSES + WORKFLOW_STATUSES:
        allowed = ", ".join(CHAT_STATUSES + WORKFLOW_STATUSES)
        raise InvalidInput(f"there is no status {status!r}; use one of {allowed}.", status=status)


@app.command()
def show(
    key: Key,
    working_dir: WorkingDir = None,
    messages: Annotated[int, typer.Option(min=0, max=1000, help="Last messages to show.")] = 6,
    events: Annotated[int | None, typer.Option(min=1, max=1000, help="Last events to show.", show_default="40; 1000 with --json")] = None,
    as_json: JSON = False,  # noqa: FBT002  a command-line flag
) -> None:
    """Show a session: its agents, its last messages and its timeline."""
    count = events or (1000 if as_json else 40)
    shown = run(lambda: load(key, working_dir, messages=messages, events=count), as_json=as_json)
    if as_json:
        print_json(shown_json(shown))
        if shown.more_agents:
            messages_console().print(f"Only the first {len(shown.agents)} agents are listed; the session has more.")
    else:
        print_shown(shown)


@app.command()
def delete(
    key: Key,
    working_dir: WorkingDir = None,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,  # noqa: FBT002  a command-line flag
    report: Annotated[bool, typer.Option("--report", help="Tell what was erased.")] = False,  # noqa: FBT002  a command-line flag
    as_json: JSON = False,  # noqa: FBT002  a command-line flag
) -> None:
    """Delete a session with everything in it. An import does not bring it back unless told to.

    Interrupted, it goes on when it is given the session's id again.
    """
    session = run(lambda: _find_to_delete(key, working_dir), as_json=as_json)
    if not yes and session.deleted_at is None:
        if as_json or not is_interactive():
            fail(InvalidInput(f"nothing was deleted. Say that you mean it: session-db sessions delete {key} --yes"), as_json=as_json)
        contents = f"{session.message_count} messages and {session.event_count} events"
        typer.confirm(f"Delete '{one_line(session.display_name)}' with {contents}?", abort=True)
    erased = run(lambda: _delete(session.id), as_json=as_json)
    rows = sum(erased.rows.values())
    if as_json:
        told = {"report": {"rows": erased.rows, "transcripts": [asdict(lost) for lost in erased.transcripts]}} if report else {}
        print_json({"session_id": str(session.id), "deleted": True, "rows": rows, **told})
        return
    console().print(f"Deleted {one_line(session.display_name)} ({rows:,} rows).", markup=False)
    if report:
        print_erased(erased)


async def _find_to_delete(key: str, working_dir: str | None) -> Session:
    """Return the session, or one that was deleted and not erased to its end; that has only its id."""
    async with get_async_session() as db:
        try:
            return await find_session(db, key, working_dir)
        except NotFound:
            deleted = None
            with suppress(ValueError):
                deleted = await get_deleted_session(db, UUID(key))
            if deleted is None:
                raise
            return deleted


async def _delete(session_id: UUID) -> ErasureReport:
    await in_transaction(lambda db: delete_session(db, session_id))
    async with get_async_session() as db:
        erased = await get_erasure_report(db, session_id)
    if erased is None:
        raise NotFound(f"session {session_id} is gone already: another process deleted it.", session_id=session_id)
    columns = (TextColumn("Erasing"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    screen = messages_console()
    with Progress(*columns, console=screen, transient=True, disable=not screen.is_terminal) as progress:
        task = progress.add_task("erase", total=erased.rows_left)
        await in_batches(lambda db: erase_deleted_sessions(db, session_id), on_batch=lambda rows: progress.advance(task, rows))
    await in_batches(delete_old_tombstones)
    return erased


async def find_session(db: UnitOfWork, key: str, working_dir: str | None = None) -> Session:
    """Return the session with this id or slug.

    Raises:
        NotFound: there is none.
        Conflict: several projects have the slug.
    """
    refuse_bytes(key=key, dir=working_dir)
    session = None
    # A slug may look like an id: 32 hexadecimal digits.
    with suppress(ValueError):
        session = await get_session(db, UUID(key))
    if session is None:
        session = await get_session_by_slug(db, key, working_dir)
    if session is None:
        raise NotFound(f"there is no session {key!r}; session-db sessions list shows which there are.", key=key)
    return session


async def load(key: str, working_dir: str | None = None, *, messages: int, events: int) -> Shown:
    """Read what ``show`` prints: the last messages and the last events."""
    async with get_async_session() as db:
        session = await find_session(db, key, working_dir)
        agents, more_agents = await _all_agents(db, session.id)
        last_messages = await load_messages_paginated(db, session.id, messages) if messages else []
        last_events = await _last_events(db, session, events)
        return Shown(session, agents, last_messages, last_events, await get_missing(db, session.id), more_agents=more_agents)


async def _all_agents(db: UnitOfWork, session_id: UUID) -> tuple[list[Agent], bool]:
    """Return the session's first agents, and whether there are more."""
    agents: list[Agent] = []
    cursor: str | None = None
    while len(agents) < MOST_AGENTS:
        page = await list_agents(db, session_id, limit=min(AGENTS_A_PAGE, MOST_AGENTS - len(agents)), cursor=cursor)
        agents += page
        cursor = page.next_cursor
        if cursor is None:
            break
    return agents, cursor is not None


async def _last_events(db: UnitOfWork, session: Session, count: int) -> list[AgentLog]:
    """Return the events that were recorded last, in the order in which they happened."""
    page = await list_agent_logs(db, session.id, after_index=session.event_count - count - 1, whole=True, limit=count)
    return sorted(page, key=lambda event: (event.timestamp, event.event_index))


def shown_json(shown: Shown) -> dict[str, object]:
    """Return what ``show`` prints for programs."""
    return {
        "session": model_json(SessionRead.model_validate(shown.session)),
        "agents": [model_json(AgentRead.model_validate(agent)) for agent in shown.agents],
        "messages": shown.messages,
        "events": [event_json(event) for event in shown.events],
        "missing": shown.missing._asdict(),
    }
