"""Many writers of one session, some of them killed: what was acknowledged is there once, and the indexes have no gap."""

import asyncio
import random
from collections import Counter
from typing import Any
from uuid import UUID

from sqlalchemy import select
from sqlmodel import col

from session_db import crud
from session_db.database import async_session, get_async_session
from session_db.errors import AlreadyExists
from session_db.models import Agent, AgentLog, AgentUpdate, ClipCreate, ClipUpdate, MemoryFileCreate, Message, Session
from tests.databases import Database
from tests.factories import event, make_agent, make_session, message
from tests.processes import Worker, let_all_go, workers

APPEND_MESSAGES = """
async def main(session, worker, batches):
    for batch in range(int(batches)):
        texts = [f"{worker}-{batch}-{number}" for number in range(1 + batch % 3)]
        async with get_async_session() as db:
            messages = [{"role": "user", "content": text} for text in texts]
            appended = await crud.save_display_messages(db, UUID(session), messages)
        for text, place in zip(texts, appended, strict=True):
            print(text, place.message_index, flush=True)
    await close_db()

asyncio.run(main(*sys.argv[1:]))
"""

APPEND_EVENTS_TWICE = """
async def send(events):
    async with get_async_session() as db:
        return await crud.append_agent_logs(db, events)

async def main(session, worker, batches):
    for batch in range(int(batches)):
        ids = [UUID(int=(int(worker) << 64) + (batch << 32) + number) for number in range(1 + batch % 3)]
        events = [event(UUID(session), id) for id in ids]
        one, two = await asyncio.gather(send(events), send(events))
        for first, second in zip(one, two, strict=True):
            assert first.event_index == second.event_index, (first, second)
            assert first.is_new != second.is_new, (first, second)
            print(first.id, first.event_index, flush=True)
    await close_db()

asyncio.run(main(*sys.argv[1:]))
"""

WRITERS = 8
BATCHES = 25
ENDLESS = 10**6


async def make_committed_session() -> Session:
    async with get_async_session() as db:
        return await make_session(db)


async def run_and_kill_half(database: Database, code: str, session: Session) -> dict[str, int]:
    """Let eight writers append, kill four of them in the middle, and return where each acknowledged thing was said to stand."""
    chance = random.Random(7)  # noqa: S311  a test
    # Those that are killed would never end by themselves.
    batches = [ENDLESS] * (WRITERS // 2) + [BATCHES] * (WRITERS // 2)
    with workers(database, code, [(session.id, number, of_one) for number, of_one in enumerate(batches)]) as writers:
        await let_all_go(writers)
        doomed, others = writers[: WRITERS // 2], writers[WRITERS // 2 :]
        await asyncio.gather(*(kill_soon(writer, chance.randint(3, 30), chance.random() / 50) for writer in doomed))
        assert [await writer.end() for writer in others] == [(0, "")] * len(others)
        assert {(await writer.end())[0] for writer in doomed} == {-9}
        lines = [line.split() for writer in writers for line in writer.lines]
    acknowledged = {what: int(index) for what, index in lines}
    assert len(acknowledged) == len(lines)
    return acknowledged


async def kill_soon(worker: Worker, acknowledgements: int, seconds: float) -> None:
    await worker.acknowledged(acknowledgements)
    await asyncio.sleep(seconds)
    worker.kill()


async def rows_of(query: Any) -> list[Any]:
    async with async_session() as db:
        return list((await db.execute(query)).all())


class TestEightWritersHalfOfThemKilled:
    async def test_messages_have_no_gap_and_each_acknowledged_one_is_there_once(self, fresh_database: Database) -> None:
        session = await make_committed_session()
        acknowledged = await run_and_kill_half(fresh_database, APPEND_MESSAGES, session)
        rows = await rows_of(select(col(Message.message_index), col(Message.message_data)).order_by(col(Message.message_index)))
        assert [index for index, _ in rows] == list(range(len(rows)))
        async with async_session() as db:
            assert await crud.get_message_count(db, session.id) == len(rows)
        stored = {data["content"]: index for index, data in rows}
        assert Counter(data["content"] for _, data in rows).most_common(1)[0][1] == 1
        assert {text: stored.get(text) for text in acknowledged} == acknowledged

    async def test_events_have_no_gap_though_every_batch_is_sent_twice_at_once(self, fresh_database: Database) -> None:
        session = await make_committed_session()
        acknowledged = await run_and_kill_half(fresh_database, APPEND_EVENTS_TWICE, session)
        rows = await rows_of(select(col(AgentLog.event_index), col(AgentLog.id)).order_by(col(AgentLog.event_index)))
        assert [index for index, _ in rows] == list(range(len(rows)))
        async with async_session() as db:
            again = await crud.get_session(db, session.id)
            assert again is not None
            assert again.event_count == len(rows)
        stored = {str(event_id): index for index, event_id in rows}
        assert {event_id: stored.get(event_id) for event_id in acknowledged} == acknowledged


class TestSeveralSessions:
    async def test_batches_in_opposite_order_wait_in_no_circle(self, fresh_database: Database) -> None:
        one, two = await make_committed_session(), await make_committed_session()

        async def append(order: list[Session]) -> None:
            for _ in range(25):
                async with get_async_session() as db:
                    await crud.append_agent_logs(db, [event(session) for session in order for _ in range(3)])

        async with asyncio.timeout(15):
            await asyncio.gather(append([one, two]), append([two, one]), append([one, two]), append([two, one]))
        for session in (one, two):
            rows = await rows_of(
                select(col(AgentLog.event_index)).where(col(AgentLog.session_id) == session.id).order_by(col(AgentLog.event_index))
            )
            assert [index for (index,) in rows] == list(range(300))


class TestAgentsBesideAppends:
    async def test_a_child_row_waits_for_no_append_and_both_succeed(self, fresh_database: Database) -> None:
        session = await make_committed_session()
        async with asyncio.timeout(15), async_session() as one, async_session() as two:
            await crud.append_agent_logs(one, [event(session)])
            two.add(Agent(session_id=session.id, agent_type="build"))
            # It takes a key-share lock on the session; FOR UPDATE would make it wait, and then wait in a circle.
            await two.flush()
            waiting = asyncio.create_task(crud.append_agent_logs(two, [event(session)]))
            await asyncio.sleep(0.1)
            assert not waiting.done()
            await one.commit()
            assert (await waiting)[0].event_index == 1
            await two.commit()

    async def test_agents_are_created_while_events_are_appended(self, fresh_database: Database) -> None:
        session = await make_committed_session()

        async def append() -> None:
            for _ in range(20):
                async with get_async_session() as db:
                    await crud.append_agent_logs(db, [event(session)])

        async def create() -> None:
            for _ in range(20):
                async with get_async_session() as db:
                    await make_agent(db, session, cost=0.1)

        async with asyncio.timeout(15):
            await asyncio.gather(append(), create(), append(), create())
        async with async_session() as db:
            again = await crud.get_session(db, session.id)
            assert again is not None
            assert (again.event_count, again.total_cost) == (40, 4.0)


class TestRacesForOneKey:
    async def test_one_of_many_creates_a_session_and_the_others_are_told(self, fresh_database: Database) -> None:
        async def create() -> bool:
            try:
                async with get_async_session() as db:
                    await make_session(db, session_slug="auth", session_id=UUID(int=7))
            except AlreadyExists:
                return False
            return True

        assert sorted(await asyncio.gather(*(create() for _ in range(8)))) == [False] * 7 + [True]

    async def test_the_same_client_id_from_many_is_one_message(self, fresh_database: Database) -> None:
        session = await make_committed_session()

        async def save() -> bool:
            async with get_async_session() as db:
                return (await crud.save_display_messages(db, session.id, [message("once", client_id="a")]))[0].is_new

        assert sorted(await asyncio.gather(*(save() for _ in range(8)))) == [False] * 7 + [True]

    async def test_of_many_primary_memory_files_one_is_primary(self, fresh_database: Database) -> None:
        session = await make_committed_session()

        async def create(path: str) -> None:
            async with get_async_session() as db:
                await crud.create_memory_file(db, MemoryFileCreate(session_id=session.id, file_path=path, is_primary=True))

        await asyncio.gather(*(create(str(number)) for number in range(8)))
        async with async_session() as db:
            files = await crud.get_session_memory_files(db, session.id)
        assert sorted(file.is_primary for file in files) == [False] * 7 + [True]

    async def test_a_read_inside_a_transaction_sees_what_another_committed(self, fresh_database: Database) -> None:
        session = await make_committed_session()
        async with async_session() as reader, get_async_session() as writer:
            before = await crud.get_session(reader, session.id)
            await crud.append_agent_logs(writer, [event(session)])
            await writer.commit()
            after = await crud.get_session(reader, session.id)
            assert before is after
            assert after is not None
            assert after.event_count == 1


class TestDeletionsBesideWriters:
    async def test_a_clip_made_while_it_is_changed_and_deleted_goes_on_after_its_versions(self, fresh_database: Database) -> None:
        data = ClipCreate(clip_id="kick", project_id="house", name="Kick", code="one")
        async with get_async_session() as db:
            await crud.create_clip(db, data)
        async with asyncio.timeout(15), async_session() as one, get_async_session() as two:
            await crud.update_clip(one, "kick", ClipUpdate(code="two"))
            await crud.delete_clip(one, "kick")
            waiting = asyncio.create_task(crud.create_clip(two, data))
            await asyncio.sleep(0.1)
            await one.commit()
            assert (await waiting).version == 3
            await crud.update_clip(two, "kick", ClipUpdate(code="three"))
            assert [version.version for version in await crud.list_clip_versions(two, "kick")] == [3, 2, 1]

    async def test_an_agent_whose_session_is_deleted_while_its_change_waits_is_none(self, fresh_database: Database) -> None:
        async with get_async_session() as db:
            agent = await make_agent(db)
        async with asyncio.timeout(15), async_session() as one, async_session() as two:
            await crud.delete_session(one, agent.session_id)
            waiting = asyncio.create_task(crud.update_agent(two, agent.id, AgentUpdate(name="New")))
            await asyncio.sleep(0.1)
            await one.commit()
            assert await waiting is None
