"""Timelines: the events of a session as they are drawn."""

from typing import Annotated

from fastapi import APIRouter, Query, Response

from session_db import crud
from session_db.api.answers import JSONAnswer, PageOf
from session_db.api.dependencies import Cursor, SessionId, needs, page_of_session
from session_db.api.errors import problems
from session_db.crud.timeline import MAX_LIMIT
from session_db.database import DatabaseSession
from session_db.models import TimelineEvent
from session_db.models.table import INT64

router = APIRouter(tags=["events"])


@router.get(
    "/api/sessions/{session_id}/timeline", response_model=PageOf[TimelineEvent], responses=problems(404), dependencies=[needs("read")]
)
async def list_timeline(
    session_id: SessionId,
    db: DatabaseSession,
    after_index: Annotated[int, Query(ge=-INT64, lt=INT64, description="Only those after this event_index.")] = -1,
    limit: Annotated[int, Query(ge=1, le=MAX_LIMIT, description="Rows a page.")] = MAX_LIMIT,
    cursor: Cursor = None,
) -> Response:
    """List the events of a session as they are drawn: a line each, in the order of recording; what an event has not is left out."""
    events = await crud.list_timeline(db, session_id, after_index=after_index, limit=limit, cursor=cursor)
    return JSONAnswer(await page_of_session(db, session_id, events))
