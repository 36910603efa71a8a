"""The merge of what files say with what the database says, by what both were when they were last the same."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from session_db.models.sessions import ENDED_STATUSES, WORKFLOW_STATUSES
from session_db.models.table import same_json
from session_db.workspace.layouts import FIELDS, Values
from session_db.workspace.state import OF_DATABASE, fingerprint

Marks = dict[str, list[str]]
"""Edits of files, each marked by what was there and what is."""

_ABSENT = object()


@dataclass(frozen=True)
class Conflict:
    """A value that gave way to another one."""

    field: str
    file: Any
    database: Any
    kept: str


@dataclass(frozen=True)
class Merged:
    """What comes of a merge.

    Attributes:
        edits: what is to be changed in the database.
        conflicts: what gave way.
        marks: which edits of the files are in the database from now on.
    """

    edits: Values
    conflicts: list[Conflict]
    marks: Marks


def merge(
    sources: Sequence[tuple[str, Values]],
    synced: Mapping[str, Any] | None,
    database: Values,
    marks: Mapping[str, Any] | None = None,
) -> Merged:
    """Compare what files own.

    Args:
        sources: what each place in the files says, the weightiest first.
        synced: what they and the database said when they were last the same; None: nobody knows.
        database: what it says now.
        marks: edits that are in the database although the file looks as if it did not know: its writer was killed.
    """
    edits: Values = {}
    conflicts: list[Conflict] = []
    marked: Marks = {}
    base = _part(synced, "state")
    for field in FIELDS:
        told = _told(field, sources, synced, marks or {}, marked)
        now = database[field]
        if told is _ABSENT or same_json(told, now):
            continue
        wins = is_ahead(told, now) if field == "status" else True
        if wins:
            edits[field] = told
        if not wins or not same_json(base.get(field, _ABSENT), now):
            conflicts.append(Conflict(field, told, now, "file" if wins else "database"))
    return Merged(edits, conflicts, marked)


def is_ahead(status: Any, other: str) -> bool:
    """Say whether a phase comes after another one; a session that ended has none before it any more."""
    phases = WORKFLOW_STATUSES[:-1]
    return status in phases and other not in ENDED_STATUSES and phases.index(status) > phases.index(other)


def put_back(record: Mapping[str, Any], written: Mapping[str, str], new: Mapping[str, Any]) -> list[Conflict]:
    """Return what somebody changed in a record that the database owns; ``written`` has fingerprints of what was written there."""
    touched = [key for key in OF_DATABASE if key in written and written[key] != fingerprint(key, record.get(key))]
    return [
        Conflict(key, record.get(key), new[key], "database")
        for key in touched
        if fingerprint(key, record.get(key)) != fingerprint(key, new[key])
    ]


def _told(
    field: str,
    sources: Sequence[tuple[str, Values]],
    synced: Mapping[str, Any] | None,
    marks: Mapping[str, Any],
    marked: Marks,
) -> Any:
    """Return the value that was edited, or absent where none was, and mark every edit there is."""
    edited = []
    for name, values in sources:
        before = _part(synced, name).get(field, _ABSENT)
        is_edit = field in values and (values[field] is not None if synced is None else not same_json(values[field], before))
        if is_edit:
            key = f"{name}.{field}"
            marked[key] = ["" if before is _ABSENT else fingerprint(field, before), fingerprint(field, values[field])]
            edited += [values[field]] if marks.get(key) != marked[key] else []
    return edited[0] if edited else _ABSENT


def _part(synced: Mapping[str, Any] | None, name: str) -> Mapping[str, Any]:
    part = (synced or {}).get(name)
    return part if isinstance(part, Mapping) else {}
