"""Search: when a message was said, and indexes of the words of sessions, messages and events.

Writers wait while they are built, and readers of messages while their table is made anew: some minutes for a million events.
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
CASE WHEN message_data ->> 'timestamp' ~ '^[1-9]\\d{3}-\\d\\d-\\d\\d[T ]\\d\\d:\\d\\d(:\\d\\d(\\.\\d{1,6})?)?(Z|[+-]\\d\\d:\\d\\d)?$'
THEN (message_data ->> 'timestamp')::timestamptz ELSE created_at END
"""


_ENDS_OF_WORDS = (
    r"[-./@<&+~"
    r"\u0080-\u00A9\u00AB-\u00B4\u00B6-\u00B9\u00BB-\u00BF\u00D7\u00F7\u060C\u061B\u061F\u06D4\u0964\u0965\u2000-\u206F\u20A0-\u20FF"
    r"\u2190-\u2BFF\u2E00-\u2E7F\u3000-\u3004\u3008-\u3020\u3030"
    r"\uE000-\uF8FF\uFE00-\uFE1F\uFE30-\uFE6F\uFEFF-\uFF0F\uFF1A-\uFF20\uFF3B-\uFF40\uFF5B-\uFF65\uFFE0-\uFFFD\U0001F000-\U0001FBFF]"
)


def _words(text: str) -> str:
    return f"to_tsvector('simple', regexp_replace({text}, '{_ENDS_OF_WORDS}', ' ', 'g'))"


_NAMED = """coalesce(metadata ->> 'name', '') || ' ' || coalesce(title, '') || ' ' || coalesce(session_slug, '')
    || ' ' || coalesce(description, '')"""
_INDEXES = {
    "ix_sessions_words": ("sessions", _words(f"left({_NAMED}, 100000)")),
    "ix_messages_words": ("messages", _words("left(message_data ->> 'content', 100000)")),
    "ix_agent_logs_content_words": ("agent_logs", _words("content")),
    "ix_agent_logs_tool_output_words": ("agent_logs", _words("left(tool_output, 4096)")),
}


def upgrade() -> None:
    op.add_column("messages", sa.Column("said_at", sa.TIMESTAMP(timezone=True), nullable=True, comment="When it was said: its timestamp."))
    op.execute("SET LOCAL timezone = 'UTC'")
    # Written so, the table is made anew: an update would leave each row twice in it, and in the indexes that are made here.
    op.execute(f"ALTER TABLE messages ALTER said_at TYPE timestamptz USING {_SAID_AT}")
    op.alter_column("messages", "said_at", nullable=False, server_default=sa.text("now()"))
    op.create_index(op.f("ix_messages_said_at"), "messages", ["said_at"])
    op.create_index(op.f("ix_messages_session_id_said_at"), "messages", ["session_id", "said_at"])
    # An index of the plain column would be read for a session's timeline as well, to where the session begins.
    op.create_index("ix_agent_logs_timestamp", "agent_logs", [sa.literal_column("(timestamp AT TIME ZONE 'UTC')")])
    for name, (table, words) in _INDEXES.items():
        op.create_index(name, table, [sa.literal_column(words)], postgresql_using="gin")
    # What is known of the words decides how a search is planned, and nothing else asks for it before the tables have grown.
    op.execute("ANALYZE sessions, messages, agent_logs")


def downgrade() -> None:
    for name, (table, _) in reversed(_INDEXES.items()):
        op.drop_index(name, table_name=table)
    op.drop_index("ix_agent_logs_timestamp", table_name="agent_logs")
    op.drop_index(op.f("ix_messages_session_id_said_at"), table_name="messages")
    op.drop_index(op.f("ix_messages_said_at"), table_name="messages")
    op.drop_column("messages", "said_at")
