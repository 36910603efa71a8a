"""Timelines: the events of a session as they are drawn, thousands a page."""

import json
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from sqlalchemy import BigInteger, Integer, Uuid, bindparam, text
from sqlalchemy.ext.asyncio import AsyncSession

from session_db.crud.paging import Page, checked_limit, decode_cursor, page_of
from session_db.crud.rows import run
from session_db.models.labels import first_line, label_of, telling_input
from session_db.models.outcomes import Outcome, outcome_of

MAX_LIMIT = 5000

_INPUT_BYTES = 8_192
"""A larger input is not read for a label: its texts stand in the content as well."""

_PAYLOAD_BYTES = 16_384
"""A larger payload, as it is stored, is not read for an outcome."""

# Foreign JSON is read as text: whatever reads a value out of it fails where a string in it holds a NUL. A payload says seldom that
# something went wrong, and is given back only where it may; where it says nothing it is empty. Keys may be written by their code points.
# The limit inside keeps each text from being made once for every place that it is looked at.
_EVENTS = text(r"""
    SELECT event_index, agent_id, event_category, event_type, tool_name, tool_use_id, timestamp, duration_ms, content, tool_output,
           CASE WHEN octet_length(tool_input) <= :input_bytes THEN tool_input END AS tool_input,
           CASE WHEN payload ~ '^\s*\{\s*"' THEN
               CASE WHEN payload ~ '"(is_error|interrupted|is_interrupt)"\s*:\s*true|"toolDenialKind"|\\u00[4567]' THEN payload ELSE '' END
           END AS payload
    FROM (
        SELECT event_index, agent_id, event_category, event_type, tool_name, tool_use_id, timestamp, duration_ms,
               left(content, 400) AS content, left(tool_output, 400) AS tool_output,
               CASE WHEN event_type IN ('ToolUseBlock', 'PreToolUse', 'PermissionRequest') AND pg_column_size(tool_input) <= :input_bytes
                   THEN tool_input::text END AS tool_input,
               CASE WHEN event_type IN ('ToolResultBlock', 'PostToolUse', 'PostToolUseFailure')
                   AND pg_column_size(payload) <= :payload_bytes THEN payload::text END AS payload
        FROM agent_logs
        WHERE session_id = :session_id AND event_index > :after_index
          AND EXISTS (SELECT FROM sessions WHERE id = :session_id AND deleted_at IS NULL)
        ORDER BY event_index
        LIMIT :number
    ) AS events
    ORDER BY event_index
""").bindparams(
    bindparam("session_id", type_=Uuid),
    bindparam("after_index", type_=BigInteger),
    bindparam("number", type_=Integer),
    bindparam("input_bytes", _INPUT_BYTES, Integer),
    bindparam("payload_bytes", _PAYLOAD_BYTES, Integer),
)


_ENDS = frozenset({"ToolResultBlock", "PostToolUse", "PostToolUseFailure", "PermissionDenied"})
_SILENT = {"": ""}

# Nothing here is a number, and an integer may have more digits than Python reads.
_DECODER = json.JSONDecoder(parse_int=float)


@dataclass(slots=True)
class _Event:
    """What tells the outcome of a call."""

    event_type: str
    tool_output: str | None
    payload: Any


async def list_timeline(
    db: AsyncSession, session_id: UUID, *, after_index: int = -1, limit: int = MAX_LIMIT, cursor: str | None = None
) -> Page[dict[str, Any]]:
    """Return the events of a session in the order of recording, each as the members that a ``TimelineEvent`` has.

    A label is what tells most of a call's input, else the first line of what the event says or of what the tool gave. An outcome is known
    where the payload is not large.

    Args:
        db: the database session.
        session_id: the session; an unknown one has no events.
        after_index: only those after this event_index.
        limit: rows a page, 1 to 5000.
        cursor: ``next_cursor`` of the page before.
    """
    checked_limit(limit, MAX_LIMIT)
    if cursor is not None:
        (seen,) = decode_cursor(cursor, int)
        after_index = max(after_index, seen)
    asked = {"session_id": session_id, "after_index": after_index, "number": limit + 1}
    page = page_of((await run(db, _EVENTS.bindparams(**asked))).all(), limit, "event_index")
    return Page([_item(row) for row in page], page.next_cursor)


def _item(row: Any) -> dict[str, Any]:
    # The driver gives moments in UTC.
    index, agent_id, category, event_type, tool_name, tool_use_id, moment, duration_ms, content, tool_output, tool_input, payload = row
    item = {
        "event_index": index,
        "agent_id": None if agent_id is None else str(agent_id),
        "event_category": category,
        "event_type": event_type,
        "tool_name": tool_name,
        "tool_use_id": tool_use_id,
        "timestamp": f"{moment.replace(tzinfo=None).isoformat()}Z",
        "duration_ms": duration_ms,
        "outcome": _outcome(event_type, tool_output, payload),
        "label": label_of(telling_input(_decoded(tool_input)) or first_line(content) or first_line(tool_output)),
    }
    return {name: value for name, value in item.items() if value is not None}


def _decoded(value: str | None) -> Any:
    try:
        return _DECODER.decode(value) if value else None
    except (ValueError, RecursionError):
        return None


def _outcome(event_type: str, tool_output: str | None, payload: str | None) -> Outcome | None:
    if event_type not in _ENDS:
        return None
    # Where a payload is there, and says of no trouble, any that is not empty says the same.
    return outcome_of(_Event(event_type, tool_output, _SILENT if payload == "" else _decoded(payload)))
