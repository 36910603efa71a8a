"""Resuming: how to go on with a recorded session."""

from typing import Annotated

from fastapi import APIRouter, Query
from pydantic import BaseModel, Field

from session_db import crud
from session_db.api.dependencies import SessionId, found, needs
from session_db.api.errors import problems
from session_db.capture.resuming import find_one, resumption_in
from session_db.database import DatabaseSession
from session_db.errors import InvalidInput

router = APIRouter(tags=["sessions"])


class ResumeRead(BaseModel):
    """How to go on with a session in Claude Code, where its files are."""

    sdk_session_id: str = Field(description="What the client calls it.")
    directory: str = Field(description="Where it worked.")
    command: list[str] = Field(description="The command, to be run there.")
    shell: str = Field(description="The same, as it is typed.")


@router.get("/api/sessions/{session_id}/resume", responses=problems(404, 409), dependencies=[needs("read")])
async def get_resume(
    session_id: SessionId,
    db: DatabaseSession,
    sdk_session: Annotated[str | None, Query(max_length=255, description="The client's session, where several are in this one.")] = None,
    phase: Annotated[str | None, Query(min_length=1, max_length=100, description="With the last agent of this type: build, …")] = None,
) -> ResumeRead:
    """Say how to go on with a session in Claude Code. No file is written: `session-db resume` puts back those that are missing.

    Unless it is told with which, it goes on with the last of the client's sessions in this one; where nothing can be resumed it is 404.
    """
    if phase is not None and sdk_session is not None:
        raise InvalidInput("phase and sdk_session are both given; give one of them.", path="phase")
    session = found(await crud.get_session(db, session_id), "session", session_id)
    resumable = await find_one(db, session, sdk_session=sdk_session, phase=phase)
    resumption = resumption_in(resumable.directory, resumable)
    return ResumeRead(
        sdk_session_id=resumption.sdk_session_id, directory=resumption.directory, command=resumption.command, shell=resumption.shell
    )
