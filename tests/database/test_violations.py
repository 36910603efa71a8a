"""What a violated constraint means to the caller, and that the transaction goes on."""

from typing import Any
from uuid import uuid4

import pytest
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError, IntegrityError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError
from sqlmodel import col

from session_db.crud.rows import move, run
from session_db.database import UnitOfWork, async_session
from session_db.database.violations import translate, translated
from session_db.errors import AlreadyExists, Conflict, InvalidInput, NotFound, SessionDBError, Unavailable
from session_db.models import Agent, AgentLog, MemoryFile, Message, Session
from tests.databases import Database
from tests.factories import make_session


async def change(db: UnitOfWork, row: Any, values: dict[str, Any], error: Exception | None = None) -> None:
    async with translated(db):
        for name, value in values.items():
            setattr(row, name, value)
        await db.flush()
        if error is not None:
            raise error


class TestTranslated:
    @pytest.mark.parametrize(
        ("row", "error"),
        [
            (Session(agent_name="a", status="spec"), InvalidInput),
            (Session(session_type="other"), InvalidInput),
            (Agent(session_id=uuid4(), agent_type="build"), NotFound),
            (Message(id=None, session_id=uuid4(), message_index=0, message_data={}), NotFound),
            (MemoryFile(id=None, session_id=uuid4(), file_path="a"), NotFound),
            (AgentLog(session_id=uuid4(), event_index=0, event_category="tool", event_type="x"), InvalidInput),
            (Agent(session_id=uuid4(), agent_type="x" * 101), InvalidInput),
        ],
    )
    async def test_the_drivers_error_becomes_ours_with_the_drivers_as_its_cause(
        self, db: UnitOfWork, row: Any, error: type[SessionDBError]
    ) -> None:
        with pytest.raises(error, match=r"\(who=me\)") as caught:
            async with translated(db, who="me"):
                db.add(row)
        assert isinstance(caught.value.__cause__, DBAPIError)
        assert caught.value.details["who"] == "me"
        await make_session(db)

    async def test_rows_that_were_changed_can_be_read_after_it(self, db: UnitOfWork) -> None:
        session, other = await make_session(db, title="Title"), await make_session(db)
        changed = {"title": "New", "status": "spec"}
        with pytest.raises(InvalidInput):
            await change(db, session, changed)
        assert (session.title, session.status, other.status) == ("Title", "active", "active")

    async def test_an_error_of_ours_in_the_block_undoes_it(self, db: UnitOfWork) -> None:
        session = await make_session(db, title="Title")
        with pytest.raises(Conflict):
            await change(db, session, {"title": "New"}, Conflict("no"))
        assert session.title == "Title"

    async def test_a_counter_that_was_moved_in_it_shows_what_is_stored(self, db: UnitOfWork) -> None:
        session = await make_session(db)

        async def move_and_fail() -> None:
            async with translated(db):
                await move(db, Session, (session.id,), event_count=col(Session.event_count) + 7)
                assert session.event_count == 7
                raise Conflict("no")

        with pytest.raises(Conflict):
            await move_and_fail()
        assert session.event_count == 0

    async def test_a_constraint_that_nobody_named_is_a_conflict(self, db: UnitOfWork) -> None:
        await db.execute(text("CREATE TEMPORARY TABLE one (id int CONSTRAINT mine CHECK (id = 1))"))
        with pytest.raises(Conflict, match="refused it by mine") as caught:
            async with translated(db):
                await db.execute(text("INSERT INTO one VALUES (2)"))
        assert isinstance(caught.value.__cause__, IntegrityError)

    async def test_an_error_without_a_meaning_of_its_own_stays(self, db: UnitOfWork) -> None:
        with pytest.raises(DBAPIError, match="no_such_table"):
            async with translated(db):
                await db.execute(text("SELECT FROM no_such_table"))


class TestUnavailable:
    @pytest.mark.parametrize("sqlstate", ["08006", "25P03", "53100", "53200", "53300", "55P03", "57014", "57P01", "57P05"])
    async def test_a_database_that_cannot_go_on_is_unavailable(self, db: UnitOfWork, sqlstate: str) -> None:
        with pytest.raises(Unavailable, match="begin") as caught:
            await run(db, text(f"DO $$ BEGIN RAISE EXCEPTION USING ERRCODE = '{sqlstate}'; END $$"))
        assert isinstance(caught.value.__cause__, DBAPIError)

    @pytest.mark.parametrize("sqlstate", ["40001", "40P01"])
    async def test_what_may_be_repeated_stays_as_it_is(self, db: UnitOfWork, sqlstate: str) -> None:
        with pytest.raises(DBAPIError):
            await run(db, text(f"DO $$ BEGIN RAISE EXCEPTION USING ERRCODE = '{sqlstate}'; END $$"))

    async def test_a_connection_that_was_ended_is_unavailable(self, fresh_database: Database) -> None:
        async with async_session() as db:
            number = await db.scalar(text("SELECT pg_backend_pid()"))
            async with fresh_database.connected() as connection:
                await connection.execute("SELECT pg_terminate_backend($1)", number)
            with pytest.raises(Unavailable):
                async with translated(db):
                    await run(db, text("SELECT 1"))

    def test_timeouts_are_unavailable(self) -> None:
        assert "SESSION_DB_COMMAND_TIMEOUT" in str(translate(TimeoutError()))
        assert "SESSION_DB_POOL_SIZE" in str(translate(PoolTimeoutError()))


class TestErrors:
    def test_each_has_a_code_of_its_own(self) -> None:
        def family(error: type[SessionDBError]) -> list[type[SessionDBError]]:
            return [error, *(below for child in error.__subclasses__() for below in family(child))]

        errors = [error for error in family(SessionDBError) if error.__module__.startswith("session_db")]
        assert len({error.code for error in errors}) == len(errors)
        assert issubclass(InvalidInput, ValueError)
        assert AlreadyExists("taken", slug="auth").details == {"slug": "auth"}
