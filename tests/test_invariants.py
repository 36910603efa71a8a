"""The checker of the invariants can fail: each is broken by plain SQL, and told."""

from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pytest

from session_db import crud
from session_db.crud.locking import lock_session
from session_db.crud.usage import TOKENS, put_usage
from session_db.database import UnitOfWork
from session_db.ids import new_id
from session_db.models import ClipCreate, MemoryFileCreate, PlaylistCreate, SongCreate, Transcript, TranscriptEntry
from tests.factories import event, make_agent, make_session, message
from tests.invariants import INVARIANTS, violations

BROKEN = [
    ("event_index has no gap", "UPDATE agent_logs SET event_index = 7 WHERE event_index = 2"),
    ("event_index has no gap", "UPDATE agent_logs SET event_index = event_index + 1000"),
    ("event_index has no gap", "UPDATE sessions SET event_count = event_count + 1"),
    ("message_index has no gap", "DELETE FROM messages WHERE message_index = 0"),
    ("message_index has no gap", "DELETE FROM messages"),
    ("a session's totals are the sum of its agents", "UPDATE sessions SET total_cost = total_cost + 0.0000000001"),
    ("a session's totals are the sum of its agents", "UPDATE sessions SET total_cache_write_tokens = 0"),
    ("an agent with usage has its sum", "UPDATE usage SET computed_cost = computed_cost + 0.0000000001"),
    ("an agent with usage has its sum", "UPDATE usage SET cache_write_1h_tokens = 9"),
    ("minutes count every event", "UPDATE activity_minutes SET events = events - 1"),
    ("minutes count every event", "DELETE FROM activity_minutes"),
    ("minutes hold every cost", "UPDATE activity_minutes SET cost = cost + 0.0000000001"),
    ("an agent belongs to the session of its rows", "UPDATE agent_logs SET agent_id = gen_random_uuid()"),
    ("an agent belongs to the session of its rows", "UPDATE usage SET agent_id = gen_random_uuid()"),
    ("an agent belongs to the session of its rows", "UPDATE transcripts SET agent_id = gen_random_uuid()"),
    ("an agent belongs to the session of its rows", "UPDATE agents SET parent_agent_id = gen_random_uuid()"),
    ("no agent began itself", "UPDATE agents SET parent_agent_id = id"),
    (
        "no agent began itself",
        "UPDATE agents a SET parent_agent_id = b.id FROM agents b WHERE b.parent_agent_id = a.id",
    ),
    ("a stream has every entry once, in order", "UPDATE transcript_entries SET seq = 9 WHERE seq = 1"),
    ("a stream has every entry once, in order", "UPDATE transcripts SET next_seq = 4"),
    ("a stream has every entry once, in order", "UPDATE transcripts SET projected_seq = 4"),
    ("an entry has a stream", "UPDATE transcript_entries SET transcript_id = gen_random_uuid()"),
    ("a session's reported cost is the sum of its streams", "UPDATE transcripts SET reported_cost = 1"),
    ("an SDK session is bound to a live session and its agent, or a tombstone", "UPDATE sessions SET deleted_at = now()"),
    ("an SDK session is bound to a live session and its agent, or a tombstone", "UPDATE sdk_sessions SET agent_id = gen_random_uuid()"),
    ("an SDK session is bound to a live session and its agent, or a tombstone", "UPDATE sdk_sessions SET session_id = NULL"),
    *(
        ("an erased session leaves no row", f"UPDATE {table} SET session_id = gen_random_uuid()")
        for table in ("agents", "agent_logs", "messages", "memory_files", "transcripts", "usage", "activity_minutes")
    ),
    ("nothing is active in the future", "UPDATE sessions SET last_activity = now() + interval '1 minute'"),
    *(
        ("nothing changed before it was made", f"UPDATE {table} SET updated_at = created_at - interval '1 microsecond'")
        for table in ("sessions", "agents", "memory_files", "clips", "songs", "playlists")
    ),
    ("one memory file is primary", "DROP INDEX uq_memory_files_session_id_primary; UPDATE memory_files SET is_primary = true"),
    (
        "a slug stands once in a project",
        (
            "ALTER TABLE sessions DROP CONSTRAINT uq_sessions_working_dir_session_slug; "
            "UPDATE sessions SET working_dir = '/work', session_slug = 'feature'"
        ),
    ),
    (
        "a client_id stands once in a session",
        "DROP INDEX uq_messages_session_id_client_id; UPDATE messages SET client_id = 'm1'",
    ),
    ("a deleted session has no slug", "UPDATE sessions SET deleted_at = now() WHERE session_slug IS NOT NULL"),
    (
        "a clip is newer than its versions",
        "INSERT INTO clip_versions (clip_id, version, code, metadata) SELECT clip_id, version, code, metadata FROM clips",
    ),
    ("what an item names is there", "DELETE FROM clips"),
    ("what an item names is there", "DELETE FROM songs"),
]


@pytest.fixture
async def connection(db: UnitOfWork) -> Any:
    """The bare connection of a transaction in which every table has rows, and no key of another table is checked."""
    session = await make_session(db, session_slug="feature")
    await make_session(db)
    agent = await make_agent(db, session, sdk_session_id=str(new_id()))
    await make_agent(db, session, parent_agent_id=agent.id)
    await crud.append_agent_logs(db, [event(session, agent_id=agent.id), event(session), event(session)])
    await crud.save_display_messages(db, session.id, [message(client_id="m1"), message(client_id="m2")])
    for path in ("a", "b"):
        await crud.create_memory_file(db, MemoryFileCreate(session_id=session.id, file_path=path, is_primary=path == "a"))
    await lock_session(db, session.id)
    row = dict.fromkeys(TOKENS, 10) | {"message_id": "msg_1", "agent_id": agent.id, "model": "m", "occurred_at": datetime.now(UTC)}
    await put_usage(db, session.id, [row | {"computed_cost": Decimal("0.5"), "reported_cost": None}], {})
    stream: dict[str, Any] = {"session_id": session.id, "id": new_id(), "agent_id": agent.id, "project_key": "p", "sdk_session_id": "s"}
    db.add(Transcript(**stream, next_seq=3, projected_seq=3))
    await db.flush()
    db.add_all(TranscriptEntry(session_id=session.id, transcript_id=stream["id"], seq=seq, entry={}) for seq in range(3))
    await crud.create_clip(db, ClipCreate(clip_id="kick", project_id="house", name="Kick", code="bd"))
    await crud.create_song(db, SongCreate(song_id="song", project_id="house", name="Song", clip_ids=["kick"]))
    await crud.create_playlist(db, PlaylistCreate(playlist_id="list", project_id="house", name="List", song_ids=["song"]))
    await db.flush()
    bare = (await (await db.connection()).get_raw_connection()).driver_connection
    assert bare is not None
    await bare.execute("SET LOCAL session_replication_role = replica")
    return bare


async def test_what_the_package_wrote_breaks_none(connection: Any) -> None:
    assert await violations(connection) == []


@pytest.mark.parametrize(("name", "statement"), BROKEN)
async def test_a_broken_one_is_told(connection: Any, name: str, statement: str) -> None:
    await connection.execute(statement)
    assert [told for told in await violations(connection) if told.startswith(f"{name}: ")]


def test_each_is_broken_here() -> None:
    assert {name for name, _ in BROKEN} == INVARIANTS.keys()
