"""What hooks told of a conversation whose transcript was not read: where it stands, until the transcript says it better.

The messages of a transcript take the places of those that hooks told, one for one in their order, so that nothing is said twice and no
index is left out. What the transcript has more comes after them; what hooks told more goes when the file is read to its end.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncSession

from session_db.crud.messages import get_known_client_ids, remove_messages, replace_messages
from session_db.models import Session, Transcript

_KEY = "told"
_BATCH = 10_000


@dataclass(frozen=True)
class Told:
    """How far hooks told a conversation.

    Attributes:
        count: messages that they told.
        replaced: how many of them, from the first on, the transcript has replaced.
        event_id: the last event that was looked at.
    """

    count: int = 0
    replaced: int = 0
    event_id: UUID | None = None


def told_of(transcript: Transcript) -> Told | None:
    """Return how far hooks told the conversation of a stream, or None where nothing that they told stands there."""
    # Hooks tell of a session's own stream; what stands with a sub-agent's is what the client's file says.
    is_ours = transcript.subpath == "" and isinstance(transcript.meta, dict)
    noted = transcript.meta.get(_KEY) if is_ours else None
    if not isinstance(noted, dict):
        return None
    return Told(noted["count"], noted["replaced"], UUID(noted["event_id"]) if noted["event_id"] else None)


def note_told(transcript: Transcript, told: Told | None) -> None:
    """Note how far hooks told the conversation of a stream."""
    others = {name: value for name, value in (transcript.meta or {}).items() if name != _KEY}
    if told is not None:
        event_id = str(told.event_id) if told.event_id else None
        others[_KEY] = {"count": told.count, "replaced": told.replaced, "event_id": event_id}
    transcript.meta = others or None


def client_id_of(transcript: Transcript, number: int) -> str:
    """Return the client_id of a message that hooks told, counted from 0."""
    return f"hooks:{transcript.id}:{number}"


async def replace_told(db: AsyncSession, transcript: Transcript, messages: Sequence[dict[str, Any]]) -> int:
    """Put messages that the session has not got in the places of the next ones that hooks told, and return how many had a place."""
    told = told_of(transcript)
    if told is None:
        return 0
    known = await get_known_client_ids(db, transcript.session_id, [message["client_id"] for message in messages])
    new = [message for message in messages if message["client_id"] not in known]
    numbers = range(told.replaced, told.count)[: len(new)]
    places = [client_id_of(transcript, number) for number in numbers]
    await replace_messages(db, transcript.session_id, dict(zip(places, new, strict=False)))
    note_told(transcript, replace(told, replaced=told.replaced + len(places)))
    return len(places)


async def end_told(db: AsyncSession, session: Session, transcript: Transcript) -> None:
    """Remove what hooks told and the transcript, now read to its end, has no message for. One that says nothing at all ends nothing.

    The caller holds the session's lock.
    """
    told = told_of(transcript)
    if told is None or told.replaced == 0:
        return
    for end in range(told.count, told.replaced, -_BATCH):
        numbers = range(max(told.replaced, end - _BATCH), end)
        await remove_messages(db, session, [client_id_of(transcript, number) for number in numbers])
    note_told(transcript, None)
    transcript.source = "file"
    await db.flush()
