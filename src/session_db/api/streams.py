"""Live streams: frames of one session or of the list of all, in order, without a skip or a repeat; and how they are sent.

Nothing queues for a reader: each reads its pages when it has taken the one before, so a slow one costs no memory.
"""

import asyncio
import logging
import re
import time
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import aclosing
from datetime import datetime
from typing import Any, NamedTuple
from uuid import UUID

from fastapi.sse import format_sse_event
from starlette.responses import StreamingResponse
from starlette.types import Send

from session_db import crud
from session_db.api.answers import JSONAnswer
from session_db.api.metrics import count_told
from session_db.database import get_async_session
from session_db.database.violations import DRIVER_ERRORS
from session_db.errors import InvalidInput, Unavailable
from session_db.live import Head, Lagged, Stopping, get_hub
from session_db.models import SessionRead
from session_db.models.agent_logs import event_json

PAGE = 100
HEARTBEAT_SECONDS = 15.0
RETRY_SECONDS = 1.0
"""Rest before a page is read again that the database did not give."""

SLOW_SECONDS = 10.0
"""A reader that took so long for one frame is told `lagged`, and has to come again."""
LOST_SECONDS = 60.0
"""One that took nothing for so long is dropped without a word: nobody is there to hear it."""

CHECK_SECONDS = 60.0
"""How often a stream asks whether its token still works."""

_COUNTERS = {"event_count", "message_count", "last_activity", "updated_at"}
"""What moves with every event: no news of a session's state."""

logger = logging.getLogger(__name__)


class Position(NamedTuple):
    """How far a reader is: the next ``event_index`` and the next ``message_index``."""

    event: int = 0
    message: int = 0

    def __str__(self) -> str:
        return f"{self.event}.{self.message}"


LATEST = "latest"


def position_of(text: str | None, session: SessionRead) -> Position:
    """Return where a reader begins: at the start, after what it has, or at ``latest``.

    Raises:
        InvalidInput: it is no position, or one that the session has not reached.
    """
    here = Position(session.event_count, session.message_count)
    if text is None:
        return Position()
    if text == LATEST:
        return here
    parts = re.fullmatch(r"([0-9]{1,18})\.([0-9]{1,18})", text)
    if parts is None:
        raise InvalidInput(f"after: {text[:100]!r} is no position; send the id of a frame, for instance 12.3, or latest.", field="after")
    position = Position(int(parts[1]), int(parts[2]))
    if position.event > here.event or position.message > here.message:
        raise InvalidInput(f"after: {position} is ahead of the session, which is at {here}; begin anew without it.", field="after")
    return position


class Frame(NamedTuple):
    """What a reader is told: the kind of news, the news, and the position after it."""

    kind: str
    data: Any
    position: Position | None = None


HEARTBEAT = Frame("heartbeat", None)


async def session_frames(head: Head, position: Position, *, wait: bool = True) -> AsyncGenerator[Frame]:
    """Give the frames of a session from a position on; without ``wait`` it ends when all is told that there is.

    While the database is away there are heartbeats alone. It ends after ``deleted`` or ``moved``, and when the service stops.
    """
    reader = Reader(head.session_id, position)
    if not wait:
        async for frame in reader.news(head):
            yield frame
        return
    async with get_hub().follow(head.session_id) as follower:
        while not reader.is_at_end:
            try:
                newest = await follower.next(HEARTBEAT_SECONDS)
            except Stopping:
                return
            if newest is None:
                yield HEARTBEAT
                continue
            async for frame in reader.news(newest):
                yield frame


class Reader:
    """What a reader of one session was told."""

    def __init__(self, session_id: UUID, position: Position) -> None:
        self._session_id = session_id
        self._position = position
        self._state: dict[str, Any] | None = None
        self._was_at_head = False
        self.is_at_end = False

    async def news(self, head: Head) -> AsyncGenerator[Frame]:
        """Give what a head has that was not told."""
        if head.session is None:
            self.is_at_end = True
            yield _end(head)
            return
        state = head.session.model_dump(mode="json", by_alias=True)
        if self._state is None or _differs(state, self._state):
            self._state = state
            yield Frame("session", state, self._position)
        # What a transcript does not say of what hooks told is gone from the end: its places are given anew.
        self._position = self._position._replace(message=min(self._position.message, head.message_count))
        while self._position.event < head.event_count or self._position.message < head.message_count:
            try:
                frames = await _read(self._session_id, self._position)
            except (Unavailable, *DRIVER_ERRORS) as error:
                logger.info("a live reader waits for the database: %s", error)
                await asyncio.sleep(RETRY_SECONDS)
                yield HEARTBEAT
                continue
            if not frames:
                # It was deleted in this moment; the next head says so.
                return
            if self._was_at_head and frames[0].kind == "event":
                count_told(datetime.fromisoformat(frames[0].data["recorded_at"]))
            for frame in frames:
                self._position = frame.position or self._position
                yield frame
        self._was_at_head = True


def _differs(state: dict[str, Any], told: dict[str, Any]) -> bool:
    return any(state[name] != told[name] for name in state if name not in _COUNTERS)


def _end(head: Head) -> Frame:
    if head.moved_to is None:
        return Frame("deleted", {"session_id": str(head.session_id)})
    return Frame("moved", {"session_id": str(head.session_id), "moved_to": str(head.moved_to)})


async def _read(session_id: UUID, position: Position) -> list[Frame]:
    frames = []
    async with get_async_session() as db:
        for event in await crud.list_agent_logs(db, session_id, after_index=position.event - 1, limit=PAGE):
            position = position._replace(event=event.event_index + 1)
            frames.append(Frame("event", event_json(event), position))
        for message in await crud.list_messages(db, session_id, after_index=position.message - 1, limit=PAGE):
            position = position._replace(message=message["message_index"] + 1)
            frames.append(Frame("message", message, position))
    return frames


async def list_frames(*, wait: bool = True) -> AsyncGenerator[Frame]:
    """Give which sessions changed, and how they stand now.

    The first frame is ``lagged``, and there is another one whenever changes were not kept: list the sessions then.
    """
    async with get_hub().watch() as watcher:
        yield _LIST_ANEW
        while wait:
            try:
                heads = await watcher.next(HEARTBEAT_SECONDS)
            except Lagged:
                yield _LIST_ANEW
                continue
            except Stopping:
                return
            if not heads:
                yield HEARTBEAT
            for head in heads.values():
                yield _end(head) if head.session is None else Frame("session", head.session.model_dump(mode="json", by_alias=True))


_LIST_ANEW = Frame("lagged", {"detail": "what changed before this is not told; list the sessions."})
_COME_AGAIN = Frame("lagged", {"detail": "this reader took too long; connect again with the last id."})


class EventStream(StreamingResponse):
    """Server-sent events; a reader that takes nothing any more is dropped."""

    media_type = "text/event-stream"

    def __init__(self, frames: AsyncGenerator[Frame], may_stay: Callable[[], Awaitable[bool]]) -> None:
        # A proxy must neither keep what comes nor hold it back.
        super().__init__((), headers={"Cache-Control": "no-cache", "X-Accel-Buffering": "no"})
        self._frames = frames
        self._may_stay = may_stay

    async def stream_response(self, send: Send) -> None:
        await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
        try:
            async with aclosing(self._frames):
                await self._send_frames(send)
        except TimeoutError:
            logger.info("a live reader took nothing for %s s and was dropped.", LOST_SECONDS)
            return
        await send({"type": "http.response.body", "body": b"", "more_body": False})

    async def _send_frames(self, send: Send) -> None:
        check_at = time.monotonic() + CHECK_SECONDS
        async for frame in self._frames:
            if time.monotonic() > check_at:
                check_at = time.monotonic() + CHECK_SECONDS
                if not await self._may_stay():
                    return
            if await _send_slowly(send, _write(frame)):
                await send(_body(_write(_COME_AGAIN)))
                return


async def _send_slowly(send: Send, chunk: Any) -> bool:
    """Send, and return whether the reader took too long for it."""
    began = time.monotonic()
    async with asyncio.timeout(LOST_SECONDS):
        await send(_body(chunk))
    return time.monotonic() - began > SLOW_SECONDS


def _body(chunk: Any) -> dict[str, Any]:
    return {"type": "http.response.body", "body": chunk, "more_body": True}


def _write(frame: Frame) -> bytes:
    if frame is HEARTBEAT:
        return b": still here\n\n"
    data = bytes(JSONAnswer(frame.data).body).decode()
    return format_sse_event(event=frame.kind, data_str=data, id=None if frame.position is None else str(frame.position))
