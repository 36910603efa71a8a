"""Whatever is edited and changed, and wherever a writer is killed: each value is in the end the one that was given last.

``SESSION_DB_TEST_EXAMPLES`` sets how many runs are tried; the default takes some seconds.
"""

import asyncio
import json
import os
import shutil
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, ClassVar
from unittest.mock import patch
from uuid import UUID

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, rule, run_state_machine_as_test

from session_db import crud
from session_db.crud.workspaces import note_synced
from session_db.database import close_db, get_async_session
from session_db.models import AgentCreate, Session, SessionCreate, SessionPatch, SessionUpdate
from session_db.models.sessions import WORKFLOW_STATUSES
from session_db.settings import use_settings
from session_db.workspace import syncing, writing
from session_db.workspace.folders import Folder
from session_db.workspace.projects import sync_project
from session_db.workspace.syncing import Outcome
from tests.databases import Database, PostgreSQL

EXAMPLES = int(os.environ.get("SESSION_DB_TEST_EXAMPLES", "10"))
STEPS = 25
SLUG = "auth"
PHASES = WORKFLOW_STATUSES[:-1]

# Each value is given once, so that it says who gave it last.
TEXTS = ("title", "description")
COUNTS = ("total", "done")
KILLS = ("never", "before it begins", "in the transaction", "before the file", "in the middle of the file", "after the file")

Kill = st.sampled_from(KILLS)


class Killed(BaseException):
    """The process ended here."""


@contextmanager
def killed(where: str) -> Iterator[None]:
    """End every sync at a point, as a kill of its process would."""
    replace, exchange = Folder.replace, syncing._exchange

    def killed_in_the_file(folder: Folder, name: str, content: bytes, **keywords: Any) -> bool:
        if where == "in the middle of the file":
            (folder.path / ".session-db-0123456789abcdef").write_bytes(content[: len(content) // 2])
            raise Killed
        if where == "before the file":
            raise Killed
        return replace(folder, name, content, **keywords)

    async def killed_in_the_transaction(*arguments: Any, **keywords: Any) -> Any:
        exchanged = await exchange(*arguments, **keywords)
        if where == "in the transaction":
            raise Killed
        return exchanged

    async def killed_after_the_file(*arguments: Any) -> None:
        if where == "after the file":
            raise Killed
        await note_synced(*arguments)

    with (
        patch.object(Folder, "replace", killed_in_the_file),
        patch.object(syncing, "_exchange", killed_in_the_transaction),
        patch.object(syncing, "note_synced", killed_after_the_file),
        suppress(Killed),
    ):
        yield


class Model:
    """What each value has to be: what is in the database, and edits of the file that no sync has seen."""

    def __init__(self) -> None:
        self.database: dict[str, Any] = {"title": "first", "description": None, "total": None, "done": None, "status": "created"}
        self.edits: dict[str, Any] = {}

    def take_edits(self) -> None:
        """Let a transaction see what was edited."""
        for field, value in self.edits.items():
            if field != "status" or PHASES.index(value) > PHASES.index(self.database["status"]):
                self.database[field] = value
        self.edits.clear()


class Machine(RuleBasedStateMachine):
    """A session, its folder, and those who change them."""

    runner: ClassVar[asyncio.Runner]
    root: ClassVar[Path]

    def __init__(self) -> None:
        super().__init__()
        self.number = 0
        self.agents: set[str] = set()
        self.model = Model()
        self.copies: list[dict[str, Any]] = []
        shutil.rmtree(self.root / "agents", ignore_errors=True)
        self.session_id: UUID = self.runner.run(self._begin())

    async def _begin(self) -> UUID:
        async with get_async_session() as db:
            for session in await crud.list_sessions(db, limit=1000):
                await crud.delete_session(db, session.id)
            wanted = SessionCreate(session_slug=SLUG, title="first", working_dir=str(self.root))
            return (await crud.create_session(db, wanted, workspace=True)).id

    @property
    def state(self) -> Path:
        return self.root / "agents" / "sessions" / SLUG / "state.json"

    def read(self) -> dict[str, Any]:
        document: dict[str, Any] = json.loads(self.state.read_text())
        return document

    def new(self, field: str) -> Any:
        self.number += 1
        return self.number if field in COUNTS else f"{field} {self.number}"

    def edit(self, document: dict[str, Any], field: str) -> None:
        value = self.new(field)
        if field in COUNTS:
            document["checkpoints"][field] = value
        else:
            document[field] = value
        self.state.write_text(json.dumps(document, indent=self.number % 4))
        self.model.edits[field] = value

    @rule(field=st.sampled_from(TEXTS + COUNTS))
    def edit_a_value(self, field: str) -> None:
        self.edit(self.read(), field)

    @rule(phase=st.sampled_from(PHASES[1:]))
    def edit_the_phase(self, phase: str) -> None:
        document = self.read()
        document["status"] = phase
        self.state.write_text(json.dumps(document))
        self.model.edits.pop("status", None)
        # What was the same at last is no edit.
        if phase != document["synced"]["state"]["status"]:
            self.model.edits["status"] = phase

    @rule()
    def keep_a_copy(self) -> None:
        document = self.read()
        synced = document["synced"]["state"]
        shown = {
            "title": document["title"],
            "description": document["description"],
            "status": document["status"],
            **document["checkpoints"],
        }
        if shown == synced:
            self.copies.append(document)

    @rule(data=st.data(), field=st.sampled_from(TEXTS + COUNTS))
    def write_an_old_copy_with_one_edit(self, data: st.DataObject, field: str) -> None:
        if self.copies:
            self.model.edits.clear()
            copy = data.draw(st.sampled_from(self.copies))
            self.edit(json.loads(json.dumps(copy)), field)

    @rule()
    def add_a_key_of_ones_own(self) -> None:
        document = self.read()
        document["mine"] = self.number
        self.state.write_text(json.dumps(document))

    @rule(value=st.sampled_from([None, 7, "x", []]), key=st.sampled_from(["cost", "agents", "slug", "phase_history", "type"]))
    def edit_what_the_database_owns(self, key: str, value: Any) -> None:
        document = self.read()
        document[key] = value
        self.state.write_text(json.dumps(document))

    @rule(field=st.sampled_from(TEXTS + COUNTS), kill=Kill)
    def change_a_value(self, field: str, kill: str) -> None:
        value = self.new(field)

        async def change(db: Any) -> None:
            if field in COUNTS:
                await crud.patch_session(db, self.session_id, SessionPatch(metadata={"checkpoints": {field: value}}))
            else:
                await crud.update_session(db, self.session_id, SessionUpdate.model_validate({field: value}))

        self.model.database[field] = value
        self.run(change, kill)

    @rule(kill=Kill)
    def advance(self, kill: str) -> None:
        place = PHASES.index(self.model.database["status"])
        phase = PHASES[min(place + 1, len(PHASES) - 1)]
        if phase != self.model.database["status"]:
            self.model.database["status"] = phase
            self.run(lambda db: crud.update_session(db, self.session_id, SessionUpdate(status=phase)), kill)

    @rule(kill=Kill)
    def add_an_agent(self, kill: str) -> None:
        async def add(db: Any) -> None:
            agent = await crud.create_agent(db, AgentCreate(session_id=self.session_id, agent_type="build", cost=0.25))
            self.agents.add(str(agent.id))

        self.run(add, kill)

    @rule(kill=Kill)
    def sync(self, kill: str) -> None:
        if kill != "before it begins":
            with killed(kill):
                self.runner.run(self._sync())
            self.took_edits(kill)

    def run(self, change: Callable[[Any], Awaitable[Any]], kill: str) -> None:
        """Commit a change, whose process may be killed while it writes the file."""

        async def work() -> None:
            async with get_async_session() as db:
                await change(db)

        async def nothing(session_id: UUID, *, is_new: bool) -> None:
            pass

        write = nothing if kill == "before it begins" else writing.write_after_commit
        with killed(kill), patch.object(writing, "write_after_commit", write):
            self.runner.run(work())
        self.took_edits(kill)

    def took_edits(self, kill: str) -> None:
        if kill not in ("before it begins", "in the transaction"):
            self.model.take_edits()

    async def _sync(self) -> list[Outcome]:
        report = await sync_project(self.root)
        assert report.problems == []
        return report.outcomes

    def teardown(self) -> None:
        self.runner.run(self._sync())
        self.model.take_edits()
        session, state = self.runner.run(self._session()), self.read()
        expected = self.model.database
        assert {name: getattr(session, name) for name in (*TEXTS, "status")} | counts_of(session) == expected
        assert {name: state[name] for name in (*TEXTS, "status")} | state["checkpoints"] == expected
        assert {agent["id"] for agent in state["agents"]} == self.agents
        assert state["cost"] == session.total_cost == 0.25 * len(self.agents)
        assert [path.name for path in self.state.parent.iterdir()] == ["state.json"]
        before = self.state.read_bytes(), session.model_dump()
        assert [outcome.action for outcome in self.runner.run(self._sync())] == ["unchanged"]
        assert (self.state.read_bytes(), self.runner.run(self._session()).model_dump()) == before

    async def _session(self) -> Session:
        async with get_async_session() as db:
            session = await crud.get_session(db, self.session_id)
        assert session is not None
        return session


def counts_of(session: Session) -> dict[str, Any]:
    noted = session.metadata_.get("checkpoints", {})
    return {name: noted.get(name) for name in COUNTS}


@pytest.fixture
def machine(postgres: PostgreSQL, template: Database, tmp_path: Path) -> Iterator[type[Machine]]:
    """The machine with a database, an event loop and a project."""
    with asyncio.Runner() as runner:
        database = runner.run(postgres.create("workspace", template.name))
        use_settings(database.settings)
        Machine.runner, Machine.root = runner, tmp_path
        yield Machine
        runner.run(close_db())
        runner.run(postgres.drop(database))


@pytest.mark.timeout(0 if EXAMPLES > 100 else 600)
@pytest.mark.no_cover
def test_each_value_is_in_the_end_the_one_that_was_given_last(machine: type[Machine]) -> None:
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
