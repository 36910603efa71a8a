"""Transcripts: streams of entries, kept verbatim."""

import hashlib
from collections.abc import AsyncIterator, Collection
from typing import Any
from uuid import UUID

from sqlalchemy import BigInteger, Text, Uuid, bindparam, cast, func, select, text, update
from sqlalchemy.ext.asyncio import AsyncSession
from sqlmodel import col

from session_db.crud.rows import one_of
from session_db.database.violations import translated
from session_db.ids import derived_id
from session_db.models import Session, Transcript, TranscriptEntry
from session_db.models.text import readable

# One statement, because a stream has many and small entries.
_APPEND = text("""
    INSERT INTO transcript_entries (session_id, transcript_id, seq, uuid, entry)
    SELECT :session_id, :transcript_id, :start + place - 1, uuid, CAST(entry AS json)
    FROM unnest(CAST(:uuids AS text[]), CAST(:entries AS text[])) WITH ORDINALITY AS given (uuid, entry, place)
""").bindparams(bindparam("session_id", type_=Uuid()), bindparam("transcript_id", type_=Uuid()), bindparam("start", type_=BigInteger()))


def transcript_id(project_key: str, sdk_session_id: str, subpath: str) -> UUID:
    """Return the id of a stream."""
    return derived_id(project_key, sdk_session_id, subpath)


async def list_transcripts(db: AsyncSession, session_id: UUID) -> list[Transcript]:
    """Return the streams of a session, its own before those of its sub-agents."""
    query = select(Transcript).where(col(Transcript.session_id) == session_id)
    rows = await db.execute(query.order_by(col(Transcript.sdk_session_id), col(Transcript.subpath)))
    return list(rows.scalars().all())


async def find_transcripts(db: AsyncSession, session_id: UUID, sdk_session_id: str, subpath: str) -> list[Transcript]:
    """Return the streams of that name in a session: more than one where the SDK session moved to another project."""
    query = select(Transcript).where(
        col(Transcript.session_id) == session_id, col(Transcript.sdk_session_id) == sdk_session_id, col(Transcript.subpath) == subpath
    )
    rows = await db.execute(query.order_by(col(Transcript.created_at)).execution_options(populate_existing=True))
    return list(rows.scalars().all())


async def ensure_transcript(  # noqa: PLR0913, PLR0917  the key of a stream has this many parts
    db: AsyncSession, session_id: UUID, agent_id: UUID, project_key: str, sdk_session_id: str, subpath: str
) -> Transcript:
    """Return the stream of that name, made now where the session has none. The caller holds the session's lock."""
    stream_id = transcript_id(project_key, sdk_session_id, subpath)
    query = select(Transcript).where(col(Transcript.session_id) == session_id, col(Transcript.id) == stream_id)
    transcript = (await db.execute(query.execution_options(populate_existing=True))).scalar_one_or_none()
    if transcript is None:
        names: dict[str, Any] = {
            "project_key": readable(project_key),
            "sdk_session_id": readable(sdk_session_id[:255]),
            "subpath": readable(subpath),
        }
        transcript = Transcript(session_id=session_id, id=stream_id, agent_id=agent_id, **names)
        db.add(transcript)
        await db.flush()
    return transcript


async def append_entries(db: AsyncSession, transcript: Transcript, entries: Collection[tuple[str | None, str]]) -> None:
    """Append (uuid, JSON text) after what the stream has. The caller holds the session's lock and gives a uuid once.

    Raises:
        InvalidInput: PostgreSQL takes a text for no JSON, or an index cannot hold a uuid. Nothing is appended then.
    """
    if entries:
        values = {
            "session_id": transcript.session_id,
            "transcript_id": transcript.id,
            "start": transcript.next_seq,
            "uuids": [uuid for uuid, _ in entries],
            "entries": [text for _, text in entries],
        }
        async with translated(db, transcript_id=transcript.id):
            await (await db.connection()).execute(_APPEND, values)
    transcript.next_seq += len(entries)
    transcript.projected_seq = transcript.next_seq


async def known_uuids(db: AsyncSession, transcript: Transcript, uuids: Collection[str]) -> set[str]:
    """Return those of the uuids that the stream has."""
    query = select(col(TranscriptEntry.uuid)).where(
        col(TranscriptEntry.session_id) == transcript.session_id,
        col(TranscriptEntry.transcript_id) == transcript.id,
        col(TranscriptEntry.uuid) == one_of(uuids),
    )
    return {uuid for uuid in (await db.execute(query)).scalars().all() if uuid is not None}


async def digests_without_uuid(db: AsyncSession, transcript: Transcript) -> set[str]:
    """Return the digests of the entries that have no uuid. Costs a walk over the stream."""
    query = select(func.md5(cast(col(TranscriptEntry.entry), Text))).where(
        col(TranscriptEntry.session_id) == transcript.session_id,
        col(TranscriptEntry.transcript_id) == transcript.id,
        col(TranscriptEntry.uuid).is_(None),
    )
    return set((await db.execute(query)).scalars().all())


def digest(text: str) -> str:
    """Return the digest of an entry, as ``digests_without_uuid`` gives it."""
    return hashlib.md5(text.encode(), usedforsecurity=False).hexdigest()


async def stream_entries(db: AsyncSession, session_id: UUID, transcript: UUID, *, batch: int = 500) -> AsyncIterator[str]:
    """Give the entries of a stream in their order, each as its sender wrote it. Memory is bounded by ``batch`` entries."""
    after = -1
    while True:
        query = select(col(TranscriptEntry.seq), cast(col(TranscriptEntry.entry), Text)).where(
            col(TranscriptEntry.session_id) == session_id,
            col(TranscriptEntry.transcript_id) == transcript,
            col(TranscriptEntry.seq) > after,
        )
        rows = (await db.execute(query.order_by(col(TranscriptEntry.seq)).limit(batch))).all()
        for seq, entry in rows:
            after = seq
            yield entry
        if len(rows) < batch:
            return


async def sum_reported_cost(db: AsyncSession, session_id: UUID) -> None:
    """Set a session's reported cost to the sum over its streams. The caller holds the session's lock."""
    reported = select(func.sum(col(Transcript.reported_cost))).where(col(Transcript.session_id) == session_id).scalar_subquery()
    changed: Any = update(Session).where(col(Session.id) == session_id).values(reported_cost=reported)
    await db.execute(changed.execution_options(synchronize_session=False))
