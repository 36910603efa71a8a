"""Routes, a module for each noun."""

from session_db.api.routes import (
    activity,
    agents,
    artifacts,
    chat,
    clips,
    doctor,
    events,
    hooks,
    live,
    login,
    me,
    memory_files,
    messages,
    operations,
    playlists,
    resume,
    search,
    sessions,
    songs,
    timeline,
    tokens,
    transcripts,
    usage,
)

_NOUNS = (
    sessions, live, chat, messages, memory_files, agents, events, timeline, transcripts, resume, artifacts, usage, activity, search, clips,
    songs, playlists, login, me, tokens, hooks, operations, doctor,
)  # fmt: skip

ROUTERS = tuple(noun.router for noun in _NOUNS)
