"""All tables of the first release."""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision: str = "0001"
down_revision: str | None = None
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None


def upgrade() -> None:
    op.execute(sa.schema.CreateSequence(sa.Sequence("messages_id_seq", data_type=sa.BigInteger())))
    op.execute(sa.schema.CreateSequence(sa.Sequence("memory_files_id_seq", data_type=sa.BigInteger())))
    op.create_table(
        "clip_versions",
        sa.Column("clip_id", sa.String(100), nullable=False, comment="Clip; it may be gone."),
        sa.Column("version", sa.Integer(), autoincrement=False, nullable=False, comment="Version of the clip that had this code."),
        sa.Column("code", sa.Text(), nullable=False, comment="The code."),
        sa.Column(
            "metadata", postgresql.JSONB(), server_default=sa.text("'{}'::jsonb"), nullable=False, comment="Metadata at that version."
        ),
        sa.Column("session_id", sa.Uuid(), nullable=True, comment="Session whose change replaced it."),
        sa.Column("message_index", sa.Integer(), nullable=True, comment="Message that asked for the change."),
        sa.Column(
            "created_at",
            sa.TIMESTAMP(timezone=True),
            server_default=sa.text("now()"),
            nullable=False,
            comment="When it was replaced or deleted.",
        ),
        sa.PrimaryKeyConstraint("clip_id", "version", name=op.f("pk_clip_versions")),
        comment="Former code of clips.",
    )
    op.create_table(
        "clips",
        sa.Column("project_id", sa.String(100), nullable=False, comment="Project that it belongs to."),
        sa.Column("name", sa.String(200), nullable=False, comment="Name to show."),
        sa.Column(
            "metadata",
            postgresql.JSONB(),
            server_default=sa.text("'{}'::jsonb"),
            nullable=False,
            comment="Whatever the application keeps with the item (bpm, scale, tags, color).",
        ),
        sa.Column("version", sa.Integer(), server_default="1", nullable=False, comment="Raised by each change."),
        sa.Column("created_at", sa.TIMESTAMP(timezone=True), server_default=sa.text("now()"), nullable=False, comment="When it was made."),
        sa.Column(
            "updated_at", sa.TIMESTAMP(timezone=True), server_default=sa.text("now()"), nullable=False, comment="When it last changed."
        ),
        sa.Column("clip_id", sa.String(100), nullable=False, comment="Name that songs know it by."),
        sa.Column("code", sa.Text(), nullable=False, comment="The code."),
        sa.PrimaryKeyConstraint("clip_id", name=op.f("pk_clips")),
        comment="Clips: pieces of code.",
    )
    op.create_index(op.f("ix_clips_project_id_clip_id"), "clips", ["project_id", "clip_id"], unique=False)
    op.create_table(
        "playlists",
        sa.Column("project_id", sa.String(100), nullable=False, comment="Project that it belongs to."),
        sa.Column("name", sa.String(200), nullable=False, comment="Name to show."),
        sa.Column(
            "metadata",
            postgresql.JSONB(),
            server_default=sa.text("'{}'::jsonb"),
            nullable=False,
            comment="Whatever the application keeps with the item (bpm, scale, tags, color).",
        ),
        sa.Column("version", sa.Integer(), server_default="1", nullable=False, comment="Raised by each change."),
        sa.Column("created_at", sa.TIMESTAMP(timezone=True), server_default=sa.text("now()"), nullable=False, comment="When it was made."),
        sa.Column(
            "updated_at", sa.TIMESTAMP(timezone=True), server_default=sa.text("now()"), nullable=False, comment="When it last changed."
        ),
        sa.Column("playlist_id", sa.String(100), nullable=False, comment="Name that others know it by."),
        sa.Column("song_ids", postgresql.JSONB(), server_default=sa.text("'[]'::jsonb"), nullable=False, comment="Its songs, in order."),
        sa.PrimaryKeyConstraint("playlist_id", name=op.f("pk_playlists")),
        comment="Playlists: ordered songs.",
    )
    op.create_index(op.f("ix_playlists_project_id_playlist_id"), "playlists", ["project_id", "playlist_id"], unique=False)
    op.create_index(op.f("ix_playlists_song_ids"), "playlists", ["song_ids"], unique=False, postgresql_using="gin")
    op.create_table(
        "sdk_sessions",
        sa.Column("sdk_key", sa.Text(), nullable=False, comment="The SDK's session id; behind its project where that is no UUID."),
        sa.Column("session_id", sa.Uuid(), nullable=True, comment="Session; null: it was deleted."),
        sa.Column("agent_id", sa.Uuid(), nullable=True, comment="Agent that runs it."),
        sa.Column("bound_by", sa.String(20), nullable=False, comment="auto, environment, recorder or agent."),
        sa.Column("deleted_at", sa.TIMESTAMP(timezone=True), nullable=True, comment="When its session was deleted."),
        sa.Column("created_at", sa.TIMESTAMP(timezone=True), server_default=sa.text("now()"), nullable=False, comment="When it was bound."),
        sa.CheckConstraint("bound_by IN ('auto', 'environment', 'recorder', 'agent')", name=op.f("ck_sdk_sessions_bound_by")),
        sa.PrimaryKeyConstraint("sdk_key", name=op.f("pk_sdk_sessions")),
        comment="Sessions that SDK sessions belong to.",
    )
    op.create_index(op.f("ix_sdk_sessions_session_id"), "sdk_sessions", ["session_id"], unique=False)
    op.create_table(
        "sessions",
        sa.Column(
            "session_slug", sa.String(200), nullable=True, comment="Folder name of a workflow session, e.g. 2026-01-15_auth-feature."
        ),
        sa.Column("title", sa.Text(), nullable=True, comment="What the session is about, in a line."),
        sa.Column("description", sa.Text(), nullable=True, comment="What the session is about, at length."),
        sa.Column("working_dir", sa.Text(), nullable=True, comment="Absolute path of the project root."),
        sa.Column("agent_name", sa.String(50), nullable=True, comment="Which agent a chat talks to (strudel, claude-code, …)."),
        sa.Column("model_name", sa.String(100), nullable=True, comment="Language model."),
        sa.Column("provider", sa.String(50), nullable=True, comment="Who serves the model."),
        sa.Column(
            "use_claude_code",
            sa.Boolean(),
            server_default=sa.text("false"),
            nullable=False,
            comment="Whether Claude Code runs the session.",
        ),
        sa.Column("current_project", sa.String(255), nullable=True, comment="Project that is worked on."),
        sa.Column("host", sa.String(255), nullable=True, comment="Machine that the session runs on."),
        sa.Column("owner", sa.String(255), nullable=True, comment="Whose session it is."),
        sa.Column("pinned", sa.Boolean(), server_default=sa.text("false"), nullable=False, comment="Kept by every cleanup."),
        sa.Column("id", sa.Uuid(), nullable=False, comment="UUIDv7, or the agent SDK's own session id."),
        sa.Column("session_type", sa.String(20), nullable=False, comment="full, quick or research (workflow sessions), or chat."),
        sa.Column(
            "status",
            sa.String(20),
            nullable=False,
            comment="Chat: active, idle, terminated; else created, spec, plan, build, docs, complete, failed.",
        ),
        sa.Column(
            "activity",
            sa.String(20),
            server_default="idle",
            nullable=False,
            comment="What goes on: working, waiting, idle, done, failed or lost.",
        ),
        sa.Column("error_message", sa.Text(), nullable=True, comment="Why it failed."),
        sa.Column(
            "metadata",
            postgresql.JSONB(),
            server_default=sa.text("'{}'::jsonb"),
            nullable=False,
            comment="Whatever the application keeps with the session.",
        ),
        sa.Column("resumed_from", sa.Uuid(), nullable=True, comment="Session that this one goes on from."),
        sa.Column("forked_from", sa.Uuid(), nullable=True, comment="Session whose conversation this one copied at its start."),
        sa.Column("cleared_from", sa.Uuid(), nullable=True, comment="Session that was cleared to begin this one."),
        sa.Column(
            "total_cost",
            sa.Numeric(precision=20, scale=10, asdecimal=False),
            server_default=sa.text("0"),
            nullable=False,
            comment="US dollars of all agents.",
        ),
        sa.Column(
            "reported_cost",
            sa.Numeric(precision=20, scale=10, asdecimal=False),
            nullable=True,
            comment="US dollars that the client itself reports in total.",
        ),
        sa.Column(
            "total_input_tokens",
            sa.BigInteger(),
            server_default=sa.text("0"),
            nullable=False,
            comment="Uncached input tokens of all agents.",
        ),
        sa.Column(
            "total_output_tokens", sa.BigInteger(), server_default=sa.text("0"), nullable=False, comment="Output tokens of all agents."
        ),
        sa.Column(
            "total_cache_read_tokens",
            sa.BigInteger(),
            server_default=sa.text("0"),
            nullable=False,
            comment="Input tokens read from the cache.",
        ),
        sa.Column(
            "total_cache_write_tokens",
            sa.BigInteger(),
            server_default=sa.text("0"),
            nullable=False,
            comment="Input tokens written to the cache.",
        ),
        sa.Column(
            "message_count", sa.BigInteger(), server_default=sa.text("0"), nullable=False, comment="Messages, and the next message_index."
        ),
        sa.Column("event_count", sa.BigInteger(), server_default=sa.text("0"), nullable=False, comment="Events, and the next event_index."),
        sa.Column(
            "workspace_version",
            sa.BigInteger(),
            server_default=sa.text("0"),
            nullable=False,
            comment="Raised by each change its folder shows.",
        ),
        sa.Column(
            "workspace_synced_version",
            sa.BigInteger(),
            server_default=sa.text("0"),
            nullable=False,
            comment="workspace_version that its folder shows.",
        ),
        sa.Column("created_at", sa.TIMESTAMP(timezone=True), server_default=sa.text("now()"), nullable=False, comment="When it began."),
        sa.Column(
            "updated_at", sa.TIMESTAMP(timezone=True), server_default=sa.text("now()"), nullable=False, comment="When the row last changed."
        ),
        sa.Column(
            "last_activity",
            sa.TIMESTAMP(timezone=True),
            server_default=sa.text("now()"),
            nullable=False,
            comment="When something last happened; never moves back.",
        ),
        sa.Column("started_at", sa.TIMESTAMP(timezone=True), nullable=True, comment="When work began."),
        sa.Column("completed_at", sa.TIMESTAMP(timezone=True), nullable=True, comment="When it ended."),
        sa.Column("deleted_at", sa.TIMESTAMP(timezone=True), nullable=True, comment="When it was deleted; its rows are being erased."),
        sa.CheckConstraint(
            "CASE WHEN session_type = 'chat' THEN status IN ('active', 'idle', 'terminated') ELSE status IN ('created', 'spec', 'plan', 'build', 'docs', 'complete', 'failed') END",
            name=op.f("ck_sessions_status"),
        ),
        sa.CheckConstraint("session_type IN ('full', 'quick', 'research', 'chat')", name=op.f("ck_sessions_session_type")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_sessions")),
        sa.UniqueConstraint("working_dir", "session_slug", name=op.f("uq_sessions_working_dir_session_slug")),
        comment="Agent sessions: workflows and chats.",
        postgresql_with={"fillfactor": "80"},
    )
    op.create_index(op.f("ix_sessions_agent_name_last_activity_id"), "sessions", ["agent_name", "last_activity", "id"], unique=False)
    op.create_index(
        op.f("ix_sessions_current_project_last_activity_id"), "sessions", ["current_project", "last_activity", "id"], unique=False
    )
    op.create_index("ix_sessions_deleted", "sessions", ["id"], unique=False, postgresql_where=sa.text("deleted_at IS NOT NULL"))
    op.create_index(op.f("ix_sessions_last_activity_id"), "sessions", ["last_activity", "id"], unique=False)
    op.create_index(op.f("ix_sessions_session_slug"), "sessions", ["session_slug"], unique=False)
    op.create_index(op.f("ix_sessions_session_type_last_activity_id"), "sessions", ["session_type", "last_activity", "id"], unique=False)
    op.create_index(op.f("ix_sessions_status_last_activity_id"), "sessions", ["status", "last_activity", "id"], unique=False)
    op.create_table(
        "songs",
        sa.Column("project_id", sa.String(100), nullable=False, comment="Project that it belongs to."),
        sa.Column("name", sa.String(200), nullable=False, comment="Name to show."),
        sa.Column(
            "metadata",
            postgresql.JSONB(),
            server_default=sa.text("'{}'::jsonb"),
            nullable=False,
            comment="Whatever the application keeps with the item (bpm, scale, tags, color).",
        ),
        sa.Column("version", sa.Integer(), server_default="1", nullable=False, comment="Raised by each change."),
        sa.Column("created_at", sa.TIMESTAMP(timezone=True), server_default=sa.text("now()"), nullable=False, comment="When it was made."),
        sa.Column(
            "updated_at", sa.TIMESTAMP(timezone=True), server_default=sa.text("now()"), nullable=False, comment="When it last changed."
        ),
        sa.Column("song_id", sa.String(100), nullable=False, comment="Name that others know it by."),
        sa.Column("clip_ids", postgresql.JSONB(), server_default=sa.text("'[]'::jsonb"), nullable=False, comment="Its clips, in order."),
        sa.PrimaryKeyConstraint("song_id", name=op.f("pk_songs")),
        comment="Songs: ordered clips.",
    )
    op.create_index(op.f("ix_songs_clip_ids"), "songs", ["clip_ids"], unique=False, postgresql_using="gin")
    op.create_index(op.f("ix_songs_project_id_song_id"), "songs", ["project_id", "song_id"], unique=False)
    op.create_table(
        "activity_minutes",
        sa.Column("session_id", sa.Uuid(), nullable=False, comment="Session."),
        sa.Column("minute", sa.TIMESTAMP(timezone=True), nullable=False, comment="Beginning of the minute."),
        sa.Column("events", sa.BigInteger(), server_default=sa.text("0"), nullable=False, comment="Events that happened in it."),
        sa.Column(
            "cost",
            sa.Numeric(precision=20, scale=10, asdecimal=False),
            server_default=sa.text("0"),
            nullable=False,
            comment="US dollars that were spent in it.",
        ),
        sa.ForeignKeyConstraint(["session_id"], ["sessions.id"], name=op.f("fk_activity_minutes_session_id_sessions"), ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("session_id", "minute", name=op.f("pk_activity_minutes")),
        comment="Events and cost of sessions by minute.",
        postgresql_with={"fillfactor": "80"},
    )
    op.create_index(op.f("ix_activity_minutes_minute"), "activity_minutes", ["minute"], unique=False)
    op.create_table(
        "agents",
        sa.Column("session_id", sa.Uuid(), nullable=False, comment="Session that it works in."),
        sa.Column(
            "agent_type", sa.String(100), nullable=False, comment="spec, plan, build, research, docs, debug, main, or a sub-agent's name."
        ),
        sa.Column("parent_agent_id", sa.Uuid(), nullable=True, comment="Agent that started it."),
        sa.Column("model", sa.String(100), nullable=True, comment="Language model."),
        sa.Column("model_alias", sa.String(100), nullable=True, comment="Short name of the model (sonnet, opus, …)."),
        sa.Column("sdk_session_id", sa.String(255), nullable=True, comment="The agent SDK's session id, with which it can be resumed."),
        sa.Column("sdk_agent_id", sa.String(255), nullable=True, comment="The agent SDK's id of a sub-agent."),
        sa.Column("name", sa.Text(), nullable=True, comment="What it was asked to do, in a line."),
        sa.Column("checkpoint_id", sa.Integer(), nullable=True, comment="Checkpoint of the plan that it builds."),
        sa.Column("working_dir", sa.Text(), nullable=True, comment="Directory that it works in."),
        sa.Column("id", sa.Uuid(), nullable=False, comment="UUIDv7, or derived from the agent SDK's ids."),
        sa.Column("status", sa.String(20), nullable=False, comment="pending, executing, complete or failed."),
        sa.Column("input_tokens", sa.BigInteger(), server_default=sa.text("0"), nullable=False, comment="Uncached input tokens."),
        sa.Column("output_tokens", sa.BigInteger(), server_default=sa.text("0"), nullable=False, comment="Output tokens."),
        sa.Column(
            "cache_read_tokens", sa.BigInteger(), server_default=sa.text("0"), nullable=False, comment="Input tokens read from the cache."
        ),
        sa.Column(
            "cache_write_tokens", sa.BigInteger(), server_default=sa.text("0"), nullable=False, comment="Input tokens written to the cache."
        ),
        sa.Column(
            "cost", sa.Numeric(precision=20, scale=10, asdecimal=False), server_default=sa.text("0"), nullable=False, comment="US dollars."
        ),
        sa.Column("error_message", sa.Text(), nullable=True, comment="Why it failed."),
        sa.Column(
            "metadata",
            postgresql.JSONB(),
            server_default=sa.text("'{}'::jsonb"),
            nullable=False,
            comment="Whatever the application keeps with the agent.",
        ),
        sa.Column(
            "created_at", sa.TIMESTAMP(timezone=True), server_default=sa.text("now()"), nullable=False, comment="When the row was made."
        ),
        sa.Column(
            "updated_at", sa.TIMESTAMP(timezone=True), server_default=sa.text("now()"), nullable=False, comment="When the row last changed."
        ),
        sa.Column("started_at", sa.TIMESTAMP(timezone=True), nullable=True, comment="When it began to work."),
        sa.Column("completed_at", sa.TIMESTAMP(timezone=True), nullable=True, comment="When it ended."),
        sa.CheckConstraint("status IN ('pending', 'executing', 'complete', 'failed')", name=op.f("ck_agents_status")),
        sa.ForeignKeyConstraint(["session_id", "parent_agent_id"], ["agents.session_id", "agents.id"], name="fk_agents_parent"),
        sa.ForeignKeyConstraint(["session_id"], ["sessions.id"], name=op.f("fk_agents_session_id_sessions"), ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("session_id", "id", name=op.f("pk_agents")),
        comment="Invocations of agents, sub-agents included.",
        postgresql_with={"fillfactor": "80"},
    )
    op.create_index(op.f("ix_agents_id"), "agents", ["id"], unique=False)
    op.create_index(
        op.f("ix_agents_sdk_session_id"), "agents", ["sdk_session_id"], unique=False, postgresql_where=sa.text("sdk_session_id IS NOT NULL")
    )
    op.create_index(op.f("ix_agents_session_id_parent_agent_id"), "agents", ["session_id", "parent_agent_id"], unique=False)
    op.create_table(
        "memory_files",
        sa.Column("session_id", sa.Uuid(), nullable=False, comment="Session that uses it."),
        sa.Column("file_path", sa.String(500), nullable=False, comment="Path of the file."),
        sa.Column(
            "is_primary",
            sa.Boolean(),
            server_default=sa.text("false"),
            nullable=False,
            comment="Whether it is the session's main memory file.",
        ),
        sa.Column("loaded", sa.Boolean(), server_default=sa.text("true"), nullable=False, comment="Whether it is loaded now."),
        sa.Column(
            "id",
            sa.BigInteger(),
            server_default=sa.text("nextval('memory_files_id_seq')"),
            autoincrement=False,
            nullable=False,
            comment="Number of the row.",
        ),
        sa.Column(
            "created_at", sa.TIMESTAMP(timezone=True), server_default=sa.text("now()"), nullable=False, comment="When the row was made."
        ),
        sa.Column(
            "updated_at", sa.TIMESTAMP(timezone=True), server_default=sa.text("now()"), nullable=False, comment="When the row last changed."
        ),
        sa.ForeignKeyConstraint(["session_id"], ["sessions.id"], name=op.f("fk_memory_files_session_id_sessions"), ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("session_id", "id", name=op.f("pk_memory_files")),
        sa.UniqueConstraint("session_id", "file_path", name=op.f("uq_memory_files_session_id_file_path")),
        comment="Memory files of sessions.",
    )
    op.create_index(op.f("ix_memory_files_id"), "memory_files", ["id"], unique=False)
    op.create_index(
        "uq_memory_files_session_id_primary", "memory_files", ["session_id"], unique=True, postgresql_where=sa.text("is_primary")
    )
    op.create_table(
        "messages",
        sa.Column("session_id", sa.Uuid(), nullable=False, comment="Session that it belongs to."),
        sa.Column(
            "message_index", sa.BigInteger(), autoincrement=False, nullable=False, comment="Order in the session, from 0 without a gap."
        ),
        sa.Column(
            "id",
            sa.BigInteger(),
            server_default=sa.text("nextval('messages_id_seq')"),
            nullable=False,
            comment="Number of the row; no order to rely on.",
        ),
        sa.Column(
            "message_data", postgresql.JSONB(), nullable=False, comment="role, content, timestamp; optionally context and code_changes."
        ),
        sa.Column("client_id", sa.String(255), nullable=True, comment="The sender's key of the message: sent again it changes nothing."),
        sa.Column(
            "created_at", sa.TIMESTAMP(timezone=True), server_default=sa.text("now()"), nullable=False, comment="When it was stored."
        ),
        sa.ForeignKeyConstraint(["session_id"], ["sessions.id"], name=op.f("fk_messages_session_id_sessions"), ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("session_id", "message_index", name=op.f("pk_messages")),
        comment="Display messages of sessions.",
    )
    op.create_index(
        "uq_messages_session_id_client_id",
        "messages",
        ["session_id", "client_id"],
        unique=True,
        postgresql_where=sa.text("client_id IS NOT NULL"),
    )
    op.create_table(
        "agent_logs",
        sa.Column("session_id", sa.Uuid(), nullable=False, comment="Session that it happened in."),
        sa.Column("agent_id", sa.Uuid(), nullable=True, comment="Agent that did it; null: the session's own."),
        sa.Column("event_category", sa.String(20), nullable=False, comment="hook, response or phase."),
        sa.Column("event_type", sa.String(200), nullable=False, comment="PreToolUse, TextBlock, …"),
        sa.Column("tool_name", sa.String(200), nullable=True, comment="Tool, for events of tools."),
        sa.Column("tool_use_id", sa.String(255), nullable=True, comment="The call that the event belongs to; one call, several events."),
        sa.Column("sdk_session_id", sa.String(255), nullable=True, comment="The agent SDK's session id."),
        sa.Column("checkpoint_id", sa.Integer(), nullable=True, comment="Checkpoint of the plan that was built."),
        sa.Column("duration_ms", sa.BigInteger(), nullable=True, comment="How long it took, in milliseconds."),
        sa.Column("id", sa.Uuid(), nullable=False, comment="UUIDv7, or derived from what was captured: sent again it is the same."),
        sa.Column("event_index", sa.BigInteger(), nullable=False, comment="Order of recording in the session, from 0 without a gap."),
        sa.Column("tool_input", postgresql.JSON(), nullable=True, comment="Input of the tool, lossless."),
        sa.Column("payload", postgresql.JSON(), nullable=True, comment="Full event data, lossless."),
        sa.Column("tool_output", sa.Text(), nullable=True, comment="Readable output of the tool, cut at 16 kB."),
        sa.Column("content", sa.Text(), nullable=True, comment="Readable text of the event, cut at 16 kB."),
        sa.Column(
            "truncated", sa.Boolean(), server_default=sa.text("false"), nullable=False, comment="Whether tool_output or content was cut."
        ),
        sa.Column("timestamp", sa.TIMESTAMP(timezone=True), nullable=False, comment="When it happened, by the sender's clock."),
        sa.Column(
            "recorded_at", sa.TIMESTAMP(timezone=True), server_default=sa.text("now()"), nullable=False, comment="When it was stored."
        ),
        sa.CheckConstraint("event_category IN ('hook', 'response', 'phase')", name=op.f("ck_agent_logs_event_category")),
        sa.ForeignKeyConstraint(["session_id", "agent_id"], ["agents.session_id", "agents.id"], name="fk_agent_logs_agent"),
        sa.ForeignKeyConstraint(["session_id"], ["sessions.id"], name=op.f("fk_agent_logs_session_id_sessions"), ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("session_id", "id", name=op.f("pk_agent_logs")),
        sa.UniqueConstraint("session_id", "event_index", name=op.f("uq_agent_logs_session_id_event_index")),
        comment="Events of sessions.",
    )
    op.create_index(
        op.f("ix_agent_logs_session_id_agent_id_event_index"), "agent_logs", ["session_id", "agent_id", "event_index"], unique=False
    )
    op.create_index(
        op.f("ix_agent_logs_session_id_timestamp_event_index"), "agent_logs", ["session_id", "timestamp", "event_index"], unique=False
    )
    op.create_index(
        op.f("ix_agent_logs_session_id_tool_use_id"),
        "agent_logs",
        ["session_id", "tool_use_id"],
        unique=False,
        postgresql_where=sa.text("tool_use_id IS NOT NULL"),
    )
    op.create_table(
        "transcripts",
        sa.Column("session_id", sa.Uuid(), nullable=False, comment="Session that it belongs to."),
        sa.Column("id", sa.Uuid(), nullable=False, comment="Derived from project_key, sdk_session_id and subpath."),
        sa.Column("agent_id", sa.Uuid(), nullable=True, comment="Agent whose transcript it is."),
        sa.Column("project_key", sa.Text(), nullable=False, comment="The agent SDK's name of the project folder."),
        sa.Column("sdk_session_id", sa.String(255), nullable=False, comment="The agent SDK's session id."),
        sa.Column("subpath", sa.Text(), nullable=False, comment="Empty: the session's own; else its path below the session's folder."),
        sa.Column("source", sa.String(10), nullable=False, comment="Where the entries come from: store or file."),
        sa.Column("next_seq", sa.BigInteger(), server_default=sa.text("0"), nullable=False, comment="Entries, and the next seq."),
        sa.Column(
            "projected_seq",
            sa.BigInteger(),
            server_default=sa.text("0"),
            nullable=False,
            comment="Events, messages and usage were made of the entries before this seq.",
        ),
        sa.Column("file_path", sa.Text(), nullable=True, comment="File that was read."),
        sa.Column("file_offset", sa.BigInteger(), server_default=sa.text("0"), nullable=False, comment="Bytes of the file that were read."),
        sa.Column(
            "is_rewritten",
            sa.Boolean(),
            server_default=sa.text("false"),
            nullable=False,
            comment="Whether the file was rewritten once: what is known is skipped since.",
        ),
        sa.Column("file_print", sa.Text(), nullable=True, comment="Fingerprint of what was read of the file: another one is another file."),
        sa.Column(
            "meta",
            postgresql.JSON(),
            nullable=True,
            comment="A sub-agent's .meta.json; for a session's own stream where its title came from.",
        ),
        sa.Column("summary", postgresql.JSON(), nullable=True, comment="The agent SDK's own summary of the stream."),
        sa.Column("mtime", sa.TIMESTAMP(timezone=True), nullable=True, comment="When the last entry was stored."),
        sa.Column(
            "reported_cost",
            sa.Numeric(precision=20, scale=10, asdecimal=False),
            nullable=True,
            comment="US dollars that the client reports in total.",
        ),
        sa.Column("reported_usage", postgresql.JSON(), nullable=True, comment="Tokens by model that the client reports in total."),
        sa.Column(
            "created_at", sa.TIMESTAMP(timezone=True), server_default=sa.text("now()"), nullable=False, comment="When the row was made."
        ),
        sa.CheckConstraint("source IN ('store', 'file')", name=op.f("ck_transcripts_source")),
        sa.ForeignKeyConstraint(["session_id", "agent_id"], ["agents.session_id", "agents.id"], name="fk_transcripts_agent"),
        sa.ForeignKeyConstraint(["session_id"], ["sessions.id"], name=op.f("fk_transcripts_session_id_sessions"), ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("session_id", "id", name=op.f("pk_transcripts")),
        comment="Streams of transcript entries.",
        postgresql_with={"fillfactor": "80"},
    )
    op.create_index(
        "ix_transcripts_project_key_mtime",
        "transcripts",
        ["project_key", sa.literal_column("mtime DESC")],
        unique=False,
        postgresql_where=sa.text("subpath = ''"),
    )
    op.create_index(
        op.f("ix_transcripts_project_key_sdk_session_id_subpath"), "transcripts", ["project_key", "sdk_session_id", "subpath"], unique=False
    )
    op.create_table(
        "usage",
        sa.Column("session_id", sa.Uuid(), nullable=False, comment="Session that asked."),
        sa.Column("message_id", sa.String(255), nullable=False, comment="The API's id of the answer."),
        sa.Column("agent_id", sa.Uuid(), nullable=False, comment="Agent that asked."),
        sa.Column("model", sa.String(100), nullable=True, comment="Language model."),
        sa.Column("input_tokens", sa.BigInteger(), server_default=sa.text("0"), nullable=False, comment="Uncached input tokens."),
        sa.Column("output_tokens", sa.BigInteger(), server_default=sa.text("0"), nullable=False, comment="Output tokens."),
        sa.Column(
            "cache_read_tokens", sa.BigInteger(), server_default=sa.text("0"), nullable=False, comment="Input tokens read from the cache."
        ),
        sa.Column(
            "cache_write_5m_tokens",
            sa.BigInteger(),
            server_default=sa.text("0"),
            nullable=False,
            comment="Input tokens written to the cache for five minutes.",
        ),
        sa.Column(
            "cache_write_1h_tokens",
            sa.BigInteger(),
            server_default=sa.text("0"),
            nullable=False,
            comment="Input tokens written to the cache for an hour.",
        ),
        sa.Column(
            "web_search_requests",
            sa.BigInteger(),
            server_default=sa.text("0"),
            nullable=False,
            comment="Web searches, which are priced each.",
        ),
        sa.Column(
            "computed_cost",
            sa.Numeric(precision=20, scale=10, asdecimal=False),
            nullable=True,
            comment="US dollars by the price list; null where the model is not on it.",
        ),
        sa.Column("reported_cost", sa.Numeric(precision=20, scale=10, asdecimal=False), nullable=True, comment="US dollars by the sender."),
        sa.Column("occurred_at", sa.TIMESTAMP(timezone=True), nullable=False, comment="When it was answered."),
        sa.ForeignKeyConstraint(["session_id", "agent_id"], ["agents.session_id", "agents.id"], name="fk_usage_agent"),
        sa.ForeignKeyConstraint(["session_id"], ["sessions.id"], name=op.f("fk_usage_session_id_sessions"), ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("session_id", "message_id", name=op.f("pk_usage")),
        comment="Tokens and cost by answer of a language model.",
    )
    op.create_index(op.f("ix_usage_occurred_at"), "usage", ["occurred_at"], unique=False)
    op.create_index(op.f("ix_usage_session_id_agent_id"), "usage", ["session_id", "agent_id"], unique=False)
    op.create_table(
        "transcript_entries",
        sa.Column("session_id", sa.Uuid(), nullable=False, comment="Session that it belongs to."),
        sa.Column("transcript_id", sa.Uuid(), nullable=False, comment="Stream that it belongs to."),
        sa.Column("seq", sa.BigInteger(), autoincrement=False, nullable=False, comment="Order in the stream, from 0 without a gap."),
        sa.Column("uuid", sa.Text(), nullable=True, comment="The sender's key of the entry; null where it has none, or had it before."),
        sa.Column("entry", postgresql.JSON(), nullable=False, comment="The entry, byte for byte."),
        sa.ForeignKeyConstraint(
            ["session_id", "transcript_id"],
            ["transcripts.session_id", "transcripts.id"],
            name="fk_transcript_entries_transcript",
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("session_id", "transcript_id", "seq", name=op.f("pk_transcript_entries")),
        sa.UniqueConstraint("session_id", "transcript_id", "uuid", name=op.f("uq_transcript_entries_session_id_transcript_id_uuid")),
        comment="Entries of transcripts, verbatim.",
    )


def downgrade() -> None:
    op.drop_table("transcript_entries")
    op.drop_index(op.f("ix_usage_session_id_agent_id"), table_name="usage")
    op.drop_index(op.f("ix_usage_occurred_at"), table_name="usage")
    op.drop_table("usage")
    op.drop_index(op.f("ix_transcripts_project_key_sdk_session_id_subpath"), table_name="transcripts")
    op.drop_index("ix_transcripts_project_key_mtime", table_name="transcripts", postgresql_where=sa.text("subpath = ''"))
    op.drop_table("transcripts")
    op.drop_index(
        op.f("ix_agent_logs_session_id_tool_use_id"), table_name="agent_logs", postgresql_where=sa.text("tool_use_id IS NOT NULL")
    )
    op.drop_index(op.f("ix_agent_logs_session_id_timestamp_event_index"), table_name="agent_logs")
    op.drop_index(op.f("ix_agent_logs_session_id_agent_id_event_index"), table_name="agent_logs")
    op.drop_table("agent_logs")
    op.drop_index("uq_messages_session_id_client_id", table_name="messages", postgresql_where=sa.text("client_id IS NOT NULL"))
    op.drop_table("messages")
    op.drop_index("uq_memory_files_session_id_primary", table_name="memory_files", postgresql_where=sa.text("is_primary"))
    op.drop_index(op.f("ix_memory_files_id"), table_name="memory_files")
    op.drop_table("memory_files")
    op.drop_index(op.f("ix_agents_session_id_parent_agent_id"), table_name="agents")
    op.drop_index(op.f("ix_agents_sdk_session_id"), table_name="agents", postgresql_where=sa.text("sdk_session_id IS NOT NULL"))
    op.drop_index(op.f("ix_agents_id"), table_name="agents")
    op.drop_table("agents")
    op.drop_index(op.f("ix_activity_minutes_minute"), table_name="activity_minutes")
    op.drop_table("activity_minutes")
    op.drop_index(op.f("ix_songs_project_id_song_id"), table_name="songs")
    op.drop_index(op.f("ix_songs_clip_ids"), table_name="songs", postgresql_using="gin")
    op.drop_table("songs")
    op.drop_index(op.f("ix_sessions_status_last_activity_id"), table_name="sessions")
    op.drop_index(op.f("ix_sessions_session_type_last_activity_id"), table_name="sessions")
    op.drop_index(op.f("ix_sessions_session_slug"), table_name="sessions")
    op.drop_index(op.f("ix_sessions_last_activity_id"), table_name="sessions")
    op.drop_index("ix_sessions_deleted", table_name="sessions", postgresql_where=sa.text("deleted_at IS NOT NULL"))
    op.drop_index(op.f("ix_sessions_current_project_last_activity_id"), table_name="sessions")
    op.drop_index(op.f("ix_sessions_agent_name_last_activity_id"), table_name="sessions")
    op.drop_table("sessions")
    op.drop_index(op.f("ix_sdk_sessions_session_id"), table_name="sdk_sessions")
    op.drop_table("sdk_sessions")
    op.drop_index(op.f("ix_playlists_song_ids"), table_name="playlists", postgresql_using="gin")
    op.drop_index(op.f("ix_playlists_project_id_playlist_id"), table_name="playlists")
    op.drop_table("playlists")
    op.drop_index(op.f("ix_clips_project_id_clip_id"), table_name="clips")
    op.drop_table("clips")
    op.drop_table("clip_versions")
    op.execute(sa.schema.DropSequence(sa.Sequence("memory_files_id_seq")))
    op.execute(sa.schema.DropSequence(sa.Sequence("messages_id_seq")))
