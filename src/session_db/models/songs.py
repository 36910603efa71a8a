"""Songs: ordered clips."""

from typing import Annotated

from sqlalchemy import Index
from sqlmodel import Field

from session_db.models.items import ItemCreate, ItemRead, ItemTable, ItemUpdate
from session_db.models.table import id_list
from session_db.models.values import KEPT, described_by, examples


class Song(ItemTable, table=True):
    """One song as it is now."""

    __tablename__ = "songs"
    __table_args__ = (
        Index(None, "project_id", "song_id"),
        Index(None, "clip_ids", postgresql_using="gin"),
        {"comment": "Songs: ordered clips."},
    )

    song_id: str = Field(primary_key=True, max_length=100, description="Name that others know it by.")
    clip_ids: list[str] = id_list("Its clips, in order.")


@described_by(Song)
class SongCreate(ItemCreate):
    """A song to make."""

    model_config = examples({"song_id": "intro", "project_id": "house", "name": "Intro", "clip_ids": ["kick"]})

    song_id: str = Field(min_length=1, max_length=100)
    clip_ids: list[str] = Field(default_factory=list)


@described_by(Song)
class SongUpdate(ItemUpdate):
    """A change of a song."""

    clip_ids: Annotated[list[str] | None, KEPT] = None


class SongRead(ItemRead):
    """A song as it is shown."""

    song_id: str
    clip_ids: list[str]
