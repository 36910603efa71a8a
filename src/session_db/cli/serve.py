"""The command ``serve``: the service on this machine."""

import asyncio
import functools
import ipaddress
import multiprocessing
import os
import signal
import socket
import ssl
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing.process import BaseProcess
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated, Any

import typer
import uvicorn
from fastapi import FastAPI
from uvicorn.protocols.http.h11_impl import H11Protocol
from uvicorn.supervisors.multiprocess import Multiprocess

from session_db.api.hook_tokens import HookTokens
from session_db.api.logs import LogFormat, log_config
from session_db.api.metrics import DIRECTORY
from session_db.api.routes.login import make_login_link
from session_db.cli.inputs import JSON
from session_db.cli.output import messages_console, print_json
from session_db.cli.running import fail, run
from session_db.cli.token_file import have_token
from session_db.database import in_transaction, init_db
from session_db.database.violations import DRIVER_ERRORS
from session_db.errors import InvalidInput, Unavailable
from session_db.server import create_app
from session_db.settings import Settings, get_settings, token_file

GRACE_SECONDS = 10
"""How long requests in flight may take to be finished when the service ends, and readers that take nothing hold it up."""

SILENCE_MILLISECONDS = 60_000
"""How long the other end of a connection may leave what is sent to it unconfirmed before the system drops it."""

START_SECONDS = 30
"""How long a worker may take to come up, on a machine that is busy, before another one is started in its place."""

BACKLOG = 2048

PATIENCE_SECONDS = 30
"""How long a connection may bring no request, at least; twice that at most."""


def add_to(app: typer.Typer) -> None:
    """Add the command to the command line."""
    app.command()(serve)


@dataclass(frozen=True)
class _TLS:
    """Files of a certificate and its key."""

    certificate: Path
    key: Path | None


def serve(  # noqa: PLR0913, PLR0917  each is an option
    host: Annotated[str, typer.Option(help="Address or name to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="Port to listen on; 0: any that is free.")] = 8765,
    workers: Annotated[int, typer.Option(min=1, max=256, help="Processes that answer.")] = 1,
    allow_remote: Annotated[bool, typer.Option("--allow-remote", help="Listen on an address that other machines reach.")] = False,  # noqa: FBT002
    tls_cert: Annotated[Path | None, typer.Option(help="File with the certificate (PEM), for https.")] = None,
    tls_key: Annotated[Path | None, typer.Option(help="File with its key, where it is not in the same file.")] = None,
    log_format: Annotated[str | None, typer.Option(help="text or json.", show_default="text on a terminal, else json")] = None,
    as_json: JSON = False,  # noqa: FBT002  a command-line flag
) -> None:
    """Run the service: REST and live streams, until Ctrl-C or SIGTERM."""
    ending = _Ending()
    try:
        format_ = _format(log_format)
        tls = _tls(tls_cert, tls_key)
        listener = _listen(host, port, allow_remote=allow_remote)
    except InvalidInput as error:
        fail(error, as_json=as_json)
    if hasattr(socket, "TCP_USER_TIMEOUT"):
        # Connections have it from their listener. Without it one that is closed waits for ever for a reader that takes nothing.
        listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, SILENCE_MILLISECONDS)
    with listener:
        url = _url(host, listener, tls)
        login_path = run(_prepare, as_json=as_json, needs_tables=False)
        settings = get_settings()
        if allow_remote and tls is None:
            messages_console().print("[bold yellow]Warning:[/] without TLS everybody on the way can read tokens and sessions.")
        _announce(url, login_path, token_file(settings), as_json=as_json)
        _serve(listener, _config(settings, host, workers, tls, format_), ending)


class _Ending:
    """Lets both signals end the process well before it serves."""

    def __init__(self) -> None:
        self._is_asked = False
        _handle_signals(self._end)

    def _end(self, *_: Any) -> None:
        # Kept as well: what is raised while Python collects garbage, it ignores.
        self._is_asked = True
        sys.exit(0)

    def check(self) -> None:
        """End now, if somebody asked for it; call it when the server has the signals."""
        if self._is_asked:
            sys.exit(0)


def _handle_signals(handler: Any) -> None:
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, handler)


def _format(wanted: str | None) -> LogFormat:
    if wanted is None:
        return "text" if sys.stderr.isatty() else "json"
    if wanted not in ("text", "json"):
        raise InvalidInput(f"there is no log format {wanted!r}; use text or json.", log_format=wanted)
    return "text" if wanted == "text" else "json"


def _tls(certificate: Path | None, key: Path | None) -> _TLS | None:
    if certificate is None:
        if key is not None:
            raise InvalidInput("--tls-key is given without --tls-cert; give both.")
        return None
    try:
        ssl.create_default_context(ssl.Purpose.CLIENT_AUTH).load_cert_chain(certificate, key)
    except OSError as error:
        raise InvalidInput(f"--tls-cert {certificate} and its key cannot be used: {error.strerror or error}.") from error
    return _TLS(certificate, key)


def _listen(host: str, port: int, *, allow_remote: bool) -> socket.socket:
    """Return a socket that listens; who connects before the service is there waits for it.

    Raises:
        InvalidInput: the address cannot be listened on, or other machines reach it and nobody said that they may.
    """
    try:
        # IPv4 first: that is where clients look for localhost.
        family, address = min((found[0], found[4]) for found in socket.getaddrinfo(host, port, type=socket.SOCK_STREAM))
        if not ipaddress.ip_address(address[0]).is_loopback and not allow_remote:
            raise InvalidInput(
                f"{host} is reached by other machines; say that you mean it with --allow-remote, and use TLS: --tls-cert, or a proxy.",
                host=host,
            )
        return socket.create_server(address[:2], family=family, backlog=BACKLOG)
    except OSError as error:
        raise InvalidInput(f"cannot listen on {host} port {port}: {error.strerror}. Use another --port (0: any), or --host.") from error


def _url(host: str, listener: socket.socket, tls: _TLS | None) -> str:
    """Return where a browser on this machine finds the service."""
    address, port = listener.getsockname()[:2]
    shown = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(address, host)  # noqa: S104  nothing is bound here
    return f"{'https' if tls else 'http'}://{f'[{shown}]' if ':' in shown else shown}:{port}"


async def _prepare() -> str | None:
    """Have the tables and a token, and return the path of a login link; None where events are taken until the database is back."""
    try:
        await init_db()
        token = await have_token(get_settings())
        return (await in_transaction(lambda db: make_login_link(db, token))).url_path
    except (Unavailable, *DRIVER_ERRORS) as error:
        # Where nobody is known who sends some, it is rather a slip in the settings.
        if not HookTokens(get_settings()).has_any():
            raise
        text = f"The database is away, so only events of hooks are taken until it is back: {error}"
        messages_console().print(text, soft_wrap=True, markup=False)
        return None


def _announce(url: str, login_path: str | None, path: Path, *, as_json: bool) -> None:
    login_url = login_path and url + login_path
    if as_json:
        print_json({"url": url, "login_url": login_url, "token_file": str(path), "pid": os.getpid()})
    else:
        login = [f"Log in with a browser (once, within 10 minutes): {login_url}"] if login_url else []
        print("\n".join([f"session-db serves {url}", *login, f"Token: {path}"]))  # noqa: T201  it is what a command is for
    sys.stdout.flush()


def _config(settings: Settings, host: str, workers: int, tls: _TLS | None, log_format: LogFormat) -> uvicorn.Config:
    hosts = f"{settings.allowed_hosts},{host}"
    return uvicorn.Config(
        # A worker is given our settings: it would else read a .env of the directory it is run in.
        functools.partial(_app, settings.model_copy(update={"allowed_hosts": hosts})),
        factory=True,
        workers=workers,
        log_config=log_config(log_format),
        http=Connection,
        access_log=False,
        server_header=False,
        ws_max_size=settings.max_body_bytes,
        timeout_graceful_shutdown=GRACE_SECONDS,
        timeout_worker_healthcheck=START_SECONDS,
        ssl_certfile=tls.certificate if tls else None,
        ssl_keyfile=tls.key if tls else None,
    )


class Connection(H11Protocol):
    """A connection of HTTP/1.1; one that brings no whole request is closed in the end, so that who sends none uses up no connections."""

    _look: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._look_after(None)

    def connection_lost(self, exc: Exception | None) -> None:
        super().connection_lost(exc)
        self._look_away()

    def handle_websocket_upgrade(self, event: Any) -> None:
        self._look_away()
        super().handle_websocket_upgrade(event)

    def _look_after(self, before: tuple[Any, bool] | None) -> None:
        """Close it, if since the last look it waits for the same request."""
        state = (self.cycle, self.cycle is None or self.cycle.response_complete)
        if state == before and state[1]:
            self.transport.close()
        else:
            self._look = self.loop.call_later(PATIENCE_SECONDS, self._look_after, state)

    def _look_away(self) -> None:
        if self._look is not None:
            self._look.cancel()


def _app(settings: Settings) -> FastAPI:
    """Make the application; a worker of several ends when the process that started it is killed, or it would keep the port."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        threading.Thread(target=_end_after, args=(parent,), daemon=True).start()
    return create_app(settings)


def _end_after(parent: BaseProcess) -> None:
    parent.join()
    os.kill(os.getpid(), signal.SIGTERM)


def _serve(listener: socket.socket, config: uvicorn.Config, ending: _Ending) -> None:
    if config.workers == 1:
        server = uvicorn.Server(config)
        # It takes the signals when it runs, and raises them again in the end; its own handler makes nothing of that.
        _handle_signals(server.handle_exit)
        ending.check()
        server.run([listener])
        return
    with _metrics_of_workers():
        supervisor = Multiprocess(config, [listener])
        ending.check()
        supervisor.run()


@contextmanager
def _metrics_of_workers() -> Iterator[None]:
    """Name a directory in which workers leave what they count."""
    if DIRECTORY in os.environ:
        yield
        return
    with TemporaryDirectory(prefix="session-db-metrics-") as directory:
        os.environ[DIRECTORY] = directory
        yield
