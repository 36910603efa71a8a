"""The ``session-db`` command as a process: encodings, full disks, Ctrl-C."""

import os
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
