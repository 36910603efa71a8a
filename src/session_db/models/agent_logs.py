"""Events: what happened in a session, in the order it was recorded."""

from datetime import datetime
from typing import Annotated, Any, ClassVar, Literal
from uuid import UUID

from pydantic import PlainValidator, WithJsonSchema
from sqlalchemy import CheckConstraint, ForeignKeyConstraint, Index, UniqueConstraint, text
from sqlalchemy.orm import query_expression
from sqlmodel import Field

from session_db.ids import new_id
from session_db.models.outcomes import Outcome, outcome_of
from session_db.models.search import words_index
from session_db.models.table import BigInt, ForeignJSON, Input, Model, Text, UtcDateTime, flag, moment, now
from session_db.models.values import Id, Int32, Int64, Moment, described_by

EventCategory = Literal["hook", "response", "phase"]


def _any_text(value: Any) -> str:
    if not isinstance(value, str):
        raise ValueError(f"is a {type(value).__name__}; send a text, and other values in payload")  # noqa: TRY004  Pydantic collects these
    return value


AnyText = Annotated[str, PlainValidator(_any_text), WithJsonSchema({"type": "string"})]
"""Text with whatever is in it: Pydantic's own check refuses lone surrogates."""


class AgentLogBase(Model):
    """Fields that a caller may set and read."""

    session_id: Id = Field(description="Session that it happened in.")
    agent_id: Id | None = Field(default=None, description="Agent that did it; null: the session's own.")
    event_category: str = Field(max_length=20, description="hook, response or phase.")
    event_type: str = Field(max_length=200, description="PreToolUse, TextBlock, …")
    tool_name: str | None = Field(default=None, max_length=200, description="Tool, for events of tools.")
    tool_use_id: str | None = Field(
        default=None, max_length=255, description="The call that the event belongs to; one call, several events."
    )
    sdk_session_id: str | None = Field(default=None, max_length=255, description="The agent SDK's session id.")
    checkpoint_id: Int32 | None = Field(default=None, description="Checkpoint of the plan that was built.")
    duration_ms: Int64 | None = Field(default=None, sa_type=BigInt, description="How long it took, in milliseconds.")


class AgentLog(AgentLogBase, table=True):
    """`tool_output` and `content` are readable cuts of the payload, 16 kB at most; the payload is the sender's own."""

    __tablename__ = "agent_logs"
    __table_args__ = (
        ForeignKeyConstraint(["session_id"], ["sessions.id"], ondelete="CASCADE"),
        ForeignKeyConstraint(["session_id", "agent_id"], ["agents.session_id", "agents.id"], name="fk_agent_logs_agent"),
        UniqueConstraint("session_id", "event_index"),
        CheckConstraint("event_category IN ('hook', 'response', 'phase')", name="event_category"),
        Index(None, "session_id", "agent_id", "event_index"),
        Index(None, "session_id", "timestamp", "event_index"),
        Index(None, "session_id", "tool_use_id", postgresql_where=text("tool_use_id IS NOT NULL")),
        # For searches alone: of the plain column it would be read for a session's timeline as well, to where the session begins.
        Index("ix_agent_logs_timestamp", text("(timestamp AT TIME ZONE 'UTC')")),
        Index("ix_agent_logs_phases", "session_id", "event_index", postgresql_where=text("event_category = 'phase'")),
        words_index("ix_agent_logs_content_words", "content"),
        words_index("ix_agent_logs_tool_output_words", "tool_output"),
        {"comment": "Events of sessions."},
    )

    session_id: UUID = Field(primary_key=True, description="Session that it happened in.")
    id: UUID = Field(
        default_factory=new_id, primary_key=True, description="UUIDv7, or derived from what was captured: sent again it is the same."
    )
    event_index: int = Field(sa_type=BigInt, description="Order of recording in the session, from 0 without a gap.")
    tool_input: Any = Field(default=None, sa_type=ForeignJSON, nullable=True, description="Input of the tool, lossless.")
    payload: Any = Field(default=None, sa_type=ForeignJSON, nullable=True, description="Full event data, lossless.")
    tool_output: str | None = Field(default=None, sa_type=Text, description="Readable output of the tool, cut at 16 kB.")
    content: str | None = Field(default=None, sa_type=Text, description="Readable text of the event, cut at 16 kB.")
    truncated: bool = flag("Whether tool_output or content was cut.")
    timestamp: datetime = Field(default_factory=now, sa_type=UtcDateTime, description="When it happened, by the sender's clock.")
    recorded_at: datetime = moment("When it was stored.")

    # No columns: what reads events measures them.
    payload_bytes: ClassVar[Any] = query_expression()
    tool_input_bytes: ClassVar[Any] = query_expression()


@described_by(AgentLog)
class AgentLogCreate(AgentLogBase, Input):
    """An event to append."""

    lossless_fields: ClassVar[frozenset[str]] = frozenset({"tool_input", "payload", "tool_output", "content"})

    id: Id | None = Field(default=None, description="Key of the event in its session: sent again it changes nothing. Unset: a new one.")
    event_category: EventCategory
    tool_input: Any = None
    payload: Any = None
    tool_output: AnyText | None = None
    content: AnyText | None = Field(
        default=None, description="Readable text of the event, cut at 16 kB. Unset, and with no tool_output: the texts in tool_input."
    )
    timestamp: Moment | None = Field(default=None, description="Unset: now.")


class AgentLogRead(AgentLogBase):
    """An event as it is shown in lists: without its payload, and without a tool_input that a list leaves out for its size."""

    id: UUID
    event_index: int
    tool_input: Any = None
    tool_input_bytes: int | None = Field(default=None, description="Size of tool_input as JSON, also where it is left out.")
    payload_bytes: int | None = Field(default=None, description="Size of the payload as JSON.")
    tool_output: str | None = None
    content: str | None = None
    truncated: bool = False
    outcome: Outcome | None = Field(default=None, description="How its call ended, as far as this event tells.")
    timestamp: datetime
    recorded_at: datetime


class AgentLogWhole(AgentLogRead):
    """An event with all that its sender sent."""

    payload: Any = None


def event_json(log: AgentLog, *, whole: bool = False) -> dict[str, Any]:
    """Return an event as JSON, with its payload or without. What its sender wrote is left as it is: Pydantic refuses some keys of it."""
    fields = AgentLogRead.model_validate(log).model_dump(mode="json", exclude={"tool_input"})
    fields |= {"tool_input": log.tool_input, "outcome": outcome_of(log)}
    return fields | ({"payload": log.payload} if whole else {})
