"""Search: when a message was said, and indexes of the words of sessions, messages and events.

They are built while writers wait: a minute or two for a million events. Where that is too long, build those of the same names before, one by
one with CREATE INDEX CONCURRENTLY; the column of messages comes first.
"""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op

revision: str = "0005"
down_revision: str | None = "0004"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None

# What the sender wrote is ISO 8601, of which PostgreSQL reads this much; what is written otherwise keeps when it was stored.
_SAID_AT = """
UPDATE messages SET said_at = CASE
    WHEN message_data ->> 'timestamp' ~ '^[1-9]\\d{3}-\\d\\d-\\d\\d[T ]\\d\\d:\\d\\d(:\\d\\d(\\.\\d{1,6})?)?(Z|[+-]\\d\\d:\\d\\d)?$'
    THEN (message_data ->> 'timestamp')::timestamptz ELSE created_at END
"""


def _words(text: str) -> str:
    for character in "./-@<&+":
        text = f"replace({text}, '{character}', ' ')"
    return f"to_tsvector('simple', {text})"


_NAMED = """coalesce(metadata ->> 'name', '') || ' ' || coalesce(title, '') || ' ' || coalesce(session_slug, '')
    || ' ' || coalesce(description, '')"""
_INDEXES = {
    "ix_sessions_words": ("sessions", _words(f"left({_NAMED}, 100000)"), None),
    "ix_messages_words": ("messages", _words("left(message_data ->> 'content', 100000)"), None),
    "ix_agent_logs_content_words": ("agent_logs", _words("content"), "content IS NOT NULL"),
    "ix_agent_logs_tool_output_words": ("agent_logs", _words("left(tool_output, 4096)"), "tool_output IS NOT NULL"),
}


def upgrade() -> None:
    op.execute("ALTER TABLE messages ADD COLUMN IF NOT EXISTS said_at timestamptz NOT NULL DEFAULT now()")
    op.execute("COMMENT ON COLUMN messages.said_at IS 'When it was said: its timestamp.'")
    op.execute("SET LOCAL timezone = 'UTC'")
    op.execute(_SAID_AT)
    op.create_index(op.f("ix_messages_said_at"), "messages", ["said_at"])
    op.create_index(op.f("ix_messages_session_id_said_at"), "messages", ["session_id", "said_at"])
    op.create_index(op.f("ix_agent_logs_timestamp"), "agent_logs", ["timestamp"])
    for name, (table, words, where) in _INDEXES.items():
        condition = None if where is None else sa.text(where)
        op.create_index(name, table, [sa.literal_column(words)], postgresql_using="gin", postgresql_where=condition)


def downgrade() -> None:
    for name, (table, _, _) in reversed(_INDEXES.items()):
        op.drop_index(name, table_name=table)
    op.drop_index(op.f("ix_agent_logs_timestamp"), table_name="agent_logs")
    op.drop_index(op.f("ix_messages_session_id_said_at"), table_name="messages")
    op.drop_index(op.f("ix_messages_said_at"), table_name="messages")
    op.drop_column("messages", "said_at")
