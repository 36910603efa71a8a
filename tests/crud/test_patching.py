"""Patches of sessions: metadata is merged as RFC 7396 says."""

import asyncio
from typing import Any
from uuid import uuid4

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from session_db import crud
from session_db.database import UnitOfWork, async_session, get_async_session
from session_db.errors import AlreadyExists, InvalidInput
from session_db.models import SessionPatch
from tests.databases import Database
from tests.factories import make_session
from tests.hostile import VALUES, attempt, from_json, hostile, nested

RFC_7396_APPENDIX_A: list[tuple[Any, Any, Any]] = [
    ({"a": "b"}, {"a": "c"}, {"a": "c"}),
    ({"a": "b"}, {"b": "c"}, {"a": "b", "b": "c"}),
    ({"a": "b"}, {"a": None}, {}),
    ({"a": "b", "b": "c"}, {"a": None}, {"b": "c"}),
    ({"a": ["b"]}, {"a": "c"}, {"a": "c"}),
    ({"a": "c"}, {"a": ["b"]}, {"a": ["b"]}),
    ({"a": {"b": "c"}}, {"a": {"b": "d", "c": None}}, {"a": {"b": "d"}}),
    ({"a": [{"b": "c"}]}, {"a": [1]}, {"a": [1]}),
    (["a", "b"], ["c", "d"], ["c", "d"]),
    ({"a": "b"}, ["c"], ["c"]),
    ({"a": "foo"}, None, None),
    ({"a": "foo"}, "bar", "bar"),
    ({"e": None}, {"a": 1}, {"e": None, "a": 1}),
    ([1, 2], {"a": "b", "c": None}, {"a": "b"}),
    ({}, {"a": {"bb": {"ccc": None}}}, {"a": {"bb": {}}}),
]
"""Original, patch and result."""

_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(0, 3) | st.sampled_from("ab"),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.sampled_from("abc"), inner, max_size=3),
    max_leaves=8,
)
_OBJECTS = st.dictionaries(st.sampled_from("abc"), _VALUES, max_size=3)


def holds(value: Any, patch: Any) -> bool:
    """Say whether a value is what somebody who sent a patch may expect."""
    if not isinstance(patch, dict):
        return bool(value == patch)
    return isinstance(value, dict) and all(
        key not in value if change is None else key in value and holds(value[key], change) for key, change in patch.items()
    )


def without_nulls(patch: Any) -> Any:
    """Return what a patch makes of nothing."""
    if not isinstance(patch, dict):
        return patch
    return {key: without_nulls(change) for key, change in patch.items() if change is not None}


async def patch(db: UnitOfWork, session_id: Any, **values: Any) -> Any:
    return await crud.patch_session(db, session_id, SessionPatch.model_validate(values))


class TestMetadata:
    @pytest.mark.parametrize(("original", "change", "result"), RFC_7396_APPENDIX_A)
    async def test_the_examples_of_the_rfc(self, db: UnitOfWork, original: Any, change: Any, result: Any) -> None:
        session = await make_session(db, metadata={"value": original, "beside": 1})
        assert await patch(db, session.id, metadata={"value": change}) is session
        await db.refresh(session)
        # A member that a patch makes null is gone.
        assert session.metadata_ == ({"beside": 1} if result is None else {"beside": 1, "value": result})

    @hostile(50)
    @given(stored=_OBJECTS, change=_OBJECTS)
    async def test_what_was_sent_holds_once_and_again_and_all_else_stays(
        self, db: UnitOfWork, stored: dict[str, Any], change: dict[str, Any]
    ) -> None:
        session = await make_session(db, metadata=stored)
        for _ in range(2):
            await patch(db, session.id, metadata=change)
            await db.refresh(session)
            assert holds(session.metadata_, change)
            assert {key: value for key, value in session.metadata_.items() if key not in change} == {
                key: value for key, value in stored.items() if key not in change
            }

    async def test_null_empties_it(self, db: UnitOfWork) -> None:
        session = await make_session(db, metadata={"a": 1})
        await patch(db, session.id, metadata=None)
        await db.refresh(session)
        assert session.metadata_ == {}

    async def test_what_cannot_be_stored_is_refused_by_its_path(self, db: UnitOfWork) -> None:
        for value, problem in (("a\x00", r"metadata\.a: holds a NUL"), (nested(300), "nested deeper"), (float("nan"), "is nan")):
            with pytest.raises(ValidationError, match=problem):
                await patch(db, uuid4(), metadata={"a": value})

    @hostile(60)
    @given(value=VALUES)
    async def test_any_value_is_merged_or_refused_by_its_path(self, db: UnitOfWork, value: Any) -> None:
        change, refusal = attempt(lambda: SessionPatch.model_validate({"metadata": {"a": value}}), ValidationError)
        if change is None:
            assert "metadata" in str(refusal)
            return
        session = await make_session(db, metadata={"b": 1})
        await crud.patch_session(db, session.id, change)
        await db.refresh(session)
        assert session.metadata_ == {"b": 1} | from_json(without_nulls({"a": value}))

    async def test_it_grows_no_deeper_than_can_be_stored(self, db: UnitOfWork) -> None:
        deepest: Any = 1
        for _ in range(200):
            deepest = {"a": deepest}
        session = await make_session(db, metadata=deepest)
        for _ in range(2):
            await patch(db, session.id, metadata=deepest | {"b": 1})
        await db.refresh(session)
        assert session.metadata_ == deepest | {"b": 1}


class TestName:
    async def test_it_is_set_and_cleared_beside_other_metadata(self, db: UnitOfWork) -> None:
        session = await make_session(db, metadata={"bpm": 120})
        await patch(db, session.id, name="Debug", metadata={"bpm": None, "name": "not this one"})
        assert session.metadata_ == {"name": "Debug", "created_by_user": True}
        await patch(db, session.id, metadata={"bpm": 90})
        assert session.session_name == "Debug"
        await patch(db, session.id, name=None)
        assert session.metadata_ == {"bpm": 90}
        await patch(db, session.id, name="Debug", metadata=None)
        assert session.metadata_ == {"name": "Debug", "created_by_user": True}


class TestOtherFields:
    async def test_they_change_as_update_session_does_it(self, db: UnitOfWork) -> None:
        session = await make_session(db, session_slug="auth", title="Title", description="Long", metadata={"a": 1})
        await patch(db, session.id, status="build", title="New", description=None, pinned=True)
        assert (session.status, session.title, session.description, session.pinned) == ("build", "New", None, True)
        assert session.metadata_ == {"a": 1}
        assert [event.content for event in await crud.list_agent_logs(db, session.id)] == ["build"]

    async def test_a_refused_change_changes_nothing(self, db: UnitOfWork) -> None:
        await make_session(db, session_slug="taken")
        session = await make_session(db, session_slug="auth", title="Title", metadata={"a": 1})
        with pytest.raises(AlreadyExists):
            await patch(db, session.id, session_slug="taken", metadata={"a": 2}, name="New")
        with pytest.raises(InvalidInput, match="status"):
            await patch(db, session.id, status="idle", metadata={"a": 2}, name="New")
        assert (session.session_slug, session.metadata_) == ("auth", {"a": 1})

    async def test_nothing_to_change_changes_nothing(self, db: UnitOfWork) -> None:
        session = await make_session(db, title="Title", metadata={"a": 1})
        assert await patch(db, session.id) is session
        assert (session.title, session.metadata_) == ("Title", {"a": 1})

    async def test_an_unknown_session_is_none(self, db: UnitOfWork) -> None:
        assert await patch(db, uuid4(), name="New") is None


class TestRaces:
    async def test_patches_at_once_all_hold(self, fresh_database: Database) -> None:
        async with get_async_session() as db:
            session_id = (await make_session(db, metadata={"mixer": {}})).id

        async def change(number: int) -> None:
            async with get_async_session() as db:
                await patch(db, session_id, metadata={f"key {number}": number, "mixer": {f"channel {number}": number}})

        await asyncio.gather(*(change(number) for number in range(8)))
        async with async_session() as db:
            session = await crud.get_session(db, session_id)
        assert session is not None
        assert session.metadata_ == {f"key {number}": number for number in range(8)} | {
            "mixer": {f"channel {number}": number for number in range(8)}
        }

    async def test_one_that_waited_merges_into_what_the_other_stored(self, fresh_database: Database) -> None:
        async with get_async_session() as db:
            session_id = (await make_session(db)).id
        async with asyncio.timeout(15), async_session() as one, get_async_session() as two:
            # The second one has seen the session before the first one changes it.
            await crud.get_session(two, session_id)
            await patch(one, session_id, metadata={"a": 1})
            waiting = asyncio.create_task(patch(two, session_id, metadata={"b": 2}))
            await asyncio.sleep(0.1)
            assert not waiting.done()
            await one.commit()
            assert (await waiting).metadata_ == {"a": 1, "b": 2}
