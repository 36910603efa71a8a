"""Timelines: the events of a session as they are drawn, by the ten thousand."""

from datetime import datetime
from uuid import UUID

from sqlmodel import Field

from session_db.models.labels import LABEL
from session_db.models.outcomes import Outcome
from session_db.models.table import Model


class TimelineEvent(Model):
    """An event as a mark on a timeline. What it has not is left out."""

    event_index: int = Field(description="Order of recording; its key for the whole event.")
    agent_id: UUID | None = Field(default=None, description="Agent that did it.")
    event_category: str = Field(description="hook, response or phase.")
    event_type: str = Field(description="PreToolUse, TextBlock, …")
    tool_name: str | None = Field(default=None, description="Tool, for events of tools.")
    tool_use_id: str | None = Field(default=None, description="The call that it belongs to.")
    timestamp: datetime = Field(description="When it happened.")
    duration_ms: int | None = Field(default=None, description="How long it took, in milliseconds.")
    outcome: Outcome | None = Field(default=None, description="How its call ended, as far as this event tells.")
    label: str | None = Field(
        default=None, description=f"What it is about, in a line of at most {LABEL} characters.", schema_extra={"max_length": LABEL}
    )
