"""Which session an agent SDK's session belongs to; bound once."""

from datetime import datetime
from uuid import UUID

from sqlalchemy import CheckConstraint, Index, text
from sqlmodel import Field

from session_db.models.table import Model, Text, moment, optional_moment


class SDKSession(Model, table=True):
    """A binding, or with `session_id` null the tombstone of a deleted session."""

    __tablename__ = "sdk_sessions"
    __table_args__ = (
        CheckConstraint("bound_by IN ('auto', 'environment', 'recorder', 'agent')", name="bound_by"),
        Index(None, "session_id"),
        Index(None, "moved_from", postgresql_where=text("moved_from IS NOT NULL")),
        {"comment": "Sessions that SDK sessions belong to."},
    )

    sdk_key: str = Field(primary_key=True, sa_type=Text, description="The SDK's session id; behind its project where that is no UUID.")
    session_id: UUID | None = Field(default=None, description="Session; null: it was deleted.")
    agent_id: UUID | None = Field(default=None, description="Agent that runs it.")
    bound_by: str = Field(default="auto", max_length=20, description="auto, environment, recorder or agent.")
    moved_from: UUID | None = Field(
        default=None, description="Session that was made for it and moved into this one: followers of that go on here."
    )
    deleted_at: datetime | None = optional_moment("When its session was deleted.")
    created_at: datetime = moment("When it was bound.")
