"""Draining: captured events become rows, in the order they were captured, and each once however often it is tried."""

import fcntl
import functools
import logging
import os
import stat
import time
from collections import defaultdict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from uuid import UUID

from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncSession

from session_db.capture.hook_events import READS_TRANSCRIPT, HookEvent, parse, row_of
from session_db.capture.importer import import_recordings
from session_db.capture.record import StreamName, bound_session
from session_db.capture.spool import Spool, spool_of
from session_db.crud.agent_logs import append_agent_logs
from session_db.crud.agents import ensure_agent
from session_db.crud.sdk_sessions import bind_sdk_session, get_sdk_session, main_agent_id, sdk_key
from session_db.crud.sessions import get_session, get_session_by_slug, update_session
from session_db.database import in_transaction
from session_db.database.violations import translate
from session_db.errors import Conflict, InvalidInput, NotFound, SessionDBError, Unavailable
from session_db.ids import derived_id
from session_db.models import Agent, AgentCreate, Session, SessionUpdate
from session_db.models.text import readable
from session_db.settings import Settings

BATCH = 500
"""Events that are read at a time; those of a session among them are written in one transaction."""

LAG_SECONDS = 3.0
"""How long after an event its transcript may still grow by what it tells."""

logger = logging.getLogger(__name__)


@dataclass
class DrainReport:
    """What a drain did."""

    events: int = 0
    known: int = 0
    deleted: int = 0
    bad: int = 0
    transcripts: set[Path] = field(default_factory=set)
    unread: list[str] = field(default_factory=list)


async def drain(settings: Settings, *, at_most: int | None = None) -> DrainReport:
    """Write what waits in the spool, and read the transcripts that have something new.

    Where another process drains the same spool, this one has nothing to do.

    Args:
        settings: whose spool, and which directories hold transcripts.
        at_most: events to write; unset: all that waits now.

    Raises:
        Unavailable: the database is away; what was not written waits on.
    """
    spool, report = spool_of(settings), DrainReport()
    if not spool.directory.is_dir():
        return report
    with _alone(spool) as is_alone:
        if not is_alone:
            return report
        waiting = islice(spool.names(), at_most)
        while names := list(islice(waiting, BATCH)):
            await _drain_batch(spool, names, settings, report)
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


async def _drain_batch(spool: Spool, names: Sequence[str], settings: Settings, report: DrainReport) -> None:
    by_session: dict[str, list[HookEvent]] = defaultdict(list)
    for name in names:
        try:
            event = parse(spool.read(name))
            by_session[event.sdk_session_id].append(event)
        except InvalidInput as error:
            _set_aside(spool, name, error.message, report)
    for events in by_session.values():
        await _drain_session(spool, events, report)
    await _read({path for events in by_session.values() for event in events if (path := _transcript_of(event, settings))}, report)


async def _read(transcripts: set[Path], report: DrainReport) -> None:
    if transcripts:
        read = await import_recordings(sorted(path for path in transcripts if path.exists()))
        report.transcripts |= transcripts
        report.unread += [f"{problem.path}: {problem.reason}" for problem in read.problems.values()]


class Drainer:
    """Drains again and again. A transcript lags behind its events, so it is read for some seconds more."""

    def __init__(self) -> None:
        self._read_until: dict[Path, float] = {}

    async def once(self, settings: Settings) -> None:
        """Write what waits, and read what may have grown.

        Raises:
            Unavailable: the database is away; what was not written waits on.
        """
        report = await drain(settings)
        moment = time.monotonic()
        lagging = {path for path, until in self._read_until.items() if until > moment} - report.transcripts
        self._read_until = {path: until for path, until in self._read_until.items() if path in lagging}
        self._read_until |= dict.fromkeys(report.transcripts, moment + LAG_SECONDS)
        await _read(lagging, report)


async def _drain_session(spool: Spool, events: list[HookEvent], report: DrainReport) -> None:
    """Write the events of an SDK session; where one of them cannot be written, the others are, one by one."""
    try:
        fresh = await in_transaction(functools.partial(_record, events=events))
    except NotFound:
        # Its session was deleted, and stays so.
        report.deleted += len(events)
        fresh = 0
    except (DBAPIError, ValueError, Conflict) as error:
        reason = (translate(error) or error) if isinstance(error, DBAPIError) else error
        if isinstance(reason, Unavailable):
            raise reason from error
        if len(events) > 1:
            for event in events:
                await _drain_session(spool, [event], report)
        else:
            _set_aside(spool, events[0].captured.name, str(reason), report)
        return
    else:
        report.events += fresh
        report.known += len(events) - fresh
    for event in events:
        # Killed before this, the next drain finds their ids.
        spool.remove(event.captured.name)


def _set_aside(spool: Spool, name: str, reason: str, report: DrainReport) -> None:
    logger.warning("the captured event %s was set aside: %s", name, reason)
    spool.set_aside(name, reason)
    report.bad += 1


async def _record(db: AsyncSession, events: Sequence[HookEvent]) -> int:
    """Write the events of one SDK session, and what they say of it, and return how many were new."""
    first = events[0]
    project_key = Path(first.word("transcript_path") or "").parent.name
    await _bind_as_wanted(db, first, project_key)
    name = StreamName(project_key, first.sdk_session_id, host=readable(first.captured.host)[:255])
    session, agent_id, _ = await bound_session(db, name, first.captured.captured_at)
    main = await ensure_agent(db, _main_agent(first, session.id, agent_id))
    agents = [await _agent_of(db, event, main) for event in events]
    rows = [row_of(event, session.id, agent.id) for event, agent in zip(events, agents, strict=True)]
    appended = await append_agent_logs(db, rows, last_activity=max(event.captured.captured_at for event in events))
    fresh = [(event, agent) for event, agent, row in zip(events, agents, appended, strict=True) if row.is_new]
    _note_agents(fresh)
    await _note_session(db, session, [event for event, _ in fresh])
    return len(fresh)


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


async def _agent_of(db: AsyncSession, event: HookEvent, main: Agent) -> Agent:
    """Return the sub-agent of an event, made now where it is new, or else the main agent."""
    sdk_agent_id = event.sdk_agent_id
    if sdk_agent_id is None:
        return main
    sub_agent = AgentCreate(
        id=derived_id(main.session_id, sdk_agent_id),
        session_id=main.session_id,
        parent_agent_id=main.id,
        sdk_agent_id=readable(sdk_agent_id[:255]),
        agent_type=readable((event.word("agent_type") or "agent")[:100]),
    )
    return await ensure_agent(db, sub_agent)


def _note_agents(fresh: Sequence[tuple[HookEvent, Agent]]) -> None:
    for event, agent in fresh:
        status = event.agent_status
        if status is None or (status == "complete" and agent.status == "failed"):
            continue
        agent.status = status
        if status == "executing":
            agent.started_at = agent.started_at or event.captured.captured_at
        agent.completed_at = None if status == "executing" else event.captured.captured_at


async def _note_session(db: AsyncSession, session: Session, fresh: Sequence[HookEvent]) -> None:
    """Let the session stand as it does after the last event that says so."""
    told = [event for event in fresh if event.activity is not None]
    first = fresh[0] if fresh else None
    if first is not None and session.working_dir is None and session.session_type == "chat":
        session.host = session.host or readable(first.captured.host)[:255]
    if not told:
        return
    changes: dict[str, str | None] = {"activity": told[-1].activity}
    if session.session_type == "chat" and told[-1].chat_status != session.status:
        changes["status"] = told[-1].chat_status
    await update_session(db, session.id, SessionUpdate.model_validate(changes))


def _transcript_of(event: HookEvent, settings: Settings) -> Path | None:
    """Return the transcript that has something new after an event, where it is one of this machine and may be read.

    Raises nothing: a path from outside is not trusted, and one that is no transcript is left.
    """
    named = event.word("transcript_path")
    if event.name not in READS_TRANSCRIPT or named is None or event.captured.host != os.uname().nodename:
        return None
    try:
        path = Path(named).resolve(strict=True)
        is_regular = stat.S_ISREG(path.stat().st_mode)
    except (OSError, ValueError, RuntimeError):
        return None
    allowed = [Path(directory).expanduser() for directory in settings.claude_dirs.split(os.pathsep)]
    allowed += [Path(directory) for directory in [event.captured.environment.get("CLAUDE_CONFIG_DIR")] if directory]
    is_below = any(path.is_relative_to((directory / "projects").resolve()) for directory in allowed)
    return path if is_regular and is_below and path.name == f"{event.sdk_session_id}.jsonl" else None
