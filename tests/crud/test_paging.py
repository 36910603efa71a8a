"""Cursors: opaque to callers, and only such as a list gave are taken."""

import base64
import json
from datetime import UTC, datetime
from typing import Any, Literal
from uuid import UUID, uuid4

import pytest
from hypothesis import given
from hypothesis import strategies as st

from session_db import crud
from session_db.crud.paging import Page, decode_cursor, encode_cursor, page_of
from session_db.database import UnitOfWork
from session_db.errors import InvalidInput
from tests.factories import event, make_session


def cursor_of(values: Any) -> str:
    return base64.urlsafe_b64encode(json.dumps(values).encode()).decode()


class TestCursor:
    @given(st.datetimes(timezones=st.just(UTC)), st.uuids(), st.integers(0, 2**63 - 1), st.text(st.characters(codec="utf-8")))
    def test_it_says_what_it_was_told(self, moment: datetime, row_id: UUID, index: int, key: str) -> None:
        key = key.replace("\x00", "")
        assert decode_cursor(encode_cursor(moment, row_id, index, key), datetime, UUID, int, str) == [moment, row_id, index, key]

    @pytest.mark.parametrize(
        "cursor",
        [
            "",
            "!",
            "é",
            "AAAA",
            cursor_of({}),
            cursor_of(7),
            cursor_of([]),
            cursor_of([1, 2]),
            cursor_of([True]),
            cursor_of([1.5]),
            cursor_of(["1"]),
            cursor_of([None]),
            cursor_of([2**63]),
            cursor_of([[[1]]]),
        ],
    )
    async def test_one_that_no_list_gave_is_refused(self, db: UnitOfWork, cursor: str) -> None:
        with pytest.raises(InvalidInput, match="cursor"):
            await crud.list_agent_logs(db, uuid4(), cursor=cursor)

    @pytest.mark.parametrize(
        "values", [["yesterday", str(uuid4())], ["0001-01-01T00:00:00+14:00", str(uuid4())], [7, 7], ["2026-01-01", "7"]]
    )
    async def test_another_lists_cursor_is_refused(self, db: UnitOfWork, values: Any) -> None:
        with pytest.raises(InvalidInput, match="cursor"):
            await crud.list_sessions(db, cursor=cursor_of(values))

    @pytest.mark.parametrize("value", ["\x00", "\ud800", 7])
    async def test_text_that_the_database_cannot_compare_is_refused(self, db: UnitOfWork, value: Any) -> None:
        with pytest.raises(InvalidInput, match="cursor"):
            await crud.list_clips(db, cursor=cursor_of([value]))


class TestPage:
    def test_it_is_a_list_that_knows_what_comes_next(self) -> None:
        page = page_of([datetime(year, 1, 1, tzinfo=UTC) for year in (1, 2, 3)], 2, "year")
        assert isinstance(page, list)
        assert [moment.year for moment in page] == [1, 2]
        assert decode_cursor(page.next_cursor or "", int) == [2]

    def test_an_empty_one_ends(self) -> None:
        assert (Page[int](), Page[int]().next_cursor) == ([], None)


class TestReadPage:
    @pytest.mark.parametrize("order", ["recorded", "happened"])
    @pytest.mark.parametrize("walked", [1, 3, 4, 10, 11])
    async def test_a_filter_without_an_index_ends_a_page_early_and_loses_nothing(
        self, db: UnitOfWork, monkeypatch: pytest.MonkeyPatch, order: Literal["recorded", "happened"], walked: int
    ) -> None:
        monkeypatch.setattr("session_db.crud.paging.WALKED", walked)
        session = await make_session(db)
        wanted = [0, 1, 2, 6, 9]
        await crud.append_agent_logs(db, [event(session, event_type="Stop" if n in wanted else "PreToolUse") for n in range(10)])
        page = await crud.list_agent_logs(db, session.id, event_type="Stop", order=order, limit=2)
        pages = [page]
        while page.next_cursor is not None:
            page = await crud.list_agent_logs(db, session.id, event_type="Stop", order=order, limit=2, cursor=page.next_cursor)
            pages.append(page)
        assert [log.event_index for page in pages for log in page] == wanted
        assert len(pages) <= 10 // walked + 3

    async def test_sessions_with_two_filters_come_in_their_order(self, db: UnitOfWork, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("session_db.crud.paging.WALKED", 2)
        made = [(await make_session(db, agent_name="strudel", status="idle" if n % 3 else "active")).id for n in range(7)]
        page = await crud.list_sessions(db, "active", agent_name="strudel", limit=2)
        found = [session.id for session in page]
        while page.next_cursor is not None:
            page = await crud.list_sessions(db, "active", agent_name="strudel", limit=2, cursor=page.next_cursor)
            found += [session.id for session in page]
        assert sorted(found) == [made[0], made[3], made[6]]
        assert found == [session.id for session in await crud.list_sessions(db, agent_name="strudel") if session.status == "active"]

    @pytest.mark.parametrize("filters", [{"event_type": "x", "after_index": 2**70}, {"event_type": "x", "agent_id": "nobody"}])
    async def test_a_value_that_no_row_can_have_is_refused_before_the_database_is_asked(
        self, db: UnitOfWork, filters: dict[str, Any]
    ) -> None:
        session = await make_session(db)
        with pytest.raises(InvalidInput, match=r"event_index|agent_id"):
            await crud.list_agent_logs(db, session.id, **filters)
        with pytest.raises(InvalidInput, match="current_project"):
            await crud.list_sessions(db, "active", current_project="a\0b")
        with pytest.raises(InvalidInput, match="order"):
            await crud.list_agent_logs(db, session.id, order=["happened"])  # type: ignore[arg-type]
        assert await crud.get_session(db, session.id) is not None
