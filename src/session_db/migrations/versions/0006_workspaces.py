"""Workspaces: edits of files, which folders are behind, and through which phases a session went.

Writers of events wait while all of them are read once.
"""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision: str = "0006"
down_revision: str | None = "0005"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None


def upgrade() -> None:
    comment = "Edits of its files that are here, and may not be in its state.json yet."
    op.add_column("sessions", sa.Column("workspace_edits", postgresql.JSONB(), nullable=True, comment=comment))
    behind = sa.text("workspace_version > workspace_synced_version")
    op.create_index("ix_sessions_behind", "sessions", ["id"], postgresql_where=behind)
    op.create_index(
        "ix_agent_logs_phases", "agent_logs", ["session_id", "event_index"], postgresql_where=sa.text("event_category = 'phase'")
    )


def downgrade() -> None:
    op.drop_index("ix_agent_logs_phases", table_name="agent_logs")
    op.drop_index("ix_sessions_behind", table_name="sessions")
    op.drop_column("sessions", "workspace_edits")
