"""Sessions: create, list, read, change, delete."""

from typing import Annotated, Any

from fastapi import APIRouter, Query, Request, Response
from pydantic import Field

from session_db import crud
from session_db.api.answers import PageOf, page
from session_db.api.dependencies import OPEN_PARAMETERS, Cursor, Limit, SessionId, found, needs
from session_db.api.errors import problems
from session_db.database import DatabaseSession
from session_db.models import Session, SessionCreate, SessionPatch, SessionRead
from session_db.models.sessions import Activity, SessionStatus, SessionType, refuse_unknown_status
from session_db.models.table import MAX_DOLLARS
from session_db.models.values import Moment

router = APIRouter(prefix="/api/sessions", tags=["sessions"])

METADATA = "metadata."

Dollars = Annotated[float, Field(ge=0, lt=MAX_DOLLARS)]


@router.post("", status_code=201, response_model=SessionRead, responses=problems(409), dependencies=[needs("write")])
async def create_session(body: SessionCreate, db: DatabaseSession, response: Response) -> Session:
    """Create a session: a chat (`agent_name`), or a workflow (`session_slug`, `working_dir`).

    A `session_id` of your own makes a retry safe: where it is known already the answer is 409.
    """
    session = await crud.create_session(db, body)
    response.headers["Location"] = f"/api/sessions/{session.id}"
    return session


@router.get("", response_model=PageOf[SessionRead], dependencies=[needs("read")], openapi_extra={OPEN_PARAMETERS: METADATA})
async def list_sessions(  # noqa: PLR0913, PLR0917  each filter is a parameter
    request: Request,
    db: DatabaseSession,
    status: Annotated[SessionStatus | None, Query(description="Only with this status.")] = None,
    session_type: Annotated[SessionType | None, Query(alias="type", description="Only of this type.")] = None,
    project: Annotated[str | None, Query(description="Only of this current_project.")] = None,
    agent: Annotated[str | None, Query(description="Only of this agent_name.")] = None,
    working_dir: Annotated[str | None, Query(description="Only of the project in this directory.")] = None,
    activity: Annotated[Activity | None, Query(description="Only where this goes on.")] = None,
    pinned: Annotated[bool | None, Query(description="Only those that every cleanup keeps, or only the others.")] = None,
    model: Annotated[str | None, Query(description="Only of this model_name.")] = None,
    min_cost: Annotated[Dollars | None, Query(description="Only those that cost as many US dollars or more.")] = None,
    max_cost: Annotated[Dollars | None, Query(description="Only those that cost as many or less.")] = None,
    since: Annotated[Moment | None, Query(description="Only those last active then or later.")] = None,
    until: Annotated[Moment | None, Query(description="Only those last active before then.")] = None,
    text: Annotated[str | None, Query(max_length=200, description="Only with this text in title, name, slug or description.")] = None,
    limit: Limit = 50,
    cursor: Cursor = None,
) -> dict[str, Any]:
    """List sessions, the last active first.

    `metadata.KEY=VALUE` filters by metadata, for instance `metadata.item_type=clip`; a path has dots (`metadata.mixer.gain=0.8`).
    """
    metadata = {name.removeprefix(METADATA): value for name, value in request.query_params.items() if name.startswith(METADATA)}
    if status is not None and session_type is not None:
        refuse_unknown_status(session_type, status)
    sessions = await crud.list_sessions(
        db,
        status,
        session_type=session_type,
        current_project=project,
        agent_name=agent,
        working_dir=working_dir,
        activity=activity,
        pinned=pinned,
        model_name=model,
        min_cost=min_cost,
        max_cost=max_cost,
        since=since,
        until=until,
        text=text,
        metadata=metadata or None,
        limit=limit,
        cursor=cursor,
    )
    return page(sessions)


@router.get("/{session_id}", response_model=SessionRead, responses=problems(404), dependencies=[needs("read")])
async def get_session(session_id: SessionId, db: DatabaseSession) -> Session:
    """Read a session."""
    return found(await crud.get_session(db, session_id), "session", session_id)


@router.patch("/{session_id}", response_model=SessionRead, responses=problems(404, 409), dependencies=[needs("write")])
async def patch_session(session_id: SessionId, body: SessionPatch, db: DatabaseSession) -> Session:
    """Change what is sent and keep the rest. `metadata` is merged (RFC 7396): null takes a key away, an object is merged into one."""
    return found(await crud.patch_session(db, session_id, body), "session", session_id)


@router.post("/{session_id}/activity", response_model=SessionRead, responses=problems(404), dependencies=[needs("write")])
async def note_activity(session_id: SessionId, db: DatabaseSession) -> Session:
    """Note that something happened now: the session comes first in lists."""
    return found(await crud.update_session_activity(db, session_id), "session", session_id)


@router.delete("/{session_id}", status_code=204, responses=problems(404), dependencies=[needs("write")])
async def delete_session(session_id: SessionId, db: DatabaseSession) -> None:
    """Delete a session. It is gone from every answer at once; its rows are erased in the background."""
    found(await crud.delete_session(db, session_id) or None, "session", session_id)
