"""Hostile data, written and asked for: stored as it is or refused by name, and the transaction goes on either way."""

from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from decimal import Decimal
from itertools import count
from typing import Any, NamedTuple
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError
from sqlalchemy import text

from session_db import crud
from session_db.crud.transcripts import append_entries, ensure_transcript, stream_entries
from session_db.crud.usage import TOKENS, get_usage, put_usage
from session_db.database import UnitOfWork
from session_db.errors import InvalidInput, SessionDBError
from session_db.models import (
    Agent,
    AgentCreate,
    AgentLog,
    AgentLogCreate,
    AgentUpdate,
    ClipCreate,
    ClipUpdate,
    MemoryFileCreate,
    MemoryFileUpdate,
    PlaylistCreate,
    PlaylistUpdate,
    Session,
    SessionCreate,
    SessionNameUpdate,
    SessionUpdate,
    SongCreate,
    SongUpdate,
    Token,
    TokenCreate,
)
from session_db.models.sessions import normalised_directory
from session_db.models.table import Input
from tests.factories import event, make_agent, make_event, make_session, message
from tests.hostile import JSON, MOMENTS, NUMBERS, TEXTS, VALUES, attempt, from_json, hostile

NOON = datetime(2026, 1, 15, 12, tzinfo=UTC)
ANYTHING = TEXTS | NUMBERS | MOMENTS | JSON | VALUES

_numbers = count()


class Targets(NamedTuple):
    """What writers write to."""

    session: Session
    agent: Agent
    memory_file: int
    item: str


async def targets(db: UnitOfWork) -> Targets:
    session = await make_session(db, working_dir="/project")
    agent = await make_agent(db, session)
    memory_file = await crud.create_memory_file(db, MemoryFileCreate(session_id=session.id, file_path=f"/{next(_numbers)}"))
    item = f"there {next(_numbers)}"
    await crud.create_clip(db, ClipCreate(clip_id=item, project_id="project", name="name", code="s()"))
    await crud.create_song(db, SongCreate(song_id=item, project_id="project", name="name"))
    await crud.create_playlist(db, PlaylistCreate(playlist_id=item, project_id="project", name="name"))
    return Targets(session, agent, memory_file.id or 0, item)


class Writer(NamedTuple):
    """A crud function that writes, its input, and what that needs in any case."""

    model: type[Input]
    needed: Callable[[Targets], dict[str, Any]]
    write: Callable[[UnitOfWork, Targets, Any], Awaitable[Any]]


def _item(key: str, **more: Any) -> Callable[[Targets], dict[str, Any]]:
    return lambda _: {key: f"new {next(_numbers)}", "project_id": "project", "name": "name", **more}


async def _make_token(db: UnitOfWork, data: TokenCreate) -> Token:
    return (await crud.create_token(db, data)).token


WRITERS: dict[str, Writer] = {
    "create_session": Writer(SessionCreate, lambda _: {"agent_name": "strudel"}, lambda db, _, data: crud.create_session(db, data)),
    "create_session with a slug": Writer(
        SessionCreate,
        lambda _: {"session_slug": f"auth-{next(_numbers)}", "working_dir": "/project"},
        lambda db, _, data: crud.create_session(db, data),
    ),
    "update_session": Writer(SessionUpdate, lambda _: {}, lambda db, at, data: crud.update_session(db, at.session.id, data)),
    "update_session_name": Writer(SessionNameUpdate, lambda _: {}, lambda db, at, data: crud.update_session_name(db, at.session.id, data)),
    "create_agent": Writer(
        AgentCreate, lambda at: {"session_id": at.session.id, "agent_type": "build"}, lambda db, _, data: crud.create_agent(db, data)
    ),
    "update_agent": Writer(AgentUpdate, lambda _: {}, lambda db, at, data: crud.update_agent(db, at.agent.id, data, at.session.id)),
    "create_agent_log": Writer(AgentLogCreate, lambda at: event(at.session).changes(), lambda db, _, data: crud.create_agent_log(db, data)),
    "create_token": Writer(TokenCreate, lambda _: {"name": "laptop"}, lambda db, _, data: _make_token(db, data)),
    "create_memory_file": Writer(
        MemoryFileCreate,
        lambda at: {"session_id": at.session.id, "file_path": f"/{next(_numbers)}"},
        lambda db, _, data: crud.create_memory_file(db, data),
    ),
    "update_memory_file": Writer(MemoryFileUpdate, lambda _: {}, lambda db, at, data: crud.update_memory_file(db, at.memory_file, data)),
    "create_clip": Writer(ClipCreate, _item("clip_id", code="s()"), lambda db, _, data: crud.create_clip(db, data)),
    "update_clip": Writer(ClipUpdate, lambda _: {}, lambda db, at, data: crud.update_clip(db, at.item, data)),
    "create_song": Writer(SongCreate, _item("song_id"), lambda db, _, data: crud.create_song(db, data)),
    "update_song": Writer(SongUpdate, lambda _: {}, lambda db, at, data: crud.update_song(db, at.item, data)),
    "create_playlist": Writer(PlaylistCreate, _item("playlist_id"), lambda db, _, data: crud.create_playlist(db, data)),
    "update_playlist": Writer(PlaylistUpdate, lambda _: {}, lambda db, at, data: crud.update_playlist(db, at.item, data)),
}
# Ids of other rows are UUIDs, and nothing else gets through the model.
FIELDS = [
    (writer, field.alias or name)
    for writer, (model, _, _) in WRITERS.items()
    for name, field in model.model_fields.items()
    if field.annotation not in (UUID, UUID | None)
]


async def outcome(work: Awaitable[Any]) -> tuple[Any, SessionDBError | None]:
    """Return what crud returns, or how it refuses; any other error is a test's failure."""
    try:
        return await work, None
    except SessionDBError as error:
        return None, error


async def is_usable(db: UnitOfWork) -> bool:
    return bool(await db.scalar(text("SELECT 1")) == 1)


def is_kept(row: Any, name: str, sent: Any) -> bool:
    """Say whether a row holds a value that was sent."""
    stored = getattr(row, name)
    if name in ("tool_output", "content"):
        return bool(stored == sent or row.payload[name] == from_json(sent))
    if name == "working_dir" and isinstance(row, Session):
        return bool(stored == normalised_directory(sent))
    if name == "session_name":
        # An empty one is none.
        return bool((stored or "") == from_json(sent))
    if name == "cost":
        return bool(stored == pytest.approx(sent, abs=1e-10))
    return bool(stored == from_json(sent))


class TestWriters:
    @hostile(100)
    @given(field=st.sampled_from(FIELDS), value=ANYTHING)
    async def test_a_value_is_kept_or_refused_by_its_name(self, db: UnitOfWork, field: tuple[str, str], value: Any) -> None:
        writer, name = WRITERS[field[0]], field[1]
        at = await targets(db)
        data, _ = attempt(lambda: writer.model.model_validate(writer.needed(at) | {name: value}), ValidationError)
        if data is None:
            return
        row, refusal = await outcome(writer.write(db, at, data))
        assert await is_usable(db)
        attribute = {"metadata": "metadata_"}.get(name, name)
        sent = getattr(data, attribute)
        if refusal is not None:
            assert name in str(refusal)
        elif sent is not None and hasattr(row, attribute):
            await db.refresh(row)
            assert is_kept(row, attribute, sent)

    @pytest.mark.parametrize(
        ("writer", "field"),
        [
            ("create_session", "title"),
            ("update_session", "error_message"),
            ("update_agent", "name"),
            ("create_agent_log", "tool_output"),
            ("update_clip", "code"),
        ],
    )
    async def test_ten_megabytes_are_kept(self, db: UnitOfWork, writer: str, field: str) -> None:
        at = await targets(db)
        model, needed, write = WRITERS[writer]
        large = "wörd \U0001f600" * 1_000_000
        row = await write(db, at, model.model_validate(needed(at) | {field: large}))
        await db.refresh(row)
        assert is_kept(row, field, large)

    @pytest.mark.parametrize("name", ["metadata", "payload", "message"])
    async def test_ten_megabytes_of_json_are_kept(self, db: UnitOfWork, name: str) -> None:
        large: dict[str, Any] = {"text": "wörd\n" * 2_000_000, "k" * 1_000_000: [1e23] * 2_000, "": [{}] * 2_000}
        session = await make_session(db, metadata=large if name == "metadata" else {})
        if name == "payload":
            log = await make_event(db, session, payload=large)
            await db.refresh(log)
            assert log.payload == large
        elif name == "message":
            await crud.save_display_messages(db, session.id, [message(context=large)])
            assert (await crud.load_messages_paginated(db, session.id))[0]["context"] == large
        else:
            await db.refresh(session)
            assert session.metadata_ == large

    async def test_large_floats_stay_floats(self, db: UnitOfWork) -> None:
        numbers = {"floats": [1e16, 1.5e16, 1e22, 1e23, -1e300, 1.7976931348623157e308], '"1e+23"': "1e+23", "integer": 10**23}
        session = await make_session(db, metadata=numbers)
        await db.refresh(session)
        assert session.metadata_ == numbers
        assert {type(number) for number in session.metadata_["floats"]} == {float}

    async def test_totals_that_no_column_can_hold_are_refused_and_stay(self, db: UnitOfWork) -> None:
        one = await make_agent(db)
        other = await make_agent(db, one.session_id)
        await crud.update_agent(db, one.id, AgentUpdate(input_tokens=2**63 - 1, cost=9e9), one.session_id)
        for values in ({"input_tokens": 1}, {"cost": 2e9}):
            _, refusal = await outcome(crud.update_agent(db, other.id, AgentUpdate.model_validate(values), one.session_id))
            assert isinstance(refusal, InvalidInput)
            assert f"total_{next(iter(values))}" in str(refusal)
        session = await crud.get_session(db, one.session_id)
        assert session is not None
        assert (session.total_input_tokens, session.total_cost) == (2**63 - 1, 9e9)

    @pytest.mark.parametrize("cost", [1e10, 1e300])
    async def test_a_cost_that_no_column_can_hold_is_refused_by_its_name(self, db: UnitOfWork, cost: float) -> None:
        agent = await make_agent(db)
        _, refusal = await outcome(crud.update_agent(db, agent.id, AgentUpdate(cost=cost), agent.session_id))
        assert str(refusal).startswith("cost: ")
        assert agent.cost == 0

    async def test_a_last_activity_out_of_range_is_refused(self, db: UnitOfWork) -> None:
        session = await make_session(db)
        moment = datetime.fromisoformat("9999-12-31T23:59:59-14:00")
        for work in (
            crud.append_agent_logs(db, [event(session)], last_activity=moment),
            crud.save_display_messages(db, session.id, [message()], last_activity=moment),
        ):
            _, refusal = await outcome(work)
            assert "9999-12-31T23:59:59-14:00 is out of range" in str(refusal)
        assert (session.event_count, session.message_count) == (0, 0)

    async def test_what_the_columns_of_an_event_cannot_hold_stands_in_its_payload(self, db: UnitOfWork) -> None:
        log = await make_event(db, tool_output="a\x00b", content="\ud800")
        assert (log.tool_output, log.content, log.truncated) == ("a\ufffdb", "\ufffd", False)
        assert log.payload == {"tool_output": "a\x00b", "content": "\ud800"}


class TestMessages:
    @hostile(50)
    @given(content=TEXTS, more=st.dictionaries(TEXTS, JSON, max_size=2), client_id=st.none() | TEXTS)
    async def test_a_message_is_kept_or_refused_by_its_path(
        self, db: UnitOfWork, content: str, more: dict[str, Any], client_id: str | None
    ) -> None:
        session = await make_session(db)
        sent = more | message(content) | {"client_id": client_id}
        places, refusal = await outcome(crud.save_display_messages(db, session.id, [message("before"), sent]))
        assert await is_usable(db)
        stored = await crud.load_messages_paginated(db, session.id)
        if refusal is not None:
            assert str(refusal).startswith("messages[1]")
            assert stored == []
        else:
            assert [place.message_index for place in places] == [0, 1]
            assert stored[1] == from_json({key: value for key, value in sent.items() if key != "client_id"} | {"message_index": 1})


class TestUsage:
    @hostile(40)
    @given(
        message_id=TEXTS,
        model=st.none() | TEXTS,
        tokens=st.lists(st.integers(0, 2**63), min_size=len(TOKENS), max_size=len(TOKENS)),
        cost=st.none() | st.decimals(0, 10**11, places=10) | st.sampled_from([Decimal("1e-20"), Decimal("9999999999.9999999999")]),
        at=st.datetimes(timezones=st.just(UTC)),
    )
    async def test_it_is_counted_whole_or_not_at_all(  # noqa: PLR0913, PLR0917  the columns of a row
        self, db: UnitOfWork, message_id: str, model: str | None, tokens: list[int], cost: Decimal | None, at: datetime
    ) -> None:
        agent = await make_agent(db)
        row = {"message_id": message_id, "agent_id": agent.id, "model": model, "occurred_at": at, "reported_cost": None}
        row |= {**dict(zip(TOKENS, tokens, strict=True)), "computed_cost": cost}
        _, refusal = await outcome(put_usage(db, agent.session_id, [row], {}))
        assert await is_usable(db)
        session = await crud.get_session(db, agent.session_id)
        assert session is not None
        if refusal is None:
            stored = (await get_usage(db, agent.session_id, [message_id]))[message_id]
            assert [stored[name] for name in TOKENS] == tokens
            assert session.total_output_tokens == tokens[1]
        else:
            assert (session.total_input_tokens, session.total_output_tokens, session.total_cost) == (0, 0, 0)


class TestTranscripts:
    @hostile(40)
    @given(
        uuid=st.none() | TEXTS,
        entry=TEXTS | st.sampled_from(['{"a":1e400}', f'{{"a":{"9" * 5000}}}', '{"a":"\\u0000\\ud800"}', "[" * 9999]),
    )
    async def test_an_entry_is_kept_to_the_byte_or_refused(self, db: UnitOfWork, uuid: str | None, entry: str) -> None:
        agent = await make_agent(db)
        stream = await ensure_transcript(db, agent.session_id, agent.id, "project", "sdk", "")
        await append_entries(db, stream, [(None, '{"before": 1}')])
        _, refusal = await outcome(append_entries(db, stream, [(uuid, entry)]))
        assert await is_usable(db)
        stored = [line async for line in stream_entries(db, agent.session_id, stream.id)]
        assert stored == ['{"before": 1}', *([] if refusal else [entry])]
        assert stream.next_seq == len(stored)


ID = UUID(int=7)
READERS: list[tuple[str, Callable[[UnitOfWork, Any], Awaitable[Any]]]] = [
    ("id", crud.get_session),
    ("id", crud.get_message_count),
    ("id", crud.delete_session),
    ("id", crud.update_session_activity),
    ("session_slug", crud.get_session_by_slug),
    ("working_dir", lambda db, value: crud.get_session_by_slug(db, "auth", value)),
    ("status", lambda db, value: crud.list_sessions(db, status=value)),
    ("session_type", lambda db, value: crud.list_sessions(db, session_type=value)),
    ("working_dir", lambda db, value: crud.list_sessions(db, working_dir=value)),
    ("agent_name", lambda db, value: crud.list_sessions(db, agent_name=value)),
    ("current_project", lambda db, value: crud.list_sessions(db, current_project=value)),
    ("activity", lambda db, value: crud.list_sessions(db, activity=value)),
    ("pinned", lambda db, value: crud.list_sessions(db, pinned=value)),
    ("text", lambda db, value: crud.list_sessions(db, text=value)),
    ("metadata", lambda db, value: crud.list_sessions(db, metadata=value)),
    ("metadata", lambda db, value: crud.list_sessions(db, metadata={"a": value})),
    ("limit", lambda db, value: crud.list_sessions(db, limit=value)),
    ("cursor", lambda db, value: crud.list_sessions(db, cursor=value)),
    ("id", crud.get_agent),
    ("session_id", lambda db, value: crud.get_agent(db, ID, value)),
    ("session_id", crud.list_agents),
    ("status", lambda db, value: crud.list_agents(db, ID, status=value)),
    ("cursor", lambda db, value: crud.list_agents(db, ID, cursor=value)),
    ("session_id", crud.list_agent_logs),
    ("agent_id", lambda db, value: crud.list_agent_logs(db, ID, agent_id=value)),
    ("event_category", lambda db, value: crud.list_agent_logs(db, ID, event_category=value)),
    ("event_type", lambda db, value: crud.list_agent_logs(db, ID, event_type=value)),
    ("tool_name", lambda db, value: crud.list_agent_logs(db, ID, tool_name=value)),
    ("tool_use_id", lambda db, value: crud.list_agent_logs(db, ID, tool_use_id=value)),
    ("event_index", lambda db, value: crud.list_agent_logs(db, ID, after_index=value)),
    ("order", lambda db, value: crud.list_agent_logs(db, ID, order=value)),
    ("cursor", lambda db, value: crud.list_agent_logs(db, ID, cursor=value)),
    ("session_id", crud.load_messages_paginated),
    ("message_index", lambda db, value: crud.load_messages_paginated(db, ID, before_index=value)),
    ("limit", lambda db, value: crud.load_messages_paginated(db, ID, page_size=value)),
    ("session_id", crud.get_session_memory_files),
    ("session_id", crud.get_primary_memory_file),
    ("id", lambda db, value: crud.get_memory_file(db, ID, value)),
    ("session_id", lambda db, value: crud.get_memory_file(db, value, 7)),
    ("id", lambda db, value: crud.update_memory_file(db, value, MemoryFileUpdate(loaded=True))),
    ("session_id", lambda db, value: crud.update_memory_file(db, 7, MemoryFileUpdate(loaded=True), session_id=value)),
    ("id", crud.revoke_token),
    ("limit", lambda db, value: crud.list_tokens(db, limit=value)),
    ("cursor", lambda db, value: crud.list_tokens(db, cursor=value)),
    ("id", crud.delete_memory_file),
    ("clip_id", crud.get_clip),
    ("clip_id", crud.delete_clip),
    ("clip_id", lambda db, value: crud.update_clip(db, value, ClipUpdate(code="a"))),
    ("clip_id", crud.list_clip_versions),
    ("clip_id", lambda db, value: crud.diff_clip_versions(db, value, 1, 2)),
    ("version", lambda db, value: crud.diff_clip_versions(db, "kick", 1, value)),
    ("session_id", crud.list_transcripts),
    ("cursor", lambda db, value: crud.list_transcripts(db, ID, cursor=value)),
    ("id", lambda db, value: crud.get_transcript(db, ID, value)),
    ("transcript_id", lambda db, value: crud.list_transcript_entries(db, ID, value)),
    ("seq", lambda db, value: crud.list_transcript_entries(db, ID, ID, after_seq=value)),
    ("cursor", lambda db, value: crud.list_transcript_entries(db, ID, ID, cursor=value)),
    ("seq", lambda db, value: crud.get_transcript_entry(db, ID, ID, value)),
    ("by", lambda db, value: crud.list_usage(db, by=value)),
    ("id", lambda db, value: crud.list_usage(db, by="agent", session_id=value)),
    ("since", lambda db, value: crud.list_usage(db, by="day", since=value)),
    ("zone", lambda db, value: crud.list_usage(db, by="day", timezone=value)),
    ("cursor", lambda db, value: crud.list_usage(db, by="day", cursor=value)),
    ("cursor", lambda db, value: crud.list_usage(db, by="model", cursor=value)),
    ("project_id", crud.list_clips),
    ("cursor", lambda db, value: crud.list_clips(db, cursor=value)),
    ("song_id", crud.get_song),
    ("song_id", lambda db, value: crud.update_song(db, value, SongUpdate(name="a"))),
    ("project_id", crud.list_songs),
    ("playlist_id", crud.get_playlist),
    ("playlist_id", crud.delete_playlist),
]


class TestReaders:
    @hostile(100)
    @given(reader=st.sampled_from(READERS), value=ANYTHING)
    async def test_what_no_row_can_have_is_refused_before_it_is_asked_for(
        self, db: UnitOfWork, reader: tuple[str, Callable[[UnitOfWork, Any], Awaitable[Any]]], value: Any
    ) -> None:
        name, read = reader
        session = await make_session(db)
        found, refusal = await outcome(read(db, value))
        # The transaction that wrote before goes on: PostgreSQL was not asked.
        assert await crud.get_session(db, session.id) is session
        if refusal is not None and value is not None:
            assert name in str(refusal)
        assert not isinstance(found, Agent | AgentLog)
