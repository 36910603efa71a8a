"""Agents, and the totals that a session sums up over them."""

from datetime import UTC, datetime
from decimal import Decimal
from typing import Any
from uuid import UUID, uuid4

import pytest
from sqlalchemy import Numeric, func, select, type_coerce
from sqlmodel import col

from session_db import crud
from session_db.crud.agents import TOTALS
from session_db.crud.sdk_sessions import get_sdk_session, sdk_key
from session_db.crud.usage import TOKENS, get_usage, put_usage
from session_db.database import UnitOfWork
from session_db.errors import AlreadyExists, Conflict, InvalidInput, NotFound
from session_db.models import ActivityMinute, Agent, AgentCreate, AgentRead, AgentUpdate, Session
from tests.factories import make_agent, make_session

NOON = datetime(2026, 1, 15, 12, tzinfo=UTC)


async def sums(db: UnitOfWork, session: Session) -> tuple[list[Decimal], list[Decimal]]:
    """Return a session's totals and the sums over its agents, as the database has them."""
    of_session = select(*(exact_sum(getattr(Session, f"total_{name}")) for name in TOTALS)).where(col(Session.id) == session.id)
    of_agents = select(*(exact_sum(getattr(Agent, name)) for name in TOTALS)).where(col(Agent.session_id) == session.id)
    return [*(await db.execute(of_session)).one()], [*(await db.execute(of_agents)).one()]


def exact_sum(column: Any) -> Any:
    return type_coerce(func.sum(column), Numeric(20, 10))


def usage_row(agent: Agent, message_id: str = "msg_1", **values: Any) -> dict[str, Any]:
    return (
        {"message_id": message_id, "agent_id": agent.id, "model": "m", "occurred_at": NOON, "computed_cost": None, "reported_cost": None}
        | dict.fromkeys(TOKENS, 0)
        | values
    )


class TestCreateAgent:
    async def test_it_keeps_what_it_is_given(self, db: UnitOfWork) -> None:
        session = await make_session(db)
        data = AgentCreate(session_id=session.id, agent_type="spec", model="claude-sonnet-4-5", model_alias="sonnet", metadata={"a": 1})
        agent = await crud.create_agent(db, data)
        shown = AgentRead.model_validate(agent, from_attributes=True)
        assert (shown.agent_type, shown.model, shown.model_alias, shown.status) == ("spec", "claude-sonnet-4-5", "sonnet", "pending")
        assert shown.model_dump(by_alias=True)["metadata"] == {"a": 1}

    async def test_its_session_must_be_there(self, db: UnitOfWork) -> None:
        with pytest.raises(NotFound):
            await make_agent(db, uuid4())

    async def test_a_parent_of_another_session_is_refused_and_the_transaction_goes_on(self, db: UnitOfWork) -> None:
        elsewhere = await make_agent(db)
        session = await make_session(db)
        with pytest.raises(NotFound, match="parent"):
            await make_agent(db, session, parent_agent_id=elsewhere.id)
        parent = await make_agent(db, session)
        child = await make_agent(db, session, parent_agent_id=parent.id)
        assert child.parent_agent_id == parent.id

    async def test_an_id_is_taken_once_in_a_session(self, db: UnitOfWork) -> None:
        agent = await make_agent(db)
        db.expunge(agent)
        with pytest.raises(AlreadyExists):
            await make_agent(db, agent.session_id, id=agent.id)
        assert (await make_agent(db, id=agent.id)).id == agent.id

    async def test_its_cost_counts_in_the_session(self, db: UnitOfWork) -> None:
        session = await make_session(db)
        agents = [await make_agent(db, session, cost=cost) for cost in (0.1, 0.2)]
        assert [agent.cost for agent in agents] == [0.1, 0.2]
        assert session.total_cost == 0.3

    async def test_costs_add_up_exactly(self, db: UnitOfWork) -> None:
        session = await make_session(db)
        for cost in (123_456.1, 0.1, 0.3000000001, 98_765.0000000003, 0.00000000014, 7_654_321.7, 1e-10):
            agent = await make_agent(db, session, cost=cost)
        await crud.update_agent(db, agent.id, AgentUpdate(cost=54_321.9876543211))
        of_session, of_agents = await sums(db, session)
        assert of_session == of_agents
        assert of_session[-1] == Decimal("7930865.1876543216")

    @pytest.mark.parametrize("cost", [1e10, 1e30, 1e300])
    async def test_a_cost_that_no_column_keeps_is_refused(self, db: UnitOfWork, cost: float) -> None:
        with pytest.raises(InvalidInput):
            await make_agent(db, cost=cost)

    async def test_none_has_started_itself(self, db: UnitOfWork) -> None:
        with pytest.raises(ValueError, match=r"parent_agent_id.*started itself"):
            await make_agent(db, id=UUID(int=7), parent_agent_id=UUID(int=7))

    async def test_an_sdk_session_of_another_session_is_refused_and_nothing_stays(self, db: UnitOfWork) -> None:
        first = await make_agent(db, sdk_session_id="sess_abc123")
        other = await make_session(db)
        with pytest.raises(Conflict, match=str(first.session_id)):
            await make_agent(db, other, sdk_session_id="sess_abc123", cost=1)
        assert await crud.list_agents(db, other.id) == []
        assert other.total_cost == 0

    async def test_events_of_a_resumed_sdk_session_go_to_the_newest_agent(self, db: UnitOfWork) -> None:
        first = await make_agent(db, sdk_session_id="sess_abc123")
        second = await make_agent(db, first.session_id, sdk_session_id="sess_abc123")
        binding = await get_sdk_session(db, sdk_key("sess_abc123"))
        assert binding is not None
        assert binding.agent_id == second.id

    @pytest.mark.parametrize("values", [{"status": "done"}, {"cost": -1}, {"agent_type": "x" * 101}, {"name": "\x00"}])
    async def test_what_makes_no_agent_is_refused(self, db: UnitOfWork, values: dict[str, object]) -> None:
        with pytest.raises(ValueError, match=next(iter(values))):
            await make_agent(db, uuid4(), **values)


class TestGetAgent:
    async def test_with_or_without_its_session(self, db: UnitOfWork) -> None:
        agent = await make_agent(db)
        assert await crud.get_agent(db, agent.id) is agent
        assert await crud.get_agent(db, agent.id, agent.session_id) is agent
        assert await crud.get_agent(db, agent.id, uuid4()) is None
        assert await crud.get_agent(db, uuid4()) is None

    async def test_an_id_in_several_sessions_needs_the_session(self, db: UnitOfWork) -> None:
        one = await make_agent(db)
        two = await make_agent(db, id=one.id)
        for refused in (crud.get_agent(db, one.id), crud.update_agent(db, one.id, AgentUpdate(name="New"))):
            with pytest.raises(Conflict, match=f"{one.session_id}, {two.session_id}"):
                await refused
        assert await crud.get_agent(db, one.id, two.session_id) is two
        await crud.update_agent(db, one.id, AgentUpdate(name="New"), two.session_id)
        assert (one.name, two.name) == (None, "New")


class TestListAgents:
    async def test_pages_in_the_order_of_their_making(self, db: UnitOfWork) -> None:
        session = await make_session(db)
        agents = [await make_agent(db, session) for _ in range(5)]
        await make_agent(db)
        page = await crud.list_agents(db, session.id, limit=3)
        assert page == agents[:3]
        rest = await crud.list_agents(db, session.id, limit=3, cursor=page.next_cursor)
        assert (rest, rest.next_cursor) == (agents[3:], None)

    async def test_by_status(self, db: UnitOfWork) -> None:
        session = await make_session(db)
        await make_agent(db, session)
        failed = await make_agent(db, session, status="failed")
        assert await crud.list_agents(db, session.id, status="failed") == [failed]


class TestUpdateAgent:
    async def test_only_what_was_set_changes_and_none_clears(self, db: UnitOfWork) -> None:
        agent = await make_agent(db, model="m", name="Plan it", metadata={"a": 1})
        started = datetime(2026, 1, 15, 12)  # noqa: DTZ001  a naive moment is UTC
        await crud.update_agent(db, agent.id, AgentUpdate(status="executing", name=None, started_at=started))
        db.expunge_all()
        again = await crud.get_agent(db, agent.id)
        assert again is not None
        assert (again.status, again.model, again.name, again.metadata_, again.started_at) == ("executing", "m", None, {"a": 1}, NOON)
        assert await crud.update_agent(db, uuid4(), AgentUpdate(status="failed")) is None
        assert await crud.update_agent(db, agent.id, AgentUpdate(status="failed"), session_id=uuid4()) is None

    @pytest.mark.parametrize("name", ["status", "agent_type", "cost", "input_tokens"])
    async def test_what_it_needs_cannot_be_cleared(self, db: UnitOfWork, name: str) -> None:
        agent = await make_agent(db)
        with pytest.raises(InvalidInput, match=f"{name} cannot be cleared"):
            await crud.update_agent(db, agent.id, AgentUpdate.model_validate({name: None, "model": "new"}))
        assert agent.model is None

    async def test_totals_set_by_hand_move_the_session_by_the_difference(self, db: UnitOfWork) -> None:
        session = await make_session(db)
        one, two = await make_agent(db, session, cost=0.7), await make_agent(db, session)
        await crud.update_agent(db, one.id, AgentUpdate(cost=0.1, input_tokens=10, output_tokens=5))
        await crud.update_agent(db, two.id, AgentUpdate(cost=0.2, cache_read_tokens=7, cache_write_tokens=3))
        await crud.update_agent(db, one.id, AgentUpdate(input_tokens=4))
        assert (one.cost, one.input_tokens) == (0.1, 4)
        assert session.total_cost == 0.3
        assert await sums(db, session) == ([4, 5, 7, 3, Decimal("0.3")],) * 2

    async def test_a_refused_sdk_session_leaves_the_agent_and_the_totals_as_they_were(self, db: UnitOfWork) -> None:
        await make_agent(db, sdk_session_id="sess_abc123")
        session = await make_session(db)
        agent = await make_agent(db, session)
        with pytest.raises(Conflict):
            await crud.update_agent(db, agent.id, AgentUpdate(sdk_session_id="sess_abc123", status="failed", cost=1))
        assert (agent.sdk_session_id, agent.status, agent.cost) == (None, "pending", 0)
        assert await sums(db, session) == ([Decimal(0)] * 5,) * 2


class TestPutUsage:
    async def test_totals_are_the_sums_over_the_rows(self, db: UnitOfWork) -> None:
        session = await make_session(db)
        one, two = await make_agent(db, session), await make_agent(db, session)
        rows = [
            usage_row(one, "a", input_tokens=10, cache_write_5m_tokens=1, cache_write_1h_tokens=2, computed_cost=Decimal("0.1")),
            usage_row(two, "b", output_tokens=20, computed_cost=Decimal("0.2"), reported_cost=Decimal(9)),
            usage_row(two, "c", cache_read_tokens=30, reported_cost=Decimal("0.0000000003")),
        ]
        await put_usage(db, session.id, rows, {})
        assert (one.input_tokens, one.cache_write_tokens, one.cost) == (10, 3, 0.1)
        assert (two.output_tokens, two.cache_read_tokens, two.cost) == (20, 30, 0.2000000003)
        assert await sums(db, session) == ([10, 20, 30, 3, Decimal("0.3000000003")],) * 2
        assert session.total_cost == 0.3000000003

    async def test_a_row_that_is_put_again_moves_the_totals_by_the_difference(self, db: UnitOfWork) -> None:
        session = await make_session(db)
        agent = await make_agent(db, session)
        for tokens, cost in ((10, "0.5"), (10, "0.5"), (7, "0.2")):
            before = await get_usage(db, session.id, ["a"])
            await put_usage(db, session.id, [usage_row(agent, "a", input_tokens=tokens, computed_cost=Decimal(cost))], before)
        assert await sums(db, session) == ([7, 0, 0, 0, Decimal("0.2")],) * 2
        minutes = (await db.execute(select(ActivityMinute).where(col(ActivityMinute.session_id) == session.id))).scalars().all()
        assert [(minute.minute, minute.events, minute.cost) for minute in minutes] == [(NOON, 0, 0.2)]

    async def test_a_row_stays_with_its_first_agent(self, db: UnitOfWork) -> None:
        session = await make_session(db)
        first, second = await make_agent(db, session), await make_agent(db, session)
        await put_usage(db, session.id, [usage_row(first, "a", input_tokens=10)], {})
        await put_usage(db, session.id, [usage_row(second, "a", input_tokens=15)], await get_usage(db, session.id, ["a"]))
        assert (first.input_tokens, second.input_tokens) == (15, 0)

    async def test_afterwards_nobody_sets_the_agents_cost_by_hand(self, db: UnitOfWork) -> None:
        session = await make_session(db)
        agent, other = await make_agent(db, session), await make_agent(db, session)
        await put_usage(db, session.id, [usage_row(agent, computed_cost=Decimal("0.5"))], {})
        with pytest.raises(Conflict, match="has usage rows, which make its cost"):
            await crud.update_agent(db, agent.id, AgentUpdate(cost=2, status="complete"))
        assert (agent.cost, agent.status) == (0.5, "pending")
        await crud.update_agent(db, other.id, AgentUpdate(cost=2))
        assert session.total_cost == 2.5

    async def test_costs_are_summed_as_they_are_stored(self, db: UnitOfWork) -> None:
        agent = await make_agent(db)
        rows = [usage_row(agent, f"msg_{number}", computed_cost=Decimal("0.00000000006")) for number in range(3)]
        await put_usage(db, agent.session_id, rows, {})
        stored = await get_usage(db, agent.session_id, [row["message_id"] for row in rows])
        total = sum(row["computed_cost"] for row in stored.values())
        minute = exact_sum(ActivityMinute.cost)
        spent = await db.scalar(select(minute).where(col(ActivityMinute.session_id) == agent.session_id))
        session = await crud.get_session(db, agent.session_id)
        assert session is not None
        of_session, of_agents = await sums(db, session)
        assert [of_session[-1], of_agents[-1], spent] == [total] * 3 == [Decimal("0.0000000003")] * 3
