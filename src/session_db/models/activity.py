"""Activity: events and cost over time."""

from datetime import datetime

from sqlmodel import Field

from session_db.models.table import Model


class ActivityBin(Model):
    """What was recorded in a bin."""

    at: datetime = Field(description="When it begins.")
    events: int = Field(description="Events that happened in it.")
    cost: float = Field(description="US dollars that were spent in it.")


class ActivityRead(Model):
    """The pulse of all sessions, or of one: bins in the order of time, without a gap."""

    since: datetime = Field(description="When the first bin begins: what was asked for, or before.")
    until: datetime = Field(description="When the span ends, and with it the last bin.")
    bin_seconds: int = Field(description="Length of a bin: whole minutes.")
    bins: list[ActivityBin] = Field(description="One after the other, those without events too.")
