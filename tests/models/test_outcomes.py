"""How calls ended, as their events tell."""

from typing import Any

import pytest

from session_db.ids import new_id
from session_db.models import AgentLog
from session_db.models.outcomes import outcome_of, outcomes_in

SESSION = new_id()
REJECTED = "The user doesn't want to proceed with this tool use. The tool use was rejected (eg. if it was a file edit, …)."


def event(event_type: str, payload: Any = None, call: str | None = "t", output: str | None = None) -> AgentLog:
    category = "response" if event_type.endswith("Block") else "hook"
    return AgentLog(
        session_id=SESSION,
        event_index=0,
        event_category=category,
        event_type=event_type,
        tool_use_id=call,
        payload=payload,
        tool_output=output,
    )


def result(output: str = "", **more: Any) -> AgentLog:
    return event("ToolResultBlock", {"type": "tool_result"} | more, output=output)


def batch(*calls: Any) -> AgentLog:
    return event(
        "PostToolBatch", {"tool_calls": [{"tool_use_id": call, "tool_response": "it needs approval"} for call in calls]}, call=None
    )


def use(event_type: str, command: str, call: str | None = "t") -> AgentLog:
    told = event(event_type, {}, call)
    told.tool_name, told.tool_input = "Bash", {"command": command}
    return told


CALL, ASKED = event("ToolUseBlock"), event("PreToolUse")
DONE = event("PostToolUse", {"tool_response": {"stdout": "hi", "interrupted": False}})


class TestOutcomeOf:
    @pytest.mark.parametrize(
        ("told", "outcome"),
        [
            (CALL, None),
            (ASKED, None),
            (event("Stop"), None),
            (event("TextBlock", {"is_error": True}), None),
            (DONE, "ok"),
            (event("PostToolUse", {"tool_response": {"interrupted": True}}), "interrupted"),
            (event("PostToolUse", None), "ok"),
            (event("PostToolUseFailure", {"error": "Exit code 3", "is_interrupt": False}), "failed"),
            (event("PostToolUseFailure", {"is_interrupt": True}), "interrupted"),
            (event("PermissionDenied", {"reason": "Classifier unavailable"}), "denied"),
            (result("hi", is_error=False), "ok"),
            (result("hi"), "ok"),
            (result("Exit code 3", is_error=True), "failed"),
            (result("no", is_error=True, toolDenialKind="permission-rule"), "denied"),
            (result("no", is_error=True, toolDenialKind="a kind that nobody has heard of"), "denied"),
            (result("no", is_error=True, toolDenialKind="interrupted"), "interrupted"),
            (result("no", is_error=True, toolDenialKind="cancelled"), "interrupted"),
            (result(REJECTED, is_error=True), "denied"),
            (result("[Request interrupted by user for tool use]", is_error=True), "interrupted"),
            (event("ToolResultBlock", None), None),
        ],
    )  # fmt: skip
    def test_each_event_says_what_it_knows(self, told: AgentLog, outcome: str | None) -> None:
        assert outcome_of(told) == outcome

    @pytest.mark.parametrize("payload", [None, [], "text", 5, {"tool_response": []}, {"is_interrupt": "true"}, {"toolDenialKind": 5}])
    @pytest.mark.parametrize("event_type", ["PostToolUse", "PostToolUseFailure", "PermissionDenied", "ToolResultBlock", "PostToolBatch"])
    def test_whatever_a_payload_holds_it_fails_on_nothing(self, event_type: str, payload: Any) -> None:
        assert outcome_of(event(event_type, payload)) in {None, "ok", "failed", "denied"}
        assert set(outcomes_in([event(event_type, payload)])) <= {"t"}


class TestOutcomesIn:
    @pytest.mark.parametrize(
        ("events", "outcome"),
        [
            ([CALL, ASKED], None),
            ([ASKED, DONE], "ok"),
            ([ASKED, DONE, batch("t")], "ok"),
            ([ASKED, batch("t")], "denied"),
            ([batch("t"), ASKED], "denied"),
            ([ASKED, batch("another")], None),
            ([CALL, result("no", is_error=True)], "failed"),
            ([ASKED, event("PermissionDenied", {}), batch("t")], "denied"),
            ([ASKED, DONE, result("no", is_error=True, toolDenialKind="interrupted")], "interrupted"),
            ([result("no", is_error=True, toolDenialKind="interrupted"), ASKED, DONE], "interrupted"),
            ([event("ToolResultBlock", None), event("PostToolUseFailure", {})], "ok"),
            ([event("PostToolUseFailure", {}), event("ToolResultBlock", None)], "failed"),
        ],
    )  # fmt: skip
    def test_a_call_ended_as_its_events_tell(self, events: list[AgentLog], outcome: str | None) -> None:
        assert outcomes_in(events) == ({} if outcome is None else {"t": outcome})

    @pytest.mark.parametrize(
        ("hooks", "outcome"),
        [
            ([], "denied"),
            ([use("PreToolUse", "sleep 30")], "interrupted"),
            ([use("PreToolUse", "sleep 30"), use("PermissionRequest", "sleep 30", None)], "denied"),
            ([use("PreToolUse", "sleep 30"), use("PermissionRequest", "rm -rf /", None)], "interrupted"),
        ],
        ids=["no hook", "not asked", "asked", "asked of another"],
    )
    def test_a_call_that_was_rejected_and_not_asked_for_was_interrupted(self, hooks: list[AgentLog], outcome: str) -> None:
        rejected = result(REJECTED, is_error=True, toolDenialKind="user-rejected")
        assert outcomes_in([CALL, *hooks, rejected]) == outcomes_in([rejected, *hooks]) == {"t": outcome}

    def test_a_batch_tells_of_no_call_that_was_not_begun(self) -> None:
        assert outcomes_in([batch("t", None, 5), event("PostToolBatch", {"tool_calls": 5}, call=None)]) == {}
