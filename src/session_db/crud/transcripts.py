"""Transcripts: streams of entries, kept verbatim."""

import hashlib
from collections.abc import AsyncIterator, Collection, Iterable, Iterator
from math import inf
from typing import Any, NamedTuple
from uuid import UUID

from sqlalchemy import BigInteger, Text, Uuid, bindparam, case, cast, delete, func, or_, select, text, tuple_, update
from sqlalchemy.ext.asyncio import AsyncSession
from sqlmodel import col

from session_db.crud.locking import lock_session_if_any
from session_db.crud.paging import Page, checked_limit, decode_cursor, encode_cursor, page_of, read_page
from session_db.crud.rows import one_of, one_or_none, refuse_incomparable, run
from session_db.database.violations import translated
from session_db.ids import derived_id
from session_db.models import SDKSession, Session, Transcript, TranscriptEntry, TranscriptEntryRead
from session_db.models.text import READABLE_LIMIT, readable

MAX_BYTES = 16 * 1024 * 1024
"""Bytes of whole entries that are read at a time; a larger entry comes alone."""

_seq = col(TranscriptEntry.seq)


# One statement, because a stream has many and small entries.
_APPEND = text("""
    INSERT INTO transcript_entries (session_id, transcript_id, seq, uuid, entry)
    SELECT :session_id, :transcript_id, :start + place - 1, uuid, CAST(entry AS json)
    FROM unnest(CAST(:uuids AS text[]), CAST(:entries AS text[])) WITH ORDINALITY AS given (uuid, entry, place)
""").bindparams(bindparam("session_id", type_=Uuid()), bindparam("transcript_id", type_=Uuid()), bindparam("start", type_=BigInteger()))


class Missing(NamedTuple):
    """What is known to be missing: transcripts that lie unread on some machine, and entries of streams."""

    pending: int
    entries: int


def transcript_id(project_key: str, sdk_session_id: str, subpath: str) -> UUID:
    """Return the id of a stream."""
    return derived_id(project_key, sdk_session_id, subpath)


async def list_transcripts(db: AsyncSession, session_id: UUID, *, limit: int = 50, cursor: str | None = None) -> Page[Transcript]:
    """Return the streams of a session, each SDK session's own before those of its sub-agents."""
    checked_limit(limit)
    query = select(Transcript).where(col(Transcript.session_id) == session_id, _is_live(session_id))
    key = (col(Transcript.sdk_session_id), col(Transcript.subpath), col(Transcript.id))
    if cursor is not None:
        query = query.where(tuple_(*key) > tuple_(*decode_cursor(cursor, str, str, UUID)))
    return await read_page(db, query, *key, limit=limit)


async def get_transcript(db: AsyncSession, session_id: UUID, transcript_id: UUID) -> Transcript | None:
    """Return the stream, or None where the session has none with this id."""
    here = (col(Transcript.session_id) == session_id, col(Transcript.id) == transcript_id)
    transcript: Transcript | None = await one_or_none(db, select(Transcript).where(*here, _is_live(session_id)))
    return transcript


async def find_transcripts(db: AsyncSession, session_id: UUID, sdk_session_id: str, subpath: str) -> list[Transcript]:
    """Return the streams of that name in a session: more than one where the SDK session moved to another project."""
    query = select(Transcript).where(
        col(Transcript.session_id) == session_id, col(Transcript.sdk_session_id) == sdk_session_id, col(Transcript.subpath) == subpath
    )
    rows = await db.execute(query.order_by(col(Transcript.created_at)).execution_options(populate_existing=True))
    return list(rows.scalars().all())


async def list_pending_transcripts(db: AsyncSession, host: str, *, limit: int = 50, cursor: str | None = None) -> Page[Transcript]:
    """Return the streams whose files a machine has, and nobody has read yet."""
    checked_limit(limit)
    query = select(Transcript).where(col(Transcript.source) == "hooks", col(Transcript.host) == host, _has_live_session())
    key = (col(Transcript.session_id), col(Transcript.id))
    if cursor is not None:
        query = query.where(tuple_(*key) > tuple_(*decode_cursor(cursor, UUID, UUID)))
    return await read_page(db, query, *key, limit=limit)


async def get_missing(db: AsyncSession, session_id: UUID | None = None) -> Missing:
    """Return what is known to be missing, of one session or of all. Costs a row of an index for each stream that lacks something."""
    pending = select(func.count()).where(col(Transcript.source) == "hooks", col(Transcript.host).is_not(None), _has_live_session())
    gaps = select(func.coalesce(func.sum(col(Transcript.gaps)), 0)).where(col(Transcript.gaps) > 0, _has_live_session())
    if session_id is not None:
        pending, gaps = (query.where(col(Transcript.session_id) == session_id) for query in (pending, gaps))
    return Missing(pending=await db.scalar(pending) or 0, entries=int(await db.scalar(gaps) or 0))


async def list_pending_hosts(db: AsyncSession, *, limit: int = 5) -> list[tuple[str, int]]:
    """Return the machines that have files which nobody has read yet, those with the most first, and how many each has."""
    number = func.count()
    pending = (col(Transcript.source) == "hooks", col(Transcript.host).is_not(None), _has_live_session())
    query = select(col(Transcript.host), number).where(*pending).group_by(col(Transcript.host))
    rows = await db.execute(query.order_by(number.desc(), col(Transcript.host)).limit(limit))
    return [(str(host), count) for host, count in rows]


async def forget_host(db: AsyncSession, session_id: UUID, transcript_id: UUID) -> None:
    """Note that no machine has the file of a stream any more."""
    here = (col(Transcript.session_id) == session_id, col(Transcript.id) == transcript_id, col(Transcript.source) == "hooks")
    await db.execute(update(Transcript).where(*here).values(host=None).execution_options(synchronize_session=False))


async def find_stream(db: AsyncSession, project_key: str, sdk_session_id: str, subpath: str) -> Transcript | None:
    """Return the stream that an agent SDK knows by this name, or None where there is none."""
    query = select(Transcript).where(*_of_sdk_session(project_key, sdk_session_id), col(Transcript.subpath) == readable(subpath))
    query = query.where(col(Transcript.id) == transcript_id(project_key, sdk_session_id, subpath)).limit(1)
    stream: Transcript | None = await one_or_none(db, query)
    return stream


async def list_known_bytes(db: AsyncSession, names: Collection[tuple[str, str]]) -> dict[tuple[str, str], float]:
    """Return how many bytes were read of SDK sessions' own files, by project and SDK session.

    Infinitely many where a store has the stream, or where its session was deleted: nothing more is read of such a file.
    """
    projects, sdk_sessions = ([readable(name[part]) for name in names] for part in (0, 1))
    here = (col(Transcript.project_key) == one_of(projects), col(Transcript.sdk_session_id) == one_of(sdk_sessions))
    columns = (col(Transcript.project_key), col(Transcript.sdk_session_id), col(Transcript.source), col(Transcript.file_offset))
    streams = await run(db, select(*columns).where(*here, col(Transcript.subpath) == ""))
    known: dict[tuple[str, str], float] = {(project, name): inf if source == "store" else read for project, name, source, read in streams}
    deleted = (col(SDKSession.sdk_key) == one_of(sdk_sessions), col(SDKSession.session_id).is_(None))
    gone = set((await run(db, select(col(SDKSession.sdk_key)).where(*deleted))).scalars())
    return known | {name: inf for name in names if name[1] in gone}


async def list_main_streams(db: AsyncSession, project_key: str) -> list[Any]:
    """Return ``sdk_session_id``, ``mtime`` and ``summary`` of all SDK sessions of a project that have entries, the newest first."""
    columns = (col(Transcript.sdk_session_id), col(Transcript.mtime), col(Transcript.summary))
    here = (col(Transcript.project_key) == readable(project_key), col(Transcript.subpath) == "", col(Transcript.next_seq) > 0)
    rows = await run(db, select(*columns).where(*here, _has_live_session()).order_by(col(Transcript.mtime).desc()))
    return list(rows.all())


async def list_subpaths(db: AsyncSession, project_key: str, sdk_session_id: str) -> list[str]:
    """Return the subpaths of the streams below an SDK session's own; of imported files those of sub-agents only."""
    is_transcript = or_(col(Transcript.source) == "store", col(Transcript.subpath).startswith("subagents/"))
    here = (*_of_sdk_session(project_key, sdk_session_id), col(Transcript.subpath) != "", col(Transcript.next_seq) > 0, is_transcript)
    return list((await run(db, select(col(Transcript.subpath)).where(*here).order_by(col(Transcript.subpath)))).scalars().all())


async def delete_streams(db: AsyncSession, project_key: str, sdk_session_id: str, subpath: str) -> None:
    """Delete a stream with its entries, and with an SDK session's own those below it; what was made of them stays.

    Costs the deletion of all their entries in one statement.
    """
    streams = [*_of_sdk_session(project_key, sdk_session_id)]
    if subpath:
        streams.append(col(Transcript.id) == transcript_id(project_key, sdk_session_id, subpath))
    # While this waits for a lock the streams may move to another session; there they are found by the next look.
    while (session_id := await db.scalar(select(col(Transcript.session_id)).where(*streams).limit(1))) is not None:
        if await lock_session_if_any(db, session_id) is not None:
            gone = delete(Transcript).where(col(Transcript.session_id) == session_id, *streams)
            await db.execute(gone.execution_options(synchronize_session=False))


def _of_sdk_session(project_key: str, sdk_session_id: str) -> tuple[Any, ...]:
    names = (col(Transcript.project_key) == readable(project_key), col(Transcript.sdk_session_id) == readable(sdk_session_id[:255]))
    return (*names, _has_live_session())


def _has_live_session() -> Any:
    return select(col(Session.id)).where(col(Session.id) == col(Transcript.session_id), col(Session.deleted_at).is_(None)).exists()


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
        # It tells of all entries: whoever appends some sums up anew.
        transcript.summary = None
    transcript.next_seq += len(entries)
    transcript.projected_seq = transcript.next_seq


async def clear_entries(db: AsyncSession, transcript: Transcript) -> None:
    """Take all entries out of a stream. The caller holds the session's lock and fills the stream anew."""
    here = (col(TranscriptEntry.session_id) == transcript.session_id, col(TranscriptEntry.transcript_id) == transcript.id)
    await db.execute(delete(TranscriptEntry).where(*here).execution_options(synchronize_session=False))
    transcript.next_seq = transcript.projected_seq = 0
    transcript.is_masked = False


async def all_uuids(db: AsyncSession, transcript: Transcript) -> set[str]:
    """Return the uuids of all entries of a stream. Costs a walk over it."""
    query = select(col(TranscriptEntry.uuid)).where(
        col(TranscriptEntry.session_id) == transcript.session_id,
        col(TranscriptEntry.transcript_id) == transcript.id,
        col(TranscriptEntry.uuid).is_not(None),
    )
    return {uuid for uuid in (await db.execute(query)).scalars() if uuid is not None}


async def known_uuids(db: AsyncSession, transcript: Transcript, uuids: Collection[str]) -> set[str]:
    """Return those of the uuids that the stream has."""
    query = select(col(TranscriptEntry.uuid)).where(
        col(TranscriptEntry.session_id) == transcript.session_id,
        col(TranscriptEntry.transcript_id) == transcript.id,
        col(TranscriptEntry.uuid) == one_of(uuids),
    )
    return {uuid for uuid in (await db.execute(query)).scalars().all() if uuid is not None}


async def names_prompt(db: AsyncSession, transcript: Transcript, prompt_id: str) -> bool:
    """Say whether one of the last 2,000 entries of a stream names a prompt by the client's id of it. Costs to read them."""
    query = select(_seq).where(
        col(TranscriptEntry.session_id) == transcript.session_id,
        col(TranscriptEntry.transcript_id) == transcript.id,
        _seq >= transcript.next_seq - 2_000,
        cast(col(TranscriptEntry.entry), Text).contains(prompt_id, autoescape=True),
    )
    return (await db.execute(query.limit(1))).first() is not None


async def list_digests(db: AsyncSession, transcript: Transcript, start: int, count: int) -> list[str]:
    """Return the digests of ``count`` entries from a seq on, in their order."""
    query = select(func.md5(cast(col(TranscriptEntry.entry), Text))).where(
        col(TranscriptEntry.session_id) == transcript.session_id,
        col(TranscriptEntry.transcript_id) == transcript.id,
        _seq >= start,
        _seq < start + count,
    )
    return list((await db.execute(query.order_by(_seq))).scalars().all())


def digest(text: str) -> str:
    """Return the digest of an entry, as ``list_digests`` gives it."""
    return hashlib.md5(text.encode(), usedforsecurity=False).hexdigest()


async def list_transcript_entries(  # noqa: PLR0913  what to read, and the page
    db: AsyncSession,
    session_id: UUID,
    transcript_id: UUID,
    *,
    after_seq: int | None = None,
    whole: bool = False,
    limit: int = 50,
    cursor: str | None = None,
) -> Page[TranscriptEntryRead]:
    """Return entries of a stream in their order.

    An ``entry`` of more than 16 kB is left out: it is None, and ``entry_bytes`` says how large it is. ``get_transcript_entry`` reads it.

    Args:
        db: the database session.
        session_id: the session; an unknown one has no entries.
        transcript_id: the stream.
        after_seq: only those after this seq.
        whole: leave nothing out; a page ends before 16 MiB, or has one larger entry, so it may be short and have a next one. The sizes of
            ``limit`` entries are read first.
        limit: entries a page, 1 to 1000.
        cursor: ``next_cursor`` of the page before.
    """
    checked_limit(limit)
    query = _entries(session_id, transcript_id)
    if after_seq is not None:
        query = query.where(_seq > after_seq)
    if cursor is not None:
        query = query.where(_seq > decode_cursor(cursor, int)[0])
    page = page_of(await _measured(db, query, limit + 1, largest=0 if whole else READABLE_LIMIT), limit, "seq")
    rows = [row._asdict() for row in page]
    if whole and page:
        chunk = next(_chunks(page))
        if len(chunk) < len(page):
            page.next_cursor = encode_cursor(chunk[-1].seq)
        texts = await _texts(db, _entries(session_id, transcript_id), chunk)
        rows = [row | {"entry": texts[row["seq"]]} for row in rows if row["seq"] in texts]
    return Page(map(TranscriptEntryRead.model_validate, rows), page.next_cursor)


async def get_transcript_entry(db: AsyncSession, session_id: UUID, transcript_id: UUID, seq: int) -> str | None:
    """Return an entry as its sender wrote it, or None where the stream has none at this place."""
    # As a range, in an order: only the index that has the place gives that, whatever PostgreSQL believes of a stream that is new.
    query = _entries(session_id, transcript_id).where(_seq >= seq, _seq <= seq)
    row = (await run(db, query)).one_or_none()
    return None if row is None else str(row.entry)


async def stream_entries(
    db: AsyncSession, session_id: UUID, transcript_id: UUID, *, only_without_uuid: bool = False, batch: int = 500
) -> AsyncIterator[str]:
    """Give the entries of a stream in their order, each as its sender wrote it, or those only that have no uuid.

    Memory is bounded: at most 16 MiB of entries, or one larger entry, and the sizes of ``batch`` of them. It costs two statements a batch,
    and one more for each further 16 MiB.
    """
    entries, after = _entries(session_id, transcript_id), -1
    if only_without_uuid:
        entries = entries.where(col(TranscriptEntry.uuid).is_(None))
    while True:
        sizes = await _measured(db, entries.where(_seq > after), batch, largest=0)
        for chunk in _chunks(sizes):
            for entry in (await _texts(db, entries, chunk)).values():
                yield entry
        if len(sizes) < batch:
            return
        after = sizes[-1].seq


def _entries(session_id: UUID, transcript_id: UUID) -> Any:
    """Select a stream's entries in their order, where its session is not deleted."""
    here = (col(TranscriptEntry.session_id) == session_id, col(TranscriptEntry.transcript_id) == transcript_id)
    entry = cast(col(TranscriptEntry.entry), Text).label("entry")
    return select(_seq, col(TranscriptEntry.uuid), entry).where(*here, _is_live(session_id)).order_by(_seq)


def _is_live(session_id: UUID) -> Any:
    return select(col(Session.id)).where(col(Session.id) == session_id, col(Session.deleted_at).is_(None)).exists()


async def _measured(db: AsyncSession, query: Any, limit: int, *, largest: int) -> list[Any]:
    """Return up to ``limit`` entries with their sizes; a text of more than ``largest`` bytes is None."""
    refuse_incomparable(query)
    # In a subquery, or each entry would be unpacked for its size and again for its text.
    read = query.limit(limit).subquery().c
    size = func.octet_length(read.entry)
    rows = await run(
        db, select(read.seq, read.uuid, size.label("entry_bytes"), case((size <= largest, read.entry)).label("entry")).order_by(read.seq)
    )
    return list(rows.all())


def _chunks(sizes: Iterable[Any]) -> Iterator[list[Any]]:
    """Give sizes of entries that follow one another in parts whose entries may be read at once."""
    chunk: list[Any] = []
    total = 0
    for size in sizes:
        total += size.entry_bytes
        if chunk and total > MAX_BYTES:
            yield chunk
            chunk, total = [], size.entry_bytes
        chunk.append(size)
    if chunk:
        yield chunk


async def _texts(db: AsyncSession, entries: Any, sizes: list[Any]) -> dict[int, str]:
    """Return the text of these entries, by seq in its order."""
    rows = await run(db, entries.where(_seq >= sizes[0].seq, _seq <= sizes[-1].seq))
    return {row.seq: row.entry for row in rows}


async def sum_reported_cost(db: AsyncSession, session_id: UUID) -> None:
    """Set a session's reported cost to the sum over its streams. The caller holds the session's lock."""
    reported = select(func.sum(col(Transcript.reported_cost))).where(col(Transcript.session_id) == session_id).scalar_subquery()
    changed: Any = update(Session).where(col(Session.id) == session_id).values(reported_cost=reported)
    await db.execute(changed.execution_options(synchronize_session=False))
