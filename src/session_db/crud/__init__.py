"""Everything that reads and writes rows. Functions take the database session first; they flush and never commit."""

from session_db.crud.agent_logs import (
    AppendedEvent,
    append_agent_logs,
    create_agent_log,
    get_agent_log,
    get_last_agent_logs,
    list_agent_logs,
)
from session_db.crud.agents import create_agent, get_agent, list_agents, update_agent
from session_db.crud.clips import (
    create_clip,
    delete_clip,
    get_clip,
    get_clip_version,
    list_clip_versions,
    list_clips,
    restore_clip_version,
    save_clip,
    update_clip,
)
from session_db.crud.erasing import erase_deleted_sessions
from session_db.crud.items import Saved
from session_db.crud.memory_files import (
    create_memory_file,
    delete_memory_file,
    get_memory_file_by_path,
    get_primary_memory_file,
    get_session_memory_files,
    update_memory_file,
)
from session_db.crud.messages import AppendedMessage, get_message_count, list_messages, load_messages_paginated, save_display_messages
from session_db.crud.paging import Page
from session_db.crud.playlists import create_playlist, delete_playlist, get_playlist, list_playlists, save_playlist, update_playlist
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
from session_db.crud.songs import create_song, delete_song, get_song, list_songs, save_song, update_song
from session_db.models.display import display_message

__all__ = [
    "AppendedEvent", "AppendedMessage", "Page", "Saved", "append_agent_logs", "create_agent", "create_agent_log", "create_clip",
    "create_memory_file", "create_playlist", "create_session", "create_song", "delete_clip", "delete_memory_file", "delete_playlist",
    "delete_session", "delete_song", "display_message", "erase_deleted_sessions", "get_agent", "get_agent_log", "get_clip",
    "get_clip_version", "get_last_agent_logs", "get_memory_file_by_path", "get_message_count", "get_playlist", "get_primary_memory_file",
    "get_session", "get_session_by_slug", "get_session_memory_files", "get_song", "list_agent_logs", "list_agents", "list_clip_versions",
    "list_clips", "list_messages", "list_playlists", "list_sessions", "list_songs", "load_messages_paginated", "restore_clip_version",
    "save_clip", "save_display_messages", "save_playlist", "save_song", "update_agent", "update_clip", "update_memory_file",
    "update_playlist", "update_session", "update_session_activity", "update_session_name", "update_session_status", "update_song",
]  # fmt: skip
