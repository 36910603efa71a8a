"""The commands ``agents list|show|start|finish``."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated
from uuid import UUID

import typer
from rich.table import Table
from rich.text import Text

from session_db.cli.events import events_table, names_of_agents
from session_db.cli.inputs import JSON, Cursor, Limit
from session_db.cli.output import as_json as model_json
from session_db.cli.output import console, count, dollars, duration, facts, is_narrow, page_json, print_json, status_text
from session_db.cli.running import refuse_bytes, refuse_others, run
from session_db.cli.session_view import tokens_text
from session_db.cli.sessions import Key, WorkingDir, find_session
from session_db.crud import Page, finish_agent, get_agent, get_last_agent_logs, get_session, list_agents, start_agent
from session_db.database import UnitOfWork, get_async_session, in_transaction
from session_db.errors import NotFound
from session_db.lines import one_line
from session_db.models import Agent, AgentLog, AgentRead, Session, SessionRead
from session_db.models.agent_logs import event_json
from session_db.models.agents import AgentStatus

app = typer.Typer(help="List and show the agents of a session, start and finish them.", no_args_is_help=True)

_SUB_AGENTS_SHOWN = 100

_NO_REASON = "no reason was given"

AgentID = Annotated[UUID, typer.Argument(metavar="AGENT_ID", help="The agent's id.")]
OfSession = Annotated[str | None, typer.Option(metavar="ID|SLUG", help="Its session, where several have an agent with this id.")]


@dataclass(frozen=True)
class _Shown:
    """An agent with what is shown of it; its events in the order in which they were recorded."""

    agent: Agent
    session: Session
    sub_agents: Page[Agent]
    events: list[AgentLog]
    names: dict[UUID, str]


@app.command("list")
def list_(  # noqa: PLR0913, PLR0917  each filter is an option
    key: Key,
    working_dir: WorkingDir = None,
    status: Annotated[str | None, typer.Option(help="Only pending, executing, complete or failed.")] = None,
    limit: Limit = 50,
    cursor: Cursor = None,
    as_json: JSON = False,  # noqa: FBT002  a command-line flag
) -> None:
    """List the agents of a session, the first made first."""

    async def load() -> Page[Agent]:
        refuse_bytes(status=status, cursor=cursor)
        refuse_others("status", status, AgentStatus)
        async with get_async_session() as db:
            session = await find_session(db, key, working_dir)
            return await list_agents(db, session.id, status=status, limit=limit, cursor=cursor)

    page = run(load, as_json=as_json)
    if as_json:
        print_json(page_json(map(AgentRead.model_validate, page), page.next_cursor))
        return
    if not page:
        console().print("No agents match." if status or cursor else "No agents yet.")
        return
    console().print(_agents_table(page))
    if page.next_cursor:
        console().print(Text(f"More: the same with --cursor {page.next_cursor}", style="dim"), soft_wrap=True)


def _agents_table(agents: Sequence[Agent]) -> Table:
    """Return two lines for each agent: what it is, and its whole id."""
    table = Table(box=None, padding=(0, 1), header_style="dim", expand=True)
    table.add_column("agent", ratio=1, no_wrap=not is_narrow(), overflow="fold" if is_narrow() else "ellipsis")
    table.add_column("status", no_wrap=True, min_width=9)
    if not is_narrow():
        for heading, width in (("tokens", 6), ("cost", 7), ("time", 8)):
            table.add_column(heading, justify="right", no_wrap=True, min_width=width)
    for agent in agents:
        label = Text.assemble((one_line(agent.agent_type), "bold"), f" {one_line(agent.name or '')}", (f"\n{agent.id}", "dim"))
        tokens = agent.input_tokens + agent.output_tokens + agent.cache_read_tokens + agent.cache_write_tokens
        cells = (label, status_text(agent.status), count(tokens), dollars(agent.cost), _time(agent))
        table.add_row(*cells[: len(table.columns)])
    return table


def _time(agent: Agent) -> str:
    return duration(agent.completed_at - agent.started_at if agent.completed_at and agent.started_at else None)


@app.command()
def show(
    agent_id: AgentID,
    session: OfSession = None,
    working_dir: WorkingDir = None,
    events: Annotated[int, typer.Option(min=1, max=1000, help="Last events to show.")] = 20,
    as_json: JSON = False,  # noqa: FBT002  a command-line flag
) -> None:
    """Show an agent: its session, times, tokens and cost, the agents that it started, and its last events."""
    shown = run(lambda: _load(agent_id, session, working_dir, events), as_json=as_json)
    if not as_json:
        _print_shown(shown)
        return
    print_json(
        {
            "agent": model_json(AgentRead.model_validate(shown.agent)),
            "session": model_json(SessionRead.model_validate(shown.session)),
            "sub_agents": [model_json(AgentRead.model_validate(agent)) for agent in shown.sub_agents],
            "events": [event_json(event) for event in shown.events],
        }
    )


async def _load(agent_id: UUID, key: str | None, working_dir: str | None, events: int) -> _Shown:
    async with get_async_session() as db:
        session = await find_session(db, key, working_dir) if key is not None else None
        agent = await get_agent(db, agent_id, session.id if session else None)
        session = session or (await get_session(db, agent.session_id) if agent else None)
        if agent is None or session is None:
            raise _no_agent(agent_id)
        return _Shown(
            agent,
            session,
            await list_agents(db, session.id, parent_agent_id=agent.id, limit=_SUB_AGENTS_SHOWN),
            await get_last_agent_logs(db, session.id, agent_id=agent.id, limit=events),
            await names_of_agents(db, session.id),
        )


def _no_agent(agent_id: UUID) -> NotFound:
    return NotFound(f"there is no agent {agent_id}; session-db agents list SESSION shows which a session has.", agent_id=agent_id)


def _print_shown(shown: _Shown) -> None:
    out = console()
    out.print(_about(shown.agent, shown.session))
    if shown.sub_agents:
        more = f"  the first {_SUB_AGENTS_SHOWN}" if shown.sub_agents.next_cursor else f"  {len(shown.sub_agents)}"
        out.print(Text.assemble(("\n Sub-agents", "bold"), (more, "dim")))
        out.print(_agents_table(shown.sub_agents))
    if shown.events:
        out.print(Text.assemble(("\n Last events", "bold"), (f"  {len(shown.events)}", "dim")))
        out.print(events_table(shown.events, shown.names))


def _about(agent: Agent, session: Session) -> Table:
    return facts(
        [
            ("agent", str(agent.id)),
            ("type", f"{agent.agent_type}  {agent.name or ''}"),
            ("session", f"{session.id}  {session.display_name}"),
            ("started by", str(agent.parent_agent_id) if agent.parent_agent_id else None),
            ("state", status_text(agent.status)),
            ("model", agent.model),
            ("sdk session", agent.sdk_session_id),
            ("checkpoint", None if agent.checkpoint_id is None else str(agent.checkpoint_id)),
            ("started", f"{agent.started_at:%Y-%m-%d %H:%M:%S} UTC" if agent.started_at else None),
            ("ended", f"{agent.completed_at:%Y-%m-%d %H:%M:%S} UTC, after {_time(agent)}" if agent.completed_at else None),
            ("cost", dollars(agent.cost)),
            ("tokens", tokens_text(agent.input_tokens, agent.output_tokens, agent.cache_read_tokens, agent.cache_write_tokens)),
            ("error", agent.error_message),
        ]
    )


@app.command()
def start(  # noqa: PLR0913, PLR0917  each fact is an option
    key: Key,
    agent_type: Annotated[str, typer.Argument(metavar="TYPE", help="spec, plan, build, docs, or any other.")],
    working_dir: WorkingDir = None,
    model: Annotated[str | None, typer.Option(help="Language model.")] = None,
    checkpoint: Annotated[int | None, typer.Option(min=0, max=2**31 - 1, help="Checkpoint of the plan that it builds.")] = None,
    name: Annotated[str | None, typer.Option(help="What it was asked to do, in a line.")] = None,
    sdk_session: Annotated[str | None, typer.Option(metavar="ID", help="The client's session, with which it can be resumed.")] = None,
    agent_id: Annotated[UUID | None, typer.Option("--id", help="Id to give it: sent again it changes nothing.")] = None,
    as_json: JSON = False,  # noqa: FBT002  a command-line flag
) -> None:
    """Note that an agent begins to work now, and print its id. A workflow session goes on to the phase that it is of."""

    async def begin(db: UnitOfWork) -> Agent:
        refuse_bytes(type=agent_type, model=model, name=name, sdk_session=sdk_session)
        session = await find_session(db, key, working_dir)
        return await start_agent(
            db,
            session.id,
            agent_type,
            model=model,
            checkpoint_id=checkpoint,
            name=name,
            sdk_session_id=sdk_session,
            agent_id=agent_id,
        )

    agent = run(lambda: in_transaction(begin), as_json=as_json)
    if as_json:
        print_json(model_json(AgentRead.model_validate(agent)))
    else:
        print(agent.id)  # noqa: T201  for a script, and nothing else


@app.command()
def finish(  # noqa: PLR0913, PLR0917  each fact is an option
    agent_id: AgentID,
    session: OfSession = None,
    working_dir: WorkingDir = None,
    failed: Annotated[bool, typer.Option("--failed", help="It failed; without it, it is complete.")] = False,  # noqa: FBT002
    error: Annotated[str | None, typer.Option(help="Why it failed.")] = None,
    sdk_session: Annotated[str | None, typer.Option(metavar="ID", help="The client's session, with which it can be resumed.")] = None,
    cost: Annotated[float | None, typer.Option(min=0, help="US dollars, where no usage is recorded.")] = None,
    as_json: JSON = False,  # noqa: FBT002  a command-line flag
) -> None:
    """Note that an agent is complete, or failed. The same again changes nothing; another result is an error."""
    reason = error or (_NO_REASON if failed or error is not None else None)

    async def end(db: UnitOfWork) -> Agent:
        refuse_bytes(error=error, sdk_session=sdk_session)
        session_id = (await find_session(db, session, working_dir)).id if session is not None else None
        agent = await finish_agent(db, agent_id, session_id, error=reason, sdk_session_id=sdk_session, cost=cost)
        if agent is None:
            raise _no_agent(agent_id)
        return agent

    agent = run(lambda: in_transaction(end), as_json=as_json)
    if as_json:
        print_json(model_json(AgentRead.model_validate(agent)))
    else:
        console().print(Text(f"{one_line(agent.agent_type)} is {agent.status}: {agent.id}"), soft_wrap=True)
