"""Where the folders of sessions are, and which of them a process may touch."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path, PurePosixPath

from session_db.crud.workspaces import Place
from session_db.errors import NotFound
from session_db.models.sessions import refuse_bad_slug
from session_db.settings import Settings, get_settings
from session_db.workspace.folders import Folder, open_folder

SESSIONS = ("agents", "sessions")
"""Below a project: where the folders of its sessions are."""

STATE = "state.json"

serving: ContextVar[bool] = ContextVar("session_db_serving", default=False)
"""Whether this is done for somebody else: who asks over the network may name any directory, so only the configured ones are touched."""


def workspace_roots(settings: Settings) -> list[Path]:
    """Return the directories below which the service may touch folders."""
    roots = (Path(name).expanduser() for name in settings.workspace_roots.split(os.pathsep) if name)
    return [Path(os.path.normpath(root)) for root in roots if root.is_absolute()]


@contextmanager
def open_session_folder(place: Place, *, make: bool = False) -> Iterator[Folder]:
    """Open the folder of a session.

    Raises:
        NotFound: it is missing, or this process may not touch it.
        InvalidInput: something on the way is a symbolic link, or no directory.
    """
    refuse_bad_slug(place.session_slug)
    start, names = _trusted(Path(place.working_dir))
    with open_folder(start, *names, *SESSIONS, place.session_slug, make=make) as folder:
        yield folder


def _trusted(working_dir: Path) -> tuple[Path, tuple[str, ...]]:
    """Return where to begin, and the names to go on by: what a configured root holds is not trusted, it has only been allowed."""
    if not working_dir.is_absolute():
        raise NotFound(f"{working_dir} is no directory of this machine.", path=str(working_dir))
    if not serving.get():
        return working_dir, ()
    for root in workspace_roots(get_settings()):
        if working_dir.is_relative_to(root):
            return root, PurePosixPath(working_dir.relative_to(root)).parts
    raise NotFound(f"{working_dir} is not below SESSION_DB_WORKSPACE_ROOTS of the service.", path=str(working_dir))
