"""Presence: chat clients that are connected now."""

from datetime import datetime
from uuid import UUID

from sqlalchemy import Index
from sqlmodel import Field

from session_db.ids import new_id
from session_db.models.table import Model, UtcDateTime


class Presence(Model, table=True):
    """A lease: the worker that holds the connection renews it, and a worker that was killed lets it end."""

    __tablename__ = "presence"
    __table_args__ = (
        Index(None, "session_id"),
        Index(None, "expires_at"),
        {"comment": "Connected chat clients."},
    )

    connection_id: UUID = Field(default_factory=new_id, primary_key=True, description="One connection of a client.")
    session_id: UUID = Field(description="Session that it follows.")
    worker: str = Field(max_length=255, description="Host and process that hold the connection.")
    expires_at: datetime = Field(sa_type=UtcDateTime, description="When it counts as gone unless it is renewed.")
