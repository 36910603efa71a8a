"""``session-db backup``, ``restore``, ``export --all`` and ``import`` of what that wrote."""

import asyncio
import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from session_db.database import head
from tests.capture.recorded import CLEARED, FOREGROUND, recording
from tests.cli.conftest import CommandLine
from tests.databases import Database

COMMAND = Path(sys.executable).with_name("session-db")


@pytest.fixture
def filled(cli: CommandLine) -> CommandLine:
    cli("import", str(recording(CLEARED)))
    return cli


def sessions(cli: CommandLine) -> list[str]:
    return [session["session_id"] for session in cli.json("sessions", "list")["items"]]


class TestBackup:
    def test_it_says_what_it_wrote(self, filled: CommandLine, tmp_path: Path) -> None:
        file = tmp_path / "all.backup"
        done = filled.json("backup", str(file))
        assert (done["file"], done["revision"], done["size_bytes"]) == (str(file), head(), file.stat().st_size)
        assert "revision" in filled("backup", str(file), "--force").stdout

    def test_a_file_that_is_there_is_an_error(self, filled: CommandLine, tmp_path: Path) -> None:
        file = tmp_path / "all.backup"
        file.write_text("mine")
        assert "--force" in filled("backup", str(file), exit_code=4).stderr
        assert filled.json("backup", str(file), exit_code=4)["error"]["code"] == "already_exists"
        assert file.read_text() == "mine"

    @pytest.mark.skipif(not Path("/dev/full").exists(), reason="there is no /dev/full")
    def test_a_device_is_no_file(self, filled: CommandLine) -> None:
        assert "is no file" in filled("backup", "/dev/full", "--force", exit_code=2).stderr

    @pytest.mark.parametrize("arguments", [["backup", "small/all"], ["export", "--all", "small/all"]])
    def test_a_full_disk_leaves_nothing_behind(
        self, fresh_database: Database, filled: CommandLine, tmp_path: Path, arguments: list[str]
    ) -> None:
        small = tmp_path / "small"
        small.mkdir()
        mount = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=8k", "tmpfs", small], capture_output=True, check=False)
        if mount.returncode != 0:
            pytest.skip("no file system can be mounted here")
        try:
            done = subprocess.run(
                [COMMAND, *arguments], env=fresh_database.environment, cwd=tmp_path, capture_output=True, text=True, check=False
            )
            assert done.returncode == 5
            assert "No space left on device. Free some space there" in done.stderr
            assert list(small.iterdir()) == []
        finally:
            subprocess.run(["umount", small], check=True)


class TestRestore:
    def test_what_was_backed_up_comes_back(self, filled: CommandLine, tmp_path: Path) -> None:
        file, before = str(tmp_path / "all.backup"), sessions(filled)
        filled("backup", file)
        filled("reset", "--yes")
        done = filled.json("restore", file)
        assert (done["rows"]["sessions"], done["file_revision"], done["revision"]) == (1, head(), head())
        assert sessions(filled) == before

    def test_what_is_there_is_lost_only_when_somebody_says_so(self, filled: CommandLine, tmp_path: Path) -> None:
        file = str(tmp_path / "all.backup")
        filled("backup", file)
        filled("import", str(recording(FOREGROUND)))
        assert "--replace" in filled("restore", file, exit_code=4).stderr
        assert f"restore {file} --replace --yes" in filled("restore", file, "--replace", exit_code=2).stderr
        assert filled.json("restore", file, "--replace", exit_code=2)["error"]["code"] == "invalid_input"
        assert len(sessions(filled)) == 2
        assert "1 of them sessions" in filled("restore", file, "--replace", "--yes").stdout
        assert len(sessions(filled)) == 1

    def test_something_else_is_an_error(self, filled: CommandLine, tmp_path: Path) -> None:
        assert "cannot be read as a backup" in filled("restore", str(recording(CLEARED)), exit_code=2).stderr
        assert "there is no file" in filled("restore", str(tmp_path / "none"), exit_code=2).stderr


class TestExportAll:
    def test_it_says_what_it_wrote(self, filled: CommandLine, tmp_path: Path) -> None:
        file = tmp_path / "all.jsonl"
        done = filled.json("export", "--all", str(file))
        assert (done["file"], done["rows"]["sessions"]) == (str(file), 1)
        assert file.stat().st_mode & 0o777 == 0o600
        assert "--force" in filled("export", "--all", str(file), exit_code=4).stderr
        # A long path wraps the line.
        assert "1 of them sessions" in " ".join(filled("export", "--all", str(file), "--force").stdout.split())

    def test_standard_output_has_the_lines_alone(self, fresh_database: Database, filled: CommandLine, tmp_path: Path) -> None:
        done = subprocess.run([COMMAND, "export", "--all", "-"], env=fresh_database.environment, capture_output=True, check=True)
        filled("export", "--all", str(tmp_path / "all.jsonl"))
        assert done.stdout == (tmp_path / "all.jsonl").read_bytes()
        assert b"Left out" in done.stderr

    @pytest.mark.parametrize("arguments", [[], ["slug", "--all", "file"]])
    def test_one_session_or_all(self, cli: CommandLine, arguments: list[str]) -> None:
        assert "one of them" in cli("export", *arguments, exit_code=2).stderr

    def test_a_closed_pipe_ends_it_without_a_word(self, fresh_database: Database, filled: CommandLine) -> None:
        read, write = os.pipe()
        os.close(read)
        try:
            done = subprocess.run(
                [COMMAND, "export", "--all", "-"],
                env=fresh_database.environment,
                stdout=write,
                stderr=subprocess.PIPE,
                text=True,
                check=False,
            )
        finally:
            os.close(write)
        assert (done.returncode, done.stderr) == (1, "")


class TestImportOfAnExport:
    @pytest.fixture
    def lines(self, filled: CommandLine, tmp_path: Path) -> Path:
        filled("export", "--all", str(tmp_path / "all.jsonl"))
        return tmp_path / "all.jsonl"

    def test_it_is_known_by_its_first_line(self, lines: Path, filled: CommandLine) -> None:
        before = sessions(filled)
        filled("reset", "--yes")
        done = filled.json("import", str(lines))
        assert done["rows"]["sessions"] == {"new": 1, "left_out": 0}
        assert sessions(filled) == before
        assert "stays as it is" in filled("import", str(lines)).stdout

    def test_standard_input_will_do(self, fresh_database: Database, lines: Path, filled: CommandLine) -> None:
        filled("reset", "--yes")
        with lines.open("rb") as file:
            done = subprocess.run(
                [COMMAND, "import", "-", "--json"], env=fresh_database.environment, stdin=file, capture_output=True, check=True
            )
        assert json.loads(done.stdout)["rows"]["sessions"]["new"] == 1

    def test_it_comes_alone(self, lines: Path, filled: CommandLine) -> None:
        assert "by itself" in filled("import", str(lines), str(recording(CLEARED)), exit_code=2).stderr

    def test_a_line_that_is_cut_is_named(self, lines: Path, filled: CommandLine) -> None:
        whole = lines.read_bytes()
        lines.write_bytes(whole[:-100])
        assert "line" in filled("import", str(lines), exit_code=2).stderr
        assert filled.json("import", str(lines), exit_code=2)["error"]["code"] == "invalid_input"

    def test_standard_input_that_is_something_else_is_an_error(self, fresh_database: Database, cli: CommandLine) -> None:
        done = subprocess.run([COMMAND, "import", "-"], env=fresh_database.environment, input=b"hello", capture_output=True, check=False)
        assert done.returncode == 2
        assert b"is no export" in done.stderr


class TestInterrupted:
    """Ctrl-C ends a long command at once, and leaves nothing half done."""

    @pytest.mark.parametrize("arguments", [["backup", "all"], ["export", "--all", "all"]])
    async def test_a_file_is_not_there(self, fresh_database: Database, filled: CommandLine, tmp_path: Path, arguments: list[str]) -> None:
        async with fresh_database.connected() as connection, connection.transaction():
            # It has begun, and cannot end before it is interrupted.
            await connection.execute("LOCK TABLE sessions")
            process = subprocess.Popen([COMMAND, *arguments], env=fresh_database.environment, cwd=tmp_path, stderr=subprocess.PIPE)
            while process.poll() is None and not list(tmp_path.iterdir()):
                await asyncio.sleep(0.005)
            process.send_signal(signal.SIGINT)
            _, errors = await asyncio.to_thread(process.communicate, timeout=30)
        assert (process.returncode, errors) == (130, b"")
        assert list(tmp_path.iterdir()) == []
