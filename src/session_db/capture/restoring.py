"""Restoring: a recorded session's files put back where Claude Code looks for them, so that it can go on."""

import base64
import json
import os
import re
import tempfile
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO
from uuid import UUID

from session_db.capture.recordings import TOOL_RESULTS
from session_db.crud.agents import list_agents
from session_db.crud.transcripts import list_transcripts, stream_entries
from session_db.database import UnitOfWork
from session_db.errors import Conflict, InvalidInput, NotFound
from session_db.models import Agent, Session, Transcript
from session_db.models.table import encode_json

MAX_FOLDER = 200
"""Characters of a project's folder; of a longer one the client keeps the beginning and a hash."""


@dataclass(frozen=True)
class Resumable:
    """What it takes to go on with a session.

    Attributes:
        sdk_session_id: what the client calls it.
        directory: where it worked.
        streams: its files.
    """

    sdk_session_id: str
    directory: str
    streams: list[Transcript]


@dataclass(frozen=True)
class Restored:
    """Files that were written, and those that were there already."""

    written: list[Path]
    kept: list[Path]


async def find_resumable(db: UnitOfWork, session: Session, sdk_session_id: str | None = None) -> Resumable:
    """Return what it takes to go on with a session; of several SDK sessions in it the one that was named, or the last.

    Raises:
        NotFound: nothing was recorded that could be gone on with.
        Conflict: the streams are too many to be restored.
    """
    streams = list(await list_transcripts(db, session.id, limit=1000))
    if len(streams) == 1000:  # noqa: PLR2004  as asked for
        raise Conflict(f"session {session.id} has too many transcripts to be restored at once; name one with --sdk-session.")
    own = [stream for stream in streams if stream.subpath == "" and stream.next_seq and sdk_session_id in (None, stream.sdk_session_id)]
    if not own:
        wanted = f" of SDK session {sdk_session_id}" if sdk_session_id else ""
        raise NotFound(f"session {session.id} has no transcript{wanted}, so nothing can be resumed.", session_id=session.id)
    last = max(own, key=lambda stream: (stream.mtime is not None, stream.mtime, stream.created_at))
    agents = {agent.id: agent for agent in await list_agents(db, session.id, limit=1000)}
    directory = _directory(agents.get(last.agent_id) if last.agent_id else None, session)
    return Resumable(last.sdk_session_id, directory, _longest([each for each in streams if each.sdk_session_id == last.sdk_session_id]))


def _longest(streams: list[Transcript]) -> list[Transcript]:
    """Return one stream of each name, the longest: a session that moved to another project may have more."""
    by_subpath = {stream.subpath: stream for stream in sorted(streams, key=lambda stream: stream.next_seq)}
    return [by_subpath[subpath] for subpath in sorted(by_subpath)]


def _directory(agent: Agent | None, session: Session) -> str:
    directory = (agent.working_dir if agent else None) or session.working_dir
    if directory is None:
        raise NotFound(f"it is not known where session {session.id} worked; name the directory with --in.", session_id=session.id)
    return directory


async def restore(db: UnitOfWork, session_id: UUID, resumable: Resumable, projects: Path, directory: str) -> Restored:
    """Write the files of a session that are missing; one that is there stays as it is.

    Args:
        db: the database session.
        session_id: the session that they are recorded in.
        resumable: which files.
        projects: the client's folder of projects.
        directory: where the client will be started, which names its folder there.

    Raises:
        InvalidInput: the names would lead out of that folder.
        Conflict: one that is missing is no longer what the client wrote.
    """
    folder = projects / folder_of(directory)
    written, kept = [], []
    files = [(stream, _path_of(folder, stream)) for stream in resumable.streams]
    for stream, path in files:
        if not path.exists():
            refuse_masked(stream)
    for stream, path in files:
        about = path.with_suffix(".meta.json")
        if isinstance(stream.meta, dict) and stream.subpath and not _is_tool_result(stream) and not about.exists():
            # Before the transcript: where this ends in the middle, the next time finds both missing.
            with _whole(about) as file:
                file.write(encode_json(stream.meta).encode())
        if path.exists():
            kept.append(path)
            continue
        await _write(path, _contents(db, session_id, stream))
        written.append(path)
    return Restored(written, kept)


def refuse_masked(stream: Transcript) -> None:
    """Raise ``Conflict`` for a stream in whose entries secrets were masked: the client would go on with another conversation."""
    if stream.is_masked:
        raise Conflict(
            f"SDK session {stream.sdk_session_id} cannot be resumed: secrets were masked in its transcript, because "
            "SESSION_DB_REDACT_TRANSCRIPTS was set when it was recorded. Resume it where the client's own file is.",
            sdk_session_id=stream.sdk_session_id,
            subpath=stream.subpath,
        )


def folder_of(directory: str) -> str:
    """Return how the client names the folder of a project in this directory.

    Raises:
        InvalidInput: the name would be so long that the client hashes it.
    """
    folder = re.sub(r"[^A-Za-z0-9]", "-", directory)
    if len(folder) > MAX_FOLDER:
        raise InvalidInput(f"{directory} is too long: Claude Code hashes such names; go on in a shorter one.", directory=directory)
    return folder


def _path_of(folder: Path, stream: Transcript) -> Path:
    """Return where a stream's file is; what names it came from outside, and leads nowhere else."""
    if stream.sdk_session_id.startswith("-"):
        raise InvalidInput(f"the SDK session {stream.sdk_session_id!r} is named like an option of the client; it is not restored.")
    parts = [stream.sdk_session_id, *stream.subpath.split("/")] if stream.subpath else [stream.sdk_session_id]
    if any(part in ("", ".", "..") or "/" in part or "\\" in part or "\0" in part for part in parts):
        raise InvalidInput(
            f"the transcript {stream.sdk_session_id}/{stream.subpath} has a name that leads out of its folder; it is not restored."
        )
    path = folder.joinpath(*parts)
    return path if _is_tool_result(stream) else path.with_name(path.name + ".jsonl")


def _is_tool_result(stream: Transcript) -> bool:
    return stream.subpath.startswith(TOOL_RESULTS + "/")


async def _contents(db: UnitOfWork, session_id: UUID, stream: Transcript) -> AsyncIterator[bytes]:
    async for entry in stream_entries(db, session_id, stream.id):
        if _is_tool_result(stream):
            chunk = json.loads(entry)
            yield chunk["data"].encode() if chunk["encoding"] == "utf-8" else base64.b64decode(chunk["data"])
        # The SDK keeps a sub-agent's .meta.json among the entries; the client would not know such a line.
        elif not (stream.source == "store" and stream.subpath and json.loads(entry).get("type") == "agent_metadata"):
            yield entry.encode() + b"\n"


async def _write(path: Path, contents: AsyncIterator[bytes]) -> None:
    with _whole(path) as file:
        async for chunk in contents:
            file.write(chunk)


@contextmanager
def _whole(path: Path) -> Iterator[BinaryIO]:
    """Open a file that appears whole or not at all, readable by its owner alone as the client's own are."""
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    descriptor, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name[:50]}.")
    try:
        with os.fdopen(descriptor, "wb") as file:
            yield file
        Path(temporary).replace(path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise
