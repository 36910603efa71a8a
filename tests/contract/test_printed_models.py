"""The second seed's models and tables: the printed ones say which fields and columns ours have, and with which defaults."""

import ast
import re
import types
from typing import Any, Union, get_args, get_origin
from uuid import UUID

import pytest
from pydantic import ValidationError
from sqlalchemy import delete, insert, select, text
from sqlalchemy.exc import IntegrityError
from sqlmodel import SQLModel, col

from session_db import crud, models
from session_db.database import UnitOfWork
from session_db.models import MemoryFile, Message, Session, SessionCreate
from tests.contract.conftest import IMPORTS, Run

SESSION = '''
class SessionBase(SQLModel):
    """Base session fields (shared between table and API models)."""
    agent_name: str
    model_name: Optional[str] = None
    provider: Optional[str] = None
    use_claude_code: bool = False
    current_project: Optional[str] = None

class Session(SessionBase, table=True):
    """Session table model."""
    __tablename__ = "sessions"

    session_id: UUID = Field(default_factory=uuid4, primary_key=True)
    created_at: datetime = Field(default_factory=datetime.now)
    last_activity: datetime = Field(default_factory=datetime.now)
    status: str = Field(default="active")  # active, idle, terminated
    metadata_: dict = Field(
        default_factory=dict,
        sa_column=Column(JSONB, name="metadata")
    )

class SessionCreate(SessionBase):
    """Session creation input (API)."""
    session_name: Optional[str] = Field(None, description="Custom session name")

class SessionRead(SessionBase):
    """Session read output (API)."""
    session_id: UUID
    created_at: datetime
    last_activity: datetime
    status: str
    message_count: int = 0
    session_name: Optional[str] = Field(None, description="Custom session name from metadata")
    display_name: Optional[str] = Field(None, description="Computed display name")
'''

MESSAGE = '''
class MessageBase(SQLModel):
    """Base message fields."""
    session_id: UUID = Field(foreign_key="sessions.session_id")
    message_index: int
    message_data: dict = Field(sa_column=Column(JSONB))

class Message(MessageBase, table=True):
    """Message table model."""
    __tablename__ = "messages"

    id: Optional[int] = Field(default=None, primary_key=True)
    created_at: datetime = Field(default_factory=datetime.now)

class MessageCreate(MessageBase):
    """Message creation input."""
    pass
'''

MEMORY_FILE = '''
class MemoryFileBase(SQLModel):
    """Base memory file fields."""
    session_id: UUID = Field(foreign_key="sessions.session_id")
    file_path: str
    is_primary: bool = False
    loaded: bool = True

class MemoryFile(MemoryFileBase, table=True):
    """Memory file table model."""
    __tablename__ = "memory_files"

    id: Optional[int] = Field(default=None, primary_key=True)
    created_at: datetime = Field(default_factory=datetime.now)
    updated_at: datetime = Field(default_factory=datetime.now)

class MemoryFileCreate(MemoryFileBase):
    """Memory file creation input."""
    pass
'''

SESSIONS = """
CREATE TABLE IF NOT EXISTS sessions (
    session_id UUID PRIMARY KEY,
    agent_name VARCHAR(50) NOT NULL,
    model_name VARCHAR(100) NOT NULL,
    provider VARCHAR(50),
    use_claude_code BOOLEAN DEFAULT FALSE,
    created_at TIMESTAMP WITH TIME ZONE DEFAULT NOW(),
    last_activity TIMESTAMP WITH TIME ZONE DEFAULT NOW(),
    status VARCHAR(20) DEFAULT 'active',
    current_project VARCHAR(255),
    metadata JSONB DEFAULT '{}'::jsonb,
    CONSTRAINT valid_status CHECK (status IN ('active', 'idle', 'terminated'))
);
"""

MESSAGES = """
CREATE TABLE IF NOT EXISTS messages (
    id BIGSERIAL PRIMARY KEY,
    session_id UUID NOT NULL REFERENCES sessions(session_id) ON DELETE CASCADE,
    message_index INTEGER NOT NULL,
    message_data JSONB NOT NULL,
    created_at TIMESTAMP WITH TIME ZONE DEFAULT NOW(),
    CONSTRAINT unique_session_message UNIQUE (session_id, message_index)
);
"""

MEMORY_FILES = """
CREATE TABLE IF NOT EXISTS memory_files (
    id SERIAL PRIMARY KEY,
    session_id UUID NOT NULL REFERENCES sessions(session_id) ON DELETE CASCADE,
    file_path VARCHAR(500) NOT NULL,
    is_primary BOOLEAN DEFAULT FALSE,
    loaded BOOLEAN DEFAULT TRUE,
    created_at TIMESTAMP WITH TIME ZONE DEFAULT NOW(),
    updated_at TIMESTAMP WITH TIME ZONE DEFAULT NOW(),
    CONSTRAINT unique_session_file UNIQUE (session_id, file_path)
);
"""

STRUDEL_SESSIONS = """
-- Same base structure
CREATE TABLE IF NOT EXISTS sessions (
    session_id UUID PRIMARY KEY,
    agent_name VARCHAR(50) NOT NULL DEFAULT 'strudel',
    model_name VARCHAR(100) NOT NULL,
    provider VARCHAR(50),
    created_at TIMESTAMP WITH TIME ZONE DEFAULT NOW(),
    last_activity TIMESTAMP WITH TIME ZONE DEFAULT NOW(),
    status VARCHAR(20) DEFAULT 'active',

    -- Strudel-specific fields
    metadata JSONB DEFAULT '{}'::jsonb,

    CONSTRAINT valid_status CHECK (status IN ('active', 'idle', 'terminated'))
);
"""

CLIPS = """
CREATE TABLE IF NOT EXISTS clips (
    clip_id VARCHAR(100) PRIMARY KEY,
    project_id VARCHAR(100) NOT NULL,
    name VARCHAR(200) NOT NULL,
    code TEXT NOT NULL,
    metadata JSONB DEFAULT '{}'::jsonb,
    created_at TIMESTAMP WITH TIME ZONE DEFAULT NOW(),
    updated_at TIMESTAMP WITH TIME ZONE DEFAULT NOW()
);

CREATE INDEX idx_clips_project ON clips(project_id);
"""

SONGS = """
CREATE TABLE IF NOT EXISTS songs (
    song_id VARCHAR(100) PRIMARY KEY,
    project_id VARCHAR(100) NOT NULL,
    name VARCHAR(200) NOT NULL,
    clip_ids JSONB DEFAULT '[]'::jsonb,  -- Array of clip IDs
    metadata JSONB DEFAULT '{}'::jsonb,
    created_at TIMESTAMP WITH TIME ZONE DEFAULT NOW(),
    updated_at TIMESTAMP WITH TIME ZONE DEFAULT NOW()
);

CREATE INDEX idx_songs_project ON songs(project_id);
"""

PLAYLISTS = """
CREATE TABLE IF NOT EXISTS playlists (
    playlist_id VARCHAR(100) PRIMARY KEY,
    project_id VARCHAR(100) NOT NULL,
    name VARCHAR(200) NOT NULL,
    song_ids JSONB DEFAULT '[]'::jsonb,  -- Array of song IDs
    metadata JSONB DEFAULT '{}'::jsonb,
    created_at TIMESTAMP WITH TIME ZONE DEFAULT NOW(),
    updated_at TIMESTAMP WITH TIME ZONE DEFAULT NOW()
);

CREATE INDEX idx_playlists_project ON playlists(project_id);
"""

# docs/reference/contract.md says why.
WIDER = {"integer": "bigint"}
RENAMED = {("sessions", "session_id"): "id"}
TYPES = {
    "UUID": "uuid", "VARCHAR": "character varying", "BOOLEAN": "boolean", "TIMESTAMP WITH TIME ZONE": "timestamp with time zone",
    "JSONB": "jsonb", "BIGSERIAL": "bigint", "SERIAL": "integer", "INTEGER": "integer", "TEXT": "text",
}  # fmt: skip


def without_none(kind: Any) -> Any:
    """Return a field's type as the seed would write it: ``str`` of ``str | None``, ``dict`` of ``dict[str, Any]``."""
    if get_origin(kind) in (Union, types.UnionType):
        (kind,) = set(get_args(kind)) - {type(None)}
    return get_origin(kind) or kind


def classes(snippet: str) -> list[tuple[str, list[ast.AnnAssign]]]:
    """Return the printed classes with the fields they write or inherit."""
    fields: dict[str, list[ast.AnnAssign]] = {}
    for node in ast.parse(snippet).body:
        assert isinstance(node, ast.ClassDef)
        inherited = fields.get(ast.unparse(node.bases[0]), [])
        fields[node.name] = inherited + [line for line in node.body if isinstance(line, ast.AnnAssign)]
    return list(fields.items())


@pytest.mark.parametrize(
    ("name", "fields"), [pytest.param(*each, id=each[0]) for each in classes(SESSION) + classes(MESSAGE) + classes(MEMORY_FILE)]
)
class TestModel:
    def ours(self, name: str) -> type[SQLModel]:
        home = "sessions" if name == "SessionBase" else "messages" if name == "MessageBase" else "memory_files"
        return getattr(models if hasattr(models, name) else getattr(models, home), name)  # type: ignore[no-any-return]

    async def test_has_the_printed_fields(self, run: Run, name: str, fields: list[ast.AnnAssign]) -> None:
        ours = self.ours(name).model_fields
        names = await run(IMPORTS)
        for field in fields:
            column = "id" if (name, ast.unparse(field.target)) == ("Session", "session_id") else ast.unparse(field.target)
            kind = eval(ast.unparse(field.annotation), names)  # noqa: S307  the text stands above
            assert without_none(ours[column].annotation) == without_none(kind), column

    async def test_has_the_printed_defaults(self, run: Run, name: str, fields: list[ast.AnnAssign]) -> None:
        ours = self.ours(name).model_fields
        for field in fields:
            target = ast.unparse(field.target)
            if isinstance(field.value, ast.Constant):
                assert ours[target].default == field.value.value, target
            elif field.value is None and name != "Session" and target != "agent_name":
                assert ours[target].is_required(), target


class TestSessionCreate:
    def test_refuses_a_chat_without_an_agent(self) -> None:
        with pytest.raises(ValidationError, match="agent_name"):
            SessionCreate(model_name="grok-4-fast")


@pytest.mark.parametrize(
    "snippet",
    [SESSIONS, STRUDEL_SESSIONS, MESSAGES, MEMORY_FILES, CLIPS, SONGS, PLAYLISTS],
    ids=["sessions", "sessions of Strudel", "messages", "memory_files", "clips", "songs", "playlists"],
)
async def test_a_table_has_the_printed_columns(db: UnitOfWork, snippet: str) -> None:
    (table,) = re.findall(r"CREATE TABLE IF NOT EXISTS (\w+)", snippet)
    printed = re.findall(r"^    ([a-z_]+) (" + "|".join(TYPES) + r")(?:\((\d+)\))?", snippet, re.MULTILINE)
    assert len(printed) >= 5
    query = text("SELECT column_name, data_type, character_maximum_length FROM information_schema.columns WHERE table_name = :table")
    ours = {name: (kind, length) for name, kind, length in await db.execute(query, {"table": table})}
    for name, kind, length in printed:
        our_kind, our_length = ours[RENAMED.get((table, name), name)]
        assert our_kind in (TYPES[kind], WIDER.get(TYPES[kind])), name
        assert our_length == (int(length) if length else None), name


class TestConstraints:
    @pytest.fixture
    async def session_id(self, db: UnitOfWork) -> UUID:
        return (await crud.create_session(db, SessionCreate(agent_name="strudel"))).session_id

    async def test_valid_status(self, db: UnitOfWork, session_id: UUID) -> None:
        with pytest.raises(IntegrityError):
            await db.execute(text("UPDATE sessions SET status = 'gone'"))

    async def test_unique_session_message(self, db: UnitOfWork, session_id: UUID) -> None:
        await db.execute(insert(Message).values(session_id=session_id, message_index=0, message_data={}))
        with pytest.raises(IntegrityError):
            await db.execute(insert(Message).values(session_id=session_id, message_index=0, message_data={}))

    async def test_unique_session_file(self, db: UnitOfWork, session_id: UUID) -> None:
        await db.execute(insert(MemoryFile).values(session_id=session_id, file_path="memory.json"))
        with pytest.raises(IntegrityError):
            await db.execute(insert(MemoryFile).values(session_id=session_id, file_path="memory.json"))

    async def test_messages_and_memory_files_go_with_their_session(self, db: UnitOfWork, session_id: UUID) -> None:
        await db.execute(insert(Message).values(session_id=session_id, message_index=0, message_data={}))
        await db.execute(insert(MemoryFile).values(session_id=session_id, file_path="memory.json"))
        await db.execute(delete(Session).where(col(Session.id) == session_id))
        for table in (Message, MemoryFile):
            assert (await db.execute(select(table))).all() == []
