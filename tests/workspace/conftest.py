"""A project on disk, in which a session has its folder."""

import json
from pathlib import Path
from typing import Any

import pytest

from session_db import crud
from session_db.database import get_async_session
from session_db.models import Session, SessionCreate, SessionUpdate
from session_db.workspace.projects import Report, sync_project
from session_db.workspace.syncing import PLAINLY, How
from tests.databases import Database

SLUG = "2026-01-15_auth-feature"


class Project:
    """A project on disk, with one session."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory

    @property
    def folder(self) -> Path:
        return self.directory / "agents" / "sessions" / SLUG

    @property
    def state(self) -> Path:
        return self.folder / "state.json"

    def read(self) -> dict[str, Any]:
        document: dict[str, Any] = json.loads(self.state.read_text())
        return document

    def write(self, document: Any) -> None:
        self.state.write_text(json.dumps(document))

    def edit(self, **values: Any) -> None:
        self.write(self.read() | values)

    async def create(self, **values: Any) -> Session:
        async with get_async_session() as db:
            wanted = SessionCreate.model_validate(
                {"session_slug": SLUG, "title": "Authentication", "working_dir": str(self.directory)} | values
            )
            return await crud.create_session(db, wanted, workspace=True)

    async def update(self, **values: Any) -> None:
        async with get_async_session() as db:
            await crud.update_session(db, (await self.session()).id, SessionUpdate(**values))

    async def session(self) -> Session:
        async with get_async_session() as db:
            session = await crud.get_session_by_slug(db, SLUG, str(self.directory))
        assert session is not None
        return session

    async def row(self) -> dict[str, Any]:
        """Return the session as it is stored."""
        return (await self.session()).model_dump()

    async def sync(self, how: How = PLAINLY) -> Report:
        return await sync_project(self.directory, how)

    async def conflicts(self) -> list[dict[str, Any]]:
        async with get_async_session() as db:
            logs = await crud.list_agent_logs(db, (await self.session()).id, event_type="WorkspaceConflict")
        return [log.payload for log in logs]


@pytest.fixture
def project(tmp_path: Path, fresh_database: Database) -> Project:
    return Project(tmp_path)
