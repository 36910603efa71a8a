"""The composition root: the service as an ASGI application."""

import asyncio
import logging
import signal
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from importlib.metadata import version
from types import FrameType
from typing import Any

from fastapi import Depends, FastAPI

from session_db.api.answers import JSONAnswer
from session_db.api.dependencies import refuse_unknown_parameters
from session_db.api.document import complete
from session_db.api.errors import add_error_handlers, problems
from session_db.api.gate import Gate
from session_db.api.metrics import Metrics
from session_db.api.observing import Observing
from session_db.api.routes import ROUTERS
from session_db.api.routes.login import Failures
from session_db.capture.drain import drain
from session_db.capture.reading import ReadReport, read_pending
from session_db.capture.reaping import Reaper
from session_db.console.serving import Console
from session_db.crud import erase_deleted_sessions
from session_db.crud.presence import delete_expired_presence
from session_db.crud.sdk_sessions import delete_old_tombstones
from session_db.crud.transcripts import get_missing
from session_db.database import close_db, get_async_session, init_db
from session_db.database.batches import in_batches
from session_db.database.violations import DRIVER_ERRORS
from session_db.doctor.examining import Examinations
from session_db.errors import Unavailable
from session_db.live import Hub, get_hub
from session_db.settings import Settings, get_settings, use_settings
from session_db.workspace.places import serving, workspace_roots
from session_db.workspace.writing import write_behind

DESCRIPTION = """
The PostgreSQL session database for AI agents, over HTTP.

Every request needs a token: `Authorization: Bearer …`. Lists answer `{items, next_cursor}`: send `cursor` to go on. Errors are problem
documents (RFC 9457) with `detail` for people and `code` for programs.
"""

TABLES_SECONDS = 1.0
LEASES_SECONDS = 15.0
ERASE_SECONDS = 5.0
LOOK_SECONDS = 5.0
DRAIN_SECONDS = 0.5
PENDING_SECONDS = 60.0
FOLDERS_SECONDS = 5.0
REAP_SECONDS = 60.0
"""Rests between the chores of the service."""

logger = logging.getLogger(__name__)


def create_app(settings: Settings | None = None) -> FastAPI:
    """Make the service, to be run or to be mounted in another application.

    A mounted application's lifespan is not run by its host: call ``init_db`` before and ``close_db`` after.

    Args:
        settings: the settings of this process; unset: those of the environment.
    """
    if settings is not None:
        use_settings(settings)
    console = Console()
    app = _Service(
        title="session-db",
        version=version("session-db"),
        description=DESCRIPTION,
        default_response_class=JSONAnswer,
        dependencies=[Depends(refuse_unknown_parameters)],
        redirect_slashes=False,
        docs_url=None,
        redoc_url=None,
        lifespan=_lifespan,
        responses=problems(400, 401, 403, 413, 421, 422, 429, 503),
        generate_unique_id_function=lambda route: route.name,
        # They come first: what the gate lets through as the console's is answered by the console.
        routes=console.routes,
    )
    for router in ROUTERS:
        app.include_router(router)
    add_error_handlers(app)
    app.state.failures = Failures()
    app.state.metrics = Metrics()
    app.state.examinations = Examinations()
    app.add_middleware(Gate, settings=get_settings(), is_public=console.is_asked)
    app.add_middleware(Observing, metrics=app.state.metrics)
    return app


class _Service(FastAPI):
    """The application with its whole OpenAPI document."""

    def openapi(self) -> dict[str, Any]:
        is_new = self.openapi_schema is None
        document: dict[str, Any] = super().openapi()
        return complete(document) if is_new else document


@asynccontextmanager
async def _lifespan(app: FastAPI) -> AsyncIterator[None]:
    try:
        await init_db()
    except (Unavailable, *DRIVER_ERRORS) as error:
        # A worker that is started anew while the database restarts must not end the others.
        logger.warning("starting without the database: %s", error)
    await get_hub().start()
    chores = asyncio.create_task(_do_chores(app.state.metrics), name="session-db chores")
    try:
        with _stopping_streams(get_hub()):
            yield
    finally:
        chores.cancel()
        await asyncio.gather(chores, return_exceptions=True)
        await close_db()


@contextmanager
def _stopping_streams(hub: Hub) -> Iterator[None]:
    """End the live streams when a signal ends the server: it waits for them before it tells the application that it ends."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def stop(number: int, frame: FrameType | None) -> None:
        hub.stop()
        before = handlers[signal.Signals(number)]
        if callable(before):
            before(number, frame)

    handlers = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    for number in handlers:
        signal.signal(number, stop)
    try:
        yield
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)


async def _do_chores(metrics: Metrics) -> None:
    """Do what has to be done now and then, in each worker: any number of them may."""
    serving.set(True)

    async def look() -> None:
        metrics.look()

    async def end_leases() -> None:
        await in_batches(delete_expired_presence)

    async def erase() -> None:
        if await in_batches(erase_deleted_sessions):
            await in_batches(delete_old_tombstones)

    async def drain_spool() -> None:
        await drain(get_settings())

    async def read_transcripts() -> None:
        await read_pending(get_settings(), ReadReport())
        async with get_async_session() as db:
            metrics.lacks(await get_missing(db))

    async def write_folders() -> None:
        await write_behind(workspace_roots(get_settings()))

    reaper = Reaper()

    async def reap_sessions() -> None:
        # What waits in the spool may tell that an agent goes on.
        await drain(get_settings())
        await reaper.reap(get_settings())

    await _keep(init_db, TABLES_SECONDS, once=True)
    await asyncio.gather(
        _keep(look, LOOK_SECONDS),
        _keep(end_leases, LEASES_SECONDS),
        _keep(erase, ERASE_SECONDS),
        _keep(drain_spool, DRAIN_SECONDS),
        _keep(read_transcripts, PENDING_SECONDS),
        _keep(reap_sessions, REAP_SECONDS),
        _keep(write_folders, FOLDERS_SECONDS),
    )


async def _keep(chore: Callable[[], Awaitable[None]], seconds: float, *, once: bool = False) -> None:
    """Do a chore again and again, or until it succeeds once; what fails is told once, and tried again."""
    is_failing = False
    while True:
        try:
            await chore()
        except Exception as error:
            if not is_failing:
                unexpected = not isinstance(error, (Unavailable, *DRIVER_ERRORS))
                logger.warning("%s failed, and is tried again: %s", chore.__name__, error, exc_info=unexpected)
            is_failing = True
        else:
            is_failing = False
            if once:
                return
        await asyncio.sleep(seconds)
