"""Hooks over HTTP: an event of Claude Code is in the spool before it is answered."""

import asyncio
import ipaddress
import os
from typing import Annotated, Any

from fastapi import APIRouter, Header, Request, Response

from session_db.api.dependencies import needs
from session_db.api.gate import address_of
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

SessionHeader = Annotated[str, Header(max_length=255, description="As SESSION_DB_SESSION: the session that the event goes to.")]
AgentType = Annotated[str, Header(max_length=100, description="As SESSION_DB_AGENT_TYPE.")]
Checkpoint = Annotated[str, Header(max_length=20, description="As SESSION_DB_CHECKPOINT.")]


@router.post("/hooks/claude-code", status_code=204, openapi_extra=_EVENT, dependencies=[needs("hooks")])
async def capture_event(
    request: Request, session_db_session: SessionHeader = "", session_db_agent_type: AgentType = "", session_db_checkpoint: Checkpoint = ""
) -> Response:
    """Take an event of Claude Code. It is on disk when this is answered, and in the database soon after.

    The answer is empty: whatever stood in it the client would read as a decision.
    """
    given = {
        "SESSION_DB_SESSION": session_db_session,
        "SESSION_DB_AGENT_TYPE": session_db_agent_type,
        "SESSION_DB_CHECKPOINT": session_db_checkpoint,
    }
    environment = {name: value for name, value in given.items() if value}
    payload, host = await request.body(), _host_of(address_of(request))
    parse(Captured("", payload, now(), host, environment))
    await asyncio.to_thread(spool_of(get_settings()).put, payload, environment, host)
    return Response(status_code=204)


def _host_of(address: str) -> str:
    """Return which host an event comes from: only files of this one are ever opened for it."""
    try:
        is_here = ipaddress.ip_address(address).is_loopback
    except ValueError:
        is_here = False
    return os.uname().nodename if is_here else address
