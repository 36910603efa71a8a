"""Values that callers send, as Python has them. Inputs are strict: what JSON has no type for is read from its text, and nothing else is."""

from datetime import datetime
from typing import Annotated, Any
from uuid import UUID

from pydantic import AfterValidator, BeforeValidator, Strict

from session_db.models.table import as_utc


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


Integer = Annotated[int, BeforeValidator(_whole)]
"""An integer input."""
