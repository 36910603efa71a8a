"""The Claude Agent SDK: its sessions kept in PostgreSQL, and its agents recorded."""

from session_db.integrations.claude_agent_sdk.recorder import record, recorded
from session_db.integrations.claude_agent_sdk.store import PostgresSessionStore

__all__ = ["PostgresSessionStore", "record", "recorded"]
