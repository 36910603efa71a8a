"""The service: tokens, presence, where an adopted session went, and an index for filters of metadata.

That index is built while writers of the table wait, which takes some seconds for a million sessions.
"""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op

revision: str = "0003"
down_revision: str | None = "0002"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None


def upgrade() -> None:
    op.create_table(
        "presence",
        sa.Column("connection_id", sa.Uuid(), nullable=False, comment="One connection of a client."),
        sa.Column("session_id", sa.Uuid(), nullable=False, comment="Session that it follows."),
        sa.Column("worker", sa.String(255), nullable=False, comment="Host and process that hold the connection."),
        sa.Column("expires_at", sa.TIMESTAMP(timezone=True), nullable=False, comment="When it counts as gone unless it is renewed."),
        sa.PrimaryKeyConstraint("connection_id", name=op.f("pk_presence")),
        comment="Connected chat clients.",
    )
    op.create_index(op.f("ix_presence_expires_at"), "presence", ["expires_at"], unique=False)
    op.create_index(op.f("ix_presence_session_id"), "presence", ["session_id"], unique=False)
    op.create_table(
        "tokens",
        sa.Column("name", sa.String(100), nullable=False, comment="What it is for."),
        sa.Column("scope", sa.String(20), nullable=False, comment="read, write, hooks or admin."),
        sa.Column("expires_at", sa.TIMESTAMP(timezone=True), nullable=True, comment="When it ends to work; null: never."),
        sa.Column("id", sa.Uuid(), nullable=False, comment="Its first half; the secret is the second."),
        sa.Column("kind", sa.String(20), nullable=False, comment="api, login or browser."),
        sa.Column("hash", sa.LargeBinary(), nullable=False, comment="SHA-256 of the secret."),
        sa.Column("created_at", sa.TIMESTAMP(timezone=True), server_default=sa.text("now()"), nullable=False, comment="When it was made."),
        sa.Column("last_used_at", sa.TIMESTAMP(timezone=True), nullable=True, comment="When it was last used, to the minute."),
        sa.Column("revoked_at", sa.TIMESTAMP(timezone=True), nullable=True, comment="When it was revoked."),
        sa.CheckConstraint("kind IN ('api', 'login', 'browser')", name=op.f("ck_tokens_kind")),
        sa.CheckConstraint("scope IN ('read', 'write', 'hooks', 'admin')", name=op.f("ck_tokens_scope")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_tokens")),
        comment="Tokens of the service.",
    )
    op.add_column(
        "sdk_sessions",
        sa.Column(
            "moved_from",
            sa.Uuid(),
            nullable=True,
            comment="Session that was made for it and moved into this one: followers of that go on here.",
        ),
    )
    op.create_index(
        op.f("ix_sdk_sessions_moved_from"), "sdk_sessions", ["moved_from"], unique=False, postgresql_where=sa.text("moved_from IS NOT NULL")
    )
    op.create_index(
        "ix_sessions_metadata",
        "sessions",
        ["metadata"],
        unique=False,
        postgresql_using="gin",
        postgresql_ops={"metadata": "jsonb_path_ops"},
    )


def downgrade() -> None:
    op.drop_index("ix_sessions_metadata", table_name="sessions", postgresql_using="gin", postgresql_ops={"metadata": "jsonb_path_ops"})
    op.drop_index(op.f("ix_sdk_sessions_moved_from"), table_name="sdk_sessions", postgresql_where=sa.text("moved_from IS NOT NULL"))
    op.drop_column("sdk_sessions", "moved_from")
    op.drop_table("tokens")
    op.drop_index(op.f("ix_presence_session_id"), table_name="presence")
    op.drop_index(op.f("ix_presence_expires_at"), table_name="presence")
    op.drop_table("presence")
