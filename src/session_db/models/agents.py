"""One invocation of an agent in a session, sub-agents included."""

from datetime import datetime
from typing import Annotated, Any, Literal, Self
from uuid import UUID

from pydantic import model_validator
from sqlalchemy import CheckConstraint, ForeignKeyConstraint, Index, text
from sqlmodel import Field

from session_db.errors import InvalidInput
from session_db.ids import new_id
from session_db.models.table import (
    Input,
    KeepsMetadata,
    Model,
    Text,
    counter,
    dollars,
    metadata_field,
    moment,
    optional_moment,
)
from session_db.models.values import KEPT, Count, Id, Int32, Moment, described_by

AgentStatus = Literal["pending", "executing", "complete", "failed"]


class AgentBase(Model):
    """Fields that a caller may set and read."""

    session_id: Id = Field(description="Session that it works in.")
    agent_type: str = Field(max_length=100, description="spec, plan, build, research, docs, debug, main, or a sub-agent's name.")
    parent_agent_id: Id | None = Field(default=None, description="Agent that started it.")
    model: str | None = Field(default=None, max_length=100, description="Language model.")
    model_alias: str | None = Field(default=None, max_length=100, description="Short name of the model (sonnet, opus, …).")
    sdk_session_id: str | None = Field(
        default=None, max_length=255, description="The agent SDK's session id, with which it can be resumed."
    )
    sdk_agent_id: str | None = Field(default=None, max_length=255, description="The agent SDK's id of a sub-agent.")
    name: str | None = Field(default=None, sa_type=Text, description="What it was asked to do, in a line.")
    checkpoint_id: Int32 | None = Field(default=None, description="Checkpoint of the plan that it builds.")
    working_dir: str | None = Field(default=None, sa_type=Text, description="Directory that it works in.")


class Agent(AgentBase, KeepsMetadata, table=True):
    """Once an agent has usage rows they are the only source of its tokens and cost."""

    __tablename__ = "agents"
    __table_args__ = (
        ForeignKeyConstraint(["session_id"], ["sessions.id"], ondelete="CASCADE"),
        ForeignKeyConstraint(["session_id", "parent_agent_id"], ["agents.session_id", "agents.id"], name="fk_agents_parent"),
        CheckConstraint("status IN ('pending', 'executing', 'complete', 'failed')", name="status"),
        Index(None, "id"),
        Index(None, "sdk_session_id", postgresql_where=text("sdk_session_id IS NOT NULL")),
        Index(None, "session_id", "parent_agent_id"),
        Index(None, "session_id", "created_at", "id"),
        {"comment": "Invocations of agents, sub-agents included.", "postgresql_with": {"fillfactor": "80"}},
    )

    session_id: UUID = Field(primary_key=True, description="Session that it works in.")
    id: UUID = Field(default_factory=new_id, primary_key=True, description="UUIDv7, or derived from the agent SDK's ids.")
    status: str = Field(default="pending", max_length=20, description="pending, executing, complete or failed.")
    input_tokens: int = counter("Uncached input tokens.")
    output_tokens: int = counter("Output tokens.")
    cache_read_tokens: int = counter("Input tokens read from the cache.")
    cache_write_tokens: int = counter("Input tokens written to the cache.")
    cost: float = dollars("US dollars.")
    error_message: str | None = Field(default=None, sa_type=Text, description="Why it failed.")
    metadata_: dict[str, Any] = metadata_field("Whatever the application keeps with the agent.")
    created_at: datetime = moment("When the row was made.")
    updated_at: datetime = moment("When the row last changed.")
    started_at: datetime | None = optional_moment("When it began to work.")
    completed_at: datetime | None = optional_moment("When it ended.")


@described_by(Agent)
class AgentCreate(AgentBase, Input):
    """An agent to add to a session."""

    id: Id | None = Field(default=None, description="Id to give it; unset: a new one.")
    status: AgentStatus = "pending"
    cost: float = Field(default=0.0, ge=0, description="US dollars, where no usage is recorded.")
    metadata_: dict[str, Any] = Field(default_factory=dict, alias="metadata", description="Whatever the application keeps with the agent.")
    started_at: Moment | None = None
    completed_at: Moment | None = None

    @model_validator(mode="after")
    def _started_by_another(self) -> Self:
        if self.id is not None and self.parent_agent_id == self.id:
            problem = f"parent_agent_id: agent {self.id} cannot have started itself; leave it out."
            raise InvalidInput(problem, field="parent_agent_id", agent_id=self.id)
        return self


@described_by(Agent)
class AgentUpdate(Input):
    """What may change later. Only what is set is applied; an explicit None clears."""

    agent_type: Annotated[str | None, KEPT] = Field(default=None, max_length=100)
    status: Annotated[AgentStatus | None, KEPT] = None
    model: str | None = Field(default=None, max_length=100)
    model_alias: str | None = Field(default=None, max_length=100)
    sdk_session_id: str | None = Field(default=None, max_length=255)
    sdk_agent_id: str | None = Field(default=None, max_length=255)
    name: str | None = None
    checkpoint_id: Int32 | None = None
    working_dir: str | None = None
    input_tokens: Annotated[Count | None, KEPT] = None
    output_tokens: Annotated[Count | None, KEPT] = None
    cache_read_tokens: Annotated[Count | None, KEPT] = None
    cache_write_tokens: Annotated[Count | None, KEPT] = None
    cost: Annotated[float | None, KEPT] = Field(default=None, ge=0)
    error_message: str | None = None
    metadata_: dict[str, Any] | None = Field(default=None, alias="metadata", description="Replaces the whole object.")
    started_at: Moment | None = None
    completed_at: Moment | None = None


class AgentRead(AgentBase):
    """An agent as it is shown."""

    id: UUID
    status: str
    input_tokens: int = 0
    output_tokens: int = 0
    cache_read_tokens: int = 0
    cache_write_tokens: int = 0
    cost: float = 0.0
    error_message: str | None = None
    metadata_: dict[str, Any] = Field(default_factory=dict, serialization_alias="metadata")
    created_at: datetime
    updated_at: datetime
    started_at: datetime | None = None
    completed_at: datetime | None = None
