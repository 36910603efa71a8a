"""What routes answer with: JSON that holds any text, and pages."""

import json
from typing import Any, Generic, TypeVar

from fastapi.responses import JSONResponse
from pydantic import BaseModel, Field

from session_db.models.table import JSONText

Item = TypeVar("Item")


class JSONAnswer(JSONResponse):
    """JSON in ASCII: a lone surrogate in what an agent wrote goes through, and is read back as it was."""

    def render(self, content: Any) -> bytes:
        return json.dumps(content, ensure_ascii=True, allow_nan=False, separators=(",", ":")).encode()


class WithOwnText(JSONAnswer):
    """An object whose values may be somebody's own JSON text; that stands in the answer as it is."""

    def render(self, content: Any) -> bytes:
        members = (b"%s:%s" % (self._value(name), self._value(value)) for name, value in content.items())
        return b"{%s}" % b",".join(members)

    def _value(self, value: Any) -> bytes:
        return value.encode() if isinstance(value, JSONText) else super().render(value)


class PageOf(BaseModel, Generic[Item]):
    """A page of a list. With a filter that has no index it may be short, or empty, and have a next one."""

    items: list[Item]
    next_cursor: str | None = Field(None, description="`cursor` of the next page; null at the end.")


def page(rows: Any) -> dict[str, Any]:
    """Return a page of crud as the parts of a ``PageOf``."""
    return {"items": list(rows), "next_cursor": rows.next_cursor}
