"""Sessions of the Claude Agent SDK, kept in PostgreSQL.

::

    options = ClaudeAgentOptions(session_store=PostgresSessionStore())

What the agent says is in the database as it says it, as events, messages, agents, tokens and cost, and can be resumed on any host.
The module needs no SDK: a store is one by its methods.
"""

import functools
import socket
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Any, NotRequired, TypedDict, TypeVar
from uuid import UUID
from weakref import WeakValueDictionary

from sqlalchemy import func

from session_db.capture.binding import find_session
from session_db.capture.entries import is_cost, moment_of
from session_db.capture.record import Entry, OpenStream, StreamName, append_to_stream, new_entries, open_stream, sdk_agent_of
from session_db.capture.redaction import stored_text, stored_texts
from session_db.capture.restoring import refuse_masked
from session_db.crud.erasing import erase_deleted_sessions
from session_db.crud.sdk_sessions import get_sdk_session, lift_tombstone, sdk_key, session_id_of
from session_db.crud.sessions import get_session_by_slug
from session_db.crud.transcripts import (
    delete_streams,
    digest,
    find_stream,
    list_digests,
    list_main_streams,
    list_subpaths,
    stream_entries,
)
from session_db.database import UnitOfWork, in_transaction
from session_db.database.batches import in_batches
from session_db.database.violations import DRIVER_ERRORS, translate
from session_db.errors import InvalidInput, NotFound
from session_db.models import Transcript
from session_db.models.table import decode_json, encode_json, now

CHUNK_ENTRIES = 1000
CHUNK_CHARACTERS = 4 * 1024 * 1024
"""Entries and characters that one statement writes; a larger entry goes alone."""

_METADATA = "agent_metadata"

Returned = TypeVar("Returned")

_writing: "WeakValueDictionary[str, PostgresSessionStore]" = WeakValueDictionary()


class SubkeysKey(TypedDict):
    """The SDK's ``SessionListSubkeysKey``: a session."""

    project_key: str
    session_id: str


class StreamKey(SubkeysKey):
    """The SDK's ``SessionKey``: a session's own transcript, or with a subpath another one beside it."""

    subpath: NotRequired[str]


@dataclass(frozen=True)
class _Places:
    """Where an append wrote its entries, if it was committed."""

    start: int
    count: int

    async def hold(self, db: UnitOfWork, transcript: Transcript, digests: list[str]) -> bool:
        """Say whether entries with these digests stand here. The caller holds the session's lock, so the append has ended."""
        stored = await list_digests(db, transcript, self.start, self.count)
        # Entries that the stream had before were left out.
        given = iter(digests)
        return len(stored) == self.count and all(one in given for one in stored)


@dataclass
class _Batch:
    """Entries that are appended together, and where they were written the last time that somebody tried."""

    key: StreamKey
    lines: list[Entry]
    digests: list[str]
    places: _Places | None = None


class PostgresSessionStore:
    """A ``SessionStore`` of the Claude Agent SDK that makes the session's record from the entries, in the transaction that stores them.

    Each call is a transaction of its own on the engine of its event loop. An append is stored whole or not at all; entries are known by
    their uuid, and an append that is repeated because its answer was lost is recognised by the places that its entries got.

    Args:
        session: id or slug of a session that every new SDK session becomes an agent of; unset: each gets a session of its own.
        agent_type: what that agent is: spec, plan, build, …
        checkpoint_id: which checkpoint it works on.
        working_dir: where a slug is looked for, and in the directories above it; unset: anywhere.
    """

    def __init__(
        self,
        *,
        session: UUID | str | None = None,
        agent_type: str = "main",
        checkpoint_id: int | None = None,
        working_dir: str | None = None,
    ) -> None:
        self._session = session
        self._working_dir = working_dir
        self._agent_type, self._checkpoint_id = agent_type, checkpoint_id
        # US dollars that the client of an SDK session has reported: it begins with what its transcript says, or with nothing.
        self._reported: dict[str, float] = {}
        self._project_keys: dict[str, str] = {}
        # By stream and entries; only appends whose answer was lost, and never repeated, stay.
        self._unanswered: dict[tuple[str, ...], _Places] = {}

    async def append(self, key: StreamKey, entries: list[Any]) -> None:
        """Store entries after those that the stream has, and what they say as rows of its session; known uuids change nothing.

        Raises:
            InvalidInput: an entry is no JSON; none is stored then.
            NotFound: the session that the store was made for does not exist.
            Unavailable: the database cannot be used now.
        """
        if not entries:
            return
        _writing[key["session_id"]] = self
        self._project_keys[key["session_id"]] = key["project_key"]
        lines: list[Entry] = [(encode_json(entry, f"entries[{number}]"), entry) for number, entry in enumerate(entries)]
        batch = _Batch(key, lines, [digest(text) for text in await stored_texts(text for text, _ in lines)])
        named = (*_names(key), digest("".join(batch.digests)))
        batch.places = self._unanswered.pop(named, None)
        try:
            await self._append(batch)
        except BaseException:
            if batch.places is not None:
                self._unanswered[named] = batch.places
            raise

    async def load(self, key: StreamKey) -> list[Any] | None:
        """Return all entries of a stream as they were given, or None where it has none.

        Raises:
            Conflict: secrets were masked in them, so nothing could go on with them.
        """
        entries = await _run(functools.partial(_load, *_names(key)))
        if not key.get("subpath"):
            self._reported[key["session_id"]] = _last_reported(entries or [])
        return entries

    def cost_of_turn(self, sdk_session_id: str, total: float) -> float:
        """Return what a client's new total adds to its last one. A total that is less than that began anew."""
        before = self._reported.get(sdk_session_id, 0.0)
        self._reported[sdk_session_id] = total
        return total - before if total >= before else total

    def project_key_of(self, sdk_session_id: str) -> str | None:
        """Return the project of an SDK session that entries were given of."""
        return self._project_keys.get(sdk_session_id)

    async def list_sessions(self, project_key: str) -> list[Any]:
        """Return ``{"session_id", "mtime"}`` of all sessions of a project, the newest first; mtime is in milliseconds."""
        streams = await _run(lambda db: list_main_streams(db, project_key))
        return [{"session_id": stream.sdk_session_id, "mtime": _milliseconds(stream.mtime)} for stream in streams]

    async def list_session_summaries(self, project_key: str) -> list[Any]:
        """Return the SDK's own summaries of a project's sessions, the newest first; an imported session has none."""
        streams = await _run(lambda db: list_main_streams(db, project_key))
        return [
            {"session_id": stream.sdk_session_id, "mtime": _milliseconds(stream.mtime), "data": stream.summary}
            for stream in streams
            if stream.summary is not None
        ]

    async def delete(self, key: StreamKey) -> None:
        """Delete a stream, and with a session's own those of its sub-agents. The session's record, events and cost stay."""
        await _run(lambda db: delete_streams(db, *_names(key)))

    async def list_subkeys(self, key: SubkeysKey) -> list[str]:
        """Return the subpaths below a session."""
        return await _run(lambda db: list_subpaths(db, key["project_key"], key["session_id"]))

    async def _append(self, batch: _Batch) -> None:
        work = functools.partial(self._write, batch=batch)
        try:
            await _run(work)
        except NotFound:
            project_key, sdk_session_id, _ = _names(batch.key)
            key = sdk_key(sdk_session_id, project_key)
            if not await _is_deleted(key):
                raise
            session_id = session_id_of(sdk_session_id, project_key)
            await in_batches(lambda db: erase_deleted_sessions(db, session_id))
            await _run(functools.partial(self._revive, key=key, batch=batch))

    async def _revive(self, db: UnitOfWork, key: str, batch: _Batch) -> None:
        """Forget that the session was deleted: its agent is alive. Where the append fails, the session stays deleted."""
        await lift_tombstone(db, key)
        await self._write(db, batch)

    async def _write(self, db: UnitOfWork, batch: _Batch) -> None:
        began = next((moment for _, entry in batch.lines if (moment := moment_of(entry))), now())
        stream = await open_stream(db, await self._name(db, batch), began)
        transcript = stream.transcript
        if batch.places is not None and await batch.places.hold(db, transcript, batch.digests):
            return
        if transcript.next_seq == 0:
            transcript.source = "store"
        # A file of the same session may say the same once more.
        transcript.is_rewritten = True
        start = transcript.next_seq
        summary = await _write_entries(db, stream, batch, began)
        if transcript.next_seq > start:
            batch.places = _Places(start, transcript.next_seq - start)
            stored_at: Any = func.statement_timestamp()
            transcript.mtime, transcript.summary = stored_at, summary
            await db.flush()

    async def _name(self, db: UnitOfWork, batch: _Batch) -> StreamName:
        project_key, sdk_session_id, subpath = _names(batch.key)
        sdk_agent_id = sdk_agent_of(subpath)
        about = (entry for _, entry in reversed(batch.lines) if entry.get("type") == _METADATA)
        meta = next(about, None) if sdk_agent_id is not None else None
        return StreamName(
            project_key,
            sdk_session_id,
            subpath,
            sdk_agent_id,
            encode_json({name: value for name, value in meta.items() if name != "type"}) if meta else None,
            socket.gethostname()[:255],
            await self._bound_to(db),
            "auto" if self._session is None else "recorder",
            agent_type=self._agent_type,
            checkpoint_id=self._checkpoint_id,
        )

    async def _bound_to(self, db: UnitOfWork) -> UUID | None:
        if self._session is None or isinstance(self._session, UUID):
            return self._session
        try:
            self._session = UUID(self._session)
        except ValueError:
            slug, directory = str(self._session), self._working_dir
            session = await (get_session_by_slug(db, slug) if directory is None else find_session(db, slug, directory))
            if session is None:
                where = "" if directory is None else f" in {directory} or above it"
                raise NotFound(f"there is no session with the slug {slug!r}{where}; create it first.", slug=slug) from None
            self._session = session.id
        return self._session


def store_of(sdk_session_id: str) -> PostgresSessionStore | None:
    """Return the store that wrote last to an SDK session in this process."""
    return _writing.get(sdk_session_id)


def _last_reported(entries: list[Any]) -> float:
    """Return the total that a client which is resumed with these entries goes on from."""
    totals = (one.get("totalCostUSD") for one in reversed(entries) if one.get("type") == "cost-state")
    total = next(totals, None)
    return float(total) if is_cost(total) else 0.0


async def _write_entries(db: UnitOfWork, stream: OpenStream, batch: _Batch, began: datetime) -> Any:
    """Append what is new, and return the summary of the whole stream; None where it has one no more, or never had."""
    transcript = stream.transcript
    summary = {} if transcript.next_seq == 0 and stream.name.is_main else transcript.summary
    for chunk in _chunks(batch.lines):
        new = await new_entries(db, transcript, chunk)
        if new:
            await append_to_stream(db, stream, new, began, are_new=True)
            summary = _folded(summary, batch.key, [_stored(*line) for line in new])
    return summary


def _stored(text: str, entry: dict[str, Any]) -> Any:
    stored = stored_text(text)
    return entry if stored is text else decode_json(stored)


def _folded(summary: Any, key: StreamKey, entries: list[dict[str, Any]]) -> Any:
    fold = _fold_of_the_sdk()
    if summary is None or fold is None:
        return None
    return fold({"session_id": key["session_id"], "mtime": 0, "data": summary}, key, entries)["data"]


@functools.cache
def _fold_of_the_sdk() -> Callable[..., Any] | None:
    """Return what the SDK sums entries up with; without the SDK there is nobody to read a summary."""
    try:
        from claude_agent_sdk import fold_session_summary  # noqa: PLC0415  the SDK is optional, and slow to import
    except ImportError:
        return None
    fold: Callable[..., Any] = fold_session_summary
    return fold


async def _load(project_key: str, sdk_session_id: str, subpath: str, db: UnitOfWork) -> list[Any] | None:
    # All pages are of one moment: a deletion between two of them would leave half of the entries.
    await db.connection(execution_options={"isolation_level": "REPEATABLE READ"})
    stream = await find_stream(db, project_key, sdk_session_id, subpath)
    if stream is None:
        return None
    refuse_masked(stream)
    entries = [decode_json(text) async for text in stream_entries(db, stream.session_id, stream.id)]
    if entries and subpath and isinstance(stream.meta, dict) and all(one.get("type") != _METADATA for one in entries):
        # The client keeps it in a file beside the transcript, the SDK among the entries.
        entries.insert(0, stream.meta | {"type": _METADATA})
    return entries or None


async def _is_deleted(key: str) -> bool:
    binding = await _run(lambda db: get_sdk_session(db, key))
    return binding is not None and binding.session_id is None


def _names(key: StreamKey) -> tuple[str, str, str]:
    if not key["session_id"]:
        raise InvalidInput("session_id: the key of a stream needs one.", path="session_id")
    return key["project_key"], key["session_id"], key.get("subpath", "")


def _chunks(lines: list[Entry]) -> Iterator[list[Entry]]:
    chunk: list[Entry] = []
    size = 0
    for line in lines:
        size += len(line[0])
        if chunk and (len(chunk) >= CHUNK_ENTRIES or size > CHUNK_CHARACTERS):
            yield chunk
            chunk, size = [], len(line[0])
        chunk.append(line)
    yield chunk


def _milliseconds(moment: datetime) -> int:
    return int(moment.timestamp() * 1000)


async def _run(work: Callable[[UnitOfWork], Awaitable[Returned]]) -> Returned:
    """Run work in a transaction of its own; a cancelled one is rolled back."""
    try:
        return await in_transaction(work)
    except DRIVER_ERRORS as error:
        ours = translate(error)
        if ours is None:
            raise
        raise ours from error
