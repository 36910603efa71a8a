"""Clips and their versions."""

import difflib
import io
from collections.abc import Iterator
from typing import Any

from sqlalchemy import func, null, select
from sqlalchemy.ext.asyncio import AsyncSession
from sqlmodel import col

from session_db.crud.items import Items, Saved, changes_of, lock_links
from session_db.crud.paging import Page, checked_limit, decode_cursor, page_of
from session_db.crud.rows import add, all_of, one_or_none, run
from session_db.errors import Conflict, NotFound
from session_db.models import Clip, ClipCreate, ClipDiff, ClipUpdate, ClipVersion, ClipVersionRead, Song

CLIPS = Items(Clip, ClipCreate, "clip_id")

COMPARED_LINES = 2_000
"""Lines of two codes that are compared line by line: that takes time with their square."""

_CONTEXT = 3
_NO_END_OF_LINE = "\\ No newline at end of file\n"


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


async def delete_clip(db: AsyncSession, clip_id: str, *, expected_version: int | None = None) -> bool:
    """Delete a clip; return whether there was one. Its versions stay, and its last code becomes one of them.

    Raises:
        StaleVersion: the clip is not at the expected version any more.
        Conflict: songs use it; the error lists them.
    """
    await lock_links(db)
    clip = await CLIPS.lock(db, clip_id)
    if clip is None:
        return False
    CLIPS.check_version(clip, expected_version)
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


async def list_clip_versions(  # noqa: PLR0913  what to read, and the page
    db: AsyncSession,
    clip_id: str,
    *,
    before_version: int | None = None,
    whole: bool = False,
    limit: int = 50,
    cursor: str | None = None,
) -> Page[ClipVersionRead]:
    """Return the former versions of a clip, or those before ``before_version``, the newest first.

    Their code is left out: it is None, and ``code_bytes`` says how large it is. ``get_clip_version`` reads it, and with ``whole`` the list
    does; a page takes as much memory as its versions have then.
    """
    checked_limit(limit)
    names = ("clip_id", "version", "metadata_", "session_id", "message_index", "created_at")
    columns = [getattr(ClipVersion, name).label(name) for name in names]
    code = col(ClipVersion.code) if whole else null()
    query = select(*columns, code.label("code"), func.octet_length(col(ClipVersion.code)).label("code_bytes"))
    query = query.where(col(ClipVersion.clip_id) == clip_id)
    if before_version is not None:
        query = query.where(col(ClipVersion.version) < before_version)
    if cursor is not None:
        query = query.where(col(ClipVersion.version) < decode_cursor(cursor, int)[0])
    rows = (await run(db, query.order_by(col(ClipVersion.version).desc()).limit(limit + 1))).all()
    page = page_of(rows, limit, "version")
    return Page([ClipVersionRead.model_validate(row._asdict()) for row in page], page.next_cursor)


async def diff_clip_versions(db: AsyncSession, clip_id: str, from_version: int, to_version: int) -> ClipDiff | None:
    """Compare the code that a clip had at two versions, the present one included, or return None where there never was such a clip.

    A version that was not kept had the code of the next one that was, or else the code of the present clip: only its metadata, its name or
    its project changed.

    Raises:
        NotFound: the clip never had such a version; the error says which it had.
    """
    # Read before its versions: a change in between keeps the code that was read.
    clip = await get_clip(db, clip_id)
    versions = (from_version, to_version)
    codes = [await _code_at(db, clip_id, clip, version) for version in versions]
    unknown = [version for version, code in zip(versions, codes, strict=True) if code is None]
    if unknown:
        newest = clip.version if clip else await db.scalar(select(func.max(ClipVersion.version)).where(col(ClipVersion.clip_id) == clip_id))
        if newest is None:
            return None
        raise NotFound(f"clip {clip_id!r} has no version {unknown[0]}; use 1 to {newest}.", clip_id=clip_id, version=unknown[0])
    old, new = (code or "" for code in codes)
    # One that ends a line would end the line that names it.
    name = "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in clip_id)
    diff, is_line_by_line = unified_diff(old, new, *(f"{name}@{version}" for version in versions))
    return ClipDiff(clip_id=clip_id, from_version=from_version, to_version=to_version, diff=diff, is_line_by_line=is_line_by_line)


async def _code_at(db: AsyncSession, clip_id: str, clip: Clip | None, version: int) -> str | None:
    query = select(col(ClipVersion.code)).where(col(ClipVersion.clip_id) == clip_id, col(ClipVersion.version) >= version)
    kept: str | None = (await run(db, query.order_by(col(ClipVersion.version)).limit(1))).scalar_one_or_none()
    if version < 1:
        return None
    if kept is None and clip is not None and version <= clip.version:
        return clip.code
    return kept


def unified_diff(old: str, new: str, old_name: str, new_name: str) -> tuple[str, bool]:
    """Return the diff of two texts, and whether it was made line by line.

    Of texts with more than ``COMPARED_LINES`` lines together one hunk replaces all from the first difference to the last.
    """
    before, after = _lines(old), _lines(new)
    is_line_by_line = len(before) + len(after) <= COMPARED_LINES
    if is_line_by_line:
        lines = difflib.unified_diff(before, after, old_name, new_name, n=_CONTEXT)
    else:
        lines = _one_hunk(before, after, old_name, new_name) if old != new else iter(())
    return "".join(line if line.endswith("\n") else f"{line}\n{_NO_END_OF_LINE}" for line in lines), is_line_by_line


def _lines(code: str) -> list[str]:
    """Return lines as an editor and patch count them: what else ends a line for Python is a character of it."""
    return list(io.StringIO(code, newline="\n"))


def _one_hunk(before: list[str], after: list[str], old_name: str, new_name: str) -> Iterator[str]:
    start = _equal_lines(before, after)
    end = _equal_lines(before[start:][::-1], after[start:][::-1])
    first, last = max(start - _CONTEXT, 0), max(end - _CONTEXT, 0)
    counts = [len(lines) - first - last for lines in (before, after)]
    # A hunk without a line stands behind the line that its number names.
    begins = [first + 1 if count else first for count in counts]
    yield f"--- {old_name}\n"
    yield f"+++ {new_name}\n"
    yield f"@@ -{begins[0]},{counts[0]} +{begins[1]},{counts[1]} @@\n"
    yield from (f" {line}" for line in before[first:start])
    yield from (f"-{line}" for line in before[start : len(before) - end])
    yield from (f"+{line}" for line in after[start : len(after) - end])
    yield from (f" {line}" for line in before[len(before) - end : len(before) - last])


def _equal_lines(before: list[str], after: list[str]) -> int:
    """Return how many lines both begin with."""
    pairs = zip(before, after, strict=False)
    return next((number for number, (one, other) in enumerate(pairs) if one != other), min(len(before), len(after)))
