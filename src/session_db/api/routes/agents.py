"""Agents of a session."""

from typing import Annotated, Any
from uuid import UUID

from fastapi import APIRouter, Path, Query, Response

from session_db import crud
from session_db.api.answers import PageOf
from session_db.api.bodies import AgentBody
from session_db.api.dependencies import Cursor, Limit, SessionId, found, in_session, needs, page_of_session
from session_db.api.errors import problems
from session_db.database import DatabaseSession
from session_db.models import Agent, AgentRead, AgentUpdate
from session_db.models.agents import AgentStatus

router = APIRouter(prefix="/api/sessions/{session_id}/agents", tags=["agents"])

AgentId = Annotated[UUID, Path(description="The agent.")]


@router.get("", response_model=PageOf[AgentRead], responses=problems(404), dependencies=[needs("read")])
async def list_agents(  # noqa: PLR0913, PLR0917  each filter is a parameter
    session_id: SessionId,
    db: DatabaseSession,
    status: Annotated[AgentStatus | None, Query(description="Only with this status.")] = None,
    parent_agent_id: Annotated[UUID | None, Query(description="Only those that this one started.")] = None,
    limit: Limit = 50,
    cursor: Cursor = None,
) -> dict[str, Any]:
    """List the agents of a session, the first made first."""
    agents = await crud.list_agents(db, session_id, status=status, parent_agent_id=parent_agent_id, limit=limit, cursor=cursor)
    return await page_of_session(db, session_id, agents)


@router.post("", status_code=201, response_model=AgentRead, responses=problems(404, 409), dependencies=[needs("write")])
async def create_agent(session_id: SessionId, body: AgentBody, db: DatabaseSession, response: Response) -> Agent:
    """Add an agent. With an `sdk_session_id` that is known, the events of that SDK session go to it from now on."""
    agent = await crud.create_agent(db, in_session(body, session_id))
    response.headers["Location"] = f"/api/sessions/{session_id}/agents/{agent.id}"
    return agent


@router.get("/{agent_id}", response_model=AgentRead, responses=problems(404), dependencies=[needs("read")])
async def get_agent(session_id: SessionId, agent_id: AgentId, db: DatabaseSession) -> Agent:
    """Read an agent."""
    return found(await crud.get_agent(db, agent_id, session_id), "agent", agent_id)


@router.patch("/{agent_id}", response_model=AgentRead, responses=problems(404, 409), dependencies=[needs("write")])
async def update_agent(session_id: SessionId, agent_id: AgentId, body: AgentUpdate, db: DatabaseSession) -> Agent:
    """Change what is sent. Tokens and cost of an agent with usage rows are their sums and cannot be set (409)."""
    return found(await crud.update_agent(db, agent_id, body, session_id), "agent", agent_id)
