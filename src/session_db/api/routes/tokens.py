"""Tokens: create, list, revoke."""

from typing import Annotated, Any
from uuid import UUID

from fastapi import APIRouter, Path
from pydantic import Field

from session_db.api.answers import PageOf, page
from session_db.api.dependencies import Cursor, Limit, found, needs
from session_db.api.errors import problems
from session_db.api.hook_tokens import HookTokens
from session_db.crud import tokens
from session_db.database import DatabaseSession
from session_db.models import TokenCreate, TokenRead
from session_db.settings import get_settings

router = APIRouter(prefix="/api/tokens", tags=["tokens"], dependencies=[needs("admin")])


class NewToken(TokenRead):
    """A token that was made, with its text."""

    token: str = Field(description="Its text: send it as `Authorization: Bearer …`. It is shown this once.")


@router.post("", status_code=201)
async def create_token(body: TokenCreate, db: DatabaseSession) -> NewToken:
    """Make a token. Its text is in this answer and nowhere else: only a hash of it is kept."""
    made = await tokens.create_token(db, body)
    return NewToken(**TokenRead.model_validate(made.token).model_dump(), token=made.text)


@router.get("", response_model=PageOf[TokenRead])
async def list_tokens(db: DatabaseSession, limit: Limit = 50, cursor: Cursor = None) -> dict[str, Any]:
    """List the tokens of programs and browsers, the newest first; revoked and expired ones, too."""
    return page(await tokens.list_tokens(db, limit=limit, cursor=cursor))


@router.delete("/{token_id}", status_code=204, responses=problems(404))
async def revoke_token(token_id: Annotated[UUID, Path(description="The token.")], db: DatabaseSession) -> None:
    """Revoke a token: from now on it does not work. One that was revoked stays as it is."""
    found(await tokens.revoke_token(db, token_id), "token", token_id)
    HookTokens(get_settings()).forget(token_id)
