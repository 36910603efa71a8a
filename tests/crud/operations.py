"""What clients do to a database, most of it in one transaction; as values, so that Hypothesis can draw them."""

from collections.abc import Iterator
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any, ClassVar, Literal
from uuid import UUID

import pytest
from sqlalchemy.exc import DBAPIError

from session_db import crud
from session_db.capture.importer import ImportReport, import_recordings
from session_db.crud.locking import lock_session
from session_db.crud.sdk_sessions import main_agent_id
from session_db.crud.usage import TOKENS, get_usage, put_usage
from session_db.database import UnitOfWork, in_transaction
from session_db.errors import AlreadyExists, Conflict, InvalidInput, NotFound, SessionDBError, StaleVersion
from session_db.ids import derived_id
from session_db.models import AgentCreate, AgentUpdate, ClipCreate, ClipUpdate, MemoryFileCreate, SessionUpdate, SongCreate, SongUpdate
from session_db.models.sessions import statuses_of
from session_db.models.table import now
from tests.capture.recorded import CLEARED, COMPACTED, FOREGROUND, FORK, PROJECT, copy_of
from tests.factories import event, make_session, message

# The SDK's own ids, some before those of the workflows and some behind: locks are taken in the order of ids.
CHATS = tuple(UUID(f"{letter * 8}-0000-4000-8000-000000000000") for letter in "01ef")
WORKFLOWS = tuple(UUID(f"77777777-7777-7777-8777-77777777777{number}") for number in range(2))
AGENTS = tuple(UUID(int=number) for number in range(1, 9))
RECORDED = dict(zip(CHATS, (FOREGROUND, COMPACTED, FORK, CLEARED), strict=True))

How = Literal["once", "again", "killed"]
"""Sent once; sent again because the answer was lost; or sent again because its connection broke before the commit."""


class Folder:
    """Transcript files that grow, of copies of recorded sessions."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.lines: dict[tuple[str, str], list[str]] = {}
        self.written: dict[UUID, int] = {}
        for chat, recorded in RECORDED.items():
            source = copy_of(recorded, path / "recorded")
            self.lines[str(chat), ""] = source.read_text().splitlines()
            for file in source.with_suffix("").rglob("*.jsonl"):
                self.lines[str(chat), f"subagents/{file.stem}"] = file.read_text().splitlines()

    def clear(self) -> None:
        for chat in CHATS:
            self.of(chat).unlink(missing_ok=True)
        self.written = dict.fromkeys(CHATS, 0)

    def of(self, chat: UUID) -> Path:
        return self.path / PROJECT / f"{chat}.jsonl"

    def grow(self, chat: UUID, lines: int, *, is_torn: bool) -> int:
        """Let a chat's file have so many lines at least, and return how many it has."""
        whole = self.lines[str(chat), ""]
        if lines > self.written[chat]:
            self.written[chat] = min(lines, len(whole))
            torn = "".join(whole[self.written[chat] :][:1])[:20] if is_torn else ""
            self.of(chat).parent.mkdir(parents=True, exist_ok=True)
            self.of(chat).write_text("".join(line + "\n" for line in whole[: self.written[chat]]) + torn)
        return self.written[chat]

    def add_sub_agents(self, chat: UUID) -> None:
        for (sdk_session_id, subpath), lines in self.lines.items():
            if sdk_session_id == str(chat) and subpath:
                file = self.of(chat).with_suffix("") / f"{subpath}.jsonl"
                file.parent.mkdir(parents=True, exist_ok=True)
                file.write_text("".join(line + "\n" for line in lines))


@dataclass(frozen=True)
class Operation:
    """One transaction of a client."""

    refusals: ClassVar[tuple[type[SessionDBError], ...]] = (NotFound,)

    async def work(self, db: UnitOfWork) -> Any:
        raise NotImplementedError

    async def run(self, folder: Folder) -> Any:
        return await in_transaction(self.work)

    async def answers(self, how: How, folder: Folder) -> list[Any]:
        """Run it, and return what was answered; an error is an answer."""
        if how == "killed":
            await self.run_and_be_killed(folder)
        return [await self._answer(folder) for _ in range(2 if how == "again" else 1)]

    async def _answer(self, folder: Folder) -> Any:
        try:
            return await self.run(folder)
        except self.refusals as error:
            return error

    async def run_and_be_killed(self, folder: Folder) -> None:
        async def work(db: UnitOfWork) -> None:
            await self.work(db)
            connection: Any = await (await db.connection()).get_raw_connection()
            connection.driver_connection.terminate()

        with pytest.raises((DBAPIError, *self.refusals)):
            await in_transaction(work)


@dataclass(frozen=True)
class Create(Operation):
    session: UUID
    slug: str

    refusals = (AlreadyExists,)

    async def work(self, db: UnitOfWork) -> Any:
        values: dict[str, Any] = {"session_slug": self.slug} if self.session in WORKFLOWS else {}
        return (await make_session(db, session_id=self.session, **values)).id


@dataclass(frozen=True)
class Change(Operation):
    session: UUID
    status: int
    slug: str | None

    refusals = (AlreadyExists,)

    async def work(self, db: UnitOfWork) -> Any:
        is_workflow = self.session in WORKFLOWS
        statuses = statuses_of("full" if is_workflow else "chat")
        values: dict[str, Any] = {"session_slug": self.slug} if self.slug and is_workflow else {}
        changes = SessionUpdate(status=statuses[self.status % len(statuses)], **values)
        return await crud.update_session(db, self.session, changes) is not None


@dataclass(frozen=True)
class Touch(Operation):
    session: UUID

    async def work(self, db: UnitOfWork) -> Any:
        return await crud.update_session_activity(db, self.session) is not None


@dataclass(frozen=True)
class AddAgent(Operation):
    """Create an agent; with an SDK session it is resumed, or its automatic session adopted."""

    session: UUID
    agent: UUID
    sdk: UUID | None = None
    parent: UUID | None = None
    sdk_agent_id: str | None = None
    cost: float = 0.0

    refusals = (NotFound, AlreadyExists, Conflict)

    async def work(self, db: UnitOfWork) -> Any:
        values: dict[str, Any] = {"parent_agent_id": self.parent} if self.parent not in (None, self.agent) else {}
        agent = AgentCreate(
            session_id=self.session,
            id=self.agent,
            agent_type="build",
            sdk_session_id=str(self.sdk) if self.sdk else None,
            sdk_agent_id=self.sdk_agent_id,
            cost=self.cost,
            **values,
        )
        return (await crud.create_agent(db, agent)).id


@dataclass(frozen=True)
class ChangeAgent(Operation):
    """Change an agent; with an SDK session as above."""

    session: UUID
    agent: UUID
    sdk: UUID | None = None
    changes: tuple[tuple[str, float], ...] = ()

    refusals = (Conflict,)

    async def work(self, db: UnitOfWork) -> Any:
        values: dict[str, Any] = {"sdk_session_id": str(self.sdk)} if self.sdk else {}
        values |= {name: value if name == "cost" else int(value) for name, value in self.changes}
        return await crud.update_agent(db, self.agent, AgentUpdate(**values), self.session) is not None


@dataclass(frozen=True)
class Append(Operation):
    """Append events: (session, number, agent) each; the same number is the same event."""

    events: tuple[tuple[UUID, int, UUID | None], ...]

    async def work(self, db: UnitOfWork) -> Any:
        logs = [event(session, id=event_id(number), agent_id=agent) for session, number, agent in self.events]
        return await crud.append_agent_logs(db, logs)


@dataclass(frozen=True)
class Say(Operation):
    session: UUID
    numbers: tuple[int, ...]

    async def work(self, db: UnitOfWork) -> Any:
        messages = [message(said(number), client_id=said(number)) for number in self.numbers]
        return await crud.save_display_messages(db, self.session, messages)


@dataclass(frozen=True)
class Spend(Operation):
    """Record the usage of answers."""

    session: UUID
    agent: UUID
    numbers: tuple[int, ...]
    tokens: int
    dollars: Decimal | None

    async def work(self, db: UnitOfWork) -> Any:
        await lock_session(db, self.session)
        if await crud.get_agent(db, self.agent, self.session) is None:
            raise NotFound(f"there is no agent {self.agent}.")
        row: dict[str, Any] = dict.fromkeys(TOKENS, self.tokens) | {"agent_id": self.agent, "model": "m", "occurred_at": now()}
        row |= {"computed_cost": self.dollars, "reported_cost": Decimal("0.25")}
        message_ids = [said(number) for number in dict.fromkeys(self.numbers)]
        before = await get_usage(db, self.session, message_ids)
        await put_usage(db, self.session, [row | {"message_id": message_id} for message_id in message_ids], before)
        return True


@dataclass(frozen=True)
class Remember(Operation):
    """Add a memory file."""

    session: UUID
    number: int
    is_primary: bool

    refusals = (NotFound, AlreadyExists)

    async def work(self, db: UnitOfWork) -> Any:
        file = MemoryFileCreate(session_id=self.session, file_path=str(self.number), is_primary=self.is_primary)
        return (await crud.create_memory_file(db, file)).id


@dataclass(frozen=True)
class Delete(Operation):
    session: UUID

    async def work(self, db: UnitOfWork) -> Any:
        return await crud.delete_session(db, self.session)


@dataclass(frozen=True)
class Erase(Operation):
    """Erase batches of deleted sessions, each in a transaction of its own."""

    batches: int

    async def work(self, db: UnitOfWork) -> Any:
        return await crud.erase_deleted_sessions(db)

    async def run(self, folder: Folder) -> Any:
        for _ in range(self.batches):
            if not await in_transaction(self.work):
                break


@dataclass(frozen=True)
class Imported:
    """What an import reported, and how many lines its file had when it began."""

    sdk_session_id: str
    report: ImportReport
    lines: int


class ImportKilled(Exception):
    """The process of an import was killed between two of its transactions."""


@dataclass(frozen=True)
class Import(Operation):
    """Import a chat's file, which has grown."""

    chat: UUID
    lines: int
    is_torn: bool
    with_sub_agents: bool
    restore_deleted: bool

    refusals = (Conflict,)

    async def run(self, folder: Folder) -> Any:
        lines = self._grow(folder)
        report = await import_recordings([folder.of(self.chat)], restore_deleted=self.restore_deleted)
        assert all("ends in the middle" in problem.reason for problem in report.problems.values()), report.problems
        return Imported(str(self.chat), report, lines)

    async def run_and_be_killed(self, folder: Folder) -> None:
        self._grow(folder)
        calls = iter(range(2))

        def on_progress(count: int) -> None:
            if next(calls, None) is None:
                raise ImportKilled

        try:
            await import_recordings([folder.of(self.chat)], restore_deleted=self.restore_deleted, on_progress=on_progress)
        except (ImportKilled, *self.refusals):
            pass

    def _grow(self, folder: Folder) -> int:
        lines = folder.grow(self.chat, self.lines, is_torn=self.is_torn)
        if self.with_sub_agents:
            folder.add_sub_agents(self.chat)
        return lines


@dataclass(frozen=True)
class WriteClip(Operation):
    """Change a clip, or make it where there is none."""

    clip: str
    code: str
    expected_version: int | None

    refusals = (AlreadyExists, StaleVersion)

    async def work(self, db: UnitOfWork) -> Any:
        changed = await crud.update_clip(db, self.clip, ClipUpdate(code=self.code), expected_version=self.expected_version)
        if changed is None:
            await crud.create_clip(db, ClipCreate(clip_id=self.clip, project_id="house", name=self.clip, code=self.code))


@dataclass(frozen=True)
class DeleteClip(Operation):
    clip: str

    refusals = (Conflict,)

    async def work(self, db: UnitOfWork) -> Any:
        await crud.delete_clip(db, self.clip)


@dataclass(frozen=True)
class WriteSong(Operation):
    """Change the song, or make it where there is none."""

    clips: tuple[str, ...]

    refusals = (AlreadyExists, InvalidInput)

    async def work(self, db: UnitOfWork) -> Any:
        if await crud.update_song(db, "song", SongUpdate(clip_ids=list(self.clips))) is None:
            await crud.create_song(db, SongCreate(song_id="song", project_id="house", name="Song", clip_ids=list(self.clips)))


def known_agent(session: UUID, number: int = 0) -> UUID:
    """Return the id of an agent that the session has, if all went as it began."""
    return main_agent_id(session, str(session)) if session in CHATS else AGENTS[number]


def event_id(number: int) -> UUID:
    return derived_id("event", number)


def said(number: int) -> str:
    """Return the client_id and the text of a message, and the API's id of an answer."""
    return f"said {number}"


def adoptions(operations: Any) -> Iterator[tuple[UUID, UUID]]:
    """Give (SDK session, session that is given an agent with it)."""
    for operation in operations:
        if isinstance(operation, AddAgent | ChangeAgent) and operation.sdk is not None:
            yield operation.sdk, operation.session
