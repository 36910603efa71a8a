"""Filters of the list of sessions: metadata, text, what goes on."""

from datetime import UTC, datetime
from typing import Any

import pytest
from sqlalchemy import text, update
from sqlmodel import col

from session_db import crud
from session_db.crud import listing
from session_db.database import UnitOfWork
from session_db.errors import InvalidInput
from session_db.models import Session, SessionUpdate
from tests.factories import make_session


async def listed(db: UnitOfWork, **filters: Any) -> list[Session]:
    """Return the sessions of all pages."""
    page = await crud.list_sessions(db, **filters)
    sessions = list(page)
    while page.next_cursor is not None:
        page = await crud.list_sessions(db, cursor=page.next_cursor, **filters)
        sessions += page
    return sessions


@pytest.fixture(params=["walked", "found"])
async def way(request: pytest.FixtureRequest, db: UnitOfWork, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let pages come by the index of time, or by that of metadata, which must find the same."""
    if request.param == "found":
        monkeypatch.setattr(listing, "_glanced", lambda _limit: 1)
        # PostgreSQL would else read a table this small.
        await db.execute(text("SET LOCAL enable_seqscan = off"))


@pytest.mark.usefixtures("way")
class TestMetadata:
    @pytest.mark.parametrize(
        ("stored", "path", "value"),
        [
            ({"item_type": "clip"}, "item_type", "clip"),
            ({"bpm": 120}, "bpm", "120"),
            ({"bpm": "120"}, "bpm", "120"),
            ({"bpm": 120.0}, "bpm", "120"),
            ({"bpm": 120}, "bpm", "1.2e2"),
            ({"bpm": -5}, "bpm", "-5"),
            ({"bpm": 1e23}, "bpm", "1e23"),
            ({"bpm": 10**30}, "bpm", "1" + "0" * 30),
            ({"mixer": {"gain": 0.8}}, "mixer.gain", "0.8"),
            ({"mixer": {"gain": 0.8}}, "mixer.gain", "0.80"),
            ({"live": True}, "live", "true"),
            ({"live": "true"}, "live", "true"),
            ({"live": None}, "live", "null"),
            ({"a b": {"é\"\\'$": "\U0001f600\n\u2028"}}, "a b.é\"\\'$", "\U0001f600\n\u2028"),
            ({"": {"": "x"}}, ".", "x"),
            ({"word": ""}, "word", ""),
            ({"word": "9" * 5000}, "word", "9" * 5000),
            ({"word": "[" * 5000}, "word", "[" * 5000),
        ],
    )
    async def test_the_value_at_the_path_is_the_text_or_what_it_spells(
        self, db: UnitOfWork, stored: dict[str, Any], path: str, value: str
    ) -> None:
        session = await make_session(db, metadata=stored)
        for _ in range(3):
            await make_session(db, metadata={"item_type": "song", "bpm": 90, "mixer": {"gain": 0.1}, "live": False, "word": "w"})
        assert await listed(db, metadata={path: value}) == [session]

    @pytest.mark.parametrize(
        "stored",
        [
            {},
            {"bpm": 121},
            {"bpm": "120 "},
            {"bpm": [120]},
            {"bpm": {"value": 120}},
            {"bpm": True},
            {"BPM": 120},
            {"mixer": {"bpm": 120}},
            {"bpm": None},
        ],
    )
    async def test_another_value_and_another_place_are_not_meant(self, db: UnitOfWork, stored: dict[str, Any]) -> None:
        await make_session(db, metadata=stored)
        assert await listed(db, metadata={"bpm": "120"}) == []

    @pytest.mark.parametrize(("value", "stored"), [("1", True), ("true", 1), ("0", False), ("null", "nil"), ("[1]", [1]), ("{}", {})])
    async def test_a_text_spells_one_value(self, db: UnitOfWork, value: str, stored: object) -> None:
        await make_session(db, metadata={"value": stored})
        assert await listed(db, metadata={"value": value}) == []

    async def test_several_paths_must_all_hold(self, db: UnitOfWork) -> None:
        both = await make_session(db, metadata={"item_type": "clip", "mixer": {"gain": 1, "pan": "left"}})
        await make_session(db, metadata={"item_type": "clip", "mixer": {"gain": 2, "pan": "left"}})
        await make_session(db, metadata={"item_type": "song", "mixer": {"gain": 1, "pan": "left"}})
        assert await listed(db, metadata={"item_type": "clip", "mixer.gain": "1", "mixer.pan": "left"}) == [both]
        assert len(await listed(db, metadata={})) == 3

    async def test_pages_are_in_the_order_of_the_list_beside_other_filters(self, db: UnitOfWork) -> None:
        for number in range(12):
            kind, agent = "clip" if number % 2 else "song", "strudel" if number % 3 else "devmate"
            await make_session(db, metadata={"item_type": kind}, agent_name=agent, title=f"Take {number}")
        everything = await crud.list_sessions(db)
        clips = [session for session in everything if session.metadata_["item_type"] == "clip"]
        assert await listed(db, metadata={"item_type": "clip"}, limit=2) == clips
        of_agent = [session for session in clips if session.agent_name == "strudel"]
        assert await listed(db, metadata={"item_type": "clip"}, agent_name="strudel", limit=1) == of_agent
        assert [session.title for session in await listed(db, metadata={"item_type": "clip"}, text="take 1", limit=1)] == [
            "Take 11",
            "Take 1",
        ]
        await crud.delete_session(db, clips[0].id)
        assert await listed(db, metadata={"item_type": "clip"}, limit=2) == clips[1:]


class TestMetadataOfMany:
    async def test_a_value_that_too_many_hold_is_walked_for_and_none_is_lost(self, db: UnitOfWork, monkeypatch: pytest.MonkeyPatch) -> None:
        made = [await make_session(db, metadata={"item_type": "song" if number > 8 else "clip"}) for number in range(12)]
        monkeypatch.setattr(listing, "_glanced", lambda _limit: 1)
        monkeypatch.setattr("session_db.crud.paging.WALKED", 2)
        page = await crud.list_sessions(db, metadata={"item_type": "clip"}, limit=5)
        # Their index was asked and has more than a page looks at.
        assert (list(page), page.next_cursor is None) == ([], False)
        assert await listed(db, metadata={"item_type": "clip"}, limit=5) == made[8::-1]

    async def test_a_value_that_few_hold_is_found_however_old_they_are(self, db: UnitOfWork, monkeypatch: pytest.MonkeyPatch) -> None:
        old = [await make_session(db, metadata={"item_type": "clip"}) for _ in range(3)]
        for _ in range(10):
            await make_session(db)
        monkeypatch.setattr(listing, "_glanced", lambda _limit: 1)
        monkeypatch.setattr("session_db.crud.paging.WALKED", 4)
        page = await crud.list_sessions(db, metadata={"item_type": "clip"}, limit=2)
        assert list(page) == [old[2], old[1]]
        page = await crud.list_sessions(db, metadata={"item_type": "clip"}, limit=2, cursor=page.next_cursor)
        assert (list(page), page.next_cursor) == ([old[0]], None)


class TestRefusedMetadata:
    @pytest.mark.parametrize(
        ("metadata", "path"),
        [
            ({"bpm": 120}, "metadata.bpm"),
            ({"bpm": None}, "metadata.bpm"),
            ({7: "x"}, "metadata"),
            ({"a\x00": "x"}, "metadata"),
            ({"a": "\x00"}, "metadata.a"),
            ({"\ud800": "x"}, "metadata"),
            ({"a": "\ud800"}, "metadata.a"),
            ({"." * 20: "x"}, "metadata"),
            ({str(number): "x" for number in range(21)}, "metadata"),
            ("item_type=clip", "metadata"),
        ],
    )
    async def test_what_no_metadata_can_hold_is_refused_by_its_path(self, db: UnitOfWork, metadata: Any, path: str) -> None:
        session = await make_session(db)
        with pytest.raises(InvalidInput) as caught:
            await crud.list_sessions(db, metadata=metadata)
        assert caught.value.details["path"] == path
        assert str(caught.value).startswith(f"{path}: ")
        assert await crud.get_session(db, session.id) is session

    async def test_as_many_and_as_deep_as_allowed_are_taken(self, db: UnitOfWork) -> None:
        assert await listed(db, metadata={f"{number}{'.a' * 19}": "1" for number in range(20)}) == []


class TestText:
    @pytest.mark.parametrize(
        "values",
        [
            {"title": "Make the KICK punchier"},
            {"description": "long\ntext about a kick"},
            {"session_name": "Kick"},
            {"session_slug": "2026-01-15_kick", "title": None},
        ],
    )
    async def test_it_is_found_in_name_title_slug_and_description_whatever_its_case(self, db: UnitOfWork, values: dict[str, Any]) -> None:
        session = await make_session(db, **values)
        await make_session(db, title="Snare", metadata={"notes": "kick"}, provider="kick")
        assert await listed(db, text="kick") == [session]
        assert await listed(db, text="KICK") == [session]

    @pytest.mark.parametrize("searched", ["%", "_", "\\", "/", "50%_\\/", "'; --", "é", "\U0001f600", "a\nb"])
    async def test_every_character_means_itself(self, db: UnitOfWork, searched: str) -> None:
        session = await make_session(db, title=f"before {searched} after")
        await make_session(db, title="before after 50x")
        assert await listed(db, text=searched) == [session]

    async def test_an_empty_text_is_in_every_session(self, db: UnitOfWork) -> None:
        session = await make_session(db)
        assert await listed(db, text="") == [session]

    async def test_a_very_long_one_is_in_none(self, db: UnitOfWork) -> None:
        await make_session(db, title="a")
        assert await listed(db, text="a" * 1_000_000) == []

    @pytest.mark.parametrize("searched", ["\x00", "\ud800", 7, b"kick"])
    async def test_what_is_no_text_is_refused(self, db: UnitOfWork, searched: Any) -> None:
        session = await make_session(db)
        with pytest.raises(InvalidInput, match="text: "):
            await crud.list_sessions(db, text=searched)
        assert await crud.get_session(db, session.id) is session


class TestState:
    async def test_what_goes_on_and_what_is_kept(self, db: UnitOfWork) -> None:
        working, pinned = await make_session(db), await make_session(db, pinned=True)
        await crud.update_session(db, working.id, SessionUpdate(activity="working"))
        assert await listed(db, activity="working") == [working]
        assert await listed(db, pinned=True) == [pinned]
        assert await listed(db, pinned=False, activity="working", agent_name="strudel") == [working]
        assert await listed(db, pinned=True, activity="working") == []

    async def test_a_page_without_an_index_may_be_short_and_loses_nothing(self, db: UnitOfWork, monkeypatch: pytest.MonkeyPatch) -> None:
        made = [await make_session(db, pinned=number in {0, 5}, title=f"Take {number}") for number in range(9)]
        monkeypatch.setattr("session_db.crud.paging.WALKED", 2)
        assert (list(await crud.list_sessions(db, pinned=True)), list(await crud.list_sessions(db, text="Take 5"))) == ([], [])
        assert await listed(db, pinned=True) == [made[5], made[0]]
        assert await listed(db, text="take 5") == [made[5]]

    async def test_pinned_is_true_or_false(self, db: UnitOfWork) -> None:
        with pytest.raises(InvalidInput, match=r"pinned: .*send true or false"):
            await crud.list_sessions(db, pinned="yes")  # type: ignore[arg-type]


class TestCost:
    async def test_it_is_from_the_least_to_the_most_both_included(self, db: UnitOfWork) -> None:
        cheap, fair, dear = [await make_session(db) for _ in range(3)]
        for session, cost in ((cheap, 0.1), (fair, 0.3), (dear, 12.5)):
            await db.execute(update(Session).where(col(Session.id) == session.id).values(total_cost=cost))
        assert await listed(db, min_cost=0.3) == [dear, fair]
        assert await listed(db, max_cost=0.3) == [fair, cheap]
        assert await listed(db, min_cost=0.2, max_cost=12) == [fair]
        assert await listed(db, min_cost=13) == []

    @pytest.mark.parametrize("cost", [-0.1, float("nan"), float("inf"), 1e10, True, "1"])
    async def test_what_no_session_can_cost_is_refused(self, db: UnitOfWork, cost: Any) -> None:
        with pytest.raises(InvalidInput, match="min_cost: is "):
            await crud.list_sessions(db, min_cost=cost)


class TestSpan:
    async def test_it_begins_with_since_and_ends_before_until(self, db: UnitOfWork) -> None:
        sessions = [await make_session(db) for _ in range(4)]
        moments = [datetime(2026, 3, day, tzinfo=UTC) for day in range(1, 5)]
        for session, moment in zip(sessions, moments, strict=True):
            await db.execute(update(Session).where(col(Session.id) == session.id).values(last_activity=moment))
        assert await listed(db, since=moments[1], until=moments[3]) == [sessions[2], sessions[1]]
        assert await listed(db, since=moments[1], until=moments[3], limit=1, agent_name="strudel") == [sessions[2], sessions[1]]
        assert await listed(db, until=moments[1].replace(tzinfo=None)) == [sessions[0]]
        assert await listed(db, since=moments[3], until=moments[1]) == []

    async def test_it_bounds_what_metadata_finds_too(self, db: UnitOfWork) -> None:
        old, new = [await make_session(db, metadata={"take": 1}) for _ in range(2)]
        await db.execute(update(Session).where(col(Session.id) == old.id).values(last_activity=datetime(2026, 3, 1, tzinfo=UTC)))
        assert await listed(db, metadata={"take": "1"}, since=datetime(2026, 3, 2, tzinfo=UTC)) == [new]

    async def test_what_is_no_moment_is_refused(self, db: UnitOfWork) -> None:
        with pytest.raises(InvalidInput, match="since '2026' is no datetime"):
            await crud.list_sessions(db, since="2026")  # type: ignore[arg-type]


class TestModel:
    async def test_it_is_the_whole_name(self, db: UnitOfWork) -> None:
        session = await make_session(db, model_name="claude-opus-5")
        await make_session(db, model_name="claude-opus-5-1")
        assert await listed(db, model_name="claude-opus-5") == [session]
