"""The store of the Claude Agent SDK keeps the contract; no SDK is needed for it."""

from typing import Any

import pytest

from session_db.integrations.claude_agent_sdk import PostgresSessionStore
from session_db.integrations.claude_agent_sdk import store as store_module
from tests.databases import Database
from tests.integrations.session_store_contract import (  # noqa: F401  pytest collects them
    TestAppend,
    TestDelete,
    TestListSessions,
    TestListSessionSummaries,
    TestListSubkeys,
    TestLoad,
)


@pytest.fixture
def store(fresh_database: Database, monkeypatch: pytest.MonkeyPatch) -> PostgresSessionStore:
    monkeypatch.setattr(store_module, "_fold_of_the_sdk", lambda: fold)
    return PostgresSessionStore()


def fold(before: dict[str, Any], _key: Any, entries: list[dict[str, Any]]) -> dict[str, Any]:
    """Sum up as the SDK does: what is said last counts."""
    titles = [one["customTitle"] for one in entries if "customTitle" in one]
    count = before["data"].get("count", 0) + len(entries)
    return before | {"data": before["data"] | {"count": count} | ({"title": titles[-1]} if titles else {})}
