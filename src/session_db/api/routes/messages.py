"""Messages: a page of the conversation, and append."""

from typing import Annotated, Any

from fastapi import APIRouter, Header, Query
from pydantic import BaseModel, Field, WithJsonSchema
from pydantic.config import JsonDict

from session_db import crud
from session_db.api.answers import PageOf
from session_db.api.bodies import MOST_AT_ONCE
from session_db.api.dependencies import Cursor, SessionId, needs, page_of_session
from session_db.api.errors import problems
from session_db.api.metrics import count_appended
from session_db.crud.paging import MAX_LIMIT
from session_db.database import DatabaseSession
from session_db.models.display import ELSEWHERE, MAX_CLIENT_ID, ROLES
from session_db.models.table import INT64, Input
from session_db.models.values import examples

router = APIRouter(prefix="/api/messages", tags=["messages"])

_OPTIONAL_OBJECT: JsonDict = {"anyOf": [{"type": "object"}, {"type": "null"}]}
_MESSAGE: JsonDict = {
    "type": "object",
    "required": ["role", "content"],
    "properties": {
        "role": {"enum": list(ROLES)},
        "content": {"type": "string"},
        "timestamp": {"anyOf": [{"type": "string", "format": "date-time"}, {"type": "null"}]},
        "client_id": {"anyOf": [{"type": "string", "minLength": 1, "maxLength": MAX_CLIENT_ID}, {"type": "null"}]},
        "context": _OPTIONAL_OBJECT,
        "code_changes": _OPTIONAL_OBJECT,
        **dict.fromkeys(ELSEWHERE, False),
    },
    "examples": [{"role": "user", "content": "Make the kick punchier", "timestamp": "2025-12-25T01:35:06Z"}],
}
"""What crud takes for a message; it looks at each, and its words are better than those of a schema."""


class DisplayMessage(BaseModel):
    """A message of the conversation; besides these it has what its sender put there (`context`, `code_changes`, …)."""

    model_config = {"extra": "allow"}

    message_index: int = Field(description="Its place in the session, from 0 without a gap.")
    role: str = Field(description="user, assistant or system.")
    content: str = Field(description="The text.")
    timestamp: str = Field(description="When it was said, as its sender wrote it (ISO 8601).")


class NewMessages(Input):
    """Messages to append, in one transaction."""

    model_config = examples({"messages": [{"role": "user", "content": "Make the kick punchier", "timestamp": "2025-12-25T01:35:06Z"}]})

    messages: list[Annotated[dict[str, Any], WithJsonSchema(_MESSAGE)]] = Field(
        min_length=1,
        max_length=MOST_AT_ONCE,
        description="Each `{role, content, timestamp}`, optionally `context`, `code_changes`, `client_id` and keys of your own.",
    )


class AppendedMessage(BaseModel):
    """Where a message stands."""

    message_index: int
    is_new: bool = Field(description="false: its `client_id` or the Idempotency-Key was known, and nothing changed.")


class AppendedMessages(BaseModel):
    """Where the messages stand, in the order they were sent."""

    messages: list[AppendedMessage]


@router.get("/{session_id}", response_model=PageOf[DisplayMessage], responses=problems(404), dependencies=[needs("read")])
async def list_messages(  # noqa: PLR0913, PLR0917  each is a parameter
    session_id: SessionId,
    db: DatabaseSession,
    page_size: Annotated[int, Query(ge=1, le=MAX_LIMIT, description="Messages a page.")] = 50,
    before_index: Annotated[int | None, Query(ge=-INT64, lt=INT64, description="Only those before this message_index.")] = None,
    after_index: Annotated[int | None, Query(ge=-INT64, lt=INT64, description="Only those after it, the first page first.")] = None,
    cursor: Cursor = None,
) -> dict[str, Any]:
    """Read messages in chronological order, the last page first.

    The next page is that before it: send `before_index` of the oldest message, or `cursor`.
    """
    messages = await crud.list_messages(db, session_id, before_index=before_index, after_index=after_index, limit=page_size, cursor=cursor)
    return await page_of_session(db, session_id, messages)


@router.post("/{session_id}", status_code=201, response_model=AppendedMessages, responses=problems(404, 409), dependencies=[needs("write")])
async def append_messages(
    session_id: SessionId,
    body: NewMessages,
    db: DatabaseSession,
    idempotency_key: Annotated[str | None, Header(max_length=200, description="Makes a retry safe: the same key changes nothing.")] = None,
) -> dict[str, Any]:
    """Append messages, all or none.

    A retry is safe with a `client_id` in each message, or with an `Idempotency-Key`, which gives them the ids `key:0`, `key:1`, …; the
    same key with another body is 409.
    """
    appended = await crud.save_display_messages(db, session_id, body.messages, idempotency_key=idempotency_key)
    count_appended("messages", appended)
    return {"messages": [message._asdict() for message in appended]}
