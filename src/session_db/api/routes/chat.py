"""A chat client over a WebSocket: it is present while it is connected, sends messages, and is told what happens."""

import asyncio
import json
import logging
import os
import socket
from contextlib import aclosing, suppress
from typing import Any, Literal
from uuid import UUID

from fastapi import APIRouter, WebSocket, WebSocketDisconnect
from pydantic import Field, ValidationError

from session_db import crud
from session_db.api.dependencies import refuse_beyond
from session_db.api.errors import answer_to, problem_of
from session_db.api.gate import still_works
from session_db.api.metrics import count_appended
from session_db.api.routes.live import After, beginning
from session_db.api.routes.messages import NewMessages
from session_db.api.streams import HEARTBEAT, LOST_SECONDS, Frame, session_frames
from session_db.crud.presence import LEASE_SECONDS
from session_db.database import UnitOfWork, get_async_session
from session_db.database.violations import DRIVER_ERRORS
from session_db.errors import InvalidInput, SessionDBError

router = APIRouter()

NORMAL, RESTARTING, REFUSED = 1000, 1012, 1008
"""Why a WebSocket is closed: there is nothing more to tell; the service stops, so connect again; the token ended."""

logger = logging.getLogger(__name__)


class Said(NewMessages):
    """What a client sends."""

    type: Literal["messages"] = "messages"
    idempotency_key: str | None = Field(default=None, max_length=200, description="Makes a retry safe: the same key changes nothing.")


@router.websocket("/ws/sessions/{session_id}")
async def chat(client: WebSocket, session_id: UUID, after: After = None) -> None:
    """Take part in a chat.

    Each text is a JSON object. To the client: ``{"type", "data", "id"}`` as the frames of the event stream, and ``{"type": "appended"}`` or
    ``{"type": "error"}`` for what it sent. From the client: ``{"type": "messages", "messages": […], "idempotency_key": …}``.
    """
    try:
        refuse_beyond(client.scope["state"]["token"], ["write"])
        async with get_async_session() as db:
            head, position = await beginning(session_id, after, db)
            connection_id = await _be_present(db, session_id)
    except (SessionDBError, *DRIVER_ERRORS) as error:
        await client.send_denial_response(answer_to(client, error))
        return
    connection = _Connection(client, session_id, connection_id)
    try:
        await client.accept()
        await connection.run(session_frames(head, position))
    finally:
        await connection.leave()


async def _be_present(db: UnitOfWork, session_id: UUID) -> UUID:
    worker = f"{socket.gethostname()}:{os.getpid()}"
    return (await crud.create_presence(db, session_id, worker=worker, lease_seconds=LEASE_SECONDS)).connection_id


class _Connection:
    """A client that is connected."""

    def __init__(self, client: WebSocket, session_id: UUID, connection_id: UUID) -> None:
        self._client = client
        self._session_id = session_id
        self._connection_id = connection_id

    async def run(self, frames: Any) -> None:
        """Tell, hear and renew the lease until one of them ends; then close."""
        tasks = [asyncio.create_task(work) for work in (self._tell(frames), self._hear(), self._stay())]
        try:
            done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
        for task in done:
            with suppress(WebSocketDisconnect, TimeoutError, RuntimeError):
                await self._client.close(task.result())

    async def _tell(self, frames: Any) -> int:
        frame = HEARTBEAT
        async with aclosing(frames):
            async for frame in frames:
                if frame is not HEARTBEAT:
                    await self._send(_as_json(frame))
        return NORMAL if frame.kind in ("deleted", "moved") else RESTARTING

    async def _hear(self) -> int:
        while True:
            received = await self._client.receive()
            if received["type"] == "websocket.disconnect":
                return NORMAL
            try:
                await self._send(await self._append(received.get("text")))
            except (SessionDBError, *DRIVER_ERRORS) as error:
                await self._send({"type": "error", "data": problem_of(self._client, error)})

    async def _append(self, text: str | None) -> dict[str, Any]:
        said = _read(text)
        async with get_async_session() as db:
            appended = await crud.save_display_messages(db, self._session_id, said.messages, idempotency_key=said.idempotency_key)
        count_appended("messages", appended)
        messages = [message._asdict() for message in appended]
        return {"type": "appended", "data": {"idempotency_key": said.idempotency_key, "messages": messages}}

    async def _stay(self) -> int:
        """Renew the lease; while the database is away it is tried again, and one that ended meanwhile is made anew."""
        while await still_works(self._client.scope["state"]["token"]):
            await asyncio.sleep(LEASE_SECONDS / 3)
            with suppress(SessionDBError, *DRIVER_ERRORS):
                async with get_async_session() as db:
                    if not await crud.renew_presence(db, [self._connection_id], lease_seconds=LEASE_SECONDS):
                        self._connection_id = await _be_present(db, self._session_id)
        return REFUSED

    async def leave(self) -> None:
        """End the lease; where the database is away it ends by itself."""
        try:
            async with get_async_session() as db:
                await crud.delete_presence(db, self._connection_id)
        except (SessionDBError, *DRIVER_ERRORS) as error:
            logger.info("a client left unnoticed, its lease ends by itself: %s", error)

    async def _send(self, value: Any) -> None:
        async with asyncio.timeout(LOST_SECONDS):
            await self._client.send_text(json.dumps(value, ensure_ascii=True, allow_nan=False))


def _as_json(frame: Frame) -> dict[str, Any]:
    return {"type": frame.kind, "data": frame.data, "id": None if frame.position is None else str(frame.position)}


def _read(text: str | None) -> Said:
    if text is None:
        raise InvalidInput("this is no text; send JSON as a text.")
    try:
        return Said.model_validate(json.loads(text))
    except ValidationError as error:
        problems = "; ".join(f"{'.'.join(map(str, each['loc']))}: {each['msg']}" for each in error.errors(include_url=False))
        raise InvalidInput(problems) from None
    except (ValueError, RecursionError) as error:
        raise InvalidInput(f"this is no JSON: {error}") from None
