"""Everything that reads and writes rows. Functions take the database session first; they flush and never commit."""

from session_db.crud.activity import get_activity
from session_db.crud.agent_logs import (
    AppendedEvent,
    append_agent_logs,
    create_agent_log,
    get_agent_log,
    get_last_agent_logs,
    list_agent_logs,
)
from session_db.crud.agents import create_agent, get_agent, list_agents, update_agent
from session_db.crud.cleaning import cleanup_sessions
from session_db.crud.clips import (
    create_clip,
    delete_clip,
    diff_clip_versions,
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
from session_db.crud.listing import list_sessions
from session_db.crud.memory_files import (
    create_memory_file,
    delete_memory_file,
    get_memory_file,
    get_memory_file_by_path,
    get_primary_memory_file,
    get_session_memory_files,
    update_memory_file,
)
from session_db.crud.messages import AppendedMessage, get_message_count, list_messages, load_messages_paginated, save_display_messages
from session_db.crud.paging import Page
from session_db.crud.playlists import create_playlist, delete_playlist, get_playlist, list_playlists, save_playlist, update_playlist
from session_db.crud.presence import create_presence, delete_expired_presence, delete_presence, renew_presence
from session_db.crud.search import search_records
from session_db.crud.sessions import (
    create_session,
    delete_session,
    get_session,
    get_session_by_slug,
    patch_session,
    update_session,
    update_session_activity,
    update_session_name,
    update_session_status,
)
from session_db.crud.songs import create_song, delete_song, get_song, list_songs, save_song, update_song
from session_db.crud.timeline import list_timeline
from session_db.crud.tokens import MadeToken, create_token, get_valid_token, list_tokens, revoke_token, use_login
from session_db.crud.transcripts import get_transcript, get_transcript_entry, list_transcript_entries, list_transcripts, stream_entries
from session_db.crud.usage import list_usage
from session_db.crud.workflow import advance_session, finish_agent, start_agent
from session_db.models.display import display_message

__all__ = [
    "AppendedEvent", "AppendedMessage", "MadeToken", "Page", "Saved", "advance_session", "append_agent_logs", "cleanup_sessions",
    "create_agent", "create_agent_log", "create_clip", "create_memory_file", "create_playlist", "create_presence", "create_session",
    "create_song", "create_token", "delete_clip", "delete_expired_presence", "delete_memory_file", "delete_playlist", "delete_presence",
    "delete_session", "delete_song", "diff_clip_versions", "display_message", "erase_deleted_sessions", "finish_agent", "get_activity",
    "get_agent", "get_agent_log", "get_clip", "get_clip_version", "get_last_agent_logs", "get_memory_file", "get_memory_file_by_path",
    "get_message_count", "get_playlist", "get_primary_memory_file", "get_session", "get_session_by_slug", "get_session_memory_files",
    "get_song", "get_transcript", "get_transcript_entry", "get_valid_token", "list_agent_logs", "list_agents", "list_clip_versions",
    "list_clips", "list_messages", "list_playlists", "list_sessions", "list_songs", "list_timeline", "list_tokens",
    "list_transcript_entries", "list_transcripts", "list_usage", "load_messages_paginated", "patch_session", "renew_presence",
    "restore_clip_version", "revoke_token", "save_clip", "save_display_messages", "save_playlist", "save_song", "search_records",
    "start_agent", "stream_entries", "update_agent", "update_clip", "update_memory_file", "update_playlist", "update_session",
    "update_session_activity", "update_session_name", "update_session_status", "update_song", "use_login",
]  # fmt: skip
