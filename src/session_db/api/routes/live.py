"""Live: what happens in a session and in the list of all, as server-sent events; and a chat over a WebSocket."""

from typing import Annotated, Any
from uuid import UUID

from fastapi import APIRouter, Header, Query, Request

from session_db.api.dependencies import SessionId, needs
from session_db.api.errors import problems
from session_db.api.gate import still_works
from session_db.api.streams import EventStream, Position, list_frames, position_of, session_frames
from session_db.database import DatabaseSession
from session_db.errors import NotFound
from session_db.live import Head
from session_db.live.heads import read_heads
from session_db.models import Token

router = APIRouter(tags=["live"])

_FRAME = {
    "type": "object",
    "required": ["event", "data"],
    "properties": {
        "event": {"enum": ["event", "message", "session", "deleted", "moved", "lagged"]},
        "data": {"type": "string", "contentMediaType": "application/json"},
        "id": {"type": "string", "pattern": r"^[0-9]+\.[0-9]+$", "description": "Where to go on: the next event_index and message_index."},
    },
}
_FRAMES: dict[int | str, dict[str, Any]] = {
    200: {"content": {"text/event-stream": {"schema": _FRAME}}, "description": "Frames, one by one."}
}

_PLACE = "Begin after this id of a frame, `EVENTS.MESSAGES`, or at `latest`; unset: at the start."
After = Annotated[str | None, Query(max_length=50, description=_PLACE, examples=["12.3"])]
LastEventId = Annotated[
    str | None, Header(max_length=50, description="As `after`, and before it: a browser sends it when it connects again.")
]
Wait = Annotated[bool, Query(description="false (0): answer what there is, and close.")]


async def beginning(session_id: UUID, after: str | None, db: Any) -> tuple[Head, Position]:
    """Return where a reader begins.

    Raises:
        NotFound: there is no such session, and none that it moved into.
        InvalidInput: the position is none of the session's.
    """
    head = (await read_heads(db, [session_id]))[session_id]
    if head.session is not None:
        return head, position_of(after, head.session)
    if head.moved_to is None:
        raise NotFound(f"there is no session {session_id}.", session_id=session_id)
    return head, Position()


@router.get(
    "/api/sessions/{session_id}/events",
    status_code=200,
    response_class=EventStream,
    responses=problems(404) | _FRAMES,
    dependencies=[needs("read")],
)
async def follow_session(  # noqa: PLR0913, PLR0917  each is a parameter
    session_id: SessionId,
    request: Request,
    db: DatabaseSession,
    after: After = None,
    last_event_id: LastEventId = None,
    wait: Wait = True,  # noqa: FBT002  a parameter of the URL
) -> EventStream:
    """Follow a session: events and messages in their order, each once, and its state when it changes.

    Frames: `session` (its state), `event`, `message`, `deleted` and `moved` (to `moved_to`), which end the stream, and `lagged` (the reader
    was too slow; connect again). The `id` of a frame is where to go on.
    """
    head, position = await beginning(session_id, last_event_id or after, db)
    return EventStream(session_frames(head, position, wait=wait), _may_stay(request))


@router.get("/api/events", status_code=200, response_class=EventStream, responses=_FRAMES, dependencies=[needs("read")])
async def follow_all(request: Request, wait: Wait = True) -> EventStream:  # noqa: FBT002  a parameter of the URL
    """Follow the list of sessions: which one changed, and how it stands now.

    Frames: `session`, `deleted`, `moved` and `lagged`, which comes first, and says: what changed before is not told, so list the sessions.
    """
    return EventStream(list_frames(wait=wait), _may_stay(request))


def _may_stay(request: Request) -> Any:
    token: Token = request.scope["state"]["token"]
    return lambda: still_works(token)
