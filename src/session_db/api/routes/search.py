"""Search: what was said and done, in all sessions."""

from typing import Annotated, Any
from uuid import UUID

from fastapi import APIRouter, Query

from session_db import crud
from session_db.api.answers import PageOf, page
from session_db.api.dependencies import Cursor, needs
from session_db.crud.search import MAX_LIMIT
from session_db.crud.search_text import MAX_QUERY
from session_db.database import DatabaseSession
from session_db.models.search import HitType, SearchHit
from session_db.models.sessions import SessionType
from session_db.models.values import Moment

router = APIRouter(prefix="/api/search", tags=["search"])

_WORDS = 'Words that must all be there, `"phrases"`, `-word` for what must not be there, `or`; the last word may be the beginning of one.'


@router.get("", response_model=PageOf[SearchHit], dependencies=[needs("read")])
async def search(  # noqa: PLR0913, PLR0917  each filter is a parameter
    db: DatabaseSession,
    q: Annotated[str, Query(min_length=1, max_length=MAX_QUERY, description=_WORDS, examples=["pytest failed"])],
    hit_type: Annotated[HitType | None, Query(alias="type", description="Only sessions, only messages or only events.")] = None,
    session_id: Annotated[UUID | None, Query(description="Only of this session.")] = None,
    session_type: Annotated[SessionType | None, Query(description="Only of sessions of this type.")] = None,
    project: Annotated[str | None, Query(description="Only of sessions with this current_project.")] = None,
    working_dir: Annotated[str | None, Query(description="Only of the project in this directory.")] = None,
    event_type: Annotated[str | None, Query(max_length=200, description="Only events of this type.")] = None,
    tool_name: Annotated[str | None, Query(max_length=200, description="Only events of this tool.")] = None,
    tool_output: Annotated[bool, Query(description="Also in what tools gave, its first 4,096 characters.")] = False,  # noqa: FBT002  a parameter of the URL
    since: Annotated[Moment | None, Query(description="Only from then on; a session has the time when it was last active.")] = None,
    until: Annotated[Moment | None, Query(description="Only before then.")] = None,
    limit: Annotated[int, Query(ge=1, le=MAX_LIMIT, description="Hits a page.")] = 20,
    cursor: Cursor = None,
) -> dict[str, Any]:
    """Search names of sessions, messages and texts of events, the newest first.

    A call of a tool is found once, however many events carry it, and what stands in the conversation as its message alone. A page may be
    short, or empty, and have a next one: what it looks at is bounded. `message_index` and `event_index` say where a hit stands.
    """
    return page(
        await crud.search_records(
            db,
            q,
            hit_type=hit_type,
            session_id=session_id,
            session_type=session_type,
            current_project=project,
            working_dir=working_dir,
            event_type=event_type,
            tool_name=tool_name,
            tool_output=tool_output,
            since=since,
            until=until,
            limit=limit,
            cursor=cursor,
        )
    )
