"""Whatever is killed, and whenever: the next one starts, and nothing stays behind."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import threading
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
# Prints which commits were acknowledged, the errors of the others, and how many rows of each there are in the end.
FILL_THE_DISK = """
import asyncpg, json, time

GONE = (OSError, asyncpg.PostgresError, asyncpg.InterfaceError, asyncpg.InternalClientError)

def commit(number):
    server.acquire()
    query(f"insert into kept select {{number}}, repeat('x', 1000) from generate_series(1, 3000)")
    acknowledged.append(number)

server.acquire()
query("create table kept (number int, text text)")
acknowledged, errors = [], []
commit(0)
filler = Path(sys.argv[1], "filler")
disk = os.statvfs(sys.argv[1])
filler.write_bytes(bytes(disk.f_bavail * disk.f_frsize - {left}))
for number in range(1, 6):
    try:
        commit(number)
    except (*GONE, EmbeddedServerError) as error:
        errors.append(str(error))
filler.unlink()
while 6 not in acknowledged:
    try:
        commit(6)
    except GONE:
        time.sleep(0.05)
print(json.dumps(acknowledged), json.dumps(errors), sep="\\n", flush=True)
print(query("select json_object_agg(number, rows) from (select number, count(*) as rows from kept group by number) as counted"), flush=True)
server.release()
"""


# A small disk, of this process and its children alone.
ON_A_DISK_OF_ITS_OWN = ("unshare", "--mount", "sh", "-c", 'mount -t tmpfs -o size=200m,mode=711 none "$0" && exec "$@"')
as_root_of_linux = pytest.mark.skipif(sys.platform != "linux" or os.geteuid() != 0, reason="only root can mount a small disk")


def query(server: EmbeddedServer, statement: str) -> str:
    server.acquire()
    done = server.run_program("psql", ["-Atc", statement], capture_output=True, text=True, check=True)
    return str(done.stdout).strip()


def query_in_the_end(server: EmbeddedServer, statement: str) -> str:
    """Query a server that may be dying or recovering just now; to take the share never fails.

    A postmaster that was killed seems to live as long as a child that it has just forked still has its socket.
    """
    for _ in range(400):
        with suppress(subprocess.CalledProcessError):
            return query(server, statement)
        time.sleep(0.05)
    return query(server, statement)


class TestKilledClient:
    def test_gives_its_share_back(self, home: Home) -> None:
        client = home.client(idle_seconds=0.2)
        client.line()
        client.kill()
        home.wait_until_gone()

    def test_whose_query_runs_on_does_not_keep_the_server(self, home: Home) -> None:
        client = home.client("server.acquire(); query('select pg_sleep(600)')", idle_seconds=0)
        home.wait_until(lambda: any("SELECT" in command for command in home.processes().values()))
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
        busy = home.client("server.acquire(); print('busy', flush=True); query('select pg_sleep(600)')")
        busy.line()
        home.wait_until(lambda: any("SELECT" in command for command in home.processes().values()))
        killed = home.postmaster
        home.kill(killed)
        assert query_in_the_end(server, "select number from kept") == "7"
        assert home.postmaster != killed
        assert not any("SELECT" in command for command in home.processes().values())

    def test_heals_a_handle_that_was_connected(self, home: Home, server: EmbeddedServer) -> None:
        server.acquire()
        for _ in range(3):
            home.kill(home.postmaster)
            assert query_in_the_end(server, "select 1") == "1"

    def test_while_it_starts_is_started_again(self, home: Home, server: EmbeddedServer) -> None:
        def kill_three() -> None:
            killed = 0
            while killed < 3:
                # The file is not there yet, or not written yet.
                with suppress(FileNotFoundError, IndexError):
                    killed += home.kill(home.postmaster)

        killer = threading.Thread(target=kill_three)
        killer.start()
        while killer.is_alive():
            server.acquire()
            time.sleep(0.01)
        assert query_in_the_end(server, "select 1") == "1"

    def test_of_whom_one_session_was_killed_recovers(self, home: Home, server: EmbeddedServer) -> None:
        client = home.client("server.acquire(); query('select pg_sleep(1000)')")
        home.wait_until(lambda: any("SELECT" in command for command in home.processes().values()))
        (session,) = home.sessions()
        postmaster = home.postmaster
        home.kill(session)
        assert query_in_the_end(server, "select 1") == "1"
        assert "ConnectionDoesNotExistError" in client.finish()
        assert home.postmaster == postmaster

    def test_does_not_believe_a_process_id_that_is_somebody_elses_now(self, home: Home) -> None:
        server = home.server(idle_seconds=0)
        server.acquire()
        home.kill(home.postmaster)
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
        home.kill(home.supervisor)
        home.wait_until_gone()
        assert query(server, "select 1") == "1"
        home.kill(home.supervisor)
        # The old server may be stopping still.
        home.wait_until(lambda: not server.status().running)
        assert query(server, "select 1") == "1"
        assert home.starts() == 3
        server.release()

    def test_while_it_made_the_database_leaves_nothing(self, empty_home: Home) -> None:
        client = empty_home.client()
        empty_home.wait_until(lambda: any(empty_home.path.glob("creating-*/data/base/*")))
        empty_home.kill(empty_home.supervisor)
        assert client.line() == "42"
        assert list(empty_home.path.glob("creating-*")) == []

    def test_stops_the_server_in_good_order_when_told_to_end(self, home: Home, server: EmbeddedServer) -> None:
        server.acquire()
        home.signal(home.supervisor, signal.SIGTERM)
        home.wait_until_gone()
        assert "database system is shut down" in (home.path / "server.log").read_text()


class TestMishaps:
    def test_a_home_removed_under_a_running_server_is_made_anew(self, home: Home) -> None:
        server = home.server(idle_seconds=0)
        server.acquire()
        home.signal(home.supervisor, signal.SIGTERM)
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
                home.signal(pid, signal.SIGKILL)
            client.kill()
        assert query_in_the_end(server, "select 1") == "1"
        server.release()
        home.wait_until_gone()

    def test_a_clock_set_back_stops_nothing_and_keeps_nothing(self, home: Home) -> None:
        server = home.server(idle_seconds=0.2)
        server.acquire()
        home.kill(home.postmaster)
        server.release()
        home.wait_until_gone()
        next_year = int(time.time()) + 365 * 86_400
        lock_file = home.path / "data" / "postmaster.pid"
        pid, directory, _, *lines = lock_file.read_text().splitlines()
        lock_file.write_text("\n".join([pid, directory, str(next_year), *lines]) + "\n")
        for path in home.path.rglob("*"):
            os.utime(path, (next_year, next_year), follow_symlinks=False)
        assert query(server, "select 1") == "1"
        os.utime(home.path / "clients.lock", (next_year, next_year))
        time.sleep(0.6)
        assert home.starts() == 2
        assert query(server, "select 1") == "1"
        server.release()
        home.wait_until_gone()

    @as_root_of_linux
    @pytest.mark.parametrize("left", [0, 20_000_000], ids=["none-left", "too-little-for-the-log"])
    def test_a_disk_that_fills_up_fails_what_it_cannot_keep_and_nothing_else(self, empty_home: Home, left: int) -> None:
        empty_home.path.mkdir(mode=0o711)
        client = empty_home.client(FILL_THE_DISK.format(left=left), idle_seconds=0, wrapper=(*ON_A_DISK_OF_ITS_OWN, str(empty_home.path)))
        first = client.line()
        if "mount" in first:
            pytest.skip(f"this root cannot mount: {first}")
        acknowledged, errors, counts = json.loads(first), json.loads(client.line()), json.loads(client.line())
        assert len(errors) >= 3
        assert "No space left on device" in errors[0]
        assert {str(number) for number in acknowledged} <= counts.keys()
        assert set(counts.values()) == {3_000}

    @as_root_of_linux
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
            wrapper=(*ON_A_DISK_OF_ITS_OWN, str(empty_home.path)),
        )
        first = client.line()
        if "mount" in first:
            pytest.skip(f"this root cannot mount: {first}")
        assert first.startswith("True")
        assert client.line().startswith("True")
        assert client.line() == "42"
