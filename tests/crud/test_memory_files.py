"""Memory files of a session."""

from uuid import UUID, uuid4

import pytest

from session_db import crud
from session_db.database import UnitOfWork
from session_db.errors import AlreadyExists, InvalidInput, NotFound
from session_db.models import MemoryFile, MemoryFileCreate, MemoryFileUpdate
from tests.factories import make_session


async def make_memory_file(db: UnitOfWork, session_id: UUID, file_path: str, *, is_primary: bool = False) -> MemoryFile:
    return await crud.create_memory_file(db, MemoryFileCreate(session_id=session_id, file_path=file_path, is_primary=is_primary))


class TestCreateMemoryFile:
    async def test_it_is_loaded_and_not_primary_unless_told(self, db: UnitOfWork) -> None:
        session = await make_session(db)
        file = await make_memory_file(db, session.id, "memory/a.json")
        assert file.id is not None
        assert (file.file_path, file.is_primary, file.loaded) == ("memory/a.json", False, True)

    async def test_a_second_primary_takes_the_flag(self, db: UnitOfWork) -> None:
        session, other = await make_session(db), await make_session(db)
        elsewhere = await make_memory_file(db, other.id, "a", is_primary=True)
        first = await make_memory_file(db, session.id, "a", is_primary=True)
        second = await make_memory_file(db, session.id, "b", is_primary=True)
        assert await crud.get_primary_memory_file(db, session.id) is second
        assert (first.is_primary, second.is_primary, elsewhere.is_primary) == (False, True, True)

    async def test_a_path_that_is_there_is_refused_and_the_flag_stays(self, db: UnitOfWork) -> None:
        session = await make_session(db)
        first = await make_memory_file(db, session.id, "a", is_primary=True)
        await make_memory_file(db, session.id, "b")
        with pytest.raises(AlreadyExists, match="path"):
            await make_memory_file(db, session.id, "b", is_primary=True)
        await db.commit()
        assert await crud.get_primary_memory_file(db, session.id) is first
        assert first.is_primary is True

    async def test_an_unknown_session_is_not_found(self, db: UnitOfWork) -> None:
        with pytest.raises(NotFound):
            await make_memory_file(db, uuid4(), "a")


class TestGetSessionMemoryFiles:
    async def test_pages_in_the_order_of_adding(self, db: UnitOfWork) -> None:
        session = await make_session(db)
        files = [await make_memory_file(db, session.id, path) for path in ("c", "a", "b")]
        assert await crud.get_session_memory_files(db, session.id) == files
        page = await crud.get_session_memory_files(db, session.id, limit=2)
        assert await crud.get_session_memory_files(db, session.id, limit=2, cursor=page.next_cursor) == files[2:]

    async def test_a_session_without_a_primary_one(self, db: UnitOfWork) -> None:
        session = await make_session(db)
        await make_memory_file(db, session.id, "a")
        assert await crud.get_primary_memory_file(db, session.id) is None


class TestGetMemoryFileByPath:
    async def test_a_session_has_its_own(self, db: UnitOfWork) -> None:
        session, other = await make_session(db), await make_session(db)
        file = await make_memory_file(db, session.id, "a")
        await make_memory_file(db, other.id, "b")
        assert await crud.get_memory_file_by_path(db, session.id, "a") is file
        assert await crud.get_memory_file_by_path(db, session.id, "b") is None

    async def test_a_deleted_session_has_none(self, db: UnitOfWork) -> None:
        session = await make_session(db)
        await make_memory_file(db, session.id, "a")
        await crud.delete_session(db, session.id)
        assert await crud.get_memory_file_by_path(db, session.id, "a") is None


class TestGetMemoryFile:
    async def test_a_session_has_its_own(self, db: UnitOfWork) -> None:
        session, other = await make_session(db), await make_session(db)
        file = await make_memory_file(db, session.id, "a")
        assert await crud.get_memory_file(db, session.id, file.id or 0) is file
        assert await crud.get_memory_file(db, other.id, file.id or 0) is None
        assert await crud.get_memory_file(db, session.id, 0) is None

    async def test_a_deleted_session_has_none(self, db: UnitOfWork) -> None:
        session = await make_session(db)
        file = await make_memory_file(db, session.id, "a")
        await crud.delete_session(db, session.id)
        assert await crud.get_memory_file(db, session.id, file.id or 0) is None


class TestUpdateMemoryFile:
    async def test_only_what_was_set_changes(self, db: UnitOfWork) -> None:
        session = await make_session(db)
        file = await make_memory_file(db, session.id, "a", is_primary=True)
        await crud.update_memory_file(db, file.id or 0, MemoryFileUpdate(loaded=False))
        assert (file.file_path, file.is_primary, file.loaded) == ("a", True, False)
        assert await crud.update_memory_file(db, 0, MemoryFileUpdate(loaded=False)) is None

    async def test_the_flag_moves(self, db: UnitOfWork) -> None:
        session = await make_session(db)
        first, second = await make_memory_file(db, session.id, "a", is_primary=True), await make_memory_file(db, session.id, "b")
        for file, other in ((second, first), (first, second), (first, second)):
            await crud.update_memory_file(db, file.id or 0, MemoryFileUpdate(is_primary=True))
            await db.commit()
            assert (file.is_primary, other.is_primary) == (True, False)
            assert await crud.get_primary_memory_file(db, session.id) is file

    async def test_a_path_that_is_there_is_refused(self, db: UnitOfWork) -> None:
        session = await make_session(db)
        await make_memory_file(db, session.id, "a")
        file = await make_memory_file(db, session.id, "b")
        with pytest.raises(AlreadyExists):
            await crud.update_memory_file(db, file.id or 0, MemoryFileUpdate(file_path="a"))
        assert file.file_path == "b"

    async def test_nothing_can_be_cleared(self, db: UnitOfWork) -> None:
        file = await make_memory_file(db, (await make_session(db)).id, "a")
        with pytest.raises(InvalidInput, match="loaded cannot be cleared"):
            await crud.update_memory_file(db, file.id or 0, MemoryFileUpdate(loaded=None))

    async def test_a_file_of_another_session_is_not_found(self, db: UnitOfWork) -> None:
        session, other = await make_session(db), await make_session(db)
        file = await make_memory_file(db, session.id, "a")
        change = MemoryFileUpdate(loaded=False)
        assert await crud.update_memory_file(db, file.id or 0, change, session_id=other.id) is None
        assert file.loaded is True
        assert await crud.update_memory_file(db, file.id or 0, change, session_id=session.id) is file
        assert file.loaded is False


class TestDeleteMemoryFile:
    async def test_a_file_of_another_session_stays(self, db: UnitOfWork) -> None:
        session, other = await make_session(db), await make_session(db)
        file = await make_memory_file(db, session.id, "a")
        assert await crud.delete_memory_file(db, file.id or 0, session_id=other.id) is False
        assert await crud.get_memory_file(db, session.id, file.id or 0) is file
        assert await crud.delete_memory_file(db, file.id or 0, session_id=session.id) is True
        assert await crud.get_memory_file(db, session.id, file.id or 0) is None

    async def test_it_is_gone_once(self, db: UnitOfWork) -> None:
        session = await make_session(db)
        file = await make_memory_file(db, session.id, "a")
        assert await crud.delete_memory_file(db, file.id or 0) is True
        assert await crud.delete_memory_file(db, file.id or 0) is False
        assert await crud.get_session_memory_files(db, session.id) == []
