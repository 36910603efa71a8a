"""Everything that reads and writes rows. Functions take the database session first; they flush and never commit."""

from session_db.crud.agent_logs import AppendedEvent, append_agent_logs, create_agent_log, list_agent_logs
from session_db.crud.agents import create_agent, get_agent, list_agents, update_agent
from session_db.crud.clips import create_clip, delete_clip, get_clip, list_clip_versions, list_clips, update_clip
from session_db.crud.erasing import erase_deleted_sessions
from session_db.crud.memory_files import (
    create_memory_file,
    delete_memory_file,
    get_primary_memory_file,
    get_session_memory_files,
    update_memory_file,
)
from session_db.crud.messages import AppendedMessage, get_message_count, load_messages_paginated, save_display_messages
from session_db.crud.paging import Page
from session_db.crud.playlists import create_playlist, delete_playlist, get_playlist, list_playlists, update_playlist
from session_db.crud.sessions import (
    create_session,
    delete_session,
    get_session,
    get_session_by_slug,
    list_sessions,
    update_session,
    update_session_activity,
    update_session_name,
    update_session_status,
)
from session_db.crud.songs import create_song, delete_song, get_song, list_songs, update_song
from session_db.models.display import display_message

__all__ = [
    "AppendedEvent", "AppendedMessage", "Page", "append_agent_logs", "create_agent", "create_agent_log", "create_clip",
    "create_memory_file", "create_playlist", "create_session", "create_song", "delete_clip", "delete_memory_file", "delete_playlist",
    "delete_session", "delete_song", "display_message", "erase_deleted_sessions", "get_agent", "get_clip", "get_message_count",
    "get_playlist", "get_primary_memory_file", "get_session", "get_session_by_slug", "get_session_memory_files", "get_song",
    "list_agent_logs", "list_agents", "list_clip_versions", "list_clips", "list_playlists", "list_sessions", "list_songs",
    "load_messages_paginated", "save_display_messages", "update_agent", "update_clip", "update_memory_file", "update_playlist",
    "update_session", "update_session_activity", "update_session_name", "update_session_status", "update_song",
]  # fmt: skip
