"""An automatic session moves into the workflow session that its SDK session turns out to belong to."""

import asyncio
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pytest
from sqlalchemy import func, select
from sqlmodel import col

from session_db import crud
from session_db.crud.adopting import adopt_session
from session_db.crud.locking import lock_session
from session_db.crud.sdk_sessions import bind_sdk_session, get_sdk_session, main_agent_id
from session_db.crud.usage import TOKENS, put_usage
from session_db.database import UnitOfWork, async_session, get_async_session
from session_db.errors import Conflict
from session_db.ids import derived_id, new_id
from session_db.models import ActivityMinute, Agent, AgentUpdate, MemoryFileCreate, SDKSession, Session
from tests.databases import Database
from tests.factories import event, make_agent, make_session, message


async def recorded(db: UnitOfWork) -> tuple[Session, Agent, Agent]:
    """Make a session as a capture makes it: bound by itself, with a main agent, a sub-agent, and rows of every kind."""
    chat = await make_session(db, session_id=new_id())
    main = await make_agent(db, chat, id=main_agent_id(chat.id, str(chat.id)), agent_type="main")
    sub_agent = await make_agent(db, chat, id=derived_id(chat.id, "a1"), agent_type="Explore", sdk_agent_id="a1", parent_agent_id=main.id)
    await bind_sdk_session(db, str(chat.id), chat.id, main.id, "auto")
    await crud.append_agent_logs(db, [event(chat, agent_id=main.id), event(chat, agent_id=sub_agent.id), event(chat)])
    await crud.save_display_messages(db, chat.id, [message("one", client_id="m1"), message("two", client_id="m2")])
    await crud.create_memory_file(db, MemoryFileCreate(session_id=chat.id, file_path="memory.json", is_primary=True))
    await lock_session(db, chat.id)
    for agent, message_id in ((main, "msg_1"), (sub_agent, "msg_2")):
        row = dict.fromkeys(TOKENS, 10) | {"message_id": message_id, "agent_id": agent.id, "model": "m", "occurred_at": datetime.now(UTC)}
        await put_usage(db, chat.id, [row | {"computed_cost": Decimal("0.5"), "reported_cost": None}], {})
    return chat, main, sub_agent


class TestAdopt:
    async def test_its_rows_move_and_it_is_gone(self, db: UnitOfWork) -> None:
        chat, _, _ = await recorded(db)
        workflow = await make_session(db, session_slug="feature")
        await crud.append_agent_logs(db, [event(workflow)])
        await crud.save_display_messages(db, workflow.id, [message("zero")])
        await crud.create_memory_file(db, MemoryFileCreate(session_id=workflow.id, file_path="own.json", is_primary=True))
        agent = await make_agent(db, workflow, agent_type="build")
        updated = await crud.update_agent(db, agent.id, AgentUpdate(sdk_session_id=str(chat.id)))
        assert await crud.get_session(db, chat.id) is None
        events = await crud.list_agent_logs(db, workflow.id)
        assert [row.event_index for row in events] == [0, 1, 2, 3]
        sub_agent_id = derived_id(workflow.id, "a1")
        assert [row.agent_id for row in events] == [None, agent.id, sub_agent_id, None]
        messages = await crud.load_messages_paginated(db, workflow.id)
        assert [(row["message_index"], row["content"]) for row in messages] == [(0, "zero"), (1, "one"), (2, "two")]
        agents = {row.id: row for row in await crud.list_agents(db, workflow.id)}
        assert agents.keys() == {agent.id, sub_agent_id}
        assert agents[sub_agent_id].parent_agent_id == agent.id
        files = await crud.get_session_memory_files(db, workflow.id)
        assert {row.file_path: row.is_primary for row in files} == {"own.json": True, "memory.json": False}
        session = await crud.get_session(db, workflow.id)
        assert session is not None
        assert updated is not None
        assert (session.event_count, session.message_count) == (4, 3)
        assert (session.total_cost, updated.cost, agents[sub_agent_id].cost) == (1.0, 0.5, 0.5)
        assert session.total_input_tokens == 20
        binding = await get_sdk_session(db, str(chat.id))
        assert binding is not None
        assert (binding.session_id, binding.agent_id, binding.bound_by) == (workflow.id, agent.id, "agent")
        assert binding.moved_from == chat.id

    async def test_where_it_went_is_known_after_another_move(self, db: UnitOfWork) -> None:
        chat, _, _ = await recorded(db)
        workflow, last = await make_session(db, session_slug="feature"), await make_session(db, session_slug="last")
        agent = await make_agent(db, workflow, sdk_session_id=str(chat.id))
        await bind_sdk_session(db, "own", workflow.id, agent.id, "auto")
        await adopt_session(db, await lock_session(db, workflow.id), agent.id, await make_agent(db, last))
        bindings = (await db.execute(select(SDKSession))).scalars()
        assert {binding.moved_from: binding.session_id for binding in bindings} == {chat.id: last.id, workflow.id: last.id}

    async def test_what_was_masked_in_both_is_added_up(self, db: UnitOfWork) -> None:
        chat, _, _ = await recorded(db)
        workflow = await make_session(db, session_slug="feature")
        chat.secrets_masked, workflow.secrets_masked = 3, 4
        await db.flush()
        await make_agent(db, workflow, agent_type="build", sdk_session_id=str(chat.id))
        await db.refresh(workflow)
        assert workflow.secrets_masked == 7

    async def test_a_new_agent_adopts_too(self, db: UnitOfWork) -> None:
        chat, _, _ = await recorded(db)
        workflow = await make_session(db, session_slug="feature")
        agent = await make_agent(db, workflow, agent_type="build", sdk_session_id=str(chat.id))
        assert await crud.get_session(db, chat.id) is None
        assert agent.cost == 0.5

    async def test_what_is_there_under_the_same_key_stays(self, db: UnitOfWork) -> None:
        chat, _, _ = await recorded(db)
        workflow = await make_session(db, session_slug="feature")
        await crud.save_display_messages(db, workflow.id, [message("mine", client_id="m1")])
        await make_agent(db, workflow, agent_type="build", sdk_session_id=str(chat.id))
        messages = await crud.load_messages_paginated(db, workflow.id)
        assert [(row["message_index"], row["content"]) for row in messages] == [(0, "mine"), (1, "two")]
        assert await crud.get_message_count(db, workflow.id) == 2

    async def test_what_somebody_set_by_hand_is_kept(self, db: UnitOfWork) -> None:
        chat = await make_session(db, session_id=new_id())
        main = await make_agent(db, chat, id=main_agent_id(chat.id, str(chat.id)), agent_type="main")
        await bind_sdk_session(db, str(chat.id), chat.id, main.id, "auto")
        await crud.update_agent(db, main.id, AgentUpdate(cost=3.0, input_tokens=7, metadata={"keep": 1}))
        reviewer = await make_agent(db, chat, agent_type="reviewer", sdk_session_id=str(chat.id), cost=2.5)
        workflow = await make_session(db, session_slug="feature")
        agent = await make_agent(db, workflow, agent_type="build", metadata={"mine": 2})
        updated = await crud.update_agent(db, agent.id, AgentUpdate(sdk_session_id=str(chat.id)))
        session = await crud.get_session(db, workflow.id)
        assert updated is not None
        assert session is not None
        assert (updated.cost, updated.input_tokens, updated.metadata_) == (3.0, 7, {"keep": 1, "mine": 2})
        assert session.total_cost == 5.5
        kept = await crud.get_agent(db, reviewer.id)
        assert kept is not None
        assert (kept.session_id, kept.cost) == (workflow.id, 2.5)

    async def test_a_chat_adopts_nothing(self, db: UnitOfWork) -> None:
        chat, _, _ = await recorded(db)
        other = await make_session(db)
        with pytest.raises(Conflict, match=str(chat.id)):
            await make_agent(db, other, sdk_session_id=str(chat.id))
        assert await crud.get_session(db, chat.id) is not None

    async def test_a_chat_that_revived_a_deleted_sdk_session_is_left_alone(self, db: UnitOfWork) -> None:
        chat, _, _ = await recorded(db)
        await crud.delete_session(db, chat.id)
        mine = await make_session(db)
        await make_agent(db, mine, sdk_session_id=str(chat.id))
        workflow = await make_session(db, session_slug="feature")
        with pytest.raises(Conflict, match=str(mine.id)):
            await make_agent(db, workflow, sdk_session_id=str(chat.id))
        assert await crud.get_session(db, mine.id) is not None

    async def test_many_sub_agents_in_any_order_move(self, db: UnitOfWork) -> None:
        chat, main, _ = await recorded(db)
        of_chat: dict[str, Any] = {"session_id": chat.id, "agent_type": "Explore", "parent_agent_id": main.id}
        agents = [Agent(id=derived_id(chat.id, f"s{number}"), sdk_agent_id=f"s{number}", **of_chat) for number in range(2000)]
        db.add_all(agents)
        await db.flush()
        agents[5].parent_agent_id = agents[6].id
        await db.flush()
        workflow = await make_session(db, session_slug="feature")
        agent = await make_agent(db, workflow, agent_type="build", sdk_session_id=str(chat.id))
        rows = await db.execute(select(Agent).where(col(Agent.session_id) == workflow.id))
        moved = {row.sdk_agent_id: row for row in rows.scalars()}
        assert len(moved) == 2002
        assert moved["s5"].parent_agent_id == moved["s6"].id
        assert moved["s6"].parent_agent_id == agent.id

    async def test_a_session_that_was_bound_on_purpose_is_left_alone(self, db: UnitOfWork) -> None:
        owner = await make_session(db, session_slug="owner")
        await make_agent(db, owner, sdk_session_id="sess_abc123")
        other = await make_session(db, session_slug="other")
        with pytest.raises(Conflict, match=str(owner.id)):
            await make_agent(db, other, sdk_session_id="sess_abc123")
        assert await crud.get_session(db, owner.id) is not None

    async def test_agents_with_the_same_id_keep_their_place_in_the_adopting_session(self, db: UnitOfWork) -> None:
        chat, _, _ = await recorded(db)
        one, two = new_id(), new_id()
        await make_agent(db, chat, id=one)
        workflow = await make_session(db, session_slug="feature")
        await make_agent(db, workflow, id=one)
        agent = await make_agent(db, workflow, id=two, parent_agent_id=one)
        await crud.update_agent(db, agent.id, AgentUpdate(sdk_session_id=str(chat.id)))
        agents = {row.id: row.parent_agent_id for row in await crud.list_agents(db, workflow.id)}
        assert agents == {one: None, two: one, derived_id(workflow.id, "a1"): two}

    async def test_sub_agents_with_one_id_of_the_sdk_stay_apart(self, db: UnitOfWork) -> None:
        chat, _, sub_agent = await recorded(db)
        by_hand = await make_agent(db, chat, sdk_agent_id="a1", parent_agent_id=sub_agent.id)
        workflow = await make_session(db, session_slug="feature")
        agent = await make_agent(db, workflow, sdk_session_id=str(chat.id))
        agents = {row.id: row.parent_agent_id for row in await crud.list_agents(db, workflow.id)}
        derived = derived_id(workflow.id, "a1")
        assert agents == {agent.id: None, derived: agent.id, by_hand.id: derived}

    async def test_other_sdk_sessions_of_it_go_on_with_their_agents(self, db: UnitOfWork) -> None:
        chat, _, _ = await recorded(db)
        other = str(new_id())
        await make_agent(db, chat, sdk_session_id=other, sdk_agent_id="a2")
        workflow = await make_session(db, session_slug="feature")
        await make_agent(db, workflow, sdk_session_id=str(chat.id))
        binding = await get_sdk_session(db, other)
        assert binding is not None
        assert (binding.session_id, binding.agent_id) == (workflow.id, derived_id(workflow.id, "a2"))

    async def test_minutes_count_what_both_had_once(self, db: UnitOfWork) -> None:
        chat, _, _ = await recorded(db)
        workflow = await make_session(db, session_slug="feature")
        same = event(chat, id=new_id())
        for session in (chat, workflow):
            await crud.append_agent_logs(db, [same.model_copy(update={"session_id": session.id})])
        await make_agent(db, workflow, sdk_session_id=str(chat.id))
        minutes = await db.execute(select(func.sum(ActivityMinute.events), func.sum(ActivityMinute.cost)))
        assert tuple(minutes.one()) == (4, 1.0)


class TestAdoptAtOnce:
    """A session behind the adopting one in the order of locks: what it is becomes known with its lock only."""

    async def start(self, session: Session, sdk_session_id: str) -> asyncio.Task[Agent]:
        """Create an agent with the SDK session in a transaction of its own, as far as it comes now."""

        async def create() -> Agent:
            async with get_async_session() as db:
                return await make_agent(db, session, sdk_session_id=sdk_session_id)

        creating = asyncio.create_task(create())
        await asyncio.sleep(0.3)
        assert not creating.done()
        return creating

    async def test_one_that_another_adopts_meanwhile_is_refused_with_where_it_is(self, fresh_database: Database) -> None:
        async with get_async_session() as db:
            one, two = [await make_session(db, session_slug=slug) for slug in ("one", "two")]
            chat, _, _ = await recorded(db)
        async with async_session() as db:
            await lock_session(db, one.id)
            await lock_session(db, chat.id)
            creating = await self.start(two, str(chat.id))
            await make_agent(db, one, sdk_session_id=str(chat.id))
            await db.commit()
        with pytest.raises(Conflict, match=str(one.id)):
            await creating

    async def test_one_that_is_deleted_meanwhile_is_begun_anew(self, fresh_database: Database) -> None:
        async with get_async_session() as db:
            workflow = await make_session(db, session_slug="feature")
            chat, _, _ = await recorded(db)
        async with async_session() as db:
            await lock_session(db, chat.id)
            creating = await self.start(workflow, str(chat.id))
            await crud.delete_session(db, chat.id)
            await db.commit()
        agent = await creating
        async with async_session() as db:
            binding = await get_sdk_session(db, str(chat.id))
        assert binding is not None
        assert (binding.session_id, binding.agent_id, binding.deleted_at) == (workflow.id, agent.id, None)
