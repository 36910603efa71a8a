"""Clips and their versions."""

from typing import Any

from sqlalchemy import func, select
from sqlalchemy.ext.asyncio import AsyncSession
from sqlmodel import col

from session_db.crud.items import Items, Saved, changes_of, lock_links
from session_db.crud.paging import Page, checked_limit, decode_cursor, page_of
from session_db.crud.rows import add, all_of, one_or_none
from session_db.errors import Conflict
from session_db.models import Clip, ClipCreate, ClipUpdate, ClipVersion, Song

CLIPS = Items(Clip, ClipCreate, "clip_id")


async def create_clip(db: AsyncSession, clip_data: ClipCreate) -> Clip:
    """Create a clip; where one with its clip_id was deleted, its versions go on after those of the former.

    Raises:
        AlreadyExists: its clip_id is taken.
    """
    # Without the lock a deletion at the same moment could store a version that this one has not seen.
    await lock_links(db)
    former = await db.scalar(select(func.max(ClipVersion.version)).where(col(ClipVersion.clip_id) == clip_data.clip_id))
    return await CLIPS.create(db, clip_data, version=(former or 0) + 1)


async def get_clip(db: AsyncSession, clip_id: str) -> Clip | None:
    """Return the clip, or None where there is none."""
    return await CLIPS.get(db, clip_id)


async def list_clips(db: AsyncSession, project_id: str | None = None, *, limit: int = 50, cursor: str | None = None) -> Page[Clip]:
    """Return clips, all or a project's, in the order of their ids."""
    return await CLIPS.page(db, project_id, limit, cursor)


async def update_clip(db: AsyncSession, clip_id: str, clip_update: ClipUpdate, *, expected_version: int | None = None) -> Clip | None:
    """Apply what was set, and return the clip, or None where there is none. A change of the code keeps the old code as a version.

    Raises:
        StaleVersion: the clip is not at the expected version any more.
        InvalidInput: a required value is cleared.
    """
    clip = await CLIPS.lock(db, clip_id)
    if clip is None:
        return None
    CLIPS.check_version(clip, expected_version)
    former = _version_of(clip, session_id=clip_update.session_id, message_index=clip_update.message_index)
    await CLIPS.apply(db, clip, changes_of(clip_update))
    if clip.code != former.code:
        await _keep(db, former)
    return clip


async def save_clip(db: AsyncSession, clip_id: str, clip_update: ClipUpdate, *, expected_version: int | None = None) -> Saved[Clip]:
    """Apply what was set, or create the clip where there is none; say which. A change of the code keeps the old code as a version.

    Raises:
        StaleVersion: the clip is not at the expected version any more; 0 expects that there is none.
        NotFound: there is none to have the expected version.
        InvalidInput: a new clip lacks a value; the error lists them.
    """
    return await CLIPS.save(db, clip_id, clip_update, expected_version, create=create_clip, update=update_clip)


async def delete_clip(db: AsyncSession, clip_id: str) -> bool:
    """Delete a clip; return whether there was one. Its versions stay, and its last code becomes one of them.

    Raises:
        Conflict: songs use it; the error lists them.
    """
    await lock_links(db)
    clip = await CLIPS.lock(db, clip_id)
    if clip is None:
        return False
    users = select(col(Song.song_id)).where(col(Song.clip_ids).contains([clip_id])).order_by(col(Song.song_id)).limit(20)
    song_ids = await all_of(db, users)
    if song_ids:
        raise Conflict(
            f"clip {clip_id!r} is used by songs: {', '.join(song_ids)}; take it out of them first.", clip_id=clip_id, song_ids=song_ids
        )
    await _keep(db, _version_of(clip))
    await db.delete(clip)
    await db.flush()
    return True


def _version_of(clip: Clip, **more: Any) -> ClipVersion:
    """Return a clip as it is, for its versions."""
    return ClipVersion(clip_id=clip.clip_id, version=clip.version, code=clip.code, metadata_=dict(clip.metadata_), **more)


async def _keep(db: AsyncSession, former: ClipVersion) -> None:
    await add(db, former, clip_id=former.clip_id, version=former.version)


async def get_clip_version(db: AsyncSession, clip_id: str, version: int) -> ClipVersion | None:
    """Return a clip as it was at a version, or None where that one was not kept: it is the present one, or had the code of a later one."""
    query = select(ClipVersion).where(col(ClipVersion.clip_id) == clip_id, col(ClipVersion.version) == version)
    kept: ClipVersion | None = await one_or_none(db, query)
    return kept


async def restore_clip_version(
    db: AsyncSession, clip_id: str, version: int, clip_update: ClipUpdate | None = None, *, expected_version: int | None = None
) -> Saved[Clip] | None:
    """Give a clip the code and metadata that it had at a version, as a new version; None where that one was not kept.

    Args:
        db: the database session.
        clip_id: the clip; a deleted one comes back.
        version: one that ``list_clip_versions`` shows.
        clip_update: what else to set, and who asked for it. A clip that comes back needs project_id and name: versions do not hold them.
        expected_version: the version that the clip is at now.

    Raises:
        StaleVersion: the clip is not at the expected version any more; 0 expects that it was deleted.
        NotFound: it was deleted, so it is not at the expected version.
        InvalidInput: it was deleted, and project_id or name is not given.
    """
    kept = await get_clip_version(db, clip_id, version)
    if kept is None:
        return None
    more = clip_update.changes() if clip_update else {}
    restored = ClipUpdate.model_validate(more | {"code": kept.code, "metadata_": dict(kept.metadata_)})
    return await save_clip(db, clip_id, restored, expected_version=expected_version)


async def list_clip_versions(
    db: AsyncSession, clip_id: str, *, before_version: int | None = None, limit: int = 50, cursor: str | None = None
) -> Page[ClipVersion]:
    """Return the former versions of a clip, or those before ``before_version``, the newest first."""
    checked_limit(limit)
    query = select(ClipVersion).where(col(ClipVersion.clip_id) == clip_id)
    if before_version is not None:
        query = query.where(col(ClipVersion.version) < before_version)
    if cursor is not None:
        query = query.where(col(ClipVersion.version) < decode_cursor(cursor, int)[0])
    return page_of(await all_of(db, query.order_by(col(ClipVersion.version).desc()).limit(limit + 1)), limit, "version")
