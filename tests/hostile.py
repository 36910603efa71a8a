"""Values that nobody would want to be sent, as Hypothesis strategies."""

import os
from collections.abc import Callable
from datetime import UTC, datetime, timedelta, timezone, tzinfo
from decimal import Decimal
from typing import Any, TypeVar
from uuid import UUID

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st

Returned = TypeVar("Returned")

# The same examples in every run, so that a test turns red by a change and not by chance. SESSION_DB_HOSTILE_EXAMPLES=2000 looks for
# new ones.
_EXAMPLES = int(os.environ.get("SESSION_DB_HOSTILE_EXAMPLES", "0"))


def hostile(max_examples: int) -> settings:
    """Return settings for a test: a database is slower on some days, and its rows may stay from one example to the next."""
    return settings(
        max_examples=_EXAMPLES or max_examples,
        derandomize=not _EXAMPLES,
        deadline=None,
        suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow, HealthCheck.data_too_large],
    )


NASTY_TEXTS = [
    *["\x00", "a\x00b", "\ud800", "\udfff", "\ud83d", "\udbff\udfff", "\u202eevil", "\u2066\u2069", "\ufeffmark", "\ufffe", "\uffff"],
    *["\x1b[2J", "\x7f", "\x85", "\u2028", "e\u0301", "\U0001f600", "", " ", "\n", "\\u0000", "x" * 300, "é" * 300],
    *["1e+23", '"1e+23"', "'; --", "%s", "{}", "null", "NaN", "-0", "../..", "/", "0001-01-01T00:00:00+23:59"],
    *(chr(plane << 16 | 0x1234) for plane in range(17)),
]

TEXTS = st.text(st.characters(exclude_categories=()), max_size=20) | st.sampled_from(NASTY_TEXTS)

_LARGE = st.sampled_from([400, 3999, 4000, 4299, 4300, 5000]).map(lambda zeros: 10**zeros)

NUMBERS = (
    st.integers()
    | st.floats()
    | st.sampled_from([2**31 - 1, 2**31, 2**53 + 1, 2**63 - 1, 2**63, -(2**63), -(2**63) - 1])
    | st.sampled_from([-0.0, 0.1, 1e16, 1e22, 1e23, -1.5e300, 1.7976931348623157e308, 5e-324, 2.2250738585072014e-308])
    | _LARGE
    | _LARGE.map(lambda number: -number)
)

_NO_JSON = st.sampled_from([b"bytes", Decimal("1.5"), datetime(2026, 1, 1, tzinfo=UTC), UUID(int=7), {1, 2}, object, 1j, range(3)])

_KEYS = TEXTS | st.integers() | st.none() | st.booleans() | st.floats(allow_nan=False) | st.binary(max_size=3)


def nested(depth: int) -> list[Any]:
    """Return lists in lists."""
    value: list[Any] = []
    for _ in range(depth):
        value = [value]
    return value


def circle() -> dict[str, Any]:
    """Return an object that holds itself."""
    value: dict[str, Any] = {}
    value["again"] = [value]
    return value


_DEEP = st.builds(nested, st.sampled_from([150, 199, 201, 499, 501, 990, 5_000])) | st.builds(circle)

JSON = st.recursive(
    st.none() | st.booleans() | NUMBERS | TEXTS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXTS, inner, max_size=3),
    max_leaves=8,
)
"""What could be JSON: some numbers and texts in it are too much for it, or for PostgreSQL."""

VALUES = JSON | st.recursive(
    st.none() | NUMBERS | TEXTS | _NO_JSON | _DEEP,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(_KEYS, inner, max_size=3) | st.tuples(inner, inner),
    max_leaves=6,
)
"""Anything that a caller could send where JSON is wanted."""


class NoOffset(tzinfo):
    """A zone that says nothing: Python calls a moment in it naive."""

    def utcoffset(self, _moment: datetime | None) -> None:
        return None

    dst = tzname = utcoffset


_OFFSETS = st.timedeltas(timedelta(hours=-23, minutes=-59), timedelta(hours=23, minutes=59)).map(timezone)

MOMENTS = st.datetimes(timezones=st.none() | st.timezones() | _OFFSETS | st.just(NoOffset()), allow_imaginary=True) | st.sampled_from([
    moment.replace(tzinfo=zone, fold=fold)
    for moment in (datetime.min, datetime.max, datetime(1969, 12, 31, 23, 59, 59), datetime(2026, 10, 25, 2, 30))  # noqa: DTZ001, DTZ901  every zone is put on them
    for zone in (None, UTC, timezone(timedelta(hours=23, minutes=59)), timezone(timedelta(hours=-23, minutes=-59, microseconds=1)))
    for fold in (0, 1)
])  # fmt: skip
"""Moments of every era, naive and in any zone; in UTC some are in the year 0 or 10000."""


def from_json(value: Any) -> Any:
    """Return a value as JSON gives it back: lists for tuples, and two surrogates that are a pair are one character."""
    if isinstance(value, dict):
        return {from_json(key): from_json(child) for key, child in value.items()}
    if isinstance(value, list | tuple):
        return [from_json(child) for child in value]
    return value.encode("utf-16", "surrogatepass").decode("utf-16", "surrogatepass") if isinstance(value, str) else value


def attempt(call: Callable[[], Returned], *refusals: type[Exception]) -> tuple[Returned | None, Exception | None]:
    """Return what a call returns, or how it refuses; any other error is a test's failure."""
    try:
        return call(), None
    except refusals as error:
        return None, error
