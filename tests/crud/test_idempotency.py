"""Messages with an idempotency key: sent again they change nothing, and other messages are refused."""

import asyncio
from datetime import UTC, datetime
from typing import Any

import pytest
from sqlalchemy import select
from sqlmodel import col

from session_db import crud
from session_db.crud.idempotency import MAX_IDEMPOTENCY_KEY
from session_db.database import UnitOfWork, async_session, get_async_session
from session_db.errors import Conflict, InvalidInput, NotFound
from session_db.models import Message, Session
from tests.databases import Database
from tests.factories import make_session, message

BODY = [message("one"), message("two", context={"list": [1, 2.5, 1e22, None, True, "é"]})]


async def send(db: UnitOfWork, session: Session, *messages: dict[str, Any], key: str = "key") -> list[tuple[int, bool]]:
    return [(index, is_new) for index, is_new in await crud.save_display_messages(db, session.id, messages, idempotency_key=key)]


async def client_ids(db: UnitOfWork, session: Session) -> list[str | None]:
    query = select(col(Message.client_id)).where(col(Message.session_id) == session.id).order_by(col(Message.message_index))
    return list(await db.scalars(query))


class TestSaveDisplayMessages:
    async def test_sent_again_they_have_the_first_answer_and_change_nothing(self, db: UnitOfWork) -> None:
        session = await make_session(db)
        await crud.save_display_messages(db, session.id, [message("before")])
        assert await send(db, session, *BODY) == [(1, True), (2, True)]
        await crud.save_display_messages(db, session.id, [message("after")])
        for _ in range(2):
            assert await send(db, session, *BODY) == [(1, False), (2, False)]
        assert session.message_count == 4
        assert await client_ids(db, session) == [None, "key:0", "key:1", None]

    async def test_a_key_counts_in_its_session_only_and_another_one_is_another(self, db: UnitOfWork) -> None:
        session, other = await make_session(db), await make_session(db)
        assert await send(db, session, *BODY) == [(0, True), (1, True)]
        assert await send(db, other, *BODY) == [(0, True), (1, True)]
        assert await send(db, session, *BODY, key="ke") == [(2, True), (3, True)]
        assert await send(db, session, *BODY, key="key:0") == [(4, True), (5, True)]

    @pytest.mark.parametrize(
        "another",
        [
            [message("one")],
            [],
            [*BODY, message("three")],
            [BODY[1], BODY[0]],
            [BODY[0], message("changed")],
            [BODY[0], BODY[1] | {"mood": "happy"}],
            [BODY[0], message("two")],
            [BODY[0], BODY[1] | {"context": {"list": [1, 2.5, 1e22, None, 1, "é"]}}],
            [BODY[0] | {"timestamp": "2025-12-25T01:35:07Z"}, BODY[1]],
            [BODY[0], BODY[1] | {"client_id": "own"}],
            [*BODY, message("own", client_id="own")],
        ],
    )
    async def test_another_body_is_refused_and_nothing_is_appended(self, db: UnitOfWork, another: list[dict[str, Any]]) -> None:
        session = await make_session(db)
        await send(db, session, *BODY)
        with pytest.raises(Conflict, match=r"idempotency key 'key'.*use a new key") as caught:
            await send(db, session, *another)
        assert caught.value.details["idempotency_key"] == "key"
        assert session.message_count == 2
        assert await send(db, session, *BODY) == [(0, False), (1, False)]

    async def test_a_time_that_was_not_sent_does_not_count(self, db: UnitOfWork) -> None:
        session = await make_session(db)
        timeless: list[dict[str, Any]] = [{"role": "user", "content": "one"}, {"role": "user", "content": "two", "timestamp": None}]
        first = await send(db, session, *timeless)
        stored = await crud.load_messages_paginated(db, session.id)
        assert await send(db, session, *timeless) == [(index, False) for index, _ in first]
        assert await crud.load_messages_paginated(db, session.id) == stored
        with pytest.raises(Conflict):
            await send(db, session, *(sent | {"timestamp": datetime(2020, 1, 1, tzinfo=UTC)} for sent in timeless))

    async def test_a_tuple_is_the_list_that_json_makes_of_it(self, db: UnitOfWork) -> None:
        session = await make_session(db)
        sent = message("one", context={"pair": (1, 2)}, timestamp=datetime(2026, 1, 1, tzinfo=UTC))
        assert await send(db, session, sent) == [(0, True)]
        assert await send(db, session, sent) == [(0, False)]

    async def test_a_client_id_of_ones_own_stays(self, db: UnitOfWork) -> None:
        session = await make_session(db)
        await crud.save_display_messages(db, session.id, [message("earlier", client_id="b")])
        body = [message("one"), message("own", client_id="a"), message("known", client_id="b"), message("two")]
        assert await send(db, session, *body) == [(1, True), (2, True), (0, False), (3, True)]
        assert await send(db, session, *body) == [(1, False), (2, False), (0, False), (3, False)]
        assert await client_ids(db, session) == ["b", "key:0", "a", "key:1"]

    async def test_a_client_id_that_the_key_might_give_is_refused(self, db: UnitOfWork) -> None:
        session = await make_session(db)
        with pytest.raises(InvalidInput, match=r"messages\[1\]\.client_id: 'key:0' may be one"):
            await send(db, session, message(), message(client_id="key:0"))
        assert session.message_count == 0

    async def test_ids_that_were_sent_as_such_are_another_body(self, db: UnitOfWork) -> None:
        session = await make_session(db)
        await crud.save_display_messages(db, session.id, [message("other", client_id="key:1")])
        with pytest.raises(Conflict):
            await send(db, session, message("one"))

    @pytest.mark.parametrize("key", ["", "a\x00", "\ud800", "x" * (MAX_IDEMPOTENCY_KEY + 1), 7, b"key"], ids=repr)
    async def test_what_is_no_key_is_refused(self, db: UnitOfWork, key: Any) -> None:
        session = await make_session(db)
        with pytest.raises(InvalidInput, match=r"^idempotency_key: ") as caught:
            await send(db, session, message(), key=key)
        assert caught.value.details["path"] == "idempotency_key"
        assert session.message_count == 0

    async def test_the_longest_key_gives_ids_to_many_messages(self, db: UnitOfWork) -> None:
        session = await make_session(db)
        messages = [message() for _ in range(1000)]
        await send(db, session, *messages, key="é" * MAX_IDEMPOTENCY_KEY)
        assert {new for _, new in await send(db, session, *messages, key="é" * MAX_IDEMPOTENCY_KEY)} == {False}
        assert session.message_count == 1000

    async def test_of_a_deleted_session_nothing_is_told(self, db: UnitOfWork) -> None:
        session = await make_session(db)
        await send(db, session, *BODY)
        await crud.delete_session(db, session.id)
        with pytest.raises(NotFound):
            await send(db, session, *BODY)


class TestRaces:
    async def test_of_many_requests_with_one_key_one_appends_and_all_have_its_answer(self, fresh_database: Database) -> None:
        async with get_async_session() as db:
            session = await make_session(db)

        async def retry() -> list[tuple[int, bool]]:
            async with get_async_session() as db:
                return await send(db, session, *BODY)

        answers = await asyncio.gather(*(retry() for _ in range(8)))
        assert sorted(answers) == [[(0, False), (1, False)]] * 7 + [[(0, True), (1, True)]]

    async def test_of_different_bodies_with_one_key_the_first_one_holds(self, fresh_database: Database) -> None:
        async with get_async_session() as db:
            session = await make_session(db)

        async def say(number: int) -> int | None:
            try:
                async with get_async_session() as db:
                    await send(db, session, *(message(f"{number}") for _ in range(1 + number % 3)))
            except Conflict:
                return None
            return number

        (won,) = {number for number in await asyncio.gather(*(say(number) for number in range(8))) if number is not None}
        async with async_session() as db:
            stored = await crud.load_messages_paginated(db, session.id)
        assert [each["content"] for each in stored] == [str(won)] * (1 + won % 3)
