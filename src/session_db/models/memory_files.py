"""Memory files that a session has loaded."""

from datetime import datetime
from typing import Annotated
from uuid import UUID

from sqlalchemy import ForeignKeyConstraint, Index, Sequence, UniqueConstraint, text
from sqlmodel import Field

from session_db.models.table import BigInt, Input, Model, flag, moment
from session_db.models.values import KEPT, Id, described_by

MEMORY_FILE_IDS = Sequence("memory_files_id_seq", metadata=Model.metadata, data_type=BigInt)


class MemoryFileBase(Model):
    """Fields that a caller may set and read."""

    session_id: Id = Field(description="Session that uses it.")
    file_path: str = Field(min_length=1, max_length=500, description="Path of the file.")
    is_primary: bool = flag("Whether it is the session's main memory file.")
    loaded: bool = flag("Whether it is loaded now.", default=True)


class MemoryFile(MemoryFileBase, table=True):
    """One memory file of a session."""

    __tablename__ = "memory_files"
    __table_args__ = (
        ForeignKeyConstraint(["session_id"], ["sessions.id"], ondelete="CASCADE"),
        UniqueConstraint("session_id", "file_path"),
        Index("uq_memory_files_session_id_primary", "session_id", unique=True, postgresql_where=text("is_primary")),
        Index(None, "id"),
        {"comment": "Memory files of sessions."},
    )

    session_id: UUID = Field(primary_key=True, description="Session that uses it.")
    id: int | None = Field(
        None,
        primary_key=True,
        sa_type=BigInt,
        description="Number of the row.",
        sa_column_kwargs={"server_default": MEMORY_FILE_IDS.next_value(), "autoincrement": False},
    )
    created_at: datetime = moment("When the row was made.")
    updated_at: datetime = moment("When the row last changed.")


class MemoryFileCreate(MemoryFileBase, Input):
    """A memory file to add to a session."""


@described_by(MemoryFile)
class MemoryFileUpdate(Input):
    """What may change later. Only what is set is applied."""

    file_path: Annotated[str | None, KEPT] = Field(default=None, min_length=1, max_length=500)
    is_primary: Annotated[bool | None, KEPT] = None
    loaded: Annotated[bool | None, KEPT] = None


class MemoryFileRead(MemoryFileBase):
    """A memory file as it is shown."""

    id: int
    created_at: datetime
    updated_at: datetime
