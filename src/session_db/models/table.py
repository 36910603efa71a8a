"""What every table and every input model is made from."""

import json
import math
import re
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from decimal import ROUND_HALF_UP, Decimal
from typing import Any, ClassVar

from pydantic import model_validator
from sqlalchemy import BigInteger, Dialect, MetaData, Numeric, Table, TypeDecorator, text
from sqlalchemy import Text as SQLText
from sqlalchemy.dialects.postgresql import JSON as POSTGRESQL_JSON
from sqlalchemy.dialects.postgresql import JSONB, TIMESTAMP
from sqlalchemy.ext.mutable import MutableDict
from sqlmodel import Field, SQLModel
from sqlmodel._compat import SQLModelConfig

from session_db.errors import InvalidInput

MAX_DEPTH, MAX_PARTS = 200, 100_000
"""Levels of nesting, and values and keys, that a JSON value of ours may have: whoever reads the row reads them all."""

MAX_NESTING = 500
"""Levels of nesting that foreign JSON may have: Python reads and writes it by recursion, and whoever reads it needs some of the stack."""

MAX_DIGITS = 4_000
"""Digits that an integer may have; Python itself refuses to write more than 4,300."""
_TOO_LARGE = 10**MAX_DIGITS

_KEY_SHOWN = 100  # characters of a key that a path shows.

NAMING_CONVENTION = {
    "pk": "pk_%(table_name)s",
    "uq": "uq_%(table_name)s_%(column_0_N_name)s",
    "ix": "ix_%(table_name)s_%(column_0_N_name)s",
    "fk": "fk_%(table_name)s_%(column_0_N_name)s_%(referred_table_name)s",
    "ck": "ck_%(table_name)s_%(constraint_name)s",
}


class Model(SQLModel):
    """Base of all models; tables of ours stand in a metadata of their own."""

    metadata: ClassVar[MetaData] = MetaData(naming_convention=NAMING_CONVENTION)

    def __setattr__(self, name: str, value: Any) -> None:
        # SQLModel puts the plain dict back over the one that SQLAlchemy tracks, and a change in place would be lost.
        if name == "metadata_" and type(value) is dict and isinstance(getattr(type(self), "__table__", None), Table):
            value = MutableDict(value)
        super().__setattr__(name, value)


def as_utc(moment: datetime) -> datetime:
    """Return the moment in UTC; a naive one is taken as UTC.

    Raises:
        InvalidInput: in UTC it is before the year 1 or after the year 9999.
    """
    if moment.utcoffset() is None:
        return moment.replace(tzinfo=UTC)
    try:
        return moment.astimezone(UTC)
    except OverflowError:
        raise InvalidInput(f"{moment.isoformat()} is out of range; in UTC it must be in the years 1 to 9999.", value=moment) from None


def now() -> datetime:
    """Return the current time in UTC."""
    return datetime.now(UTC)


class UtcDateTime(TypeDecorator[datetime]):
    """``timestamptz`` that takes a naive datetime as UTC and always gives an aware one."""

    impl = TIMESTAMP(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:  # noqa: ARG002  SQLAlchemy names it
        return None if value is None else as_utc(value)


class JSONText(str):
    """JSON as its sender wrote it, to be stored as it is."""

    __slots__ = ()


class ForeignJSON(TypeDecorator[Any]):
    """``json``: somebody else's JSON, kept as text and lossless.

    A ``JSONText`` is stored as it is; any other value is encoded as ASCII, so that NUL and lone surrogates survive.
    """

    impl = POSTGRESQL_JSON(none_as_null=True)
    cache_ok = True

    def bind_processor(self, dialect: Dialect) -> Any:  # noqa: ARG002  SQLAlchemy names it
        return lambda value: value if value is None else encode_json(value)


def encode_json(value: Any, path: str = "the value") -> JSONText:
    """Encode a value losslessly as ASCII JSON; a ``JSONText`` is that already.

    Raises:
        InvalidInput: a part of it is no JSON, or what Python would not read back as it was; the error names it by its path.
    """
    if isinstance(value, JSONText):
        return value
    try:
        text = json.dumps(value, ensure_ascii=True, allow_nan=False)
    except (TypeError, ValueError, RecursionError) as error:
        _refuse_no_json(value, path)
        # The process has set limits below Python's own, or this is the end of a deep stack.
        raise InvalidInput(f"{path}: cannot be written as JSON: {error}; send the large parts as text.", path=path) from error
    if not reads_back(value):
        _refuse_no_json(value, path)
    return JSONText(text)


def reads_back(value: Any) -> bool:
    """Say whether a JSON value comes back from its text as it was: its keys are texts, and it is not nested deeper than ``MAX_NESTING``."""
    level = [value]
    for _ in range(MAX_NESTING + 1):
        level = [part for part in level if isinstance(part, _CONTAINERS)]
        if not level:
            return True
        if not all(isinstance(key, str) for part in level if isinstance(part, dict) for key in part):
            return False
        level = [child for part in level for child in (part.values() if isinstance(part, dict) else part)]
    return False


_CONTAINERS = (dict, list, tuple)


def _refuse_no_json(value: Any, path: str) -> None:
    for place, part, depth in _parts(value, path, MAX_NESTING):
        problem = _too_deep(depth, MAX_NESTING) or _bad_number(part) or _bad_key(part) or _no_json(part)
        if problem:
            raise _refusal(place, problem)


def _integer(text: str) -> int | str:
    try:
        return int(text)
    except ValueError:
        return text


def _float(text: str) -> float | str:
    number = float(text)
    return number if math.isfinite(number) else text


def _refuse_constant(word: str) -> None:
    raise ValueError(f"holds {word}, which is no JSON")


FOREIGN_DECODER = json.JSONDecoder(parse_int=_integer, parse_float=_float, parse_constant=_refuse_constant)


def decode_json(text: str) -> Any:
    """Decode somebody else's JSON; a number that Python has none for (1e400, or of too many digits) is given as its text.

    Raises:
        ValueError: it is no JSON, or holds NaN or Infinity.
        RecursionError: it is nested too deep for the stack.
    """
    return FOREIGN_DECODER.decode(text)


class OwnJSON(TypeDecorator[Any]):
    """``jsonb``: JSON that we own and query."""

    impl = JSONB(none_as_null=True)
    cache_ok = True

    def bind_processor(self, dialect: Dialect) -> Any:  # noqa: ARG002  SQLAlchemy names it
        return lambda value: value if value is None else _own_json(value)

    def compare_values(self, x: Any, y: Any) -> bool:
        """Say whether a value is still the same, so that it need not be written."""
        return same_json(x, y)


def same_json(one: Any, other: Any) -> bool:
    """Compare as JSON does: true is not 1, as it is in Python."""
    if isinstance(one, bool) or isinstance(other, bool):
        return one is other
    if isinstance(one, Mapping) and isinstance(other, Mapping):
        return one.keys() == other.keys() and all(same_json(one[key], other[key]) for key in one)
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(map(same_json, one, other))
    return bool(one == other)


_STRING_OR_LARGE_FLOAT = re.compile(r'"(?:[^"\\]|\\.)*"|-?[0-9.]+e\+[0-9]+')


def _own_json(value: Any) -> str:
    text = json.dumps(value)
    return _STRING_OR_LARGE_FLOAT.sub(_with_decimals, text) if "e+" in text else text


def _with_decimals(found: re.Match[str]) -> str:
    """Write 1e+23 with a decimal point: ``jsonb`` makes an integer of it, and that one is not the float that was sent."""
    word = found[0]
    return word if word.startswith('"') else f"{Decimal(word):f}.0"


Metadata = MutableDict.as_mutable(OwnJSON())
"""``jsonb`` object whose changes in place are tracked."""

Money = Numeric(20, 10, asdecimal=False)
"""US dollars; exact in the database, float in Python."""

ExactMoney = Numeric(20, 10)
"""US dollars as the database has them, ``Decimal`` in Python: for sums."""


MAX_DOLLARS = 10**10
"""US dollars that no column keeps as many of."""


def exact_dollars(dollars: Decimal | float) -> Decimal:
    """Return US dollars as a column keeps them, so that sums here and sums there are the same.

    Raises:
        InvalidInput: no column keeps as many.
    """
    amount = Decimal(str(dollars))
    if not (amount.is_finite() and abs(amount) < MAX_DOLLARS):
        raise InvalidInput(f"cost: {dollars} US dollars cannot be stored; send less than 10 billion.", value=dollars)
    return amount.quantize(Decimal("1e-10"), ROUND_HALF_UP)


BigInt = BigInteger()
INT32 = 2**31
INT64 = 2**63
"""The first number that an ``integer`` or ``bigint`` column does not hold."""
Text = SQLText()


def counter(description: str, *, default: int = 0) -> Any:
    """A ``bigint`` that starts at zero."""
    return Field(default=default, sa_type=BigInt, description=description, sa_column_kwargs={"server_default": text(str(default))})


def flag(description: str, *, default: bool = False) -> Any:
    return Field(default=default, description=description, sa_column_kwargs={"server_default": text(str(default).lower())})


def moment(description: str) -> Any:
    """A ``timestamptz`` that defaults to now."""
    return Field(default_factory=now, sa_type=UtcDateTime, description=description, sa_column_kwargs={"server_default": text("now()")})


def optional_moment(description: str) -> Any:
    return Field(default=None, sa_type=UtcDateTime, description=description)


def dollars(description: str) -> Any:
    """US dollars, zero at first."""
    return Field(default=0.0, sa_type=Money, description=description, sa_column_kwargs={"server_default": text("0")})


def metadata_field(description: str) -> Any:
    """The ``metadata`` column of a table that ``KeepsMetadata``."""
    return Field(
        default_factory=dict,
        sa_type=Metadata,
        nullable=False,
        description=description,
        sa_column_kwargs={"name": "metadata", "server_default": text("'{}'::jsonb")},
    )


class KeepsMetadata(Model):
    """A table with a ``metadata`` column: SQLAlchemy's name for something else, so the attribute is ``metadata_``."""

    def __init__(self, **values: Any) -> None:
        if "metadata" in values:
            values["metadata_"] = values.pop("metadata")
        super().__init__(**values)


def id_list(description: str) -> Any:
    """An ordered ``jsonb`` array of ids."""
    return Field(
        default_factory=list,
        sa_type=OwnJSON,
        nullable=False,
        description=description,
        sa_column_kwargs={"server_default": text("'[]'::jsonb")},
    )


class Input(Model):
    """Base of the models that callers fill in: unknown fields are refused, and so is what PostgreSQL cannot hold.

    Nothing is guessed: 1 is not true, and "5" is not a number.
    """

    model_config = SQLModelConfig(extra="forbid", populate_by_name=True, strict=True)

    @model_validator(mode="after")
    def _storable(self) -> "Input":
        for name in self.model_fields_set:
            if name not in self.lossless_fields:
                refuse_unstorable(getattr(self, name), name.rstrip("_"))
        return self

    lossless_fields: ClassVar[frozenset[str]] = frozenset()
    """Fields whose values go to columns that hold anything."""

    def changes(self) -> dict[str, Any]:
        """Return what the caller set, by attribute name."""
        return {name: getattr(self, name) for name in self.model_fields_set}


_Place = str | tuple[Any, str | int]
"""Where a part stands: the path of the whole, or the place around it with the key or index. It becomes a path where it is shown."""


def refuse_unstorable(value: Any, path: str) -> None:
    """Raise ``InvalidInput`` with the path of the first part that ``text`` or ``jsonb`` cannot hold."""
    for count, (place, part, depth) in enumerate(_parts(value, path, MAX_DEPTH)):
        if count > MAX_PARTS:
            raise _refusal(path, f"has more than {MAX_PARTS} values; keep large data in a file, or as one text.")
        problem = _too_deep(depth, MAX_DEPTH) or _bad_text(part) or _bad_number(part) or _bad_key(part)
        # The value itself is a column's and was checked by its type; what is inside it becomes JSON.
        problem = problem or (_no_json(part) if depth else None)
        if problem:
            raise _refusal(place, problem)


def _refusal(place: _Place, problem: str) -> InvalidInput:
    steps = []
    while not isinstance(place, str):
        place, step = place
        steps.append(f"[{step}]" if isinstance(step, int) else f".{ascii(step[:_KEY_SHOWN])[1:-1]}")
    path = place + "".join(reversed(steps))
    return InvalidInput(f"{path}: {problem}", path=path)


def _too_deep(depth: int, limit: int) -> str | None:
    return f"nested deeper than {limit} levels; make it flatter." if depth > limit else None


def _bad_text(part: Any) -> str | None:
    if not isinstance(part, str):
        return None
    if "\x00" in part:
        return "holds a NUL character (U+0000), which PostgreSQL cannot store; remove it."
    try:
        part.encode()
    except UnicodeEncodeError:
        return "holds a lone surrogate, which is no valid text; remove it."
    return None


def _bad_number(part: Any) -> str | None:
    if isinstance(part, float) and not math.isfinite(part):
        return f"is {part}, which is no JSON; send a finite number or null."
    if isinstance(part, int) and abs(part) >= _TOO_LARGE:
        return f"is an integer of more than {MAX_DIGITS} digits; send it as text."
    return None


def _bad_key(part: Any) -> str | None:
    bad = [key for key in part if not isinstance(key, str)] if isinstance(part, Mapping) else []
    if not bad:
        return None
    return f"has a key that is a {type(bad[0]).__name__}; keys of a JSON object are texts."


def _no_json(part: Any) -> str | None:
    if part is None or isinstance(part, str | int | float | dict | list | tuple):
        return None
    return f"is a {type(part).__name__}, which is no JSON; send it as text, number, list or object."


def _parts(value: Any, path: str, deepest: int) -> Iterator[tuple[_Place, Any, int]]:
    """Walk a JSON value without recursion: (place, part, depth), keys of objects included; what is below ``deepest`` is left out."""
    todo: list[tuple[_Place, Any, int]] = [(path, value, 0)]
    while todo:
        place, part, depth = todo.pop()
        yield place, part, depth
        if depth > deepest:
            continue
        if isinstance(part, Mapping):
            # What is no text as a key was refused with the object.
            for key, child in part.items():
                yield (place, key), key, depth
                todo.append(((place, key), child, depth + 1))
        elif isinstance(part, Sequence) and not isinstance(part, str | bytes):
            todo.extend(((place, index), child, depth + 1) for index, child in enumerate(part))
