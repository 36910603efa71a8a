"""What PostgreSQL does for the statements of a call, by its own account."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import event
from sqlalchemy.ext.asyncio import AsyncConnection

from session_db.database import UnitOfWork
from session_db.database.connection import create_engine
from session_db.settings import Settings

SORTED = 51
"""Rows that a statement may sort without being said to: a page of 50, and the one that says that there is another."""


@dataclass
class Plans:
    """What the statements of a call did, by PostgreSQL's own account."""

    indexes: set[str] = field(default_factory=set)
    walks: list[str] = field(default_factory=list)
    buffers: int = 0

    def add(self, plan: dict[str, Any]) -> None:
        self.buffers += plan["Shared Hit Blocks"] + plan["Shared Read Blocks"]
        nodes = [plan]
        while nodes:
            node = nodes.pop()
            nodes += node.get("Plans", [])
            if "Index Name" in node:
                self.indexes.add(node["Index Name"])
            if node["Node Type"] == "Seq Scan":
                self.walks.append(f"Seq Scan {node['Relation Name']}")
            # What a sort gives may be cut by a limit; what it is given says how much it sorts.
            if "Sort" in node["Node Type"] and node["Plans"][0]["Actual Rows"] > SORTED:
                self.walks.append(node["Node Type"])


async def plans_of(settings: Settings, call: Callable[[UnitOfWork], Awaitable[Any]]) -> Plans:
    """Note the statements that a call sends, then let PostgreSQL explain them in their order; nothing of both is kept."""
    engine = create_engine(settings, pooled=False)
    sent: list[tuple[str, Any]] = []
    async with engine.connect() as connection:

        def note(_connection: Any, _cursor: Any, statement: str, parameters: Any, _context: Any, executemany: bool) -> None:
            if "SAVEPOINT" not in statement and not statement.startswith("SET "):
                sent.extend((statement, each) for each in (parameters if executemany else [parameters]))

        event.listen(connection.sync_connection, "before_cursor_execute", note)
        async with connection.begin() as transaction:
            db = UnitOfWork(bind=connection, join_transaction_mode="create_savepoint", expire_on_commit=False)
            await call(db)
            await db.rollback()
            await db.close()
            await transaction.rollback()
        event.remove(connection.sync_connection, "before_cursor_execute", note)
        plans = await _explained(connection, sent)
    await engine.dispose()
    return plans


async def _explained(connection: AsyncConnection, sent: list[tuple[str, Any]]) -> Plans:
    plans = Plans()
    async with connection.begin() as transaction:
        for statement, parameters in sent:
            explained = await connection.exec_driver_sql(f"EXPLAIN (ANALYZE, BUFFERS, FORMAT JSON) {statement}", parameters)
            (told,) = explained.scalar_one()
            plans.add(told["Plan"])
        await transaction.rollback()
    return plans
