"""Observing: what every request passes first and last. It gets an id, headers that protect, a line in the log, and is counted."""

import logging
import re
import time
from urllib.parse import quote

from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import HTTPConnection
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from session_db.api.errors import answer_to
from session_db.api.gate import address_of
from session_db.api.logs import REQUEST_ID
from session_db.api.metrics import Metrics
from session_db.ids import new_id

logger = logging.getLogger("session_db.access")

_SANE_ID = re.compile(r"[A-Za-z0-9._-]{1,128}")
_UNANSWERED = 499
"""What the log says where the caller went away before the answer began."""

_PROTECTING = {
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    # Cookies know no port: a page of another service on this host would else embed what ours gets.
    "Cross-Origin-Resource-Policy": "same-origin",
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
}
"""A route that sends one of them itself knows better."""

_STARTS = ("http.response.start", "websocket.http.response.start")
_BODIES = ("http.response.body", "websocket.http.response.body")


class Observing:
    """ASGI middleware, the outermost: whatever is inside, the caller gets an answer, and the log a line."""

    def __init__(self, app: ASGIApp, metrics: Metrics) -> None:
        self._app = app
        self._metrics = metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
            return
        request = _Request(scope, send, self._metrics)
        token = REQUEST_ID.set(request.id)
        try:
            with self._metrics.counting():
                await self._app(scope, receive, request.send)
        except Exception as error:
            if request.status is not None or scope["type"] != "http":
                raise
            await answer_to(HTTPConnection(scope), error)(scope, receive, request.send)
        finally:
            request.end()
            REQUEST_ID.reset(token)


class _Request:
    """A request, a stream or a WebSocket, from its begin to its end."""

    def __init__(self, scope: Scope, send: Send, metrics: Metrics) -> None:
        self._scope = scope
        self._send = send
        self._metrics = metrics
        self._began = time.perf_counter()
        self._answered: float | None = None
        self._bytes = 0
        self._is_open_stream = False
        self.status: int | None = None
        given = Headers(scope=scope).get("x-request-id", "")
        self.id = given if _SANE_ID.fullmatch(given) else new_id().hex
        scope.setdefault("state", {})["request_id"] = self.id

    async def send(self, message: Message) -> None:
        if message["type"] in _STARTS:
            self._begin_answer(message["status"])
            self._add_headers(MutableHeaders(scope=message))
        elif message["type"] == "websocket.accept":
            self._begin_answer(101)
            message.setdefault("headers", [])
            MutableHeaders(scope=message)["X-Request-ID"] = self.id
            self._open_stream()
        elif message["type"] in _BODIES:
            self._bytes += len(message.get("body", b""))
        elif message["type"] == "websocket.send":
            self._bytes += len(message.get("bytes") or (message.get("text") or "").encode())
        elif message["type"] == "websocket.close" and self.status is None:
            # Nothing but this status can a server answer to a handshake that is refused so.
            self._begin_answer(403)
        await self._send(message)

    def _begin_answer(self, status: int) -> None:
        self.status = status
        self._answered = time.perf_counter()

    def _add_headers(self, headers: MutableHeaders) -> None:
        headers["X-Request-ID"] = self.id
        for name, value in _PROTECTING.items():
            headers.setdefault(name, value)
        if self._path.startswith("/api"):
            headers.setdefault("Cache-Control", "no-store")
        if headers.get("content-type", "").startswith("text/event-stream"):
            self._open_stream()

    def _open_stream(self) -> None:
        self._is_open_stream = True
        self._metrics.opened(1)

    @property
    def _path(self) -> str:
        path: str = self._scope["path"]
        return path.removeprefix(self._scope.get("root_path", ""))

    def end(self) -> None:
        """Count it, and write its line."""
        if self._is_open_stream:
            self._metrics.opened(-1)
        status, ended = self.status or _UNANSWERED, time.perf_counter()
        method = self._scope.get("method", "WEBSOCKET")
        route = getattr(self._scope.get("route"), "path", "none")
        self._metrics.answered(route, method, status, (self._answered or ended) - self._began)
        token = self._scope["state"].get("token")
        facts = {
            "method": method,
            # As it was sent: without the query, which may hold a secret, and without characters that end a line.
            "path": quote(self._scope["path"]),
            "status": status,
            "duration_ms": round((ended - self._began) * 1000, 1),
            "bytes": self._bytes,
            "client": address_of(HTTPConnection(self._scope)),
            "token": str(token.id) if token is not None else "-",
        }
        logger.info("%(method)s %(path)s %(status)s %(duration_ms)s ms %(bytes)s B %(client)s token %(token)s", facts, extra=facts)
