"""Resuming: how the client is told to go on with a recorded session."""

import shlex
from dataclasses import dataclass

from session_db.capture.restoring import Resumable, find_resumable
from session_db.crud.listing import checked_text
from session_db.crud.workflow import get_last_agent
from session_db.database import UnitOfWork
from session_db.errors import Conflict, NotFound
from session_db.models import Session


@dataclass(frozen=True)
class Resumption:
    """How to go on: which command in which directory."""

    sdk_session_id: str
    directory: str
    command: list[str]

    @property
    def shell(self) -> str:
        """The same, as it is typed."""
        return f"cd {shlex.quote(self.directory)} && {shlex.join(self.command)}"


async def find_one(db: UnitOfWork, session: Session, *, sdk_session: str | None = None, phase: str | None = None) -> Resumable:
    """Return what it takes to go on with a session: with the last agent of a type, else with an SDK session in it, else the last.

    Raises:
        NotFound: nothing was recorded that could be gone on with.
        Conflict: there is too much of it.
    """
    return await find_resumable(db, session, await _sdk_session_of(db, session, phase) if phase else sdk_session)


async def _sdk_session_of(db: UnitOfWork, session: Session, phase: str) -> str:
    """Return what the client calls the session of the last agent of this type."""
    agent = await get_last_agent(db, session.id, checked_text(phase, "phase"))
    if agent is None or agent.sdk_session_id is None:
        raise NotFound(
            f"session {session.id} has no {phase} agent that can be resumed; session-db agents list {session.id} shows which it has.",
            session_id=session.id,
            phase=phase,
        )
    return agent.sdk_session_id


def resumption_in(directory: str, resumable: Resumable) -> Resumption:
    """Return how to go on in a directory.

    Raises:
        Conflict: the client would take the name of its session for an option.
    """
    name = resumable.sdk_session_id
    if name.startswith("-"):
        raise Conflict(f"the SDK session {name!r} is named like an option of the client; it cannot be resumed.", sdk_session_id=name)
    return Resumption(name, directory, ["claude", "--resume", name])
