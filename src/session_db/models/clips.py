"""Clips: pieces of code, with their versions."""

from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import Index
from sqlmodel import Field

from session_db.models.items import ItemCreate, ItemRead, ItemTable, ItemUpdate
from session_db.models.table import KeepsMetadata, Text, metadata_field, moment


class Clip(ItemTable, table=True):
    """One clip as it is now."""

    __tablename__ = "clips"
    __table_args__ = (Index(None, "project_id", "clip_id"), {"comment": "Clips: pieces of code."})

    clip_id: str = Field(primary_key=True, max_length=100, description="Name that songs know it by.")
    code: str = Field(sa_type=Text, description="The code.")


class ClipVersion(KeepsMetadata, table=True):
    """A clip as it was: the code and metadata that a later change replaced, or that it had when it was deleted."""

    __tablename__ = "clip_versions"
    __table_args__ = ({"comment": "Former code of clips."},)

    clip_id: str = Field(primary_key=True, max_length=100, description="Clip; it may be gone.")
    version: int = Field(primary_key=True, description="Version of the clip that had this code.", sa_column_kwargs={"autoincrement": False})
    code: str = Field(sa_type=Text, description="The code.")
    metadata_: dict[str, Any] = metadata_field("Metadata at that version.")
    session_id: UUID | None = Field(default=None, description="Session whose change replaced it.")
    message_index: int | None = Field(default=None, description="Message that asked for the change.")
    created_at: datetime = moment("When it was replaced or deleted.")


class ClipCreate(ItemCreate):
    """A clip to make."""

    clip_id: str = Field(min_length=1, max_length=100)
    code: str


class ClipUpdate(ItemUpdate):
    """A change of a clip; a new `code` keeps the old one as a version."""

    code: str | None = None


class ClipRead(ItemRead):
    """A clip as it is shown."""

    clip_id: str
    code: str
