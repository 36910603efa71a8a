"""Display messages: append and page through."""

from datetime import UTC, datetime, timedelta, timezone
from typing import Any
from uuid import uuid4

import pytest

from session_db import crud
from session_db.crud.messages import extend_message
from session_db.database import UnitOfWork
from session_db.errors import InvalidInput, NotFound
from tests.factories import make_session, message


class TestSaveDisplayMessages:
    async def test_they_go_on_where_the_session_is(self, db: UnitOfWork) -> None:
        session = await make_session(db)
        await crud.save_display_messages(db, session.id, [message("Hello")])
        appended = await crud.save_display_messages(db, session.id, [message("Hi!", role="assistant"), message("Help")])
        assert appended == [(1, True), (2, True)]
        loaded = await crud.load_messages_paginated(db, session.id)
        assert [(m["message_index"], m["role"], m["content"]) for m in loaded] == [
            (0, "user", "Hello"),
            (1, "assistant", "Hi!"),
            (2, "user", "Help"),
        ]
        assert session.message_count == await crud.get_message_count(db, session.id) == 3

    async def test_no_messages_are_no_messages(self, db: UnitOfWork) -> None:
        assert await crud.save_display_messages(db, (await make_session(db)).id, []) == []

    async def test_an_unknown_session_is_not_found(self, db: UnitOfWork) -> None:
        with pytest.raises(NotFound):
            await crud.save_display_messages(db, uuid4(), [message()])
        assert await crud.get_message_count(db, uuid4()) == 0

    async def test_context_code_changes_and_keys_of_ones_own_are_kept(self, db: UnitOfWork) -> None:
        session = await make_session(db)
        sent = message(
            context={"item_type": "clip", "item_id": "kick", "code_snapshot": "sound('bd')"},
            code_changes={"before": "a", "after": "b"},
            mood="happy",
            nested={"list": [1, 2.5, None, True, "é"]},
        )
        await crud.save_display_messages(db, session.id, [sent])
        assert await crud.load_messages_paginated(db, session.id) == [sent | {"message_index": 0}]

    async def test_a_client_id_is_taken_out_and_sent_again_changes_nothing(self, db: UnitOfWork) -> None:
        session = await make_session(db)
        first = await crud.save_display_messages(db, session.id, [message("one", client_id="a"), message("none")])
        batch = [message("changed", client_id="a"), message("two", client_id="b"), message("again", client_id="b")]
        second = await crud.save_display_messages(db, session.id, batch)
        assert first == [(0, True), (1, True)]
        assert second == [(0, False), (2, True), (2, False)]
        loaded = await crud.load_messages_paginated(db, session.id)
        assert [m["content"] for m in loaded] == ["one", "none", "two"]
        assert not any("client_id" in m for m in loaded)
        assert session.message_count == 3

    async def test_a_client_id_counts_in_its_session_only(self, db: UnitOfWork) -> None:
        for _ in range(2):
            session = await make_session(db)
            assert await crud.save_display_messages(db, session.id, [message(client_id="a")]) == [(0, True)]

    @pytest.mark.parametrize(
        ("key", "place"),
        [
            ("tool_calls", "append_agent_logs"),
            ("tool_use", "append_agent_logs"),
            ("tool_result", "append_agent_logs"),
            ("thinking", "append_agent_logs"),
            ("reasoning", "append_agent_logs"),
            ("usage", "belongs to the agent"),
            ("model", "belongs to the agent"),
        ],
    )
    async def test_what_is_not_for_display_is_refused_and_shown_its_place(self, db: UnitOfWork, key: str, place: str) -> None:
        session = await make_session(db)
        with pytest.raises(InvalidInput, match=rf"messages\[1\]\.{key}: .*{place}") as caught:
            await crud.save_display_messages(db, session.id, [message(), message() | {key: []}])
        assert caught.value.details["path"] == f"messages[1].{key}"
        assert session.message_count == 0

    @pytest.mark.parametrize(
        ("bad", "path"),
        [
            (message("a\x00b"), "content"),
            (message(context={"code_snapshot": "a\x00"}), "context.code_snapshot"),
            (message(context={"list": [0, {"deep": "\ud800"}]}), "context.list[1].deep"),
            (message() | {"ke\x00y": 1}, r"ke\x00y"),
            (message(x=float("inf")), "x"),
            (message(x={"at": datetime(2026, 1, 1, tzinfo=UTC)}), "x.at"),
            (message(x=b"bytes"), "x"),
            (message(client_id="\x00"), "client_id"),
            (message(client_id=""), "client_id"),
            (message(client_id="x" * 256), "client_id"),
            (message(client_id=7), "client_id"),
            (message(role="tool"), "role"),
            (message() | {"content": [{"type": "text", "text": "a"}]}, "content"),
            (message() | {"content": None}, "content"),
            (message(timestamp="yesterday"), "timestamp"),
            (message(timestamp=1766626506), "timestamp"),
            (message(context="clip"), "context"),
            (message(code_changes=["a"]), "code_changes"),
        ],
        ids=str,
    )
    async def test_what_cannot_be_stored_is_refused_with_its_path(self, db: UnitOfWork, bad: dict[str, Any], path: str) -> None:
        session = await make_session(db)
        with pytest.raises(InvalidInput) as caught:
            await crud.save_display_messages(db, session.id, [message(), bad])
        assert caught.value.details["path"] == f"messages[1].{path}"
        assert str(caught.value).startswith(f"messages[1].{path}: ")
        assert await crud.get_message_count(db, session.id) == 0

    async def test_nesting_beyond_reason_is_refused(self, db: UnitOfWork) -> None:
        nested: Any = []
        for _ in range(100_000):
            nested = [nested]
        with pytest.raises(InvalidInput, match="nested deeper"):
            await crud.save_display_messages(db, uuid4(), [message(x=nested)])

    async def test_what_is_no_object_is_refused(self, db: UnitOfWork) -> None:
        with pytest.raises(InvalidInput, match=r"messages\[0\]: is a str"):
            await crud.save_display_messages(db, uuid4(), ["Hello"])  # type: ignore[list-item]

    @pytest.mark.parametrize(
        ("sent", "kept"),
        [
            ("2025-12-25T01:35:06Z", "2025-12-25T01:35:06Z"),
            (datetime(2025, 12, 25, 1, 35, 6), "2025-12-25T01:35:06+00:00"),  # noqa: DTZ001  a naive moment is UTC
            (datetime(2025, 12, 25, 3, 35, 6, tzinfo=timezone(timedelta(hours=2))), "2025-12-25T01:35:06+00:00"),
        ],
    )
    async def test_a_timestamp_is_kept_as_text(self, db: UnitOfWork, sent: object, kept: str) -> None:
        session = await make_session(db)
        await crud.save_display_messages(db, session.id, [message(timestamp=sent)])
        assert (await crud.load_messages_paginated(db, session.id))[0]["timestamp"] == kept

    async def test_without_a_timestamp_it_was_said_now(self, db: UnitOfWork) -> None:
        session = await make_session(db)
        await crud.save_display_messages(db, session.id, [{"role": "user", "content": "now"}])
        (loaded,) = await crud.load_messages_paginated(db, session.id)
        assert datetime.now(UTC) - datetime.fromisoformat(loaded["timestamp"]) < timedelta(seconds=10)


class TestLoadMessagesPaginated:
    async def test_pages_go_from_the_end_to_the_beginning(self, db: UnitOfWork) -> None:
        session = await make_session(db)
        await crud.save_display_messages(db, session.id, [message() for _ in range(200)])
        latest = await crud.load_messages_paginated(db, session.id, page_size=50)
        assert [m["message_index"] for m in latest] == list(range(150, 200))
        earlier = await crud.load_messages_paginated(db, session.id, page_size=50, before_index=150)
        assert [m["message_index"] for m in earlier] == list(range(100, 150))
        assert await crud.load_messages_paginated(db, session.id, before_index=0) == []
        assert len(await crud.load_messages_paginated(db, session.id)) == 50

    async def test_a_page_size_out_of_range_is_refused(self, db: UnitOfWork) -> None:
        with pytest.raises(InvalidInput, match="1 to 1000"):
            await crud.load_messages_paginated(db, uuid4(), page_size=0)


class TestExtendMessage:
    async def test_a_further_paragraph_is_added(self, db: UnitOfWork) -> None:
        session = await make_session(db)
        await crud.save_display_messages(db, session.id, [message("one", client_id="a")])
        assert await extend_message(db, session.id, "a", "two", limit=8) is True
        assert await extend_message(db, session.id, "b", "two", limit=8) is False
        assert (await crud.load_messages_paginated(db, session.id))[0]["content"] == "one\n\ntwo"

    async def test_what_does_not_fit_is_cut_off_and_it_says_so(self, db: UnitOfWork) -> None:
        session = await make_session(db)
        await crud.save_display_messages(db, session.id, [message("one", client_id="a")])
        await extend_message(db, session.id, "a", "two", limit=7)
        (stored,) = await crud.load_messages_paginated(db, session.id)
        assert (stored["content"], stored["truncated"]) == ("one\n\ntw", True)


class TestDisplayMessage:
    @pytest.mark.parametrize(
        ("content", "shown"),
        [
            ("plain", "plain"),
            ([{"type": "text", "text": "one"}, {"type": "tool_use", "name": "Read"}, {"type": "text", "text": "two"}], "one\n\ntwo"),
            (["one", {"type": "thinking", "thinking": "hm"}, 7], "one"),
        ],
    )
    def test_it_shows_the_text(self, content: object, shown: str) -> None:
        made = crud.display_message({"role": "assistant", "content": content, "model": "m", "usage": {}})
        assert made == {"role": "assistant", "content": shown}

    @pytest.mark.parametrize(
        "full",
        [
            {"role": "assistant", "content": [{"type": "tool_use", "name": "Read"}]},
            {"role": "user", "content": [{"type": "tool_result", "content": "x"}]},
            {"role": "assistant", "content": [{"type": "thinking", "thinking": "hm"}]},
            {"role": "assistant", "content": None, "tool_calls": [{}]},
            {"role": "assistant", "content": ""},
            {"role": "tool", "content": "output"},
        ],
    )
    def test_what_shows_nothing_is_none(self, full: dict[str, Any]) -> None:
        assert crud.display_message(full) is None

    async def test_what_it_makes_can_be_saved(self, db: UnitOfWork) -> None:
        session = await make_session(db)
        full = {
            "role": "assistant",
            "content": [{"type": "text", "text": "Done"}],
            "stop_reason": "end_turn",
            "context": {"item_id": "kick"},
        }
        made = crud.display_message(full, client_id="msg_1", timestamp="2025-12-25T01:35:06Z")
        assert made is not None
        assert await crud.save_display_messages(db, session.id, [made, made]) == [(0, True), (0, False)]
        assert await crud.load_messages_paginated(db, session.id) == [
            {
                "role": "assistant",
                "content": "Done",
                "timestamp": "2025-12-25T01:35:06Z",
                "context": {"item_id": "kick"},
                "message_index": 0,
            }
        ]
