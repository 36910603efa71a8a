"""What the files in a folder say of its session, and what its state.json has to hold."""

from collections.abc import Container, Mapping
from pathlib import Path
from typing import Any, NamedTuple
from uuid import UUID

from session_db.errors import InvalidInput, NotFound
from session_db.models.table import same_json
from session_db.workspace.documents import MAX_BYTES, format_object, parse_object
from session_db.workspace.folders import Folder, Stamp, open_folder
from session_db.workspace.layouts import (
    RECORD,
    Values,
    heading_of,
    in_step,
    is_older,
    older_values,
    plan_values,
    record_in,
    session_id_in,
    state_values,
)
from session_db.workspace.places import STATE
from session_db.workspace.state import OF_DATABASE, fingerprint, overlaid

SPEC, PLAN = "spec.md", "plan.json"

_SPEC_BYTES = 16_384


class Files(NamedTuple):
    """What is in a folder.

    Attributes:
        stamp: tells whether state.json is still the one that was read; None: there is none.
        document: what it holds.
        plan: how far plan.json is built; empty where it says nothing, which is no edit: it may just be written.
        heading: the first one of spec.md.
        note: why plan.json cannot be read.
    """

    stamp: Stamp | None
    document: dict[str, Any]
    plan: Values
    heading: str | None
    note: str | None


def read_files(folder: Folder) -> Files:
    """Read what a folder says of its session."""
    stamp = folder.stamp(STATE)
    content = folder.read(STATE, MAX_BYTES)
    document = {} if content is None else parse_object(content, STATE)
    plan, note = _read_plan(folder)
    return Files(None if content is None else stamp, document, plan, _read_heading(folder), note)


def is_named_in(directory: Path, session_id: UUID) -> bool:
    """Say whether a folder is there and names this session."""
    try:
        with open_folder(directory) as folder:
            content = folder.read(STATE, MAX_BYTES)
        return content is not None and session_id_in(record_in(parse_object(content, STATE))) == session_id
    except (NotFound, InvalidInput):
        return False


def _read_plan(folder: Folder) -> tuple[Values, str | None]:
    try:
        content = folder.read(PLAN, MAX_BYTES)
        return ({} if content is None else plan_values(parse_object(content, PLAN))), None
    except InvalidInput as error:
        return {}, error.message
    except OSError as error:
        return {}, f"{PLAN} cannot be read: {error.strerror}"


def _read_heading(folder: Folder) -> str | None:
    try:
        content = folder.read(SPEC, _SPEC_BYTES, cut=True)
    except (InvalidInput, OSError):
        return None
    return None if content is None else heading_of(content)


def new_content(files: Files, new: Mapping[str, Any], before: Mapping[str, Any] | None) -> bytes | None:
    """Return what state.json has to hold, or None where it does.

    Raises:
        InvalidInput: that would be more than can be read again.
    """
    plan = files.plan or (before or {}).get("plan", {})
    updated_at = record_in(files.document).get("updated_at")
    if isinstance(updated_at, str) and same_json(_document(files, {**new, "updated_at": updated_at}, plan), files.document):
        return None
    return format_object(_document(files, new, plan), STATE)


def _document(files: Files, new: Mapping[str, Any], plan: Values) -> dict[str, Any]:
    older = is_older(files.document)
    kept = in_step(files.document, new) if older else files.document
    synced = {
        "state": state_values(new),
        "layout": older_values(kept) if older else {},
        "plan": plan,
        "database": fingerprints(new, OF_DATABASE),
    }
    record = overlaid(record_in(files.document), {**new, "synced": synced})
    return {**kept, RECORD: record} if older else record


def fingerprints(record: Mapping[str, Any], keys: Container[str]) -> dict[str, str]:
    """Return what tells whether the values that the database owns are still as they were written, those of them with these keys."""
    return {key: fingerprint(key, record[key]) for key in OF_DATABASE if key in keys}
