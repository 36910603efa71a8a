"""What commands are given: options that many share, and text and JSON from files and standard input."""

import json
import re
import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from session_db.cli.running import refuse_bytes
from session_db.errors import InvalidInput

JSON = Annotated[bool, typer.Option("--json", help="Print JSON.")]
Yes = Annotated[bool, typer.Option("--yes", help="Do not ask.")]
Limit = Annotated[int, typer.Option(min=1, max=1000, help="Rows a page.")]
Cursor = Annotated[str | None, typer.Option(help="next_cursor of the page before.")]

STANDARD_INPUT = "-"

_SPACE = re.compile(r"[ \t\r\n]*")


def is_interactive() -> bool:
    """Say whether somebody is there to be asked."""
    return sys.stdin is not None and sys.stdin.isatty()


def name_of(path: str) -> str:
    """Return what an error calls an input."""
    return "standard input" if path == STANDARD_INPUT else path


def read_text(path: str) -> str:
    """Return a file's text with its line ends as they are; ``-`` is standard input.

    Raises:
        InvalidInput: it is no UTF-8.
        OSError: the file cannot be read.
    """
    try:
        return _read_bytes(path).decode()
    except UnicodeDecodeError as error:
        raise InvalidInput(
            f"{name_of(path)} is not valid UTF-8 from byte {error.start} on; convert it to UTF-8 first.", path=path, byte=error.start
        ) from None


def _read_bytes(path: str) -> bytes:
    if path != STANDARD_INPUT:
        return Path(path).read_bytes()
    if sys.stdin is None:
        raise InvalidInput("standard input is closed; name a file instead of -.", path=path)
    return sys.stdin.buffer.read()


def text_or_file(option: str, text: str | None, path: str | None) -> str | None:
    """Return the text of the option, or of the file that ``--option-file`` names; None where neither is given."""
    if text is not None and path is not None:
        raise InvalidInput(f"--{option} and --{option}-file are both given; give one of them.")
    if path is not None:
        return read_text(path)
    refuse_bytes(**{option: text})
    return read_text(STANDARD_INPUT) if text == STANDARD_INPUT else text


def json_values(text: str, place: str) -> list[Any]:
    """Return the JSON values of a text: one, or several one after the other, as in JSON lines.

    Raises:
        InvalidInput: it is no JSON; the error says where.
    """
    text = text.removeprefix("\ufeff")
    values, end = [], 0
    while (begin := _end_of_space(text, end)) < len(text):
        try:
            value, end = json.JSONDecoder().raw_decode(text, begin)
        except json.JSONDecodeError as error:
            raise InvalidInput(
                f"{place}: no JSON at line {error.lineno}, column {error.colno}: {error.msg}. Correct it there.",
                line=error.lineno,
                column=error.colno,
            ) from None
        except (RecursionError, ValueError):
            line = text.count("\n", 0, begin) + 1
            raise InvalidInput(f"{place}: the value at line {line} is nested too deep, or has a number too long to be read.") from None
        values.append(value)
    return values


def json_object(text: str, place: str) -> dict[str, Any]:
    """Return the one JSON object of a text."""
    values = json_values(text, place)
    if len(values) != 1 or not isinstance(values[0], dict):
        raise InvalidInput(f'{place}: is no JSON object; send one, e.g. {{"bpm": 120}}.')
    return values[0]


def _end_of_space(text: str, begin: int) -> int:
    space = _SPACE.match(text, begin)
    return space.end() if space else begin
