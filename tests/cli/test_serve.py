"""The commands ``serve`` and ``login``: the service as a process."""

import asyncio
import json
import os
import shutil
import signal
import socket
import ssl
import stat
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest
import uvicorn

from session_db.cli import serve
from session_db.cli.serve import _Ending
from session_db.crud.tokens import get_valid_token, list_tokens
from session_db.database import get_async_session
from session_db.server import create_app
from tests.databases import Database

COMMAND = Path(sys.executable).with_name("session-db")


@dataclass(frozen=True)
class Service:
    """A service that runs, and what it said when it was ready."""

    process: subprocess.Popen[bytes]
    url: str
    login_url: str
    token_file: Path
    log: Path

    @property
    def token(self) -> str:
        return self.token_file.read_text().strip()

    def client(self) -> httpx.AsyncClient:
        return httpx.AsyncClient(base_url=self.url, headers={"Authorization": f"Bearer {self.token}"}, timeout=30)

    async def end(self, number: int = signal.SIGTERM) -> int:
        """Send a signal, and return the exit code."""
        self.process.send_signal(number)
        return await asyncio.to_thread(self.process.wait, 30)


@pytest.fixture
def home(tmp_path: Path) -> Path:
    home = tmp_path / "home"
    home.mkdir(mode=0o700)
    return home


def environment(database: Database, home: Path) -> dict[str, str]:
    return database.environment | {"SESSION_DB_HOME": str(home)}


@asynccontextmanager
async def serving(database: Database, home: Path, *arguments: str) -> AsyncIterator[Service]:
    """Run the service inside the block."""
    number = len(list(home.parent.glob("log-*")))
    said, log = home.parent / f"said-{number}", home.parent / f"log-{number}"
    command = [str(COMMAND), "serve", "--port", "0", "--json", *arguments]
    with said.open("w") as output, log.open("w") as errors:
        process = subprocess.Popen(command, env=environment(database, home), stdout=output, stderr=errors, cwd=home.parent)
    try:
        async with asyncio.timeout(60):
            while not said.read_text().endswith("}\n"):
                assert process.poll() is None, log.read_text()
                await asyncio.sleep(0.05)
        ready = json.loads(said.read_text())
        assert ready["pid"] == process.pid
        yield Service(process, ready["url"], ready["login_url"], Path(ready["token_file"]), log)
    finally:
        # Its workers would outlive a process that is killed.
        process.terminate()
        await asyncio.to_thread(process.wait, 60)


def run(*arguments: str, env: dict[str, str]) -> subprocess.CompletedProcess[str]:
    return subprocess.run([COMMAND, *arguments], env=env, capture_output=True, text=True, timeout=60, check=False)


async def answers(url: str) -> bool:
    try:
        async with httpx.AsyncClient(timeout=30) as client:
            return (await client.get(f"{url}/health")).status_code == 200
    except httpx.TransportError:
        return False


async def works(text: str) -> bool:
    async with get_async_session() as db:
        return await get_valid_token(db, text) is not None


async def names_of_working_tokens() -> list[str]:
    async with get_async_session() as db:
        return [token.name for token in await list_tokens(db) if token.revoked_at is None]


class TestServe:
    @pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
    async def test_it_ends_well_by_a_signal_and_its_streams_with_it(
        self, fresh_database: Database, home: Path, number: signal.Signals
    ) -> None:
        async with serving(fresh_database, home) as service, service.client() as client:
            async with client.stream("GET", "/api/events") as stream:
                assert stream.status_code == 200
                assert await service.end(number) == 0
                # It ends as a stream should, not as a connection that breaks.
                await stream.aread()
            logged = service.log.read_text()
        assert "Traceback" not in logged
        assert service.token.split("_", 2)[2] not in logged

    async def test_a_request_in_flight_is_finished_first(self, fresh_database: Database, home: Path) -> None:
        async with serving(fresh_database, home) as service, service.client() as client, fresh_database.connected() as connection:
            session = (await client.post("/api/sessions", json={"agent_name": "strudel"})).json()["session_id"]
            held = connection.transaction()
            await held.start()
            await connection.execute("SELECT 1 FROM sessions WHERE id = $1 FOR UPDATE", session)
            message = {"role": "user", "content": "hello", "timestamp": "2025-12-25T01:35:06Z"}
            answer = asyncio.create_task(client.post(f"/api/messages/{session}", json={"messages": [message]}))
            # Of all that wait on this server, those that wait for this connection.
            waits = "SELECT count(*) FROM pg_locks WHERE NOT granted AND pg_backend_pid() = ANY (pg_blocking_pids(pid))"
            async with asyncio.timeout(30):
                while not await connection.fetchval(waits):
                    await asyncio.sleep(0.05)
            end = asyncio.create_task(service.end())
            await asyncio.sleep(0.5)
            assert not end.done()
            await held.rollback()
            assert (await answer).status_code == 201
            assert await end == 0
            assert await connection.fetchval("SELECT count(*) FROM messages WHERE session_id = $1", session) == 1

    async def test_several_workers_answer_count_together_and_end_well(self, fresh_database: Database, home: Path) -> None:
        async with serving(fresh_database, home, "--workers", "2") as service:
            async with service.client() as client:
                for _ in range(20):
                    assert (await client.get("/health", headers={"Connection": "close"})).status_code == 200
                async with asyncio.timeout(30):
                    while (
                        'session_db_requests_total{method="GET",route="/health",status="200"} 20.0'
                        not in (await client.get("/metrics")).text
                    ):
                        await asyncio.sleep(0.1)
                async with client.stream("GET", "/api/events") as stream:
                    assert await service.end() == 0
                    await stream.aread()
            assert "Traceback" not in service.log.read_text()

    async def test_workers_end_with_the_process_that_started_them(self, fresh_database: Database, home: Path) -> None:
        async with serving(fresh_database, home, "--workers", "2") as service:
            async with service.client() as client:
                assert (await client.get("/health")).status_code == 200
            service.process.kill()
            async with asyncio.timeout(30):
                while await answers(service.url):
                    await asyncio.sleep(0.1)

    async def test_a_name_that_it_listens_on_is_served(self, fresh_database: Database, home: Path) -> None:
        async with serving(fresh_database, home, "--host", "localhost") as service, service.client() as client:
            assert service.url.startswith("http://localhost:")
            assert (await client.get("/health")).status_code == 200
            assert (await client.get("/health", headers={"Host": "evil.example"})).status_code == 421

    async def test_a_connection_that_brings_no_request_is_closed(self, fresh_database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(serve, "PATIENCE_SECONDS", 0.5)
        app = create_app(fresh_database.settings)
        server = uvicorn.Server(uvicorn.Config(app, port=0, http=serve.Connection, lifespan="off", log_config=None))
        serving_ = asyncio.create_task(server.serve())
        while not server.started:
            await asyncio.sleep(0.01)
        port = server.servers[0].sockets[0].getsockname()[1]
        head, unread = b"GET /health HTTP/1.1\r\nHost: 127.0.0.1\r\n", b"Transfer-Encoding: chunked\r\n\r\n"
        try:
            closed = await asyncio.gather(*(_is_closed(port, sent) for sent in (b"", head, head + b"\r\n" + head, head + unread)))
        finally:
            server.should_exit = server.force_exit = True
            await serving_
        assert closed == [True] * 4

    async def test_a_file_of_a_stranger_sets_nothing(self, fresh_database: Database, home: Path) -> None:
        (home.parent / ".env").write_text("SESSION_DB_OPEN_PROBES=1\n")
        async with (
            serving(fresh_database, home, "--workers", "2") as service,
            httpx.AsyncClient(base_url=service.url, timeout=30) as client,
        ):
            assert (await client.get("/ready")).status_code == 401


async def _is_closed(port: int, sent: bytes) -> bool:
    """Send this, and a little more again and again; say whether the connection is closed in time."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(sent)
    with suppress(TimeoutError):
        async with asyncio.timeout(10):
            with suppress(ConnectionError):
                while not reader.at_eof():
                    if sent:
                        writer.write(b"1\r\nx\r\n" if b"chunked" in sent else b"x")
                    with suppress(TimeoutError):
                        await asyncio.wait_for(reader.read(1000), 0.1)
            writer.close()
            return True
    writer.close()
    return False


class TestSignals:
    def test_one_that_python_ignored_still_ends_it_before_it_serves(self) -> None:
        before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
        try:
            ending = _Ending()
            ending.check()
            with pytest.raises(SystemExit, match="0"):
                signal.raise_signal(signal.SIGTERM)
            with pytest.raises(SystemExit, match="0"):
                ending.check()
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)


class TestTLS:
    @pytest.mark.skipif(shutil.which("openssl") is None, reason="openssl makes the certificate")
    async def test_it_serves_https_and_does_not_warn(self, fresh_database: Database, home: Path) -> None:
        certificate, key = home.parent / "cert.pem", home.parent / "key.pem"
        names = ["-subj", "/CN=localhost", "-addext", "subjectAltName=IP:127.0.0.1"]
        pair = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-keyout", str(key), "-out", str(certificate)]
        subprocess.run(["openssl", "req", "-x509", "-days", "1", *pair, *names], check=True, capture_output=True)
        options = ("--allow-remote", "--tls-cert", str(certificate), "--tls-key", str(key))
        async with serving(fresh_database, home, *options) as service:
            assert service.url.startswith("https://127.0.0.1:")
            trusted = ssl.create_default_context(cafile=certificate)
            async with httpx.AsyncClient(verify=trusted, timeout=30) as browser:
                answer = await browser.get(service.login_url)
            assert "; Secure" in answer.headers["set-cookie"]
            assert "without TLS" not in service.log.read_text()


class TestRefusals:
    @pytest.mark.parametrize(
        ("arguments", "named"),
        [
            (["--host", "192.0.2.1"], "--allow-remote"),
            (["--host", "192.0.2.1", "--allow-remote"], "192.0.2.1 port 0"),
            (["--tls-key", "key.pem"], "--tls-cert"),
            (["--tls-cert", "/nothing/cert.pem"], "/nothing/cert.pem"),
            (["--log-format", "xml"], "text or json"),
        ],
    )
    def test_what_cannot_be_is_an_error_with_the_remedy(
        self, fresh_database: Database, home: Path, arguments: list[str], named: str
    ) -> None:
        result = run("serve", "--port", "0", *arguments, "--json", env=environment(fresh_database, home))
        assert result.returncode == 2, result.stderr
        assert named in json.loads(result.stdout)["error"]["message"]
        assert not (home / "token").exists()

    def test_a_port_that_is_in_use_is_named(self, fresh_database: Database, home: Path) -> None:
        with socket.create_server(("127.0.0.1", 0)) as taken:
            port = taken.getsockname()[1]
            result = run("serve", "--port", str(port), env=environment(fresh_database, home))
        assert result.returncode == 2
        assert f"port {port}: Address already in use" in result.stderr
        assert "Traceback" not in result.stderr

    def test_a_database_that_is_away_is_a_short_error(self, home: Path) -> None:
        env = os.environ | {"SESSION_DB_URL": "postgresql://me:s3cret@127.0.0.1:1/x", "SESSION_DB_HOME": str(home)}
        result = run("serve", "--port", "0", env=env)
        assert result.returncode == 5
        assert "cannot be reached" in result.stderr
        assert "s3cret" not in result.stderr

    async def test_beyond_loopback_without_tls_it_warns(self, fresh_database: Database, home: Path) -> None:
        async with serving(fresh_database, home, "--allow-remote") as service:
            assert "without TLS" in service.log.read_text()


class TestTokenFile:
    async def test_the_first_start_makes_it_for_its_owner_alone(self, fresh_database: Database, home: Path) -> None:
        async with serving(fresh_database, home) as service:
            assert service.token_file == home / "token"
            assert stat.S_IMODE(service.token_file.stat().st_mode) == 0o600
            async with service.client() as client:
                assert (await client.get("/api/tokens")).json()["items"][0]["name"] == f"serve@{socket.gethostname()}"
            assert [path.name for path in home.iterdir()] == ["token"]

    async def test_the_next_start_keeps_it(self, fresh_database: Database, home: Path) -> None:
        async with serving(fresh_database, home) as service:
            before = service.token
        async with serving(fresh_database, home) as service:
            assert service.token == before
        assert len(await names_of_working_tokens()) == 1

    async def test_two_starts_at_once_agree_on_one(self, fresh_database: Database, home: Path) -> None:
        async with serving(fresh_database, home) as one, serving(fresh_database, home) as other:
            assert await works(one.token)
            async with other.client() as client:
                assert (await client.get("/api/tokens")).status_code == 200

    async def test_one_that_does_not_work_here_is_replaced_with_a_word(self, fresh_database: Database, home: Path) -> None:
        (home / "token").write_text("sdb_of_another_database\n")
        (home / "token").chmod(0o600)
        async with serving(fresh_database, home) as service:
            assert await works(service.token)
            assert "does not work in this database" in service.log.read_text()

    async def test_a_link_that_leads_nowhere_is_replaced_by_one(self, fresh_database: Database, home: Path) -> None:
        (home / "token").symlink_to(home.parent / "nowhere" / "token")
        async with serving(fresh_database, home) as service:
            assert await works(service.token)
            assert not service.token_file.is_symlink()
        assert len(await names_of_working_tokens()) == 1

    async def test_one_that_others_can_read_is_closed_to_them_with_a_word(self, fresh_database: Database, home: Path) -> None:
        async with serving(fresh_database, home) as service:
            before = service.token
        service.token_file.chmod(0o644)
        async with serving(fresh_database, home) as service:
            assert service.token == before
            assert stat.S_IMODE(service.token_file.stat().st_mode) == 0o600
            assert "Others could read" in service.log.read_text()


class TestLogin:
    async def test_the_link_of_the_start_logs_a_browser_in_once(self, fresh_database: Database, home: Path) -> None:
        async with serving(fresh_database, home) as service, httpx.AsyncClient(timeout=30) as browser:
            assert (await browser.get(service.login_url)).status_code == 200
            assert (await browser.get(f"{service.url}/api/sessions")).status_code == 200
            assert (await browser.get(service.login_url)).status_code == 401

    async def test_the_command_asks_for_another_one(self, fresh_database: Database, home: Path) -> None:
        async with serving(fresh_database, home) as service, httpx.AsyncClient(timeout=30) as browser:
            env = environment(fresh_database, home)
            result = await asyncio.to_thread(run, "login", "--url", service.url, env=env)
            assert result.returncode == 0, result.stderr
            (link,) = result.stdout.splitlines()
            assert (await browser.get(link)).status_code == 200
            said: Any = json.loads((await asyncio.to_thread(run, "login", "--url", service.url, "--json", env=env)).stdout)
            assert set(said) == {"login_url", "expires_at"}
            wrong = await asyncio.to_thread(run, "login", "--url", service.url, env=env | {"SESSION_DB_TOKEN": "sdb_wrong"})
            assert wrong.returncode == 6
            assert "does not work" in wrong.stderr

    @pytest.mark.parametrize(("url", "code"), [("http://127.0.0.1:1", 5), ("file:///etc/passwd", 2)])
    def test_where_no_service_answers_it_says_what_to_do(self, home: Path, url: str, code: int) -> None:
        result = run("login", "--url", url, env=os.environ | {"SESSION_DB_HOME": str(home), "SESSION_DB_TOKEN": "sdb_x"})
        assert result.returncode == code
        assert url in result.stderr

    @pytest.mark.parametrize("text", ["sdb_s3cret\nX-Other: 1", "sdb_s3cret é", "  "])
    def test_a_token_that_cannot_be_sent_is_not_shown(self, home: Path, text: str) -> None:
        result = run("login", env=os.environ | {"SESSION_DB_HOME": str(home), "SESSION_DB_TOKEN": text})
        assert result.returncode == 6
        assert "SESSION_DB_TOKEN holds no token" in result.stderr
        assert "s3cret" not in result.stderr

    async def test_the_token_is_sent_to_no_proxy_and_to_no_other_place(self, home: Path) -> None:
        asked: list[bytes] = []

        async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            asked.append(await reader.readuntil(b"\r\n\r\n"))
            place = b"HTTP/1.1 302 Found\r\nLocation: /other\r\n" if b"/moves/" in asked[-1] else b"HTTP/1.1 200 OK\r\n"
            writer.write(place + b"Content-Length: 2\r\nConnection: close\r\n\r\n[]")
            writer.close()

        async with await asyncio.start_server(answer, "127.0.0.1", 0) as server:
            url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
            env = os.environ | {"SESSION_DB_HOME": str(home), "SESSION_DB_TOKEN": "sdb_x", "http_proxy": url}
            proxied = await asyncio.to_thread(run, "login", "--url", "http://127.0.0.1:1", env=env)
            assert (proxied.returncode, asked) == (5, [])
            moved = await asyncio.to_thread(run, "login", "--url", f"{url}/moves", env=env)
            assert (moved.returncode, len(asked)) == (5, 1)
            other = await asyncio.to_thread(run, "login", "--url", url, env=env)
        assert other.returncode == 5
        assert "no service of session-db" in other.stderr

    def test_without_a_token_it_says_where_one_would_be(self, home: Path) -> None:
        result = run("login", env=os.environ | {"SESSION_DB_HOME": str(home)})
        assert result.returncode == 6
        assert "SESSION_DB_TOKEN" in result.stderr
