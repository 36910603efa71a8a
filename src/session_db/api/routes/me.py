"""Me: what the service knows of who asks."""

from datetime import datetime
from typing import Annotated

from fastapi import APIRouter, Request
from pydantic import BaseModel, Field

from session_db.api.dependencies import needs
from session_db.models import Token

router = APIRouter(tags=["login"])


class Me(BaseModel):
    """The token of a request, and the service that it is for."""

    name: str = Field(description="What the token is for.")
    kind: str = Field(description="api: a program's; browser: the cookie of a login.")
    scope: str = Field(description="read, write or admin.")
    expires_at: datetime | None = Field(description="When it ends to work; null: never.")
    version: str = Field(description="Version of the service.")


@router.get("/api/me")
async def get_me(request: Request, caller: Annotated[Token, needs("read")]) -> Me:
    """Say which token a request came with, what it may do, and which version answers."""
    return Me(name=caller.name, kind=caller.kind, scope=caller.scope, expires_at=caller.expires_at, version=request.app.version)
