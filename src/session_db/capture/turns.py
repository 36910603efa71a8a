"""What the recorder of an agent SDK tells beside the hooks: how a turn ended, what the client says that it cost, and what the SDK lost."""

from collections.abc import Sequence

from sqlalchemy.ext.asyncio import AsyncSession

from session_db.capture.entries import is_cost
from session_db.capture.hook_events import MIRROR_ERROR, RESULT, HookEvent
from session_db.capture.record import MAX_UUID, StreamName, open_stream, sdk_agent_of
from session_db.crud.transcripts import find_transcripts, sum_reported_cost
from session_db.models import Session, Transcript
from session_db.models.table import exact_dollars
from session_db.models.text import readable

MAX_DOLLARS = 10**6
"""A turn that costs more than that is none."""


async def note_turns(db: AsyncSession, session: Session, fresh: Sequence[HookEvent]) -> None:
    """Add what each turn cost to what its stream reports, and count the batches that it lacks. The caller holds the session's lock."""
    told = [event for event in fresh if event.name == MIRROR_ERROR or (event.name == RESULT and _cost_of(event) is not None)]
    for event in told:
        stream = await _stream_of(db, session, event)
        if event.name == MIRROR_ERROR:
            stream.gaps += 1
        elif stream.reported_usage is None:
            # Else its transcript said what all turns cost, this one among them.
            stream.reported_cost = float(exact_dollars(stream.reported_cost or 0) + exact_dollars(_cost_of(event) or 0))
    if told:
        await db.flush()
        await sum_reported_cost(db, session.id)


def _cost_of(event: HookEvent) -> float | None:
    dollars = event.payload.get("cost_of_turn")
    return float(dollars) if is_cost(dollars) and dollars < MAX_DOLLARS else None


async def _stream_of(db: AsyncSession, session: Session, event: HookEvent) -> Transcript:
    """Return the stream that an event is about, made now where the store could write nothing yet."""
    subpath = event.word("subpath") or ""
    streams = await find_transcripts(db, session.id, readable(event.sdk_session_id[:MAX_UUID]), readable(subpath))
    if streams:
        return streams[-1]
    name = StreamName(event.project_key, event.sdk_session_id, subpath, sdk_agent_of(subpath))
    return (await open_stream(db, name, event.captured.captured_at)).transcript
