"""Draining: captured events become rows, in the order they were captured, and each once however often it is tried."""

import asyncio
import fcntl
import functools
import logging
import os
from collections import defaultdict
from collections.abc import Awaitable, Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import chain, islice, zip_longest
from uuid import UUID

from sqlalchemy.exc import DBAPIError, IntegrityError
from sqlalchemy.ext.asyncio import AsyncSession

from session_db.capture.binding import CLEARING, begins_cleared, bind_as_wanted, cleared_before, note_cleared
from session_db.capture.hook_events import ENDS_TURN, HookEvent, parse, row_of
from session_db.capture.reading import ReadReport, host_of, read_transcript, transcript_of
from session_db.capture.reaping import note_process
from session_db.capture.record import StreamName, bound_session
from session_db.capture.redaction import mask_events, masked
from session_db.capture.spool import Spool, spool_of
from session_db.capture.telling import tell
from session_db.capture.turns import note_turns
from session_db.crud.agent_logs import append_agent_logs, get_last_agent_logs
from session_db.crud.agents import end_agents_below, ensure_agent, was_presumed
from session_db.crud.sdk_sessions import sdk_key
from session_db.crud.sessions import update_session
from session_db.database import UnitOfWork, in_transaction
from session_db.database.violations import translate
from session_db.errors import Conflict, InvalidInput, NotFound
from session_db.ids import derived_id
from session_db.models import Agent, AgentCreate, Session, SessionUpdate
from session_db.models.table import now
from session_db.models.text import readable
from session_db.settings import Settings

BATCH = 500
"""Events that are read at a time; those of a session among them are written in one transaction."""

BATCH_BYTES = 16 * 1024 * 1024
"""Bytes of payloads that are read at a time, and one payload more."""

LAG = timedelta(seconds=3)
"""How long after an event its transcript may still grow by what it tells."""

HELD = timedelta(seconds=60)
"""How long a transcript that cannot be read is waited for."""

LATE = timedelta(seconds=60)
"""How much older than a session's last activity the start or end of a client is that comes too late to say how the session stands."""

HELD_BATCH = 100
"""Events that were held, and are told before new ones are looked for again."""

logger = logging.getLogger(__name__)


@dataclass
class DrainReport(ReadReport):
    """What a drain did.

    ``known`` counts events that an earlier drain wrote, too, and left for a moment because their transcripts may still grow. ``told`` are
    messages of conversations whose transcripts cannot be read here.
    """

    events: int = 0
    known: int = 0
    told: int = 0
    deleted: int = 0
    bad: int = 0
    unmovable: OSError | None = None


class _Unwritable(Exception):
    """A value cannot be stored, however often it is tried."""


async def drain(settings: Settings, *, at_most: int | None = None) -> DrainReport:
    """Write what waits in the spool, and read the transcripts that have something new.

    Where another process drains the same spool, this one has nothing to do. An event whose transcript may still grow is written and
    stays some seconds longer, so that whoever drains next reads it again. The end of a turn whose transcript cannot be read is held for a
    minute; then what hooks told makes the conversation.

    Args:
        settings: whose spool, and which directories hold transcripts.
        at_most: events to write; unset: all that waits now.

    Raises:
        Unavailable: the database is away; what was not written waits on.
        OSError: a file could not be moved away. The others were written.
    """
    spool, report = spool_of(settings), DrainReport()
    if not spool.directory.is_dir():
        return report
    with _alone(spool) as is_alone:
        if not is_alone:
            return report
        spool.sweep()
        while await _drain_once(spool, settings, report, at_most) and at_most is None:
            pass
    if report.unmovable is not None:
        raise report.unmovable
    return report


async def _drain_once(spool: Spool, settings: Settings, report: DrainReport, at_most: int | None) -> bool:
    """Write what is new, and tell some of what was held; return whether there may be more of that."""
    for batch in _batches(spool, islice(spool.names(), at_most), report):
        await _drain_batch(spool, batch, settings, report)
    held = spool.held
    due = held.names_before(now() - HELD)[:HELD_BATCH]
    for event in (event for batch in _batches(held, due, report) for event in batch):
        await _tell(held, event, settings, report)
    return len(due) == HELD_BATCH and report.unmovable is None


@contextmanager
def _alone(spool: Spool) -> Iterator[bool]:
    """Hold the spool's lock inside the block; False where another process has it. The kernel frees that of one that is killed."""
    descriptor = os.open(spool.directory / "drain.lock", os.O_RDWR | os.O_CREAT, 0o600)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            yield False
            return
        yield True
    finally:
        os.close(descriptor)


def _batches(spool: Spool, names: Iterable[str], report: DrainReport) -> Iterator[list[HookEvent]]:
    """Read events, as many at a time as the memory has room for, and set aside what is none."""
    batch: list[HookEvent] = []
    size = 0
    for name in names:
        try:
            event = parse(spool.read(name))
        except FileNotFoundError:
            # Somebody removed it in the meantime.
            continue
        except InvalidInput as error:
            _set_aside(spool, name, error.message, report)
            continue
        batch.append(event)
        size += len(event.text)
        if len(batch) >= BATCH or size >= BATCH_BYTES:
            yield batch
            batch, size = [], 0
    if batch:
        yield batch


async def _drain_batch(spool: Spool, batch: Sequence[HookEvent], settings: Settings, report: DrainReport) -> None:
    transcripts = {event.captured.name: path for event in batch if (path := transcript_of(event, settings))}
    by_session: dict[str, list[HookEvent]] = defaultdict(list)
    for event in batch:
        by_session[sdk_key(event.sdk_session_id, event.project_key)].append(event)
    for events in by_session.values():
        for event in await _drain_session(events, spool, report, _cleared(events, batch, spool)):
            # Killed before this, the next drain finds their ids.
            if event.captured.name not in transcripts:
                _let_go(spool, event, report, is_read=False)
    read = {path: await read_transcript(path, report) for path in sorted(set(transcripts.values()))}
    for event in batch:
        # Killed before this, the next drain reads the transcript; and so does one that comes while it may still grow.
        if event.captured.name in transcripts and not _may_grow(event):
            _let_go(spool, event, report, is_read=read[transcripts[event.captured.name]])


def _cleared(events: Sequence[HookEvent], batch: Sequence[HookEvent], spool: Spool) -> HookEvent | None:
    """Return the end of the SDK session that was cleared to begin this one; it may have come before, and be held."""
    begun = next((event for event in events if begins_cleared(event)), None)
    if begun is None:
        return None
    names = spool.held.names_from(begun.captured.captured_at - CLEARING)
    held = chain.from_iterable(_batches(spool.held, names, DrainReport()))
    return cleared_before(begun, chain(batch, held))


def _let_go(spool: Spool, event: HookEvent, report: DrainReport, *, is_read: bool) -> None:
    """Remove an event that is written, or hold the end of a turn whose transcript was not read."""
    move = spool.hold if event.name in ENDS_TURN and not is_read else spool.remove
    try:
        move(event.captured.name)
    except OSError as error:
        # Somebody else's spool, which may not be changed: the next drain finds the ids.
        report.unmovable = error


async def _tell(held: Spool, event: HookEvent, settings: Settings, report: DrainReport) -> None:
    """Read the transcript of an event that was held, or else write what hooks told in its place."""
    path = transcript_of(event, settings)
    try:
        if path is None or not await read_transcript(path, report):
            report.told += await _write(functools.partial(tell, event=event, host=host_of(event)))
    except NotFound:
        report.deleted += 1
    except _Unwritable as error:
        _set_aside(held, event.captured.name, str(error), report)
        return
    _let_go(held, event, report, is_read=True)


def _may_grow(event: HookEvent) -> bool:
    """Say whether the transcript may still lack what the event tells of. A clock that was set back is no reason to wait."""
    return timedelta(0) <= now() - event.captured.captured_at < LAG


async def _drain_session(events: list[HookEvent], spool: Spool, report: DrainReport, cleared: HookEvent | None = None) -> list[HookEvent]:
    """Write the events of an SDK session, and return those that are done; where one cannot be written, the others are, one by one."""
    try:
        fresh = await _write(functools.partial(_record, events=events, cleared=cleared))
    except NotFound:
        # Its session was deleted, and stays so.
        report.deleted += len(events)
        for event in events:
            _let_go(spool, event, report, is_read=True)
        return []
    except _Unwritable as error:
        if len(events) > 1:
            return [done for event in events for done in await _drain_session([event], spool, report, cleared)]
        _set_aside(spool, events[0].captured.name, str(error), report)
        return []
    report.events += fresh
    report.known += len(events) - fresh
    return events


async def _write(work: Callable[[UnitOfWork], Awaitable[int]]) -> int:
    """Do work in a transaction.

    Raises:
        NotFound: its session was deleted.
        _Unwritable: something in it can never be stored. Any other error says that it can later.
    """
    try:
        return await in_transaction(work)
    except NotFound:
        raise
    except (Conflict, ValueError, IntegrityError, DBAPIError) as error:
        reason = (translate(error) or error) if isinstance(error, DBAPIError) else error
        if not isinstance(reason, (Conflict, ValueError, NotFound, IntegrityError)):
            raise reason from error
        raise _Unwritable(str(reason)) from error


def _set_aside(spool: Spool, name: str, reason: str, report: DrainReport) -> None:
    try:
        spool.set_aside(name, reason)
    except FileNotFoundError:
        # Somebody removed it in the meantime.
        return
    except OSError as error:
        # The others are written all the same; it is told at the end.
        report.unmovable = error
        return
    logger.warning("the captured event %s was set aside: %s", name, reason)
    report.bad += 1


async def _record(db: AsyncSession, events: Sequence[HookEvent], cleared: HookEvent | None) -> int:
    """Write the events of one SDK session, and what they say of it, and return how many were new."""
    first = events[0]
    project_key = first.project_key
    await bind_as_wanted(db, first, cleared)
    name = StreamName(project_key, first.sdk_session_id, host=readable(first.captured.host)[:255])
    session, agent_id, _ = await bound_session(db, name, first.captured.captured_at)
    await note_cleared(db, session, cleared)
    main = await ensure_agent(db, _main_agent(first, session.id, agent_id))
    at_work = await _last_activity(db, session, main)
    agents = {event.sdk_agent_id: await _sub_agent(db, event, main) for event in _first_of_each(events)} | {None: main}
    rows = [row_of(event, session.id, agents[event.sdk_agent_id].id) for event in events]
    counts = await asyncio.to_thread(mask_events, rows)
    appended = await append_agent_logs(db, rows, last_activity=max(event.captured.captured_at for event in events))
    session.secrets_masked += sum(count for count, row in zip(counts, appended, strict=True) if row.is_new)
    fresh = [event for event, row in zip(events, appended, strict=True) if row.is_new]
    timely = [event for event in fresh if not _is_late(event, at_work)]
    for event in timely:
        await _note_agent(db, event, agents[event.sdk_agent_id])
    await _note_session(db, session, timely)
    await note_turns(db, session, fresh)
    return len(fresh)


async def _last_activity(db: AsyncSession, session: Session, agent: Agent) -> datetime | None:
    """Return when something last happened in a session; in one that may have several agents, to this one, or None where nothing did."""
    if session.session_type == "chat":
        return session.last_activity
    last = await get_last_agent_logs(db, session.id, agent_id=agent.id, limit=1)
    return last[0].timestamp if last else None


def _is_late(event: HookEvent, last_activity: datetime | None) -> bool:
    """Say whether a client's start or end waited on another machine, which sends the others at once, while the session went on."""
    is_of_client = event.name in {"SessionStart", "SessionEnd"}
    return is_of_client and last_activity is not None and event.captured.captured_at < last_activity - LATE


def _first_of_each(events: Sequence[HookEvent]) -> list[HookEvent]:
    """Return the first event of each sub-agent."""
    firsts = {event.sdk_agent_id: event for event in reversed(events) if event.sdk_agent_id is not None}
    return list(reversed(firsts.values()))


def _main_agent(event: HookEvent, session_id: UUID, agent_id: UUID) -> AgentCreate:
    environment = event.captured.environment
    checkpoint = environment.get("SESSION_DB_CHECKPOINT", "")
    return AgentCreate(
        id=agent_id,
        session_id=session_id,
        agent_type=readable(environment.get("SESSION_DB_AGENT_TYPE", "")[:100]) or "main",
        sdk_session_id=readable(event.sdk_session_id[:255]),
        checkpoint_id=int(checkpoint) if checkpoint.isdecimal() and len(checkpoint) < 10 else None,  # noqa: PLR2004  it fits the column
        working_dir=readable(event.word("cwd") or "") or None,
    )


async def _sub_agent(db: AsyncSession, event: HookEvent, main: Agent) -> Agent:
    """Return the sub-agent of an event, made now where it is new; one that another's file named as its parent is told what it is."""
    told = AgentCreate(
        id=derived_id(main.session_id, event.sdk_agent_id),
        session_id=main.session_id,
        parent_agent_id=main.id,
        sdk_agent_id=readable(str(event.sdk_agent_id)[:255]),
        agent_type=readable((event.word("agent_type") or "agent")[:100]),
    )
    agent = await ensure_agent(db, told)
    if agent.sdk_agent_id is None:
        agent.sdk_agent_id, agent.agent_type = told.sdk_agent_id, told.agent_type
    return agent


async def _note_agent(db: AsyncSession, event: HookEvent, agent: Agent) -> None:
    """Let an agent stand as an event says, and at the session's end those below it that have not ended."""
    moment = event.captured.captured_at
    if event.agent_status == "executing":
        agent.started_at = min(agent.started_at or moment, moment)
    status = "executing" if _was_reaped_too_early(event, agent) else event.agent_status
    if status is not None and not _is_outdated(event, agent):
        known = None if was_presumed(agent) else agent.error_message
        agent.status = status
        agent.error_message = (known or _error(event)) if agent.status == "failed" else None
        agent.completed_at = None if agent.status == "executing" else moment
        note_process(agent, event)
    if event.name == "SessionEnd":
        await end_agents_below(db, agent, moment)


def _was_reaped_too_early(event: HookEvent, agent: Agent) -> bool:
    """Say whether an event shows that an agent goes on which nobody had heard of for long."""
    if event.agent_status is not None or event.activity not in {"working", "waiting"} or not was_presumed(agent):
        return False
    return agent.completed_at is not None and event.captured.captured_at > agent.completed_at


def _is_outdated(event: HookEvent, agent: Agent) -> bool:
    """Say whether it is known already that an agent failed, or that a sub-agent ended later: its transcript may be read first."""
    if event.agent_status == "complete":
        return agent.status == "failed" and not was_presumed(agent)
    has_ended = agent.completed_at is not None and event.captured.captured_at <= agent.completed_at
    return event.agent_status == "executing" and event.sdk_agent_id is not None and has_ended


def _error(event: HookEvent) -> str | None:
    return readable(masked(event.agent_error).value[:1000]) if event.agent_error else None


async def _note_session(db: AsyncSession, session: Session, fresh: Sequence[HookEvent]) -> None:
    """Let the session stand as its last events say. An end in the middle is an end, too, however the events were batched."""
    if fresh and session.session_type == "chat" and session.host is None:
        session.host = readable(fresh[0].captured.host)[:255]
    told = [event for event in fresh if event.activity is not None]
    for event, following in zip_longest(told, told[1:]):
        # What stood before an end is told with it.
        if following is None or "done" in {event.activity, following.activity}:
            changes: dict[str, str | None] = {"activity": event.activity}
            if session.session_type == "chat" and event.chat_status != session.status:
                changes["status"] = event.chat_status
            await update_session(db, session.id, SessionUpdate.model_validate(changes), moment=event.captured.captured_at)
