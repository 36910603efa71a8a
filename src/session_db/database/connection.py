"""The engine: one per event loop, on the configured PostgreSQL or the embedded one."""

import asyncio
import functools
import time
from collections.abc import AsyncGenerator
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Protocol, TypeVar

import asyncpg
from sqlalchemy import NullPool, event
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine

from session_db.database.url import connect_arguments, unreadable_url
from session_db.database.violations import POOLER_REMEDY
from session_db.errors import InvalidInput, Unavailable
from session_db.models.table import decode_json
from session_db.settings import Settings, get_settings

if TYPE_CHECKING:
    from session_db.database.embedded import EmbeddedServer


RECOVERY_SECONDS = 10
"""How long a connection waits for the embedded server to recover from a crash."""

_GONE = (
    ConnectionError,
    FileNotFoundError,
    asyncpg.AdminShutdownError,
    asyncpg.CannotConnectNowError,
    asyncpg.ConnectionDoesNotExistError,
    asyncpg.CrashShutdownError,
    asyncpg.InternalClientError,
)


class Closing(Protocol):
    """What ends with the connections of its event loop."""

    async def close(self) -> None:
        """End; the connections can still be used."""
        ...


Companion = TypeVar("Companion", bound=Closing)


class _Engines:
    by_loop: ClassVar[dict[asyncio.AbstractEventLoop, AsyncEngine]] = {}
    guards: ClassVar[dict[asyncio.AbstractEventLoop, AsyncGenerator[None]]] = {}
    companions: ClassVar[dict[asyncio.AbstractEventLoop, dict[type[Any], Any]]] = {}
    unbound: AsyncEngine | None = None

    @classmethod
    def forget_ended(cls) -> None:
        """Forget the loops that ended without a chance to close their connections; without their engines these are garbage."""
        for of_loops in (cls.by_loop, cls.guards, cls.companions):
            for ended in [loop for loop in list(of_loops) if loop.is_closed()]:
                of_loops.pop(ended, None)


def get_engine() -> AsyncEngine:
    """Return the engine of the running event loop, made at the first call; nothing is connected yet.

    Connections belong to the loop that opened them, so each loop has a pool of its own, which is closed when the loop ends. An engine
    asked for outside of a loop is the one of the loop that asks next.
    """
    try:
        loop = asyncio.get_running_loop()
    except RuntimeError:
        _Engines.unbound = _Engines.unbound or create_engine(get_settings())
        return _Engines.unbound
    engine = _Engines.by_loop.get(loop)
    if engine is None:
        _Engines.forget_ended()
        engine, _Engines.unbound = _Engines.unbound or create_engine(get_settings()), None
        _Engines.by_loop[loop] = engine
    return engine


async def close_db() -> None:
    """Close the connections of this event loop and give the embedded server back. The next use opens them anew."""
    loop = asyncio.get_running_loop()
    await _close_companions(loop)
    guard = _Engines.guards.pop(loop, None)
    engine = _Engines.by_loop.pop(loop, None) or _Engines.unbound
    _Engines.unbound = None
    if engine is not None:
        await engine.dispose()
    if guard is not None:
        await guard.aclose()
    if not _Engines.by_loop:
        settings = get_settings()
        if settings.url is None:
            embedded_server(settings.home).release()


def companion(kind: type[Companion]) -> Companion:
    """Return the one of this kind that the running event loop has, made at the first call; ``close_db`` closes it."""
    loop = asyncio.get_running_loop()
    if loop not in _Engines.companions:
        _Engines.forget_ended()
    companions = _Engines.companions.setdefault(loop, {})
    if kind not in companions:
        companions[kind] = kind()
    found: Companion = companions[kind]
    return found


async def _close_companions(loop: asyncio.AbstractEventLoop) -> None:
    for each in _Engines.companions.pop(loop, {}).values():
        await each.close()


async def _close_with_loop() -> AsyncGenerator[None]:
    """Close the connections of this loop when it ends: a loop closes the generators that are open in it."""
    loop = asyncio.get_running_loop()
    try:
        yield
    finally:
        await _close_companions(loop)
        _Engines.guards.pop(loop, None)
        engine = _Engines.by_loop.pop(loop, None)
        if engine is not None:
            await engine.dispose()


async def _guard_loop() -> None:
    loop = asyncio.get_running_loop()
    if loop in _Engines.by_loop and loop not in _Engines.guards:
        guard = _Engines.guards[loop] = _close_with_loop()
        await anext(guard)


def create_engine(settings: Settings, *, pooled: bool = True) -> AsyncEngine:
    """Make an engine; without a pool its statements may take as long as they need, as migrations do."""
    connect = functools.partial(_connect, settings, command_timeout=settings.command_timeout if pooled else None)
    pool: dict[str, Any] = {"poolclass": NullPool}
    if pooled:
        pool = {
            "pool_size": settings.pool_size,
            "max_overflow": settings.max_overflow,
            "pool_recycle": settings.pool_recycle,
            "pool_pre_ping": True,
        }
    options = {"async_creator": connect, "json_deserializer": decode_json, "echo": settings.echo}
    # The text of an error would hold what people wrote.
    engine = create_async_engine("postgresql+asyncpg://", hide_parameters=not settings.echo, **options, **pool)
    if settings.pooler is not None and settings.schema_name is not None:
        # A setting of the connection would be somebody else's next; one of the transaction ends with it.
        search_path = f'SET LOCAL search_path TO "{settings.schema_name}"'
        event.listen(engine.sync_engine, "begin", lambda connection: connection.exec_driver_sql(search_path))
    return engine


@functools.cache
def embedded_server(home: Path) -> "EmbeddedServer":
    """Return this process's handle of the embedded PostgreSQL below that directory; it is not started yet."""
    from session_db.database.embedded import EmbeddedServer  # noqa: PLC0415  with a server of their own many never need it

    return EmbeddedServer(home)


async def connect_to_listen() -> Any:
    """Open a connection of the bare driver that can hear notifications, at ``SESSION_DB_LISTEN_URL`` where that is set."""
    settings = get_settings()
    if settings.listen_url is None:
        return await _connect(settings, command_timeout=None)
    try:
        return await _connect(settings.model_copy(update={"url": settings.listen_url}), command_timeout=None)
    except (Unavailable, InvalidInput) as error:
        raise Unavailable(f"SESSION_DB_LISTEN_URL, read as if it were SESSION_DB_URL: {error}") from error


async def _connect(settings: Settings, *, command_timeout: float | None) -> Any:
    await _guard_loop()
    arguments = {"command_timeout": command_timeout, **_session_arguments(settings)}
    try:
        if settings.url is None:
            return await _connect_embedded(settings.home, arguments)
        return await asyncpg.connect(**arguments, **connect_arguments(settings.url.get_secret_value()))
    except asyncpg.ProtocolViolationError as error:
        # What PgBouncer answers to a setting in the first packet; a server of PostgreSQL takes them all.
        raise Unavailable(f"the pooler at SESSION_DB_URL refused the connection: {error}. {POOLER_REMEDY}") from error
    except (OSError, asyncpg.PostgresError, asyncpg.InterfaceError, asyncpg.TargetServerAttributeNotMatched) as error:
        reason = str(error) or "there was no answer in time"
        raise Unavailable(f"the database cannot be reached: {reason}. Is it running, and is SESSION_DB_URL right?") from error
    except (ValueError, IndexError):
        # What they say may quote a piece of the password.
        raise unreadable_url() from None


def _session_arguments(settings: Settings) -> dict[str, Any]:
    """Return what a connection is told for as long as it lives; a pooler, which has many of them, is told nothing."""
    server_settings = {"application_name": "session-db"}
    if settings.pooler is not None:
        return {"statement_cache_size": 0, "server_settings": server_settings}
    if settings.statement_cache_size:
        # A plan that is kept was made for whoever came first: for a table that was still empty, or for a session of three rows.
        server_settings["plan_cache_mode"] = "force_custom_plan"
    if settings.schema_name is not None:
        server_settings["search_path"] = f'"{settings.schema_name}"'
    return {"statement_cache_size": settings.statement_cache_size, "server_settings": server_settings}


async def _connect_embedded(home: Path, arguments: dict[str, Any]) -> Any:
    """Connect to the embedded server, which is asked for before every connection: after a crash the pool heals by itself."""
    server = embedded_server(home)
    deadline = time.monotonic() + RECOVERY_SECONDS
    while True:
        await asyncio.to_thread(server.acquire)
        try:
            return await asyncpg.connect(**arguments, **server.connect_arguments)
        except _GONE:
            # It was killed after it said that it runs, or it recovers from the kill of one of its processes.
            if time.monotonic() > deadline:
                raise
            await asyncio.sleep(0.05)
