"""What a session consists of, read from the client's transcripts here, and from the database there: they have to be equal."""

import json
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from sqlalchemy import select
from sqlmodel import col

from session_db import crud
from session_db.database import UnitOfWork
from session_db.models import AgentLog, Session, Transcript, Usage

KINDS = {"text": "TextBlock", "thinking": "ThinkingBlock", "tool_use": "ToolUseBlock", "tool_result": "ToolResultBlock"}
TOKENS = ("input_tokens", "output_tokens", "cache_read_tokens", "cache_write_5m_tokens", "cache_write_1h_tokens")

Block = tuple[str | None, str, str]
"""Who said it (a sub-agent's id, or None), what it is, and the call that it belongs to, or what it says."""


@dataclass
class Record:
    """A session of the client.

    Attributes:
        lines: of its own transcript, and by their paths of those beside it.
        blocks: how often each stands there; those of a fork's past, too.
        agents: what each sub-agent is, by its id.
        tokens: of each answer that this session paid for.
        cost: US dollars that the client counts to it.
    """

    lines: dict[str, list[str]] = field(default_factory=dict)
    blocks: Counter[Block] = field(default_factory=Counter)
    agents: dict[str, str] = field(default_factory=dict)
    tokens: dict[str, tuple[int, ...]] = field(default_factory=dict)
    cost: float | None = None


def records_in(projects: Path) -> dict[str, Record]:
    """Read what lies in the client's folder of projects, by SDK session."""
    records: dict[str, Record] = {}
    for path in sorted(projects.rglob("*.jsonl")):
        folder, *below = path.relative_to(projects).parts[1:]
        record = records.setdefault(Path(folder).stem if not below else folder, Record())
        subpath = "/".join(below).removesuffix(".jsonl")
        record.lines[subpath] = path.read_text().splitlines()
        agent = path.stem.removeprefix("agent-") if below else None
        if agent is not None:
            record.agents[agent] = json.loads(path.with_suffix(".meta.json").read_text())["agentType"]
        for line in record.lines[subpath]:
            _read(record, agent, json.loads(line))
    return records


def _read(record: Record, agent: str | None, entry: dict[str, Any]) -> None:
    if entry["type"] == "cost-state":
        record.cost = round(entry["totalCostUSD"], 8)
    if entry["type"] not in ("user", "assistant"):
        return
    message = entry["message"]
    blocks = message["content"] if isinstance(message["content"], list) else []
    # What a user says is a message and no block.
    record.blocks.update(_block(agent, block) for block in blocks if entry["type"] == "assistant" or block["type"] == "tool_result")
    if entry["type"] == "assistant" and entry.get("requestSessionId", entry["sessionId"]) == entry["sessionId"]:
        usage = message["usage"]
        written = usage["cache_creation"]
        counts = [usage[name] for name in ("input_tokens", "output_tokens", "cache_read_input_tokens")]
        counts += [written["ephemeral_5m_input_tokens"], written["ephemeral_1h_input_tokens"]]
        assert record.tokens.setdefault(message["id"], tuple(counts)) == tuple(counts)


def _block(agent: str | None, block: Mapping[str, Any]) -> Block:
    said = block.get("id") or block.get("tool_use_id") or block.get("text") or block["thinking"]
    return agent, KINDS[block["type"]], said


async def records_of(db: UnitOfWork) -> dict[str, Record]:
    """Read what the database holds, by SDK session."""
    return {await _sdk_session_of(db, session): await _record(db, session) for session in await sessions_of(db)}


async def sessions_of(db: UnitOfWork) -> list[Session]:
    """Return all sessions, the one that began first before the others."""
    return sorted(await crud.list_sessions(db), key=lambda session: session.created_at)


async def conversation_of(db: UnitOfWork, session: Session) -> list[tuple[str, str]]:
    return [(message["role"], message["content"]) for message in await crud.list_messages(db, session.id)]


async def hooks_of(db: UnitOfWork) -> list[AgentLog]:
    """Return the events of hooks of all sessions, in the order they were recorded."""
    query = select(AgentLog).where(col(AgentLog.event_category) == "hook").order_by(col(AgentLog.session_id), col(AgentLog.event_index))
    return list((await db.execute(query)).scalars())


async def _sdk_session_of(db: UnitOfWork, session: Session) -> str:
    (found,) = {agent.sdk_session_id for agent in await crud.list_agents(db, session.id)} - {None}
    return str(found)


async def _record(db: UnitOfWork, session: Session) -> Record:
    agents = {agent.id: agent for agent in await crud.list_agents(db, session.id)}
    record = Record(cost=None if session.reported_cost is None else round(session.reported_cost, 8))
    record.agents = {agent.sdk_agent_id: agent.agent_type for agent in agents.values() if agent.sdk_agent_id}
    for stream in await crud.list_transcripts(db, session.id):
        record.lines[stream.subpath] = await _lines(db, stream)
    for event in await crud.list_agent_logs(db, session.id, event_category="response", limit=1000):
        said = str(event.tool_use_id or event.content)
        record.blocks[agents[event.agent_id].sdk_agent_id if event.agent_id else None, event.event_type, said] += 1
    for usage in await _usage(db, session):
        record.tokens[usage.message_id] = tuple(getattr(usage, name) for name in TOKENS)
    return record


async def _lines(db: UnitOfWork, stream: Transcript) -> list[str]:
    return [line async for line in crud.stream_entries(db, stream.session_id, stream.id)]


async def _usage(db: UnitOfWork, session: Session) -> Iterable[Usage]:
    return (await db.execute(select(Usage).where(col(Usage.session_id) == session.id))).scalars()
