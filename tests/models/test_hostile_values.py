"""Hostile values in models: taken as they are, or refused by name; never any other error."""

import json
import math
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from session_db.errors import InvalidInput
from session_db.models import (
    AgentCreate,
    AgentLogCreate,
    AgentUpdate,
    ClipCreate,
    ClipUpdate,
    MemoryFileCreate,
    MemoryFileUpdate,
    PlaylistCreate,
    SessionCreate,
    SessionNameUpdate,
    SessionUpdate,
    SongCreate,
    SongUpdate,
)
from session_db.models.display import checked_message
from session_db.models.table import MAX_NESTING, Input, as_utc, decode_json, encode_json, refuse_unstorable
from session_db.models.text import SHOWN_LIMIT, shown
from tests.hostile import JSON, MOMENTS, TEXTS, VALUES, attempt, circle, from_json, hostile, nested

ITEM = {"project_id": "project", "name": "name"}
INPUTS: list[tuple[type[Input], dict[str, Any]]] = [
    (SessionCreate, {"agent_name": "strudel"}),
    (SessionCreate, {"session_slug": "auth", "working_dir": "/project"}),
    (SessionUpdate, {}),
    (SessionNameUpdate, {}),
    (AgentCreate, {"session_id": UUID(int=7), "agent_type": "build"}),
    (AgentUpdate, {}),
    (AgentLogCreate, {"session_id": UUID(int=7), "event_category": "hook", "event_type": "x"}),
    (MemoryFileCreate, {"session_id": UUID(int=7), "file_path": "/a"}),
    (MemoryFileUpdate, {}),
    (ClipCreate, ITEM | {"clip_id": "clip", "code": "s()"}),
    (ClipUpdate, {}),
    (SongCreate, ITEM | {"song_id": "song"}),
    (SongUpdate, {}),
    (PlaylistCreate, ITEM | {"playlist_id": "playlist"}),
]
FIELDS = [(model, base, field.alias or name) for model, base in INPUTS for name, field in model.model_fields.items()]


def is_finite(value: Any) -> bool:
    """Say whether a decoded JSON value holds only what JSON has a word for."""
    if isinstance(value, dict):
        return all(map(is_finite, value.values()))
    if isinstance(value, list | tuple):
        return all(map(is_finite, value))
    return not isinstance(value, float) or math.isfinite(value)


def has_long_number(value: Any) -> bool:
    """Say whether Python would not write one of the numbers."""
    if isinstance(value, dict | list):
        return any(map(has_long_number, value.values() if isinstance(value, dict) else value))
    return isinstance(value, int) and abs(value) >= 10**4300


class TestInputs:
    @hostile(300)
    @given(field=st.sampled_from(FIELDS), value=VALUES | MOMENTS)
    def test_a_value_is_taken_or_refused_by_its_name(self, field: tuple[type[Input], dict[str, Any], str], value: Any) -> None:
        model, base, name = field
        _, refusal = attempt(lambda: model.model_validate(base | {name: value}), ValidationError)
        if refusal is not None:
            assert name in str(refusal)
            str(refusal).encode()

    @pytest.mark.parametrize("value", [nested(100_000), circle(), {"a": 10**5000}, {"k" * 10**6: [0, float("inf")]}])
    def test_what_is_refused_is_refused_in_little_time_and_space(self, value: Any) -> None:
        with pytest.raises(ValidationError) as caught:
            SessionUpdate.model_validate({"metadata": {"deep": value}})
        assert "metadata.deep" in str(caught.value)
        assert len(str(caught.value)) < 2_000

    @pytest.mark.parametrize(
        ("model", "values"),
        [
            (AgentUpdate, {"checkpoint_id": 2**31}),
            (AgentUpdate, {"input_tokens": 2**63}),
            (ClipUpdate, {"message_index": -(2**31) - 1}),
        ],
    )
    def test_a_number_that_its_column_cannot_hold_is_refused(self, model: type[Input], values: dict[str, Any]) -> None:
        with pytest.raises(ValidationError, match=next(iter(values))):
            model.model_validate(values)


class TestEncodeJson:
    @hostile(120)
    @given(value=VALUES)
    def test_a_value_comes_back_as_it_was_or_is_refused_by_its_path(self, value: Any) -> None:
        text, refusal = attempt(lambda: encode_json(value, "payload"), InvalidInput)
        if text is None:
            assert str(refusal).startswith("payload")
        else:
            text.encode("ascii")
            assert decode_json(text) == from_json(value)

    @hostile(120)
    @given(value=JSON)
    def test_only_infinite_and_overlong_numbers_are_refused_in_json(self, value: Any) -> None:
        _, refusal = attempt(lambda: encode_json(value), InvalidInput)
        assert (refusal is not None) == (not is_finite(value) or has_long_number(value))

    @pytest.mark.parametrize(
        ("value", "path"),
        [
            ({"a": [0, {"b": float("nan")}]}, "payload.a[1].b"),
            ({"a": {1: "one", "1": "another"}}, "payload.a"),
            ([{"a": 10**4300}], "payload[0].a"),
            ({"a": {"b": b""}}, "payload.a.b"),
            ({"\ud800": {"b": {}, "\x00": set()}}, r"payload.\ud800.\x00"),
            ({"k" * 200: object}, "payload." + "k" * 100),
        ],
    )
    def test_the_path_leads_to_the_part(self, value: Any, path: str) -> None:
        with pytest.raises(InvalidInput) as caught:
            encode_json(value, "payload")
        assert caught.value.details["path"] == path

    def test_it_may_be_nested_as_deep_as_anybody_can_read_it(self) -> None:
        assert decode_json(encode_json(nested(MAX_NESTING))) == nested(MAX_NESTING)
        for value in (nested(MAX_NESTING + 1), nested(100_000), circle()):
            with pytest.raises(InvalidInput, match=f"nested deeper than {MAX_NESTING} levels"):
                encode_json(value)


class TestSize:
    @pytest.mark.parametrize("value", [[[]] * 200_000, {str(key): 0 for key in range(60_000)}], ids=["values", "keys"])
    def test_what_has_too_many_parts_is_refused_before_all_are_looked_at(self, value: Any) -> None:
        with pytest.raises(ValidationError, match="metadata: has more than 100000 values"):
            SessionUpdate(metadata={"large": value})

    def test_one_large_text_is_one_part(self) -> None:
        SessionUpdate(metadata={"large": "x" * 5_000_000})


class TestDecodeJson:
    @pytest.mark.parametrize("number", ["9" * 5000, "-" + "9" * 5000, "1e400", "-1.5E+99999", "0.1e99999999999999999999"])
    def test_a_number_that_python_has_none_for_is_given_as_its_text(self, number: str) -> None:
        assert decode_json(f'{{"a": [{number}, 1]}}') == {"a": [number, 1]}

    @hostile(100)
    @given(value=JSON)
    def test_other_json_is_what_python_makes_of_it(self, value: Any) -> None:
        if is_finite(value) and not has_long_number(value):
            assert decode_json(json.dumps(value)) == json.loads(json.dumps(value))


class TestRefuseUnstorable:
    @hostile(120)
    @given(value=VALUES)
    def test_the_path_of_the_first_bad_part_is_told(self, value: Any) -> None:
        _, refusal = attempt(lambda: refuse_unstorable({"a": value}, "metadata"), InvalidInput)
        if refusal is None:
            assert json.loads(json.dumps(value)) == from_json(value)
        else:
            assert str(refusal).startswith("metadata.a")

    def test_a_huge_key_costs_no_more_than_itself(self) -> None:
        with pytest.raises(InvalidInput) as caught:
            refuse_unstorable({"k" * 10**7: [*range(10_000), "\x00"]}, "metadata")
        assert caught.value.details["path"] == f"metadata.{'k' * 100}[10000]"


class TestMoments:
    @hostile(120)
    @given(moment=MOMENTS)
    def test_a_moment_stays_the_same_in_utc_or_is_refused(self, moment: datetime) -> None:
        offset = moment.utcoffset() or timedelta()
        try:
            expected = moment.replace(tzinfo=UTC, fold=0) - offset
        except OverflowError:
            with pytest.raises(InvalidInput, match="out of range"):
                as_utc(moment)
        else:
            utc = as_utc(moment)
            assert utc.utcoffset() == timedelta()
            assert utc == expected


class TestMessages:
    @hostile(120)
    @given(key=TEXTS | st.sampled_from(["role", "content", "timestamp", "client_id", "context", "code_changes"]), value=VALUES | MOMENTS)
    def test_a_part_is_kept_or_refused_by_its_path(self, key: str, value: Any) -> None:
        message = {"role": "user", "content": "hello", "timestamp": "2026-01-01", key: value}
        checked, refusal = attempt(lambda: checked_message(message, "messages[0]"), InvalidInput)
        if checked is None:
            assert str(refusal).startswith("messages[0]")
            str(refusal).encode()
            return
        client_id, data = checked
        if key == "client_id":
            assert client_id == value
        elif isinstance(value, datetime) or (key, value) == ("timestamp", None):
            assert datetime.fromisoformat(data[key]).utcoffset() == timedelta()
        else:
            assert data[key] == value

    @hostile(50)
    @given(message=VALUES)
    def test_what_is_no_message_is_refused(self, message: Any) -> None:
        with pytest.raises(InvalidInput, match=r"^messages\[0\]"):
            checked_message(message, "messages[0]")


class TestShown:
    @hostile(120)
    @given(value=VALUES)
    def test_any_value_is_shown_and_none_fills_the_screen(self, value: Any) -> None:
        text = shown(value)
        text.encode()
        assert 0 < len(text) <= SHOWN_LIMIT + 30
