"""The gate: what every request passes before any route. Who sends it, from where, and how much."""

import ipaddress
from collections.abc import Callable
from urllib.parse import urlsplit

from starlette.datastructures import Headers
from starlette.exceptions import HTTPException
from starlette.requests import HTTPConnection
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from session_db.api.errors import answer_to
from session_db.api.hook_tokens import HookTokens
from session_db.capture.hook_entries import ROUTE
from session_db.crud.tokens import get_valid_token, is_valid, note_use
from session_db.database import get_async_session
from session_db.database.violations import DRIVER_ERRORS
from session_db.errors import Forbidden, SessionDBError, Unauthorized
from session_db.models import Token
from session_db.settings import Settings
from session_db.workspace.places import serving

COOKIE = "session_db_token"
OPEN = frozenset({"/health", "/login"})
"""Paths that need no token: a probe, and the link that gives one."""
PROBES = frozenset({"/ready", "/metrics"})
"""Paths that need none where `SESSION_DB_OPEN_PROBES` says so."""

_DIGITS = 20
_SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})


class Gate:
    """ASGI middleware: refuses what may not come in, and leaves the caller's token in the state of the request."""

    def __init__(self, app: ASGIApp, settings: Settings, is_public: Callable[[Scope], bool] = lambda _: False) -> None:
        """Make the gate of a service.

        Args:
            app: what is behind it.
            settings: of this process.
            is_public: says of a request's scope that it asks for something that everybody may have.
        """
        self._app = app
        self._is_public = is_public
        self._hosts = frozenset(host.strip().lower() for host in settings.allowed_hosts.split(",")) - {""}
        self._max_body = settings.max_body_bytes
        self._open = OPEN | PROBES if settings.open_probes else OPEN
        self._hook_tokens = HookTokens(settings)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
            return
        connection = HTTPConnection(scope)
        try:
            self._check_host(connection.headers)
            self._check_length(connection.headers)
            await self._admit(connection)
        except Exception as error:  # noqa: BLE001  whatever it is, the caller gets a problem document and the log the rest
            await _refuse(connection, error, receive, send)
            return
        before = serving.set(True)
        try:
            await self._app(scope, self._limited(receive), send)
        finally:
            serving.reset(before)

    def _check_host(self, headers: Headers) -> None:
        """Refuse a name that is not ours: a page may point its own at this machine. An address cannot be pointed elsewhere."""
        host = _host_of(headers.get("host", ""))
        if host not in self._hosts and "*" not in self._hosts and not _is_address(host):
            raise HTTPException(421, f"host {host!r} is none of this service; set SESSION_DB_ALLOWED_HOSTS to its names.")

    def _check_length(self, headers: Headers) -> None:
        length = headers.get("content-length", "0")
        # A length of so many digits is none that Python would read.
        if length.isascii() and length.isdigit() and (len(length) > _DIGITS or int(length) > self._max_body):
            raise self._too_large()

    def _limited(self, receive: Receive) -> Receive:
        received = 0

        async def receive_limited() -> Message:
            nonlocal received
            message = await receive()
            received += len(message.get("body", b"")) if message["type"] == "http.request" else 0
            if received > self._max_body:
                raise self._too_large()
            return message

        return receive_limited

    def _too_large(self) -> HTTPException:
        return HTTPException(413, f"the body is larger than {self._max_body} bytes; send less at once, or raise SESSION_DB_MAX_BODY_BYTES.")

    async def _admit(self, connection: HTTPConnection) -> None:
        path = connection.scope["path"].removeprefix(connection.scope.get("root_path", ""))
        if path in self._open or self._is_public(connection.scope):
            return
        bearer = _bearer_of(connection.headers)
        # Each by itself: what another application of this host put into its own must not spoil ours.
        cookie = connection.cookies.get(COOKIE) or None
        token = await self._valid(path, bearer or cookie)
        if token is None:
            # Nobody guesses 256 random bits, so failures are not counted: one program behind an address would lock out all others.
            raise Unauthorized(
                "this token does not work (any more); make one with `session-db tokens create`."
                if bearer or cookie
                else "send a token: `Authorization: Bearer …`; `session-db tokens create` makes one."
            )
        if not bearer:
            _check_origin(connection)
        connection.scope.setdefault("state", {})["token"] = token

    async def _valid(self, path: str, text: str | None) -> Token | None:
        if text is None:
            return None
        return await (self._hook_tokens.valid(text, _look_up) if path == ROUTE else _look_up(text))


async def _look_up(text: str) -> Token | None:
    async with get_async_session() as db:
        token = await get_valid_token(db, text)
        if token is None or token.kind == "login":
            return None
        await note_use(db, token)
        return token


async def still_works(token: Token) -> bool:
    """Say whether a token that came in still does; where nobody can be asked it does."""
    try:
        async with get_async_session() as db:
            return await is_valid(db, token.id)
    except (SessionDBError, *DRIVER_ERRORS):
        return True


def _check_origin(connection: HTTPConnection) -> None:
    """Refuse what a page of another site sends with the cookie of this one: a change, or a WebSocket."""
    if connection.scope["type"] == "http" and connection.scope["method"] in _SAFE_METHODS:
        return
    origin = connection.headers.get("origin", "")
    scheme, _, host = origin.lower().partition("://")
    # A page that came without TLS may be anybody's. The other way round is a proxy that does not say that it has TLS.
    schemes = {"https"} if connection.scope.get("scheme") in {"https", "wss"} else {"http", "https"}
    if scheme not in schemes or host != connection.headers.get("host", "").lower():
        raise Forbidden(f"a page of {origin or 'an unknown site'} may not do this with the cookie of this one; send a token.")


def address_of(connection: HTTPConnection) -> str:
    """Return the caller's address, or ``unknown``: what a proxy is said to have passed on may be any text."""
    address = connection.client.host.partition("%")[0] if connection.client else ""
    return address if _is_address(address) else "unknown"


def _host_of(header: str) -> str:
    """Return the host of a Host header without its port, in lower case."""
    try:
        return (urlsplit(f"//{header}").hostname or "").lower()
    except ValueError:
        return header


def _is_address(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    # The name of an interface may follow one of IPv6, and be any text.
    return "%" not in host


def _bearer_of(headers: Headers) -> str | None:
    scheme, _, text = headers.get("authorization", "").partition(" ")
    return text.strip() or None if scheme.lower() == "bearer" else None


async def _refuse(connection: HTTPConnection, error: Exception, receive: Receive, send: Send) -> None:
    """Send the problem document; a WebSocket gets it in place of the handshake where the server can do that, else a close."""
    if connection.scope["type"] == "http" or "websocket.http.response" in connection.scope.get("extensions", {}):
        await answer_to(connection, error)(connection.scope, receive, send)
    else:
        await send({"type": "websocket.close", "code": 1008, "reason": "policy violation"})
