"""What is done to single values on their way into a column: paths, text, moments, ids."""

from datetime import UTC, datetime, timedelta, timezone
from decimal import Decimal
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from session_db.errors import InvalidInput
from session_db.ids import derived_id, new_id
from session_db.models import AgentLogCreate, AgentUpdate, SessionUpdate
from session_db.models.display import checked_message
from session_db.models.sessions import normalised_directory, refuse_bad_slug
from session_db.models.table import as_utc, exact_dollars, refuse_unstorable
from session_db.models.text import READABLE_LIMIT, cut, readable

ANY_TEXT = st.text(st.characters(exclude_categories=()))


class TestNormalisedDirectory:
    @pytest.mark.parametrize(
        ("path", "normal"),
        [
            ("/work/project", "/work/project"),
            ("/work/project/", "/work/project"),
            ("/work/./a/../project", "/work/project"),
            ("//work/project", "/work/project"),
            ("///work//project", "/work/project"),
            ("/", "/"),
            ("/with space/é", "/with space/é"),
            (r"C:\Users\me\project" + "\\", r"C:\Users\me\project"),
            ("C:/Users/me/../you", r"C:\Users\you"),
            (r"\\server\share\project\.", r"\\server\share\project"),
        ],
    )
    def test_the_same_directory_is_written_one_way(self, path: str, normal: str) -> None:
        assert normalised_directory(path) == normal
        assert normalised_directory(normal) == normal

    @pytest.mark.parametrize("path", ["", ".", "work/project", "~/project", "C:project", r"folder\project"])
    def test_a_relative_one_is_refused(self, path: str) -> None:
        with pytest.raises(InvalidInput, match="is relative"):
            normalised_directory(path)


class TestSlug:
    @pytest.mark.parametrize("slug", ["2026-01-15_auth-feature", "a", "A.b", "x" * 200])
    def test_a_folder_name_is_one(self, slug: str) -> None:
        refuse_bad_slug(slug)

    @pytest.mark.parametrize("slug", ["", ".", "..", "-a", "_a", "a/b", "a b", "é", "a\n", "x" * 201])
    def test_anything_else_is_not(self, slug: str) -> None:
        with pytest.raises(InvalidInput):
            refuse_bad_slug(slug)


class TestInputs:
    @pytest.mark.parametrize(
        ("field", "value"),
        [("pinned", 1), ("pinned", "true"), ("title", 5), ("started_at", 1_700_000_000), ("started_at", "1700000000"), ("metadata", [])],
    )
    def test_nothing_is_guessed(self, field: str, value: object) -> None:
        with pytest.raises(ValidationError, match=field):
            SessionUpdate.model_validate({field: value})

    @pytest.mark.parametrize("value", [True, "5", 5.5])
    def test_an_integer_is_no_text_and_no_flag(self, value: object) -> None:
        with pytest.raises(ValidationError, match="checkpoint_id"):
            AgentUpdate.model_validate({"checkpoint_id": value})

    def test_what_json_has_no_type_for_is_read_from_its_text(self) -> None:
        update = AgentUpdate.model_validate({"checkpoint_id": 5.0, "started_at": "2025-12-25T01:35:06Z", "cost": 1})
        assert (update.checkpoint_id, update.started_at, update.cost) == (5, datetime(2025, 12, 25, 1, 35, 6, tzinfo=UTC), 1.0)
        event = {"session_id": "018cc251-f400-78f8-833e-bf663095c0ce", "event_category": "hook", "event_type": "Stop"}
        assert AgentLogCreate.model_validate(event).session_id == UUID("018cc251-f400-78f8-833e-bf663095c0ce")


class TestReadable:
    @given(ANY_TEXT)
    def test_whatever_comes_postgresql_can_hold_what_goes(self, text: str) -> None:
        shown = readable(text)
        shown.encode()
        assert "\x00" not in shown

    @given(st.text(st.characters(codec="utf-8", exclude_characters="\x00")))
    def test_plain_text_is_left_as_it_is(self, text: str) -> None:
        assert readable(text) == text

    def test_only_the_beginning_of_a_long_text_is_kept(self) -> None:
        assert cut("a" * READABLE_LIMIT) == ("a" * READABLE_LIMIT, False)
        assert cut("a" * READABLE_LIMIT + "b") == ("a" * READABLE_LIMIT, True)
        assert cut(None) == (None, False)


class TestRefuseUnstorable:
    @given(st.recursive(st.none() | st.booleans() | st.integers() | ANY_TEXT, lambda x: st.lists(x) | st.dictionaries(ANY_TEXT, x)))
    def test_it_refuses_exactly_what_holds_nul_or_a_lone_surrogate(self, value: object) -> None:
        try:
            refuse_unstorable(value, "value")
        except InvalidInput:
            assert any(map(_is_bad, _texts(value)))
        else:
            assert not any(map(_is_bad, _texts(value)))

    @pytest.mark.parametrize("key", [1, 1.5, None, True, b"a", ("a", "b")])
    @pytest.mark.parametrize("depth", [0, 1, 3])
    def test_it_refuses_keys_that_are_no_texts(self, key: object, depth: int) -> None:
        value: object = {"fine": 1, key: 2}
        for _ in range(depth):
            value = {"inner": [value]}
        with pytest.raises(InvalidInput, match=f"key that is a {type(key).__name__}") as caught:
            refuse_unstorable(value, "metadata")
        assert caught.value.details["path"] == "metadata" + ".inner[0]" * depth

    @pytest.mark.parametrize("number", [10**5000, -(10**5000), 10**4000], ids=["5001", "negative", "4001"])
    def test_it_refuses_integers_that_python_will_not_write(self, number: int) -> None:
        with pytest.raises(InvalidInput, match=r"metadata\.a: .*4000 digits"):
            refuse_unstorable({"a": number}, "metadata")
        refuse_unstorable({"a": 10**3999}, "metadata")


def _texts(value: object) -> list[str]:
    if isinstance(value, str):
        return [value]
    if isinstance(value, dict):
        return [text for pair in value.items() for part in pair for text in _texts(part)]
    return [text for part in value for text in _texts(part)] if isinstance(value, list) else []


def _is_bad(text: str) -> bool:
    return any(character == "\x00" or 0xD800 <= ord(character) <= 0xDFFF for character in text)


class TestMoments:
    def test_a_naive_one_is_utc_and_an_aware_one_is_the_same_moment(self) -> None:
        naive = datetime(2026, 1, 15, 12)  # noqa: DTZ001  the case
        assert as_utc(naive) == datetime(2026, 1, 15, 12, tzinfo=UTC)
        assert as_utc(naive.replace(tzinfo=timezone(timedelta(hours=2)))) == datetime(2026, 1, 15, 10, tzinfo=UTC)

    @pytest.mark.parametrize(
        "moment",
        [datetime.max.replace(tzinfo=timezone(timedelta(hours=-12))), datetime.min.replace(tzinfo=timezone(timedelta(hours=14)))],
    )
    def test_one_that_utc_has_no_year_for_is_refused(self, moment: datetime) -> None:
        with pytest.raises(InvalidInput, match=moment.isoformat().replace("+", r"\+")):
            as_utc(moment)
        session_id = UUID(int=7)
        for model, values in (
            (AgentUpdate, {"started_at": moment}),
            (SessionUpdate, {"completed_at": moment}),
            (AgentLogCreate, {"session_id": session_id, "event_category": "hook", "event_type": "x", "timestamp": moment}),
        ):
            with pytest.raises(ValueError, match="out of range"):
                model.model_validate(values)
        with pytest.raises(InvalidInput):
            checked_message({"role": "user", "content": "a", "timestamp": moment}, "messages[0]")


class TestDollars:
    @given(st.floats(0, 9_999_999_999, allow_nan=False))
    def test_exact_ones_have_ten_decimals(self, dollars: float) -> None:
        exact = exact_dollars(dollars)
        assert exact.as_tuple().exponent == -10
        assert abs(exact - Decimal(str(dollars))) <= Decimal("5e-11")
        assert exact_dollars(exact) == exact


class TestIds:
    def test_new_ones_are_of_version_7_and_in_the_order_of_their_making(self) -> None:
        ids = [new_id() for _ in range(1000)]
        assert {made.version for made in ids} == {7}
        assert type(ids[0]) is UUID
        assert len(set(ids)) == 1000
        assert [made.int >> 80 for made in ids] == sorted(made.int >> 80 for made in ids)

    def test_derived_ones_are_the_same_in_every_run(self) -> None:
        assert derived_id("project", "session") == UUID("d337983a-a577-52af-acd7-ddd2bd796f8c")

    @given(st.lists(ANY_TEXT, max_size=3), st.lists(ANY_TEXT, max_size=3))
    def test_different_parts_make_different_ones(self, one: list[str], other: list[str]) -> None:
        assert (derived_id(*one) == derived_id(*other)) == (one == other)
