"""Bodies that no table has: what is in the path may be left out, and lists stand under a name."""

from typing import Annotated

from pydantic.json_schema import SkipJsonSchema

from session_db.models import AgentCreate, AgentLogCreate, MemoryFileCreate
from session_db.models.values import Id, examples

MOST_AT_ONCE = 1000
"""Rows that one request appends at most."""

SessionOfPath = Annotated[Id | None, SkipJsonSchema()]
"""May be left out, and may name the session of the path."""


class AgentBody(AgentCreate):
    """An agent to add to the session of the path."""

    model_config = examples({"agent_type": "build", "model": "claude-sonnet-4-5", "name": "Add the login form", "status": "executing"})

    session_id: SessionOfPath = None  # type: ignore[assignment]


class EventBody(AgentLogCreate):
    """An event to append to the session of the path."""

    session_id: SessionOfPath = None  # type: ignore[assignment]


class MemoryFileBody(MemoryFileCreate):
    """A memory file to add to the session of the path."""

    model_config = examples({"file_path": "memory/knowledge/strudel_patterns.json", "is_primary": True})

    session_id: SessionOfPath = None  # type: ignore[assignment]
