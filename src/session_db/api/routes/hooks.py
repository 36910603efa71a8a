"""Hooks over HTTP: an event of Claude Code is in the spool before it is answered."""

import asyncio
import ipaddress
import os
from typing import Annotated, Any

from fastapi import APIRouter, Header, HTTPException, Request, Response
from pydantic import BaseModel, Field
from starlette.requests import ClientDisconnect

from session_db.api.dependencies import needs
from session_db.api.gate import address_of
from session_db.capture.forwarded import NAME, captured_at, receive
from session_db.capture.hook_entries import ROUTE
from session_db.capture.hook_events import parse
from session_db.capture.spool import Captured, spool_of
from session_db.models.table import now
from session_db.settings import get_settings

router = APIRouter(tags=["hooks"])

_EVENT: dict[str, Any] = {
    "requestBody": {
        "required": True,
        "content": {
            "application/json": {
                "schema": {
                    "type": "object",
                    "required": ["session_id", "hook_event_name"],
                    "properties": {
                        "session_id": {"type": "string", "minLength": 1},
                        "hook_event_name": {"type": "string", "minLength": 1},
                    },
                    "description": "What the client sends, whatever else is in it.",
                }
            }
        },
    }
}


class Origin(BaseModel):
    """Whose event it is, as the headers say. An empty one is none: the client sends variables that are unset so.

    One that is too long is cut where it is written, or names nothing; no event is lost for it.
    """

    session_db_session: str = Field("", description="As SESSION_DB_SESSION: the session that the event goes to.")
    session_db_agent_type: str = Field("", description="As SESSION_DB_AGENT_TYPE.")
    session_db_checkpoint: str = Field("", description="As SESSION_DB_CHECKPOINT.")
    claude_pid: str = Field("", description="As CLAUDE_PID: the process of the client.")
    session_db_recorder: str = Field("", description="As SESSION_DB_RECORDER: another one records it, it is not kept.")
    session_db_host: str = Field("", description="Name of the machine that it happened on.")
    session_db_spooled: str = Field("", pattern=NAME, description="Name of its file in the spool where it waited; sent again it stays one.")

    @property
    def environment(self) -> dict[str, str]:
        given = self.model_dump(include={"session_db_session", "session_db_agent_type", "session_db_checkpoint", "claude_pid"})
        if self.claude_pid and not self.session_db_host:
            # From a container or through a tunnel: here another process may have its number, which still tells two clients apart.
            given["claude_pid"] = f"elsewhere:{self.claude_pid}"
        return {name.upper(): value for name, value in given.items() if value}


@router.post(ROUTE, status_code=204, openapi_extra=_EVENT, dependencies=[needs("hooks")])
async def capture_event(request: Request, origin: Annotated[Origin, Header()]) -> Response:
    """Take an event of Claude Code. It is on disk when this is answered, and in the database soon after.

    The answer is empty: whatever stood in it the client would read as a decision.
    """
    host, name = _host_of(origin.session_db_host, address_of(request)), origin.session_db_spooled
    try:
        payload = await request.body()
    except ClientDisconnect:
        # Nobody reads the answer, but the log has it.
        raise HTTPException(400, "the client did not wait until its event was read; it is not recorded.") from None
    captured = Captured(name, payload, captured_at(name) if name else now(), host, origin.environment)
    parse(captured)
    spool = spool_of(get_settings())
    if origin.session_db_recorder:
        return Response(status_code=204)
    if name:
        await asyncio.to_thread(receive, spool, captured)
    else:
        await asyncio.to_thread(spool.put, captured.payload, captured.environment, host)
    return Response(status_code=204)


def _host_of(name: str, address: str) -> str:
    """Return which host an event comes from. Files of this one are opened for it, so nobody else may say that he is here."""
    here = os.uname().nodename
    if _is_loopback(address):
        return name or here
    return name if name not in ("", here) else address


def _is_loopback(address: str) -> bool:
    try:
        return ipaddress.ip_address(address).is_loopback
    except ValueError:
        return False
