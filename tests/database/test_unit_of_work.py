"""One commit, at the edge."""

import asyncio
from typing import Any
from uuid import uuid4

import anyio
import pytest
from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession
from sqlmodel import col
from sqlmodel import select as sqlmodel_select

import session_db.database
from session_db import crud
from session_db.database import UncommittedWarning, async_session, close_db, get_async_session, get_engine, get_session
from session_db.errors import AlreadyExists
from session_db.models import Session, SessionUpdate
from tests.databases import Database
from tests.factories import make_agent, make_event, make_session, message


async def count(database: Database) -> int:
    async with database.connected() as connection:
        return int(await connection.fetchval("SELECT count(*) FROM sessions"))


class TestGetAsyncSession:
    async def test_it_commits_when_the_block_ends_well(self, fresh_database: Database) -> None:
        async with get_async_session() as db:
            await make_session(db)
            assert await count(fresh_database) == 0
        assert await count(fresh_database) == 1

    @pytest.mark.parametrize("error", [RuntimeError, asyncio.CancelledError])
    async def test_it_rolls_back_when_the_block_raises(self, fresh_database: Database, error: type[BaseException]) -> None:
        async def write_and_fail() -> None:
            async with get_async_session() as db:
                await make_session(db)
                raise error

        with pytest.raises(error):
            await write_and_fail()
        assert await count(fresh_database) == 0

    async def test_an_error_of_ours_that_is_caught_lets_the_transaction_go_on(self, fresh_database: Database) -> None:
        async with get_async_session() as db:
            session = await make_session(db)
            with pytest.raises(AlreadyExists):
                await make_session(db, session_id=session.id)
            await make_event(db, session)
        assert await count(fresh_database) == 1

    async def test_rows_can_be_read_after_it(self, fresh_database: Database) -> None:
        async with get_async_session() as db:
            session = await make_session(db, title="Title")
        assert session.title == "Title"


class TestGetSession:
    async def test_it_gives_a_route_one_that_commits(self, fresh_database: Database) -> None:
        dependency = get_session()
        await make_session(await anext(dependency))
        with pytest.raises(StopAsyncIteration):
            await anext(dependency)
        assert await count(fresh_database) == 1


class TestUncommittedWarning:
    async def test_rows_of_crud_that_were_never_committed(self, fresh_database: Database) -> None:
        with pytest.warns(UncommittedWarning, match="get_async_session"):
            async with async_session() as db:
                await make_session(db)
        assert await count(fresh_database) == 0

    async def test_rows_that_were_written_by_a_statement(self, fresh_database: Database) -> None:
        async with get_async_session() as db:
            session = await make_session(db)
        with pytest.warns(UncommittedWarning):
            async with async_session() as db:
                await crud.save_display_messages(db, session.id, [message()])

    async def test_rows_that_were_written_before_an_inner_savepoint_ended(self, fresh_database: Database) -> None:
        async def write_twice() -> None:
            async with async_session() as db:
                session = await make_session(db)
                with pytest.raises(AlreadyExists):
                    await make_session(db, session_id=session.id)

        with pytest.warns(UncommittedWarning):
            await write_twice()

    async def test_not_after_a_commit_a_rollback_or_a_mere_read(self, fresh_database: Database) -> None:
        async with async_session() as db, db.begin():
            await make_session(db)
        async with async_session() as db:
            await make_session(db)
            await db.rollback()
        async with async_session() as db:
            await crud.list_sessions(db)

    async def test_not_after_a_statement_that_changed_no_row(self, fresh_database: Database) -> None:
        async with async_session() as db:
            assert await crud.update_session_activity(db, uuid4()) is None

    @pytest.mark.parametrize("open_session", [get_async_session, async_session])
    async def test_not_where_the_block_was_cancelled_and_its_rollback_too(self, fresh_database: Database, open_session: Any) -> None:
        # This one cancels whatever waits, until its block is left.
        with anyio.CancelScope() as scope:
            async with open_session() as db:
                await make_session(db)
                scope.cancel()
                await asyncio.sleep(0)
        assert scope.cancelled_caught
        assert await count(fresh_database) == 0

    async def test_not_where_the_block_raised(self, fresh_database: Database) -> None:
        async def write_and_fail() -> None:
            async with async_session() as db:
                await make_session(db)
                raise RuntimeError

        with pytest.raises(RuntimeError):
            await write_and_fail()


class TestUnitOfWork:
    async def test_exec_and_execute_are_both_silent(self, fresh_database: Database) -> None:
        async with get_async_session() as db:
            session = await make_session(db)
            assert (await db.execute(select(Session))).scalars().all() == [session]
            assert (await db.exec(sqlmodel_select(Session))).all() == [session]

    async def test_crud_works_with_a_plain_session_of_sqlalchemy(self, fresh_database: Database) -> None:
        async with AsyncSession(get_engine()) as db:
            session = await make_session(db, session_slug="auth")
            agent = await make_agent(db, session, cost=1)
            await make_event(db, session, agent_id=agent.id)
            await crud.save_display_messages(db, session.id, [message()])
            await crud.update_session(db, session.id, SessionUpdate(status="spec"))
            await db.commit()
            again = await crud.get_session_by_slug(db, "auth")
            assert again is not None
            assert (again.status, again.event_count, again.message_count, again.total_cost) == ("spec", 2, 1, 1)


class TestEngine:
    async def test_it_is_one_in_an_event_loop_under_all_its_names(self, fresh_database: Database) -> None:
        assert get_engine() is get_engine() is session_db.database.engine

    def test_each_event_loop_has_its_own(self, fresh_database: Database) -> None:
        async def use() -> int:
            async with async_session() as db:
                assert await crud.list_sessions(db) == []
            engine = id(get_engine())
            await close_db()
            return engine

        asyncio.run(use())
        asyncio.run(use())

    async def test_after_close_db_the_next_use_opens_it_anew(self, fresh_database: Database) -> None:
        async with get_async_session() as db:
            await make_session(db)
        before = get_engine()
        await close_db()
        await close_db()
        async with async_session() as db:
            assert len((await db.execute(select(col(Session.id)))).all()) == 1
        assert get_engine() is not before
