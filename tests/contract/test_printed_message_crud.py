"""The second seed's functions for messages and memory files: the printed ones say which arguments ours take, and what comes of them."""

import inspect
from typing import Any
from uuid import UUID, uuid4

import pytest
from sqlalchemy import select
from sqlmodel import col

from session_db import crud
from session_db.database import UnitOfWork
from session_db.models import MemoryFile, MemoryFileCreate, Message, SessionCreate
from tests.contract.conftest import Printed

SAVE_DISPLAY_MESSAGES = '''
async def save_display_messages(
    db: AsyncSession,
    session_id: UUID,
    messages: List[dict]
) -> None:
    """Save simplified display messages for frontend.

    Args:
        session_id: Session UUID
        messages: List of {"role": str, "content": str, "timestamp": str}
    """
    # Get current message count to determine starting index
    result = await db.execute(
        select(Message)
        .where(Message.session_id == session_id)
        .order_by(Message.message_index.desc())
        .limit(1)
    )
    last_message = result.scalar_one_or_none()
    next_index = (last_message.message_index + 1) if last_message else 0

    # Insert simplified messages
    for idx, msg_data in enumerate(messages):
        db_message = Message(
            session_id=session_id,
            message_index=next_index + idx,
            message_data=msg_data  # Simplified: {role, content, timestamp}
        )
        db.add(db_message)

    await db.commit()
'''

LOAD_MESSAGES_PAGINATED = '''
async def load_messages_paginated(
    db: AsyncSession,
    session_id: UUID,
    page_size: int = 50,
    before_index: Optional[int] = None
) -> List[dict]:
    """Load paginated messages in chronological order.

    Args:
        db: Database session
        session_id: Session UUID
        page_size: Number of messages to load (default: 50)
        before_index: Load messages before this index (for pagination)

    Returns:
        List of message dicts (message_data + message_index) in chronological order
    """
    query = select(Message).where(Message.session_id == session_id)

    if before_index is not None:
        query = query.where(Message.message_index < before_index)

    # Get last N messages (newest first)
    query = query.order_by(Message.message_index.desc()).limit(page_size)

    result = await db.execute(query)
    messages = result.scalars().all()

    # Reverse to chronological order and merge message_index into dict
    return [
        {**msg.message_data, "message_index": msg.message_index}
        for msg in reversed(messages)
    ]
'''

GET_MESSAGE_COUNT = """
async def get_message_count(
    db: AsyncSession,
    session_id: UUID
) -> int:
    result = await db.execute(
        select(Message).where(Message.session_id == session_id)
    )
    return len(result.scalars().all())
"""

CREATE_MEMORY_FILE = """
async def create_memory_file(
    db: AsyncSession,
    memory_data: MemoryFileCreate
) -> MemoryFile:
    db_memory = MemoryFile.model_validate(memory_data)
    db.add(db_memory)
    await db.commit()
    await db.refresh(db_memory)
    return db_memory
"""

GET_SESSION_MEMORY_FILES = """
async def get_session_memory_files(
    db: AsyncSession,
    session_id: UUID
) -> List[MemoryFile]:
    result = await db.execute(
        select(MemoryFile).where(MemoryFile.session_id == session_id)
    )
    return result.scalars().all()
"""

GET_PRIMARY_MEMORY_FILE = """
async def get_primary_memory_file(
    db: AsyncSession,
    session_id: UUID
) -> Optional[MemoryFile]:
    result = await db.execute(
        select(MemoryFile)
        .where(MemoryFile.session_id == session_id)
        .where(MemoryFile.is_primary == True)
    )
    return result.scalar_one_or_none()
"""

PRINTED = [
    SAVE_DISPLAY_MESSAGES,
    LOAD_MESSAGES_PAGINATED,
    GET_MESSAGE_COUNT,
    CREATE_MEMORY_FILE,
    GET_SESSION_MEMORY_FILES,
    GET_PRIMARY_MEMORY_FILE,
]


@pytest.mark.parametrize("snippet", PRINTED, ids=lambda snippet: snippet.partition("async def ")[2].partition("(")[0])
async def test_ours_takes_the_printed_arguments(printed: Printed, snippet: str) -> None:
    theirs = await printed(snippet)
    ours = getattr(crud, theirs.__name__)
    assert inspect.iscoroutinefunction(ours)
    wanted = list(inspect.signature(theirs).parameters.values())
    taken = list(inspect.signature(ours).parameters.values())
    assert [(p.name, p.kind, p.default) for p in taken[: len(wanted)]] == [(p.name, p.kind, p.default) for p in wanted]
    assert [p.name for p in taken[len(wanted) :] if p.default is p.empty] == []


def said(*contents: str) -> list[dict[str, Any]]:
    return [{"role": "user", "content": content, "timestamp": "2025-12-25T01:35:06Z"} for content in contents]


@pytest.fixture
async def session_id(db: UnitOfWork) -> UUID:
    return (await crud.create_session(db, SessionCreate(agent_name="strudel"))).session_id


@pytest.fixture
async def another_id(db: UnitOfWork) -> UUID:
    return (await crud.create_session(db, SessionCreate(agent_name="strudel"))).session_id


class TestSaveDisplayMessages:
    async def test_stores_what_the_printed_body_stores(self, db: UnitOfWork, printed: Printed, session_id: UUID, another_id: UUID) -> None:
        theirs = await printed(SAVE_DISPLAY_MESSAGES)
        for messages in (said("Hello", "Hi! How can I help?"), [], said("I need help with...")):
            await crud.save_display_messages(db, session_id, messages)
            await theirs(db, another_id, messages)

        async def stored(session_id: UUID) -> list[Any]:
            rows = select(Message).where(col(Message.session_id) == session_id).order_by(col(Message.message_index))
            return [(row.message_index, row.message_data, type(row.id)) for row in (await db.execute(rows)).scalars()]

        assert await stored(session_id) == await stored(another_id)
        assert [index for index, *_ in await stored(session_id)] == [0, 1, 2]

    async def test_takes_the_printed_names(self, db: UnitOfWork, session_id: UUID) -> None:
        await crud.save_display_messages(db=db, session_id=session_id, messages=said("Hello"))
        assert await crud.get_message_count(db, session_id) == 1


class TestLoadMessagesPaginated:
    async def test_gives_what_the_printed_body_gives(self, db: UnitOfWork, printed: Printed, session_id: UUID) -> None:
        theirs = await printed(LOAD_MESSAGES_PAGINATED)
        await crud.save_display_messages(db, session_id, said(*map(str, range(60))))
        assert await crud.load_messages_paginated(db, session_id) == await theirs(db, session_id)
        assert await crud.load_messages_paginated(db, uuid4()) == await theirs(db, uuid4()) == []
        for page_size in (1, 7, 50, 60, 1000):
            for before_index in (None, 0, 1, 30, 60, 99):
                ours = await crud.load_messages_paginated(db, session_id, page_size, before_index)
                assert ours == await theirs(db, session_id, page_size, before_index)
                assert ours == await crud.load_messages_paginated(
                    db=db, session_id=session_id, page_size=page_size, before_index=before_index
                )


class TestGetMessageCount:
    @pytest.mark.parametrize("count", [0, 3])
    async def test_gives_what_the_printed_body_gives(self, db: UnitOfWork, printed: Printed, session_id: UUID, count: int) -> None:
        await crud.save_display_messages(db, session_id, said(*map(str, range(count))))
        assert await crud.get_message_count(db, session_id) == await (await printed(GET_MESSAGE_COUNT))(db, session_id) == count
        assert await crud.get_message_count(db=db, session_id=uuid4()) == 0


class TestCreateMemoryFile:
    @pytest.mark.parametrize("more", [{}, {"is_primary": True}, {"loaded": False}])
    async def test_gives_what_the_printed_body_gives(
        self, db: UnitOfWork, printed: Printed, session_id: UUID, another_id: UUID, more: dict[str, bool]
    ) -> None:
        def memory_data(session_id: UUID) -> MemoryFileCreate:
            return MemoryFileCreate(session_id=session_id, file_path="memory/knowledge/strudel_patterns.json", **more)

        def shown(memory_file: MemoryFile) -> Any:
            return (memory_file.file_path, memory_file.is_primary, memory_file.loaded, type(memory_file.id), memory_file.created_at.tzinfo)

        theirs = await (await printed(CREATE_MEMORY_FILE))(db, memory_data(another_id))
        assert shown(await crud.create_memory_file(db=db, memory_data=memory_data(session_id))) == shown(theirs)


class TestGetMemoryFiles:
    @pytest.fixture
    async def primary(self, db: UnitOfWork, session_id: UUID) -> MemoryFile:
        """The example: the session's own file and one that it links to."""
        own = MemoryFileCreate(session_id=session_id, file_path="memory/sessions/abc-123/memory.json", is_primary=True, loaded=True)
        linked = MemoryFileCreate(session_id=session_id, file_path="memory/knowledge/strudel_patterns.json", is_primary=False, loaded=True)
        primary = await crud.create_memory_file(db, own)
        await crud.create_memory_file(db, linked)
        return primary

    async def test_of_a_session_are_those_of_the_printed_body(
        self, db: UnitOfWork, printed: Printed, session_id: UUID, another_id: UUID, primary: MemoryFile
    ) -> None:
        theirs = await printed(GET_SESSION_MEMORY_FILES)
        ours = await crud.get_session_memory_files(db, session_id)
        assert len(ours) == 2
        # The printed one gives them in no order.
        assert ours == sorted(await theirs(db, session_id), key=lambda memory_file: memory_file.id)
        assert await crud.get_session_memory_files(db=db, session_id=another_id) == await theirs(db, another_id) == []

    async def test_the_primary_one_is_that_of_the_printed_body(
        self, db: UnitOfWork, printed: Printed, session_id: UUID, another_id: UUID, primary: MemoryFile
    ) -> None:
        theirs = await printed(GET_PRIMARY_MEMORY_FILE)
        assert await crud.get_primary_memory_file(db, session_id) is await theirs(db, session_id) is primary
        assert await crud.get_primary_memory_file(db=db, session_id=another_id) is await theirs(db, another_id) is None
