"""Usage: tokens and cost, of one session and of all."""

from typing import Annotated, Any, Literal

from fastapi import APIRouter, Query

from session_db import crud
from session_db.api.answers import PageOf, page
from session_db.api.dependencies import Cursor, Limit, SessionId, needs, page_of_session
from session_db.api.errors import problems
from session_db.database import DatabaseSession
from session_db.models import UsageSummary
from session_db.models.values import Moment

router = APIRouter(tags=["usage"])

Since = Annotated[Moment | None, Query(description="Only from then on; unset: the last 30 days, or all of a session.")]
Until = Annotated[Moment | None, Query(description="Only before then; unset: until now.")]
TimeZone = Annotated[str, Query(max_length=100, description="IANA name of the zone that has the days.")]


@router.get("/api/usage", response_model=PageOf[UsageSummary], dependencies=[needs("read")])
async def list_usage(  # noqa: PLR0913, PLR0917  each filter is a parameter
    db: DatabaseSession,
    by: Annotated[Literal["session", "agent", "model", "day"], Query(description="What one sum is about.")],
    since: Since = None,
    until: Until = None,
    timezone: TimeZone = "UTC",
    limit: Limit = 50,
    cursor: Cursor = None,
) -> dict[str, Any]:
    """Sum up the usage of all sessions in a span of at most 400 days; it reads each answer of the span once."""
    return page(await crud.list_usage(db, by=by, since=since, until=until, timezone=timezone, limit=limit, cursor=cursor))


@router.get("/api/sessions/{session_id}/usage", response_model=PageOf[UsageSummary], responses=problems(404), dependencies=[needs("read")])
async def list_session_usage(  # noqa: PLR0913, PLR0917  each filter is a parameter
    session_id: SessionId,
    db: DatabaseSession,
    by: Annotated[Literal["session", "agent", "model", "day"], Query(description="What one sum is about.")] = "agent",
    since: Since = None,
    until: Until = None,
    timezone: TimeZone = "UTC",
    limit: Limit = 50,
    cursor: Cursor = None,
) -> dict[str, Any]:
    """Sum up the usage of a session, by agent unless you say otherwise. The session itself has the totals."""
    usage = await crud.list_usage(db, by=by, session_id=session_id, since=since, until=until, timezone=timezone, limit=limit, cursor=cursor)
    return await page_of_session(db, session_id, usage)
