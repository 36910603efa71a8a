"""Clips, and their versions: list, read, compare, restore."""

from typing import Annotated, Any

from fastapi import Path, Query, Response

from session_db import crud
from session_db.api.answers import PageOf, page
from session_db.api.dependencies import Cursor, Limit, found, needs
from session_db.api.errors import problems
from session_db.api.routes.items import ExpectedVersion, ItemId, Kind, router_of, tag
from session_db.database import DatabaseSession
from session_db.models import ClipCreate, ClipDiff, ClipRead, ClipUpdate, ClipVersion, ClipVersionRead
from session_db.models.table import INT32

router = router_of(
    Kind(
        noun="clip",
        read=ClipRead,
        creation=ClipCreate,
        update=ClipUpdate,
        create=crud.create_clip,
        get=crud.get_clip,
        page=crud.list_clips,
        change=crud.update_clip,
        delete=crud.delete_clip,
    )
)

Version = Annotated[int, Path(ge=1, lt=INT32, description="A version of the clip.")]


@router.get("/{clip_id}/versions", response_model=PageOf[ClipVersionRead], dependencies=[needs("read")])
async def list_clip_versions(clip_id: ItemId, db: DatabaseSession, limit: Limit = 50, cursor: Cursor = None) -> dict[str, Any]:
    """List the former versions of a clip, the newest first, also of one that was deleted. Code of more than 16 kB shows its size alone."""
    return page(await crud.list_clip_versions(db, clip_id, limit=limit, cursor=cursor))


@router.get("/{clip_id}/versions/{version}", response_model=ClipVersionRead, responses=problems(404), dependencies=[needs("read")])
async def get_clip_version(clip_id: ItemId, version: Version, db: DatabaseSession) -> ClipVersion:
    """Read a former version of a clip; the present one is the clip itself."""
    return found(await crud.get_clip_version(db, clip_id, version), f"former version of clip {clip_id}:", version)


@router.get("/{clip_id}/diff", response_model=ClipDiff, responses=problems(404), dependencies=[needs("read")])
async def diff_clip_versions(
    clip_id: ItemId,
    db: DatabaseSession,
    from_version: Annotated[int, Query(alias="from", ge=1, lt=INT32, description="The older version.")],
    to_version: Annotated[int, Query(alias="to", ge=1, lt=INT32, description="The newer version.")],
) -> ClipDiff:
    """Compare the code that a clip had at two versions, the present one included."""
    return found(await crud.diff_clip_versions(db, clip_id, from_version, to_version), "clip", clip_id)


@router.post("/{clip_id}/versions/{version}/restore", response_model=ClipRead, responses=problems(404, 412), dependencies=[needs("write")])
async def restore_clip_version(  # noqa: PLR0913, PLR0917  each is a parameter
    clip_id: ItemId, version: Version, db: DatabaseSession, response: Response, expected: ExpectedVersion, body: ClipUpdate | None = None
) -> Any:
    """Give a clip the code and metadata of a former version, as a new version. One that was deleted needs `project_id` and `name`."""
    saved = await crud.restore_clip_version(db, clip_id, version, body, expected_version=expected)
    return tag(response, found(saved, f"former version of clip {clip_id}:", version).item)
