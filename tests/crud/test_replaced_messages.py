"""Messages that others take the places of: indexes stay without a gap, and so do those who follow them."""

from typing import Any

import pytest

from session_db import crud
from session_db.api.streams import Position, Reader
from session_db.crud.messages import get_known_client_ids, remove_messages, replace_messages
from session_db.database import UnitOfWork, get_async_session
from session_db.live.heads import read_heads
from session_db.models import Session
from tests.databases import Database
from tests.factories import make_session, message

LETTERS = "abcdef"


async def session_with(db: UnitOfWork, letters: str) -> Session:
    session = await make_session(db)
    await crud.save_display_messages(db, session.id, [message(letter, client_id=letter) for letter in letters])
    return session


async def contents(db: UnitOfWork, session: Session) -> list[tuple[int, str]]:
    return [(row["message_index"], row["content"]) for row in await crud.list_messages(db, session.id)]


class TestReplaceMessages:
    async def test_each_takes_the_place_and_the_key_of_another(self, db: UnitOfWork) -> None:
        session = await session_with(db, "abc")
        new = {place: message(place.upper(), client_id=place.upper(), timestamp="2026-01-01T00:00:00Z") for place in "ac"}
        await replace_messages(db, session.id, new)
        assert await contents(db, session) == [(0, "A"), (1, "b"), (2, "C")]
        assert await get_known_client_ids(db, session.id, ["a", "A", "b", "c", "C"]) == {"A", "b", "C"}
        assert await crud.get_message_count(db, session.id) == 3

    async def test_a_place_that_is_not_there_is_left(self, db: UnitOfWork) -> None:
        session = await session_with(db, "a")
        await replace_messages(db, session.id, {"z": message("Z", client_id="Z")})
        await replace_messages(db, session.id, {})
        assert await contents(db, session) == [(0, "a")]


class TestRemoveMessages:
    @pytest.mark.parametrize(
        ("gone", "left"),
        [("", "abcdef"), ("f", "abcde"), ("def", "abc"), ("abcdef", ""), ("bcf", "a--de"), ("ab", "--cdef"), ("xyz", "abcdef")],
    )
    async def test_those_at_the_end_go_and_others_say_nothing(self, db: UnitOfWork, gone: str, left: str) -> None:
        session = await session_with(db, LETTERS)
        await remove_messages(db, session, list(gone))
        assert await contents(db, session) == [(index, letter.strip("-")) for index, letter in enumerate(left)]
        assert session.message_count == await crud.get_message_count(db, session.id) == len(left)

    async def test_what_comes_next_takes_the_free_place(self, db: UnitOfWork) -> None:
        session = await session_with(db, LETTERS)
        await remove_messages(db, session, ["e", "f"])
        ((index, is_new),) = await crud.save_display_messages(db, session.id, [message("g")])
        assert (index, is_new) == (4, True)


class TestFollowers:
    async def test_one_that_read_what_is_gone_goes_on_at_the_end(self, fresh_database: Database) -> None:
        async with get_async_session() as db:
            session = await session_with(db, LETTERS)
        reader = Reader(session.id, Position())
        told = await self.news(reader, session)
        assert told == list(LETTERS)
        async with get_async_session() as db:
            locked = await crud.get_session(db, session.id)
            assert locked is not None
            await remove_messages(db, locked, ["e", "f"])
        assert await self.news(reader, session) == []
        async with get_async_session() as db:
            await crud.save_display_messages(db, session.id, [message("g")])
        assert await self.news(reader, session) == ["g"]

    async def news(self, reader: Reader, session: Session) -> list[Any]:
        async with get_async_session() as db:
            head = (await read_heads(db, [session.id]))[session.id]
        return [frame.data["content"] async for frame in reader.news(head) if frame.kind == "message"]
