"""From the entries of a stream to rows: the one writer of a captured session's conversation."""

import asyncio
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from decimal import Decimal
from typing import Any
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncSession

from session_db.capture.entries import MESSAGE_LIMIT, Facts, Reading, Source, read_entries
from session_db.capture.prices import computed_cost
from session_db.capture.redaction import mask_events, masked, stored_text, stored_texts
from session_db.capture.told import replace_told
from session_db.crud.agent_logs import append_agent_logs, get_tool_calls
from session_db.crud.agents import ensure_agent, is_below
from session_db.crud.locking import lock_session_if_any
from session_db.crud.messages import extend_message, get_known_client_ids, save_display_messages
from session_db.crud.sdk_sessions import BoundBy, bind_sdk_session, get_sdk_session, main_agent_id, sdk_key, session_id_of
from session_db.crud.sessions import ensure_session
from session_db.crud.transcripts import append_entries, ensure_transcript, known_uuids, sum_reported_cost
from session_db.crud.usage import TOKENS, get_usage, put_usage
from session_db.errors import Conflict, NotFound
from session_db.ids import derived_id
from session_db.models import Agent, AgentCreate, Session, SessionCreate, Transcript
from session_db.models.table import JSONText, decode_json
from session_db.models.text import readable

MAX_UUID = 255
MAX_WORKING_DIR = 600
"""Characters of a working_dir, which stands in an index; a longer one is whole in the metadata."""

Entry = tuple[str, dict[str, Any]]
"""An entry as its sender wrote it, and what it holds."""


@dataclass(frozen=True)
class StreamName:
    """Which stream: by the client's names, and for a sub-agent's what the client says of it.

    ``bound_to`` is the session that an SDK session goes to which is bound to none yet; unset: one of its own. ``agent_type`` and
    ``checkpoint_id`` are for its agent, where that is new.
    """

    project_key: str
    sdk_session_id: str
    subpath: str = ""
    sdk_agent_id: str | None = None
    agent_meta: str | None = None
    host: str | None = None
    bound_to: UUID | None = None
    bound_by: BoundBy = "auto"
    agent_type: str = "main"
    checkpoint_id: int | None = None

    @property
    def is_main(self) -> bool:
        return self.subpath == ""


def sdk_agent_of(subpath: str) -> str | None:
    """Return the SDK's id of the sub-agent whose stream has this subpath; None where it is no sub-agent's."""
    return readable(subpath.rpartition("/")[2]).removeprefix("agent-") if subpath.startswith("subagents/") else None


@dataclass(frozen=True)
class OpenStream:
    """A stream with the rows that it belongs to; its session is locked until the transaction ends."""

    name: StreamName
    session: Session
    is_new_session: bool
    agent: Agent
    transcript: Transcript


@dataclass(frozen=True)
class Recorded:
    """How many rows were made, and secrets masked in them.

    ``lacking`` entries of a store's stream are not in the file, so that nothing of it was added.
    """

    is_new_session: bool = False
    entries: int = 0
    events: int = 0
    messages: int = 0
    usage: int = 0
    secrets_masked: int = 0
    lacking: int = 0


async def open_stream(db: AsyncSession, name: StreamName, began: datetime) -> OpenStream:
    """Find the session, the agent and the stream, or make them, and lock the session.

    Args:
        db: the database session.
        name: which stream.
        began: when it began, for what is made.

    Raises:
        NotFound: the session was deleted, or there is none that it is bound to.
    """
    session, agent_id, is_new = await bound_session(db, name, began)
    main = AgentCreate(
        id=agent_id,
        session_id=session.id,
        agent_type=name.agent_type,
        checkpoint_id=name.checkpoint_id,
        sdk_session_id=readable(name.sdk_session_id[:MAX_UUID]),
    )
    agent = await ensure_agent(db, main)
    if name.sdk_agent_id is not None:
        agent = await _sub_agent(db, name, agent)
    transcript = await ensure_transcript(db, session.id, agent.id, name.project_key, name.sdk_session_id, name.subpath)
    if name.agent_meta is not None:
        meta = stored_text(name.agent_meta)
        transcript.meta = JSONText(meta)
        transcript.is_masked |= meta != name.agent_meta
    return OpenStream(name, session, is_new, agent, transcript)


async def bound_session(db: AsyncSession, name: StreamName, began: datetime) -> tuple[Session, UUID, bool]:
    """Return the session of an SDK session, locked, its agent's id, and whether it was made now.

    A session is made together with its binding and never later: while this waits for the lock, it may be deleted, or adopted.

    Raises:
        NotFound: the session was deleted, or there is none that it is bound to.
    """
    key = sdk_key(name.sdk_session_id, name.project_key)
    own_id = session_id_of(name.sdk_session_id, name.project_key)
    target = name.bound_to or own_id
    for _ in range(5):
        binding, is_bound_now = await bind_sdk_session(db, key, target, main_agent_id(target, name.sdk_session_id), name.bound_by)
        if binding.session_id is None or binding.agent_id is None:
            raise NotFound(f"the session of SDK session {name.sdk_session_id} was deleted; import it with --restore-deleted.", sdk_key=key)
        is_new = is_bound_now and name.bound_to is None and await ensure_session(db, _new_session(own_id), began)
        session = await lock_session_if_any(db, binding.session_id)
        now_bound = await get_sdk_session(db, key)
        if session is not None and now_bound is not None and now_bound.session_id == session.id and now_bound.agent_id is not None:
            return session, now_bound.agent_id, is_new
        if is_bound_now:
            break
    if name.bound_to is not None:
        raise NotFound(f"there is no session {name.bound_to}; record into another one.", session_id=name.bound_to)
    raise Conflict(f"session {own_id} was deleted and is still being erased; repeat the import when it is gone.", session_id=own_id)


def _new_session(session_id: UUID) -> SessionCreate:
    return SessionCreate(session_id=session_id, agent_name="claude-code", provider="anthropic", use_claude_code=True, status="idle")


async def _sub_agent(db: AsyncSession, name: StreamName, main: Agent) -> Agent:
    """Find or make the agent of a sub-agent's stream, and its parent where that is a sub-agent whose own stream comes later."""
    meta = decode_json(name.agent_meta) if name.agent_meta else {}
    sdk_agent_id = str(name.sdk_agent_id)
    agent_id = derived_id(main.session_id, sdk_agent_id)
    parent_id = await _parent_of(db, agent_id, meta.get("parentAgentId"), main)
    values: dict[str, Any] = {
        "agent_type": _short(meta.get("agentType"), 100) or "agent",
        "name": _short(masked(meta.get("description")).value, 1000),
        "model": _short(meta.get("model"), 100),
        "parent_agent_id": parent_id,
        "sdk_agent_id": readable(sdk_agent_id[:MAX_UUID]),
    }
    created = AgentCreate(id=agent_id, session_id=main.session_id, **values)
    agent = await ensure_agent(db, created)
    for field, value in values.items():
        # A row that was made before its file said more knows only that there is an agent.
        if value is not None and (agent.sdk_agent_id is None or getattr(agent, field) in (None, "agent")):
            setattr(agent, field, value)
    if parent_id != main.id:
        agent.parent_agent_id = parent_id
    return agent


async def _parent_of(db: AsyncSession, agent_id: UUID, named: Any, main: Agent) -> UUID:
    """Find or make the agent that a sub-agent's file names as its parent; one that stands below the sub-agent itself is none."""
    if not isinstance(named, str):
        return main.id
    parent_id = derived_id(main.session_id, named)
    if await is_below(db, main.session_id, parent_id, agent_id):
        return main.id
    parent = AgentCreate(id=parent_id, session_id=main.session_id, agent_type="agent", parent_agent_id=main.id)
    return (await ensure_agent(db, parent)).id


def _short(value: Any, limit: int) -> str | None:
    return readable(value[:limit]) if isinstance(value, str) and value else None


async def append_to_stream(  # noqa: PLR0913  what to write, and what is known of it
    db: AsyncSession,
    stream: OpenStream,
    lines: Sequence[Entry],
    fallback: datetime,
    *,
    are_new: bool = False,
    told: Collection[str] = (),
) -> Recorded:
    """Append entries to a stream, and make what they say into rows. One that repeats a uuid is kept, and says nothing new.

    Args:
        db: the database session.
        stream: as ``open_stream`` gave it in this transaction.
        lines: entries, in order.
        fallback: when an entry without a time happened, if none before it has one.
        are_new: do not look which the stream has: ``new_entries`` did.
        told: uuids of entries that were made into rows before.
    """
    texts = await stored_texts(text for text, _ in lines)
    keyed = [(uuid_of(entry), text, entry) for text, (_, entry) in zip(texts, lines, strict=True)]
    known = set() if are_new else await known_uuids(db, stream.transcript, [uuid for uuid, _, _ in keyed if uuid is not None])
    stored: list[tuple[str | None, str]] = []
    fresh: list[tuple[str, dict[str, Any]]] = []
    for (uuid, text, entry), (verbatim, _) in zip(keyed, lines, strict=True):
        is_known = uuid is not None and uuid in known
        if not is_known and uuid not in told:
            fresh.append((uuid or f"{stream.transcript.id}:{stream.transcript.next_seq + len(stored)}", entry))
        stored.append((None if is_known else uuid, text))
        stream.transcript.is_masked |= text != verbatim
        if uuid is not None:
            known.add(uuid)
    await append_entries(db, stream.transcript, stored)
    source = Source(stream.session.id, stream.agent.id, stream.name.sdk_session_id, stream.name.is_main)
    # Whoever serves others in the same event loop goes on meanwhile: secrets are looked for here, and in the events.
    reading = await asyncio.to_thread(read_entries, fresh, source, fallback)
    return replace(await _write(db, stream, reading), entries=len(stored), is_new_session=stream.is_new_session)


async def new_entries(db: AsyncSession, transcript: Transcript, lines: Sequence[Entry]) -> list[Entry]:
    """Leave out entries whose uuid the stream has or an earlier one of them; those without a uuid are all new."""
    known = await known_uuids(db, transcript, [uuid for _, entry in lines if (uuid := uuid_of(entry)) is not None])
    new: list[Entry] = []
    for text, entry in lines:
        uuid = uuid_of(entry)
        if uuid is None or uuid not in known:
            new.append((text, entry))
        if uuid is not None:
            known.add(uuid)
    return new


def uuid_of(entry: dict[str, Any]) -> str | None:
    """Return the key of an entry, where it has one that an index can hold."""
    uuid = entry.get("uuid")
    is_key = isinstance(uuid, str) and 0 < len(uuid) <= MAX_UUID and uuid.isprintable()
    return uuid if is_key else None


async def _write(db: AsyncSession, stream: OpenStream, reading: Reading) -> Recorded:
    await _note_facts(db, stream, reading.facts)
    await _pair_calls(db, stream.session.id, reading)
    last_at = reading.facts.last_at
    counts = await asyncio.to_thread(mask_events, reading.events)
    events = await append_agent_logs(db, reading.events, last_activity=last_at)
    secrets = sum(count for count, event in zip(counts, events, strict=True) if event.is_new) + await _masked_in_new(db, stream, reading)
    stream.session.secrets_masked += secrets
    messages = await _save_messages(db, stream, list(reading.messages.values()), last_at)
    usage = await _save_usage(db, stream.session.id, reading.usage)
    return Recorded(events=sum(event.is_new for event in events), messages=messages, usage=usage, secrets_masked=secrets)


async def _masked_in_new(db: AsyncSession, stream: OpenStream, reading: Reading) -> int:
    """Return how many secrets were masked in prompts that the session has not got."""
    counts = {client_id: count for client_id, count in reading.masked.items() if count}
    known = await get_known_client_ids(db, stream.session.id, list(counts)) if counts else set()
    return sum(count for client_id, count in counts.items() if client_id not in known)


async def _pair_calls(db: AsyncSession, session_id: UUID, reading: Reading) -> None:
    """Give each tool result its tool, and how long the call took."""
    results = [event for event in reading.events if event.event_type == "ToolResultBlock" and event.tool_use_id]
    calls = await get_tool_calls(db, session_id, {str(event.tool_use_id) for event in results})
    calls |= {
        str(event.tool_use_id): (event.tool_name, event.timestamp)
        for event in reading.events
        if event.event_type == "ToolUseBlock" and event.timestamp
    }
    for event in results:
        name, began = calls.get(str(event.tool_use_id), (None, None))
        event.tool_name = name
        if began is not None and event.timestamp is not None:
            event.duration_ms = max(0, round((event.timestamp - began).total_seconds() * 1000))


async def _save_messages(db: AsyncSession, stream: OpenStream, messages: list[dict[str, Any]], last_at: datetime | None) -> int:
    """Append messages, or put them in the places of what hooks told.

    An answer whose beginning came with an earlier batch gets a further paragraph instead.
    """
    session_id = stream.session.id
    # A store may begin in the middle of a conversation that hooks told from its start; a file has all of it.
    replaced = await replace_told(db, stream.transcript, messages) if stream.transcript.source != "store" else 0
    places = await save_display_messages(db, session_id, messages, last_activity=last_at) if messages else []
    for message, place in zip(messages, places, strict=True):
        if not place.is_new and message["role"] == "assistant":
            await extend_message(db, session_id, message["client_id"], message["content"], limit=MESSAGE_LIMIT)
    return replaced + sum(place.is_new for place in places)


async def _save_usage(db: AsyncSession, session_id: UUID, usage: dict[str, dict[str, Any]]) -> int:
    """Write usage rows, the larger count of each token where one is there already."""
    before = await get_usage(db, session_id, usage) if usage else {}
    rows = []
    for message_id, row in usage.items():
        old = before.get(message_id)
        merged = dict(row)
        if old is not None:
            merged |= {name: max(row[name], old[name]) for name in TOKENS}
            merged |= {"agent_id": old["agent_id"], "occurred_at": min(row["occurred_at"], old["occurred_at"])}
        cost: Decimal | None = computed_cost(merged["model"], merged, merged["occurred_at"])
        rows.append(merged | {"computed_cost": cost, "reported_cost": old["reported_cost"] if old else None})
    await put_usage(db, session_id, rows, before)
    return len(usage.keys() - before.keys())


async def _note_facts(db: AsyncSession, stream: OpenStream, facts: Facts) -> None:
    _note_agent(stream.agent, facts)
    if stream.name.is_main:
        note_session(stream, facts)
        if facts.reported_cost is not None:
            stream.transcript.reported_cost = facts.reported_cost
            stream.transcript.reported_usage = facts.reported_usage
    await db.flush()
    if facts.reported_cost is not None:
        await sum_reported_cost(db, stream.session.id)


def _note_agent(agent: Agent, facts: Facts) -> None:
    agent.model = facts.model or agent.model
    agent.working_dir = agent.working_dir or (readable(facts.working_dir) if facts.working_dir else None)
    if facts.agent_setting and agent.agent_type == "main":
        agent.agent_type = readable(facts.agent_setting[:100])
    if facts.first_at is not None and (agent.started_at is None or facts.first_at < agent.started_at):
        agent.started_at = facts.first_at
    is_over = agent.completed_at is not None and facts.answered_at is not None and facts.answered_at <= agent.completed_at
    if facts.agent_status is not None and not (facts.agent_status == "executing" and is_over):
        agent.status, agent.error_message = facts.agent_status, facts.agent_error
        agent.completed_at = facts.answered_at if facts.agent_status in ("complete", "failed") else None


def note_session(stream: OpenStream, facts: Facts) -> None:
    """Let a session say of itself what is told of it; what it says already stays."""
    session = stream.session
    session.model_name = session.model_name or facts.model
    session.host = session.host or stream.name.host
    if session.session_type != "chat":
        return
    if facts.first_at is not None and stream.name.is_main and session.use_claude_code and facts.first_at < session.created_at:
        session.created_at = facts.first_at
    if facts.working_dir and session.working_dir is None:
        session.working_dir = readable(facts.working_dir)[:MAX_WORKING_DIR]
        session.current_project = session.working_dir.rstrip("/\\").replace("\\", "/").rpartition("/")[2][:255] or None
    if facts.forked_from and session.forked_from is None:
        session.forked_from = session_id_of(facts.forked_from, stream.name.project_key)
    whole = facts.working_dir if facts.working_dir and len(facts.working_dir) > MAX_WORKING_DIR else None
    about = {"working_dir": whole, "git_branch": facts.git_branch, "client_version": facts.client_version, "entrypoint": facts.entrypoint}
    session.metadata_ = session.metadata_ | {name: readable(value) for name, value in about.items() if value}
    _note_title(stream, facts)


def _note_title(stream: OpenStream, facts: Facts) -> None:
    """Take a title that is as good as the one before, unless somebody gave the session another by hand."""
    noted = stream.transcript.meta if isinstance(stream.transcript.meta, dict) else {}
    if facts.title is None or facts.title_rank < noted.get("title_rank", 0):
        return
    if stream.session.title not in (None, noted.get("title")):
        return
    if facts.title_rank == 1 and noted.get("title_rank") == 1:
        return
    stream.session.title = facts.title
    stream.transcript.meta = noted | {"title": facts.title, "title_rank": facts.title_rank}
