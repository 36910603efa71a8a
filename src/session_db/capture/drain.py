"""Draining: captured events become rows, in the order they were captured, and each once however often it is tried."""

import fcntl
import functools
import logging
import os
import stat
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from itertools import islice
from pathlib import Path
from uuid import UUID

from sqlalchemy.exc import DBAPIError, IntegrityError
from sqlalchemy.ext.asyncio import AsyncSession

from session_db.capture.hook_events import READS_TRANSCRIPT, HookEvent, parse, row_of
from session_db.capture.importer import import_recordings
from session_db.capture.record import StreamName, bound_session
from session_db.capture.redaction import mask_events
from session_db.capture.spool import Spool, spool_of
from session_db.capture.turns import note_turns
from session_db.crud.agent_logs import append_agent_logs
from session_db.crud.agents import ensure_agent
from session_db.crud.sdk_sessions import bind_sdk_session, get_sdk_session, main_agent_id, sdk_key
from session_db.crud.sessions import get_session, get_session_by_slug, update_session
from session_db.database import in_transaction
from session_db.database.violations import DRIVER_ERRORS, translate
from session_db.errors import Conflict, InvalidInput, NotFound, SessionDBError, Unavailable
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

logger = logging.getLogger(__name__)


@dataclass
class DrainReport:
    """What a drain did.

    ``known`` counts events that an earlier drain wrote, too, and left for a moment because their transcripts may still grow.
    """

    events: int = 0
    known: int = 0
    deleted: int = 0
    bad: int = 0
    transcripts: set[Path] = field(default_factory=set)
    unread: list[str] = field(default_factory=list)
    unmovable: OSError | None = None


async def drain(settings: Settings, *, at_most: int | None = None) -> DrainReport:
    """Write what waits in the spool, and read the transcripts that have something new.

    Where another process drains the same spool, this one has nothing to do. An event whose transcript may still grow is written and
    stays some seconds longer, so that whoever drains next reads it again.

    Args:
        settings: whose spool, and which directories hold transcripts.
        at_most: events to write; unset: all that waits now.

    Raises:
        Unavailable: the database is away; what was not written waits on.
        OSError: a file that is no event could not be moved away. The others were written.
    """
    spool, report = spool_of(settings), DrainReport()
    if not spool.directory.is_dir():
        return report
    with _alone(spool) as is_alone:
        if not is_alone:
            return report
        spool.sweep()
        for batch in _batches(spool, islice(spool.names(), at_most), report):
            await _drain_batch(spool, batch, settings, report)
    if report.unmovable is not None:
        raise report.unmovable
    return report


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
    transcripts = {event.captured.name: path for event in batch if (path := _transcript_of(event, settings))}
    by_session: dict[str, list[HookEvent]] = defaultdict(list)
    for event in batch:
        by_session[sdk_key(event.sdk_session_id, _project_key(event))].append(event)
    for events in by_session.values():
        for event in await _drain_session(events, spool, report):
            # Killed before this, the next drain finds their ids.
            if event.captured.name not in transcripts:
                spool.remove(event.captured.name)
    for path in sorted(set(transcripts.values())):
        await _read(path, report)
    for event in batch:
        # Killed before this, the next drain reads the transcript; and so does one that comes while it may still grow.
        if event.captured.name in transcripts and not _may_grow(event):
            spool.remove(event.captured.name)


def _may_grow(event: HookEvent) -> bool:
    """Say whether the transcript may still lack what the event tells of. A clock that was set back is no reason to wait."""
    return timedelta(0) <= now() - event.captured.captured_at < LAG


async def _read(transcript: Path, report: DrainReport) -> None:
    """Read what a transcript has beyond what was read of it; one that cannot be read holds up nothing."""
    try:
        read = await import_recordings([transcript])
    except (Unavailable, *DRIVER_ERRORS):
        raise
    except Exception as error:
        logger.exception("the transcript %s could not be read", transcript)
        report.unread.append(f"{transcript}: {error}")
        return
    report.transcripts.add(transcript)
    report.unread += [f"{problem.path}: {problem.reason}" for problem in read.problems.values()]


async def _drain_session(events: list[HookEvent], spool: Spool, report: DrainReport) -> list[HookEvent]:
    """Write the events of an SDK session, and return those that are done; where one cannot be written, the others are, one by one."""
    try:
        fresh = await in_transaction(functools.partial(_record, events=events))
    except NotFound:
        # Its session was deleted, and stays so.
        report.deleted += len(events)
        return events
    except (Conflict, ValueError, IntegrityError, DBAPIError) as error:
        reason = (translate(error) or error) if isinstance(error, DBAPIError) else error
        if not isinstance(reason, (Conflict, ValueError, NotFound, IntegrityError)):
            # Nothing is wrong with the events: they wait until the database takes them.
            raise reason from error
    else:
        report.events += fresh
        report.known += len(events) - fresh
        return events
    if len(events) == 1:
        _set_aside(spool, events[0].captured.name, str(reason), report)
        return []
    return [done for event in events for done in await _drain_session([event], spool, report)]


def _set_aside(spool: Spool, name: str, reason: str, report: DrainReport) -> None:
    try:
        spool.set_aside(name, reason)
    except OSError as error:
        # The others are written all the same; it is told at the end.
        report.unmovable = error
        return
    logger.warning("the captured event %s was set aside: %s", name, reason)
    report.bad += 1


async def _record(db: AsyncSession, events: Sequence[HookEvent]) -> int:
    """Write the events of one SDK session, and what they say of it, and return how many were new."""
    first = events[0]
    project_key = _project_key(first)
    await _bind_as_wanted(db, first, project_key)
    name = StreamName(project_key, first.sdk_session_id, host=readable(first.captured.host)[:255])
    session, agent_id, _ = await bound_session(db, name, first.captured.captured_at)
    main = await ensure_agent(db, _main_agent(first, session.id, agent_id))
    agents = {event.sdk_agent_id: await _sub_agent(db, event, main) for event in _first_of_each(events)} | {None: main}
    rows = [row_of(event, session.id, agents[event.sdk_agent_id].id) for event in events]
    counts = mask_events(rows)
    appended = await append_agent_logs(db, rows, last_activity=max(event.captured.captured_at for event in events))
    session.secrets_masked += sum(count for count, row in zip(counts, appended, strict=True) if row.is_new)
    fresh = [event for event, row in zip(events, appended, strict=True) if row.is_new]
    _note_agents([(event, agents[event.sdk_agent_id]) for event in fresh])
    await _note_session(db, session, fresh)
    await note_turns(db, session, fresh)
    return len(fresh)


def _project_key(event: HookEvent) -> str:
    return Path(event.word("transcript_path") or "").parent.name


def _first_of_each(events: Sequence[HookEvent]) -> list[HookEvent]:
    """Return the first event of each sub-agent."""
    firsts = {event.sdk_agent_id: event for event in reversed(events) if event.sdk_agent_id is not None}
    return list(reversed(firsts.values()))


async def _bind_as_wanted(db: AsyncSession, event: HookEvent, project_key: str) -> None:
    """Bind an SDK session that is not bound yet to the session that the agent's environment names."""
    wanted = event.captured.environment.get("SESSION_DB_SESSION")
    key = sdk_key(event.sdk_session_id, project_key)
    if not wanted or await get_sdk_session(db, key) is not None:
        return
    try:
        session = await _named(db, wanted, event.word("cwd"))
    except SessionDBError as error:
        logger.warning("SESSION_DB_SESSION=%s: %s", wanted, error.message)
        session = None
    if session is None:
        logger.warning("SESSION_DB_SESSION=%s names no session; the agent gets one of its own.", wanted)
        return
    await bind_sdk_session(db, key, session.id, main_agent_id(session.id, event.sdk_session_id), "environment")


async def _named(db: AsyncSession, wanted: str, directory: str | None) -> Session | None:
    """Return the session with this id, or with this slug in the directory or the nearest one above it."""
    try:
        return await get_session(db, UUID(wanted))
    except ValueError:
        pass
    for above in [Path(directory), *Path(directory).parents] if directory else []:
        session = await get_session_by_slug(db, readable(wanted), readable(str(above)))
        if session is not None:
            return session
    return None


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


def _note_agents(fresh: Sequence[tuple[HookEvent, Agent]]) -> None:
    for event, agent in fresh:
        status, moment = event.agent_status, event.captured.captured_at
        if status is None or (status == "complete" and agent.status == "failed"):
            continue
        agent.status = status
        if status == "executing":
            agent.started_at = min(agent.started_at or moment, moment)
        agent.completed_at = None if status == "executing" else moment


async def _note_session(db: AsyncSession, session: Session, fresh: Sequence[HookEvent]) -> None:
    """Let the session stand as its last events say. An end in the middle is an end, too, however the events were batched."""
    if fresh and session.session_type == "chat" and session.host is None:
        session.host = readable(fresh[0].captured.host)[:255]
    told = [event for event in fresh if event.activity is not None]
    for event in told:
        if event is told[-1] or event.activity == "done":
            changes: dict[str, str | None] = {"activity": event.activity}
            if session.session_type == "chat" and event.chat_status != session.status:
                changes["status"] = event.chat_status
            await update_session(db, session.id, SessionUpdate.model_validate(changes))


def _transcript_of(event: HookEvent, settings: Settings) -> Path | None:
    """Return the transcript that has something new after an event, where it is one of this machine and may be read.

    Raises nothing: a path from outside is not trusted, and one that is no transcript is left.
    """
    named = event.word("transcript_path")
    if event.name not in READS_TRANSCRIPT or named is None or event.captured.host != os.uname().nodename:
        return None
    if "SESSION_DB_RECORDER" in event.captured.environment:
        # Its entries come by the store.
        return None
    try:
        path = Path(named).resolve(strict=True)
        is_regular = stat.S_ISREG(path.stat().st_mode)
        is_below = any(path.is_relative_to((directory / "projects").resolve()) for directory in _claude_directories(event, settings))
    except (OSError, ValueError, RuntimeError):
        return None
    return path if is_regular and is_below and path.name == f"{event.sdk_session_id}.jsonl" else None


def _claude_directories(event: HookEvent, settings: Settings) -> list[Path]:
    """Return the client's directories that may be read; a relative one would lead to wherever this runs."""
    named = [Path(directory).expanduser() for directory in settings.claude_dirs.split(os.pathsep)]
    named.append(Path(event.captured.environment.get("CLAUDE_CONFIG_DIR", "")))
    return [directory for directory in named if directory.is_absolute()]
