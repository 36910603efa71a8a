"""A chat is active while a client is connected, whatever comes at once, and idle after the last."""

import asyncio
from uuid import UUID, uuid4

import pytest
from sqlalchemy import func, select

from session_db import crud
from session_db.database import UnitOfWork, async_session, get_async_session, in_transaction
from session_db.errors import Conflict, NotFound
from session_db.models import Presence, Session
from tests.databases import Database
from tests.factories import make_session
from tests.processes import let_all_go, workers

LONG_AGO = -3600
"""Seconds of a lease that nobody renewed."""

CONNECT = """
async def main(session):
    async with get_async_session() as db:
        client = await crud.create_presence(db, UUID(session), worker="killed", lease_seconds=0.5)
    print(client.connection_id, flush=True)
    await asyncio.sleep(60)

asyncio.run(main(*sys.argv[1:]))
"""


async def status_of(db: UnitOfWork, session_id: UUID) -> str:
    session = await crud.get_session(db, session_id)
    assert session is not None
    return session.status


async def connect(db: UnitOfWork, session: Session, lease_seconds: float = 60) -> Presence:
    return await crud.create_presence(db, session.id, worker="host:1", lease_seconds=lease_seconds)


async def count(db: UnitOfWork) -> int:
    return int(await db.scalar(select(func.count()).select_from(Presence)) or 0)


class TestCreatePresence:
    async def test_an_idle_chat_becomes_active(self, db: UnitOfWork) -> None:
        chat = await make_session(db, status="idle")
        client = await connect(db, chat)
        assert (client.session_id, client.worker) == (chat.id, "host:1")
        assert await status_of(db, chat.id) == "active"

    async def test_its_lease_ends_by_the_clock_of_the_database(self, db: UnitOfWork) -> None:
        client = await connect(db, await make_session(db), lease_seconds=90)
        left = (await db.execute(select(client.expires_at - func.clock_timestamp()))).scalar_one()
        assert 85 < left.total_seconds() <= 90

    async def test_a_workflow_session_keeps_its_status(self, db: UnitOfWork) -> None:
        workflow = await make_session(db, session_slug="feature", status="complete")
        client = await connect(db, workflow)
        assert await status_of(db, workflow.id) == "complete"
        assert await crud.delete_presence(db, client.connection_id)
        assert await status_of(db, workflow.id) == "complete"

    async def test_a_terminated_chat_is_refused_with_what_to_do(self, db: UnitOfWork) -> None:
        chat = await make_session(db, status="terminated")
        with pytest.raises(Conflict, match="set its status to active"):
            await connect(db, chat)
        assert await count(db) == 0

    async def test_an_unknown_and_a_deleted_session_are_refused(self, db: UnitOfWork) -> None:
        chat = await make_session(db)
        await crud.delete_session(db, chat.id)
        for session_id in (chat.id, uuid4()):
            with pytest.raises(NotFound, match=str(session_id)):
                await crud.create_presence(db, session_id, worker="host:1")


class TestRenewPresence:
    async def test_all_are_renewed_that_there_are(self, db: UnitOfWork) -> None:
        chat = await make_session(db)
        clients = [await connect(db, chat, LONG_AGO) for _ in range(3)]
        ids = {client.connection_id for client in clients[:2]}
        assert await crud.renew_presence(db, [*ids, uuid4()]) == ids
        assert await crud.delete_expired_presence(db) == 1
        assert await count(db) == 2
        assert await status_of(db, chat.id) == "active"

    async def test_none_is_none(self, db: UnitOfWork) -> None:
        assert await crud.renew_presence(db, []) == set()


class TestDeletePresence:
    async def test_the_last_client_leaves_an_idle_chat(self, db: UnitOfWork) -> None:
        chat = await make_session(db)
        one, two = await connect(db, chat), await connect(db, chat)
        assert await crud.delete_presence(db, one.connection_id)
        assert await status_of(db, chat.id) == "active"
        assert await crud.delete_presence(db, two.connection_id)
        assert await status_of(db, chat.id) == "idle"

    async def test_a_lease_that_nobody_renewed_keeps_no_chat_active(self, db: UnitOfWork) -> None:
        chat = await make_session(db)
        client = await connect(db, chat)
        await connect(db, chat, LONG_AGO)
        await crud.delete_presence(db, client.connection_id)
        assert await status_of(db, chat.id) == "idle"

    async def test_one_that_is_gone_changes_nothing(self, db: UnitOfWork) -> None:
        chat = await make_session(db)
        client = await connect(db, chat)
        assert await crud.delete_presence(db, client.connection_id)
        await crud.update_session_status(db, chat.id, "active")
        assert not await crud.delete_presence(db, client.connection_id)
        assert await status_of(db, chat.id) == "active"

    async def test_a_chat_that_was_terminated_stays_so(self, db: UnitOfWork) -> None:
        chat = await make_session(db)
        client = await connect(db, chat)
        await crud.update_session_status(db, chat.id, "terminated")
        assert await crud.delete_presence(db, client.connection_id)
        assert await status_of(db, chat.id) == "terminated"

    async def test_a_deleted_session_lets_its_clients_go(self, db: UnitOfWork) -> None:
        chat = await make_session(db)
        client = await connect(db, chat)
        await crud.delete_session(db, chat.id)
        assert await crud.delete_presence(db, client.connection_id)
        assert await count(db) == 0


class TestDeleteExpiredPresence:
    async def test_only_leases_that_nobody_renewed_end(self, db: UnitOfWork) -> None:
        left, kept, gone = [await make_session(db) for _ in range(3)]
        for chat, seconds in ((left, LONG_AGO), (left, LONG_AGO), (kept, LONG_AGO), (kept, 60), (gone, LONG_AGO)):
            await connect(db, chat, seconds)
        await crud.delete_session(db, gone.id)
        assert await crud.delete_expired_presence(db) == 4
        assert await crud.delete_expired_presence(db) == 0
        assert [await status_of(db, chat.id) for chat in (left, kept)] == ["idle", "active"]
        assert await count(db) == 1

    async def test_it_takes_as_many_as_it_is_told(self, db: UnitOfWork) -> None:
        for _ in range(3):
            await connect(db, await make_session(db), LONG_AGO)
        assert [await crud.delete_expired_presence(db, limit=2) for _ in range(3)] == [2, 1, 0]

    async def test_several_hosts_at_once_end_each_lease_once(self, fresh_database: Database) -> None:
        async with get_async_session() as db:
            chats = [await make_session(db) for _ in range(20)]
            for chat in chats:
                await connect(db, chat, LONG_AGO)
        assert sum(await asyncio.gather(*(in_transaction(crud.delete_expired_presence) for _ in range(4)))) == 20
        async with async_session() as db:
            assert {await status_of(db, chat.id) for chat in chats} == {"idle"}

    async def test_a_worker_that_was_killed_lets_its_lease_end(self, fresh_database: Database) -> None:
        async with get_async_session() as db:
            chat = await make_session(db, status="idle")
        with workers(fresh_database, CONNECT, [[chat.id]]) as (worker,):
            await let_all_go([worker])
            await worker.acknowledged(1)
            worker.kill()
            await worker.end()
        async with async_session() as db:
            assert await status_of(db, chat.id) == "active"
        async with asyncio.timeout(5):
            while not await in_transaction(crud.delete_expired_presence):
                await asyncio.sleep(0.05)
        async with async_session() as db:
            assert await status_of(db, chat.id) == "idle"


class TestAtOnce:
    """The lock of the session decides who comes first, and the one behind sees what that one did."""

    async def test_who_connects_behind_the_last_that_leaves_finds_the_chat_idle(self, fresh_database: Database) -> None:
        async with get_async_session() as db:
            chat = await make_session(db)
            client = await connect(db, chat)
        async with asyncio.timeout(15), async_session() as one, get_async_session() as two:
            await crud.delete_presence(one, client.connection_id)
            waiting = asyncio.create_task(connect(two, chat))
            await asyncio.sleep(0.1)
            assert not waiting.done()
            await one.commit()
            await waiting
        async with async_session() as db:
            assert await status_of(db, chat.id) == "active"

    async def test_who_leaves_behind_one_that_connects_leaves_the_chat_active(self, fresh_database: Database) -> None:
        async with get_async_session() as db:
            chat = await make_session(db)
            client = await connect(db, chat)
        async with asyncio.timeout(15), async_session() as one, get_async_session() as two:
            await connect(one, chat)
            waiting = asyncio.create_task(crud.delete_presence(two, client.connection_id))
            await asyncio.sleep(0.1)
            assert not waiting.done()
            await one.commit()
            assert await waiting
        async with async_session() as db:
            assert await status_of(db, chat.id) == "active"

    async def test_who_connects_behind_a_termination_is_refused(self, fresh_database: Database) -> None:
        async with get_async_session() as db:
            chat = await make_session(db)
        async with asyncio.timeout(15), async_session() as one, async_session() as two:
            await crud.update_session_status(one, chat.id, "terminated")
            waiting = asyncio.create_task(connect(two, chat))
            await asyncio.sleep(0.1)
            await one.commit()
            with pytest.raises(Conflict):
                await waiting

    async def test_many_that_come_and_go_leave_an_idle_chat(self, fresh_database: Database) -> None:
        async with get_async_session() as db:
            chat = await make_session(db)

        async def come_and_go() -> None:
            client = await in_transaction(lambda db: connect(db, chat))
            assert await in_transaction(lambda db: crud.delete_presence(db, client.connection_id))

        await asyncio.gather(*(come_and_go() for _ in range(20)))
        async with async_session() as db:
            assert (await status_of(db, chat.id), await count(db)) == ("idle", 0)
