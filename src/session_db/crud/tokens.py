"""Tokens: made, found by their text, listed, used up and revoked."""

import hashlib
import hmac
import re
import secrets
from datetime import datetime, timedelta
from typing import Any, NamedTuple
from uuid import UUID

from sqlalchemy import delete, func, or_, select, update
from sqlalchemy.ext.asyncio import AsyncSession
from sqlmodel import col

from session_db.crud.paging import Page, checked_limit, decode_cursor, read_page
from session_db.crud.rows import add, all_of, one_or_none, run
from session_db.errors import InvalidInput
from session_db.models import Token, TokenCreate
from session_db.models.table import now
from session_db.models.tokens import TokenKind

PREFIX = "sdb_"
"""How the text of every token begins, so that people and scanners for secrets know one."""

USED_AGAIN = timedelta(minutes=1)
"""How often at most the time of use is written."""

ENDED = 1_000
"""Tokens that ended, and are counted or deleted at a time."""

_TEXT = re.compile(PREFIX + r"([0-9a-f]{32})_([\w-]{43})", re.ASCII)


class MadeToken(NamedTuple):
    """A token and its text, which is kept nowhere."""

    token: Token
    text: str


async def create_token(db: AsyncSession, token_data: TokenCreate, *, kind: TokenKind = "api") -> MadeToken:
    """Make a token. Only the hash of its secret is stored, so nobody can tell its text again.

    Raises:
        InvalidInput: it would have expired already, or is for a login and would never expire.
    """
    expires_at = token_data.expires_at
    if expires_at is not None and expires_at <= now():
        raise InvalidInput(f"expires_at: {expires_at.isoformat()} is past; give a later moment, or none.", expires_at=expires_at)
    if expires_at is None and kind == "login":
        raise InvalidInput("expires_at: a token for a login needs one.", expires_at=expires_at)
    secret = secrets.token_urlsafe(32)
    token = Token(**token_data.model_dump(), kind=kind, hash=_hash(secret))
    await add(db, token, token_id=token.id)
    return MadeToken(token, f"{PREFIX}{token.id.hex}_{secret}")


async def get_valid_token(db: AsyncSession, text: str) -> Token | None:
    """Return the token with this text, or None where there is none, or none that works any more."""
    token_id = token_id_of(text)
    if token_id is None:
        return None
    query = select(Token).where(col(Token.id) == token_id, col(Token.revoked_at).is_(None))
    token: Token | None = await one_or_none(db, query)
    return token if token is not None and is_text_of(token, text) else None


def token_id_of(text: str) -> UUID | None:
    """Return the id that a token's text begins with, or None where the text is none of a token."""
    parts = _TEXT.fullmatch(text)
    return None if parts is None else UUID(parts[1])


def is_text_of(token: Token, text: str) -> bool:
    """Say whether a text is that of a token which has not expired."""
    parts = _TEXT.fullmatch(text)
    if parts is None or (token.expires_at is not None and token.expires_at <= now()):
        return False
    return hmac.compare_digest(token.hash, _hash(parts[2]))


async def is_valid(db: AsyncSession, token_id: UUID) -> bool:
    """Say whether a token works (still)."""
    has_not_ended = or_(col(Token.expires_at).is_(None), col(Token.expires_at) > now())
    works = select(col(Token.id)).where(col(Token.id) == token_id, col(Token.revoked_at).is_(None), has_not_ended)
    return await one_or_none(db, works) is not None


async def note_use(db: AsyncSession, token: Token) -> None:
    """Note that the token was used now, once a minute at most."""
    moment = now()
    if token.last_used_at is not None and token.last_used_at > moment - USED_AGAIN:
        return
    # Another process may have noted it meanwhile.
    is_due = or_(col(Token.last_used_at).is_(None), col(Token.last_used_at) <= moment - USED_AGAIN)
    used = update(Token).where(col(Token.id) == token.id, is_due).values(last_used_at=moment)
    await run(db, used.execution_options(synchronize_session=False))


async def list_tokens(db: AsyncSession, *, limit: int = 50, cursor: str | None = None) -> Page[Token]:
    """Return the tokens of programs and browsers, the newest first; those that work no more, too."""
    checked_limit(limit)
    query = select(Token)
    if cursor is not None:
        query = query.where(col(Token.id) < decode_cursor(cursor, UUID)[0])
    return await read_page(db, query, col(Token.id), limit=limit, filters=[col(Token.kind) != "login"], descending=True)


async def list_ending_tokens(db: AsyncSession, *, before: datetime, limit: int = 50) -> list[Token]:
    """Return the tokens of programs that work now and will not any more at a moment, the first to end first."""
    ending = select(Token).where(*_works(), col(Token.expires_at) <= before)
    return await all_of(db, ending.order_by(col(Token.expires_at), col(Token.id)).limit(limit))


async def list_unused_tokens(db: AsyncSession, *, made_before: datetime, limit: int = 50) -> list[Token]:
    """Return the tokens of programs that work, were made before a moment, and were never used; the first made first."""
    unused = select(Token).where(*_works(), col(Token.last_used_at).is_(None), col(Token.created_at) < made_before)
    return await all_of(db, unused.order_by(col(Token.id)).limit(limit))


def _works() -> tuple[Any, ...]:
    has_not_ended = or_(col(Token.expires_at).is_(None), col(Token.expires_at) > now())
    return col(Token.kind) == "api", col(Token.revoked_at).is_(None), has_not_ended


async def count_ended_tokens(db: AsyncSession, *, before: datetime, at_most: int = ENDED) -> int:
    """Count the tokens, of programs, logins and browsers, that ended or were revoked before a moment; no further than ``at_most``."""
    ended = select(col(Token.id)).where(_ended(before)).limit(at_most).subquery()
    return await db.scalar(select(func.count()).select_from(ended)) or 0


async def delete_ended_tokens(db: AsyncSession, *, before: datetime) -> int:
    """Delete some of the tokens that ended or were revoked before a moment, and return how many; call it until it returns 0."""
    some = select(col(Token.id)).where(_ended(before)).limit(ENDED)
    deleted: Any = await db.execute(delete(Token).where(col(Token.id).in_(some)).execution_options(synchronize_session=False))
    return int(deleted.rowcount)


def _ended(before: datetime) -> Any:
    return or_(col(Token.expires_at) < before, col(Token.revoked_at) < before)


async def revoke_token(db: AsyncSession, token_id: UUID) -> Token | None:
    """End a token and return it, or None where there is none. One that was revoked stays as it is."""
    token: Token | None = await one_or_none(db, _end(token_id))
    return token or await one_or_none(db, select(Token).where(col(Token.id) == token_id))


async def use_login(db: AsyncSession, text: str) -> Token | None:
    """End the token of a login and return it, or None where it does not work (any more): of two requests at once one gets in."""
    token = await get_valid_token(db, text)
    if token is None or token.kind != "login":
        return None
    ended: Token | None = await one_or_none(db, _end(token.id, last_used_at=now()))
    return ended


def _end(token_id: UUID, **values: Any) -> Any:
    """Return the statement that revokes a token and gives it; it gives none where another one did that before."""
    ended = update(Token).where(col(Token.id) == token_id, col(Token.revoked_at).is_(None))
    return ended.values(revoked_at=now(), **values).returning(Token).execution_options(synchronize_session=False)


def _hash(secret: str) -> bytes:
    # A secret of 256 random bits cannot be guessed, so its hash may be a fast one.
    return hashlib.sha256(secret.encode()).digest()
