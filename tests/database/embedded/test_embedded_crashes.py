"""Whatever is killed, and whenever: the next one starts, and nothing stays behind."""

from __future__ import annotations

import os
import shutil
import signal
import sys
import time
from contextlib import suppress
from typing import TYPE_CHECKING

import pytest

from session_db.database.embedded import EmbeddedServer

if TYPE_CHECKING:
    from tests.database.embedded.conftest import Home

CREATE_AND_WAIT = """
server.acquire()
query("create table kept as select 7 as number")
print("made", flush=True)
sys.stdin.read()
"""


def query(server: EmbeddedServer, statement: str) -> str:
    server.acquire()
    done = server.run_program("psql", ["-Atc", statement], capture_output=True, text=True, check=True)
    return str(done.stdout).strip()


def kill(home: Home, pid: int) -> None:
    """Kill a process and wait until it is dead: the signal alone does not close its socket yet."""
    os.kill(pid, signal.SIGKILL)
    home.wait_until(lambda: pid not in home.processes())


class TestKilledClient:
    def test_gives_its_share_back(self, home: Home) -> None:
        client = home.client(idle_seconds=0.2)
        client.line()
        client.kill()
        home.wait_until_gone()

    def test_that_was_starting_the_server_does_not_keep_others_from_it(self, empty_home: Home) -> None:
        for delay in (0.15, 0.3, 0.45, 0.6):
            client = empty_home.client(idle_seconds=0)
            time.sleep(delay)
            client.kill()
        assert empty_home.client().line() == "42"
        assert list(empty_home.path.glob("creating-*")) == []
        assert list(empty_home.path.glob("postgres/copying-*")) == []


class TestKilledServer:
    def test_is_started_again_with_its_data(self, home: Home, server: EmbeddedServer) -> None:
        client = home.client(CREATE_AND_WAIT)
        client.line()
        # Nobody tells this session that its server is gone: it is busy.
        busy = home.client("server.acquire(); print('busy', flush=True); query('select count(*) from generate_series(1, 1e12)')")
        busy.line()
        home.wait_until(lambda: any("SELECT" in command for command in home.processes().values()))
        killed = home.postmaster
        kill(home, killed)
        assert query(server, "select number from kept") == "7"
        assert home.postmaster != killed
        assert not any("SELECT" in command for command in home.processes().values())

    def test_heals_a_handle_that_was_connected(self, home: Home, server: EmbeddedServer) -> None:
        server.acquire()
        for _ in range(3):
            kill(home, home.postmaster)
            assert query(server, "select 1") == "1"

    def test_does_not_believe_a_process_id_that_is_somebody_elses_now(self, home: Home) -> None:
        server = home.server(idle_seconds=0)
        server.acquire()
        os.kill(home.postmaster, signal.SIGKILL)
        server.release()
        home.wait_until_gone()
        for name in ("postmaster.pid", ".s.PGSQL.5432.lock"):
            file = home.path / "data" / name
            _, *lines = file.read_text().splitlines()
            file.write_text("\n".join([str(os.getpid()), *lines]) + "\n")
        assert query(server, "select 1") == "1"
        server.release()


class TestKilledSupervisor:
    def test_takes_the_server_with_it(self, home: Home) -> None:
        server = home.server()
        server.acquire()
        kill(home, home.supervisor)
        home.wait_until_gone()
        assert query(server, "select 1") == "1"
        kill(home, home.supervisor)
        # The old server may be stopping still.
        home.wait_until(lambda: not server.status().running)
        assert query(server, "select 1") == "1"
        assert home.starts() == 3
        server.release()

    def test_while_it_made_the_database_leaves_nothing(self, empty_home: Home) -> None:
        client = empty_home.client()
        empty_home.wait_until(lambda: any(empty_home.path.glob("creating-*/data/base/*")))
        os.kill(empty_home.supervisor, signal.SIGKILL)
        assert client.line() == "42"
        assert list(empty_home.path.glob("creating-*")) == []

    def test_stops_the_server_in_good_order_when_told_to_end(self, home: Home, server: EmbeddedServer) -> None:
        server.acquire()
        os.kill(home.supervisor, signal.SIGTERM)
        home.wait_until_gone()
        assert "database system is shut down" in (home.path / "server.log").read_text()


class TestMishaps:
    def test_a_home_removed_under_a_running_server_is_made_anew(self, home: Home) -> None:
        server = home.server(idle_seconds=0)
        server.acquire()
        os.kill(home.supervisor, signal.SIGTERM)
        home.wait_until_gone()
        shutil.rmtree(home.path)
        assert query(server, "select 1") == "1"
        server.release()

    def test_everything_killed_at_random_leaves_no_orphan(self, home: Home) -> None:
        server = home.server(idle_seconds=0.2)
        server.acquire()
        for turn in range(5):
            client = home.client(idle_seconds=0.2)
            time.sleep(0.1 * turn)
            for pid in list(home.processes())[turn % 2 :: 2]:
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            client.kill()
        assert query(server, "select 1") == "1"
        server.release()
        home.wait_until_gone()

    @pytest.mark.skipif(sys.platform != "linux" or os.geteuid() != 0, reason="only root can mount a small disk")
    def test_a_full_disk_is_told_and_forgiven(self, empty_home: Home) -> None:
        empty_home.path.mkdir(mode=0o711)
        client = empty_home.client(
            """
import subprocess
for size in ("10m", "40m", "200m"):
    subprocess.run(["mount", "-o", f"remount,size={size}", sys.argv[1]], check=True)
    try:
        server.acquire()
        print(query("select 42"), flush=True)
    except EmbeddedServerError as error:
        print("No space left on device" in str(error), os.listdir(sys.argv[1]), flush=True)
server.release()
""",
            idle_seconds=0,
            wrapper=("unshare", "--mount", "sh", "-c", 'mount -t tmpfs -o size=10m,mode=711 none "$0" && exec "$@"', str(empty_home.path)),
        )
        first = client.line()
        if "mount" in first:
            pytest.skip(f"this root cannot mount: {first}")
        assert first.startswith("True")
        assert client.line().startswith("True")
        assert client.line() == "42"
