"""Artifacts: the files in the folder of a session, read-only."""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from typing import Annotated, Any

from fastapi import APIRouter, HTTPException, Path, Response

from session_db.api.answers import PageOf, page
from session_db.api.dependencies import Cursor, Limit, SessionId, found, needs
from session_db.api.errors import problems
from session_db.crud.workspaces import Place, get_place
from session_db.database import DatabaseSession, UnitOfWork
from session_db.errors import NotFound
from session_db.workspace.artifacts import Artifact, TooLarge, read_artifact
from session_db.workspace.artifacts import list_artifacts as list_files

router = APIRouter(prefix="/api/sessions/{session_id}/artifacts", tags=["artifacts"])

_HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "Content-Security-Policy": "default-src 'none'; sandbox",
    "Cache-Control": "no-store",
}
_FILE: dict[int | str, dict[str, Any]] = {
    200: {
        "content": {name: {"schema": {"type": "string"}} for name in ("text/plain", "application/octet-stream")},
        "description": "The file, byte for byte: text/plain where it is UTF-8 without NUL, whatever its name.",
    }
}


@router.get("", response_model=PageOf[Artifact], responses=problems(404), dependencies=[needs("read")])
async def list_artifacts(session_id: SessionId, db: DatabaseSession, limit: Limit = 50, cursor: Cursor = None) -> dict[str, Any]:
    """List the files in the folder of a session, by their paths. Only below `SESSION_DB_WORKSPACE_ROOTS`; symbolic links are left out."""
    place = await _place(db, session_id)
    with _refused_by_system():
        return page(await asyncio.to_thread(partial(list_files, place, limit=limit, cursor=cursor)))


@router.get("/{path:path}", response_class=Response, responses=problems(404, 413) | _FILE, dependencies=[needs("read")])
async def get_artifact(
    session_id: SessionId, path: Annotated[str, Path(description="As the list of artifacts has it.")], db: DatabaseSession
) -> Response:
    """Read a file in the folder of a session, up to 16 MiB. No symbolic link is followed."""
    place = await _place(db, session_id)
    try:
        with _refused_by_system():
            content = await asyncio.to_thread(read_artifact, place, path)
    except TooLarge as error:
        raise HTTPException(413, error.message) from error
    return Response(content, media_type=_media_type(content), headers=_HEADERS)


@contextmanager
def _refused_by_system() -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise NotFound(f"the service cannot read that: {error.strerror}.") from error


async def _place(db: UnitOfWork, session_id: Any) -> Place:
    return found(await get_place(db, session_id), "folder of session", session_id)


def _media_type(content: bytes) -> str:
    """Never what a browser would run: the name of a file is anybody's choice."""
    try:
        is_text = b"\0" not in content and content.decode() is not None
    except UnicodeDecodeError:
        is_text = False
    return "text/plain; charset=utf-8" if is_text else "application/octet-stream"
