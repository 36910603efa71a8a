"""What routes answer with: JSON that holds any text, and pages."""

import json
from typing import Any, Generic, TypeVar

from fastapi.responses import JSONResponse
from pydantic import BaseModel, Field

Item = TypeVar("Item")


class JSONAnswer(JSONResponse):
    """JSON in ASCII: a lone surrogate in what an agent wrote goes through, and is read back as it was."""

    def render(self, content: Any) -> bytes:
        return json.dumps(content, ensure_ascii=True, allow_nan=False, separators=(",", ":")).encode()


class PageOf(BaseModel, Generic[Item]):
    """A page of a list. With a filter that has no index it may be short, or empty, and have a next one."""

    items: list[Item]
    next_cursor: str | None = Field(None, description="`cursor` of the next page; null at the end.")


def page(rows: Any) -> dict[str, Any]:
    """Return a page of crud as the parts of a ``PageOf``."""
    return {"items": list(rows), "next_cursor": rows.next_cursor}
