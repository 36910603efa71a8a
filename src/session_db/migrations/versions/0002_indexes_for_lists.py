"""Indexes for the lists that walked or sorted: sessions of a directory, agents of a session, streams of a session.

Each is built while writers of its table wait, which takes some seconds for a million rows.
"""

from collections.abc import Sequence

from alembic import op

revision: str = "0002"
down_revision: str | None = "0001"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None


def upgrade() -> None:
    op.create_index(op.f("ix_sessions_working_dir_last_activity_id"), "sessions", ["working_dir", "last_activity", "id"], unique=False)
    op.create_index(op.f("ix_agents_session_id_created_at_id"), "agents", ["session_id", "created_at", "id"], unique=False)
    op.create_index(
        op.f("ix_transcripts_session_id_sdk_session_id_subpath"), "transcripts", ["session_id", "sdk_session_id", "subpath"], unique=False
    )


def downgrade() -> None:
    op.drop_index(op.f("ix_transcripts_session_id_sdk_session_id_subpath"), table_name="transcripts")
    op.drop_index(op.f("ix_agents_session_id_created_at_id"), table_name="agents")
    op.drop_index(op.f("ix_sessions_working_dir_last_activity_id"), table_name="sessions")
