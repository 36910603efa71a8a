"""Transcripts: what an agent SDK keeps, entry by entry and verbatim."""

from collections.abc import AsyncIterator
from typing import Annotated, Any
from uuid import UUID

from fastapi import APIRouter, Path, Query, Response
from fastapi.responses import StreamingResponse

from session_db import crud
from session_db.api.answers import JSONAnswer, PageOf
from session_db.api.dependencies import Cursor, Limit, SessionId, found, needs, page_of_session
from session_db.api.errors import problems
from session_db.capture.redaction import masked
from session_db.crud.transcripts import stream_entries
from session_db.database import DatabaseSession, get_async_session
from session_db.models import Transcript, TranscriptEntryRead, TranscriptRead
from session_db.models.table import INT64

router = APIRouter(prefix="/api/sessions/{session_id}/transcripts", tags=["transcripts"])

TranscriptId = Annotated[UUID, Path(description="The stream.")]
Seq = Annotated[int, Path(ge=0, lt=INT64, description="Its seq.")]

_FOREIGN = {"meta", "summary", "reported_usage"}
_LINES: dict[int | str, dict[str, Any]] = {
    200: {"content": {"application/x-ndjson": {"schema": {"type": "string"}}}, "description": "One entry a line, byte for byte."}
}
_ENTRY: dict[int | str, dict[str, Any]] = {
    200: {"content": {"application/json": {"schema": {}}}, "description": "The entry, byte for byte."}
}


@router.get("", response_model=PageOf[TranscriptRead], responses=problems(404), dependencies=[needs("read")])
async def list_transcripts(session_id: SessionId, db: DatabaseSession, limit: Limit = 50, cursor: Cursor = None) -> Response:
    """List the streams of a session: its own, those of its sub-agents, and what lies beside them."""
    transcripts = await crud.list_transcripts(db, session_id, limit=limit, cursor=cursor)
    return JSONAnswer(await page_of_session(db, session_id, transcripts) | {"items": [_json(transcript) for transcript in transcripts]})


def _json(transcript: Transcript) -> dict[str, Any]:
    """Return a stream as JSON; what its sender wrote is left as it is, but for secrets: Pydantic refuses some keys of it."""
    fields = TranscriptRead.model_validate(transcript).model_dump(mode="json", exclude=_FOREIGN)
    return fields | {name: masked(getattr(transcript, name)).value for name in _FOREIGN}


@router.get("/{transcript_id}", response_model=TranscriptRead, responses=problems(404), dependencies=[needs("read")])
async def get_transcript(session_id: SessionId, transcript_id: TranscriptId, db: DatabaseSession) -> Response:
    """Read what is known of a stream."""
    return JSONAnswer(_json(found(await crud.get_transcript(db, session_id, transcript_id), "transcript", transcript_id)))


@router.get("/{transcript_id}/entries", response_model=PageOf[TranscriptEntryRead], responses=problems(404), dependencies=[needs("admin")])
async def list_transcript_entries(  # noqa: PLR0913, PLR0917  each is a parameter
    session_id: SessionId,
    transcript_id: TranscriptId,
    db: DatabaseSession,
    after_seq: Annotated[int | None, Query(ge=-INT64, lt=INT64, description="Only those after this seq.")] = None,
    limit: Limit = 50,
    cursor: Cursor = None,
) -> dict[str, Any]:
    """List the entries of a stream in their order. One of more than 16 kB shows its size alone.

    Entries are verbatim, with the secrets that are masked elsewhere: hence the scope.
    """
    found(await crud.get_transcript(db, session_id, transcript_id), "transcript", transcript_id)
    entries = await crud.list_transcript_entries(db, session_id, transcript_id, after_seq=after_seq, limit=limit, cursor=cursor)
    return await page_of_session(db, session_id, entries)


@router.get(
    "/{transcript_id}/entries.jsonl", response_class=StreamingResponse, responses=problems(404) | _LINES, dependencies=[needs("admin")]
)
async def download_transcript(session_id: SessionId, transcript_id: TranscriptId, db: DatabaseSession) -> StreamingResponse:
    """Read a whole stream as JSON lines, each as its sender wrote it."""
    found(await crud.get_transcript(db, session_id, transcript_id), "transcript", transcript_id)
    return StreamingResponse(_lines(session_id, transcript_id), media_type="application/x-ndjson")


async def _lines(session_id: UUID, transcript_id: UUID) -> AsyncIterator[str]:
    # The database session of the route has ended before its answer is sent.
    async with get_async_session() as db:
        async for entry in stream_entries(db, session_id, transcript_id):
            yield f"{entry}\n"


@router.get("/{transcript_id}/entries/{seq}", response_class=Response, responses=problems(404) | _ENTRY, dependencies=[needs("admin")])
async def get_transcript_entry(
    session_id: SessionId,
    transcript_id: TranscriptId,
    seq: Seq,
    db: DatabaseSession,
) -> Response:
    """Read an entry as its sender wrote it."""
    entry = found(await crud.get_transcript_entry(db, session_id, transcript_id, seq), "entry", seq)
    return Response(entry, media_type="application/json")
