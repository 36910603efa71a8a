"""The real client and what records it, where there is no network but loopback; `make e2e` sees to that."""

import socket
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from session_db import crud
from session_db.database import async_session
from tests.e2e.behaviour import Behaviour, behaviour_of
from tests.e2e.client import Client, client_program
from tests.e2e.model import scripted_model
from tests.e2e.records import Record, conversation_of, hooks_of, records_in, records_of, sessions_of
from tests.e2e.scenarios import Played, Scenario

MakeClient = Callable[..., Client]

_CALLS = ("PreToolUse", "PostToolUse", "PostToolUseFailure")
"""Hooks that tell of one call."""


@pytest.fixture(scope="session", autouse=True)
def nothing_but_loopback() -> None:
    if client_program() is None:
        pytest.skip("needs the Claude Agent SDK: make e2e")
    with socket.socket(type=socket.SOCK_DGRAM) as nowhere:
        try:
            # Nothing is sent: the address is one of documentation, and only the way to it is asked for.
            nowhere.connect(("192.0.2.1", 9))
        except OSError:
            return
    pytest.skip("runs where there is no network but loopback: make e2e")


@pytest.fixture
def make_client(tmp_path: Path) -> Iterator[MakeClient]:
    """Makes clients by name, each with a model of its own."""
    with ExitStack() as models:

        def make(name: str, variables: Mapping[str, str] | None = None) -> Client:
            return Client(tmp_path / name, models.enter_context(scripted_model()), variables)

        yield make


@pytest.fixture(scope="session")
def known_behaviours() -> dict[str, Behaviour]:
    return {}


@pytest.fixture
async def behaviour_without_hooks(scenario: Scenario, make_client: MakeClient, known_behaviours: dict[str, Behaviour]) -> Behaviour:
    """What the client does in a scenario when nothing records it; played once for all tests."""
    if scenario.__name__ not in known_behaviours:
        client = make_client("plain")
        known_behaviours[scenario.__name__] = behaviour_of(client, (await scenario(client)).runs)
    return known_behaviours[scenario.__name__]


async def check_record(client: Client, played: Played) -> list[Any]:
    """Compare the database with what the client wrote down and what was said, and return the payloads of its hooks."""
    expected = records_in(client.projects)
    async with async_session() as db:
        assert await records_of(db) == expected
        sessions = await sessions_of(db)
        assert [await conversation_of(db, session) for session in sessions] == played.conversations
        for session, paid_elsewhere in zip(sessions, played.paid_elsewhere, strict=False):
            assert session.reported_cost == pytest.approx(session.total_cost + paid_elsewhere, abs=1e-6)
            assert (session.status, session.activity) == ("terminated", "done")
            main, *others = await crud.list_agents(db, session.id)
            assert {agent.status for agent in (main, *others)} == {"complete"}
            assert {agent.parent_agent_id for agent in others} <= {main.id}
        if played.second_from:
            assert [getattr(session, played.second_from) for session in sessions] == [None, sessions[0].id]
        payloads = [hook.payload for hook in await hooks_of(db)]
    _check_calls(payloads, list(expected.values()), played)
    return payloads


def _check_calls(payloads: list[Any], records: list[Record], played: Played) -> None:
    """See that hooks told once of each call, and of its end where it was not denied."""
    ids = {name: [each["tool_use_id"] for each in payloads if each["hook_event_name"] == name] for name in _CALLS}
    calls = {said for record in records for _, kind, said in record.blocks if kind == "ToolUseBlock"}
    denied = {each["tool_use_id"] for run in played.runs for each in run.denials}
    assert sorted(ids["PreToolUse"]) == sorted(calls)
    assert sorted(ids["PostToolUse"] + ids["PostToolUseFailure"]) == sorted(calls - denied)
