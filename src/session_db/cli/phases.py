"""The commands ``sessions advance|status``."""

from typing import Annotated, Any

import typer
from rich.table import Table
from rich.text import Text

from session_db.cli.inputs import JSON, Cursor, Limit
from session_db.cli.output import ago, console, print_json, status_text
from session_db.cli.output import as_json as model_json
from session_db.cli.running import refuse_bytes, run
from session_db.cli.session_changes import app
from session_db.cli.sessions import Key, WorkingDir, find_session
from session_db.crud import Page, advance_session
from session_db.crud.workflow import SessionWork, list_work, work_of
from session_db.database import UnitOfWork, get_async_session, in_transaction
from session_db.errors import NotFound
from session_db.lines import one_line
from session_db.models import Agent, AgentRead, Session, SessionRead

__all__ = ["app"]


@app.command()
def advance(
    key: Key,
    phase: Annotated[str, typer.Argument(metavar="PHASE", help="created, spec, plan, build, docs or complete.")],
    working_dir: WorkingDir = None,
    force: Annotated[bool, typer.Option("--force", help="Also back, and on from a failure.")] = False,  # noqa: FBT002  a command-line flag
    as_json: JSON = False,  # noqa: FBT002  a command-line flag
) -> None:
    """Let a workflow session go on to a phase. One that is in it already stays as it is."""

    async def go_on(db: UnitOfWork) -> Session:
        refuse_bytes(phase=phase)
        found = await find_session(db, key, working_dir)
        session = await advance_session(db, found.id, phase, force=force)
        if session is None:
            raise NotFound(f"session {found.id} was deleted in the meantime.", session_id=found.id)
        return session

    session = run(lambda: in_transaction(go_on), as_json=as_json)
    if as_json:
        print_json(model_json(SessionRead.model_validate(session)))
    else:
        console().print(Text(f"{one_line(session.display_name)} is in {session.status}: {session.id}"), soft_wrap=True)


@app.command()
def status(
    key: Annotated[
        str | None, typer.Argument(metavar="ID|SLUG", help="A session's id, or its slug; without it all that have not ended.")
    ] = None,
    working_dir: WorkingDir = None,
    limit: Limit = 20,
    cursor: Cursor = None,
    as_json: JSON = False,  # noqa: FBT002  a command-line flag
) -> None:
    """Tell what runs, what waits and what failed: in a session, or in all that have not ended, the last active first."""

    async def load() -> Page[SessionWork]:
        refuse_bytes(cursor=cursor)
        async with get_async_session() as db:
            if key is None:
                return await list_work(db, limit=limit, cursor=cursor)
            return Page(await work_of(db, [await find_session(db, key, working_dir)]))

    page = run(load, as_json=as_json)
    if as_json:
        print_json({"items": [_json(work) for work in page], "next_cursor": page.next_cursor})
        return
    if not page:
        console().print("Nothing goes on in the sessions that were looked at." if page.next_cursor else "Nothing goes on.")
    for work in page:
        _print(work)
    if page.next_cursor:
        console().print(Text(f"More: session-db sessions status --cursor {page.next_cursor}", style="dim"), soft_wrap=True)


def _agents_of(work: SessionWork) -> dict[str, list[Agent]]:
    return {"running": work.running, "pending": work.pending, "failed": work.failed}


def _json(work: SessionWork) -> dict[str, Any]:
    agents = {state: [model_json(AgentRead.model_validate(agent)) for agent in agents] for state, agents in _agents_of(work).items()}
    return {"session": model_json(SessionRead.model_validate(work.session))} | agents


def _print(work: SessionWork) -> None:
    session = work.session
    head = Text.assemble((one_line(session.display_name), "bold"), "  ", status_text(session.status), f"  {session.activity}  ")
    console().print(head.append(ago(session.last_activity), style="dim"), soft_wrap=True)
    console().print(Text(f"  {session.id}", style="dim"))
    table = Table.grid(padding=(0, 2))
    table.add_column(width=9)
    table.add_column(overflow="fold")
    for state, agents in _agents_of(work).items():
        for agent in agents:
            about = " ".join(part for part in (agent.agent_type, agent.name, f"({ago(agent.updated_at)})", agent.error_message) if part)
            table.add_row(Text(f"  {state}", style="bold red" if state == "failed" else ""), Text(one_line(about)))
    if table.row_count:
        console().print(table)
