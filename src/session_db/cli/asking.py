"""How commands ask the service: at which address, and over no detour."""

import json
from typing import Annotated, Any
from urllib.error import HTTPError
from urllib.parse import urlsplit
from urllib.request import HTTPRedirectHandler, ProxyHandler, Request, build_opener

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


def ask(request: Request, seconds: float) -> Any:
    """Send a request and return its answer, to be closed. A token in it goes there and nowhere else.

    It goes through no proxy of the environment, and to no other place that the answer names.

    Raises:
        HTTPError: it was refused, or the answer names another place.
        URLError: nobody answers.
    """
    return build_opener(ProxyHandler({}), _NoRedirects).open(request, timeout=seconds)


def reason_of(error: HTTPError) -> str:
    """Return what the problem document says; something else than our service may have answered."""
    try:
        return str(json.load(error)["detail"])
    except (ValueError, KeyError, TypeError):
        return f"{error.code} {error.reason}"


class _NoRedirects(HTTPRedirectHandler):
    def redirect_request(self, *_: Any) -> None:
        """Follow none: the answer that names another place is an error."""
