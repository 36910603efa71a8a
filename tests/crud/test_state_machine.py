"""Whatever several clients do at once, whatever is sent again or killed: the invariants hold, and what was acknowledged is there once.

``SESSION_DB_TEST_EXAMPLES`` sets how many runs are tried; the default takes some seconds.
"""

import asyncio
import json
import os
from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, ClassVar
from uuid import UUID

import asyncpg
import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule, run_state_machine_as_test

from session_db.capture import importer
from session_db.capture.entries import Reading, Source, read_entries
from session_db.crud import adopting, erasing
from session_db.crud.transcripts import transcript_id
from session_db.database import close_db
from session_db.errors import Conflict, NotFound
from session_db.models import METADATA
from session_db.settings import use_settings
from tests.capture.recorded import PROJECT
from tests.crud import operations as ops
from tests.crud import strategies as drawn
from tests.crud.operations import Folder, How, Imported, Operation
from tests.databases import Database, PostgreSQL
from tests.invariants import violations

EXAMPLES = int(os.environ.get("SESSION_DB_TEST_EXAMPLES", "6"))
STEPS = 25

Done = tuple[Operation, list[Any]]
"""An operation, and what it was answered each time it was sent."""


@dataclass(frozen=True)
class Snapshot:
    """What the live sessions hold, in the order of their indexes."""

    activity: dict[UUID, datetime]
    events: dict[UUID, list[UUID]] = field(default_factory=lambda: defaultdict(list))
    phases: set[UUID] = field(default_factory=set)
    messages: dict[UUID, list[str]] = field(default_factory=lambda: defaultdict(list))
    texts: dict[tuple[UUID, str], str] = field(default_factory=dict)
    usage: dict[UUID, set[str]] = field(default_factory=lambda: defaultdict(set))
    agents: dict[UUID, set[UUID]] = field(default_factory=lambda: defaultdict(set))
    streams: dict[tuple[str, str], tuple[UUID, list[str]]] = field(default_factory=dict)

    @classmethod
    async def take(cls, connection: Any) -> "Snapshot":
        live = "JOIN sessions s ON s.id = session_id AND s.deleted_at IS NULL"
        rows = await connection.fetch("SELECT id, last_activity FROM sessions WHERE deleted_at IS NULL")
        taken = cls({row["id"]: row["last_activity"] for row in rows})
        for session, event_id, category in await connection.fetch(
            f"SELECT session_id, l.id, event_category FROM agent_logs l {live} ORDER BY session_id, event_index"
        ):
            taken.events[session].append(event_id)
            if category == "phase":
                taken.phases.add(event_id)
        for session, client_id, data in await connection.fetch(
            f"SELECT session_id, client_id, message_data FROM messages {live} ORDER BY session_id, message_index"
        ):
            taken.messages[session].append(client_id)
            taken.texts[session, client_id] = json.loads(data)["content"]
        for session, message_id in await connection.fetch(f"SELECT session_id, message_id FROM usage {live}"):
            taken.usage[session].add(message_id)
        for session, agent in await connection.fetch(f"SELECT session_id, a.id FROM agents a {live}"):
            taken.agents[session].add(agent)
        for session, sdk, subpath, lines in await connection.fetch(
            f"SELECT session_id, sdk_session_id, subpath, "
            "ARRAY(SELECT entry::text FROM transcript_entries e WHERE (e.session_id, e.transcript_id) = (t.session_id, t.id) ORDER BY seq) "
            f"FROM transcripts t {live}"
        ):
            assert (sdk, subpath) not in taken.streams, f"stream {sdk}/{subpath} is in two sessions"
            taken.streams[sdk, subpath] = session, lines
        return taken


@dataclass
class Told:
    """What was acknowledged to clients, by session: keys of events and messages, and of usage."""

    events: dict[UUID, set[UUID]] = field(default_factory=lambda: defaultdict(set))
    messages: dict[UUID, set[str]] = field(default_factory=lambda: defaultdict(set))
    usage: dict[UUID, set[str]] = field(default_factory=lambda: defaultdict(set))

    def note(self, operation: Operation, answer: Any) -> None:
        if isinstance(answer, Exception):
            return
        if isinstance(operation, ops.Append):
            for (session, *_), place in zip(operation.events, answer, strict=True):
                self.events[session].add(place.id)
        elif isinstance(operation, ops.Say):
            self.messages[operation.session].update(map(ops.said, operation.numbers))
        elif isinstance(operation, ops.Spend):
            self.usage[operation.session].update(map(ops.said, operation.numbers))

    def sessions(self) -> set[UUID]:
        return {*self.events, *self.messages, *self.usage}

    def take_over(self, other: "Told", source: UUID, target: UUID) -> None:
        self.events[target] |= other.events[source]
        self.messages[target] |= other.messages[source]
        self.usage[target] |= other.usage[source]


class Step:
    """Operations that ran at once, seen from before and after."""

    def __init__(self, done: list[Done], before: Snapshot, after: Snapshot) -> None:
        self.done, self.before, self.after = done, before, after
        self.deleted = {operation.session for operation, answers in done if isinstance(operation, ops.Delete) and True in answers}

    def home(self, session: UUID) -> UUID | None:
        """Return where the rows of a session are now, or None where they were deleted."""
        if session in self.deleted:
            return None
        if session in self.after.activity:
            return session
        given = ops.adoptions(operation for operation, answers in self.done if any(map(_is_done, answers)))
        adopting = [target for sdk, target in given if sdk == session != target]
        assert adopting, f"session {session} is gone, and nobody deleted or adopted it"
        return None if self.deleted.intersection(adopting) else self.home(adopting[0])

    def check_order(self) -> None:
        """What was there stays where it was; what was told to be somewhere is there."""
        # What is sent to the adopting session just before the adoption stays where it is, too.
        sending = any(isinstance(operation, ops.Append | ops.Say | ops.Import) for operation, _ in self.done)
        for name in ("events", "messages"):
            before, after = getattr(self.before, name), getattr(self.after, name)
            for session in self.before.activity:
                home = self.home(session)
                if home == session:
                    assert after[session][: len(before[session])] == before[session]
                elif home is not None and not sending:
                    places = [after[home].index(key) for key in before[session] if key not in before[home]]
                    assert places == sorted(places), f"{name} of {session} came to {home} in another order"
        for operation, answers in self.done:
            for answer in filter(_is_done, answers):
                self._check_places(operation, answer)

    def _check_places(self, operation: Operation, answer: Any) -> None:
        if isinstance(operation, ops.Append):
            for (session, *_), place in zip(operation.events, answer, strict=True):
                if self.home(session) == session:
                    assert self.after.events[session][place.event_index] == place.id
        elif isinstance(operation, ops.Say) and self.home(operation.session) == operation.session:
            for number, place in zip(operation.numbers, answer, strict=True):
                assert self.after.messages[operation.session][place.message_index] == ops.said(number)

    def check_refusals(self) -> None:
        """An error is right: the session was not there, or another one has what was asked for."""
        for operation, answers in self.done:
            for answer in answers:
                if isinstance(answer, NotFound):
                    self._check_not_found(operation, answer)
                if isinstance(answer, Conflict) and isinstance(operation, ops.AddAgent | ops.ChangeAgent):
                    # The error tells where to go; None: it is about something else.
                    named = answer.details.get("session_id")
                    assert named is None or named in self.after.activity or named in self.deleted, f"{operation}: {answer}"

    def _check_not_found(self, operation: Operation, error: NotFound) -> None:
        wanted = {operation.session} if hasattr(operation, "session") else {session for session, *_ in getattr(operation, "events", ())}
        stable = {session for session in wanted if session in self.before.activity and self.home(session) == session}
        if stable != wanted:
            return
        agents = {
            getattr(operation, "agent", None),
            getattr(operation, "parent", None),
            *(agent for *_, agent in getattr(operation, "events", ())),
        }
        known = set.intersection(*(self.before.agents[session] for session in wanted))
        assert not agents - {None} <= known, f"{operation}: {error}"

    def check_activity(self) -> None:
        for session, moment in self.before.activity.items():
            home = self.home(session)
            if home is not None:
                assert self.after.activity[home] >= moment, f"last_activity of {home} moved back"


def _is_done(answer: Any) -> bool:
    return not isinstance(answer, Exception) and answer is not False


class Machine(RuleBasedStateMachine):
    """Runs operations at once on a database that it has for itself."""

    runner: ClassVar[asyncio.Runner]
    folder: ClassVar[Folder]
    connection: ClassVar[Any]
    counts: ClassVar[Counter[str]]

    def __init__(self) -> None:
        super().__init__()
        self.runner.run(self.connection.execute(f"TRUNCATE {', '.join(table.name for table in METADATA.sorted_tables)}"))
        self.folder.clear()
        self.told = Told()
        self.known = self.runner.run(Snapshot.take(self.connection))
        self.log: list[str] = []

    @initialize(lines=st.integers(2, 30))
    def begin(self, lines: int) -> None:
        """Begin with what most operations need."""
        self.run([(ops.Create(session, f"{session}"), "once") for session in ops.WORKFLOWS])
        self.run([(ops.AddAgent(session, ops.AGENTS[0]), "once") for session in ops.WORKFLOWS])
        self.run([(ops.Import(chat, lines, is_torn=False, with_sub_agents=False, restore_deleted=False), "once") for chat in ops.CHATS])

    def run(self, sent: list[tuple[Operation, How]]) -> None:
        self.log.append(" | ".join(f"{how}: {operation}" for operation, how in sent))
        try:
            self.runner.run(self._run(sent))
        except BaseException as error:
            error.add_note("\n".join(self.log))
            raise
        self.counts["steps"] += 1

    async def _run(self, sent: list[tuple[Operation, How]]) -> None:
        async with asyncio.timeout(60):
            answers = await asyncio.gather(*(operation.answers(how, self.folder) for operation, how in sent))
        done = [(operation, answered) for (operation, _), answered in zip(sent, answers, strict=True)]
        for operation, answered in done:
            self.counts.update(f"{type(operation).__name__} {_named(answer)}" for answer in answered)
        after = await Snapshot.take(self.connection)
        assert await violations(self.connection) == []
        step = Step(done, self.known, after)
        step.check_order()
        step.check_refusals()
        step.check_activity()
        self._check_told(step)
        self._check_imports(step)
        self.known = after

    def _check_told(self, step: Step) -> None:
        told, sent = Told(), Told()
        for operation, answers in step.done:
            for answer in answers:
                sent.note(operation, answer)
        for source in (self.told, sent):
            for session in source.sessions():
                home = step.home(session)
                if home is not None:
                    told.take_over(source, session, home)
        self.told = told
        for session in step.after.activity:
            readings = [self._reading(*name, len(lines)) for name, (home, lines) in step.after.streams.items() if home == session]
            events = {event.id for reading in readings for event in reading.events}
            messages = {client_id for reading in readings for client_id in reading.messages}
            usage = {message_id for reading in readings for message_id in reading.usage}
            if session in step.deleted:
                # It was made anew: which of its rows were sent after that is anybody's guess.
                told.events[session] = set(step.after.events[session]) - events - step.after.phases
                told.messages[session] = set(step.after.messages[session]) - messages
                told.usage[session] = step.after.usage[session] - usage
            assert set(step.after.events[session]) - step.after.phases == told.events[session] | events
            assert set(step.after.messages[session]) == told.messages[session] | messages
            assert step.after.usage[session] == told.usage[session] | usage
            self._check_texts(step.after, session, readings)

    def _check_texts(self, after: Snapshot, session: UUID, readings: list[Reading]) -> None:
        texts = defaultdict(set)
        for reading in readings:
            for client_id, said in reading.messages.items():
                texts[client_id].add(said["content"])
        for client_id in after.messages[session]:
            assert after.texts[session, client_id] in texts.get(client_id, {client_id})

    def _check_imports(self, step: Step) -> None:
        for (sdk, subpath), (_, lines) in step.after.streams.items():
            assert lines == self.folder.lines[sdk, subpath][: len(lines)], f"stream {sdk}/{subpath} is not as its file"
        for name, (session, lines) in step.before.streams.items():
            if step.home(session) is not None:
                assert len(step.after.streams[name][1]) >= len(lines), f"stream {name} lost entries"
        for operation, answers in step.done:
            for answer in answers:
                if isinstance(answer, Imported) and not answer.report.sessions_deleted and not step.deleted:
                    assert len(step.after.streams[answer.sdk_session_id, ""][1]) >= answer.lines, f"{operation} lost lines"

    def _reading(self, sdk: str, subpath: str, count: int) -> Reading:
        stream = transcript_id(PROJECT, sdk, subpath)
        entries = map(json.loads, self.folder.lines[sdk, subpath][:count])
        keyed = [(entry.get("uuid") or f"{stream}:{seq}", entry) for seq, entry in enumerate(entries)]
        return read_entries(keyed, Source(stream, stream, sdk, not subpath), datetime.now(UTC))


def _named(answer: Any) -> str:
    return type(answer).__name__ if isinstance(answer, Exception) else "nothing" if answer is False else "done"


def _rule(first: st.SearchStrategy[Operation]) -> Any:
    """A rule that sends an operation of one kind, and up to two of any kind at the same time."""

    @rule(first=first, how=drawn.HOW, beside=st.lists(st.tuples(drawn.ALL, drawn.HOW), max_size=2))
    def step(self: Machine, first: Operation, how: How, beside: list[tuple[Operation, How]]) -> None:
        self.run([(first, how), *beside])

    return step


class Clients(Machine):
    """One rule for each kind of operation: Hypothesis leaves some out of each run, so that the others meet more often."""

    sessions = _rule(drawn.CREATIONS | drawn.CHANGES)
    agents = _rule(drawn.NEW_AGENTS | drawn.CHANGED_AGENTS)
    adopt = _rule(drawn.ADOPTIONS)
    append = _rule(drawn.EVENTS)
    say = _rule(drawn.MESSAGES)
    spend = _rule(drawn.USAGE)
    remember = _rule(drawn.MEMORY_FILES)
    delete = _rule(drawn.DELETIONS | drawn.ERASURES)
    record = _rule(drawn.IMPORTS)
    items = _rule(drawn.ITEMS)


@pytest.fixture
def machine(postgres: PostgreSQL, template: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[type[Clients]]:
    """The machine with a database, an event loop and a folder; batches are small, so that they end in the middle of everything."""
    monkeypatch.setattr(erasing, "BATCH", 3)
    monkeypatch.setattr(adopting, "BATCH", 3)
    monkeypatch.setattr(importer, "BATCH_LINES", 25)
    with asyncio.Runner() as runner:
        database = runner.run(postgres.create("machine", template.name))
        use_settings(database.settings)
        Clients.runner, Clients.folder, Clients.counts = runner, Folder(tmp_path), Counter()
        Clients.connection = runner.run(asyncpg.connect(database.direct_url))
        # Nobody should wait for the second that it usually takes to see a deadlock.
        runner.run(Clients.connection.execute(f"ALTER DATABASE \"{database.name}\" SET deadlock_timeout = '20ms'"))
        yield Clients
        runner.run(Clients.connection.close())
        runner.run(close_db())
        runner.run(postgres.drop(database))


@pytest.mark.timeout(0 if EXAMPLES > 100 else 600)
@pytest.mark.no_cover
def test_what_clients_were_told_holds_whatever_they_do_at_once(machine: type[Clients]) -> None:
    chosen = settings(
        max_examples=EXAMPLES,
        stateful_step_count=STEPS,
        deadline=None,
        # The same choices in every run, unless somebody looks for more.
        derandomize="SESSION_DB_TEST_EXAMPLES" not in os.environ,
        database=None,
        report_multiple_bugs=False,
        phases=[Phase.generate, Phase.shrink],
        suppress_health_check=list(HealthCheck),
    )
    run_state_machine_as_test(machine, settings=chosen)
    print(f"{EXAMPLES} runs: {json.dumps(machine.counts, sort_keys=True)}")  # noqa: T201  what was done, with pytest -s
    assert {"Append done", "Say done", "AddAgent done", "Import done", "Delete done", "Erase done"} <= machine.counts.keys()
