"""How a session looks in a terminal, at 80 columns and wider."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from rich.cells import cell_len
from rich.console import Group
from rich.padding import Padding
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from session_db.cli.output import ago, console, count, dollars, duration, facts, is_narrow, printable, status_text
from session_db.crud import Page
from session_db.crud.erasing import ErasureReport
from session_db.crud.transcripts import Missing
from session_db.lines import one_line
from session_db.models import Agent, AgentLog, Session
from session_db.models.labels import telling_input
from session_db.models.outcomes import outcomes_in
from session_db.models.sessions import ENDED_STATUSES

_MESSAGE_LINES = 6
_BEGINNINGS = frozenset({"ToolUseBlock", "PreToolUse"})
_ENDS = frozenset({"ToolResultBlock", "PostToolUse", "PostToolUseFailure", "PermissionDenied"})
CALL_MARKS = {
    "ok": ("✓", "green"),
    "failed": ("✗", "bold red"),
    "denied": ("⊘", "yellow"),
    "interrupted": ("■", "yellow"),
    "unfinished": ("◌", "yellow"),
    "running": ("○", "yellow"),
}
"""Mark and style of a call, by how it ended."""


@dataclass(frozen=True)
class Shown:
    """A session with what is shown of it: messages in their order, events in the order in which they happened."""

    session: Session
    agents: list[Agent]
    messages: list[dict[str, Any]]
    events: list[AgentLog]
    missing: Missing
    more_agents: bool = False


def print_sessions(page: Page[Session], *, filtered: bool = False) -> None:
    """Print a page of the list, two lines a session; three in a narrow terminal."""
    out = console()
    if not page:
        example = "No sessions yet. session-db import takes in what Claude Code recorded; session-db demo shows an example."
        out.print("No sessions match." if filtered else example)
        return
    rows = [_summary(session) for session in page]
    headings = ("session", "status") if is_narrow() else ("session", "status", "msgs", "cost", "active")
    widths = [max(cell_len(str(cell)) for cell in column) for column in zip(headings, *rows, strict=False)]
    out.print(_aligned([Text(heading, style="dim") for heading in headings], widths))
    for session, row in zip(page, rows, strict=True):
        out.print(_aligned(row[: len(headings)], widths))
        place = Text(f"   {session.id}", style="dim")
        place.append("\n   " if is_narrow() else "  ").append(one_line(session.working_dir or session.agent_name or ""))
        out.print(place, no_wrap=True, overflow="ellipsis")
    if page.next_cursor:
        out.print(Text(f"More: session-db sessions list --cursor {page.next_cursor}", style="dim"), soft_wrap=True)


def _summary(session: Session) -> list[Text]:
    return [
        Text(one_line(session.display_name), style="bold"),
        status_text(session.status),
        Text(count(session.message_count)),
        Text(dollars(session.total_cost)),
        Text(ago(session.last_activity)),
    ]


def _aligned(cells: Sequence[Text], widths: Sequence[int]) -> Table:
    """Return one line of a list whose other lines have the same columns; the first takes what the others leave."""
    line = Table(box=None, padding=(0, 1), show_header=False, expand=True)
    line.add_column(ratio=1, no_wrap=True, overflow="ellipsis")
    for column, width in enumerate(widths[1:]):
        line.add_column(width=width, no_wrap=True, justify="right" if column else "left")
    line.add_row(*cells)
    return line


def print_erased(report: ErasureReport) -> None:
    """Print what a deletion took away."""
    rows = Table(box=None, padding=(0, 1), header_style="dim")
    rows.add_column("table")
    rows.add_column("rows", justify="right")
    for table, number in report.rows.items():
        if number:
            rows.add_row(table, f"{number:,}")
    console().print(rows)
    if not report.transcripts:
        console().print("It had no transcript.")
        return
    lost = Table(box=None, padding=(0, 1), header_style="dim", title="Can no longer be resumed from here", title_justify="left")
    for heading in ("SDK session", "project", "streams below"):
        lost.add_column(heading, overflow="fold", justify="right" if heading == "streams below" else "left")
    for transcript in report.transcripts:
        lost.add_row(Text(one_line(transcript.sdk_session_id)), Text(one_line(transcript.project_key)), str(transcript.subpaths))
    console().print(lost)


def print_shown(shown: Shown) -> None:
    """Print header, agents, last messages and timeline."""
    out = console()
    out.print(_header(shown.session, shown.missing))
    out.print(_agents(shown))
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


def _header(session: Session, missing: Missing) -> Panel:
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
            tokens_text(
                session.total_input_tokens, session.total_output_tokens, session.total_cache_read_tokens, session.total_cache_write_tokens
            ),
        ),
        ("forked from", str(session.forked_from) if session.forked_from else None),
        ("secrets", secrets_text(session.secrets_masked) if session.secrets_masked else None),
        ("missing", _missing(missing)),
        ("error", session.error_message),
    ]
    return Panel(facts(rows), title=Text(one_line(session.display_name), style="bold"), title_align="left", border_style="dim")


def _cost(session: Session) -> str:
    cost = dollars(session.total_cost)
    if session.reported_cost is None:
        return cost
    if session.forked_from is not None:
        return f"{cost} (the client reports {dollars(session.reported_cost)}, with what was spent before the fork)"
    unattributed = session.reported_cost - session.total_cost
    reported = f"{cost} (the client reports {dollars(session.reported_cost)}"
    return f"{reported}; unattributed {dollars(unattributed)})" if abs(unattributed) >= 1e-6 else f"{reported})"  # noqa: PLR2004  a millionth is rounding


def secrets_text(masked: int) -> str:
    """Say how many secrets were masked."""
    return f"{masked:,} {'secret' if masked == 1 else 'secrets'} masked"


def _missing(missing: Missing) -> str | None:
    parts = []
    if missing.pending:
        parts.append(f"{missing.pending} {'transcript' if missing.pending == 1 else 'transcripts'}, not read yet: hooks told what is shown")
    if missing.entries:
        parts.append(f"{missing.entries:,} {'entry' if missing.entries == 1 else 'entries'} of transcripts")
    return "; ".join(parts) or None


def tokens_text(read: int, written: int, cache_read: int, cache_write: int) -> str:
    return f"{count(read)} in, {count(written)} out, {count(cache_read)} from cache, {count(cache_write)} to cache"


def _agents(shown: Shown) -> Group:
    table = Table(box=None, padding=(0, 1), header_style="dim", expand=True)
    table.add_column("agent", ratio=1, no_wrap=True, overflow="ellipsis")
    table.add_column("status", no_wrap=True, min_width=9)
    if not is_narrow():
        table.add_column("model", no_wrap=True, overflow="ellipsis", min_width=16, max_width=26)
        for heading, width in (("tokens", 6), ("cost", 7), ("time", 8)):
            table.add_column(heading, justify="right", no_wrap=True, min_width=width)
    for agent, depth in _tree(shown.agents):
        label = Text("  " * depth + ("└ " if depth else "") + one_line(agent.agent_type))
        if agent.name:
            label.append(f" {one_line(agent.name)}", style="dim")
        span = agent.completed_at - agent.started_at if agent.completed_at and agent.started_at else None
        tokens = agent.input_tokens + agent.output_tokens + agent.cache_read_tokens + agent.cache_write_tokens
        model = Text(one_line(agent.model or "-"))
        cells = (label, status_text(agent.status), model, count(tokens), dollars(agent.cost), duration(span))
        table.add_row(*cells[: len(table.columns)])
    title = _heading("Agents", len(shown.agents), len(shown.agents))
    if shown.more_agents:
        title = Text("\n Agents", style="bold").append(f"  first {len(shown.agents)} of more", style="dim")
    return Group(title, table)


def _tree(agents: Sequence[Agent]) -> list[tuple[Agent, int]]:
    """Return each agent after its parent, with how deep it stands."""
    children: dict[UUID, list[Agent]] = {}
    roots = []
    known = {agent.id for agent in agents}
    for agent in agents:
        if agent.parent_agent_id is not None and agent.parent_agent_id in known:
            children.setdefault(agent.parent_agent_id, []).append(agent)
        else:
            roots.append(agent)
    drawn: dict[UUID, tuple[Agent, int]] = {}
    # Nothing leads to agents that are their own ancestors: the first of them that is still missing stands as a root.
    for root in [*roots, *agents]:
        todo = [(root, 0)]
        while todo:
            agent, depth = todo.pop()
            if agent.id not in drawn:
                drawn[agent.id] = agent, depth
                todo += [(child, depth + 1) for child in reversed(children.get(agent.id, []))]
    return list(drawn.values())


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
    calls = _Calls(shown)
    table = Table(box=None, padding=(0, 1), header_style="dim", expand=True)
    table.add_column("at", justify="right", no_wrap=True, min_width=8)
    if not is_narrow():
        table.add_column("agent", no_wrap=True, overflow="ellipsis", min_width=10, max_width=16)
    table.add_column("", no_wrap=True, min_width=1)
    table.add_column("what", ratio=1, no_wrap=True, overflow="ellipsis")
    if not is_narrow():
        table.add_column("took", justify="right", no_wrap=True, min_width=8)
    for event in shown.events:
        if calls.has_better(event):
            continue
        mark, what, took = calls.row(event) if event.event_type in _BEGINNINGS else _row(event)
        at = _since(shown.session.created_at, event.timestamp)
        agent = names.get(event.agent_id, "") if event.agent_id else ""
        cells = (Text(at, style="dim"), Text(one_line(agent), style="dim"), mark, what, Text(took, style="dim"))
        table.add_row(*((cells[0], mark, what) if is_narrow() else cells))
    return table


def _since(start: datetime, moment: datetime) -> str:
    seconds = (moment - start).total_seconds()
    return f"{seconds:+.1f} s" if abs(seconds) < 3600 else f"{moment:%m-%d %H:%M}"  # noqa: PLR2004  an hour


class _Calls:
    """The calls among the events that are shown: each is one line, with its result."""

    def __init__(self, shown: Shown) -> None:
        self._outcomes = outcomes_in(shown.events)
        self._results = {event.tool_use_id: event for event in shown.events if event.event_type in _ENDS}
        self._results |= {event.tool_use_id: event for event in shown.events if event.event_type == "ToolResultBlock"}
        begun = {(event.tool_use_id, event.event_type) for event in shown.events if event.event_type in _BEGINNINGS}
        self._better = {"PreToolUse": {call for call, kind in begun if kind == "ToolUseBlock"}}
        self._better |= {kind: {call for call, _ in begun} for kind in _ENDS}
        self._over = {agent.id for agent in shown.agents if agent.status in {"complete", "failed"}}
        self._is_over = shown.session.status in ENDED_STATUSES

    def has_better(self, event: AgentLog) -> bool:
        """Say whether another line shows what an event tells."""
        return event.tool_use_id is not None and event.tool_use_id in self._better.get(event.event_type, ())

    def row(self, event: AgentLog) -> tuple[Text, Text, str]:
        """Return mark, description and duration of a call."""
        call = event.tool_use_id or ""
        result = self._results.get(call)
        outcome = self._outcomes.get(call, "unfinished" if self._is_over or event.agent_id in self._over else "running")
        mark, style = CALL_MARKS[outcome]
        what = Text(one_line(event.tool_name or "tool"), style="bold")
        if outcome not in {"ok", "failed", "running"}:
            what.append(f"  {outcome}", style=f"not bold {style}")
        what.append(f"  {telling_input(event.tool_input)}", style="not bold")
        if outcome != "ok" and result is not None:
            what.append(f"  {one_line(result.tool_output or result.content or '')}", style=f"not bold {style}")
        took = duration(timedelta(milliseconds=result.duration_ms)) if result and result.duration_ms is not None else ""
        return Text(mark, style=style), what, took


def _row(event: AgentLog) -> tuple[Text, Text, str]:
    """Return mark, description and duration of an event that is no call."""
    if event.event_type == "ThinkingBlock":
        return Text("·", style="dim"), Text(one_line(event.content or "thinking"), style="dim italic"), ""
    text = event.content or event.tool_output or event.tool_name or ""
    label = "" if event.event_type == "TextBlock" else f"{event.event_type}  "
    return Text(">"), Text(one_line(label + text)), duration(timedelta(milliseconds=event.duration_ms)) if event.duration_ms else ""
