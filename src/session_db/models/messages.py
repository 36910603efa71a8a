"""Display messages: the conversation as people read it."""

from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import ForeignKeyConstraint, Index, Sequence, text
from sqlmodel import Field

from session_db.models.search import words_index
from session_db.models.table import BigInt, Input, Model, OwnJSON, moment
from session_db.models.values import Id, Int64

MESSAGE_IDS = Sequence("messages_id_seq", metadata=Model.metadata, data_type=BigInt)


class MessageBase(Model):
    """Fields that a caller may set and read."""

    session_id: Id = Field(description="Session that it belongs to.")
    message_index: Int64 = Field(description="Order in the session, from 0 without a gap.")
    message_data: dict[str, Any] = Field(description="role, content, timestamp; optionally context and code_changes.")


class Message(MessageBase, table=True):
    """One display message."""

    __tablename__ = "messages"
    __table_args__ = (
        ForeignKeyConstraint(["session_id"], ["sessions.id"], ondelete="CASCADE"),
        Index("uq_messages_session_id_client_id", "session_id", "client_id", unique=True, postgresql_where=text("client_id IS NOT NULL")),
        Index(None, "said_at"),
        Index(None, "session_id", "said_at"),
        words_index("ix_messages_words", "message"),
        {"comment": "Display messages of sessions."},
    )

    session_id: UUID = Field(primary_key=True, description="Session that it belongs to.")
    message_index: int = Field(
        primary_key=True,
        sa_type=BigInt,
        description="Order in the session, from 0 without a gap.",
        sa_column_kwargs={"autoincrement": False},
    )
    id: int | None = Field(
        None,
        sa_type=BigInt,
        nullable=False,
        description="Number of the row; no order to rely on.",
        sa_column_kwargs={"server_default": MESSAGE_IDS.next_value()},
    )
    message_data: dict[str, Any] = Field(
        sa_type=OwnJSON, nullable=False, description="role, content, timestamp; optionally context and code_changes."
    )
    client_id: str | None = Field(
        default=None, max_length=255, description="The sender's key of the message: sent again it changes nothing."
    )
    said_at: datetime = moment("When it was said: its timestamp.")
    created_at: datetime = moment("When it was stored.")


class MessageCreate(MessageBase, Input):
    """A message with its place, as the seed has it; `save_display_messages` finds the place by itself."""


class MessageRead(MessageBase):
    """A message as it is shown."""

    id: int
    client_id: str | None = None
    created_at: datetime
