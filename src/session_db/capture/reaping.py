"""Reaping on this machine: chats in which nothing happens, and agents whose process is gone or of which nothing is heard."""

import os
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, Literal, NamedTuple
from uuid import UUID

from session_db.capture.hook_events import HookEvent
from session_db.crud.agents import FELL_SILENT, PROCESS, PROCESS_GONE
from session_db.crud.paging import Page
from session_db.crud.reaping import each_alone, fail_agents, list_executing, list_unended, may_reap, settle_chats
from session_db.database import UnitOfWork, in_transaction
from session_db.models import Agent, Session
from session_db.models.table import now
from session_db.settings import Settings, span_of

QUIET = timedelta(minutes=2)
"""How long nothing was heard of an agent whose process is looked for: what it told last may still wait in the spool."""

_START = 19
"""Place of a process's start in its ``stat``, counted behind its name."""

LOOKED_BACK = timedelta(days=1)
"""How much longer than ``lost_after`` ago the last activity of sessions is that are looked at each time; the others are once."""


@dataclass
class Reaped:
    """What was ended: chats that became idle or terminated, and agents that failed."""

    idle: int = 0
    terminated: int = 0
    failed: int = 0
    is_whole: bool = field(default=True, compare=False)
    """Whether no other process was met that does the same."""


class Reaper:
    """Reaps again and again, as a service does, and looks at everything where it did not for long."""

    def __init__(self) -> None:
        self._last: datetime | None = None

    async def reap(self, settings: Settings) -> Reaped:
        """End what nobody ends any more; of sessions that are quiet for days it was known before whether an agent works in them."""
        moment = now()
        reaped = await reap(settings, everything=self._last is None or moment - self._last > LOOKED_BACK)
        if reaped.is_whole:
            self._last = moment
        return reaped


class _Passed(NamedTuple):
    """What one kind of reaping came to: how many it ended, and whether it went through all pages."""

    done: int
    is_whole: bool = True


_NONE = _Passed(0)


def note_process(agent: Agent, event: HookEvent) -> None:
    """Note which process an agent works in, where this machine can see it; after its end there is none."""
    process = _process(event) if agent.status == "executing" else None
    if process is not None:
        agent.metadata_[PROCESS] = process
    elif PROCESS in agent.metadata_:
        del agent.metadata_[PROCESS]


def _process(event: HookEvent) -> dict[str, Any] | None:
    pid = event.captured.environment.get("CLAUDE_PID", "")
    started = _started(pid) if event.captured.host == _machine()["host"] else None
    return None if started is None else {"pid": int(pid), "started": started} | _machine()


async def reap(settings: Settings, *, everything: bool = True) -> Reaped:
    """End what nobody ends any more, in short transactions; where another process does it at this moment, leave it to that one.

    Args:
        settings: after how long.
        everything: look at all sessions; else for agents only at those of the last days, as is enough where it is done again and again.
    """
    moment = now()
    lost, idle, terminate = map(span_of, (settings.lost_after, settings.idle_after, settings.terminate_after))
    since = None if everything else moment - (lost or timedelta(0)) - LOOKED_BACK
    gone = await _fail_gone(since, moment - QUIET)
    silent = _NONE if lost is None else await _fail_silent(since, moment - lost)
    idled = _NONE if idle is None else await _settle("active", moment - idle)
    terminated = _NONE if terminate is None else await _settle("idle", moment - terminate)
    is_whole = all(passed.is_whole for passed in (gone, silent, idled, terminated))
    return Reaped(idled.done, terminated.done, gone.done + silent.done, is_whole)


async def _settle(status: Literal["active", "idle"], before: datetime) -> _Passed:
    async def settle(db: UnitOfWork, cursor: str | None) -> tuple[int, str | None]:
        page = await settle_chats(db, status, before=before, cursor=cursor)
        return len(page), page.next_cursor

    return await _through(settle)


async def _fail_silent(since: datetime | None, before: datetime) -> _Passed:
    async def fail(db: UnitOfWork, cursor: str | None) -> tuple[int, str | None]:
        page = await list_unended(db, since=since, before=before, cursor=cursor)
        silent: dict[UUID, list[UUID]] = {session_id: [] for session_id in _in_order(page)}
        for agent in await list_executing(db, silent):
            if not _lives(agent.metadata_.get(PROCESS)):
                silent[agent.session_id].append(agent.id)
        return await _fail_each(db, silent, FELL_SILENT, before), page.next_cursor

    return await _through(fail)


async def _fail_gone(since: datetime | None, before: datetime) -> _Passed:
    """Let agents have failed whose process was seen on this machine and is gone."""

    async def fail(db: UnitOfWork, cursor: str | None) -> tuple[int, str | None]:
        page = await list_unended(db, since=since, before=before, cursor=cursor)
        gone: dict[UUID, list[UUID]] = {}
        for agent in await list_executing(db, _in_order(page)):
            if _is_gone(agent.metadata_.get(PROCESS)):
                gone.setdefault(agent.session_id, []).append(agent.id)
        return await _fail_each(db, gone, PROCESS_GONE, before), page.next_cursor

    return await _through(fail)


async def _fail_each(db: UnitOfWork, agents: dict[UUID, list[UUID]], reason: str, before: datetime) -> int:
    """Let agents of several sessions have failed, and return how many."""
    return sum(
        await each_alone(db, agents, lambda session_id: fail_agents(db, session_id, reason, before=before, agent_ids=agents[session_id]))
    )


def _in_order(page: Page[Session]) -> list[UUID]:
    """Return the ids of sessions in the order in which they are locked."""
    return sorted(session.id for session in page)


async def _through(work: Callable[[UnitOfWork, str | None], Awaitable[tuple[int, str | None]]]) -> _Passed:
    """Go through all pages, each in a transaction of its own, until another process is met that does the same."""

    async def alone(db: UnitOfWork) -> tuple[int, str | None] | None:
        return await work(db, cursor) if await may_reap(db) else None

    total, cursor = 0, None
    while True:
        done = await in_transaction(alone)
        if done is None:
            return _Passed(total, is_whole=False)
        total, cursor = total + done[0], done[1]
        if cursor is None:
            return _Passed(total)


def _is_gone(process: Any) -> bool:
    """Say whether a process was one of this machine, and is no more."""
    if not isinstance(process, dict) or not _machine().items() <= process.items() or not str(process.get("pid")).isdecimal():
        return False
    pid = str(process.get("pid"))
    started = _started(pid)
    return _has_ended(pid) if started is None else started != process.get("started")


def _has_ended(pid: str) -> bool:
    """Say whether there is no such process: the files of one that belongs to somebody else may be hidden."""
    try:
        os.kill(int(pid), 0)
    except ProcessLookupError:
        return True
    except (PermissionError, OverflowError):
        return False
    return False


def _lives(process: Any) -> bool:
    """Say whether a process is one of this machine, and can be seen to go on."""
    is_of_here = isinstance(process, dict) and _machine().items() <= process.items()
    return is_of_here and process.get("started") is not None and _started(str(process.get("pid"))) == process["started"]


def _machine() -> dict[str, str]:
    """Return what tells processes with equal numbers apart: the host, which start of it, and the container."""
    return {"host": os.uname().nodename, "boot": _read("/proc/sys/kernel/random/boot_id"), "space": _space()}


def _space() -> str:
    try:
        return str(Path("/proc/self/ns/pid").readlink())
    except OSError:
        return ""


def _started(pid: str) -> str | None:
    """Return when a process was started, in ticks of the machine, or None where there is none or the system does not tell."""
    if not pid.isdecimal():
        return None
    # The name before it may hold anything, spaces and brackets as well.
    fields = _read(f"/proc/{pid}/stat").rpartition(")")[2].split()
    return fields[_START] if len(fields) > _START else None


def _read(path: str) -> str:
    """Return what a file of the kernel says; nothing where there is none, as on other systems than Linux."""
    try:
        return Path(path).read_text(encoding="utf-8", errors="replace").strip()
    except OSError:
        return ""
