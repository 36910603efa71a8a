"""Clips: pieces of code, with their versions."""

from datetime import datetime
from typing import Annotated, Any
from uuid import UUID

from sqlalchemy import Index
from sqlmodel import Field

from session_db.models.items import ItemCreate, ItemRead, ItemTable, ItemUpdate
from session_db.models.table import KeepsMetadata, Model, Text, metadata_field, moment
from session_db.models.values import KEPT, described_by, examples


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

    @property
    def code_bytes(self) -> int:
        """The size of its code."""
        return len(self.code.encode())


@described_by(Clip)
class ClipCreate(ItemCreate):
    """A clip to make."""

    model_config = examples(
        {"clip_id": "kick", "project_id": "house", "name": "Kick", "code": "sound('bd').gain(0.8)", "metadata": {"bpm": 120}}
    )

    clip_id: str = Field(min_length=1, max_length=100)
    code: str


@described_by(Clip)
class ClipUpdate(ItemUpdate):
    """A change of a clip; a new `code` keeps the old one as a version."""

    model_config = examples({"code": "sound('bd').gain(1.2)"})

    code: Annotated[str | None, KEPT] = None


class ClipRead(ItemRead):
    """A clip as it is shown."""

    clip_id: str
    code: str


class ClipVersionRead(Model):
    """A clip as it was; a list leaves its code out."""

    clip_id: str
    version: int = Field(description="Version of the clip that had this code.")
    code: str | None = None
    code_bytes: int = Field(description="Size of the code, also where it is left out.")
    metadata_: dict[str, Any] = Field(default_factory=dict, serialization_alias="metadata")
    session_id: UUID | None = Field(default=None, description="Session whose change replaced it.")
    message_index: int | None = Field(default=None, description="Message that asked for the change.")
    created_at: datetime = Field(description="When it was replaced or deleted.")


class ClipDiff(Model):
    """What changed in the code of a clip from one version to another."""

    clip_id: str
    from_version: int
    to_version: int
    diff: str = Field(description="Unified diff with three lines of context; empty where the code is the same.")
    is_line_by_line: bool = Field(description="False: too long for that, one hunk replaces all from the first difference to the last.")
