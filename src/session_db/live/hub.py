"""The hub: hears which sessions changed, reads them once for everybody, and wakes those who wait for them."""

import asyncio
import logging
import time
from collections import defaultdict
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager, suppress
from typing import Literal
from uuid import UUID

from session_db.database import async_session
from session_db.database.connection import companion
from session_db.live.heads import GONE, Head, read_heads, read_last_active, read_versions
from session_db.live.listening import listening
from session_db.live.readers import WATCHED, Follower, Watcher
from session_db.settings import get_settings

POLL_SECONDS: dict[str, float] = {"listening": 10, "polling": 1}
"""How often the hub looks for what nobody told it: a writer may be killed between its commit and its notification."""

WALKED = 500
"""Sessions, the last active ones, that it looks at for watchers."""

SPACING_SECONDS = 0.01
"""Rest between two reads: what is told meanwhile is read together."""

START_SECONDS = 5
"""How long a start waits to know whether notifications arrive; after that it goes on without."""

BACKOFF_SECONDS = (0.1, 0.5, 2, 5, 15, 60)
"""Rests between attempts to listen, or to read, while the database is away."""

LONGEST_WAIT_SECONDS = 5
"""How long readers wait at most after the database came back."""

logger = logging.getLogger(__name__)

Mode = Literal["listening", "polling"]


class _Topic:
    """A session that is followed: its newest head, and who waits for another one."""

    def __init__(self) -> None:
        self.head: Head | None = None
        self.followers: set[Follower] = set()

    def put(self, head: Head) -> None:
        if self.head is None or (self.head.version, self.head.moved_to) != (head.version, head.moved_to):
            self.head = head
            for follower in self.followers:
                follower.put(head)


class Hub:
    """The live readers of an event loop; see ``get_hub``.

    However many they are, it holds one connection to listen, and reads with one query for all of them.
    """

    def __init__(self) -> None:
        self.mode: Mode = "polling"
        self._topics: dict[UUID, _Topic] = defaultdict(_Topic)
        self._watchers: set[Watcher] = set()
        self._changed: set[UUID] = set()
        self._walked: dict[UUID, int] | None = None
        self._walking = asyncio.Lock()
        self._poll_at = 0.0
        self._wake = asyncio.Event()
        self._has_tried = asyncio.Event()
        self._is_stopping = False
        self._loop = asyncio.get_running_loop()
        self._tasks: list[asyncio.Task[None]] = []

    async def start(self) -> None:
        """Begin to listen and to read; again, it changes nothing. ``mode`` is known then, and the database may be away."""
        if not self._tasks:
            self._tasks = [
                asyncio.create_task(self._keep_listening(), name="session-db listener"),
                asyncio.create_task(self._keep_reading(), name="session-db reader"),
            ]
        with suppress(TimeoutError):
            async with asyncio.timeout(START_SECONDS):
                await self._has_tried.wait()

    def stop(self) -> None:
        """Let every reader's ``next`` raise ``Stopping``, now and from now on; any thread and a signal handler may call it."""
        with suppress(RuntimeError):  # The loop ended already, and its readers with it.
            self._loop.call_soon_threadsafe(self._stop_readers)

    def _stop_readers(self) -> None:
        self._is_stopping = True
        for reader in self._readers():
            reader.stop()

    def _readers(self) -> list[Follower | Watcher]:
        return [*self._watchers, *(follower for topic in self._topics.values() for follower in topic.followers)]

    async def close(self) -> None:
        """Stop every reader, and give the connection back; ``start`` begins anew."""
        self._stop_readers()
        tasks, self._tasks = self._tasks, []
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        self.mode, self._walked = "polling", None
        self._has_tried.clear()
        self._is_stopping = False

    @asynccontextmanager
    async def follow(self, session_id: UUID) -> AsyncIterator[Follower]:
        """Follow a session, one that is not there as well, inside the block."""
        await self.start()
        follower, topic = Follower(), self._topics[session_id]
        topic.followers.add(follower)
        if topic.head is not None:
            follower.put(topic.head)
        else:
            self._read_soon([session_id])
        if self._is_stopping:
            follower.stop()
        try:
            yield follower
        finally:
            topic.followers.discard(follower)
            if not topic.followers:
                self._topics.pop(session_id, None)

    @asynccontextmanager
    async def watch(self) -> AsyncIterator[Watcher]:
        """Watch all sessions inside the block: what changes after its beginning is told, so list them inside of it."""
        await self.start()
        watcher = Watcher()
        self._watchers.add(watcher)
        if self._walked is None:
            with suppress(Exception):  # Where the database is away the first walk after it lets the watchers list anew.
                await self._walk()
        if self._is_stopping:
            watcher.stop()
        try:
            yield watcher
        finally:
            self._watchers.discard(watcher)
            if not self._watchers:
                self._walked = None

    def _hear(self, payload: str) -> None:
        """Take note of a notification; one that is none of ours says nothing."""
        with suppress(ValueError):
            told = [UUID(text) for text in payload.split(",")]
            self._read_soon(told if self._watchers else [session_id for session_id in told if session_id in self._topics])

    def _read_soon(self, session_ids: Iterable[UUID]) -> None:
        self._changed.update(session_ids)
        if len(self._changed) > len(self._topics) + WATCHED:
            self._lag()
        if self._changed:
            self._wake.set()

    def _lag(self) -> None:
        """Let the watchers list anew instead of reading for them all that changed."""
        self._changed &= self._topics.keys()
        for watcher in self._watchers:
            watcher.lag()

    def _poll_now(self) -> None:
        self._poll_at = 0
        self._wake.set()

    # What the tasks do.

    async def _keep_listening(self) -> None:
        settings = get_settings()
        if settings.pooler is not None and settings.listen_url is None:
            logger.info("a pooler passes on no notifications: looking for changes each second. SESSION_DB_LISTEN_URL goes around it.")
            self._has_tried.set()
            return
        failures = 0
        while True:
            try:
                async with listening(self._hear) as connection:
                    failures = 0
                    self._now_listening()
                    await connection.until_lost()
                reason = "the connection was lost"
            except Exception as error:  # noqa: BLE001  whatever it is: readers are served by looking, and this goes on trying.
                reason = str(error) or type(error).__name__
            self._now_polling(reason)
            await asyncio.sleep(_backoff(failures))
            failures += 1

    def _now_listening(self) -> None:
        logger.info("listening for changes.")
        self.mode = "listening"
        self._has_tried.set()
        # Nobody heard what was told until now.
        self._lag()
        self._poll_now()

    def _now_polling(self, reason: str) -> None:
        if self.mode == "listening" or not self._has_tried.is_set():
            logger.warning("looking for changes each second instead of listening for them: %s", reason)
        self.mode = "polling"
        self._has_tried.set()
        self._poll_now()

    async def _keep_reading(self) -> None:
        failures = 0
        while True:
            await self._wait_for_work()
            try:
                await self._poll_if_due()
                await self._read_changed()
            except Exception as error:  # noqa: BLE001  whatever it is: the readers must not be left alone for ever.
                if not failures:
                    logger.warning("live readers wait for the database: %s", error)
                await asyncio.sleep(min(_backoff(failures), LONGEST_WAIT_SECONDS))
                failures += 1
                self._poll_now()
                continue
            if failures:
                logger.info("live readers go on.")
            failures = 0
            await asyncio.sleep(SPACING_SECONDS)

    async def _wait_for_work(self) -> None:
        with suppress(TimeoutError):
            async with asyncio.timeout(max(0, self._poll_at - time.monotonic())):
                await self._wake.wait()
        self._wake.clear()

    async def _poll_if_due(self) -> None:
        """Compare what is known with the database: one query for all that are followed, and one for those who watch."""
        if time.monotonic() < self._poll_at:
            return
        # Set before the reads: whoever wants another poll while they run gets it.
        self._poll_at = time.monotonic() + POLL_SECONDS[self.mode]
        if self._topics:
            async with async_session() as db:
                versions = await read_versions(db, list(self._topics))
            self._changed |= {
                session_id
                for session_id, topic in self._topics.items()
                if topic.head is None or topic.head.version != versions.get(session_id, GONE)
            }
        if self._watchers and not await self._walk():
            self._lag()

    async def _walk(self) -> bool:
        """Find which of the last active sessions changed since the walk before, and return whether these are all."""
        # One at a time: a walk that passed the first one on its way would know of nothing before it, and say that all is lost.
        async with self._walking:
            async with async_session() as db:
                walked = await read_last_active(db, WALKED)
            before, self._walked = self._walked, walked
        if before is None:
            return False
        self._changed |= {session_id for session_id in before | walked if before.get(session_id, GONE) != walked.get(session_id, GONE)}
        # Where all of them changed, and nobody told it, there may be more behind them.
        return self.mode == "listening" or len(walked) < WALKED or bool(before.items() & walked.items())

    async def _read_changed(self) -> None:
        changed, self._changed = self._changed, set()
        if not changed:
            return
        try:
            async with async_session() as db:
                heads = await read_heads(db, changed)
        except BaseException:
            self._changed |= changed
            raise
        for session_id, head in heads.items():
            if session_id in self._topics:
                self._topics[session_id].put(head)
            self._put_to_watchers(head)

    def _put_to_watchers(self, head: Head) -> None:
        if self._walked is not None and head.session_id in self._walked:
            self._walked[head.session_id] = head.version
        for watcher in self._watchers:
            watcher.put(head)


def _backoff(failures: int) -> float:
    return BACKOFF_SECONDS[min(failures, len(BACKOFF_SECONDS) - 1)]


def get_hub() -> Hub:
    """Return the hub of the running event loop; ``follow`` and ``watch`` start it, ``close_db`` closes it."""
    return companion(Hub)
