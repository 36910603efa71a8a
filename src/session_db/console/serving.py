"""Serving the console: one page under several paths, its assets, and its icon. None of them holds data, so none needs a token."""

import asyncio
import gzip
import hashlib
from pathlib import Path
from typing import NamedTuple

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Match, Route
from starlette.types import Scope

STATIC = Path(__file__).parent / "static"

PAGES = ("/", *(f"/{page}{rest}" for page in ("sessions", "search", "studio", "settings") for rest in ("", "/{rest:path}")))
"""Paths that the console's own page is given for: it reads its path itself."""

PROTECTING = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; font-src 'self'; "
    "connect-src 'self'; manifest-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
}
"""Headers of each answer: what an agent wrote may stand in the page, and must find nothing there that runs or sends it."""

_ASKED_AGAIN = "no-cache"
# The name of an asset has a hash of its content, so the content of a name never changes.
_KEPT = "public, max-age=31536000, immutable"

# The tables of a machine would say of some what its administrator installed.
_TYPES = {
    ".css": "text/css; charset=utf-8",
    ".html": "text/html; charset=utf-8",
    ".ico": "image/x-icon",
    ".js": "text/javascript; charset=utf-8",
    ".json": "application/json",
    ".map": "application/json",
    ".png": "image/png",
    ".svg": "image/svg+xml",
    ".txt": "text/plain; charset=utf-8",
    ".wasm": "application/wasm",
    ".webmanifest": "application/manifest+json",
    ".webp": "image/webp",
    ".woff2": "font/woff2",
}
_COMPRESSED = frozenset({".css", ".html", ".js", ".json", ".map", ".svg", ".txt", ".wasm", ".webmanifest"})


class _File(NamedTuple):
    """A file as it is sent: as it is, and compressed where that makes it smaller."""

    media_type: str
    etag: str
    content: bytes
    compressed: bytes | None


class Console:
    """The console's routes; each file is read once, and again when it was built anew."""

    def __init__(self, static: Path = STATIC) -> None:
        self._static = static
        self._files: dict[Path, tuple[tuple[int, int], _File]] = {}
        self.routes: list[BaseRoute] = [
            *(Route(path, self._page, methods=["GET"], include_in_schema=False) for path in PAGES),
            Route("/assets/{name}", self._asset, methods=["GET"], include_in_schema=False),
            Route("/favicon.svg", self._icon, methods=["GET"], include_in_schema=False),
        ]

    def is_asked(self, scope: Scope) -> bool:
        """Say whether a request is answered by one of these routes."""
        return scope["type"] == "http" and any(route.matches(scope)[0] is Match.FULL for route in self.routes)

    async def _page(self, request: Request) -> Response:
        return await self._answer(request, self._static / "index.html", _ASKED_AGAIN)

    async def _icon(self, request: Request) -> Response:
        return await self._answer(request, self._static / "favicon.svg", _ASKED_AGAIN)

    async def _asset(self, request: Request) -> Response:
        return await self._answer(request, self._static / "assets" / request.path_params["name"], _KEPT)

    async def _answer(self, request: Request, path: Path, kept: str) -> Response:
        _refuse_mounted(request)
        file = await asyncio.to_thread(self._load, path)
        if file is None:
            raise _not_found(
                "the console is not built; run `make console`." if path.name == "index.html" else "the console has no such file."
            )
        headers = PROTECTING | {"Cache-Control": kept, "ETag": file.etag, "Vary": "Accept-Encoding"}
        if file.etag in request.headers.get("if-none-match", ""):
            return Response(status_code=304, headers=headers)
        content = file.content
        if file.compressed is not None and _takes_gzip(request.headers.get("accept-encoding", "")):
            content = file.compressed
            headers["Content-Encoding"] = "gzip"
        headers |= {"Content-Type": file.media_type, "Content-Length": str(len(content))}
        return Response(b"" if request.method == "HEAD" else content, headers=headers)

    def _load(self, path: Path) -> _File | None:
        """Return a file, or None where there is none of this name in its directory."""
        try:
            # A backslash, a NUL and a name such as `..` are names of no file that a build writes.
            if path.suffix not in _TYPES or "\\" in path.name or not path.is_file():
                return None
            state = path.stat()
            version = (state.st_mtime_ns, state.st_size)
            known = self._files.get(path)
            if known is None or known[0] != version:
                known = self._files[path] = (version, _read(path))
        except (OSError, ValueError):
            return None
        return known[1]


def _read(path: Path) -> _File:
    content = path.read_bytes()
    compressed = gzip.compress(content, mtime=0) if path.suffix in _COMPRESSED else content
    # Weak: it is the same for both ways of sending it.
    etag = f'W/"{hashlib.sha256(content).hexdigest()[:32]}"'
    return _File(_TYPES[path.suffix], etag, content, compressed if len(compressed) < len(content) else None)


def _refuse_mounted(request: Request) -> None:
    prefix = request.scope.get("root_path", "")
    if prefix:
        raise _not_found(
            f"the console works at the root of a host, and this service is mounted below {prefix}: "
            "run `session-db serve` on the same database for it. The API is here."
        )


def _not_found(detail: str) -> HTTPException:
    return HTTPException(404, detail, headers=PROTECTING)


def _takes_gzip(accepted: str) -> bool:
    for coding in accepted.lower().split(","):
        name, _, weight = coding.partition(";")
        if name.strip() == "gzip":
            return weight.replace(" ", "") not in {"q=0", "q=0.0", "q=0.00", "q=0.000"}
    return False
