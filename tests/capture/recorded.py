"""Recorded runs to test with, as they are and as copies that somebody damaged."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any
from uuid import UUID

from sqlalchemy import func, select, text
from sqlmodel import col

from session_db.crud.transcripts import list_transcripts, stream_entries
from session_db.database import UnitOfWork, async_session
from session_db.models import METADATA

TRANSCRIPTS = Path(__file__).parents[1] / "fixtures" / "claude-code" / "transcripts"
PROJECT = "-home-dev-demo"

BACKGROUND = UUID("8ea630f1-7e54-449a-b4ed-97623d64d986")
FOREGROUND = UUID("4ded4150-d57d-48f3-81eb-b10ed9462a30")
COMPACTED = UUID("5f13b8f1-ae89-4b7d-8473-b1329ee6abe8")
FORK = UUID("7ed4e7bc-ede8-4eb2-b1de-fe3bd0acf342")
CLEARED = UUID("c590c9e3-3bb1-4977-95cb-cb6416a0cf49")
BEFORE_CLEAR = UUID("4d0d7ece-74b9-4b08-992a-8e562072b947")


def recording(session_id: UUID) -> Path:
    """Return the transcript file of a recorded session."""
    return next(TRANSCRIPTS.glob(f"*/{PROJECT}/{session_id}.jsonl"))


def copy_of(session_id: UUID, to: Path) -> Path:
    """Copy a recording with everything beside it into a folder of projects, and return its transcript file."""
    source = recording(session_id)
    target = to / PROJECT / source.name
    target.parent.mkdir(parents=True, exist_ok=True)
    shutil.copy(source, target)
    if source.with_suffix("").is_dir():
        shutil.copytree(source.with_suffix(""), target.with_suffix(""))
    return target


def entries_of(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def write_entries(path: Path, entries: list[dict[str, Any]]) -> None:
    path.write_text("".join(json.dumps(entry) + "\n" for entry in entries))


def changed(path: Path, change: Callable[[list[dict[str, Any]]], None]) -> None:
    """Change the entries of a file."""
    entries = entries_of(path)
    change(entries)
    write_entries(path, entries)


async def stored_lines(session_id: UUID, subpath: str = "") -> list[str]:
    """Return what a stream holds, line by line."""
    async with async_session() as db:
        streams = [stream for stream in await list_transcripts(db, session_id) if stream.subpath == subpath]
        assert len(streams) == 1
        return [text async for text in stream_entries(db, session_id, streams[0].id)]


async def everything(db: UnitOfWork) -> dict[str, list[Any]]:
    """Return all rows of all tables, to compare two states of a database."""
    return {
        table.name: [tuple(map(str, row)) for row in await db.execute(select(table).order_by(*table.primary_key.columns))]
        for table in METADATA.sorted_tables
    }


async def rows_without_clocks() -> dict[str, Any]:
    """Return all rows of what was captured, without times, in an order that no time decides."""
    clocks = {"created_at", "updated_at", "last_activity", "recorded_at", "started_at", "completed_at", "timestamp", "mtime"}
    tables = ("sessions", "agents", "agent_logs", "messages", "usage", "transcripts", "transcript_entries", "sdk_sessions")
    by_order = {"agent_logs": {"event_index", "id"}, "messages": {"id"}}
    async with async_session() as db:
        found = {}
        for table in tables:
            rows = (await db.execute(text(f"SELECT * FROM {table}"))).mappings().all()
            left_out = clocks | by_order.get(table, set())
            kept = [{name: str(value) for name, value in row.items() if name not in left_out} for row in rows]
            found[table] = sorted(map(json.dumps, kept))
    return found


async def count_of(db: UnitOfWork, table: Any, session_id: UUID) -> int:
    return await db.scalar(select(func.count()).select_from(table).where(col(table.session_id) == session_id)) or 0
