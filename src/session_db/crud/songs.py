"""Songs: ordered clips."""

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession
from sqlmodel import col

from session_db.crud.items import Items, Saved, changes_of, lock_links, missing_from
from session_db.crud.paging import Page
from session_db.crud.rows import all_of, one_of
from session_db.errors import Conflict, InvalidInput
from session_db.models import Clip, Playlist, Song, SongCreate, SongUpdate

SONGS = Items(Song, SongCreate, "song_id")


async def create_song(db: AsyncSession, song_data: SongCreate) -> Song:
    """Create a song. It begins at version 1, also where one with its song_id was deleted.

    Raises:
        AlreadyExists: its song_id is taken.
        InvalidInput: it names clips that do not exist; the error lists them.
    """
    await lock_links(db)
    await _refuse_unknown_clips(db, song_data.clip_ids)
    return await SONGS.create(db, song_data)


async def get_song(db: AsyncSession, song_id: str) -> Song | None:
    """Return the song, or None where there is none."""
    return await SONGS.get(db, song_id)


async def list_songs(db: AsyncSession, project_id: str | None = None, *, limit: int = 50, cursor: str | None = None) -> Page[Song]:
    """Return songs, all or a project's, in the order of their ids."""
    return await SONGS.page(db, project_id, limit, cursor)


async def update_song(db: AsyncSession, song_id: str, song_update: SongUpdate, *, expected_version: int | None = None) -> Song | None:
    """Apply what was set, and return the song, or None where there is none.

    Raises:
        StaleVersion: the song is not at the expected version any more.
        InvalidInput: it names clips that do not exist, or a required value is cleared.
    """
    await lock_links(db)
    song = await SONGS.lock(db, song_id)
    if song is None:
        return None
    SONGS.check_version(song, expected_version)
    changes = changes_of(song_update)
    await _refuse_unknown_clips(db, changes.get("clip_ids") or [])
    await SONGS.apply(db, song, changes)
    return song


async def save_song(db: AsyncSession, song_id: str, song_update: SongUpdate, *, expected_version: int | None = None) -> Saved[Song]:
    """Apply what was set, or create the song where there is none; say which.

    Raises:
        StaleVersion: the song is not at the expected version any more; 0 expects that there is none.
        NotFound: there is none to have the expected version.
        InvalidInput: it names clips that do not exist, or a new one lacks a value; the error lists them.
    """
    return await SONGS.save(db, song_id, song_update, expected_version, create=create_song, update=update_song)


async def delete_song(db: AsyncSession, song_id: str, *, expected_version: int | None = None) -> bool:
    """Delete a song; return whether there was one.

    Raises:
        StaleVersion: the song is not at the expected version any more.
        Conflict: playlists use it; the error lists them.
    """
    await lock_links(db)
    song = await SONGS.lock(db, song_id)
    if song is None:
        return False
    SONGS.check_version(song, expected_version)
    users = select(col(Playlist.playlist_id)).where(col(Playlist.song_ids).contains([song_id]))
    playlist_ids = await all_of(db, users.order_by(col(Playlist.playlist_id)).limit(20))
    if playlist_ids:
        raise Conflict(
            f"song {song_id!r} is used by playlists: {', '.join(playlist_ids)}; take it out of them first.",
            song_id=song_id,
            playlist_ids=playlist_ids,
        )
    await db.delete(song)
    await db.flush()
    return True


async def _refuse_unknown_clips(db: AsyncSession, clip_ids: list[str]) -> None:
    known = await all_of(db, select(col(Clip.clip_id)).where(col(Clip.clip_id) == one_of(clip_ids)))
    missing = missing_from(clip_ids, set(known))
    if missing:
        problem = f"clip_ids: there is no clip {', '.join(missing)}; create it first, or leave it out."
        raise InvalidInput(problem, path="clip_ids", clip_ids=missing)
