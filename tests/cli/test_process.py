"""The ``session-db`` command as a process: encodings, full disks, Ctrl-C, completion, and what it waits for."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.databases import Database

COMMAND = Path(sys.executable).with_name("session-db")
INTERRUPTED_IMPORT = """
import sys

class Interrupt:
    def find_spec(self, name, path, target=None):
        if name == "typer":
            raise KeyboardInterrupt

sys.meta_path.insert(0, Interrupt())
from session_db.cli.main import run
run()
"""


@pytest.mark.parametrize("encoding", ["ascii", "latin-1"])
def test_an_encoding_without_the_character_stops_nothing(fresh_database: Database, encoding: str) -> None:
    environment = fresh_database.environment | {"PYTHONIOENCODING": encoding}
    result = subprocess.run([COMMAND, "demo"], env=environment, capture_output=True, timeout=60, check=False)
    assert result.returncode == 0, result.stderr
    assert b"Timeline" in result.stdout


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="there is no /dev/full")
@pytest.mark.parametrize("arguments", [["sessions", "list"], ["sessions", "list", "--json"], ["--version"]])
def test_a_full_disk_is_a_short_error(fresh_database: Database, arguments: list[str]) -> None:
    with Path("/dev/full").open("w") as full:
        result = subprocess.run(
            [COMMAND, *arguments], env=fresh_database.environment, stdout=full, stderr=subprocess.PIPE, text=True, timeout=60, check=False
        )
    assert result.returncode == 1
    assert result.stderr.splitlines() == ["Error: [Errno 28] No space left on device"]


def test_a_closed_pipe_ends_it_without_a_word(fresh_database: Database) -> None:
    read, write = os.pipe()
    os.close(read)
    try:
        result = subprocess.run(
            [COMMAND, "sessions", "list", "--json"],
            env=fresh_database.environment,
            stdout=write,
            stderr=subprocess.PIPE,
            timeout=60,
            check=False,
        )
    finally:
        os.close(write)
    assert (result.returncode, result.stderr) == (1, b"")


def test_ctrl_c_while_it_starts_leaves_no_traceback() -> None:
    result = subprocess.run([sys.executable, "-c", INTERRUPTED_IMPORT], capture_output=True, timeout=60, check=False)
    assert (result.returncode, result.stderr) == (130, b"")


@pytest.mark.skipif(os.name != "posix", reason="arguments are bytes on POSIX alone")
@pytest.mark.parametrize(
    "arguments", [[b"show", b"\xff"], [b"delete", b"\xff"], [b"list", b"--agent", b"\xff"], [b"list", b"--dir", b"/\xff"]]
)
def test_arguments_that_are_no_text_are_named(fresh_database: Database, arguments: list[bytes]) -> None:
    result = subprocess.run(
        [str(COMMAND).encode(), b"sessions", *arguments], env=fresh_database.environment, capture_output=True, timeout=60, check=False
    )
    assert result.returncode == 2
    assert result.stderr.startswith(b"Error: ")
    assert b"not valid UTF-8" in result.stderr


def completed(words: str, shell: str = "bash") -> list[str]:
    """Return what a shell's script is told about the words typed so far."""
    variables = {"COMP_WORDS": words, "COMP_CWORD": str(words.count(" ")), "_TYPER_COMPLETE_ARGS": words}
    environment = os.environ | variables | {"_SESSION_DB_COMPLETE": f"complete_{shell}", "_TYPER_COMPLETE_FISH_ACTION": "get-args"}
    result = subprocess.run([COMMAND], env=environment, capture_output=True, text=True, timeout=60, check=True)
    return result.stdout.split("\n")[:-1]


class TestCompletion:
    @pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
    def test_a_shell_that_is_named_gets_its_script_wherever_it_is_asked_for(self, shell: str) -> None:
        # Started by no shell at all, as far as the running processes tell.
        command = [str(COMMAND), "--show-completion", shell]
        script = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True, start_new_session=True).stdout
        assert f"_SESSION_DB_COMPLETE=complete_{shell}" in script
        if shutil.which(shell):
            subprocess.run([shell, "-n"], input=script, text=True, timeout=60, check=True)

    @pytest.mark.parametrize(
        ("shell", "file"), [("bash", ".bashrc"), ("zsh", ".zshrc"), ("fish", ".config/fish/completions/session-db.fish")]
    )
    def test_it_is_installed_for_a_shell_that_is_named(self, tmp_path: Path, shell: str, file: str) -> None:
        command = [str(COMMAND), "--install-completion", shell]
        subprocess.run(command, env=os.environ | {"HOME": str(tmp_path)}, capture_output=True, timeout=60, check=True)
        installed = "".join(path.read_text() for path in tmp_path.rglob("*") if path.is_file())
        assert (tmp_path / file).exists()
        assert f"complete_{shell}" in installed

    def test_a_shell_that_is_none_is_an_error(self) -> None:
        result = subprocess.run([COMMAND, "--show-completion", "tcsh"], capture_output=True, text=True, timeout=60, check=False)
        assert (result.returncode, result.stdout) == (1, "")
        assert "tcsh" in result.stderr

    def test_commands_groups_and_options_are_completed(self) -> None:
        assert completed("session-db pl") == ["playlists"]
        assert completed("session-db events ") == ["list", "show"]
        assert completed("session-db events list --tool") == ["--tool", "--tool-use-id"]

    def test_zsh_and_fish_see_what_a_command_does(self) -> None:
        assert completed("session-db curr", "fish") == ["current\tPrint the revision of the tables, and the..."]
        assert completed("session-db curr", "zsh") == ["""_arguments '*: :(("current":"Print the revision of the tables, and the..."))'"""]


@pytest.mark.parametrize("words", [["--version"], ["--help"], []])
def test_help_version_and_completion_do_not_wait_for_the_libraries_of_the_database(words: list[str]) -> None:
    code = "import sys; sys.argv[0] = 'session-db'; from session_db.cli.main import run\n"
    code += "try: run()\nfinally: print(*sys.modules, file=sys.stderr)"
    environment = os.environ | ({} if words else {"_SESSION_DB_COMPLETE": "complete_bash", "COMP_WORDS": "session-db s", "COMP_CWORD": "1"})
    result = subprocess.run([sys.executable, "-c", code, *words], env=environment, capture_output=True, text=True, timeout=60, check=True)
    loaded = {name.partition(".")[0] for name in result.stderr.split()}
    assert "typer" in loaded
    assert loaded & {"sqlalchemy", "sqlmodel", "asyncpg", "alembic", "genai_prices", "fastapi"} == set()
