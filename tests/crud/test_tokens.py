"""Tokens: made, found by their text, listed, used up and revoked."""

import asyncio
import hashlib
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

import pytest
from pydantic import ValidationError
from sqlalchemy import select, update
from sqlmodel import col

from session_db import crud
from session_db.crud.tokens import MadeToken, is_valid, note_use
from session_db.database import UnitOfWork, async_session, get_async_session
from session_db.errors import InvalidInput
from session_db.models import Token, TokenCreate, TokenRead
from session_db.models.tokens import SCOPES, TokenKind
from tests.databases import Database

LONG_AGO = datetime(2025, 1, 1, tzinfo=UTC)
HOSTILE = ["", "sdb_", "sdb__", "\ud800", "sdb_\x00_\x00", "sdb_" + "0" * 32, "sdb_" + "0" * 32 + "_" + "é" * 43, "s" * 1_000_000]


def in_minutes(minutes: float) -> datetime:
    return datetime.now(UTC) + timedelta(minutes=minutes)


async def make_token(db: UnitOfWork, kind: TokenKind = "api", **values: Any) -> MadeToken:
    if kind == "login":
        values = {"expires_at": in_minutes(10)} | values
    return await crud.create_token(db, TokenCreate.model_validate({"name": "laptop"} | values), kind=kind)


async def set_in_database(db: UnitOfWork, token: Token, **values: object) -> None:
    await db.execute(update(Token).where(col(Token.id) == token.id).values(**values).execution_options(synchronize_session=False))


class TestCreateToken:
    async def test_its_text_is_told_once_and_only_a_hash_is_stored(self, db: UnitOfWork) -> None:
        token, text = await make_token(db, name="laptop", scope="read")
        start, token_id, secret = text.split("_", 2)
        assert (start, token_id) == ("sdb", token.id.hex)
        assert token.hash == hashlib.sha256(secret.encode()).digest()
        assert len(secret) == 43
        assert (token.name, token.scope, token.kind, token.expires_at, token.last_used_at) == ("laptop", "read", "api", None, None)
        assert (await make_token(db)).text != text

    def test_what_is_shown_of_it_holds_no_secret(self) -> None:
        assert set(TokenRead.model_fields) == {"id", "name", "scope", "kind", "expires_at", "created_at", "last_used_at", "revoked_at"}

    @pytest.mark.parametrize("scope", SCOPES)
    @pytest.mark.parametrize("kind", ["api", "login", "browser"])
    async def test_it_has_the_scope_it_was_made_with(self, db: UnitOfWork, scope: str, kind: TokenKind) -> None:
        token, text = await make_token(db, kind, scope=scope)
        found = await crud.get_valid_token(db, text)
        assert found is token
        assert (token.scope, token.kind) == (scope, kind)

    @pytest.mark.parametrize("expires_at", [LONG_AGO, LONG_AGO.replace(tzinfo=None)])
    async def test_one_that_would_have_expired_is_refused(self, db: UnitOfWork, expires_at: datetime) -> None:
        with pytest.raises(InvalidInput, match=r"expires_at: 2025-01-01T00:00:00\+00:00 is past"):
            await make_token(db, expires_at=expires_at)

    async def test_a_login_that_would_never_expire_is_refused(self, db: UnitOfWork) -> None:
        with pytest.raises(InvalidInput, match="expires_at: a token for a login needs one"):
            await make_token(db, "login", expires_at=None)

    @pytest.mark.parametrize("values", [{"scope": "everything"}, {"name": ""}, {"name": "x" * 101}, {"name": "a\x00"}, {"hash": b""}])
    async def test_what_makes_no_token_is_refused(self, db: UnitOfWork, values: dict[str, Any]) -> None:
        with pytest.raises(ValidationError):
            await make_token(db, **values)


class TestGetValidToken:
    async def test_a_wrong_secret_and_one_of_another_token_are_none(self, db: UnitOfWork) -> None:
        token, text = await make_token(db)
        _, other = await make_token(db)
        for wrong in (text[:-1] + ("A" if text[-1] != "A" else "B"), text[:-1], text + "A", text.upper(), text.removeprefix("sdb_")):
            assert await crud.get_valid_token(db, wrong) is None
        assert await crud.get_valid_token(db, text[: -len(other.rpartition("_")[2])] + other[-43:]) is None
        assert await crud.get_valid_token(db, f"sdb_{uuid4().hex}_{text[-43:]}") is None
        assert await crud.get_valid_token(db, text) is token

    async def test_one_that_has_expired_is_none(self, db: UnitOfWork) -> None:
        token, text = await make_token(db, expires_at=in_minutes(10))
        assert await crud.get_valid_token(db, text) is token
        assert await is_valid(db, token.id)
        await set_in_database(db, token, expires_at=LONG_AGO)
        assert await crud.get_valid_token(db, text) is None
        assert not await is_valid(db, token.id)

    async def test_one_that_was_revoked_is_none(self, db: UnitOfWork) -> None:
        token, text = await make_token(db)
        assert await is_valid(db, token.id)
        await crud.revoke_token(db, token.id)
        assert await crud.get_valid_token(db, text) is None
        assert not await is_valid(db, token.id)
        assert not await is_valid(db, uuid4())

    @pytest.mark.parametrize("text", HOSTILE, ids=[text[:8].encode("ascii", "replace").decode() for text in HOSTILE])
    async def test_a_text_that_no_token_has_is_none_and_the_transaction_goes_on(self, db: UnitOfWork, text: str) -> None:
        assert await crud.get_valid_token(db, text) is None
        assert await crud.use_login(db, text) is None
        _, valid = await make_token(db)
        assert await crud.get_valid_token(db, valid) is not None


class TestNoteUse:
    async def test_it_is_written_once_a_minute(self, db: UnitOfWork) -> None:
        token, text = await make_token(db)
        seen = []
        for last_used_at in (None, in_minutes(-0.5), in_minutes(-2)):
            await set_in_database(db, token, last_used_at=last_used_at)
            await note_use(db, await crud.get_valid_token(db, text) or token)
            await db.refresh(token)
            seen.append(token.last_used_at == last_used_at)
        assert seen == [False, True, False]

    async def test_what_another_process_noted_stays(self, db: UnitOfWork) -> None:
        token, _ = await make_token(db)
        noted = in_minutes(-0.5)
        await set_in_database(db, token, last_used_at=noted)
        assert token.last_used_at is None
        await note_use(db, token)
        await db.refresh(token)
        assert token.last_used_at == noted


class TestListTokens:
    async def test_pages_go_from_the_newest_to_the_oldest_without_logins(self, db: UnitOfWork) -> None:
        made = [(await make_token(db, "browser" if number % 2 else "api")).token.id for number in range(5)]
        await make_token(db, "login")
        await crud.revoke_token(db, made[0])
        page = await crud.list_tokens(db, limit=2)
        listed = [token.id for token in page]
        while page.next_cursor is not None:
            page = await crud.list_tokens(db, limit=2, cursor=page.next_cursor)
            listed += [token.id for token in page]
        assert listed == made[::-1]

    async def test_a_strange_cursor_and_limit_are_refused(self, db: UnitOfWork) -> None:
        with pytest.raises(InvalidInput, match="cursor"):
            await crud.list_tokens(db, cursor="x")
        with pytest.raises(InvalidInput, match="limit"):
            await crud.list_tokens(db, limit=0)


class TestRevokeToken:
    async def test_once_more_changes_nothing(self, db: UnitOfWork) -> None:
        token, _ = await make_token(db)
        revoked = await crud.revoke_token(db, token.id)
        assert revoked is token
        first = token.revoked_at
        assert first is not None
        assert await crud.revoke_token(db, token.id) is token
        assert token.revoked_at == first

    async def test_an_unknown_one_is_none(self, db: UnitOfWork) -> None:
        assert await crud.revoke_token(db, uuid4()) is None


class TestUseLogin:
    async def test_it_works_once(self, db: UnitOfWork) -> None:
        token, text = await make_token(db, "login", scope="read")
        used = await crud.use_login(db, text)
        assert used is token
        assert used.scope == "read"
        assert used.revoked_at is not None
        assert used.last_used_at is not None
        assert await crud.use_login(db, text) is None

    async def test_another_kind_is_no_login_and_goes_on(self, db: UnitOfWork) -> None:
        token, text = await make_token(db, "browser")
        assert await crud.use_login(db, text) is None
        assert await crud.get_valid_token(db, text) is token

    async def test_one_that_has_expired_does_not_work(self, db: UnitOfWork) -> None:
        token, text = await make_token(db, "login")
        await set_in_database(db, token, expires_at=LONG_AGO)
        assert await crud.use_login(db, text) is None

    async def test_of_many_requests_at_once_one_gets_in(self, fresh_database: Database) -> None:
        async with get_async_session() as db:
            _, text = await make_token(db, "login")

        async def use() -> bool:
            async with get_async_session() as db:
                return await crud.use_login(db, text) is not None

        assert sorted(await asyncio.gather(*(use() for _ in range(8)))) == [False] * 7 + [True]

    async def test_one_that_waited_for_a_request_that_failed_gets_in(self, fresh_database: Database) -> None:
        async with get_async_session() as db:
            _, text = await make_token(db, "login")
        async with asyncio.timeout(15), async_session() as one, async_session() as two:
            assert await crud.use_login(one, text) is not None
            waiting = asyncio.create_task(crud.use_login(two, text))
            await asyncio.sleep(0.1)
            assert not waiting.done()
            await one.rollback()
            assert await waiting is not None
            await two.commit()
        async with async_session() as db:
            assert (await db.scalars(select(col(Token.revoked_at)))).one() is not None
