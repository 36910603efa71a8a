"""Activity: the pulse of all sessions, or of one."""

from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Query

from session_db import crud
from session_db.api.dependencies import found, needs
from session_db.api.errors import problems
from session_db.crud.activity import MAX_BINS
from session_db.database import DatabaseSession
from session_db.models import ActivityRead
from session_db.models.values import Moment

router = APIRouter(tags=["usage"])


@router.get("/api/activity", responses=problems(404), dependencies=[needs("read")])
async def get_activity(
    db: DatabaseSession,
    since: Annotated[Moment | None, Query(description="When the span begins; unset: a day before its end.")] = None,
    until: Annotated[Moment | None, Query(description="When it ends; unset: now.")] = None,
    bins: Annotated[int, Query(ge=1, le=MAX_BINS, description="Into how many bins it is cut.")] = 96,
    session_id: Annotated[UUID | None, Query(description="Only of this session.")] = None,
) -> ActivityRead:
    """Count events and sum up cost over time, in a span of at most 31 days.

    A bin is whole minutes, and begins at a multiple of its length: there may be fewer than are asked for, or one more.
    """
    if session_id is not None:
        found(await crud.get_session(db, session_id), "session", session_id)
    return await crud.get_activity(db, since=since, until=until, bins=bins, session_id=session_id)
