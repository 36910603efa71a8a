"""Transcripts: their streams, and the entries of one, bounded and whole."""

import json
from typing import Any
from uuid import UUID

import pytest

from session_db import crud
from session_db.crud.transcripts import MAX_BYTES, append_entries, ensure_transcript
from session_db.database import UnitOfWork
from session_db.errors import InvalidInput
from session_db.models import Agent, Transcript, TranscriptEntryRead, TranscriptRead
from session_db.models.text import READABLE_LIMIT
from tests.factories import make_agent

# A sender's own spelling, with what neither jsonb nor a text of PostgreSQL can hold.
ODD = '{"a" : 1.50,\t"a":"\\u0000\\ud800", "b":1e400}'


async def make_transcript(db: UnitOfWork, entries: Any = (), agent: Agent | None = None, **names: str) -> Transcript:
    """Make a stream of (uuid, text), in a session of its own where no agent is given."""
    agent = agent or await make_agent(db)
    names = {"project_key": "-work", "sdk_session_id": "s", "subpath": ""} | names
    transcript = await ensure_transcript(db, agent.session_id, agent.id, **names)
    await append_entries(db, transcript, entries)
    await db.flush()
    return transcript


def text_of(size: int) -> str:
    """Return JSON of so many bytes."""
    return json.dumps("x" * (size - 2))


class TestListTranscripts:
    async def test_pages_follow_one_another_by_sdk_session_and_path(self, db: UnitOfWork) -> None:
        agent = await make_agent(db)
        names = [("b", ""), ("a", "subagents/x"), ("a", ""), ("a", "subagents/y")]
        for sdk_session_id, subpath in names:
            await make_transcript(db, agent=agent, sdk_session_id=sdk_session_id, subpath=subpath)
        await make_transcript(db, agent=agent, sdk_session_id="a", subpath="", project_key="-moved")
        found, cursor = [], None
        for _ in range(5):
            page = await crud.list_transcripts(db, agent.session_id, limit=1, cursor=cursor)
            found += [(stream.sdk_session_id, stream.subpath) for stream in page]
            cursor = page.next_cursor
        assert found == [("a", ""), ("a", ""), ("a", "subagents/x"), ("a", "subagents/y"), ("b", "")]
        assert cursor is None
        ids = [stream.id for stream in await crud.list_transcripts(db, agent.session_id)]
        assert len(set(ids)) == 5

    async def test_it_is_shown_without_the_fingerprint_of_its_file(self, db: UnitOfWork) -> None:
        transcript = await make_transcript(db, [(None, "{}")])
        transcript.file_path, transcript.file_print, transcript.reported_cost = "/home/dev/s.jsonl", "secret", 0.25
        await db.flush()
        (listed,) = await crud.list_transcripts(db, transcript.session_id)
        shown = TranscriptRead.model_validate(listed, from_attributes=True).model_dump()
        assert (shown["file_path"], shown["next_seq"], shown["reported_cost"]) == ("/home/dev/s.jsonl", 1, 0.25)
        assert set(Transcript.model_fields) - set(shown) == {"file_print"}


class TestGetTranscript:
    async def test_it_is_read_in_its_session_only(self, db: UnitOfWork) -> None:
        transcript, other = await make_transcript(db), await make_transcript(db)
        assert await crud.get_transcript(db, transcript.session_id, transcript.id) is transcript
        assert await crud.get_transcript(db, transcript.session_id, UUID(int=7)) is None
        assert other.id == transcript.id, "a stream has the same id in every session"
        assert await crud.get_transcript(db, other.session_id, transcript.id) is other


class TestListTranscriptEntries:
    async def test_entries_are_given_byte_for_byte(self, db: UnitOfWork) -> None:
        transcript = await make_transcript(db, [("one", ODD), (None, "{}")])
        found = await crud.list_transcript_entries(db, transcript.session_id, transcript.id)
        assert found == [
            TranscriptEntryRead(seq=0, uuid="one", entry=ODD, entry_bytes=len(ODD)),
            TranscriptEntryRead(seq=1, uuid=None, entry="{}", entry_bytes=2),
        ]

    async def test_what_is_larger_than_16_kb_is_left_out_with_its_size(self, db: UnitOfWork) -> None:
        sizes = (READABLE_LIMIT, READABLE_LIMIT + 1)
        transcript = await make_transcript(db, [(None, text_of(size)) for size in sizes] + [(None, '"' + "é" * 9_000 + '"')])
        found = await crud.list_transcript_entries(db, transcript.session_id, transcript.id)
        assert [row.entry_bytes for row in found] == [*sizes, 18_002]
        assert [row.entry for row in found] == [text_of(READABLE_LIMIT), None, None]

    @pytest.mark.parametrize("whole", [False, True])
    async def test_pages_follow_one_another(self, db: UnitOfWork, whole: bool) -> None:
        transcript = await make_transcript(db, [(None, str(number)) for number in range(5)])
        first = await crud.list_transcript_entries(db, transcript.session_id, transcript.id, after_seq=0, limit=2, whole=whole)
        second = await crud.list_transcript_entries(
            db, transcript.session_id, transcript.id, after_seq=0, limit=2, whole=whole, cursor=first.next_cursor
        )
        assert [(row.seq, row.entry) for row in first + second] == [(1, "1"), (2, "2"), (3, "3"), (4, "4")]
        assert second.next_cursor is None

    async def test_a_page_of_whole_entries_ends_where_they_grow_too_large(self, db: UnitOfWork) -> None:
        sizes = (MAX_BYTES // 2, MAX_BYTES // 2, 2, MAX_BYTES + 1, 2)
        transcript = await make_transcript(db, [(None, text_of(size)) for size in sizes])
        pages, cursor = [], None
        for _ in range(3):
            page = await crud.list_transcript_entries(db, transcript.session_id, transcript.id, whole=True, cursor=cursor)
            pages.append([len(row.entry or "") for row in page])
            cursor = page.next_cursor
        assert pages == [[MAX_BYTES // 2, MAX_BYTES // 2], [2], [MAX_BYTES + 1]]
        rest = await crud.list_transcript_entries(db, transcript.session_id, transcript.id, whole=True, cursor=cursor)
        assert ([row.seq for row in rest], rest.next_cursor) == ([4], None)

    @pytest.mark.parametrize("value", ["abc", 2**63, "\x00"])
    async def test_what_no_entry_can_have_is_refused(self, db: UnitOfWork, value: Any) -> None:
        with pytest.raises(InvalidInput, match="seq"):
            await crud.list_transcript_entries(db, UUID(int=7), UUID(int=7), after_seq=value)
        with pytest.raises(InvalidInput, match="seq"):
            await crud.get_transcript_entry(db, UUID(int=7), UUID(int=7), value)
        with pytest.raises(InvalidInput, match="cursor"):
            await crud.list_transcript_entries(db, UUID(int=7), UUID(int=7), cursor=value)


class TestGetTranscriptEntry:
    async def test_the_whole_text_is_given(self, db: UnitOfWork) -> None:
        transcript = await make_transcript(db, [(None, ODD), (None, text_of(10 * READABLE_LIMIT))])
        read = [await crud.get_transcript_entry(db, transcript.session_id, transcript.id, seq) for seq in (0, 1, 2, -1)]
        assert read == [ODD, text_of(10 * READABLE_LIMIT), None, None]


class TestStreamEntries:
    async def test_every_entry_comes_once_in_its_order(self, db: UnitOfWork, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("session_db.crud.transcripts.MAX_BYTES", 10)
        entries = [text_of(size) for size in (2, 8, 3, 11, 2, 30, 4, 4, 4)]
        transcript = await make_transcript(db, [(None, entry) for entry in entries])
        for batch in (1, 2, 3, 9, 500):
            assert [entry async for entry in crud.stream_entries(db, transcript.session_id, transcript.id, batch=batch)] == entries

    async def test_no_more_than_16_mib_are_read_at_a_time(self, db: UnitOfWork, monkeypatch: pytest.MonkeyPatch) -> None:
        transcript = await make_transcript(db, [(None, text_of(MAX_BYTES // 4)) for _ in range(9)])
        read, execute = [], db.execute

        async def counted(statement: Any, *arguments: Any, **options: Any) -> Any:
            rows = (await execute(statement, *arguments, **options)).freeze()
            read.append(sum(len(value) for row in rows().all() for value in row if isinstance(value, str)))
            return rows()

        monkeypatch.setattr(db, "execute", counted)
        assert len([entry async for entry in crud.stream_entries(db, transcript.session_id, transcript.id)]) == 9
        assert read == [0, MAX_BYTES, MAX_BYTES, MAX_BYTES // 4]


class TestDeletedSession:
    async def test_its_streams_are_gone_from_every_read(self, db: UnitOfWork) -> None:
        transcript = await make_transcript(db, [(None, "{}")])
        session_id, stream_id = transcript.session_id, transcript.id
        await crud.delete_session(db, session_id)
        assert await crud.list_transcripts(db, session_id) == []
        assert await crud.get_transcript(db, session_id, stream_id) is None
        assert await crud.list_transcript_entries(db, session_id, stream_id) == []
        assert await crud.list_transcript_entries(db, session_id, stream_id, whole=True) == []
        assert await crud.get_transcript_entry(db, session_id, stream_id, 0) is None
        assert [entry async for entry in crud.stream_entries(db, session_id, stream_id)] == []
