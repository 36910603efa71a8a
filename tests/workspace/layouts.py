"""State files as older programs wrote them, and broken ones."""

from typing import Any

_PHASES = {
    "spec": {"status": "finalized", "started_at": "2025-12-24T00:00:00Z", "finalized_at": "2025-12-24T21:00:00Z"},
    "plan": {"status": "in_progress", "started_at": "2025-12-25T08:00:00Z", "finalized_at": None},
    "build": {"status": "not_started", "started_at": None, "completed_at": None},
}


def with_phases(slug: str) -> dict[str, Any]:
    """The oldest layout: an object of phases, the slug as id, the title as topic."""
    return {
        "session_id": slug,
        "topic": f"Topic of {slug}",
        "description": "Plan mode, enhanced",
        "granularity": "feature",
        "current_phase": "plan",
        "phases": _PHASES,
        "goals": {"high_level": [], "mid_level": []},
        "key_decisions": [{"decision": "JSON as source of truth", "rationale": "plan.json is structured", "date": "2025-12-24"}],
        "created_at": "2025-12-24T00:00:00Z",
        "updated_at": "2025-12-25T09:00:00Z",
    }


def with_plan_state(slug: str) -> dict[str, Any]:
    """The same, with how far the plan is built."""
    return with_phases(slug) | {
        "current_phase": "build",
        "phases": _PHASES | {"build": {"status": "in_progress", "started_at": "2025-12-26T08:00:00Z"}},
        "plan_state": {"status": "in_progress", "checkpoints_total": 5, "checkpoints_completed": [1, 2, 3], "current_checkpoint": 4},
    }


def with_history(slug: str) -> dict[str, Any]:
    """A later layout: a flat history, a status that is no phase, artifacts by name."""
    return {
        "$schema": "Session state manifest v2 - programmatic updates only",
        "session_id": slug,
        "topic": f"Topic of {slug}",
        "description": None,
        "session_type": "quick",
        "created_at": "2026-02-19T13:41:49+00:00",
        "updated_at": "2026-02-19T16:15:00+00:00",
        "current_phase": "build",
        "status": "active",
        "phase_history": {
            "spec_started_at": "2026-02-19T13:41:49+00:00",
            "spec_completed_at": "2026-02-19T14:55:00+00:00",
            "plan_started_at": "2026-02-19T15:30:00+00:00",
            "plan_completed_at": "2026-02-19T16:15:00+00:00",
            "build_started_at": "2026-02-19T16:15:00+00:00",
            "build_completed_at": None,
        },
        "build_progress": {"checkpoints_total": 4, "checkpoints_completed": [1], "current_checkpoint": 2},
        "commits": [{"sha": "8d20e29", "checkpoint": 1}],
        "artifacts": {"spec": "spec.md", "plan": "plan.json"},
    }


OLDER = (with_phases, with_plan_state, with_history)

BROKEN: dict[str, tuple[bytes, str]] = {
    "empty": (b"", "no JSON at line 1"),
    "torn": (b'{"title": "Sign', "no JSON at line 1"),
    "list": (b"[1, 2]", "no JSON object"),
    "no-utf-8": (b'{"title": "\xff"}', "not valid UTF-8 from byte 11"),
    "utf-16": ('{"title": "Sign in"}'.encode("utf-16"), "not valid UTF-8"),
    "nul": (b'{"title": "\x00"}', "no JSON at line 1"),
    "nul-in-a-title": (rb'{"title": "a\u0000"}', "NUL"),
    "lone-surrogate": (rb'{"title": "\ud800"}', "surrogate"),
    "number-as-title": (b'{"title": 7}', "title: is 7; write a text"),
    "number-as-topic": (b'{"topic": 7}', "topic: is 7; write a text"),
    "list-as-phase": (b'{"current_phase": ["spec"]}', "current_phase: is ['spec']"),
    "count-as-text": (b'{"checkpoints": {"total": "5"}}', "checkpoints.total: is '5'"),
    "negative-count": (b'{"checkpoints": {"total": -1}}', "checkpoints.total: is -1"),
    "checkpoints-as-list": (b'{"checkpoints": [1]}', "checkpoints: is [1]"),
    "nested": (b'{"a":' * 5000 + b"1" + b"}" * 5000, "nested too deep"),
    "nested-a-little-less": (b'{"a":' * 600 + b"1" + b"}" * 600, "nested too deep"),
    "infinite": (b'{"a": 1e999}', "too large"),
    "not-a-number": (b'{"a": NaN}', "NaN"),
    "digits": (b'{"a": ' + b"9" * 5000 + b"}", "digits"),
    "twins": (b'{"title": "a", "title": "b"}', "has the key 'title' twice"),
    "newer": (b'{"schema": 2}', "schema 2"),
    "unknown-agent-status": (b'{"agents": [{"status": "dancing"}]}', "status"),
}
"""By the name of a folder: what its state.json holds, and what is said of it."""
