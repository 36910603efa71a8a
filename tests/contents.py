"""A database with a row in every table, and the digest that says whether another one has the same."""

from collections.abc import Collection
from typing import Any

import asyncpg

from session_db import crud
from session_db.capture.importer import import_recordings
from session_db.database import get_async_session, in_transaction
from session_db.database.batches import in_batches
from session_db.models import (
    METADATA,
    ClipCreate,
    ClipUpdate,
    MemoryFileCreate,
    PlaylistCreate,
    SessionCreate,
    SongCreate,
    TokenCreate,
)
from session_db.models.table import JSONText
from tests.capture.recorded import BACKGROUND, CLEARED, FOREGROUND, recording
from tests.databases import Database
from tests.factories import event, make_agent, make_session, message
from tests.hostile import NASTY_TEXTS

HOSTILE_JSON = [
    r'{"nul": "a\u0000b", "alone": "\ud800", "other": "\udfff\ud83d", "pair": "😀 \ud83d\ude00"}',
    '{"large": 1e400, "small": -1E-400, "long": 1' + "0" * 5_000 + ', "float": 1.10, "zero": -0.0}',
    ' {"twice": 1,\n\t"twice" : 2, "": {"\\u2028": "\u2028 \u202e \\\\ \\" \\/"}}\n',
    '"\\\\.\\n"',
    '"just a text with \\\\N and \\\\t"',
    "[" * 400 + "]" * 400,
    "null",
]
"""What ``jsonb`` changes or refuses, and what COPY or JSON Lines might take for their own."""

LARGE_JSON = '{"output": "' + r"\u0000\\x" * 1_300_000 + '"}'
"""More than 10 MB."""


async def fill(*, payloads: Collection[str] = HOSTILE_JSON) -> None:
    """Put a row at least into every table of the database that is used, and these payloads into events."""
    await import_recordings([recording(BACKGROUND), recording(FOREGROUND)])
    await import_recordings([recording(CLEARED)])
    await in_transaction(lambda db: crud.delete_session(db, CLEARED))
    await in_batches(crud.erase_deleted_sessions)
    async with get_async_session() as db:
        clean = [
            text for text in NASTY_TEXTS if "\x00" not in text and text.isprintable() and text == text.encode(errors="ignore").decode()
        ]
        session = await make_session(db, session_slug="2026-01-15_moved", metadata={"nasty": clean, "1e23": 1e23, "deep": [[[{}]]]})
        agent = await make_agent(db, session)
        # A child whose id sorts before its parent's.
        await make_agent(db, session, id="00000000-0000-7000-8000-000000000001", parent_agent_id=agent.id)
        texts = [event(session, agent_id=agent.id, content=text, tool_output=text, tool_input={text: text}) for text in NASTY_TEXTS]
        raw = [event(session, payload=JSONText(text), tool_input=JSONText(text)) for text in payloads]
        await crud.append_agent_logs(db, [*texts, *raw])
        await crud.save_display_messages(
            db, session.id, [message(text, client_id=str(n)) for n, text in enumerate(["\\N", "\t\\.\n", "é😀"])]
        )
        await crud.create_memory_file(db, MemoryFileCreate(session_id=session.id, file_path="/work/a \\ b\t.md", is_primary=True))
        await crud.create_presence(db, (await crud.create_session(db, SessionCreate(agent_name="chat"))).id, worker="host 1")
        await crud.create_token(db, TokenCreate(name="token", scope="read"))
        await crud.create_clip(db, ClipCreate(clip_id="drums", name="Drums", project_id="p", code='s("bd")'))
        await crud.create_clip(db, ClipCreate(clip_id="gone", name="Gone", project_id="p", code="silence"))
        await crud.create_song(db, SongCreate(song_id="song", name="Song", project_id="p", clip_ids=["drums"]))
        await crud.create_playlist(db, PlaylistCreate(playlist_id="list", name="List", project_id="p", song_ids=["song"]))
    async with get_async_session() as db:
        await crud.update_clip(db, "drums", ClipUpdate(code='s("bd sd")'))
        await crud.delete_clip(db, "gone")


async def digests(database: Database, *, without: Collection[str] = ()) -> dict[str, tuple[int, str]]:
    """Return the number of rows of each table of ours that is there, and a digest of all that is in them."""
    async with database.connected() as connection:
        await connection.execute("SET timezone = 'UTC'")
        names = sorted(METADATA.tables.keys() - set(without))
        return {name: await _digest(connection, name) for name in names if await connection.fetchval("SELECT to_regclass($1)", name)}


async def _digest(connection: Any, table: str) -> tuple[int, str]:
    columns = [
        row["attname"]
        for row in await connection.fetch(
            "SELECT attname FROM pg_attribute WHERE attrelid = $1::text::regclass AND attnum > 0 AND NOT attisdropped ORDER BY 1", table
        )
    ]
    values = ", ".join(f"'{column}', \"{column}\"::text" for column in columns)
    row = f"md5(ROW({values})::text)"
    query = f"SELECT count(*), coalesce(md5(string_agg({row}, ',' ORDER BY {row})), '') FROM {table}"
    found: asyncpg.Record = await connection.fetchrow(query)
    return found[0], found[1]
