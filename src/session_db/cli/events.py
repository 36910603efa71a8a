"""The commands ``events list|show``."""

import json
import re
from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import Annotated, Any, Literal, cast
from uuid import UUID

import typer
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from session_db.cli.inputs import JSON, Cursor, Limit
from session_db.cli.output import console, count, duration, facts, is_narrow, print_json, printable, quoted
from session_db.cli.running import refuse_bytes, refuse_others, run
from session_db.cli.session_view import CALL_MARKS
from session_db.cli.sessions import Key, WorkingDir, find_session
from session_db.crud import Page, get_agent_log, list_agent_logs, list_agents
from session_db.database import UnitOfWork, get_async_session
from session_db.errors import InvalidInput, NotFound
from session_db.lines import one_line
from session_db.models import AgentLog
from session_db.models.agent_logs import EventCategory, event_json
from session_db.models.labels import telling_input
from session_db.models.outcomes import outcome_of

app = typer.Typer(help="List and show the events of a session.", no_args_is_help=True)

_AGENTS_NAMED = 1000


@app.command("list")
def list_(  # noqa: PLR0913, PLR0917  each filter is an option
    key: Key,
    working_dir: WorkingDir = None,
    agent: Annotated[UUID | None, typer.Option(metavar="ID", help="Only of this agent.")] = None,
    event_type: Annotated[str | None, typer.Option("--type", help="Only of this event_type, e.g. PreToolUse.")] = None,
    category: Annotated[str | None, typer.Option(help="Only hook, response or phase.")] = None,
    tool: Annotated[str | None, typer.Option(help="Only of this tool.")] = None,
    tool_use_id: Annotated[str | None, typer.Option(help="Only of this call of a tool.")] = None,
    after: Annotated[int | None, typer.Option(metavar="INDEX", help="Only events after this event_index.")] = None,
    order: Annotated[str, typer.Option(help="recorded: by event_index; happened: by time.")] = "recorded",
    limit: Limit = 50,
    cursor: Cursor = None,
    as_json: JSON = False,  # noqa: FBT002  a command-line flag
) -> None:
    """List the events of a session, the first one first. What is larger than 16 kB is left out; show prints it."""

    async def load() -> tuple[Page[AgentLog], dict[UUID, str]]:
        refuse_bytes(type=event_type, category=category, tool=tool, tool_use_id=tool_use_id, order=order, cursor=cursor)
        refuse_others("category", category, EventCategory)
        async with get_async_session() as db:
            session = await find_session(db, key, working_dir)
            events = await list_agent_logs(
                db,
                session.id,
                agent_id=agent,
                event_category=category,
                event_type=event_type,
                tool_name=tool,
                tool_use_id=tool_use_id,
                after_index=after,
                order=cast("Literal['recorded', 'happened']", order),
                limit=limit,
                cursor=cursor,
            )
            return events, await names_of_agents(db, session.id)

    page, names = run(load, as_json=as_json)
    if as_json:
        print_json({"items": [event_json(event) for event in page], "next_cursor": page.next_cursor})
        return
    if not page:
        filtered = any(value is not None for value in (agent, event_type, category, tool, tool_use_id, after, cursor))
        console().print("No events match." if filtered else "No events yet.")
        return
    console().print(events_table(page, names))
    if page.next_cursor:
        console().print(Text(f"More: the same with --cursor {page.next_cursor}", style="dim"), soft_wrap=True)


async def names_of_agents(db: UnitOfWork, session_id: UUID) -> dict[UUID, str]:
    """Return the types of a session's first agents; the others are shown by their ids."""
    return {agent.id: agent.agent_type for agent in await list_agents(db, session_id, limit=_AGENTS_NAMED)}


def events_table(events: Sequence[AgentLog], names: Mapping[UUID, str]) -> Table:
    """Return a line for each event: where it stands, when it happened, who did what."""
    table = Table(box=None, padding=(0, 1), header_style="dim", expand=True)
    table.add_column("index", justify="right", no_wrap=True, min_width=5)
    if not is_narrow():
        table.add_column("at (UTC)", no_wrap=True, min_width=14)
        table.add_column("agent", no_wrap=True, overflow="ellipsis", min_width=8, max_width=16)
    table.add_column("event", no_wrap=True, overflow="ellipsis", min_width=12, max_width=18)
    table.add_column("what", ratio=1, no_wrap=True, overflow="ellipsis")
    for event in events:
        agent = names.get(event.agent_id, str(event.agent_id)) if event.agent_id else ""
        at = Text(f"{event.timestamp:%m-%d %H:%M:%S}", style="dim")
        place = () if is_narrow() else (at, Text(one_line(agent), style="dim"))
        table.add_row(Text(str(event.event_index), style="dim"), *place, Text(one_line(event.event_type)), _what(event))
    return table


def _what(event: AgentLog) -> Text:
    text = event.content or event.tool_output or ""
    if event.tool_input_bytes is not None:
        text = f"({count(event.tool_input_bytes)}B)" if event.tool_input is None else telling_input(event.tool_input)
    outcome = outcome_of(event)
    ended = "" if outcome in {None, "ok"} else f"{outcome}  "
    between = "  " if event.tool_name and (ended or text) else ""
    return Text.assemble((one_line(event.tool_name or ""), "bold"), between, (ended, CALL_MARKS[outcome or "ok"][1]), one_line(text))


@app.command()
def show(
    key: Key,
    event: Annotated[str, typer.Argument(metavar="INDEX|ID", help="The event's event_index, or its id.")],
    working_dir: WorkingDir = None,
    as_json: JSON = False,  # noqa: FBT002  a command-line flag
) -> None:
    """Show an event with its whole payload."""

    async def load() -> AgentLog:
        refuse_bytes(event=event)
        wanted = _index_or_id(event)
        async with get_async_session() as db:
            session = await find_session(db, key, working_dir)
            found = await get_agent_log(db, session.id, wanted)
        if found is None:
            raise NotFound(f"the session has no event {event}; session-db events list {quoted(key)} shows which there are.", event=event)
        return found

    shown = run(load, as_json=as_json)
    if as_json:
        print_json(event_json(shown, whole=True))
    else:
        _print_event(shown)


def _index_or_id(text: str) -> int | UUID:
    if re.fullmatch(r"[0-9]{1,18}", text):
        return int(text)
    try:
        return UUID(text)
    except ValueError:
        raise InvalidInput(f"{text!r} is no event_index and no id of an event.", event=text) from None


def _print_event(event: AgentLog) -> None:
    about: list[tuple[str, str | None]] = [
        ("event", f"{event.event_index}  {event.id}"),
        ("session", str(event.session_id)),
        ("agent", str(event.agent_id) if event.agent_id else None),
        ("type", f"{event.event_category} · {event.event_type}"),
        ("tool", event.tool_name),
        ("call", event.tool_use_id),
        ("happened", f"{event.timestamp:%Y-%m-%d %H:%M:%S} UTC"),
        ("recorded", f"{event.recorded_at:%Y-%m-%d %H:%M:%S} UTC"),
        ("took", None if event.duration_ms is None else duration(timedelta(milliseconds=event.duration_ms))),
    ]
    console().print(facts(about))
    for name in ("content", "tool_input", "tool_output", "payload"):
        _print_value(name, getattr(event, name))


def _print_value(name: str, value: Any) -> None:
    if value is None:
        return
    text = value if isinstance(value, str) else json.dumps(value, indent=2, ensure_ascii=False)
    console().print(Text(f"\n {name}", style="bold"))
    console().print(Padding(Text(printable(text), overflow="fold"), (0, 1)))
