"""Events: list, append, and one with its payload."""

from typing import Annotated, Any, ClassVar, Literal
from uuid import UUID

from fastapi import APIRouter, Path, Query, Response
from pydantic import BaseModel, Field

from session_db import crud
from session_db.api.answers import JSONAnswer, PageOf, WithOwnText
from session_db.api.bodies import MOST_AT_ONCE, EventBody
from session_db.api.dependencies import Cursor, Limit, SessionId, found, in_session, needs, page_of_session
from session_db.api.errors import problems
from session_db.api.metrics import count_appended
from session_db.api.own_text import OwnTextRoute
from session_db.database import DatabaseSession
from session_db.models import AgentLogRead, AgentLogWhole
from session_db.models.agent_logs import EventCategory, event_json
from session_db.models.table import INT64, Input
from session_db.models.values import examples

router = APIRouter(prefix="/api/events", tags=["events"], route_class=OwnTextRoute)


EventKey = Annotated[UUID | Annotated[int, Field(ge=0, lt=INT64)], Path(description="Its id, or its event_index.")]


class NewEvents(Input):
    """Events to append, in one transaction. `payload` and `tool_input` are kept as they are written here, to the letter."""

    model_config = examples(
        {
            "events": [
                {
                    "id": "018f2b1e-6c3a-7d51-9b1e-0242ac120002",
                    "event_category": "hook",
                    "event_type": "PreToolUse",
                    "tool_name": "Bash",
                    "tool_use_id": "toolu_01",
                    "tool_input": {"command": "make test"},
                }
            ]
        }
    )

    # Each event has been looked at by itself.
    lossless_fields: ClassVar[frozenset[str]] = frozenset({"events"})

    events: list[EventBody] = Field(
        min_length=1, max_length=MOST_AT_ONCE, description="With an `id` of its own a retry is safe: one that is known changes nothing."
    )


class AppendedEvent(BaseModel):
    """Where an event stands."""

    id: UUID
    event_index: int
    is_new: bool = Field(description="false: its id was known, and nothing changed.")


class AppendedEvents(BaseModel):
    """Where the events stand, in the order they were sent."""

    events: list[AppendedEvent]


@router.get("/{session_id}", response_model=PageOf[AgentLogRead], responses=problems(404), dependencies=[needs("read")])
async def list_events(  # noqa: PLR0913, PLR0917  each filter is a parameter
    session_id: SessionId,
    db: DatabaseSession,
    agent_id: Annotated[UUID | None, Query(description="Only this agent's.")] = None,
    category: Annotated[EventCategory | None, Query(description="Only hook, response or phase.")] = None,
    event_type: Annotated[str | None, Query(alias="type", max_length=200, description="Only of this type.")] = None,
    tool_name: Annotated[str | None, Query(max_length=200, description="Only of this tool.")] = None,
    tool_use_id: Annotated[str | None, Query(max_length=255, description="Only of this call.")] = None,
    after_index: Annotated[int | None, Query(ge=-INT64, lt=INT64, description="Only those after this event_index.")] = None,
    order: Annotated[Literal["recorded", "happened"], Query(description="By event_index, or by timestamp.")] = "recorded",
    limit: Limit = 50,
    cursor: Cursor = None,
) -> Response:
    """List events. One with a `tool_input` of more than 16 kB shows its size alone; its own route has all of it."""
    events = await crud.list_agent_logs(
        db,
        session_id,
        agent_id=agent_id,
        event_category=category,
        event_type=event_type,
        tool_name=tool_name,
        tool_use_id=tool_use_id,
        after_index=after_index,
        order=order,
        limit=limit,
        cursor=cursor,
    )
    return JSONAnswer(await page_of_session(db, session_id, events) | {"items": [event_json(event) for event in events]})


@router.post("/{session_id}", status_code=201, response_model=AppendedEvents, responses=problems(404), dependencies=[needs("hooks")])
async def append_events(session_id: SessionId, body: NewEvents, db: DatabaseSession) -> dict[str, Any]:
    """Append events, all or none, each after what the session has."""
    events = [in_session(event, session_id, f"events[{number}].session_id") for number, event in enumerate(body.events)]
    appended = await crud.append_agent_logs(db, events)
    count_appended("events", appended)
    return {"events": [event._asdict() for event in appended]}


@router.get("/{session_id}/{event}", response_model=AgentLogWhole, responses=problems(404), dependencies=[needs("read")])
async def get_event(session_id: SessionId, event: EventKey, db: DatabaseSession) -> Response:
    """Read an event with its whole payload; that and `tool_input` are as their sender wrote them, to the letter."""
    log = found(await crud.get_agent_log(db, session_id, event, verbatim=True), "event", event)
    return WithOwnText(event_json(log, whole=True))
