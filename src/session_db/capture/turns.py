"""What the recorder of an agent SDK tells beside the hooks: how a turn ended, what the client says that it cost, and what the SDK lost."""

from collections.abc import Sequence
from typing import Any

from sqlalchemy.ext.asyncio import AsyncSession

from session_db.capture.hook_events import MIRROR_ERROR, RESULT, HookEvent
from session_db.crud.transcripts import find_transcripts, sum_reported_cost
from session_db.models import Session, Transcript
from session_db.models.table import exact_dollars
from session_db.models.text import readable

MAX_DOLLARS = 10**6
"""A turn that costs more than that is none."""


async def note_turns(db: AsyncSession, session: Session, fresh: Sequence[HookEvent]) -> None:
    """Add what each turn cost to what its stream reports, and count the batches that it lacks. The caller holds the session's lock."""
    told = [event for event in fresh if event.name in {RESULT, MIRROR_ERROR}]
    for event in told:
        subpath = readable(event.word("subpath") or "")
        streams = await find_transcripts(db, session.id, readable(event.sdk_session_id[:255]), subpath)
        for stream in streams[-1:]:
            if event.name == MIRROR_ERROR:
                stream.gaps += 1
            else:
                _add_cost(stream, event.payload.get("cost_of_turn"))
    if told:
        await db.flush()
        await sum_reported_cost(db, session.id)


def _add_cost(stream: Transcript, dollars: Any) -> None:
    if isinstance(dollars, int | float) and not isinstance(dollars, bool) and 0 <= dollars < MAX_DOLLARS:
        stream.reported_cost = float(exact_dollars(stream.reported_cost or 0) + exact_dollars(dollars))
