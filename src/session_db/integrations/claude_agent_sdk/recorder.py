"""Agents of the Claude Agent SDK, recorded: two lines around the options and the messages of a program.

::

    options = record(ClaudeAgentOptions(...))
    async for message in recorded(query(prompt="Hello!", options=options)):
        ...

What happens is put into the spool, as the hooks of Claude Code do, so the agent waits for no database.
"""

import asyncio
import logging
import socket
from collections.abc import AsyncGenerator, AsyncIterable
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar, cast, get_args
from uuid import UUID

from session_db.capture.drain import drain
from session_db.capture.hook_entries import EVENTS
from session_db.capture.spool import spool_of
from session_db.database.connection import companion
from session_db.database.violations import DRIVER_ERRORS
from session_db.errors import InvalidInput, SessionDBError
from session_db.integrations.claude_agent_sdk.store import PostgresSessionStore, store_of
from session_db.models.table import encode_json
from session_db.settings import get_settings

if TYPE_CHECKING:
    from claude_agent_sdk import ClaudeAgentOptions

RECORDER = "SESSION_DB_RECORDER"
"""Variable of a client whose agent is recorded here: installed hooks, which it runs too, leave it alone."""

DRAINED_AT_ONCE = 2000
"""Events that are drained before the program may go on; there may be many of others."""

END_SECONDS = 5
"""How long the end of the messages waits for the database."""

logger = logging.getLogger(__name__)

Message = TypeVar("Message")


def record(
    options: "ClaudeAgentOptions | None" = None,
    *,
    session: UUID | str | None = None,
    agent_type: str = "main",
    checkpoint_id: int | None = None,
) -> "ClaudeAgentOptions":
    """Return options whose agent is recorded: with a session store, with hooks beside those that are there, and the rest as it is.

    Args:
        options: the SDK's options; they are not changed.
        session: id of a session that the agent belongs to, or its slug in the agent's directory or above; unset: a session of its own.
        agent_type: what a new agent is in it: spec, plan, build, …
        checkpoint_id: which checkpoint a new agent works on.

    Raises:
        InvalidInput: the options have another session store.
    """
    from claude_agent_sdk import ClaudeAgentOptions, HookMatcher  # noqa: PLC0415  the SDK is optional, and slow to import

    options = options or ClaudeAgentOptions()
    if options.session_store is not None:
        raise InvalidInput(
            f"session_store: the options have a {type(options.session_store).__name__} already; leave it out, record() adds its own.",
            field="session_store",
        )
    directory = str(Path(options.cwd or ".").absolute())
    store = PostgresSessionStore(session=session, agent_type=agent_type, checkpoint_id=checkpoint_id, working_dir=directory)
    named = {"SESSION_DB_SESSION": session, "SESSION_DB_AGENT_TYPE": agent_type, "SESSION_DB_CHECKPOINT": checkpoint_id}
    environment = {RECORDER: "1"} | {name: str(value) for name, value in named.items() if value is not None}

    async def observe(payload: Any, _tool_use_id: Any, _context: Any) -> dict[str, Any]:
        await _put(payload, environment)
        return {}

    hooks: dict[Any, Any] = dict(options.hooks or {})
    for event in _observed():
        hooks[event] = [*hooks.get(event, []), HookMatcher(hooks=[cast("Any", observe)])]
    return replace(options, session_store=store, hooks=hooks, env=options.env | {RECORDER: "1"})


async def recorded(messages: AsyncIterable[Message]) -> AsyncGenerator[Message, None]:
    """Give the messages of an agent as they come, and record how its turns end: status, error, and the cost that the client reports.

    Args:
        messages: what ``query(…)`` or a client's ``receive_response()`` gives.
    """
    from claude_agent_sdk import MirrorErrorMessage, ResultMessage  # noqa: PLC0415  the SDK is optional, and slow to import

    is_left = False
    try:
        async for message in messages:
            if isinstance(message, ResultMessage):
                await _put(_result(message), {RECORDER: "1"})
            elif isinstance(message, MirrorErrorMessage) and message.key is not None:
                await _put(dict(message.key) | {"hook_event_name": "MirrorErrorMessage", "error": message.error}, {RECORDER: "1"})
            yield message
    except (asyncio.CancelledError, GeneratorExit):
        is_left = True
        raise
    finally:
        if (close := getattr(messages, "aclose", None)) is not None:
            await close()
        # Whoever cancels, or leaves before the end, waits for nothing.
        if not is_left:
            await companion(_BackgroundDrain).end()


def _observed() -> list[str]:
    """Return the events that the SDK hands to a program, as far as a hook only observes them."""
    from claude_agent_sdk.types import HookEvent  # noqa: PLC0415  the SDK is optional, and slow to import

    of_sdk = [event for literal in get_args(HookEvent) for event in get_args(literal) or (literal,)]
    return [event for event in of_sdk if event in EVENTS]


def _result(message: Any) -> dict[str, Any]:
    """Return the end of a turn as an event; of the cost, which the client sums up, what this turn added."""
    payload = asdict(message) | {"hook_event_name": "ResultMessage"}
    store = store_of(message.session_id)
    if store is not None and message.total_cost_usd is not None:
        payload["project_key"] = store.project_key_of(message.session_id)
        payload["cost_of_turn"] = store.cost_of_turn(message.session_id, message.total_cost_usd)
    return payload


async def _put(payload: Any, environment: dict[str, str]) -> None:
    """Put an event into the spool; where that is impossible the agent goes on all the same."""
    try:
        text = encode_json(payload)
        await asyncio.to_thread(spool_of(get_settings()).put, text.encode(), environment, socket.gethostname())
    except (OSError, ValueError):
        logger.exception("an event of the agent could not be recorded")
    else:
        companion(_BackgroundDrain).soon()


class _BackgroundDrain:
    """Drains the spool behind the program's back, one drain after the other; what is left at the end waits for the next one."""

    def __init__(self) -> None:
        self._task: asyncio.Task[None] | None = None
        self._is_wanted = False
        self._is_failing = False

    def soon(self) -> None:
        self._is_wanted = True
        if self._task is None or self._task.done():
            self._task = asyncio.create_task(self._drain(), name="session-db drain")

    async def end(self) -> None:
        """Wait for what was put until now, but not for a database that does not answer."""
        if self._task is not None:
            await asyncio.wait([self._task], timeout=END_SECONDS)

    async def close(self) -> None:
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    async def _drain(self) -> None:
        while self._is_wanted:
            self._is_wanted = False
            try:
                await drain(get_settings(), at_most=DRAINED_AT_ONCE)
                self._is_failing = False
            except (SessionDBError, OSError, *DRIVER_ERRORS) as error:
                if not self._is_failing:
                    logger.warning("what the agent did waits in the spool: %s", error)
                self._is_failing = True
