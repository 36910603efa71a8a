"""The notifier: tells all processes, after the commits and outside of their transactions, which sessions changed."""

import asyncio
import logging
from collections.abc import Iterable
from typing import Any
from uuid import UUID

from sqlalchemy import Engine, text
from sqlalchemy.ext.asyncio import AsyncEngine

from session_db.database.connection import companion

CHANNEL = "session_db"

BURST_SECONDS = 0.02
"""Commits of this time are told together: a notification for each of them would cost as much as they do."""

IDS_A_PAYLOAD = 200
"""PostgreSQL takes payloads of less than 8,000 bytes."""

CLOSING_SECONDS = 2
"""How long the end of an event loop waits for its last burst."""

_NOTIFY = text(f"SELECT pg_notify('{CHANNEL}', payload) FROM unnest(CAST(:payloads AS text[])) AS payload")

logger = logging.getLogger(__name__)


class Notifier:
    """What an event loop has committed and not told yet."""

    def __init__(self) -> None:
        # With its pool: an engine that was disposed of in the meantime is not to be connected again.
        self._changed: dict[tuple[Engine, Any], set[UUID]] = {}
        self._timer: asyncio.TimerHandle | None = None
        self._sending: asyncio.Task[None] | None = None

    def add(self, engine: Engine, session_ids: Iterable[UUID]) -> None:
        """Tell soon, at the database of this engine, that these sessions changed; never blocks and never fails."""
        self._changed.setdefault((engine, engine.pool), set()).update(session_ids)
        self._wait_for_more()

    def _wait_for_more(self) -> None:
        if self._timer is None and self._sending is None:
            self._timer = asyncio.get_running_loop().call_later(BURST_SECONDS, self._send_soon)

    def _send_soon(self) -> None:
        self._timer = None
        self._sending = asyncio.create_task(self._send(), name="session-db notifier")
        self._sending.add_done_callback(self._sent)

    def _sent(self, _task: asyncio.Task[None]) -> None:
        self._sending = None
        if self._changed:
            self._wait_for_more()

    async def _send(self) -> None:
        for engine, pool in list(self._changed):
            session_ids = self._changed.pop((engine, pool))
            try:
                if engine.pool is pool:
                    await _try_to_notify(engine, session_ids)
            except asyncio.CancelledError:
                # The end of the event loop cancels this; close() is still to come.
                self._changed.setdefault((engine, pool), set()).update(session_ids)
                raise

    async def close(self) -> None:
        """Tell what is left, in bounded time."""
        try:
            async with asyncio.timeout(CLOSING_SECONDS):
                if self._sending is not None:
                    await self._sending
                await self._send()
        except TimeoutError:
            logger.debug("the last changes were not told in time; readers find them when they look.")
        if self._timer is not None:
            self._timer.cancel()


async def _try_to_notify(engine: Engine, session_ids: Iterable[UUID]) -> None:
    texts = [str(session_id) for session_id in session_ids]
    try:
        await notify(AsyncEngine(engine), [",".join(texts[start : start + IDS_A_PAYLOAD]) for start in range(0, len(texts), IDS_A_PAYLOAD)])
    except Exception:
        # Nobody's failure: the change is committed, and readers look for it now and then.
        logger.debug("changes were not told.", exc_info=True)


async def notify(engine: AsyncEngine, payloads: list[str]) -> None:
    """Send notifications in one statement of its own."""
    async with engine.execution_options(isolation_level="AUTOCOMMIT").connect() as connection:
        await connection.execute(_NOTIFY, {"payloads": payloads})


def get_notifier() -> Notifier:
    """Return the notifier of the running event loop."""
    return companion(Notifier)
