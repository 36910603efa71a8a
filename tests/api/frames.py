"""Frames of an event stream, as a browser reads them."""

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

from httpx import AsyncClient, Response


@dataclass(frozen=True)
class Frame:
    """What a reader was told."""

    kind: str
    data: Any
    id: str | None


@asynccontextmanager
async def following(client: AsyncClient, path: str, **parameters: Any) -> AsyncIterator[AsyncIterator[Frame]]:
    """Open an event stream; its frames come until it ends."""
    async with client.stream("GET", path, **parameters) as answer:
        assert answer.status_code == 200, (await answer.aread()).decode()
        assert answer.headers["content-type"].startswith("text/event-stream")
        yield frames_of(answer)


async def frames_of(answer: Response) -> AsyncIterator[Frame]:
    fields: dict[str, str] = {}
    async for line in answer.aiter_lines():
        if line:
            name, _, value = line.partition(":")
            fields[name] = value.removeprefix(" ")
        else:
            if "data" in fields:
                yield Frame(fields["event"], json.loads(fields["data"]), fields.get("id"))
            fields = {}


async def read(frames: AsyncIterator[Frame], count: int) -> list[Frame]:
    return [await anext(frames) for _ in range(count)]


async def read_until(frames: AsyncIterator[Frame], kind: str) -> Frame:
    async for frame in frames:
        if frame.kind == kind:
            return frame
    raise AssertionError(f"the stream ended without a frame {kind}")
