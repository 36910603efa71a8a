"""Transcripts: what an agent SDK keeps, entry by entry and verbatim."""

from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import CheckConstraint, ForeignKeyConstraint, Index, UniqueConstraint, text
from sqlmodel import Field

from session_db.models.table import BigInt, ForeignJSON, Model, Money, Text, UtcDateTime, counter, flag, moment

_SOURCE = "Where the entries come from: store or file; hooks: the file was not read yet, and what was said is what hooks told."


class Transcript(Model, table=True):
    """One stream of entries: a session's own, a sub-agent's, or a file that lies beside them."""

    __tablename__ = "transcripts"
    __table_args__ = (
        ForeignKeyConstraint(["session_id"], ["sessions.id"], ondelete="CASCADE"),
        ForeignKeyConstraint(["session_id", "agent_id"], ["agents.session_id", "agents.id"], name="fk_transcripts_agent"),
        CheckConstraint("source IN ('store', 'file', 'hooks')", name="source"),
        Index(None, "project_key", "sdk_session_id", "subpath"),
        Index(None, "session_id", "sdk_session_id", "subpath"),
        # What lacks something is rare, and is looked for across all sessions.
        Index("ix_transcripts_pending", "host", "session_id", "id", postgresql_where=text("source = 'hooks'")),
        Index("ix_transcripts_gaps", "session_id", "id", postgresql_where=text("gaps > 0")),
        Index("ix_transcripts_project_key_mtime", "project_key", text("mtime DESC"), postgresql_where=text("subpath = ''")),
        {"comment": "Streams of transcript entries.", "postgresql_with": {"fillfactor": "80"}},
    )

    session_id: UUID = Field(primary_key=True, description="Session that it belongs to.")
    id: UUID = Field(primary_key=True, description="Derived from project_key, sdk_session_id and subpath.")
    agent_id: UUID | None = Field(default=None, description="Agent whose transcript it is.")
    project_key: str = Field(sa_type=Text, description="The agent SDK's name of the project folder.")
    sdk_session_id: str = Field(max_length=255, description="The agent SDK's session id.")
    subpath: str = Field(default="", sa_type=Text, description="Empty: the session's own; else its path below the session's folder.")
    source: str = Field(default="file", max_length=10, description=_SOURCE)
    host: str | None = Field(default=None, max_length=255, description="Machine that has the file.")
    gaps: int = counter("Entries that are known to be missing.")
    is_masked: bool = flag("Whether secrets were masked in the entries: it cannot be resumed.")
    next_seq: int = counter("Entries, and the next seq.")
    projected_seq: int = counter("Events, messages and usage were made of the entries before this seq.")
    file_path: str | None = Field(default=None, sa_type=Text, description="File that was read.")
    file_offset: int = counter("Bytes of the file that were read.")
    is_rewritten: bool = flag("Whether the file was rewritten once: what is known is skipped since.")
    file_print: str | None = Field(
        default=None, sa_type=Text, description="Fingerprint of what was read of the file: another one is another file."
    )
    meta: Any = Field(
        default=None,
        sa_type=ForeignJSON,
        nullable=True,
        description="A sub-agent's .meta.json; for a session's own stream where its title came from.",
    )
    summary: Any = Field(default=None, sa_type=ForeignJSON, nullable=True, description="The agent SDK's own summary of the stream.")
    mtime: datetime | None = Field(default=None, sa_type=UtcDateTime, description="When the last entry was stored.")
    reported_cost: float | None = Field(default=None, sa_type=Money, description="US dollars that the client reports in total.")
    reported_usage: Any = Field(
        default=None, sa_type=ForeignJSON, nullable=True, description="Tokens by model that the client reports in total."
    )
    created_at: datetime = moment("When the row was made.")


class TranscriptEntry(Model, table=True):
    """One entry as its sender wrote it."""

    __tablename__ = "transcript_entries"
    __table_args__ = (
        ForeignKeyConstraint(
            ["session_id", "transcript_id"],
            ["transcripts.session_id", "transcripts.id"],
            ondelete="CASCADE",
            name="fk_transcript_entries_transcript",
        ),
        UniqueConstraint("session_id", "transcript_id", "uuid"),
        {"comment": "Entries of transcripts, verbatim."},
    )

    session_id: UUID = Field(primary_key=True, description="Session that it belongs to.")
    transcript_id: UUID = Field(primary_key=True, description="Stream that it belongs to.")
    seq: int = Field(
        primary_key=True,
        sa_type=BigInt,
        description="Order in the stream, from 0 without a gap.",
        sa_column_kwargs={"autoincrement": False},
    )
    uuid: str | None = Field(
        default=None, sa_type=Text, description="The sender's key of the entry; null where it has none, or had it before."
    )
    entry: Any = Field(sa_type=ForeignJSON, nullable=False, description="The entry, byte for byte.")


class TranscriptRead(Model):
    """A stream as it is shown."""

    session_id: UUID
    id: UUID
    agent_id: UUID | None = None
    project_key: str
    sdk_session_id: str
    subpath: str = Field(description="Empty: the session's own; else its path below the session's folder.")
    source: str = Field(description=_SOURCE)
    host: str | None = Field(default=None, description="Machine that has the file.")
    gaps: int = Field(default=0, description="Entries that are known to be missing.")
    is_masked: bool = Field(default=False, description="Whether secrets were masked in the entries: it cannot be resumed.")
    next_seq: int = Field(description="Entries, and the next seq.")
    projected_seq: int = Field(description="Events, messages and usage were made of the entries before this seq.")
    file_path: str | None = None
    file_offset: int = Field(description="Bytes of the file that were read.")
    is_rewritten: bool = Field(description="Whether the file was rewritten once: what is known is skipped since.")
    meta: Any = None
    summary: Any = None
    mtime: datetime | None = Field(default=None, description="When the last entry was stored.")
    reported_cost: float | None = Field(default=None, description="US dollars that the client reports in total.")
    reported_usage: Any = Field(default=None, description="Tokens by model that the client reports in total.")
    created_at: datetime


class TranscriptEntryRead(Model):
    """An entry as it is shown."""

    seq: int = Field(description="Order in the stream, from 0 without a gap.")
    uuid: str | None = None
    entry: str | None = Field(default=None, description="JSON text as its sender wrote it, byte for byte; a list leaves out a large one.")
    entry_bytes: int = Field(description="Size of the entry, also where it is left out.")
