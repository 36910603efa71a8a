"""Bodies of events: what somebody else wrote is kept as it is written, to the letter."""

import json
from collections.abc import Callable, Coroutine, Mapping
from functools import partial
from typing import Any

from fastapi import Request, Response
from fastapi.routing import APIRoute

from session_db.errors import InvalidInput
from session_db.models.table import FOREIGN_DECODER, MAX_NESTING, JSONText, reads_back

_SPACES = (" ", "\t", "\n", "\r")

OWN = ("payload", "tool_input")
"""Members of an event that are their sender's own JSON."""


class OwnTextRoute(APIRoute):
    """A route whose body may have ``events``; their ``OWN`` members become ``JSONText``."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        handle = super().get_route_handler()

        async def handle_own_text(request: Request) -> Response:
            return await handle(_OwnTextRequest(request.scope, request.receive))

        return handle_own_text


class _OwnTextRequest(Request):
    async def json(self) -> Any:
        body = await self.body()
        return read_events(body.decode(json.detect_encoding(body)))


def read_events(text: str) -> Any:
    """Decode the body of an append; the ``OWN`` members of its events are ``JSONText``.

    Raises:
        InvalidInput: one of them is nested too deep.
        ValueError: it is no JSON.
    """
    reader = _Reader(text)
    number = -1

    def event() -> Any:
        nonlocal number
        number += 1
        return reader.members({name: partial(reader.own, f"events[{number}].{name}") for name in OWN})

    body = reader.members({"events": lambda: reader.elements(event)})
    reader.end()
    return body


class _Reader:
    """A JSON text, read from its beginning to its end."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._at = 0

    def members(self, readers: Mapping[str, Callable[[], Any]]) -> Any:
        """Read an object, the members that are named by their own readers; or any other value."""
        if not self._takes("{"):
            return self._value()
        members: dict[str, Any] = {}
        if self._takes("}"):
            return members
        while True:
            name = self._name()
            self._expect(":")
            members[name] = readers.get(name, self._value)()
            if self._takes("}"):
                return members
            self._expect(",")

    def elements(self, read: Callable[[], Any]) -> Any:
        """Read a list, each element by this reader; or any other value."""
        if not self._takes("["):
            return self._value()
        elements: list[Any] = []
        if self._takes("]"):
            return elements
        while True:
            elements.append(read())
            if self._takes("]"):
                return elements
            self._expect(",")

    def own(self, path: str) -> JSONText | None:
        """Read a value as it is written; null is none."""
        self._skip()
        start = self._at
        value = self._value()
        if not reads_back(value):
            raise InvalidInput(f"{path}: nested deeper than {MAX_NESTING} levels; make it flatter.", path=path)
        return None if value is None else JSONText(self._text[start : self._at])

    def end(self) -> None:
        """Refuse what follows the value."""
        self._skip()
        if self._at < len(self._text):
            raise json.JSONDecodeError("Extra data", self._text, self._at)

    def _value(self) -> Any:
        self._skip()
        value, self._at = FOREIGN_DECODER.raw_decode(self._text, self._at)
        return value

    def _name(self) -> str:
        self._skip()
        if not self._text.startswith('"', self._at):
            raise json.JSONDecodeError("Expecting property name enclosed in double quotes", self._text, self._at)
        return str(self._value())

    def _takes(self, character: str) -> bool:
        self._skip()
        is_there = self._text.startswith(character, self._at)
        self._at += is_there
        return is_there

    def _expect(self, character: str) -> None:
        if not self._takes(character):
            raise json.JSONDecodeError(f"Expecting '{character}'", self._text, self._at)

    def _skip(self) -> None:
        while self._text[self._at : self._at + 1] in _SPACES:
            self._at += 1
