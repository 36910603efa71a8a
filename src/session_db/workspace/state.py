"""``state.json``: its schema, and how a session is written in it."""

import hashlib
import json
from collections.abc import Mapping
from datetime import datetime
from typing import Any, Literal
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field

from session_db.crud.workspaces import PHASES_SHOWN, Shown
from session_db.models import Agent, AgentLog, Session
from session_db.models.sessions import WORKFLOW_STATUSES
from session_db.models.table import INT32

SCHEMA = 1
"""Of what state.json holds."""

CHECKPOINTS = "checkpoints"
"""Key of the checkpoints, in state.json and in a session's metadata."""

OF_DATABASE = ("session_id", "slug", "type", "phase_history", "agents", "cost")
"""Keys that the database owns; it owns status as well, where the file is not ahead."""


class Phase(BaseModel):
    """A phase of the workflow, and when it began."""

    phase: str = Field(description="created, spec, plan, build, docs, complete; or failed.")
    at: datetime = Field(description="When it began, in UTC.")


class Checkpoints(BaseModel):
    """How far the plan is built."""

    total: int | None = Field(None, description="Checkpoints of the plan.")
    done: int | None = Field(None, description="How many of them are done.")


class AgentState(BaseModel):
    """An agent that no other agent started."""

    id: UUID = Field(description="Its id.")
    type: str = Field(description="spec, plan, build, research, docs, debug, main.")
    status: str = Field(description="pending, executing, complete or failed.")
    sdk_session_id: str | None = Field(description="The agent SDK's session id, with which it can be resumed.")
    model: str | None = Field(description="Language model.")
    checkpoint_id: int | None = Field(description="Checkpoint of the plan that it builds.")
    cost: float = Field(description="US dollars.")
    started_at: datetime | None = Field(description="When it began to work.")
    completed_at: datetime | None = Field(description="When it ended.")


class Synced(BaseModel):
    """What was there when file and database were last the same: an edit is what differs from it."""

    state: dict[str, Any] = Field(description="title, description, status, total and done of this record.")
    layout: dict[str, Any] = Field(description="The same as the keys of an older layout say it.")
    plan: dict[str, Any] = Field(description="total and done of plan.json.")
    database: dict[str, str] = Field(description="Fingerprints of what the database owns, by key.")


class State(BaseModel):
    """A session as its folder shows it. Keys that are not named here are kept as they are."""

    model_config = ConfigDict(populate_by_name=True)

    schema_: Literal[1] = Field(1, alias="schema", description="Version of this schema.")
    session_id: UUID = Field(description="Id of the session.")
    slug: str = Field(description="Name of the folder.")
    title: str | None = Field(description="What the session is about, in a line.")
    description: str | None = Field(description="What the session is about, at length.")
    type: str = Field(description="full, quick or research.")
    status: str = Field(description="The phase: created, spec, plan, build, docs, complete; or failed.")
    phase_history: list[Phase] = Field(description="The phases and when each began, the last 200.")
    checkpoints: Checkpoints = Field(description="How far the plan is built.")
    agents: list[AgentState] = Field(description="The agents that no other agent started, the last 500.")
    cost: float = Field(description="US dollars of all agents.")
    updated_at: datetime = Field(description="When the session had last changed as this was written.")
    synced: Synced | None = Field(None, description="Leave it as it is: by this an edit is told from what is old.")


def record_of(shown: Shown) -> dict[str, Any]:
    """Return a session as JSON, without ``synced``."""
    session = shown.session
    record = State(
        session_id=session.id,
        slug=session.session_slug or "",
        title=session.title,
        description=session.description,
        type=session.session_type,
        status=session.status,
        phase_history=[Phase(phase=phase, at=at) for phase, at in _history(session, shown.phases)],
        checkpoints=checkpoints_of(session),
        agents=[_agent_state(agent) for agent in shown.agents],
        cost=session.total_cost,
        updated_at=session.updated_at,
    )
    return record.model_dump(mode="json", by_alias=True, exclude={"synced"})


def _history(session: Session, phases: list[AgentLog]) -> list[tuple[str, datetime]]:
    changes = [(event.content, event.timestamp) for event in phases if event.content in WORKFLOW_STATUSES]
    first = phases[0].payload.get("from") if phases and isinstance(phases[0].payload, dict) else session.status
    began = [(first, session.created_at)] if len(phases) < PHASES_SHOWN and first in WORKFLOW_STATUSES else []
    return [(str(phase), at) for phase, at in began + changes]


def checkpoints_of(session: Session) -> Checkpoints:
    """Return what the session's metadata say of checkpoints; anybody may have written something else there."""
    noted = session.metadata_.get(CHECKPOINTS)
    noted = noted if isinstance(noted, Mapping) else {}
    return Checkpoints(**{name: noted.get(name) if is_count(noted.get(name)) else None for name in Checkpoints.model_fields})


def is_count(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value < INT32


def _agent_state(agent: Agent) -> AgentState:
    names = [name for name in AgentState.model_fields if name != "type"]
    return AgentState(type=agent.agent_type, **{name: getattr(agent, name) for name in names})


def fingerprint(key: str, value: Any) -> str:
    """Return what tells whether a value that the database owns is still as it was written; keys that are not ours do not count."""
    known = _known_agents(value) if key == "agents" else value
    return hashlib.sha256(json.dumps(known, sort_keys=True).encode()).hexdigest()[:16]


def _known_agents(value: Any) -> Any:
    if not isinstance(value, list) or not all(isinstance(agent, dict) for agent in value):
        return value
    return [{name: agent.get(name) for name in AgentState.model_fields} for agent in value]


def overlaid(before: Mapping[str, Any], after: Mapping[str, Any]) -> dict[str, Any]:
    """Return the object ``before`` with the values of ``after``; other keys in it, and in objects in it, stay where they stand."""
    merged = {key: _inside(key, value, after[key]) if key in after else value for key, value in before.items()}
    return merged | {key: value for key, value in after.items() if key not in before}


def _inside(key: str, before: Any, after: Any) -> Any:
    if key == "agents" and isinstance(before, list):
        known = {agent["id"]: agent for agent in before if isinstance(agent, dict) and isinstance(agent.get("id"), str)}
        return [overlaid(known.get(agent["id"], {}), agent) for agent in after]
    if key == CHECKPOINTS and isinstance(before, dict):
        return overlaid(before, after)
    return after
