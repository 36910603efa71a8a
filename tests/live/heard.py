"""Notifications as anybody hears them, with the bare driver."""

import asyncio
from typing import Any


class Heard:
    """What a bare listener heard."""

    def __init__(self) -> None:
        self.payloads: list[str] = []

    def __call__(self, *heard: Any) -> None:
        if not heard[-1].startswith("proof"):
            self.payloads.append(heard[-1])

    @property
    def ids(self) -> list[str]:
        return [text for payload in self.payloads for text in payload.split(",")]

    async def until(self, number: int) -> None:
        """Wait until that many notifications were heard."""
        async with asyncio.timeout(5):
            while len(self.payloads) < number:
                await asyncio.sleep(0.005)
