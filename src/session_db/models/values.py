"""Values that callers send, as Python has them. Inputs are strict: what JSON has no type for is read from its text, and nothing else is."""

from collections.abc import Callable
from datetime import datetime
from typing import Annotated, Any, TypeVar
from uuid import UUID

from pydantic import AfterValidator, BaseModel, BeforeValidator, Field, GetJsonSchemaHandler, Strict
from pydantic_core import CoreSchema
from sqlmodel._compat import SQLModelConfig

from session_db.models.table import INT32, INT64, as_utc

InputModel = TypeVar("InputModel", bound=BaseModel)


def described_by(table: type[BaseModel]) -> Callable[[type[InputModel]], type[InputModel]]:
    """Decorate a model of inputs: a field that says nothing of itself is described as the table's."""

    def describe(model: type[InputModel]) -> type[InputModel]:
        for name, field in model.model_fields.items():
            if field.description is None and name in table.model_fields:
                field.description = table.model_fields[name].description
        model.model_rebuild(force=True)
        return model

    return describe


def examples(*bodies: dict[str, Any]) -> SQLModelConfig:
    """Return the ``model_config`` of a model of inputs that has these examples."""
    return SQLModelConfig(json_schema_extra={"examples": [*bodies]})


def _refuse_number(value: Any) -> Any:
    """Refuse a number for a moment: whether it counts seconds or milliseconds nobody can tell."""
    if isinstance(value, int | float) or (isinstance(value, str) and value.strip().lstrip("+-").replace(".", "", 1).isdecimal()):
        raise ValueError("send ISO 8601, e.g. 2025-12-25T01:35:06Z")
    return value


Moment = Annotated[datetime, Strict(strict=False), BeforeValidator(_refuse_number), AfterValidator(as_utc)]
"""A datetime input, or its text in ISO 8601: aware, or naive and then UTC."""

Id = Annotated[UUID, Strict(strict=False)]
"""A UUID input, or its text."""


def _whole(value: Any) -> Any:
    # For JSON 5.0 is an integer.
    return int(value) if isinstance(value, float) and value.is_integer() else value


# The bounds come first: what stands before a validator stands in the JSON schema as well.
Int32 = Annotated[int, Field(ge=-INT32, lt=INT32), BeforeValidator(_whole)]
Int64 = Annotated[int, Field(ge=-INT64, lt=INT64), BeforeValidator(_whole)]
Count = Annotated[int, Field(ge=0, lt=INT64), BeforeValidator(_whole)]
"""Integer inputs, as large as their columns."""


class _Kept:
    """Says in the JSON schema that null is no value: the field is left out, or has one. crud refuses it with a word."""

    def __get_pydantic_json_schema__(self, core: CoreSchema, handler: GetJsonSchemaHandler) -> dict[str, Any]:
        schema: dict[str, Any] = handler(core)
        (kind,) = [kind for kind in schema.pop("anyOf") if kind != {"type": "null"}]
        return {**schema, **kind}


KEPT = _Kept()
"""Marks a field of an update that may be left out, and not be cleared."""
