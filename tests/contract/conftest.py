"""Both seeds print their programs; here they run from their text, so that the text can stand in a test as it was printed."""

import ast
import inspect
import textwrap
from collections.abc import Awaitable, Callable
from typing import Any, Protocol

import pytest

Names = dict[str, Any]


class Run(Protocol):
    """Runs a printed snippet and returns its names; ``given`` are those that it presupposes."""

    def __call__(self, snippet: str, given: Names | None = None, /) -> Awaitable[Names]: ...


Printed = Callable[[str], Awaitable[Any]]
"""Returns the last function that a printed snippet defines."""


async def _run(snippet: str, given: Names | None = None, /) -> Names:
    names: Names = {} if given is None else given
    flags = ast.PyCF_ALLOW_TOP_LEVEL_AWAIT
    code = compile(textwrap.dedent(snippet), "<snippet>", "exec", flags=flags, dont_inherit=True)
    outcome = eval(code, names)  # noqa: S307  the text stands in the test
    if inspect.iscoroutine(outcome):
        await outcome
    return names


@pytest.fixture
def run() -> Run:
    return _run


@pytest.fixture
def printed(run: Run) -> Printed:
    """Return the last function or class that a snippet defines, with the names that the second seed imports at its top."""

    async def last(snippet: str) -> Any:
        names = await run(snippet, await run(IMPORTS))
        return names[ast.parse(textwrap.dedent(snippet)).body[-1].name]  # type: ignore[attr-defined]

    return last


IMPORTS = """
    from datetime import datetime
    from typing import List, Optional
    from uuid import UUID, uuid4

    from sqlmodel import SQLModel, Field, Column
    from sqlalchemy import select
    from sqlalchemy.ext.asyncio import create_async_engine, AsyncSession
    from sqlalchemy.dialects.postgresql import JSONB

    from session_db.models import MemoryFile, MemoryFileCreate, Message, MessageCreate, Session, SessionCreate, SessionNameUpdate
"""
