"""Sessions that go on from nothing but the database: the model is told all that was said."""

import json
import os
import shlex
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from session_db.capture.drain import drain
from session_db.database import async_session, close_db
from session_db.integrations.claude_agent_sdk import PostgresSessionStore, record, recorded
from session_db.settings import use_settings
from tests.databases import Database
from tests.e2e.client import Client, Run, client_program
from tests.e2e.conftest import MakeClient
from tests.e2e.model import text
from tests.e2e.recorder import COMMAND, install_hooks, session_db
from tests.e2e.records import Record, conversation_of, records_in, records_of, sessions_of
from tests.e2e.scenarios import foreground_agent, script_foreground_agent
from tests.e2e.terminal import Terminal

pytestmark = pytest.mark.e2e

MORE = "[[more]] Go on."


def told_in(request: dict[str, Any]) -> list[tuple[str, Any]]:
    """Return what a request tells the model of the conversation, without what the client says of itself."""
    told = []
    for message in request["messages"]:
        blocks = [text(message["content"])] if isinstance(message["content"], str) else message["content"]
        told += [(message["role"], {name: value for name, value in block.items() if name != "cache_control"}) for block in blocks]
    return [(role, block) for role, block in told if role != "system" and not block.get("text", "").startswith("<system-reminder>")]


def check_last_request(requests: list[dict[str, Any]]) -> None:
    """See that it tells all that was said before, as it was told then, and one thing more."""
    *_, before, now = [told for told in map(told_in, requests) if "[[look]]" not in str(told[0])]
    assert now[: len(before)] == before
    (said, answer), question = now[len(before) :]
    assert (said, answer["text"], question) == ("assistant", "It has looked.", ("user", text(MORE)))


@dataclass(frozen=True)
class Gone:
    """A session of which a client has nothing any more."""

    client: Client
    run: Run
    records: dict[str, Record]


class TestResumeCommand:
    @pytest.fixture
    async def gone(self, make_client: MakeClient, fresh_database: Database, tmp_path: Path) -> Gone:
        (tmp_path / "programs").mkdir()
        (tmp_path / "programs" / "claude").symlink_to(str(client_program()))
        home, path = tmp_path / "home", f"{tmp_path / 'programs'}:{os.environ['PATH']}"
        client = make_client("recorded", fresh_database.variables | {"SESSION_DB_HOME": str(home), "PATH": path})
        await install_hooks(client, home)
        played = await foreground_agent(client)
        await drain(fresh_database.settings.model_copy(update={"home": home, "claude_dirs": str(client.configuration)}))
        gone = Gone(client, played.runs[0], records_in(client.projects))
        shutil.rmtree(client.configuration)
        client.configuration.mkdir()
        client.model.answers("[[more]]", [text("More.")])
        return gone

    async def test_the_printed_command_goes_on_where_no_file_is_left(self, gone: Gone) -> None:
        resumed = await session_db(gone.client.environment, "resume", gone.run.sdk_session_id, "--print")
        assert records_in(gone.client.projects) == gone.records
        command = f"{resumed.stdout.strip()} -p {shlex.quote(MORE)} --output-format stream-json --verbose"
        done = subprocess.run(
            ["sh", "-c", command], env=gone.client.environment, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=True
        )
        run = Run(done.returncode, [json.loads(line) for line in done.stdout.splitlines()], done.stderr)
        assert (run.sdk_session_id, run.result["result"]) == (gone.run.sdk_session_id, "More.")
        # The client goes on counting where it was.
        assert run.cost > gone.run.cost
        check_last_request(gone.client.model.requests)

    async def test_it_starts_the_client_at_the_terminal(self, gone: Gone) -> None:
        gone.client.answer_first_questions()
        command = [str(COMMAND), "resume", gone.run.sdk_session_id]
        async with Terminal(command, gone.client.home, gone.client.environment) as terminal:
            await terminal.shows("It has looked.")
            await terminal.shows("/effort")
            await terminal.type(MORE)
            await terminal.shows("More.")
            await terminal.type("/exit")
            assert await terminal.ends() == 0
        check_last_request(gone.client.model.requests)


class TestStore:
    @pytest.fixture
    def client(self, make_client: MakeClient, fresh_database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Client:
        """A client in whose environment this process is: the SDK hands that on."""
        use_settings(fresh_database.settings.model_copy(update={"home": tmp_path / "home"}))
        client = make_client("recorded")
        for name in os.environ:
            monkeypatch.delenv(name)
        for name, value in client.environment.items():
            monkeypatch.setenv(name, value)
        return client

    async def test_a_program_goes_on_from_the_store_alone(self, client: Client) -> None:
        first = await self.result_of(script_foreground_agent(client.model), self.options(client, session_store=PostgresSessionStore()))
        shutil.rmtree(client.configuration)
        client.model.answers("[[more]]", [text("More.")])
        options = self.options(client, session_store=PostgresSessionStore(), resume=first.session_id)
        second = await self.result_of(MORE, options)
        assert (second.session_id, second.result) == (first.session_id, "More.")
        check_last_request(client.model.requests)

    async def test_what_a_recorded_program_does_is_what_the_transcript_says(self, client: Client) -> None:
        result = await self.result_of(script_foreground_agent(client.model), record(self.options(client)))
        await close_db()
        (expected,) = records_in(client.projects).values()
        async with async_session() as db:
            (found,) = (await records_of(db)).values()
            (session,) = await sessions_of(db)
            assert await conversation_of(db, session) == [
                ("user", "[[delegate]] Go."), ("assistant", "I delegate."), ("assistant", "It has looked."),
            ]  # fmt: skip
        assert (found.blocks, found.agents, found.tokens) == (expected.blocks, expected.agents, expected.tokens)
        assert session.reported_cost == pytest.approx(result.total_cost_usd, abs=1e-6)
        assert session.total_cost == pytest.approx(result.total_cost_usd, abs=1e-6)

    def options(self, client: Client, **more: Any) -> Any:
        from claude_agent_sdk import ClaudeAgentOptions  # noqa: PLC0415  the SDK may be missing

        return ClaudeAgentOptions(cwd=client.project, allowed_tools=["Bash", "Agent"], setting_sources=[], **more)

    async def result_of(self, prompt: str, options: Any) -> Any:
        """Let a program ask, and return the last of what it gets."""
        from claude_agent_sdk import query  # noqa: PLC0415  the SDK may be missing

        return [message async for message in recorded(query(prompt=prompt, options=options))][-1]
