"""``session-db agents``."""

import asyncio

import pytest

from session_db.database import get_async_session
from tests.capture.recorded import BACKGROUND, recording
from tests.cli.conftest import CommandLine
from tests.databases import Database
from tests.factories import make_agent, make_session


@pytest.fixture
def imported(cli: CommandLine) -> CommandLine:
    """A session with a main agent and one sub-agent."""
    cli("import", str(recording(BACKGROUND)))
    return cli


class TestList:
    def test_each_agent_has_its_whole_id_at_eighty_columns(self, imported: CommandLine) -> None:
        output = imported("agents", "list", str(BACKGROUND)).stdout
        ids = [agent["id"] for agent in imported.json("agents", "list", str(BACKGROUND))["items"]]
        assert len(ids) == 2
        assert [agent_id in output for agent_id in ids] == [True, True]
        assert max(map(len, output.splitlines())) <= 80

    def test_pages_follow_one_another(self, imported: CommandLine) -> None:
        first = imported.json("agents", "list", str(BACKGROUND), "--limit", "1")
        second = imported.json("agents", "list", str(BACKGROUND), "--limit", "1", "--cursor", first["next_cursor"])
        assert [agent["agent_type"] for agent in first["items"] + second["items"]] == ["main", "general-purpose"]
        assert second["next_cursor"] is None
        assert f"--cursor {first['next_cursor']}" in imported("agents", "list", str(BACKGROUND), "--limit", "1").stdout

    def test_the_status_is_a_filter(self, imported: CommandLine) -> None:
        assert len(imported.json("agents", "list", str(BACKGROUND), "--status", "complete")["items"]) == 2
        assert imported("agents", "list", str(BACKGROUND), "--status", "failed").stdout == "No agents match.\n"

    def test_a_status_that_is_none_is_an_error_with_those_there_are(self, imported: CommandLine) -> None:
        result = imported("agents", "list", str(BACKGROUND), "--status", "bogus", exit_code=2)
        assert "pending, executing, complete, failed" in result.stderr

    def test_an_unknown_session_is_an_error(self, cli: CommandLine) -> None:
        assert cli.json("agents", "list", "nope", exit_code=3)["error"]["code"] == "not_found"

    async def test_a_slug_finds_the_session_and_the_project_decides_between_two(self, cli: CommandLine, fresh_database: Database) -> None:
        async with get_async_session() as db:
            sessions = [await make_session(db, session_slug="auth", working_dir=directory) for directory in ("/one", "/two")]
            agent = await make_agent(db, sessions[1])
        await asyncio.to_thread(cli, "agents", "list", "auth", exit_code=4)
        (item,) = (await asyncio.to_thread(cli.json, "agents", "list", "auth", "--dir", "/two"))["items"]
        assert item["id"] == str(agent.id)

    def test_forty_columns_hold_whole_ids(self, imported: CommandLine, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("COLUMNS", "40")
        output = imported("agents", "list", str(BACKGROUND)).stdout
        assert max(map(len, output.splitlines())) <= 40
        words = "".join(line.split()[0] for line in output.splitlines() if line.strip())
        assert all(agent["id"] in words for agent in imported.json("agents", "list", str(BACKGROUND))["items"])


class TestShow:
    def test_it_tells_session_cost_and_tokens_sub_agents_and_events(self, imported: CommandLine) -> None:
        main, other = imported.json("agents", "list", str(BACKGROUND))["items"]
        shown = imported.json("agents", "show", main["id"])
        assert list(shown) == ["agent", "session", "sub_agents", "events"]
        assert (shown["agent"], shown["sub_agents"]) == (main, [other])
        assert shown["session"]["session_id"] == str(BACKGROUND)
        assert {event["agent_id"] for event in shown["events"]} == {main["id"]}
        output = imported("agents", "show", main["id"]).stdout
        for text in (str(BACKGROUND), other["id"], "$0.0594", "from cache", "started", "Last events"):
            assert text in output
        assert max(map(len, output.splitlines())) <= 80

    def test_the_last_events_are_the_last_ones_in_their_order(self, imported: CommandLine) -> None:
        main = imported.json("agents", "list", str(BACKGROUND))["items"][0]["id"]
        every = imported.json("events", "list", str(BACKGROUND), "--agent", main)["items"]
        assert imported.json("agents", "show", main, "--events", "3")["events"] == every[-3:]

    async def test_an_agent_that_has_done_nothing_has_no_events(self, cli: CommandLine, fresh_database: Database) -> None:
        async with get_async_session() as db:
            agent = await make_agent(db)
        shown = await asyncio.to_thread(cli.json, "agents", "show", str(agent.id))
        assert (shown["sub_agents"], shown["events"]) == ([], [])
        assert "Last events" not in (await asyncio.to_thread(cli, "agents", "show", str(agent.id))).stdout

    async def test_where_several_sessions_have_the_id_one_is_named(self, cli: CommandLine, fresh_database: Database) -> None:
        async with get_async_session() as db:
            agent = await make_agent(db)
            twin = await make_agent(db, id=agent.id)
        error = (await asyncio.to_thread(cli.json, "agents", "show", str(agent.id), exit_code=4))["error"]
        assert str(twin.session_id) in error["message"]
        arguments = ("agents", "show", str(agent.id), "--session", str(twin.session_id))
        assert (await asyncio.to_thread(cli.json, *arguments))["session"]["session_id"] == str(twin.session_id)

    def test_an_unknown_one_is_an_error(self, cli: CommandLine) -> None:
        assert "session-db agents list" in cli("agents", "show", str(BACKGROUND), exit_code=3).stderr
        assert cli.json("agents", "show", "nope", exit_code=2)["error"]["code"] == "invalid_input"

    async def test_nothing_of_an_agent_steers_the_terminal(self, cli: CommandLine, fresh_database: Database) -> None:
        async with get_async_session() as db:
            agent = await make_agent(db, agent_type="\x1b[2J", name="[bold]x[/bold]\x07", model="\x1b[2J[red]")
        for arguments in (("agents", "show", str(agent.id)), ("agents", "list", str(agent.session_id))):
            output = (await asyncio.to_thread(cli, *arguments)).stdout
            assert "[bold]x[/bold]" in output
            assert {"\x1b", "\x07"} & set(output) == set()
