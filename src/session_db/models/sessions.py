"""One agent session: a workflow (spec → plan → build → docs) or a chat."""

import ntpath
import posixpath
import re
from datetime import datetime
from typing import Annotated, Any, ClassVar, Literal, Self, get_args
from uuid import UUID

from pydantic import SerializerFunctionWrapHandler, computed_field, model_serializer, model_validator
from pydantic.config import JsonDict
from sqlalchemy import CheckConstraint, Index, UniqueConstraint, text
from sqlalchemy.orm import Synonym, synonym
from sqlmodel import Field
from sqlmodel._compat import SQLModelConfig

from session_db.errors import InvalidInput
from session_db.ids import new_id
from session_db.models.search import words_index
from session_db.models.table import (
    Input,
    KeepsMetadata,
    Model,
    Money,
    OwnJSON,
    Text,
    counter,
    dollars,
    flag,
    metadata_field,
    moment,
    optional_moment,
)
from session_db.models.text import shown
from session_db.models.values import KEPT, Id, Moment, described_by, examples

SessionType = Literal["full", "quick", "research", "chat"]
Activity = Literal["working", "waiting", "idle", "done", "failed", "lost"]

_ChatStatus = Literal["active", "idle", "terminated"]
_WorkflowStatus = Literal["created", "spec", "plan", "build", "docs", "complete", "failed"]
SessionStatus = Literal[_ChatStatus, _WorkflowStatus]
CHAT_STATUSES = get_args(_ChatStatus)
WORKFLOW_STATUSES = get_args(_WorkflowStatus)
ENDED_STATUSES = ("terminated", "complete", "failed")


SLUG = "[A-Za-z0-9][A-Za-z0-9._-]{0,199}"
"""One plain path component."""
_SLUG_SCHEMA: JsonDict = {"pattern": f"^{SLUG}$"}


def statuses_of(session_type: str) -> tuple[str, ...]:
    """Return the words that `status` may be in a session of this type."""
    return CHAT_STATUSES if session_type == "chat" else WORKFLOW_STATUSES


def refuse_unknown_status(session_type: str, status: str) -> None:
    """Raise ``InvalidInput`` where a session of this type cannot have this status."""
    if status not in statuses_of(session_type):
        allowed = ", ".join(statuses_of(session_type))
        raise InvalidInput(
            f"a {session_type} session cannot have status {shown(status)}; use one of {allowed}.", field="status", status=status
        )


def refuse_bad_slug(slug: str) -> None:
    """Raise ``InvalidInput`` where a slug is more than one plain path component."""
    if not re.fullmatch(SLUG, slug):
        raise InvalidInput(
            f"session_slug {shown(slug)} is no folder name; "
            "use up to 200 letters, digits, '.', '_' and '-', the first one a letter or digit.",
            field="session_slug",
            slug=slug,
        )


def normalised_directory(path: str) -> str:
    """Return an absolute path without ``.``, ``..`` and a trailing slash; symbolic links stay as they are.

    Raises:
        InvalidInput: the path is relative, or no text.
    """
    if not isinstance(path, str):
        raise InvalidInput(f"working_dir {shown(path)} is no text; give the absolute path.", field="working_dir", working_dir=path)
    is_windows = re.match(r"[A-Za-z]:|\\\\", path) is not None
    if not (ntpath.isabs(path) if is_windows else posixpath.isabs(path)):
        raise InvalidInput(f"working_dir {shown(path)} is relative; give the absolute path.", field="working_dir", working_dir=path)
    # POSIX leaves the meaning of two leading slashes open; for a project they are a slip.
    return ntpath.normpath(path) if is_windows else posixpath.normpath("/" + path.lstrip("/"))


def _quoted(words: tuple[str, ...]) -> str:
    return ", ".join(f"'{word}'" for word in words)


class SessionBase(Model):
    """Fields that a caller may set and read."""

    session_slug: str | None = Field(
        default=None,
        max_length=200,
        description="Folder name of a workflow session, e.g. 2026-01-15_auth-feature.",
        schema_extra={"json_schema_extra": _SLUG_SCHEMA},
    )
    title: str | None = Field(default=None, sa_type=Text, description="What the session is about, in a line.")
    description: str | None = Field(default=None, sa_type=Text, description="What the session is about, at length.")
    working_dir: str | None = Field(default=None, sa_type=Text, description="Absolute path of the project root.")
    agent_name: str | None = Field(default=None, max_length=50, description="Which agent a chat talks to (strudel, claude-code, …).")
    model_name: str | None = Field(default=None, max_length=100, description="Language model.")
    provider: str | None = Field(default=None, max_length=50, description="Who serves the model.")
    use_claude_code: bool = flag("Whether Claude Code runs the session.")
    current_project: str | None = Field(default=None, max_length=255, description="Project that is worked on.")
    host: str | None = Field(default=None, max_length=255, description="Machine that the session runs on.")
    owner: str | None = Field(default=None, max_length=255, description="Whose session it is.")
    pinned: bool = flag("Kept by every cleanup.")


class Session(SessionBase, KeepsMetadata, table=True):
    """Everything hangs on a session; `message_count` and `event_count` are the next index of each."""

    __tablename__ = "sessions"
    __table_args__ = (
        CheckConstraint("session_type IN ('full', 'quick', 'research', 'chat')", name="session_type"),
        CheckConstraint(
            f"CASE WHEN session_type = 'chat' THEN status IN ({_quoted(CHAT_STATUSES)}) ELSE status IN ({_quoted(WORKFLOW_STATUSES)}) END",
            name="status",
        ),
        UniqueConstraint("working_dir", "session_slug"),
        Index(None, "session_slug"),
        Index(None, "last_activity", "id"),
        Index(None, "status", "last_activity", "id"),
        Index(None, "session_type", "last_activity", "id"),
        Index(None, "agent_name", "last_activity", "id"),
        Index(None, "current_project", "last_activity", "id"),
        Index(None, "working_dir", "last_activity", "id"),
        Index("ix_sessions_metadata", "metadata", postgresql_using="gin", postgresql_ops={"metadata": "jsonb_path_ops"}),
        words_index("ix_sessions_words", "session"),
        # Deleted sessions are few, and erasing asks for the first of them again and again.
        Index("ix_sessions_deleted", "id", postgresql_where=text("deleted_at IS NOT NULL")),
        Index("ix_sessions_behind", "id", postgresql_where=text("workspace_version > workspace_synced_version")),
        # The tables hang on this one, so a row grows old: free room on its page keeps updates of counters on it.
        {"comment": "Agent sessions: workflows and chats.", "postgresql_with": {"fillfactor": "80"}},
    )

    id: UUID = Field(default_factory=new_id, primary_key=True, description="UUIDv7, or the agent SDK's own session id.")
    session_type: str = Field(default="chat", max_length=20, description="full, quick or research (workflow sessions), or chat.")
    status: str = Field(
        default="active",
        max_length=20,
        description="Chat: active, idle, terminated; else created, spec, plan, build, docs, complete, failed.",
    )
    activity: str = Field(
        "idle",
        max_length=20,
        description="What goes on: working, waiting, idle, done, failed or lost.",
        sa_column_kwargs={"server_default": "idle"},
    )
    error_message: str | None = Field(default=None, sa_type=Text, description="Why it failed.")
    metadata_: dict[str, Any] = metadata_field("Whatever the application keeps with the session.")
    resumed_from: UUID | None = Field(default=None, description="Session that this one goes on from.")
    forked_from: UUID | None = Field(default=None, description="Session whose conversation this one copied at its start.")
    cleared_from: UUID | None = Field(default=None, description="Session that was cleared to begin this one.")
    total_cost: float = dollars("US dollars of all agents.")
    reported_cost: float | None = Field(default=None, sa_type=Money, description="US dollars that the client itself reports in total.")
    total_input_tokens: int = counter("Uncached input tokens of all agents.")
    total_output_tokens: int = counter("Output tokens of all agents.")
    total_cache_read_tokens: int = counter("Input tokens read from the cache.")
    total_cache_write_tokens: int = counter("Input tokens written to the cache.")
    message_count: int = counter("Messages, and the next message_index.")
    event_count: int = counter("Events, and the next event_index.")
    secrets_masked: int = counter("Secrets that were masked in events, messages and titles.")
    workspace_version: int = counter("Raised by each change its folder shows.")
    workspace_synced_version: int = counter("workspace_version that its folder shows.")
    workspace_edits: dict[str, Any] | None = Field(
        default=None,
        sa_type=OwnJSON,
        nullable=True,
        description="Edits of its files that are here, and may not be in its state.json yet.",
    )
    created_at: datetime = moment("When it began.")
    updated_at: datetime = moment("When the row last changed.")
    last_activity: datetime = moment("When something last happened; never moves back.")
    started_at: datetime | None = optional_moment("When work began.")
    completed_at: datetime | None = optional_moment("When it ended.")
    deleted_at: datetime | None = optional_moment("When it was deleted; its rows are being erased.")

    session_id: ClassVar[Synonym[UUID]] = synonym("id")

    def __init__(self, **values: Any) -> None:
        # SQLModel drops names that are no fields, a synonym's value with them.
        if "session_id" in values:
            values["id"] = values.pop("session_id")
        super().__init__(**values)

    @model_serializer(mode="wrap")
    def _with_both_ids(self, serialize: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """Serialize the row under both names of its id; the second one is no field."""
        fields: dict[str, Any] = serialize(self)
        return {"session_id": self.id} | fields

    @property
    def session_name(self) -> str | None:
        """The name that a person gave it."""
        name = self.metadata_.get("name")
        return None if name is None else str(name)

    @property
    def display_name(self) -> str:
        """Name, else title, else slug, else agent and date."""
        given = self.session_name or self.title or self.session_slug
        return given or f"{self.agent_name or self.session_type} {self.created_at:%Y-%m-%d %H:%M}"


class SessionCreate(SessionBase, Input):
    """A chat (`agent_name`, `model_name`, `session_name`) or a workflow (`session_slug`, `title`, `working_dir`, `session_type`)."""

    model_config = examples(
        {
            "agent_name": "strudel",
            "model_name": "grok-4-fast",
            "session_name": "Kick",
            "metadata": {"item_type": "clip", "item_id": "kick"},
        },
        {"session_slug": "2026-01-15_auth-feature", "title": "Implement authentication", "working_dir": "/home/me/project"},
    )

    session_id: Id | None = Field(default=None, description="Id to give it; unset: a new one.")
    session_type: SessionType | None = Field(default=None, description="Unset: full with a slug, else chat.")
    status: str | None = Field(default=None, description="Unset: active (chat) or created.")
    session_name: str | None = Field(default=None, description="Custom session name, kept in metadata.")
    metadata_: dict[str, Any] = Field(
        default_factory=dict, alias="metadata", description="Whatever the application keeps with the session."
    )
    resumed_from: Id | None = Field(default=None, description="Session that this one goes on from.")
    forked_from: Id | None = Field(default=None, description="Session whose conversation this one copied at its start.")

    @model_validator(mode="after")
    def _complete(self) -> Self:
        if self.session_type is None:
            self.session_type = "full" if self.session_slug is not None else "chat"
        if self.session_type == "chat" and not self.agent_name:
            raise InvalidInput("agent_name: a chat session needs the name of its agent.", field="agent_name")
        if self.working_dir is not None:
            self.working_dir = normalised_directory(self.working_dir)
        if self.session_slug is not None:
            refuse_bad_slug(self.session_slug)
            if self.working_dir is None:
                raise InvalidInput("working_dir: a session with a slug needs the absolute path of its project.", field="working_dir")
        if self.status is None:
            self.status = statuses_of(self.session_type)[0]
        refuse_unknown_status(self.session_type, self.status)
        return self


@described_by(Session)
class SessionUpdate(Input):
    """What may change later. Only what is set is applied; an explicit None clears."""

    status: Annotated[str | None, KEPT] = None
    activity: Annotated[Activity | None, KEPT] = None
    title: str | None = None
    description: str | None = None
    session_slug: str | None = Field(default=None, max_length=200, schema_extra={"json_schema_extra": _SLUG_SCHEMA})
    working_dir: str | None = None
    agent_name: str | None = Field(default=None, max_length=50)
    model_name: str | None = Field(default=None, max_length=100)
    provider: str | None = Field(default=None, max_length=50)
    use_claude_code: Annotated[bool | None, KEPT] = None
    current_project: str | None = Field(default=None, max_length=255)
    host: str | None = Field(default=None, max_length=255)
    owner: str | None = Field(default=None, max_length=255)
    pinned: Annotated[bool | None, KEPT] = None
    error_message: str | None = None
    metadata_: dict[str, Any] | None = Field(default=None, alias="metadata", description="Replaces the whole object.")
    started_at: Moment | None = None
    completed_at: Moment | None = None


class SessionPatch(SessionUpdate):
    """Like ``SessionUpdate``, with the name, and metadata that is merged."""

    model_config = examples({"status": "idle", "name": "Kick, punchier", "metadata": {"bpm": 122, "scale": None}})

    name: str | None = Field(default=None, description="Name that a person gives it, kept in metadata; null clears it.")
    metadata_: dict[str, Any] | None = Field(
        default=None,
        alias="metadata",
        description="Merged into what is there (RFC 7396): null removes a key, an object is merged, all else replaces.",
    )


class SessionNameUpdate(Input):
    """A name to set, or None to clear it."""

    name: str | None = None


class SessionRead(SessionBase):
    """A session as it is shown."""

    model_config = SQLModelConfig(from_attributes=True, populate_by_name=True)

    session_id: UUID
    session_type: str
    status: str
    activity: str
    error_message: str | None = None
    metadata_: dict[str, Any] = Field(default_factory=dict, serialization_alias="metadata")
    resumed_from: UUID | None = None
    forked_from: UUID | None = None
    cleared_from: UUID | None = None
    total_cost: float = 0.0
    reported_cost: float | None = None
    total_input_tokens: int = 0
    total_output_tokens: int = 0
    total_cache_read_tokens: int = 0
    total_cache_write_tokens: int = 0
    message_count: int = 0
    event_count: int = 0
    secrets_masked: int = Field(default=0, description="Secrets that were masked in events, messages and titles.")
    session_name: str | None = Field(default=None, description="Custom session name from metadata.")
    display_name: str | None = Field(default=None, description="Name, else title, else slug, else agent and date.")
    created_at: datetime
    updated_at: datetime
    last_activity: datetime
    started_at: datetime | None = None
    completed_at: datetime | None = None

    @computed_field  # type: ignore[prop-decorator]
    @property
    def unattributed_cost(self) -> float | None:
        """Reported minus computed US dollars; None where nothing was reported, or where the report includes another session's total."""
        if self.reported_cost is None or self.forked_from is not None:
            return None
        return round(self.reported_cost - self.total_cost, 10)
