"""What the files of a folder say of what they own: state.json in its present and in older layouts, and plan.json.

An older layout has the same keys for other things (``session_id`` is the slug, ``status`` no phase, ``phase_history`` an object), and
programs that read them. So it stays as it is, and our record stands in it under a key of its own.
"""

from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any
from uuid import UUID

from session_db.errors import InvalidInput
from session_db.models.sessions import WORKFLOW_STATUSES
from session_db.models.table import as_utc, now
from session_db.models.text import shown
from session_db.workspace.state import CHECKPOINTS, SCHEMA, is_count

RECORD = "session_db"
"""Key of our record in an older layout."""

FIELDS = ("title", "description", "status", "total", "done")
"""What files own, the status only where it is ahead."""

_OLDER_KEYS = frozenset({"current_phase", "phases", "build_progress", "plan_state", "topic"})
_PHASES = WORKFLOW_STATUSES[1:-2]
_NOT_BEGUN = (None, "", "not_started", "pending")
_DONE = frozenset({"complete", "completed", "done", "finalized", "verified"})

Values = dict[str, Any]


def is_older(document: Mapping[str, Any]) -> bool:
    """Say whether a state.json has an older layout.

    Raises:
        InvalidInput: it has a newer one.
    """
    schema = document.get("schema")
    if isinstance(schema, int) and schema > SCHEMA:
        raise InvalidInput(f"state.json has schema {schema}, which this session-db does not know: upgrade session-db.", schema=schema)
    if schema == SCHEMA:
        return False
    return bool(_OLDER_KEYS & document.keys()) or isinstance(document.get("phase_history"), Mapping) or RECORD in document


def record_in(document: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return our record in a state.json, an empty one where it has none yet."""
    if not is_older(document):
        return document
    record = document.get(RECORD)
    return record if isinstance(record, Mapping) else {}


def state_values(record: Mapping[str, Any]) -> Values:
    """Return what our record says of what files own, as far as it says it."""
    values = _texts(record, title="title", description="description", status="status")
    checkpoints = record.get(CHECKPOINTS)
    if checkpoints is not None and not isinstance(checkpoints, Mapping):
        raise InvalidInput(f'checkpoints: is {shown(checkpoints)}; write {{"total": 5, "done": 2}}, or null.')
    return values | _counts(checkpoints or {}, total="total", done="done")


def older_values(document: Mapping[str, Any]) -> Values:
    """Return what an older layout says of the same."""
    title = "topic" if "topic" in document else "title"
    values = _texts(document, title=title, description="description")
    values |= {"status": phase} if (phase := _older_phase(document)) else {}
    progress = [part for key in ("build_progress", "plan_state") if isinstance(part := document.get(key), Mapping)]
    totals = [int(part["checkpoints_total"]) for part in progress if is_count(part.get("checkpoints_total"))]
    done = [count for part in progress if (count := _length(part.get("checkpoints_completed"))) is not None]
    # A session without a plan yet has zeros there, which say nothing.
    counts = {"total": max(totals, default=0), "done": max(done, default=0)}
    return values | (counts if any(counts.values()) else {})


def plan_values(plan: Mapping[str, Any]) -> Values:
    """Return how far a plan.json says that it is built."""
    checkpoints = plan.get(CHECKPOINTS)
    if not isinstance(checkpoints, list):
        return {}
    done = [part for part in checkpoints if isinstance(part, Mapping) and str(part.get("status")).lower() in _DONE]
    return {"total": len(checkpoints), "done": len(done)}


def heading_of(spec: bytes) -> str | None:
    """Return the first heading of a spec.md, which names what has no title."""
    for line in spec.decode(errors="replace").splitlines():
        if line.startswith("# ") and (title := line[2:].strip()):
            return title[:_HEADING].replace("\0", "\ufffd")
    return None


_HEADING = 300


def session_id_in(record: Mapping[str, Any]) -> UUID | None:
    """Return the session that a record names."""
    named = record.get("session_id")
    try:
        return UUID(named) if isinstance(named, str) else None
    except ValueError:
        return None


def history_in(document: Mapping[str, Any]) -> list[tuple[str, datetime | None]]:
    """Return the phases that a state.json tells of, in their order, with when each began."""
    if not is_older(document):
        told = document.get("phase_history")
        entries = [entry for entry in told if isinstance(entry, Mapping)] if isinstance(told, list) else []
        return [(entry["phase"], moment_in(entry, "at")) for entry in entries if entry.get("phase") in WORKFLOW_STATUSES]
    begun = [(phase, at) for phase in _PHASES if (at := _began(document, phase))]
    return [(phase, at) for phase, at in begun if at is not None]


def moment_in(values: Mapping[str, Any], key: str) -> datetime | None:
    """Return the moment that stands there, if there is one, and it is not to come."""
    text = values.get(key)
    try:
        return min(as_utc(datetime.fromisoformat(text)), now()) if isinstance(text, str) else None
    except ValueError:
        return None


def status_in(document: Mapping[str, Any]) -> str:
    """Return the status that a new session gets from its state.json."""
    older = is_older(document)
    # An older layout says beside the phase how it ended.
    ended = document.get("status") if older and document.get("status") in ("complete", "failed") else None
    status = ended or (older_values if older else state_values)(document).get("status")
    return str(status) if status in WORKFLOW_STATUSES else WORKFLOW_STATUSES[0]


def in_step(document: dict[str, Any], record: Mapping[str, Any]) -> dict[str, Any]:
    """Return an older layout whose own keys say what the record says, as far as they are there."""
    kept = dict(document)
    title = "topic" if "topic" in document else "title"
    for key, value in ((title, record["title"]), ("description", record["description"])):
        if key in kept and value is not None:
            kept[key] = value
    if kept.get("current_phase") and record["status"] in (*_PHASES, "complete"):
        kept["current_phase"] = record["status"]
    return kept


def _texts(values: Mapping[str, Any], **keys: str) -> Values:
    found = {}
    for field, key in keys.items():
        if key not in values:
            continue
        if values[key] is not None and not isinstance(values[key], str):
            raise InvalidInput(f"{key}: is {shown(values[key])}; write a text.", field=key)
        found[field] = values[key]
    return found


def _counts(values: Mapping[str, Any], **keys: str) -> Values:
    found = {}
    for field, key in keys.items():
        if key not in values:
            continue
        if values[key] is not None and not is_count(values[key]):
            raise InvalidInput(f"checkpoints.{key}: is {shown(values[key])}; write a number, 0 or more, or null.", field=key)
        found[field] = values[key]
    return found


def _length(completed: Any) -> int | None:
    return len(completed) if isinstance(completed, list) else completed if is_count(completed) else None


def _older_phase(document: Mapping[str, Any]) -> str | None:
    current = document.get("current_phase")
    if current is not None and not isinstance(current, str):
        raise InvalidInput(f"current_phase: is {shown(current)}; write one of {', '.join(WORKFLOW_STATUSES)}.", field="current_phase")
    if current:
        return current
    begun = [phase for phase in _PHASES if _has_begun(document, phase)]
    return begun[-1] if begun else None


def _part(document: Mapping[str, Any], phase: str) -> Mapping[str, Any]:
    phases = document.get("phases")
    part = phases.get(phase) if isinstance(phases, Mapping) else None
    return part if isinstance(part, Mapping) else {}


def _has_begun(document: Mapping[str, Any], phase: str) -> bool:
    return _part(document, phase).get("status") not in _NOT_BEGUN or _began(document, phase) is not None


def _began(document: Mapping[str, Any], phase: str) -> datetime | None:
    history = document.get("phase_history")
    flat: Callable[[], datetime | None] = lambda: moment_in(history, f"{phase}_started_at") if isinstance(history, Mapping) else None  # noqa: E731
    return moment_in(_part(document, phase), "started_at") or flat()
