"""Rows to test with: what a test does not care about has a value, what it cares about it says."""

from itertools import count
from typing import Any
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncSession

from session_db import crud
from session_db.models import Agent, AgentCreate, AgentLog, AgentLogCreate, Session, SessionCreate

_numbers = count(1)


async def make_session(db: AsyncSession, **values: Any) -> Session:
    """Create a chat session, or with a ``session_slug`` a workflow session."""
    if "session_slug" in values:
        defaults: dict[str, Any] = {"title": "Implement Authentication", "working_dir": "/work/project"}
    else:
        defaults = {"agent_name": "strudel", "model_name": "grok-4-fast"}
    return await crud.create_session(db, SessionCreate.model_validate(defaults | values))


async def make_agent(db: AsyncSession, session: Session | UUID | None = None, **values: Any) -> Agent:
    """Create an agent, in a session of its own where none is given."""
    session_id = session if isinstance(session, UUID) else (session or await make_session(db)).id
    return await crud.create_agent(db, AgentCreate.model_validate({"session_id": session_id, "agent_type": "build"} | values))


def event(session: Session | UUID | str, **values: Any) -> AgentLogCreate:
    """Return an event to append."""
    session_id = session.id if isinstance(session, Session) else session
    return AgentLogCreate.model_validate({"session_id": session_id, "event_category": "hook", "event_type": "PreToolUse"} | values)


async def make_event(db: AsyncSession, session: Session | UUID | None = None, **values: Any) -> AgentLog:
    """Append one event, to a session of its own where none is given."""
    return await crud.create_agent_log(db, event(session or await make_session(db), **values))


def message(content: str | None = None, **values: Any) -> dict[str, Any]:
    """Return a display message to save."""
    text = f"message {next(_numbers)}" if content is None else content
    return {"role": "user", "content": text, "timestamp": "2025-12-25T01:35:06Z"} | values
