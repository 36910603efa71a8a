"""Asking a service: over no detour."""

import json
from typing import Any
from urllib.error import HTTPError
from urllib.request import HTTPRedirectHandler, ProxyHandler, Request, build_opener


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
