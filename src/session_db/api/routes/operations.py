"""Operations: whether the service lives, whether it can work, and what it counts."""

import asyncio
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Request, Response, Security
from fastapi.security import SecurityScopes
from pydantic import BaseModel, Field
from starlette.exceptions import HTTPException

from session_db.api.dependencies import bearer, caller, cookie
from session_db.api.errors import RETRY_AFTER_SECONDS
from session_db.api.metrics import pool_state
from session_db.database import current_revision, head
from session_db.database.violations import DRIVER_ERRORS
from session_db.errors import Unavailable
from session_db.live import get_hub
from session_db.settings import get_settings

DATABASE_SECONDS = 2.0
"""How long a probe waits for the database."""

router = APIRouter(tags=["operations"])


def may_probe(
    request: Request, scopes: SecurityScopes, by_header: Annotated[Any, Security(bearer)], by_cookie: Annotated[Any, Security(cookie)]
) -> None:
    """Ask for a token, unless the settings open the probes."""
    if not get_settings().open_probes:
        caller(request, scopes, by_header, by_cookie)


class Health(BaseModel):
    """The process answers."""

    status: Literal["ok"] = "ok"


class Pool(BaseModel):
    """Connections of one worker to the database."""

    in_use: int
    idle: int


class Readiness(BaseModel):
    """The service can work."""

    status: Literal["ready"] = "ready"
    revision: str = Field(description="Revision of the tables.", examples=["0001"])
    streams: Literal["listening", "polling"] = Field(description="How live streams hear of changes: at once, or each second.")
    pool: Pool


@router.get("/health")
async def get_health() -> Health:
    """Say that the process answers; nothing else is looked at."""
    return Health()


@router.get("/ready", dependencies=[Security(may_probe, scopes=["read"])])
async def get_readiness() -> Readiness:
    """Say whether the service can work: the database answers within two seconds, and its tables are up to date."""
    revision = await _revision()
    if revision != head():
        state = "there are no tables" if revision is None else f"the tables are of revision {revision}, this version needs {head()}"
        raise _not_ready(f"{state}; run `session-db init`.")
    return Readiness(revision=revision, streams=get_hub().mode, pool=Pool(**pool_state()))


async def _revision() -> str | None:
    try:
        async with asyncio.timeout(DATABASE_SECONDS):
            return await current_revision()
    except TimeoutError:
        raise _not_ready(f"the database did not answer within {DATABASE_SECONDS:g} s.") from None
    except (Unavailable, *DRIVER_ERRORS):
        # What the driver says may hold a host or a statement.
        raise _not_ready("the database cannot be reached; the service's log says more.") from None


def _not_ready(detail: str) -> HTTPException:
    return HTTPException(503, detail, {"Retry-After": str(RETRY_AFTER_SECONDS)})


@router.get(
    "/metrics",
    response_class=Response,
    responses={200: {"content": {"text/plain": {"schema": {"type": "string"}}}, "description": "Metrics as text."}},
    dependencies=[Security(may_probe, scopes=["read"])],
)
async def get_metrics(request: Request) -> Response:
    """Give what the service counts, as Prometheus reads it."""
    return Response(request.app.state.metrics.text(), media_type="text/plain; version=0.0.4")
