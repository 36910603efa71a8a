"""The files in the folder of a session, to be read and never to be changed."""

import os
import stat
from collections.abc import Iterator
from contextlib import suppress
from datetime import UTC, datetime

from pydantic import BaseModel, Field

from session_db.crud.paging import Page, checked_limit, decode_cursor, encode_cursor
from session_db.crud.workspaces import Place
from session_db.errors import InvalidInput, NotFound
from session_db.models.text import shown
from session_db.workspace.folders import Folder, is_temporary
from session_db.workspace.places import open_session_folder

MAX_BYTES = 16 * 1024 * 1024
"""Bytes of a file that is read."""

_WALKED = 10_000
"""Names that a page looks at; then it ends, and its cursor goes on from there."""
_DEEPEST = 16
_EARLIEST = datetime.min.replace(tzinfo=UTC)
_LATEST = datetime.max.replace(tzinfo=UTC, microsecond=0)
_LONGEST = 4_096


class Artifact(BaseModel):
    """A file in the folder of a session."""

    path: str = Field(description="Where it is in the folder.")
    size: int = Field(description="Bytes.")
    modified_at: datetime = Field(description="When it was last written.")


class TooLarge(InvalidInput):
    """The file is larger than is read."""

    code = "too_large"


def list_artifacts(place: Place, *, limit: int = 50, cursor: str | None = None) -> Page[Artifact]:
    """Return files of a folder in the order of their paths; symbolic links, pipes and names that are no UTF-8 are left out.

    A page may be short and have a next one, where much else lies between.

    Raises:
        NotFound: there is no such folder, or this process may not read it.
    """
    checked_limit(limit)
    after = tuple(decode_cursor(cursor, str)[0].split("/")) if cursor is not None else ()
    found: list[Artifact] = []
    last: tuple[str, ...] = ()
    with open_session_folder(place) as folder:
        for number, (path, artifact) in enumerate(_walk(folder, (), after)):
            if len(found) == limit or number == _WALKED:
                return Page(found, encode_cursor("/".join(last)))
            last = path
            found += [artifact] if artifact else []
    return Page(found)


def read_artifact(place: Place, path: str) -> bytes:
    """Return what a file in a folder holds.

    Raises:
        InvalidInput: the path is none inside of the folder, or leads over a symbolic link, or to what is no file.
        TooLarge: the file is too large.
        NotFound: there is no such file or folder, or this process may not read it.
    """
    *above, name = checked_path(path)
    with open_session_folder(place) as folder, folder.below(*above) as directory:
        status = directory.status(name)
        if status is not None and stat.S_ISREG(status.st_mode) and status.st_size > MAX_BYTES:
            raise TooLarge(f"{shown(path)} has {status.st_size:,} bytes; files of up to {MAX_BYTES:,} are read.", size=status.st_size)
        content = directory.read(name, MAX_BYTES)
    if content is None:
        raise NotFound(f"the folder has no file {shown(path)}.", path=path)
    return content


def checked_path(path: str) -> tuple[str, ...]:
    """Return the names on the way to a file; raise ``InvalidInput`` for a path that is none inside of a folder."""
    names = tuple(path.split("/"))
    is_plain = path.isprintable() and "\\" not in path and len(path) <= _LONGEST and len(names) <= _DEEPEST
    if not is_plain or any(name in ("", ".", "..") for name in names):
        raise InvalidInput(f"{shown(path)} is no path inside of the folder; send one that the list of artifacts has.", path=path)
    return names


def _walk(folder: Folder, above: tuple[str, ...], after: tuple[str, ...]) -> Iterator[tuple[tuple[str, ...], Artifact | None]]:
    """Give what comes after a path, each directory before what is in it; what is no file of ours as None."""
    for name in folder.names():
        path = (*above, name)
        if path[: len(after)] < after[: len(path)] or not _is_told(name):
            continue
        status = _status(folder, name)
        if status is not None and stat.S_ISDIR(status.st_mode) and len(path) < _DEEPEST:
            if path > after:
                yield path, None
            yield from _walk_below(folder, name, path, after)
        elif path > after:
            is_file = status is not None and stat.S_ISREG(status.st_mode)
            yield path, _artifact(path, status) if is_file and status is not None else None


def _walk_below(
    folder: Folder, name: str, path: tuple[str, ...], after: tuple[str, ...]
) -> Iterator[tuple[tuple[str, ...], Artifact | None]]:
    # It may be gone, or have become something else, or this process may not look into it.
    with suppress(InvalidInput, NotFound, OSError), folder.below(name) as below:
        yield from _walk(below, path, after)


def _status(folder: Folder, name: str) -> os.stat_result | None:
    with suppress(OSError):
        return folder.status(name)
    return None


def _is_told(name: str) -> bool:
    """Say whether a name can be asked for, and is no file that is just being written."""
    return name.isprintable() and "\\" not in name and not is_temporary(name)


def _artifact(path: tuple[str, ...], status: os.stat_result) -> Artifact:
    return Artifact(path="/".join(path), size=status.st_size, modified_at=_moment(status.st_mtime))


def _moment(seconds: float) -> datetime:
    """Return the moment, or the nearest one that can be told: a file may have any."""
    return datetime.fromtimestamp(min(max(seconds, _EARLIEST.timestamp()), _LATEST.timestamp()), UTC)
