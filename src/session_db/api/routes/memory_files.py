"""Memory files of a session."""

from typing import Annotated, Any

from fastapi import APIRouter, Path, Response

from session_db import crud
from session_db.api.answers import PageOf
from session_db.api.bodies import MemoryFileBody
from session_db.api.dependencies import Cursor, Limit, SessionId, found, in_session, needs, page_of_session
from session_db.api.errors import problems
from session_db.database import DatabaseSession
from session_db.models import MemoryFile, MemoryFileRead, MemoryFileUpdate
from session_db.models.table import INT64

router = APIRouter(prefix="/api/sessions/{session_id}/memory-files", tags=["memory files"])

FileId = Annotated[int, Path(ge=1, lt=INT64, description="The memory file.")]


@router.get("", response_model=PageOf[MemoryFileRead], responses=problems(404), dependencies=[needs("read")])
async def list_memory_files(session_id: SessionId, db: DatabaseSession, limit: Limit = 50, cursor: Cursor = None) -> dict[str, Any]:
    """List the memory files of a session, the first added first."""
    return await page_of_session(db, session_id, await crud.get_session_memory_files(db, session_id, limit=limit, cursor=cursor))


@router.post("", status_code=201, response_model=MemoryFileRead, responses=problems(404, 409), dependencies=[needs("write")])
async def create_memory_file(session_id: SessionId, body: MemoryFileBody, db: DatabaseSession, response: Response) -> MemoryFile:
    """Add a memory file; a primary one takes the flag from the one that had it."""
    memory_file = await crud.create_memory_file(db, in_session(body, session_id))
    response.headers["Location"] = f"/api/sessions/{session_id}/memory-files/{memory_file.id}"
    return memory_file


@router.get("/{file_id}", response_model=MemoryFileRead, responses=problems(404), dependencies=[needs("read")])
async def get_memory_file(session_id: SessionId, file_id: FileId, db: DatabaseSession) -> MemoryFile:
    """Read a memory file's row."""
    return found(await crud.get_memory_file(db, session_id, file_id), "memory file", file_id)


@router.patch("/{file_id}", response_model=MemoryFileRead, responses=problems(404, 409), dependencies=[needs("write")])
async def update_memory_file(session_id: SessionId, file_id: FileId, body: MemoryFileUpdate, db: DatabaseSession) -> MemoryFile:
    """Change what is sent. A new primary file takes the flag from the old one."""
    return found(await crud.update_memory_file(db, file_id, body, session_id=session_id), "memory file", file_id)


@router.delete("/{file_id}", status_code=204, responses=problems(404), dependencies=[needs("write")])
async def delete_memory_file(session_id: SessionId, file_id: FileId, db: DatabaseSession) -> None:
    """Take a memory file out of its session; the file itself stays."""
    found(await crud.delete_memory_file(db, file_id, session_id=session_id) or None, "memory file", file_id)
