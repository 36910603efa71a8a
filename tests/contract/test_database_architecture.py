"""The second seed, *Database Architecture*: its snippets that use the package, in their order, as printed."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import datetime
from typing import Any
from uuid import UUID, uuid4

import pytest
from fastapi import Depends, FastAPI, HTTPException
from httpx import ASGITransport, AsyncClient
from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession
from sqlmodel import col

from session_db import crud, database
from session_db.database import UnitOfWork, async_session, close_db, get_async_session, get_engine, init_db
from session_db.models import (
    MemoryFileCreate,
    Session,
    SessionCreate,
)
from tests.contract.conftest import Names, Run
from tests.databases import Database

STRUDEL = SessionCreate(agent_name="strudel", model_name="grok-4-fast", session_name="Test Session")


async def saved(session_data: SessionCreate = STRUDEL) -> Session:
    async with get_async_session() as db:
        return await crud.create_session(db, session_data)


class TestTechnologyStack:
    async def test_the_core_libraries_are_there(self, run: Run) -> None:
        names = await run("""
            # Core libraries
            from sqlmodel import SQLModel, Field, Column
            from sqlalchemy.ext.asyncio import create_async_engine, AsyncSession
            from sqlalchemy.dialects.postgresql import JSONB
        """)
        assert {"SQLModel", "Field", "Column", "create_async_engine", "AsyncSession", "JSONB"} <= set(names)
        assert issubclass(UnitOfWork, names["AsyncSession"])


class TestConnection:
    async def test_the_pool_is_set_as_printed(self, fresh_database: Database) -> None:
        engine = get_engine()
        assert database.engine is engine
        pool: Any = engine.pool
        assert pool.size() == 10
        assert pool._max_overflow == 20
        assert pool._pre_ping is True
        assert pool._recycle == 3600
        async with engine.connect() as connection:
            driver: Any = (await connection.get_raw_connection()).driver_connection
            assert driver._config.command_timeout == 30
            assert driver._config.statement_cache_size == (512 if fresh_database.settings.pooler is None else 0)

    async def test_rows_stay_readable_after_a_commit(self, fresh_database: Database) -> None:
        async with async_session() as db:
            assert db.sync_session.expire_on_commit is False


LIFESPAN = """
    @asynccontextmanager
    async def lifespan(app: FastAPI):
        # Startup
        await init_db()
        yield
        # Shutdown
        await close_db()
"""


class TestFastAPI:
    @pytest.fixture
    async def names(self, run: Run) -> Names:
        """An application with the printed lifespan, and what its routes presuppose."""
        given = {"asynccontextmanager": asynccontextmanager, "FastAPI": FastAPI, "init_db": init_db, "close_db": close_db}
        names = await run(LIFESPAN, given)
        names |= {"app": FastAPI(lifespan=names["lifespan"]), "AsyncSession": AsyncSession, "Depends": Depends}
        return names | {"get_session": database.get_session, "SessionCreate": SessionCreate}

    @asynccontextmanager
    async def client(self, app: FastAPI) -> AsyncIterator[AsyncClient]:
        async with app.router.lifespan_context(app), AsyncClient(transport=ASGITransport(app), base_url="http://test") as client:
            yield client

    async def test_init_db_on_startup_and_close_db_on_shutdown(self, names: Names, empty_database: Database) -> None:
        async with self.client(names["app"]):
            await saved()
            engine = get_engine()
            assert engine.pool.checkedin() == 1  # type: ignore[attr-defined]
        assert engine.pool.checkedin() == 0  # type: ignore[attr-defined]

    async def test_usage_in_routes(self, names: Names, run: Run, empty_database: Database) -> None:
        await run(
            """
            @app.get("/api/sessions")
            async def list_sessions(
                db: AsyncSession = Depends(get_session)
            ):
                sessions = await db_list_sessions(db)
                return sessions
            """,
            names | {"db_list_sessions": crud.list_sessions},
        )
        async with self.client(names["app"]) as client:
            assert (await client.get("/api/sessions")).json() == []
            session = await saved()
            (listed,) = (await client.get("/api/sessions")).json()
        assert listed["session_id"] == str(session.session_id)
        assert (listed["agent_name"], listed["model_name"], listed["status"]) == ("strudel", "grok-4-fast", "active")
        assert datetime.fromisoformat(listed["created_at"]) == session.created_at

    async def test_automatic_commits_in_fastapi_dependencies(self, names: Names, run: Run, empty_database: Database) -> None:
        await run(
            """
            @app.post("/api/sessions")
            async def create_session(
                session_data: SessionCreate,
                db: AsyncSession = Depends(get_session)
            ):
                # db.commit() called automatically at end of request
                new_session = await db_create_session(db, session_data)
                return new_session
            """,
            names | {"db_create_session": crud.create_session},
        )
        async with self.client(names["app"]) as client:
            body = {"agent_name": "strudel", "model_name": "grok-4-fast", "session_name": "Test Session"}
            response = await client.post("/api/sessions", json=body)
            assert response.status_code == 200
            async with async_session() as db:
                (stored,) = await crud.list_sessions(db)
        assert stored.metadata_ == {"name": "Test Session", "created_by_user": True}
        assert response.json()["session_id"] == str(stored.session_id)
        assert response.json()["agent_name"] == "strudel"


class TestBestPractices:
    async def test_the_synchronous_query_fails(self, db: UnitOfWork, run: Run) -> None:
        names = {"db": db, "Session": Session, "session_id": uuid4()}
        with pytest.raises(AttributeError, match="query"):
            await run(
                """
                # This will fail with async
                session = db.query(Session).filter_by(session_id=session_id).first()
                """,
                names,
            )

    async def test_manual_transactions(self, run: Run, fresh_database: Database) -> None:
        session_id = UUID("0194b9a0-0000-7000-8000-000000000001")
        names = {
            "async_session": async_session,
            "create_session": crud.create_session,
            "create_memory_file": crud.create_memory_file,
            "session_data": SessionCreate(session_id=session_id, agent_name="strudel", model_name="grok-4-fast"),
            "memory_data": MemoryFileCreate(session_id=session_id, file_path="memory/knowledge/strudel_patterns.json"),
        }
        await run(
            """
            async with async_session() as db:
                async with db.begin():
                    # Multiple operations
                    session = await create_session(db, session_data)
                    await create_memory_file(db, memory_data)
                    # Commits automatically at end of block
            """,
            names,
        )
        async with async_session() as db:
            assert await crud.get_session(db, session_id) is not None
            (memory_file,) = await crud.get_session_memory_files(db, session_id)
        assert memory_file.file_path == "memory/knowledge/strudel_patterns.json"

    async def test_error_handling(self, db: UnitOfWork, run: Run) -> None:
        session = await crud.create_session(db, STRUDEL)
        await db.commit()
        db.expunge_all()
        db.add(Session(session_id=session.session_id, agent_name="strudel", model_name="grok-4-fast"))
        with pytest.raises(HTTPException) as caught:
            await run(
                """
                from sqlalchemy.exc import IntegrityError

                try:
                    await db.commit()
                except IntegrityError as e:
                    await db.rollback()
                    raise HTTPException(
                        status_code=409,
                        detail="Session already exists"
                    )
                """,
                {"db": db, "HTTPException": HTTPException},
            )
        assert (caught.value.status_code, caught.value.detail) == (409, "Session already exists")
        assert await crud.get_session(db, session.session_id) is not None

    async def test_filter_by_jsonb_field(self, db: UnitOfWork, run: Run) -> None:
        clip = await crud.create_session(db, SessionCreate(agent_name="strudel", metadata={"item_type": "clip", "item_id": "kick"}))
        await crud.create_session(db, SessionCreate(agent_name="strudel", metadata={"item_type": "song"}))
        await crud.create_session(db, SessionCreate(agent_name="strudel"))
        names = await run(
            """
            from sqlalchemy import cast, String

            # Get sessions with specific item_type
            result = await db.execute(
                select(Session).where(
                    Session.metadata_['item_type'].astext == 'clip'
                )
            )
            """,
            {"db": db, "select": select, "Session": Session},
        )
        assert names["result"].scalars().all() == [clip]

    async def test_update_jsonb_field(self, run: Run, fresh_database: Database) -> None:
        session_id = (await saved()).session_id
        async with async_session() as db:
            session = await crud.get_session(db, session_id)
            await run(
                """
                session.metadata_ = {
                    **session.metadata_,
                    "new_field": "new_value"
                }
                await db.commit()
                """,
                {"session": session, "db": db},
            )
        async with async_session() as db:
            stored = await crud.get_session(db, session_id)
        assert stored is not None
        assert stored.metadata_ == {"name": "Test Session", "created_by_user": True, "new_field": "new_value"}


class TestTestingDatabaseOperations:
    async def test_the_example_test(self, db: UnitOfWork, run: Run) -> None:
        names = await run(
            """
            async def test_create_session(session):
                session_data = SessionCreate(
                    agent_name="strudel",
                    model_name="grok-4-fast",
                    session_name="Test Session"
                )

                db_session = await create_session(session, session_data)

                assert db_session.agent_name == "strudel"
                assert db_session.metadata_["name"] == "Test Session"
            """,
            {"SessionCreate": SessionCreate, "create_session": crud.create_session},
        )
        await names["test_create_session"](db)


class TestNames:
    async def test_a_session_has_one_id_under_two_names(self, db: UnitOfWork) -> None:
        session = Session(session_id=uuid4(), agent_name="strudel")
        assert session.session_id == session.id
        db.add(session)
        await db.flush()
        for condition in (Session.session_id == session.id, col(Session.id) == session.session_id):
            assert (await db.execute(select(Session).where(condition))).scalar_one() is session

    async def test_get_session_is_a_dependency_in_one_place_and_a_read_in_the_other(self, fresh_database: Database) -> None:
        session = await saved()
        async with asynccontextmanager(database.get_session)() as db:
            assert isinstance(db, AsyncSession)
            found = await crud.get_session(db, session.session_id)
        assert found is not None
        assert found.session_id == session.session_id
