"""Listening: a connection that hears notifications, and is known to."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from typing import Any
from uuid import uuid4

from session_db.database.connection import connect_to_listen, get_engine
from session_db.errors import Unavailable
from session_db.live.notifier import CHANNEL, notify

PROOF_SECONDS = 2
"""How long a notification of our own may take to come back."""

HEALTH_SECONDS = 15
"""How often a connection that hears nothing is asked whether it still lives."""

ANSWER_SECONDS = 5
"""How long its answer may take."""


class Listening:
    """An open connection that hears the channel."""

    def __init__(self, connection: Any) -> None:
        self._connection = connection
        self._lost = asyncio.Event()
        connection.add_termination_listener(lambda _: self._lost.set())

    async def until_lost(self) -> None:
        """Return or raise when the connection is lost, one that only seems to be open too."""
        while not self._lost.is_set():
            try:
                async with asyncio.timeout(HEALTH_SECONDS):
                    await self._lost.wait()
            except TimeoutError:
                await self._connection.execute("SELECT 1", timeout=ANSWER_SECONDS)


@asynccontextmanager
async def listening(hear: Callable[[str], None]) -> AsyncIterator[Listening]:
    """Hear the channel, on a connection of its own, inside the block.

    Raises:
        Unavailable: no notification arrives there, as behind a pooler; or the database cannot be reached.
    """
    connection = await connect_to_listen()
    try:
        opened = Listening(connection)
        await _prove(connection)
        await connection.add_listener(CHANNEL, lambda *heard: hear(heard[-1]))
        yield opened
    finally:
        # One that is lost has nobody to say goodbye to.
        with suppress(Exception):
            await connection.close(timeout=1)


async def _prove(connection: Any) -> None:
    """Send a notification the way that writers do, and wait until it is heard."""
    token, arrived = f"proof {uuid4()}", asyncio.Event()

    def hear(*heard: Any) -> None:
        # It stays: with the last one that hears, the driver ends the listening.
        if heard[-1] == token:
            arrived.set()

    try:
        async with asyncio.timeout(PROOF_SECONDS):
            await connection.add_listener(CHANNEL, hear)
            await notify(get_engine(), [token])
            await arrived.wait()
    except TimeoutError:
        raise Unavailable(
            "no notification arrives, as behind a pooler: set SESSION_DB_LISTEN_URL to the same database without it."
        ) from None
