"""Timelines: compact rows of a session's events."""

from typing import Any

import pytest

from session_db import crud
from session_db.database import UnitOfWork
from session_db.errors import InvalidInput
from session_db.ids import new_id
from session_db.models import TimelineEvent
from session_db.models.agent_logs import event_json
from session_db.models.table import JSONText
from tests.factories import event, make_agent, make_event, make_session

RESPONSE = {"event_category": "response"}
DENIED = "The user doesn't want to proceed with this tool use."


async def drawn(db: UnitOfWork, **values: Any) -> dict[str, Any]:
    """Append an event, and return what the timeline has of it."""
    appended = await make_event(db, **values)
    (item,) = await crud.list_timeline(db, appended.session_id)
    return item


class TestListTimeline:
    async def test_an_event_has_what_is_drawn_and_nothing_that_it_has_not(self, db: UnitOfWork) -> None:
        agent = await make_agent(db)
        values = {"agent_id": agent.id, "timestamp": "2026-03-10T12:00:00.5+02:00", "duration_ms": 7, "tool_use_id": "toolu_1"}
        await make_event(db, agent.session_id, tool_name="Bash", tool_input={"command": "ls"}, **values)
        await make_event(db, agent.session_id, **RESPONSE | {"event_type": "Stop", "timestamp": "2026-03-10T12:00:00Z"})
        first, second = [each for each in await crud.list_timeline(db, agent.session_id) if each["event_type"] in {"PreToolUse", "Stop"}]
        assert first == {
            "event_index": first["event_index"],
            "agent_id": str(agent.id),
            "event_category": "hook",
            "event_type": "PreToolUse",
            "tool_name": "Bash",
            "tool_use_id": "toolu_1",
            "timestamp": "2026-03-10T10:00:00.500000Z",
            "duration_ms": 7,
            "label": "ls",
        }
        assert second == {
            "event_index": second["event_index"],
            "event_category": "response",
            "event_type": "Stop",
            "timestamp": "2026-03-10T12:00:00Z",
        }
        assert TimelineEvent.model_validate_json(TimelineEvent(**first).model_dump_json()).agent_id == agent.id

    async def test_pages_follow_one_another(self, db: UnitOfWork) -> None:
        session = await make_session(db)
        await crud.append_agent_logs(db, [event(session) for _ in range(7)])
        first = await crud.list_timeline(db, session.id, after_index=1, limit=3)
        second = await crud.list_timeline(db, session.id, after_index=1, limit=3, cursor=first.next_cursor)
        assert [[each["event_index"] for each in page] for page in (first, second)] == [[2, 3, 4], [5, 6]]
        assert second.next_cursor is None

    async def test_a_session_that_is_unknown_or_deleted_has_none(self, db: UnitOfWork) -> None:
        session_id = (await make_event(db)).session_id
        await crud.delete_session(db, session_id)
        assert [await crud.list_timeline(db, each) for each in (session_id, new_id())] == [[], []]

    @pytest.mark.parametrize("asked", [{"limit": 0}, {"limit": 5001}, {"cursor": "abc"}, {"after_index": 2**63}])
    async def test_what_is_out_of_range_is_refused(self, db: UnitOfWork, asked: dict[str, Any]) -> None:
        with pytest.raises(InvalidInput):
            await crud.list_timeline(db, new_id(), **asked)


class TestLabels:
    @pytest.mark.parametrize(
        ("values", "label"),
        [
            ({"tool_input": {"command": "make\ttest\n"}}, "make test"),
            ({"tool_input": {"nothing": "telling"}}, "telling"),
            ({"tool_input": {"command": "x" * 9000}}, "x" * 119 + "…"),
            ({"tool_input": {"command": "a\x00b", "other": "\ud800"}}, "a b"),
            ({"tool_input": JSONText('{"command": "\\u0000 \\ud800 ls"}')}, "ls"),
            ({"tool_input": JSONText('{"n": 1e999, "command": "ls"}')}, "ls"),
            ({"tool_input": JSONText('{"n": ' + "9" * 5000 + ', "command": "ls"}')}, "ls"),
            ({"tool_input": {"command": "ls"}, "event_type": "PostToolUse", "tool_output": "\n one\ntwo"}, "one"),
            ({"content": "\n\n# Title\nmore", **RESPONSE, "event_type": "TextBlock"}, "# Title"),
            ({"content": "é" * 500}, "é" * 119 + "…"),
            ({"content": " \n "}, None),
        ],
    )
    async def test_each_is_a_readable_line(self, db: UnitOfWork, values: dict[str, Any], label: str | None) -> None:
        assert ((await drawn(db, **values)).get("label") or "").strip() == (label or "")


class TestOutcomes:
    @pytest.mark.parametrize(
        "values",
        [
            {"event_type": "PostToolUse", "payload": {"tool_response": {"interrupted": False}}},
            {"event_type": "PostToolUse", "payload": {"tool_response": {"interrupted": True}}},
            {"event_type": "PostToolUse", "payload": {"tool_response": "interrupted", "interrupted": True}},
            {"event_type": "PostToolUse"},
            {"event_type": "PostToolUseFailure", "payload": {"error": "no"}},
            {"event_type": "PostToolUseFailure", "payload": {"is_interrupt": True}},
            {"event_type": "PermissionDenied", "payload": {"is_error": True}},
            {"event_type": "ToolResultBlock", "payload": {"is_error": False}},
            {"event_type": "ToolResultBlock", "payload": {"is_error": True}},
            {"event_type": "ToolResultBlock", "payload": {"is_error": 1}},
            {"event_type": "ToolResultBlock", "payload": {"is_error": True}, "tool_output": DENIED},
            {"event_type": "ToolResultBlock", "payload": {"toolDenialKind": "cancelled"}},
            {"event_type": "ToolResultBlock", "payload": {"toolDenialKind": "rule", "is_error": True}},
            {"event_type": "ToolResultBlock", "payload": {"toolDenialKind": None}},
            {"event_type": "ToolResultBlock", "payload": {"content": '"is_error": true'}},
            {"event_type": "ToolResultBlock", "payload": {"content": "\x00", "is_error": True}},
            {"event_type": "ToolResultBlock", "payload": JSONText('{"\\u0069s_error": true}')},
            {"event_type": "ToolResultBlock", "payload": JSONText('{"is_error": true, "is_error": false}')},
            {"event_type": "ToolResultBlock", "payload": JSONText('\n{\n "is_error"\t:\n true\n}')},
            {"event_type": "ToolResultBlock", "payload": {}},
            {"event_type": "ToolResultBlock", "payload": [{"is_error": True}]},
            {"event_type": "ToolResultBlock", "payload": "is_error"},
            {"event_type": "ToolResultBlock"},
            {"event_type": "PreToolUse", "payload": {"is_error": True}},
        ],
        ids=str,
    )
    async def test_each_is_what_lists_say(self, db: UnitOfWork, values: dict[str, Any]) -> None:
        session = await make_session(db)
        await make_event(db, session, **values)
        (item,), (log,) = await crud.list_timeline(db, session.id), await crud.list_agent_logs(db, session.id)
        assert item.get("outcome") == event_json(log)["outcome"]

    async def test_of_a_payload_that_is_large_it_is_not_known(self, db: UnitOfWork) -> None:
        noise = "".join(chr(33 + number * number % 8000) for number in range(40_000))
        item = await drawn(db, event_type="ToolResultBlock", payload={"is_error": True, "content": noise})
        assert "outcome" not in item
