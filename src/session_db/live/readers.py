"""Live readers: a follower of one session, and a watcher of all. Neither queues anything that grows."""

import asyncio
from uuid import UUID

from session_db.live.heads import Head

WATCHED = 1_000
"""Changed sessions that a watcher keeps until they are asked for."""


class Stopping(Exception):
    """The service ends: say a last word."""


class Lagged(Exception):
    """More changed than was kept, or was heard of: list the sessions anew, and go on."""


class _Reader:
    """Somebody who waits for news."""

    def __init__(self) -> None:
        self._news = asyncio.Event()
        self._is_stopping = False

    def stop(self) -> None:
        """Let ``next`` raise ``Stopping`` from now on."""
        self._is_stopping = True
        self._news.set()

    async def _wait(self, timeout_seconds: float | None) -> bool:
        """Wait for news, and return whether there are any."""
        try:
            async with asyncio.timeout(timeout_seconds):
                await self._news.wait()
        except TimeoutError:
            return False
        if self._is_stopping:
            raise Stopping
        self._news.clear()
        return True


class Follower(_Reader):
    """A reader of one session."""

    _head: Head | None = None

    def put(self, head: Head) -> None:
        """Take the newest head; one that was not asked for yet is forgotten."""
        self._head = head
        self._news.set()

    async def next(self, timeout_seconds: float | None = None) -> Head | None:
        """Return the newest head once it is another one than the last, the first time at once; None when the time is over.

        Raises:
            Stopping: the service ends.
        """
        return self._head if await self._wait(timeout_seconds) else None


class Watcher(_Reader):
    """A reader of the list of all sessions."""

    def __init__(self) -> None:
        super().__init__()
        self._changed: dict[UUID, Head] = {}
        self._has_lagged = False

    def put(self, head: Head) -> None:
        """Keep the newest head of this session until it is asked for."""
        if self._has_lagged:
            return
        self._changed[head.session_id] = head
        if len(self._changed) > WATCHED:
            self.lag()
        self._news.set()

    def lag(self) -> None:
        """Forget what changed; ``next`` says so."""
        self._has_lagged = True
        self._changed.clear()
        self._news.set()

    async def next(self, timeout_seconds: float | None = None) -> dict[UUID, Head]:
        """Return the newest heads of the sessions that changed since the last call, none when the time is over.

        Raises:
            Lagged: some changes are lost; said once, and what changes from now on is kept again.
            Stopping: the service ends.
        """
        if not await self._wait(timeout_seconds):
            return {}
        if self._has_lagged:
            self._has_lagged = False
            raise Lagged
        changed, self._changed = self._changed, {}
        return changed
