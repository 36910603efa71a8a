"""The service in this process, on a database of its own, and clients of it."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from typing import Any

import pytest
import uvicorn
from fastapi import FastAPI
from httpx import ASGITransport, AsyncClient

from session_db import crud
from session_db.database import get_async_session
from session_db.models import TokenCreate
from session_db.models.tokens import Scope
from session_db.server import create_app
from tests.databases import Database

# An address, which the service always answers to.
URL = "http://127.0.0.1"


ClientWith = Callable[[Scope], Awaitable[AsyncClient]]


async def make_token(scope: Scope, **values: Any) -> str:
    """Make a token of a program, and return its text."""
    async with get_async_session() as db:
        return (await crud.create_token(db, TokenCreate.model_validate({"name": "test", "scope": scope} | values))).text


def connected_to(app: FastAPI, token: str | None = None) -> AsyncClient:
    """Return a client of an application, with a token or without."""
    headers = {} if token is None else {"Authorization": f"Bearer {token}"}
    return AsyncClient(transport=ASGITransport(app, raise_app_exceptions=False), base_url=URL, headers=headers)


@pytest.fixture
def app(fresh_database: Database) -> FastAPI:
    """The service, without its lifespan."""
    return create_app(fresh_database.settings)


@pytest.fixture
async def anonymous(app: FastAPI) -> AsyncIterator[AsyncClient]:
    """A client without a token."""
    async with connected_to(app) as client:
        yield client


@pytest.fixture
async def client_with(app: FastAPI) -> AsyncIterator[ClientWith]:
    """Make clients whose token has a scope."""
    async with AsyncExitStack() as clients:

        async def connect(scope: Scope) -> AsyncClient:
            return await clients.enter_async_context(connected_to(app, await make_token(scope)))

        yield connect


@pytest.fixture
async def client(client_with: ClientWith) -> AsyncClient:
    """A client that may do all."""
    return await client_with("admin")


@pytest.fixture
async def service(app: FastAPI) -> AsyncIterator[str]:
    """The application behind a socket, which streams need; its URL."""
    server = uvicorn.Server(uvicorn.Config(app, host="127.0.0.1", port=0, lifespan="off", log_config=None))
    serving = asyncio.create_task(server.serve())
    while not server.started:
        await asyncio.sleep(0.01)
    yield f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"
    server.should_exit = server.force_exit = True
    await serving


@pytest.fixture
async def reader(service: str) -> AsyncIterator[AsyncClient]:
    """A client that may do all, over the socket."""
    headers = {"Authorization": f"Bearer {await make_token('admin')}"}
    async with AsyncClient(base_url=service, headers=headers, timeout=10) as client:
        yield client
