"""Capture: masked secrets, transcripts that lie on another host, and gaps in them."""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op

revision: str = "0004"
down_revision: str | None = "0003"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None

_SOURCE = "Where the entries come from: store or file"


def upgrade() -> None:
    op.add_column(
        "sessions",
        sa.Column(
            "secrets_masked",
            sa.BigInteger(),
            server_default="0",
            nullable=False,
            comment="Secrets that were masked in events, messages and titles.",
        ),
    )
    op.add_column("transcripts", sa.Column("host", sa.String(255), nullable=True, comment="Machine that has the file."))
    op.add_column(
        "transcripts",
        sa.Column("gaps", sa.BigInteger(), server_default="0", nullable=False, comment="Entries that are known to be missing."),
    )
    op.add_column(
        "transcripts",
        sa.Column(
            "is_masked",
            sa.Boolean(),
            server_default=sa.text("false"),
            nullable=False,
            comment="Whether secrets were masked in the entries: it cannot be resumed.",
        ),
    )
    op.alter_column("transcripts", "source", comment=f"{_SOURCE}; hooks: the file was not read yet, and what was said is what hooks told.")
    op.drop_constraint(op.f("ck_transcripts_source"), "transcripts", type_="check")
    op.create_check_constraint(op.f("ck_transcripts_source"), "transcripts", "source IN ('store', 'file', 'hooks')")
    op.create_index("ix_transcripts_pending", "transcripts", ["host", "session_id", "id"], postgresql_where=sa.text("source = 'hooks'"))
    op.create_index("ix_transcripts_gaps", "transcripts", ["session_id", "id"], postgresql_where=sa.text("gaps > 0"))


def downgrade() -> None:
    op.drop_index("ix_transcripts_gaps", table_name="transcripts", postgresql_where=sa.text("gaps > 0"))
    op.drop_index("ix_transcripts_pending", table_name="transcripts", postgresql_where=sa.text("source = 'hooks'"))
    op.drop_constraint(op.f("ck_transcripts_source"), "transcripts", type_="check")
    op.execute("UPDATE transcripts SET source = 'file' WHERE source = 'hooks'")
    op.create_check_constraint(op.f("ck_transcripts_source"), "transcripts", "source IN ('store', 'file')")
    op.alter_column("transcripts", "source", comment=f"{_SOURCE}.")
    op.drop_column("transcripts", "is_masked")
    op.drop_column("transcripts", "gaps")
    op.drop_column("transcripts", "host")
    op.drop_column("sessions", "secrets_masked")
