"""What every table and every input model is made from."""

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from decimal import ROUND_HALF_UP, Decimal, InvalidOperation
from typing import Annotated, Any, ClassVar

from pydantic import AfterValidator, model_validator
from sqlalchemy import BigInteger, Dialect, MetaData, Numeric, Table, TypeDecorator, text
from sqlalchemy import Text as SQLText
from sqlalchemy.dialects.postgresql import JSON as POSTGRESQL_JSON
from sqlalchemy.dialects.postgresql import JSONB, TIMESTAMP
from sqlalchemy.ext.mutable import MutableDict
from sqlmodel import Field, SQLModel
from sqlmodel._compat import SQLModelConfig

from session_db.errors import InvalidInput

MAX_DEPTH = 200
"""Levels of nesting that a JSON value of ours may have."""

MAX_DIGITS = 4_000
"""Digits that an integer may have; Python itself refuses to write more than 4,300."""
_TOO_LARGE = 10**MAX_DIGITS

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
    if moment.tzinfo is None:
        return moment.replace(tzinfo=UTC)
    try:
        return moment.astimezone(UTC)
    except OverflowError:
        raise InvalidInput(f"{moment.isoformat()} is out of range; in UTC it must be in the years 1 to 9999.", value=moment) from None


def now() -> datetime:
    """Return the current time in UTC."""
    return datetime.now(UTC)


Moment = Annotated[datetime, AfterValidator(as_utc)]
"""A datetime input: aware, or naive and then UTC."""


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


def encode_json(value: Any) -> JSONText:
    """Encode a value losslessly as ASCII JSON; a ``JSONText`` is that already.

    Raises:
        InvalidInput: the value is no JSON: NaN, infinity, an unknown type, too deep, or a circle.
    """
    if isinstance(value, JSONText):
        return value
    try:
        return JSONText(json.dumps(value, ensure_ascii=True, allow_nan=False))
    except (TypeError, ValueError, RecursionError) as error:
        raise InvalidInput(
            f"the value is no JSON: {error}. Send plain objects, lists, texts, finite numbers, true, false and null."
        ) from error


OwnJSON = JSONB(none_as_null=True)
"""``jsonb``: JSON that we own and query."""

Metadata = MutableDict.as_mutable(JSONB())
"""``jsonb`` object whose changes in place are tracked."""

Money = Numeric(20, 10, asdecimal=False)
"""US dollars; exact in the database, float in Python."""

ExactMoney = Numeric(20, 10)
"""US dollars as the database has them, ``Decimal`` in Python: for sums."""


def exact_dollars(dollars: Decimal | float) -> Decimal:
    """Return US dollars as a column keeps them, so that sums here and sums there are the same.

    Raises:
        InvalidInput: no column keeps as many.
    """
    try:
        return Decimal(str(dollars)).quantize(Decimal("1e-10"), ROUND_HALF_UP)
    except InvalidOperation:
        raise InvalidInput(f"{dollars} US dollars cannot be stored; send less than 10 billion.", value=dollars) from None


BigInt = BigInteger()
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
    """Base of the models that callers fill in: unknown fields are refused, and so is what PostgreSQL cannot hold."""

    model_config = SQLModelConfig(extra="forbid", populate_by_name=True)

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


def refuse_unstorable(value: Any, path: str) -> None:
    """Raise ``InvalidInput`` with the path of the first part that ``text`` or ``jsonb`` cannot hold."""
    for where, part, depth in _parts(value, path):
        if depth > MAX_DEPTH:
            raise InvalidInput(f"{where}: nested deeper than {MAX_DEPTH} levels; make it flatter.", path=where)
        # The value itself is a column's and was checked by its type; what is inside it becomes JSON.
        problem = _problem(part) or _bad_key(part) or (_no_json(part) if depth else None)
        if problem:
            raise InvalidInput(f"{where}: {problem}", path=where)


def _problem(part: Any) -> str | None:
    if isinstance(part, str):
        if "\x00" in part:
            return "holds a NUL character (U+0000), which PostgreSQL cannot store; remove it."
        try:
            part.encode()
        except UnicodeEncodeError:
            return "holds a lone surrogate, which is no valid text; remove it."
    if isinstance(part, float) and not math.isfinite(part):
        return f"is {part}, which JSON has no word for; send a finite number or null."
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
    return f"is a {type(part).__name__}, which JSON has no form for; send it as text, number, list or object."


def _parts(value: Any, path: str) -> Iterator[tuple[str, Any, int]]:
    """Walk a JSON value without recursion: (path, part, depth), keys of objects included."""
    todo: list[tuple[str, Any, int]] = [(path, value, 0)]
    while todo:
        where, part, depth = todo.pop()
        yield where, part, depth
        if depth > MAX_DEPTH:
            continue
        if isinstance(part, Mapping):
            # What is no text as a key was refused with the object.
            for key, child in part.items():
                yield f"{where}.{ascii(key)[1:-1]}", key, depth
                todo.append((f"{where}.{ascii(key)[1:-1]}", child, depth + 1))
        elif isinstance(part, Sequence) and not isinstance(part, str | bytes):
            todo.extend((f"{where}[{index}]", child, depth + 1) for index, child in enumerate(part))
