"""Encrypted connections, to a server of Debian's packages: the embedded one is reached at a socket, and its binaries know no TLS."""

import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote

import pytest
from pydantic import SecretStr
from sqlalchemy import text

from session_db.crud import list_sessions
from session_db.database import async_session, close_db, get_async_session, init_db, reset_db
from session_db.database.backup import backup_database, restore_database
from session_db.database.embedded.supervisor import command_lines
from session_db.errors import Unavailable
from session_db.settings import Settings, use_settings
from tests.factories import make_session
from tests.servers import DEBIAN, UNPRIVILEGED, debian_postgresql, temporary_directory

pytestmark = pytest.mark.skipif(not (DEBIAN / "15").is_dir(), reason="PostgreSQL 15 is not installed; scripts/install-servers does it")

PASSWORD = "a $ecret: 100 % @/?"


@pytest.fixture(scope="module")
def certificate() -> Iterator[Path]:
    """A certificate of localhost that vouches for itself, with its key beside it."""
    with temporary_directory(of_servers=True) as directory:
        path = directory / "server.crt"
        key = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-keyout", str(path.with_suffix(".key"))]
        subject = ["-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost"]
        command = ["openssl", "req", "-x509", "-days", "1", *key, *subject, "-out", str(path)]
        subprocess.run(command, check=True, capture_output=True, **UNPRIVILEGED)
        yield path


@pytest.fixture(scope="module")
def server(certificate: Path) -> Iterator[str]:
    """The beginning of the URL of a server that speaks TLS at a port of the loopback interface."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port: int = free.getsockname()[1]
    tls = {"ssl": "on", "ssl_cert_file": str(certificate), "ssl_key_file": str(certificate.with_suffix(".key"))}
    with debian_postgresql("15", port=port, listen_addresses="127.0.0.1", **tls):
        yield f"postgresql://session_db@localhost:{port}/postgres"


async def is_encrypted(url: str) -> bool:
    """Make the tables there, and say whether a connection of the pool is encrypted."""
    use_settings(Settings(url=SecretStr(url)))
    try:
        await init_db()
        async with async_session() as db:
            return bool(await db.scalar(text("SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()")))
    finally:
        await close_db()


class TestSslMode:
    @pytest.mark.parametrize(
        "mode", ["sslmode=require", "ssl=true", "sslmode=no-verify", "sslmode=prefer", "sslmode=require&channel_binding=prefer"]
    )
    async def test_a_server_without_a_known_certificate_is_taken(self, server: str, mode: str) -> None:
        assert await is_encrypted(f"{server}?{mode}")

    @pytest.mark.parametrize("mode", ["verify-ca", "verify-full"])
    async def test_a_certificate_that_the_user_names_is_verified(self, server: str, certificate: Path, mode: str) -> None:
        assert await is_encrypted(f"{server}?sslmode={mode}&sslrootcert={certificate}")

    async def test_a_server_with_another_name_is_refused(self, server: str, certificate: Path) -> None:
        with pytest.raises(Unavailable, match="certificate"):
            await is_encrypted(f"{server.replace('localhost', '127.0.0.1')}?sslmode=verify-full&sslrootcert={certificate}")

    async def test_a_certificate_that_nobody_vouches_for_is_refused(self, server: str) -> None:
        with pytest.raises(Unavailable, match="self-signed"):
            await is_encrypted(f"{server}?sslmode=verify-full&sslrootcert=system")

    async def test_nothing_is_encrypted_against_the_users_wish(self, server: str) -> None:
        assert not await is_encrypted(f"{server}?sslmode=disable")


@pytest.fixture(scope="module")
def guarded(certificate: Path) -> Iterator[str]:
    """The beginning of the URL of a server that takes nobody without TLS and a password."""
    rules = certificate.with_name("hba.conf")
    rules.write_text("local all all trust\nhostssl all all all scram-sha-256\n")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port: int = free.getsockname()[1]
    tls = {"ssl": "on", "ssl_cert_file": str(certificate), "ssl_key_file": str(certificate.with_suffix(".key")), "hba_file": str(rules)}
    with debian_postgresql("15", port=port, listen_addresses="127.0.0.1", **tls) as direct:
        statement = f"ALTER ROLE session_db PASSWORD '{PASSWORD}'"
        subprocess.run([DEBIAN / "15" / "bin" / "psql", direct, "-c", statement], check=True, capture_output=True)
        yield f"postgresql://session_db:{quote(PASSWORD, safe='')}@localhost:{port}/postgres"


class TestBackup:
    async def test_it_goes_over_tls_and_shows_nobody_the_password(self, guarded: str, certificate: Path, tmp_path: Path) -> None:
        file = tmp_path / "all.backup"
        use_settings(Settings(url=SecretStr(f"{guarded}?sslmode=verify-full&sslrootcert={certificate}")))
        seen: list[bytes] = []
        try:
            await init_db()
            async with get_async_session() as db:
                await make_session(db, agent_name="kept")
            await backup_database(file, on_progress=lambda _doing, _done: seen.extend(command for _, command in command_lines()))
            await reset_db()
            await restore_database(file)
            async with async_session() as db:
                assert [session.agent_name for session in await list_sessions(db)] == ["kept"]
        finally:
            await close_db()
        assert any(b"pg_dump" in command for command in seen)
        assert [command for command in seen if PASSWORD.encode() in command] == []

    async def test_a_server_with_another_name_is_refused(self, guarded: str, certificate: Path, tmp_path: Path) -> None:
        url = f"{guarded.replace('localhost', '127.0.0.1')}?sslmode=verify-full&sslrootcert={certificate}"
        use_settings(Settings(url=SecretStr(url)))
        try:
            with pytest.raises(Unavailable, match="certificate") as refused:
                await backup_database(tmp_path / "all.backup")
        finally:
            await close_db()
        assert PASSWORD not in str(refused.value)
        assert list(tmp_path.iterdir()) == []
