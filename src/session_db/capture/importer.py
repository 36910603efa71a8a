"""Import of recorded sessions: transcript files in, sessions, agents, events, messages, usage and cost out.

A batch of lines is written in one transaction with everything made of it and the byte where it ended, so an import that is killed
goes on where it stopped, and a second one changes nothing.
"""

import functools
import json
import os
import socket
from collections.abc import Callable, Collection, Iterable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, BinaryIO
from uuid import UUID

from sqlalchemy.exc import DBAPIError

from session_db.capture.entries import moment_of
from session_db.capture.lines import BadLine, fingerprint, line_number, parse_object, read_lines
from session_db.capture.record import Entry, Recorded, StreamName, append_to_stream, open_stream, uuid_of
from session_db.capture.recordings import Recording, Stream, find_recordings
from session_db.capture.redaction import stored_text
from session_db.capture.rereading import Reread, reread
from session_db.capture.told import end_told, told_of
from session_db.capture.tool_results import read_chunks
from session_db.crud.erasing import erase_deleted_sessions
from session_db.crud.sdk_sessions import get_sdk_session, is_old, lift_tombstone, sdk_key, session_id_of
from session_db.crud.transcripts import all_uuids, clear_entries, find_transcripts
from session_db.database import UnitOfWork, get_async_session, in_transaction
from session_db.database.batches import in_batches
from session_db.database.violations import translate
from session_db.errors import Conflict, InvalidInput, NotFound
from session_db.models import Transcript
from session_db.models.text import readable

BATCH_LINES = 1000
BATCH_BYTES = 4 * 1024 * 1024


@dataclass(frozen=True)
class Problem:
    """A line that could not be read, or with line 0 a whole file or folder."""

    path: Path
    line: int
    reason: str


@dataclass
class ImportReport:
    """What an import did."""

    sessions_new: int = 0
    sessions_updated: int = 0
    sessions_unchanged: int = 0
    sessions_deleted: int = 0
    entries: int = 0
    events: int = 0
    messages: int = 0
    usage: int = 0
    secrets_masked: int = 0
    session_ids: list[UUID] = field(default_factory=list)
    problems: dict[tuple[Path, int], Problem] = field(default_factory=dict)


@dataclass(frozen=True)
class Batch:
    """Lines that are written together: from byte ``start`` to byte ``end`` of the file; ``is_masked`` where these are other bytes."""

    lines: list[Entry]
    start: int
    end: int
    is_masked: bool = False


@dataclass(frozen=True)
class Position:
    """Where the reading of a file goes on, under which project its stream is known, and whether hooks told what it says."""

    project_key: str
    offset: int = 0
    is_rewritten: bool = False
    agent_meta: Any = None
    is_told: bool = False


Batches = Callable[[], Iterator[Batch]]


class _Overtaken(Exception):
    """Another process wrote these lines in the meantime."""


async def import_recordings(
    paths: Iterable[Path], *, restore_deleted: bool = False, on_progress: Callable[[int], None] | None = None
) -> ImportReport:
    """Import every recording at or below these paths.

    Args:
        paths: transcripts, project folders, or the folder of all projects.
        restore_deleted: import sessions that were deleted, too.
        on_progress: called with the number of bytes that were read since the last call.

    Raises:
        NotFound: a path does not exist.
    """
    importer = _Importer(on_progress or (lambda _: None), restore_deleted=restore_deleted)
    for recording in find_recordings(paths, importer.note_unreadable):
        await importer.recording(recording)
    return importer.report


class _Importer:
    """One run of an import: what it was asked, and what it did."""

    def __init__(self, on_progress: Callable[[int], None], *, restore_deleted: bool) -> None:
        self.report = ImportReport()
        self.on_progress = on_progress
        self.restore_deleted = restore_deleted

    async def recording(self, recording: Recording) -> None:
        key = sdk_key(recording.sdk_session_id, recording.project_key)
        if await self._is_deleted(recording, key):
            self.report.sessions_deleted += 1
            self.on_progress(recording.size)
            return
        written: list[Recorded] = []
        for stream in recording.streams:
            try:
                written += await self._stream(recording, stream)
            except OSError as error:
                self.note_unreadable(error)
            except NotFound:
                # It was deleted in the meantime.
                self.report.sessions_deleted += 1
                return
            except Conflict as error:
                self._note(stream.path, error.message)
                return
            except (DBAPIError, ValueError) as error:
                self._set_aside(stream.path, error)
        async with get_async_session() as db:
            binding = await get_sdk_session(db, key)
        if binding is not None and binding.session_id is not None:
            self.report.session_ids.append(binding.session_id)
        self._count(written)

    def _set_aside(self, path: Path, error: DBAPIError | ValueError) -> None:
        """Note a file with a value that cannot be stored; the others go on."""
        reason = translate(error) if isinstance(error, DBAPIError) else error
        if not isinstance(reason, ValueError):
            raise error
        self._note(path, f"a value in it cannot be stored: {reason}")

    def note_unreadable(self, error: OSError) -> None:
        """Note a file or folder that cannot be read; the others go on."""
        path = Path(os.fsdecode(error.filename or "."))
        self._note(path, f"it cannot be read: {error.strerror}")

    def _note(self, path: Path, problem: str) -> None:
        self.report.problems[path, 0] = Problem(path, 0, problem)

    def _count(self, written: list[Recorded]) -> None:
        for recorded in written:
            self.report.entries += recorded.entries
            self.report.events += recorded.events
            self.report.messages += recorded.messages
            self.report.usage += recorded.usage
            self.report.secrets_masked += recorded.secrets_masked
        if any(recorded.is_new_session for recorded in written):
            self.report.sessions_new += 1
        elif any(recorded.entries for recorded in written):
            self.report.sessions_updated += 1
        else:
            self.report.sessions_unchanged += 1

    async def _is_deleted(self, recording: Recording, key: str) -> bool:
        """Say whether the session was deleted and stays so; else its tombstone goes, and what is left of its rows."""
        async with get_async_session() as db:
            binding = await get_sdk_session(db, key)
        if binding is None or binding.session_id is not None:
            return False
        if not self.restore_deleted and not is_old(binding):
            return True
        session_id = session_id_of(recording.sdk_session_id, recording.project_key)
        await in_batches(lambda db: erase_deleted_sessions(db, session_id))
        await in_transaction(lambda db: lift_tombstone(db, key))
        return False

    async def _stream(self, recording: Recording, stream: Stream) -> list[Recorded]:
        """Write what a file holds beyond what was read of it."""
        with stream.path.open("rb") as file:
            while True:
                position = await _position(recording, stream, file)
                read = _tool_result if stream.is_tool_result else functools.partial(self._transcript, stream.path)
                batches = functools.partial(read, file, position.offset)
                target = _FileStream(stream.path, _name(recording, stream, position))
                try:
                    written = await self._write(target, batches, position)
                except _Overtaken:
                    continue
                if position.is_told:
                    await in_transaction(target.end_told)
                if lacking := sum(recorded.lacking for recorded in written):
                    self._note(stream.path, f"it lacks {lacking} entries that the agent SDK stored, so nothing of it was added")
                return written

    async def _write(self, target: "_FileStream", batches: Batches, position: Position) -> list[Recorded]:
        self.on_progress(position.offset)
        if position.is_rewritten:
            # In one transaction: killed halfway, the next run must still know that it reads the file anew.
            return await in_transaction(functools.partial(target.write_anew, batches=batches))
        written = []
        for batch in batches():
            written.append(await in_transaction(functools.partial(target.write, batch=batch)))
            self.on_progress(batch.end - batch.start)
        if (
            not written
            and target.name.agent_meta is not None
            and parse_object(stored_text(target.name.agent_meta)) != position.agent_meta
            and position.offset
        ):
            nothing = Batch([], position.offset, position.offset)
            written.append(await in_transaction(functools.partial(target.write, batch=nothing)))
        return written

    def _transcript(self, path: Path, file: BinaryIO, offset: int) -> Iterator[Batch]:
        """Give the lines of a transcript in batches; a bad one is noted and left out, a torn one is where the reading goes on."""
        lines: list[Entry] = []
        start = end = offset
        for line in read_lines(file, offset):
            if isinstance(line, BadLine):
                self.report.problems[path, line.start] = Problem(path, line_number(path, line.start), line.reason)
                if line.is_torn:
                    break
                end = line.end
                continue
            lines.append((line.text, line.entry))
            end = line.end
            if len(lines) >= BATCH_LINES or end - start >= BATCH_BYTES:
                yield Batch(lines, start, end)
                lines, start = [], end
        if lines or (offset and end > start):
            yield Batch(lines, start, end)


@dataclass(frozen=True)
class _FileStream:
    """A file, and the stream that it is written to."""

    path: Path
    name: StreamName

    async def write(
        self, db: UnitOfWork, *, batch: Batch, anew: bool = False, known: Reread | None = None, told: Collection[str] = ()
    ) -> Recorded:
        """Write a batch, and where its file goes on.

        Raises:
            _Overtaken: the stream is not where the batch begins, or a store wrote to it in the meantime.
        """
        if batch.start == 0 and not self.name.subpath and not any(isinstance(entry.get("type"), str) for _, entry in batch.lines):
            raise InvalidInput("it is no transcript: none of its first lines has a type.")
        changed = datetime.fromtimestamp(self.path.stat().st_mtime, UTC)
        stream = await open_stream(db, self.name, _first_moment(batch) or changed)
        transcript = stream.transcript
        has_more = transcript.is_rewritten and batch.end > batch.start
        if not anew and (transcript.file_offset != batch.start or _is_of_store(transcript) or has_more):
            raise _Overtaken
        if transcript.source != "hooks":
            transcript.source = "file"
        lines = batch.lines if known is None else await known.lacking(db, batch.lines)
        recorded = await append_to_stream(db, stream, lines, changed, told=told)
        transcript.is_masked |= batch.is_masked
        transcript.host = self.name.host
        transcript.file_path = readable(str(self.path))
        transcript.file_offset = batch.end
        transcript.mtime = changed
        with self.path.open("rb") as file:
            transcript.file_print = fingerprint(file, batch.end)
        await db.flush()
        return recorded

    async def write_anew(self, db: UnitOfWork, *, batches: Batches) -> list[Recorded]:
        """Write a file from its beginning: what the stream has is skipped, or where a store made the stream, replaced in the file's order.

        A file that lacks some of a store's entries is another branch of the conversation; mixed into one stream neither could be resumed.
        """
        stream = await open_stream(db, self.name, datetime.fromtimestamp(self.path.stat().st_mtime, UTC))
        if _is_of_store(stream.transcript):
            return await self._replace(db, stream.transcript, batches)
        before, known = stream.transcript.next_seq, await reread(db, stream.transcript)
        written = [await self.write(db, batch=batch, anew=True, known=known) for batch in batches()]
        if not before:
            # Nothing is lacking that an agent SDK did not store: the file has it.
            stream.transcript.gaps = 0
        # What it has more the file may bring back as it grows.
        stream.transcript.is_rewritten = known.found < before
        return written

    async def _replace(self, db: UnitOfWork, transcript: Transcript, batches: Batches) -> list[Recorded]:
        stored = await all_uuids(db, transcript)
        in_file = {uuid for batch in batches() for _, entry in batch.lines if (uuid := uuid_of(entry)) is not None}
        if lacking := len(stored - in_file):
            transcript.gaps = len(in_file - stored)
            await db.flush()
            return [Recorded(lacking=lacking)]
        await clear_entries(db, transcript)
        transcript.gaps, transcript.is_rewritten = 0, False
        return [await self.write(db, batch=batch, anew=True, told=stored) for batch in batches()]

    async def end_told(self, db: UnitOfWork) -> None:
        """Let what hooks told end with the file, which was read to its end."""
        stream = await open_stream(db, self.name, datetime.fromtimestamp(self.path.stat().st_mtime, UTC))
        await end_told(db, stream.session, stream.transcript)


def _is_of_store(transcript: Transcript) -> bool:
    """Say whether the entries of a stream came from an agent SDK's store."""
    return transcript.source == "store" and transcript.next_seq > 0


def _first_moment(batch: Batch) -> datetime | None:
    return next((moment for _, entry in batch.lines if (moment := moment_of(entry))), None)


async def _position(recording: Recording, stream: Stream, file: BinaryIO) -> Position:
    """Find how far a stream was read, from this file or from the one that it was before it moved."""
    size = stream.path.stat().st_size
    async with get_async_session() as db:
        binding = await get_sdk_session(db, sdk_key(recording.sdk_session_id, recording.project_key))
        if binding is None or binding.session_id is None:
            return Position(recording.project_key)
        known = await find_transcripts(db, binding.session_id, recording.sdk_session_id, stream.subpath)
    for transcript in known:
        if (
            not _is_of_store(transcript)
            and transcript.file_offset <= size
            and fingerprint(file, transcript.file_offset) == transcript.file_print
        ):
            is_told = told_of(transcript) is not None
            if transcript.is_rewritten and transcript.file_offset < size:
                return Position(transcript.project_key, is_rewritten=True, is_told=is_told)
            return Position(transcript.project_key, transcript.file_offset, agent_meta=transcript.meta, is_told=is_told)
    if known:
        return Position(known[0].project_key, is_rewritten=True, is_told=told_of(known[0]) is not None)
    return Position(recording.project_key)


def _name(recording: Recording, stream: Stream, position: Position) -> StreamName:
    meta = _agent_meta(stream.meta_path) if stream.sdk_agent_id is not None else None
    return StreamName(position.project_key, recording.sdk_session_id, stream.subpath, stream.sdk_agent_id, meta, socket.gethostname()[:255])


def _agent_meta(path: Path) -> str | None:
    """Return a sub-agent's .meta.json, or None where it has none that can be read; a link is none."""
    if path.is_symlink():
        return None
    try:
        text = path.read_text(encoding="utf-8-sig")
        parse_object(text)
    except (OSError, ValueError):
        return None
    return text


def _tool_result(file: BinaryIO, offset: int) -> Iterator[Batch]:
    """Give the bytes of a tool's output as entries."""
    start = offset
    for chunk in read_chunks(file, offset):
        yield Batch([(json.dumps(chunk.entry), chunk.entry)], start, chunk.end, chunk.is_masked)
        start = chunk.end
