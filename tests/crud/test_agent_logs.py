"""Events: append and list."""

import json
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import Text, cast, select
from sqlmodel import col

from session_db import crud
from session_db.database import UnitOfWork
from session_db.errors import InvalidInput, NotFound
from session_db.models import ActivityMinute, AgentLog, AgentLogCreate, Session
from session_db.models.table import JSONText
from session_db.models.text import READABLE_LIMIT
from tests.factories import event, make_agent, make_event, make_session

NOON = datetime(2026, 1, 15, 12, tzinfo=UTC)


async def stored(db: UnitOfWork, session: Session) -> list[AgentLog]:
    """Return a session's events as a new unit of work would read them."""
    await db.flush()
    db.expunge_all()
    return await crud.list_agent_logs(db, session.id, whole=True, limit=1000)


class TestCreateAgentLog:
    async def test_it_returns_the_stored_event(self, db: UnitOfWork) -> None:
        agent = await make_agent(db)
        log = await crud.create_agent_log(
            db,
            AgentLogCreate(
                agent_id=agent.id,
                session_id=agent.session_id,
                event_category="hook",
                event_type="PreToolUse",
                tool_name="Read",
                tool_input={"file_path": "/src/auth.py"},
            ),
        )
        assert (log.event_index, log.agent_id, log.tool_name, log.tool_input) == (0, agent.id, "Read", {"file_path": "/src/auth.py"})
        assert log.recorded_at is not None

    async def test_an_id_that_is_there_gives_the_event_that_is_there(self, db: UnitOfWork) -> None:
        session = await make_session(db)
        first = await make_event(db, session, id=uuid4(), content="first")
        again = await make_event(db, session, id=first.id, content="second")
        assert (again.event_index, again.content) == (0, "first")
        assert session.event_count == 1


class TestAppendAgentLogs:
    async def test_events_of_several_sessions_go_on_where_each_session_is(self, db: UnitOfWork) -> None:
        one, two = await make_session(db), await make_session(db)
        await make_event(db, two)
        appended = await crud.append_agent_logs(db, [event(one), event(two), event(one), event(two)])
        assert [(a.event_index, a.is_new) for a in appended] == [(0, True), (1, True), (1, True), (2, True)]
        assert (one.event_count, two.event_count) == (2, 3)

    async def test_no_events_are_no_events(self, db: UnitOfWork) -> None:
        assert await crud.append_agent_logs(db, []) == []

    async def test_sent_again_they_change_nothing(self, db: UnitOfWork) -> None:
        session = await make_session(db)
        batch = [event(session, id=uuid4()) for _ in range(3)]
        await crud.append_agent_logs(db, batch[:2])
        appended = await crud.append_agent_logs(db, batch)
        assert [(a.id, a.event_index, a.is_new) for a in appended] == [
            (batch[0].id, 0, False),
            (batch[1].id, 1, False),
            (batch[2].id, 2, True),
        ]
        assert session.event_count == 3
        assert await self.events_by_minute(db, session) == 3

    async def test_an_id_twice_in_one_batch_is_new_once(self, db: UnitOfWork) -> None:
        session = await make_session(db)
        twice = event(session, id=uuid4())
        appended = await crud.append_agent_logs(db, [twice, event(session), twice])
        assert [(a.event_index, a.is_new) for a in appended] == [(0, True), (1, True), (0, False)]

    async def test_the_same_id_may_stand_in_two_sessions(self, db: UnitOfWork) -> None:
        one, two = await make_session(db), await make_session(db)
        event_id = uuid4()
        appended = await crud.append_agent_logs(db, [event(one, id=event_id), event(two, id=event_id)])
        assert [a.is_new for a in appended] == [True, True]

    async def test_more_events_than_a_statement_has_parameters(self, db: UnitOfWork) -> None:
        session = await make_session(db)
        known = await make_event(db, session, id=uuid4())
        many = [event(session, id=event_id) for event_id in [known.id, *(uuid4() for _ in range(33_000))]]
        places = await crud.append_agent_logs(db, many)
        assert (places[0].is_new, places[-1].event_index) == (False, 33_000)
        assert session.event_count == 33_001

    async def test_an_unknown_session_appends_nothing_anywhere(self, db: UnitOfWork) -> None:
        session = await make_session(db)
        with pytest.raises(NotFound):
            await crud.append_agent_logs(db, [event(session), event(uuid4())])
        assert session.event_count == 0

    async def test_an_agent_of_another_session_appends_nothing_and_the_transaction_goes_on(self, db: UnitOfWork) -> None:
        one, two = await make_session(db), await make_session(db)
        stranger = await make_agent(db)
        with pytest.raises(NotFound, match="agent is not in this session"):
            await crud.append_agent_logs(db, [event(one), event(two, agent_id=stranger.id)])
        assert (await make_event(db, one)).event_index == 0
        await db.commit()
        assert [len(await stored(db, session)) for session in (one, two)] == [1, 0]

    async def test_the_pulse_counts_events_by_minute(self, db: UnitOfWork) -> None:
        session = await make_session(db)
        moments = [NOON, NOON + timedelta(seconds=59), NOON + timedelta(minutes=1)]
        await crud.append_agent_logs(db, [event(session, timestamp=moment) for moment in moments])
        await make_event(db, session, timestamp=NOON + timedelta(seconds=30))
        rows = (await db.execute(select(ActivityMinute).order_by(col(ActivityMinute.minute)))).scalars().all()
        assert [(row.minute, row.events) for row in rows] == [(NOON, 3), (NOON + timedelta(minutes=1), 1)]

    async def test_a_naive_timestamp_is_utc(self, db: UnitOfWork) -> None:
        log = await make_event(db, timestamp=datetime(2026, 1, 15, 12))  # noqa: DTZ001  the case
        assert log.timestamp == NOON

    @staticmethod
    async def events_by_minute(db: UnitOfWork, session: Session) -> int:
        rows = await db.execute(select(ActivityMinute).where(col(ActivityMinute.session_id) == session.id))
        return sum(row.events for row in rows.scalars())


JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(exclude_categories=())),
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.text(st.characters(exclude_categories=()), max_size=5), inner, max_size=4)
    ),
    max_leaves=15,
)


class TestPayload:
    @pytest.mark.parametrize(
        "payload",
        [
            {"nul": "a\x00b", "\x00": 1},
            {"surrogates": "\ud800 and \udfff", "pair": "\U0001f600"},
            {"floats": [1e300, -0.0, 5e-324, 0.1], "ints": [2**63, -(10**400)]},
            {"order": {"z": 1, "a": 2}, "empty": [{}, [], "", None]},
            "a text",
            0,
            False,
        ],
        ids=["nul", "surrogates", "numbers", "order", "text", "zero", "false"],
    )
    async def test_it_comes_back_exactly(self, db: UnitOfWork, payload: Any) -> None:
        session = await make_session(db)
        await make_event(db, session, payload=payload, tool_input=payload)
        (log,) = await stored(db, session)
        for value in (log.payload, log.tool_input):
            assert json.dumps(value) == json.dumps(payload)

    @settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
    @given(payload=JSON)
    async def test_any_json_comes_back_exactly(self, db: UnitOfWork, payload: Any) -> None:
        log = await make_event(db, payload=payload)
        await db.refresh(log)
        assert json.dumps(log.payload) == json.dumps(payload)

    async def test_the_senders_own_text_is_kept_to_the_byte(self, db: UnitOfWork) -> None:
        text = '{ "b":1.50,  "a":1e300, "a":"\\u0000\\ud800 \u00e9" }'
        log = await make_event(db, payload=JSONText(text))
        assert await db.scalar(select(cast(col(AgentLog.payload), Text)).where(col(AgentLog.id) == log.id)) == text

    async def test_ten_megabytes_come_back_exactly(self, db: UnitOfWork) -> None:
        session = await make_session(db)
        payload = {"output": "é\x00" * 5_000_000}
        await make_event(db, session, payload=payload)
        (log,) = await stored(db, session)
        assert log.payload == payload

    @pytest.mark.parametrize("value", [float("nan"), float("inf"), {"at": NOON}, {1, 2}], ids=["nan", "inf", "datetime", "set"])
    async def test_what_is_no_json_is_refused_and_nothing_is_appended(self, db: UnitOfWork, value: Any) -> None:
        one, two = await make_session(db), await make_session(db)
        with pytest.raises(InvalidInput, match="is no JSON"):
            await crud.append_agent_logs(db, [event(one), event(two, payload={"x": [value]})])
        assert (await make_event(db, one)).event_index == 0

    async def test_text_that_only_claims_to_be_json_is_refused_and_the_transaction_goes_on(self, db: UnitOfWork) -> None:
        session = await make_session(db)
        with pytest.raises(InvalidInput, match="cannot take a value"):
            await make_event(db, session, payload=JSONText("{torn"))
        assert (await make_event(db, session)).event_index == 0


class TestReadableColumns:
    async def test_they_are_cut_and_the_whole_stands_in_the_payload(self, db: UnitOfWork) -> None:
        session = await make_session(db)
        long = "x" * (READABLE_LIMIT + 1)
        log = await make_event(db, session, tool_output=long, content="short")
        assert (log.tool_output, log.content, log.truncated) == (long[:-1], "short", True)
        assert log.payload == {"tool_output": long, "content": "short"}

    async def test_a_payload_of_the_senders_own_is_left_alone(self, db: UnitOfWork) -> None:
        log = await make_event(db, content="x" * (READABLE_LIMIT + 1), payload={"mine": 1})
        assert log.payload == {"mine": 1}

    async def test_what_fits_is_not_cut(self, db: UnitOfWork) -> None:
        log = await make_event(db, content="x" * READABLE_LIMIT)
        assert (log.truncated, log.payload) == (False, None)

    async def test_nul_and_lone_surrogates_become_replacement_characters(self, db: UnitOfWork) -> None:
        log = await make_event(db, tool_output="a\x00b", content="\ud800 \U0001f600")
        assert (log.tool_output, log.content) == ("a\ufffdb", "\ufffd \U0001f600")

    @pytest.mark.parametrize("name", ["tool_output", "content"])
    def test_they_take_text_only(self, name: str) -> None:
        with pytest.raises(ValueError, match="send a text"):
            event(uuid4(), **{name: {"not": "text"}})


class TestAgentLogCreate:
    @pytest.mark.parametrize("values", [{"event_category": "tool"}, {"event_type": "x" * 201}, {"tool_name": "\x00"}, {"evnt": 1}])
    def test_what_makes_no_event_is_refused(self, values: dict[str, object]) -> None:
        with pytest.raises(ValueError, match=next(iter(values))):
            event(uuid4(), **values)


class TestListAgentLogs:
    async def test_it_filters(self, db: UnitOfWork) -> None:
        agent = await make_agent(db)
        here = agent.session_id
        by_agent = await make_event(db, here, agent_id=agent.id)
        by_tool = await make_event(db, here, tool_name="Read", tool_use_id="toolu_1")
        by_type = await make_event(db, here, event_category="response", event_type="TextBlock")
        await make_event(db)
        assert await crud.list_agent_logs(db, here, agent_id=agent.id) == [by_agent]
        assert await crud.list_agent_logs(db, here, tool_name="Read") == [by_tool]
        assert await crud.list_agent_logs(db, here, tool_use_id="toolu_1") == [by_tool]
        assert await crud.list_agent_logs(db, here, event_category="response") == [by_type]
        assert await crud.list_agent_logs(db, here, event_type="TextBlock") == [by_type]
        assert await crud.list_agent_logs(db, here, after_index=1) == [by_type]

    async def test_pages_in_the_order_of_recording_while_others_come(self, db: UnitOfWork) -> None:
        session = await make_session(db)
        for _ in range(5):
            await make_event(db, session)
        first = await crud.list_agent_logs(db, session.id, limit=3)
        await make_event(db, session, timestamp=NOON)
        rest = await crud.list_agent_logs(db, session.id, limit=3, cursor=first.next_cursor)
        assert [log.event_index for log in first + rest] == [0, 1, 2, 3, 4, 5]
        assert rest.next_cursor is None

    async def test_pages_in_the_order_of_happening(self, db: UnitOfWork) -> None:
        session = await make_session(db)
        for second in (3, 1, 2, 1):
            await make_event(db, session, timestamp=NOON + timedelta(seconds=second))
        seen, cursor = [], None
        while True:
            page = await crud.list_agent_logs(db, session.id, order="happened", limit=1, cursor=cursor)
            seen += [log.event_index for log in page]
            cursor = page.next_cursor
            if cursor is None:
                break
        assert seen == [1, 3, 2, 0]

    async def test_an_unknown_order_is_refused(self, db: UnitOfWork) -> None:
        with pytest.raises(InvalidInput, match="recorded or happened"):
            await crud.list_agent_logs(db, uuid4(), order="newest")  # type: ignore[arg-type]
