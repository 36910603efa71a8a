"""Databases for tests: clones of one that the real migrations made."""

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from typing import Any
from urllib.parse import urlsplit
from uuid import uuid4

import asyncpg

from session_db.database.connection import _Engines, close_db
from session_db.settings import Settings, use_settings


@dataclass(frozen=True)
class Database:
    """A database of one test's own.

    Attributes:
        name: its name.
        url: where session-db reaches it.
        direct_url: where it is reached without a pooler between.
    """

    name: str
    url: str
    direct_url: str

    @property
    def without_pooler(self) -> "Database":
        """The same database, where a connection is one of the server's."""
        return replace(self, url=self.direct_url)

    @property
    def variables(self) -> dict[str, str]:
        """The settings that name it, as a user sets them."""
        return {"SESSION_DB_URL": self.url} | ({} if self.url == self.direct_url else {"SESSION_DB_POOLER": "transaction"})

    @property
    def settings(self) -> Settings:
        return Settings(url=self.url, pooler=self.variables.get("SESSION_DB_POOLER"))

    @property
    def environment(self) -> dict[str, str]:
        """What a subprocess needs to use it."""
        return os.environ | self.variables

    @asynccontextmanager
    async def connected(self) -> AsyncIterator[Any]:
        """Connect with the bare driver, to look from outside."""
        connection = await asyncpg.connect(self.direct_url)
        try:
            yield connection
        finally:
            await connection.close()

    @asynccontextmanager
    async def used(self) -> AsyncIterator[None]:
        """Make it the database of this process; in the end no connection of it may be in use."""
        use_settings(self.settings)
        try:
            yield
        finally:
            engines = list(_Engines.by_loop.values())
            await close_db()
            use_settings(None)
            assert [engine.pool.status() for engine in engines if _in_use(engine)] == [], "a connection is still checked out"


def _in_use(engine: Any) -> bool:
    return bool(engine.pool.checkedout())


@dataclass(frozen=True)
class PostgreSQL:
    """A running server on which tests make databases, with a pooler before it or none."""

    url: str
    pooler_url: str | None = None

    def database(self, name: str) -> Database:
        direct, pooled = (urlsplit(url)._replace(path=f"/{name}").geturl() for url in (self.url, self.pooler_url or self.url))
        return Database(name, pooled, direct)

    async def create(self, purpose: str, template: str = "template0") -> Database:
        name = f"session_db_{purpose}_{uuid4().hex[:12]}"
        async with self._connected() as connection:
            await connection.execute(f'CREATE DATABASE "{name}" TEMPLATE "{template}" STRATEGY file_copy')
        return self.database(name)

    async def drop(self, database: Database) -> None:
        async with self._connected() as connection:
            await connection.execute(f'DROP DATABASE IF EXISTS "{database.name}" WITH (FORCE)')

    async def disconnect(self, database: Database) -> None:
        """End the connections that a pooler keeps to a database: while there are any, it cannot be a template."""
        async with self._connected() as connection:
            await connection.execute("SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity WHERE datname = $1", database.name)

    @asynccontextmanager
    async def own(self, purpose: str, template: str = "template0") -> AsyncIterator[Database]:
        """A database that this process uses inside the block and that is gone after it."""
        database = await self.create(purpose, template)
        try:
            async with database.used():
                yield database
        finally:
            await self.drop(database)

    @asynccontextmanager
    async def _connected(self) -> AsyncIterator[Any]:
        connection = await asyncpg.connect(self.url)
        try:
            yield connection
        finally:
            await connection.close()
