"""Playlists: ordered songs."""

from typing import Annotated

from sqlalchemy import Index
from sqlmodel import Field

from session_db.models.items import ItemCreate, ItemRead, ItemTable, ItemUpdate
from session_db.models.table import id_list
from session_db.models.values import KEPT, described_by, examples


class Playlist(ItemTable, table=True):
    """One playlist as it is now."""

    __tablename__ = "playlists"
    __table_args__ = (
        Index(None, "project_id", "playlist_id"),
        Index(None, "song_ids", postgresql_using="gin"),
        {"comment": "Playlists: ordered songs."},
    )

    playlist_id: str = Field(primary_key=True, max_length=100, description="Name that others know it by.")
    song_ids: list[str] = id_list("Its songs, in order.")


@described_by(Playlist)
class PlaylistCreate(ItemCreate):
    """A playlist to make."""

    model_config = examples({"playlist_id": "set", "project_id": "house", "name": "Set", "song_ids": ["intro"]})

    playlist_id: str = Field(min_length=1, max_length=100)
    song_ids: list[str] = Field(default_factory=list)


@described_by(Playlist)
class PlaylistUpdate(ItemUpdate):
    """A change of a playlist."""

    song_ids: Annotated[list[str] | None, KEPT] = None


class PlaylistRead(ItemRead):
    """A playlist as it is shown."""

    playlist_id: str
    song_ids: list[str]
