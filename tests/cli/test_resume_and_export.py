"""``resume`` puts a session's files back, ``export`` writes it out."""

import asyncio
import json
import os
import stat
from pathlib import Path

import pytest

from session_db.capture.importer import import_recordings
from session_db.capture.restoring import folder_of
from session_db.database import close_db
from session_db.errors import InvalidInput
from tests.capture.recorded import BACKGROUND, PROJECT, copy_of, recording
from tests.cli.conftest import CommandLine
from tests.databases import Database

HERE = "/home/dev/demo"


@pytest.fixture
def client(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The client's directory, which is empty."""
    monkeypatch.setenv("CLAUDE_CONFIG_DIR", str(tmp_path / "claude"))
    return tmp_path / "claude"


@pytest.fixture
async def imported(cli: CommandLine, tmp_path: Path) -> Path:
    source = copy_of(BACKGROUND, tmp_path / "source")
    await import_recordings([source])
    return source


async def rename(database: Database, subpath: str) -> None:
    async with database.connected() as connection:
        await connection.execute("UPDATE transcripts SET subpath = $1 WHERE subpath LIKE 'subagents/%'", subpath)


async def keep_as_a_store_does(database: Database) -> None:
    async with database.connected() as connection:
        await connection.execute("UPDATE transcripts SET source = 'store'")
        await connection.execute(
            """UPDATE transcript_entries SET entry = '{"type": "agent_metadata", "agentType": "x"}'
               WHERE seq = 0 AND transcript_id IN (SELECT id FROM transcripts WHERE subpath LIKE 'subagents/%')"""
        )


async def move_to(database: Database, directory: str) -> None:
    async with database.connected() as connection:
        await connection.execute("UPDATE agents SET working_dir = $1", directory)


async def import_and_close(path: Path) -> None:
    try:
        await import_recordings([path])
    finally:
        await close_db()


def files_below(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


class TestResume:
    def test_every_file_comes_back_byte_for_byte(self, cli: CommandLine, imported: Path, client: Path, tmp_path: Path) -> None:
        done = cli.json("resume", str(BACKGROUND), "--in", str(tmp_path))
        assert done["command"] == ["claude", "--resume", str(BACKGROUND)]
        restored, original = files_below(client / "projects" / folder_of(str(tmp_path))), files_below(imported.parent)
        assert restored.keys() == original.keys()
        for name, content in original.items():
            same = json.loads(restored[name]) == json.loads(content) if name.endswith(".meta.json") else restored[name] == content
            assert same, name
        assert len(done["written"]) == len([name for name in original if not name.endswith(".meta.json")])

    def test_what_is_there_stays_as_it_is(self, cli: CommandLine, imported: Path, client: Path, tmp_path: Path) -> None:
        here = client / "projects" / folder_of(str(tmp_path)) / f"{BACKGROUND}.jsonl"
        here.parent.mkdir(parents=True)
        here.write_text("mine\n")
        assert str(here) in cli.json("resume", str(BACKGROUND), "--in", str(tmp_path))["kept"]
        assert here.read_text() == "mine\n"

    def test_nobody_else_can_read_them(self, cli: CommandLine, imported: Path, client: Path, tmp_path: Path) -> None:
        for path in cli.json("resume", str(BACKGROUND), "--in", str(tmp_path))["written"]:
            assert stat.S_IMODE(Path(path).stat().st_mode) == 0o600

    def test_the_command_can_be_typed(self, cli: CommandLine, imported: Path, client: Path, tmp_path: Path) -> None:
        here = tmp_path / "a b"
        here.mkdir()
        assert cli("resume", str(BACKGROUND), "--in", str(here), "--print").stdout == f"cd '{here}' && claude --resume {BACKGROUND}\n"

    def test_the_client_is_started_there(
        self, cli: CommandLine, imported: Path, client: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        claude = tmp_path / "bin" / "claude"
        claude.parent.mkdir()
        claude.write_text("#!/bin/sh\n")
        claude.chmod(0o755)
        monkeypatch.setenv("PATH", str(claude.parent), prepend=os.pathsep)
        started: list[object] = []
        monkeypatch.setattr(os, "execv", lambda *arguments: started.extend([Path.cwd(), *arguments]))
        monkeypatch.chdir(tmp_path)
        cli("resume", str(BACKGROUND), "--in", str(tmp_path / "bin"))
        assert started == [tmp_path / "bin", str(claude), ["claude", "--resume", str(BACKGROUND)]]

    def test_where_its_directory_is_not_there_another_one_is_asked_for(self, cli: CommandLine, imported: Path, client: Path) -> None:
        assert "--in" in cli.json("resume", str(BACKGROUND), exit_code=3)["error"]["message"]

    def test_one_without_a_transcript_cannot_be_resumed(self, cli: CommandLine, client: Path) -> None:
        session_id = cli.json("sessions", "create", "--agent", "strudel")["session_id"]
        assert "no transcript" in cli.json("resume", session_id, exit_code=3)["error"]["message"]

    @pytest.mark.parametrize("subpath", ["../../../escaped", "subagents/../../x", "/etc/x", "a\\b", "subagents//x"])
    def test_a_name_that_leads_elsewhere_writes_nothing(
        self, cli: CommandLine, fresh_database: Database, imported: Path, client: Path, subpath: str
    ) -> None:
        asyncio.run(rename(fresh_database, subpath))
        error = cli.json("resume", str(BACKGROUND), "--in", str(imported.parent), exit_code=2)["error"]
        assert "leads out of its folder" in error["message"]
        assert list(client.parent.rglob("escaped*")) == []

    def test_what_a_restoring_that_was_ended_left_out_comes_back(
        self, cli: CommandLine, imported: Path, client: Path, tmp_path: Path
    ) -> None:
        cli.json("resume", str(BACKGROUND), "--in", str(tmp_path))
        restored = files_below(client)
        for path in client.rglob("*.meta.json"):
            assert stat.S_IMODE(path.stat().st_mode) == 0o600
            path.unlink()
        assert files_below(client) != restored
        assert cli.json("resume", str(BACKGROUND), "--in", str(tmp_path))["written"] == []
        assert files_below(client) == restored

    def test_of_a_store_the_sub_agents_description_is_a_file_of_its_own(
        self, cli: CommandLine, fresh_database: Database, imported: Path, client: Path, tmp_path: Path
    ) -> None:
        asyncio.run(keep_as_a_store_does(fresh_database))
        cli.json("resume", str(BACKGROUND), "--in", str(tmp_path))
        (sub_agent,) = client.rglob("agent-*.jsonl")
        assert sub_agent.read_text().splitlines() == next(imported.parent.rglob("agent-*.jsonl")).read_text().splitlines()[1:]

    def test_a_name_that_the_client_would_take_for_an_option_is_refused(
        self, cli: CommandLine, imported: Path, client: Path, tmp_path: Path
    ) -> None:
        hostile = imported.with_name("--dangerously-skip-permissions.jsonl")
        hostile.write_bytes(imported.read_bytes())
        asyncio.run(import_and_close(hostile))
        session_id = next(each["session_id"] for each in cli.json("sessions", "list")["items"] if each["session_id"] != str(BACKGROUND))
        error = cli.json("resume", session_id, "--in", str(tmp_path), exit_code=2)["error"]
        assert "option" in error["message"]

    def test_a_directory_behind_a_link_is_named_as_the_client_names_it(
        self, cli: CommandLine, fresh_database: Database, imported: Path, client: Path, tmp_path: Path
    ) -> None:
        (tmp_path / "real").mkdir()
        (tmp_path / "link").symlink_to(tmp_path / "real")
        asyncio.run(move_to(fresh_database, str(tmp_path / "link")))
        assert cli.json("resume", str(BACKGROUND))["directory"] == str(tmp_path / "real")
        assert (client / "projects" / folder_of(str(tmp_path / "real")) / f"{BACKGROUND}.jsonl").exists()

    def test_the_clients_names_of_folders(self) -> None:
        assert folder_of(HERE) == PROJECT
        with pytest.raises(InvalidInput, match="hashes"):
            folder_of("/" + "x" * 300)


class TestExport:
    def test_the_transcript_is_that_of_the_client(self, cli: CommandLine, imported: Path) -> None:
        assert cli("export", str(BACKGROUND), "--format", "jsonl").stdout_bytes == recording(BACKGROUND).read_bytes()

    def test_the_conversation_can_be_read(self, cli: CommandLine, imported: Path) -> None:
        text = cli("export", str(BACKGROUND)).stdout
        assert text.startswith("# [[MAIN]] please write hello.txt\n")
        assert text.count("\n## assistant, ") == 6
        assert text.index("I'll write a file.") < text.index("All done: wrote hello.txt.")

    def test_the_record_is_whole(self, cli: CommandLine, imported: Path) -> None:
        record = json.loads(cli("export", str(BACKGROUND), "--format", "json").stdout)
        session = record["session"]
        assert (len(record["events"]), len(record["messages"])) == (session["event_count"], session["message_count"])
        assert [agent["agent_type"] for agent in record["agents"]] == ["main", "general-purpose"]
        assert all("payload" in event for event in record["events"])
        assert json.loads(cli("export", str(BACKGROUND), "--json").stdout) == record

    def test_another_format_is_refused(self, cli: CommandLine, imported: Path) -> None:
        assert "markdown" in cli("export", str(BACKGROUND), "--format", "xml", exit_code=2).stderr
