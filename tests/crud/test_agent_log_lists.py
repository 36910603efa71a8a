"""Events: what lists leave out, the whole of one, and the last ones."""

from typing import Any
from uuid import uuid4

import pytest
from sqlalchemy import text

from session_db import crud
from session_db.database import UnitOfWork
from session_db.errors import InvalidInput
from session_db.models import AgentLogRead
from session_db.models.text import READABLE_LIMIT
from tests.factories import event, make_agent, make_event, make_session

# As JSON it has two quotation marks more.
LIMIT_TEXT = "x" * (READABLE_LIMIT - 2)


class TestListAgentLogs:
    @pytest.mark.parametrize("order", ["recorded", "happened"])
    async def test_what_is_larger_than_16_kb_is_left_out_with_its_size(self, db: UnitOfWork, order: str) -> None:
        session = await make_session(db)
        values: list[dict[str, Any]] = [
            {"payload": LIMIT_TEXT, "tool_input": LIMIT_TEXT + "x"},
            {"payload": LIMIT_TEXT + "x"},
            {"payload": {"a": [1, "\x00"]}},
        ]
        await crud.append_agent_logs(db, [event(session, **value) for value in values])
        first, second, third = await crud.list_agent_logs(db, session.id, order=order)  # type: ignore[arg-type]
        assert (first.payload, first.payload_bytes) == (LIMIT_TEXT, READABLE_LIMIT)
        assert (first.tool_input, first.tool_input_bytes) == (None, READABLE_LIMIT + 1)
        assert (second.payload, second.payload_bytes) == (None, READABLE_LIMIT + 1)
        assert (second.tool_input, second.tool_input_bytes) == (None, None)
        assert (third.payload, third.payload_bytes) == ({"a": [1, "\x00"]}, len('{"a": [1, "\\u0000"]}'))

    async def test_the_size_is_that_of_the_stored_text_in_bytes(self, db: UnitOfWork) -> None:
        session = await make_session(db)
        await make_event(db, session)
        await db.execute(text("UPDATE agent_logs SET payload = CAST(:sent AS json)"), {"sent": '"' + "é" * 10_000 + '"'})
        (log,) = await crud.list_agent_logs(db, session.id)
        assert (log.payload, log.payload_bytes) == (None, 20_002)

    async def test_whole_leaves_nothing_out(self, db: UnitOfWork) -> None:
        session = await make_session(db)
        await make_event(db, session, payload=LIMIT_TEXT + "xx", tool_input=LIMIT_TEXT + "yy")
        (log,) = await crud.list_agent_logs(db, session.id, whole=True)
        assert (log.payload, log.tool_input) == (LIMIT_TEXT + "xx", LIMIT_TEXT + "yy")
        assert log.payload_bytes == READABLE_LIMIT + 2

    async def test_a_change_of_a_listed_event_keeps_what_was_left_out(self, db: UnitOfWork) -> None:
        session = await make_session(db)
        made = await make_event(db, session, payload=LIMIT_TEXT + "x")
        (log,) = await crud.list_agent_logs(db, session.id)
        log.duration_ms = 7
        await db.flush()
        whole = await crud.get_agent_log(db, session.id, made.id)
        assert whole is not None
        assert (whole.payload, whole.duration_ms) == (LIMIT_TEXT + "x", 7)


class TestGetAgentLog:
    async def test_it_finds_an_event_by_id_and_by_index_with_all_it_has(self, db: UnitOfWork) -> None:
        session = await make_session(db)
        await make_event(db, session)
        made = await make_event(db, session, payload=LIMIT_TEXT + "x")
        for key in (made.id, 1):
            db.expunge_all()
            log = await crud.get_agent_log(db, session.id, key)
            assert log is not None
            assert (log.id, log.payload, log.payload_bytes) == (made.id, LIMIT_TEXT + "x", READABLE_LIMIT + 1)
            assert AgentLogRead.model_validate(log).payload_bytes == READABLE_LIMIT + 1

    async def test_another_sessions_event_is_none(self, db: UnitOfWork) -> None:
        made = await make_event(db)
        assert await crud.get_agent_log(db, (await make_session(db)).id, made.id) is None
        assert await crud.get_agent_log(db, made.session_id, 1) is None
        assert await crud.get_agent_log(db, uuid4(), 0) is None

    async def test_a_deleted_sessions_event_is_none(self, db: UnitOfWork) -> None:
        made = await make_event(db)
        await crud.delete_session(db, made.session_id)
        assert await crud.get_agent_log(db, made.session_id, made.id) is None

    async def test_an_index_that_no_event_can_have_is_refused(self, db: UnitOfWork) -> None:
        with pytest.raises(InvalidInput, match="cannot take a value"):
            await crud.get_agent_log(db, uuid4(), 2**63)


class TestGetLastAgentLogs:
    async def test_they_are_in_the_order_of_recording(self, db: UnitOfWork) -> None:
        agent = await make_agent(db)
        for number in range(5):
            await make_event(db, agent.session_id, agent_id=agent.id if number % 2 == 0 else None)
        last = await crud.get_last_agent_logs(db, agent.session_id, limit=2)
        assert [log.event_index for log in last] == [3, 4]
        by_agent = await crud.get_last_agent_logs(db, agent.session_id, agent_id=agent.id, limit=2)
        assert [log.event_index for log in by_agent] == [2, 4]

    async def test_they_leave_out_what_a_list_leaves_out(self, db: UnitOfWork) -> None:
        made = await make_event(db, payload=LIMIT_TEXT + "x")
        (log,) = await crud.get_last_agent_logs(db, made.session_id)
        assert (log.payload, log.payload_bytes) == (None, READABLE_LIMIT + 1)

    async def test_a_limit_out_of_range_is_refused(self, db: UnitOfWork) -> None:
        with pytest.raises(InvalidInput, match="limit 1001"):
            await crud.get_last_agent_logs(db, uuid4(), limit=1001)


class TestListAgents:
    async def test_those_that_one_agent_started(self, db: UnitOfWork) -> None:
        parent = await make_agent(db)
        child = await make_agent(db, parent.session_id, parent_agent_id=parent.id)
        await make_agent(db, parent.session_id, parent_agent_id=child.id)
        assert await crud.list_agents(db, parent.session_id, parent_agent_id=parent.id) == [child]
