"""What an import finds when it has waited for the session's lock."""

import asyncio
import json
from datetime import UTC, datetime
from uuid import UUID

import pytest

from session_db import crud
from session_db.capture.record import StreamName, append_to_stream, open_stream
from session_db.database import async_session, get_async_session
from session_db.errors import NotFound
from session_db.ids import new_id
from session_db.models import AgentCreate, SessionCreate

pytestmark = pytest.mark.usefixtures("fresh_database")


async def write_line(sdk_session_id: str, uuid: str) -> UUID:
    """Append a prompt to an SDK session's stream in a transaction of its own, and return the session that it went to."""
    entry = {"type": "user", "uuid": uuid, "message": {"role": "user", "content": "Hello"}}
    async with get_async_session() as db:
        stream = await open_stream(db, StreamName("project", sdk_session_id), datetime.now(UTC))
        await append_to_stream(db, stream, [(json.dumps(entry), entry)], datetime.now(UTC))
        return stream.session.id


async def test_a_line_that_waited_for_an_adoption_goes_to_the_adopting_session() -> None:
    sdk_session_id = str(new_id())
    assert await write_line(sdk_session_id, "first") == UUID(sdk_session_id)
    async with get_async_session() as db:
        workflow = await crud.create_session(db, SessionCreate(session_slug="feature", working_dir="/work"))
    async with async_session() as db:
        await crud.create_agent(db, AgentCreate(session_id=workflow.id, agent_type="build", sdk_session_id=sdk_session_id))
        writing = asyncio.create_task(write_line(sdk_session_id, "second"))
        await asyncio.sleep(0.3)
        assert not writing.done()
        await db.commit()
    assert await writing == workflow.id
    async with async_session() as db:
        assert await crud.get_session(db, UUID(sdk_session_id)) is None
        assert [message["message_index"] for message in await crud.load_messages_paginated(db, workflow.id)] == [0, 1]


async def test_a_line_that_waited_for_a_deletion_does_not_bring_the_session_back() -> None:
    sdk_session_id = str(new_id())
    await write_line(sdk_session_id, "first")
    async with async_session() as db:
        await crud.delete_session(db, UUID(sdk_session_id))
        while await crud.erase_deleted_sessions(db, UUID(sdk_session_id)):
            pass
        writing = asyncio.create_task(write_line(sdk_session_id, "second"))
        await asyncio.sleep(0.3)
        await db.commit()
    with pytest.raises(NotFound, match="deleted"):
        await writing
    async with async_session() as db:
        assert await crud.get_session(db, UUID(sdk_session_id)) is None


async def test_two_first_lines_at_once_make_one_session() -> None:
    sdk_session_id = str(new_id())
    written = await asyncio.gather(*(write_line(sdk_session_id, f"line {number}") for number in range(8)))
    assert set(written) == {UUID(sdk_session_id)}
    async with async_session() as db:
        assert await crud.get_message_count(db, UUID(sdk_session_id)) == 8
        assert len(await crud.list_agents(db, UUID(sdk_session_id))) == 1
