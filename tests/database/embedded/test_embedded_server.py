"""Start, share and stop."""

from __future__ import annotations

import asyncio
import threading
import time
from typing import TYPE_CHECKING

import asyncpg
import pytest

from session_db import settings
from session_db.database.embedded import EmbeddedServer
from session_db.errors import EmbeddedServerError

if TYPE_CHECKING:
    from tests.database.embedded.conftest import Home


async def fetch(server: EmbeddedServer, statement: str) -> object:
    connection = await asyncpg.connect(**server.connect_arguments)
    try:
        return await connection.fetchval(statement)
    finally:
        await connection.close()


class TestAcquire:
    async def test_makes_the_database_and_starts_the_server(self, empty_home: Home) -> None:
        server = empty_home.server()
        server.acquire()
        assert await fetch(server, "select current_user || ' ' || current_database()") == "session_db session_db"
        assert await fetch(server, "show server_version") == server.version
        assert await fetch(server, "show server_encoding") == "UTF8"
        assert await fetch(server, "show fsync") == "off"
        server.release()

    async def test_attaches_to_a_running_server(self, home: Home, server: EmbeddedServer) -> None:
        server.acquire()
        client = home.client()
        other = home.server()
        other.acquire()
        assert client.line() == "42"
        assert await fetch(other, "select 1") == 1
        assert other.status() == server.status()
        assert home.starts() == 1
        other.release()

    def test_twelve_processes_at_once_start_one_server(self, empty_home: Home) -> None:
        clients = [empty_home.client("server.acquire(); print(query('select pg_postmaster_start_time()'), flush=True)") for _ in range(12)]
        assert len({client.line() for client in clients}) == 1
        assert empty_home.starts() == 1

    async def test_threads_share_one_handle(self, home: Home, server: EmbeddedServer) -> None:
        threads = [threading.Thread(target=server.acquire) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert await fetch(server, "select 1") == 1
        assert home.starts() == 1

    def test_a_forked_child_has_a_share_of_its_own(self, home: Home) -> None:
        client = home.client(
            """
server.acquire()
reading, writing = os.pipe()
child = os.fork()
if child == 0:
    os.read(reading, 1)
    server.acquire()
    print(query("select 'child'"), flush=True)
    sys.stdin.readline()
    print(query("select 'still there'"), flush=True)
    os._exit(0)
print(query("select 'parent'"), flush=True)
server.release()
os.write(writing, b"x")
os.waitpid(child, 0)
""",
            idle_seconds=0.3,
        )
        assert [client.line(), client.line()] == ["parent", "child"]
        time.sleep(0.8)
        assert client.finish() == "still there\n"
        home.wait_until_gone()
        assert home.starts() == 1

    def test_a_forked_child_keeps_nothing_that_its_parent_gave_back(self, home: Home) -> None:
        client = home.client(
            """
server.acquire()
child = os.fork()
if child == 0:
    sys.stdin.read()
    os._exit(0)
server.release()
print("released", flush=True)
os.waitpid(child, 0)
""",
            idle_seconds=0,
        )
        assert client.line() == "released"
        home.wait_until_gone()

    def test_a_daemon_that_closed_all_descriptors_has_one_of_its_own(self, home: Home) -> None:
        client = home.client(
            """
server.acquire()
if os.fork() == 0:
    os.closerange(3, 100)
    others = [os.open("/dev/null", os.O_RDONLY) for _ in range(20)]
    server.acquire()
    print(query("select 'daemon'"), {os.readlink(f"/proc/self/fd/{other}") for other in others}, flush=True)
    os._exit(0)
os.wait()
"""
        )
        assert client.line() == "daemon {'/dev/null'}"

    async def test_works_at_a_long_path_with_awkward_characters(self, empty_home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
        # A shell would take the double quote and the dollar for its own.
        default = empty_home.path.parent / "default"
        monkeypatch.setattr(settings, "default_home", lambda: default)
        name = 'it\'s a, long "path" $(false) ' + "x" * 60
        empty_home.path = empty_home.path / name / name
        empty_home.path.parent.parent.mkdir(mode=0o711)
        server = empty_home.server()
        server.acquire()
        status = server.status()
        assert status.running
        assert len(str(status.socket)) > 170
        assert await fetch(server, "select 1") == 1
        assert server.run_program("psql", ["-Atc", "select 2"], capture_output=True, text=True, check=True).stdout == "2\n"
        assert b"PostgreSQL database dump" in server.run_program("pg_dump", capture_output=True, check=True).stdout
        server.release()


class TestRelease:
    async def test_the_server_stops_after_the_last_share_and_keeps_its_data(self, home: Home) -> None:
        server = home.server(idle_seconds=0.3)
        server.acquire()
        host = server.connect_arguments["host"]
        await fetch(server, "create table kept as select 7 as number")
        client = home.client(idle_seconds=0.3)
        client.line()
        server.release()
        with pytest.raises(AssertionError, match="in time"):
            home.wait_until(lambda: not home.processes(), seconds=0.7)
        client.finish()
        home.wait_until_gone()
        assert not server.status().running
        server.acquire()
        assert server.connect_arguments["host"] == host
        assert await fetch(server, "select number from kept") == 7
        server.release()

    async def test_who_stays_connected_without_a_share_keeps_the_server(self, home: Home) -> None:
        server = home.server(idle_seconds=0)
        server.acquire()
        connection = await asyncpg.connect(**server.connect_arguments)
        server.release()
        await asyncio.sleep(0.7)
        assert await connection.fetchval("select 1") == 1
        assert home.starts() == 1
        await connection.close()
        home.wait_until_gone()

    def test_somebody_who_comes_and_goes_makes_the_server_wait_longer(self, home: Home) -> None:
        server = home.server(idle_seconds=0.5)
        for _ in range(8):
            server.acquire()
            server.release()
            with pytest.raises(AssertionError, match="in time"):
                home.wait_until(lambda: not home.processes(), seconds=0.1)
        assert home.starts() == 1


class TestStatus:
    def test_of_nothing_makes_nothing(self, empty_home: Home) -> None:
        server = empty_home.server()
        status = server.status()
        assert not status.running
        assert status.pid is None
        assert status.size_bytes == 0
        assert not empty_home.path.exists()
        assert empty_home.processes() == {}
        with pytest.raises(EmbeddedServerError, match=r"call acquire\(\) first"):
            server.connect_arguments  # noqa: B018 - it is the property that raises.

    def test_of_a_running_server(self, running_home: Home, running_server: EmbeddedServer) -> None:
        status = running_server.status()
        assert status.running
        assert status.pid == running_home.postmaster
        assert status.version.startswith("18.")
        assert status.socket.is_socket()
        assert status.log.is_file()
        assert 10_000_000 < status.size_bytes < 100_000_000


class TestRunProgram:
    def test_dumps_and_restores(self, running_server: EmbeddedServer) -> None:
        running_server.run_program("psql", ["--command", "create table songs as select 'one' as title"], check=True, capture_output=True)
        dump = running_server.run_program("pg_dump", ["--format=custom"], check=True, capture_output=True).stdout
        running_server.run_program("psql", ["--command", "drop table songs"], check=True, capture_output=True)
        running_server.run_program("pg_restore", ["--dbname=session_db"], input=dump, check=True, capture_output=True)
        done = running_server.run_program("psql", ["-Atc", "select title from songs"], check=True, capture_output=True, text=True)
        assert done.stdout == "one\n"
