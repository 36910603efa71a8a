"""Tables and their Create, Update and Read models."""

from typing import Any

from session_db.models.activity import ActivityBin, ActivityRead
from session_db.models.agent_logs import AgentLog, AgentLogCreate, AgentLogRead, AgentLogWhole
from session_db.models.agents import Agent, AgentCreate, AgentRead, AgentUpdate
from session_db.models.clips import Clip, ClipCreate, ClipDiff, ClipRead, ClipUpdate, ClipVersion, ClipVersionRead
from session_db.models.memory_files import MemoryFile, MemoryFileCreate, MemoryFileRead, MemoryFileUpdate
from session_db.models.messages import Message, MessageCreate, MessageRead
from session_db.models.playlists import Playlist, PlaylistCreate, PlaylistRead, PlaylistUpdate
from session_db.models.presence import Presence
from session_db.models.sdk_sessions import SDKSession
from session_db.models.sessions import Session, SessionCreate, SessionNameUpdate, SessionPatch, SessionRead, SessionUpdate
from session_db.models.songs import Song, SongCreate, SongRead, SongUpdate
from session_db.models.table import Model
from session_db.models.timeline import TimelineEvent
from session_db.models.tokens import Token, TokenCreate, TokenRead
from session_db.models.transcripts import Transcript, TranscriptEntry, TranscriptEntryRead, TranscriptRead
from session_db.models.usage import ActivityMinute, Usage, UsageSummary

METADATA = Model.metadata
"""The tables of this package and nothing else."""

_TABLES: tuple[Any, ...] = (
    Session, Agent, AgentLog, Message, MemoryFile, Transcript, TranscriptEntry, Usage, ActivityMinute, SDKSession,
    Clip, ClipVersion, Song, Playlist, Presence, Token,
)  # fmt: skip

for _table in _TABLES:
    for _field, _info in _table.model_fields.items():
        # A description is written once: a field's is its column's comment.
        _table.__mapper__.columns[_field].comment = _info.description

__all__ = [
    "METADATA", "ActivityBin", "ActivityMinute", "ActivityRead", "Agent", "AgentCreate", "AgentLog", "AgentLogCreate", "AgentLogRead",
    "AgentLogWhole", "AgentRead", "AgentUpdate", "Clip", "ClipCreate", "ClipDiff", "ClipRead", "ClipUpdate", "ClipVersion",
    "ClipVersionRead", "MemoryFile", "MemoryFileCreate", "MemoryFileRead", "MemoryFileUpdate", "Message", "MessageCreate", "MessageRead",
    "Model", "Playlist", "PlaylistCreate", "PlaylistRead", "PlaylistUpdate", "Presence", "SDKSession", "Session", "SessionCreate",
    "SessionNameUpdate", "SessionPatch", "SessionRead", "SessionUpdate", "Song", "SongCreate", "SongRead", "SongUpdate", "TimelineEvent",
    "Token", "TokenCreate", "TokenRead", "Transcript", "TranscriptEntry", "TranscriptEntryRead", "TranscriptRead", "Usage", "UsageSummary",
]  # fmt: skip
