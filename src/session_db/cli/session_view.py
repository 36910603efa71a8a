"""How a session looks in a terminal, at 80 columns and wider."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from rich.console import Group
from rich.padding import Padding
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from session_db.cli.output import ago, console, count, dollars, duration, one_line, printable, status_text
from session_db.crud import Page
from session_db.models import Agent, AgentLog, Session

_MESSAGE_LINES = 6
# What a person looks for in a call, by the tools' common names of it.
_TELLING_INPUTS = ("command", "file_path", "path", "pattern", "query", "url", "prompt", "description", "name")


@dataclass(frozen=True)
class Shown:
    """A session with what is shown of it: messages in their order, events in the order in which they happened."""

    session: Session
    agents: list[Agent]
    messages: list[dict[str, Any]]
    events: list[AgentLog]


def print_sessions(page: Page[Session]) -> None:
    """Print a page of the list, two lines a session."""
    if not page:
        console().print("No sessions yet. session-db import takes in what Claude Code recorded; session-db demo shows an example.")
        return
    table = Table(box=None, padding=(0, 1), header_style="dim", expand=True)
    table.add_column("session", ratio=1, overflow="ellipsis", no_wrap=True)
    table.add_column("status", no_wrap=True, min_width=10)
    for heading, width in (("msgs", 5), ("cost", 8), ("active", 9)):
        table.add_column(heading, justify="right", no_wrap=True, min_width=width)
    for session in page:
        title = Text(one_line(session.display_name), style="bold")
        table.add_row(
            title, status_text(session.status), count(session.message_count), dollars(session.total_cost), ago(session.last_activity)
        )
        place = f"  {session.id}  {session.working_dir or session.agent_name or ''}"
        table.add_row(Text(one_line(place), style="dim"), "", "", "", "")
    console().print(table)
    if page.next_cursor:
        console().print(f"More: session-db sessions list --cursor {page.next_cursor}", style="dim", soft_wrap=True)


def print_shown(shown: Shown) -> None:
    """Print header, agents, last messages and timeline."""
    out = console()
    out.print(_header(shown.session))
    out.print(_agents(shown.agents))
    if shown.messages:
        out.print(_heading("Conversation", len(shown.messages), shown.session.message_count))
        for message in shown.messages:
            out.print(_message(message))
    if shown.events:
        out.print(_heading("Timeline", len(shown.events), shown.session.event_count))
        out.print(_timeline(shown))


def _heading(title: str, shown: int, total: int) -> Text:
    heading = Text(f"\n {title}", style="bold")
    return heading.append(f"  last {shown} of {total}" if shown < total else f"  {total}", style="dim")


def _header(session: Session) -> Panel:
    about = Table.grid(padding=(0, 2))
    about.add_column(style="dim", no_wrap=True)
    about.add_column(overflow="fold")
    kind = Text.assemble(f"{session.session_type} · ", status_text(session.status))
    rows: list[tuple[str, Text | str | None]] = [
        ("session", str(session.id)),
        ("slug", session.session_slug),
        ("state", kind),
        ("project", session.working_dir),
        ("model", session.model_name),
        ("time", f"{session.created_at:%Y-%m-%d %H:%M:%S} UTC, {duration(session.last_activity - session.created_at)}"),
        ("cost", _cost(session)),
        (
            "tokens",
            _tokens(
                session.total_input_tokens, session.total_output_tokens, session.total_cache_read_tokens, session.total_cache_write_tokens
            ),
        ),
        ("forked from", str(session.forked_from) if session.forked_from else None),
        ("error", session.error_message),
    ]
    for name, value in rows:
        if value:
            about.add_row(name, Text(one_line(value)) if isinstance(value, str) else value)
    return Panel(about, title=Text(one_line(session.display_name), style="bold"), title_align="left", border_style="dim")


def _cost(session: Session) -> str:
    cost = dollars(session.total_cost)
    if session.reported_cost is None:
        return cost
    if session.forked_from is not None:
        return f"{cost} (the client reports {dollars(session.reported_cost)}, with what was spent before the fork)"
    unattributed = session.reported_cost - session.total_cost
    reported = f"{cost} (the client reports {dollars(session.reported_cost)}"
    return f"{reported}; unattributed {dollars(unattributed)})" if abs(unattributed) >= 1e-6 else f"{reported})"  # noqa: PLR2004  a millionth is rounding


def _tokens(read: int, written: int, cache_read: int, cache_write: int) -> str:
    return f"{count(read)} in, {count(written)} out, {count(cache_read)} from cache, {count(cache_write)} to cache"


def _agents(agents: Sequence[Agent]) -> Group:
    table = Table(box=None, padding=(0, 1), header_style="dim", expand=True)
    table.add_column("agent", ratio=1, no_wrap=True, overflow="ellipsis")
    table.add_column("status", no_wrap=True, min_width=9)
    table.add_column("model", no_wrap=True, overflow="ellipsis", min_width=16, max_width=26)
    for heading, width in (("tokens", 6), ("cost", 7), ("time", 8)):
        table.add_column(heading, justify="right", no_wrap=True, min_width=width)
    for agent, depth in _tree(agents):
        label = Text("  " * depth + ("└ " if depth else "") + one_line(agent.agent_type))
        if agent.name:
            label.append(f" {one_line(agent.name)}", style="dim")
        span = agent.completed_at - agent.started_at if agent.completed_at and agent.started_at else None
        tokens = agent.input_tokens + agent.output_tokens + agent.cache_read_tokens + agent.cache_write_tokens
        table.add_row(label, status_text(agent.status), one_line(agent.model or "-"), count(tokens), dollars(agent.cost), duration(span))
    return Group(_heading("Agents", len(agents), len(agents)), table)


def _tree(agents: Sequence[Agent]) -> list[tuple[Agent, int]]:
    """Return each agent after its parent, with how deep it stands."""
    children: dict[UUID | None, list[Agent]] = {}
    known = {agent.id for agent in agents}
    for agent in agents:
        children.setdefault(agent.parent_agent_id if agent.parent_agent_id in known else None, []).append(agent)
    todo = [(agent, 0) for agent in reversed(children.get(None, []))]
    ordered = []
    while todo:
        agent, depth = todo.pop()
        ordered.append((agent, depth))
        todo += [(child, depth + 1) for child in reversed(children.get(agent.id, []))]
    return ordered


def _message(message: dict[str, Any]) -> Padding:
    role = str(message.get("role"))
    lines = printable(str(message.get("content", ""))).strip().split("\n")
    text = Text("\n".join(lines[:_MESSAGE_LINES]))
    if len(lines) > _MESSAGE_LINES:
        text.append(f"\n… {len(lines) - _MESSAGE_LINES} more lines", style="dim")
    grid = Table.grid(padding=(0, 1))
    grid.add_column(width=9)
    grid.add_column(overflow="fold")
    grid.add_row(Text(one_line(role), style="bold cyan" if role == "user" else "bold magenta"), text)
    return Padding(grid, (0, 1))


def _timeline(shown: Shown) -> Table:
    names = {agent.id: agent.agent_type for agent in shown.agents}
    results = {event.tool_use_id: event for event in shown.events if event.event_type == "ToolResultBlock"}
    calls = {event.tool_use_id for event in shown.events if event.event_type == "ToolUseBlock"}
    table = Table(box=None, padding=(0, 1), header_style="dim", expand=True)
    table.add_column("at", justify="right", no_wrap=True, min_width=8)
    table.add_column("agent", no_wrap=True, overflow="ellipsis", min_width=10, max_width=16)
    table.add_column("", no_wrap=True, min_width=1)
    table.add_column("what", ratio=1, no_wrap=True, overflow="ellipsis")
    table.add_column("took", justify="right", no_wrap=True, min_width=8)
    for event in shown.events:
        if event.event_type == "ToolResultBlock" and event.tool_use_id in calls:
            continue
        mark, what, took = _row(event, results.get(event.tool_use_id))
        at = _since(shown.session.created_at, event.timestamp)
        agent = names.get(event.agent_id, "") if event.agent_id else ""
        table.add_row(Text(at, style="dim"), Text(one_line(agent), style="dim"), mark, what, Text(took, style="dim"))
    return table


def _since(start: datetime, moment: datetime) -> str:
    seconds = (moment - start).total_seconds()
    return f"{seconds:+.1f} s" if abs(seconds) < 3600 else f"{moment:%m-%d %H:%M}"  # noqa: PLR2004  an hour


def _row(event: AgentLog, result: AgentLog | None) -> tuple[Text, Text, str]:
    """Return mark, description and duration of an event; a call is shown with its result."""
    if event.event_type == "ToolUseBlock":
        what = Text(one_line(event.tool_name or "tool"), style="bold").append(f"  {_telling_input(event.tool_input)}", style="not bold")
        if result is None:
            return Text("○", style="yellow"), what, ""
        failed = isinstance(result.payload, dict) and result.payload.get("is_error") is True
        if failed:
            what.append(f"  {one_line(result.tool_output or '')}", style="not bold red")
        took = duration(timedelta(milliseconds=result.duration_ms)) if result.duration_ms is not None else ""
        return Text("✗", style="bold red") if failed else Text("✓", style="green"), what, took
    if event.event_type == "ThinkingBlock":
        return Text("·", style="dim"), Text(one_line(event.content or "thinking"), style="dim italic"), ""
    text = event.content or event.tool_output or event.tool_name or ""
    label = "" if event.event_type == "TextBlock" else f"{event.event_type}  "
    return Text(">"), Text(one_line(label + text)), duration(timedelta(milliseconds=event.duration_ms)) if event.duration_ms else ""


def _telling_input(tool_input: Any) -> str:
    if not isinstance(tool_input, dict):
        return ""
    telling = next((tool_input[name] for name in _TELLING_INPUTS if isinstance(tool_input.get(name), str)), "")
    return one_line(telling)
