"""Usage: the tokens and the cost of one answer of a language model."""

from datetime import date, datetime
from uuid import UUID

from sqlalchemy import ForeignKeyConstraint, Index
from sqlmodel import Field

from session_db.models.table import Model, Money, UtcDateTime, counter, dollars


class Usage(Model, table=True):
    """One API message; the agent's and the session's totals are the sums over these rows."""

    __tablename__ = "usage"
    __table_args__ = (
        ForeignKeyConstraint(["session_id"], ["sessions.id"], ondelete="CASCADE"),
        ForeignKeyConstraint(["session_id", "agent_id"], ["agents.session_id", "agents.id"], name="fk_usage_agent"),
        Index(None, "session_id", "agent_id"),
        Index(None, "occurred_at"),
        {"comment": "Tokens and cost by answer of a language model."},
    )

    session_id: UUID = Field(primary_key=True, description="Session that asked.")
    message_id: str = Field(primary_key=True, max_length=255, description="The API's id of the answer.")
    agent_id: UUID = Field(description="Agent that asked.")
    model: str | None = Field(default=None, max_length=100, description="Language model.")
    input_tokens: int = counter("Uncached input tokens.")
    output_tokens: int = counter("Output tokens.")
    cache_read_tokens: int = counter("Input tokens read from the cache.")
    cache_write_5m_tokens: int = counter("Input tokens written to the cache for five minutes.")
    cache_write_1h_tokens: int = counter("Input tokens written to the cache for an hour.")
    web_search_requests: int = counter("Web searches, which are priced each.")
    computed_cost: float | None = Field(
        default=None, sa_type=Money, description="US dollars by the price list; null where the model is not on it."
    )
    reported_cost: float | None = Field(default=None, sa_type=Money, description="US dollars by the sender.")
    occurred_at: datetime = Field(sa_type=UtcDateTime, description="When it was answered.")


class ActivityMinute(Model, table=True):
    """The pulse of a session: what was recorded in a minute."""

    __tablename__ = "activity_minutes"
    __table_args__ = (
        ForeignKeyConstraint(["session_id"], ["sessions.id"], ondelete="CASCADE"),
        Index(None, "minute"),
        {"comment": "Events and cost of sessions by minute.", "postgresql_with": {"fillfactor": "80"}},
    )

    session_id: UUID = Field(primary_key=True, description="Session.")
    minute: datetime = Field(primary_key=True, sa_type=UtcDateTime, description="Beginning of the minute.")
    events: int = counter("Events that happened in it.")
    cost: float = dollars("US dollars that were spent in it.")


class UsageSummary(Model):
    """Usage of one session, agent, model or day; what it is not summed up by is None."""

    session_id: UUID | None = Field(default=None, description="Session, by session and by agent.")
    agent_id: UUID | None = Field(default=None, description="Agent, by agent.")
    agent_type: str | None = Field(default=None, description="The agent's type, by agent.")
    model: str | None = Field(default=None, description="Language model, by model; null where the sender did not name it.")
    day: date | None = Field(default=None, description="Day in the time zone that was asked for, by day.")
    requests: int = Field(description="Answers that were recorded.")
    input_tokens: int = Field(description="Uncached input tokens.")
    output_tokens: int = Field(description="Output tokens.")
    cache_read_tokens: int = Field(description="Input tokens read from the cache.")
    cache_write_tokens: int = Field(description="Input tokens written to the cache.")
    web_search_requests: int = Field(description="Web searches, which are priced each.")
    cost: float = Field(description="US dollars: by the price list, else by the sender.")
    unpriced_requests: int = Field(description="Answers whose cost nobody knows: cost is too low by theirs.")
