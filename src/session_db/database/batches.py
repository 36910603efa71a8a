"""Large work beside small: many short transactions, with rests between them."""

import asyncio
import time
from collections.abc import Awaitable, Callable

from session_db.database.unit_of_work import UnitOfWork, in_transaction


async def in_batches(work: Callable[[UnitOfWork], Awaitable[int]], *, on_batch: Callable[[int], None] | None = None) -> int:
    """Run work again and again, each time in a transaction of its own, until it returns 0; return the sum.

    After each transaction it rests as long as that one took, so that others get at least half of the disk and of the processors.

    Args:
        work: does one batch, and returns how many rows it did.
        on_batch: called with that number after each commit.
    """
    total = 0
    while True:
        began = time.monotonic()
        done = await in_transaction(work)
        if not done:
            return total
        total += done
        if on_batch is not None:
            on_batch(done)
        await asyncio.sleep(time.monotonic() - began)
