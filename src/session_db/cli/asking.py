"""Where commands ask the service."""

from typing import Annotated
from urllib.parse import urlsplit

import typer

from session_db.errors import InvalidInput

URL = "http://127.0.0.1:8765"
"""Where ``session-db serve`` is unless somebody moves it."""

ServiceURL = Annotated[str, typer.Option("--url", metavar="URL", help="Where the service is.")]


def service_url(text: str) -> str:
    """Return the address of a service without what may stand after it.

    Raises:
        InvalidInput: it is no address, or holds a secret or a question.
    """
    try:
        parts = urlsplit(text)
        is_address = parts.scheme in ("http", "https") and parts.hostname and parts.port != 0
    except ValueError:
        is_address = False
    if not is_address or not text.isascii() or not text.isprintable() or " " in text or "@" in text or "?" in text or "#" in text:
        raise InvalidInput(f"--url {text} is no address of a service; give one like {URL}.", url=text)
    return text.rstrip("/")
