"""Playlists: ordered songs."""

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession
from sqlmodel import col

from session_db.crud.items import Items, Saved, changes_of, lock_links, missing_from
from session_db.crud.paging import Page
from session_db.crud.rows import all_of, one_of
from session_db.errors import InvalidInput
from session_db.models import Playlist, PlaylistCreate, PlaylistUpdate, Song

PLAYLISTS = Items(Playlist, PlaylistCreate, "playlist_id")


async def create_playlist(db: AsyncSession, playlist_data: PlaylistCreate) -> Playlist:
    """Create a playlist. It begins at version 1, also where one with its playlist_id was deleted.

    Raises:
        AlreadyExists: its playlist_id is taken.
        InvalidInput: it names songs that do not exist; the error lists them.
    """
    await lock_links(db)
    await _refuse_unknown_songs(db, playlist_data.song_ids)
    return await PLAYLISTS.create(db, playlist_data)


async def get_playlist(db: AsyncSession, playlist_id: str) -> Playlist | None:
    """Return the playlist, or None where there is none."""
    return await PLAYLISTS.get(db, playlist_id)


async def list_playlists(db: AsyncSession, project_id: str | None = None, *, limit: int = 50, cursor: str | None = None) -> Page[Playlist]:
    """Return playlists, all or a project's, in the order of their ids."""
    return await PLAYLISTS.page(db, project_id, limit, cursor)


async def update_playlist(
    db: AsyncSession, playlist_id: str, playlist_update: PlaylistUpdate, *, expected_version: int | None = None
) -> Playlist | None:
    """Apply what was set, and return the playlist, or None where there is none.

    Raises:
        StaleVersion: the playlist is not at the expected version any more.
        InvalidInput: it names songs that do not exist, or a required value is cleared.
    """
    await lock_links(db)
    playlist = await PLAYLISTS.lock(db, playlist_id)
    if playlist is None:
        return None
    PLAYLISTS.check_version(playlist, expected_version)
    changes = changes_of(playlist_update)
    await _refuse_unknown_songs(db, changes.get("song_ids") or [])
    await PLAYLISTS.apply(db, playlist, changes)
    return playlist


async def save_playlist(
    db: AsyncSession, playlist_id: str, playlist_update: PlaylistUpdate, *, expected_version: int | None = None
) -> Saved[Playlist]:
    """Apply what was set, or create the playlist where there is none; say which.

    Raises:
        StaleVersion: the playlist is not at the expected version any more; 0 expects that there is none.
        NotFound: there is none to have the expected version.
        InvalidInput: it names songs that do not exist, or a new one lacks a value; the error lists them.
    """
    return await PLAYLISTS.save(db, playlist_id, playlist_update, expected_version, create=create_playlist, update=update_playlist)


async def delete_playlist(db: AsyncSession, playlist_id: str, *, expected_version: int | None = None) -> bool:
    """Delete a playlist; return whether there was one.

    Raises:
        StaleVersion: the playlist is not at the expected version any more.
    """
    playlist = await PLAYLISTS.lock(db, playlist_id)
    if playlist is None:
        return False
    PLAYLISTS.check_version(playlist, expected_version)
    await db.delete(playlist)
    await db.flush()
    return True


async def _refuse_unknown_songs(db: AsyncSession, song_ids: list[str]) -> None:
    known = await all_of(db, select(col(Song.song_id)).where(col(Song.song_id) == one_of(song_ids)))
    missing = missing_from(song_ids, set(known))
    if missing:
        problem = f"song_ids: there is no song {', '.join(missing)}; create it first, or leave it out."
        raise InvalidInput(problem, path="song_ids", song_ids=missing)
