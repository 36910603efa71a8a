"""Values that PostgreSQL cannot take, in every argument that goes into a query: an error of ours, never the driver's."""

import random
import string
from collections.abc import Awaitable, Callable
from typing import Any
from uuid import UUID

import pytest

from session_db import crud
from session_db.database import UnitOfWork
from session_db.errors import InvalidInput
from session_db.models import ClipUpdate, MemoryFileUpdate, SessionPatch
from tests.factories import make_session, message

ID = UUID(int=7)
Call = Callable[[UnitOfWork, Any], Awaitable[Any]]

TEXTS: dict[str, Call] = {
    "list_sessions status": lambda db, value: crud.list_sessions(db, status=value),
    "list_sessions session_type": lambda db, value: crud.list_sessions(db, session_type=value),
    "list_sessions working_dir": lambda db, value: crud.list_sessions(db, working_dir=f"/{value}"),
    "list_sessions agent_name": lambda db, value: crud.list_sessions(db, agent_name=value),
    "list_sessions current_project": lambda db, value: crud.list_sessions(db, current_project=value),
    "list_sessions activity": lambda db, value: crud.list_sessions(db, activity=value),
    "get_session_by_slug": crud.get_session_by_slug,
    "get_session_by_slug working_dir": lambda db, value: crud.get_session_by_slug(db, "auth", f"/{value}"),
    "list_agents status": lambda db, value: crud.list_agents(db, ID, status=value),
    "list_agent_logs tool_name": lambda db, value: crud.list_agent_logs(db, ID, tool_name=value),
    "list_agent_logs event_type": lambda db, value: crud.list_agent_logs(db, ID, event_type=value),
    "list_agent_logs event_category": lambda db, value: crud.list_agent_logs(db, ID, event_category=value),
    "list_agent_logs tool_use_id": lambda db, value: crud.list_agent_logs(db, ID, tool_use_id=value),
    "get_clip": crud.get_clip,
    "list_clips": crud.list_clips,
    "update_clip": lambda db, value: crud.update_clip(db, value, ClipUpdate(code="a")),
    "delete_clip": crud.delete_clip,
    "list_clip_versions": crud.list_clip_versions,
    "diff_clip_versions": lambda db, value: crud.diff_clip_versions(db, value, 1, 2),
    "get_song": crud.get_song,
    "delete_playlist": crud.delete_playlist,
}
NUMBERS: dict[str, Call] = {
    "load_messages_paginated": lambda db, value: crud.load_messages_paginated(db, ID, before_index=value),
    "list_agent_logs": lambda db, value: crud.list_agent_logs(db, ID, after_index=value),
    "list_transcript_entries": lambda db, value: crud.list_transcript_entries(db, ID, ID, after_seq=value),
    "get_transcript_entry": lambda db, value: crud.get_transcript_entry(db, ID, ID, value),
    "get_memory_file": lambda db, value: crud.get_memory_file(db, ID, value),
    "update_memory_file": lambda db, value: crud.update_memory_file(db, value, MemoryFileUpdate(loaded=True)),
    "delete_memory_file": crud.delete_memory_file,
}
IDS: dict[str, Call] = {
    "get_session": crud.get_session,
    "get_agent": crud.get_agent,
    "delete_session": crud.delete_session,
    "update_session_activity": crud.update_session_activity,
    "get_message_count": crud.get_message_count,
    "list_transcripts": crud.list_transcripts,
    "get_transcript": lambda db, value: crud.get_transcript(db, ID, value),
    "list_transcript_entries": lambda db, value: crud.list_transcript_entries(db, ID, value),
    "list_usage": lambda db, value: crud.list_usage(db, by="day", session_id=value),
    "load_messages_paginated": crud.load_messages_paginated,
    "save_display_messages": lambda db, value: crud.save_display_messages(db, value, [message()]),
    "erase_deleted_sessions": crud.erase_deleted_sessions,
    "patch_session": lambda db, value: crud.patch_session(db, value, SessionPatch(title="New")),
    "get_memory_file": lambda db, value: crud.get_memory_file(db, value, 7),
    "delete_memory_file": lambda db, value: crud.delete_memory_file(db, 7, session_id=value),
    "revoke_token": crud.revoke_token,
}


class TestRefusedValues:
    @pytest.mark.parametrize("call", TEXTS.values(), ids=TEXTS)
    @pytest.mark.parametrize("value", ["\x00", "\ud800"], ids=["nul", "surrogate"])
    async def test_text_that_it_cannot_hold(self, db: UnitOfWork, call: Call, value: str) -> None:
        with pytest.raises(InvalidInput, match="cannot take a value"):
            await call(db, value)

    @pytest.mark.parametrize("call", NUMBERS.values(), ids=NUMBERS)
    @pytest.mark.parametrize("value", [2**63, -(2**63) - 1])
    async def test_numbers_beyond_64_bits(self, db: UnitOfWork, call: Call, value: int) -> None:
        with pytest.raises(InvalidInput, match=str(value)):
            await call(db, value)

    @pytest.mark.parametrize("call", IDS.values(), ids=IDS)
    async def test_ids_that_are_none(self, db: UnitOfWork, call: Call) -> None:
        with pytest.raises(InvalidInput, match="'abc'"):
            await call(db, "abc")

    async def test_a_directory_that_no_index_can_hold(self, db: UnitOfWork) -> None:
        chance = random.Random(7)  # noqa: S311  a test
        name = "".join(chance.choices(string.ascii_letters + string.digits, k=9_000))
        with pytest.raises(InvalidInput, match="index row"):
            await make_session(db, session_slug="auth", working_dir=f"/{name}")
        await make_session(db, session_slug="auth")

    @pytest.mark.parametrize("bad", [{1: "a"}, {b"a": 1}, {("a",): 1}, {"number": 10**5000}], ids=["int", "bytes", "tuple", "large"])
    async def test_json_that_it_would_not_give_back(self, db: UnitOfWork, bad: object) -> None:
        with pytest.raises(ValueError, match=r"metadata\.a\[0\]"):
            await make_session(db, metadata={"a": [bad]})
        session = await make_session(db)
        with pytest.raises(InvalidInput, match=r"messages\[0\]\.context\.a"):
            await crud.save_display_messages(db, session.id, [message(context={"a": bad})])
