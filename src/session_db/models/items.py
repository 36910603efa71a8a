"""What clips, songs and playlists have in common."""

from datetime import datetime
from typing import Annotated, Any

from sqlmodel import Field

from session_db.models.table import Input, KeepsMetadata, Model, metadata_field, moment
from session_db.models.values import KEPT, Id, Int32


class ItemBase(Model):
    """Fields of every item that a caller may set and read."""

    project_id: str = Field(min_length=1, max_length=100, description="Project that it belongs to.")
    name: str = Field(min_length=1, max_length=200, description="Name to show.")


class ItemTable(ItemBase, KeepsMetadata):
    """Columns of every item."""

    metadata_: dict[str, Any] = metadata_field("Whatever the application keeps with the item (bpm, scale, tags, color).")
    version: int = Field(default=1, description="Raised by each change.", sa_column_kwargs={"server_default": "1"})
    created_at: datetime = moment("When it was made.")
    updated_at: datetime = moment("When it last changed.")


class ItemCreate(ItemBase, Input):
    """What every new item takes."""

    metadata_: dict[str, Any] = Field(default_factory=dict, alias="metadata")


class ItemUpdate(Input):
    """What may change on every item. Only what is set is applied."""

    project_id: Annotated[str | None, KEPT] = Field(default=None, min_length=1, max_length=100)
    name: Annotated[str | None, KEPT] = Field(default=None, min_length=1, max_length=200)
    metadata_: dict[str, Any] | None = Field(default=None, alias="metadata", description="Replaces the whole object; None empties it.")
    session_id: Id | None = Field(default=None, description="Session that made the change, kept with the version.")
    message_index: Int32 | None = Field(default=None, description="Message that asked for the change, kept with the version.")


class ItemRead(ItemBase):
    """What every item shows."""

    metadata_: dict[str, Any] = Field(default_factory=dict, serialization_alias="metadata")
    version: int
    created_at: datetime
    updated_at: datetime
