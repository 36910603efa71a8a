"""Writers of a benchmark: each appends one event a transaction to a session of its own, and what that takes is measured."""

import asyncio
import time
from collections.abc import Callable
from uuid import UUID

from benchmarks.generator import say
from session_db import crud
from session_db.database import get_async_session
from session_db.models import AgentLogCreate, SessionCreate


async def new_session() -> UUID:
    async with get_async_session() as db:
        return (await crud.create_session(db, SessionCreate(agent_name="benchmark"))).id


def after(seconds: float) -> Callable[[], bool]:
    end = time.perf_counter() + seconds
    return lambda: time.perf_counter() > end


async def appends(sessions: list[UUID], is_over: Callable[[], bool], pause: float) -> list[float]:
    """Append single events to all sessions at once until it is over, and return the seconds that each took."""
    seconds: list[float] = []

    async def write(session_id: UUID) -> None:
        while not is_over():
            event = AgentLogCreate(session_id=session_id, event_category="hook", event_type="PostToolUse", payload={"output": "x" * 1000})
            began = time.perf_counter()
            async with get_async_session() as db:
                await crud.append_agent_logs(db, [event])
            seconds.append(time.perf_counter() - began)
            await asyncio.sleep(pause)

    await asyncio.gather(*(write(session_id) for session_id in sessions))
    return seconds


def percentile(seconds: list[float], percent: int) -> float:
    return sorted(seconds)[min(len(seconds) - 1, len(seconds) * percent // 100)]


def print_appends(phase: str, seconds: list[float]) -> None:
    p50, p99 = (percentile(seconds, percent) * 1000 for percent in (50, 99))
    say(f"{phase:>6}: {len(seconds):,} appends, p50 {p50:.1f} ms, p99 {p99:.1f} ms, slowest {max(seconds) * 1000:.0f} ms")
