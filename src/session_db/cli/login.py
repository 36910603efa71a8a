"""The command ``login``: a link that logs a browser in."""

import json
from typing import Any
from urllib.error import HTTPError, URLError
from urllib.request import Request

import typer

from session_db.capture.asking import ask, reason_of
from session_db.cli.asking import URL, ServiceURL, service_url
from session_db.cli.inputs import JSON
from session_db.cli.output import print_json
from session_db.cli.running import fail
from session_db.cli.token_file import find_token
from session_db.errors import SessionDBError, Unauthorized, Unavailable
from session_db.settings import get_settings

_SECONDS = 10
_LINK = frozenset({"url_path", "expires_at"})
_REFUSED = frozenset({401, 403, 429})


def add_to(app: typer.Typer) -> None:
    """Add the command to the command line."""
    app.command()(login)


def login(
    url: ServiceURL = URL,
    as_json: JSON = False,  # noqa: FBT002  a command-line flag
) -> None:
    """Ask the running service for a link that logs a browser in, once, within ten minutes."""
    try:
        link = _ask(service_url(url))
    except SessionDBError as error:
        fail(error, as_json=as_json)
    if as_json:
        print_json(link)
    else:
        print(link["login_url"])  # noqa: T201  it is what a command is for


def _ask(url: str) -> dict[str, Any]:
    headers = {"Authorization": f"Bearer {find_token(get_settings())}"}
    try:
        with ask(Request(f"{url}/api/login-links", method="POST", headers=headers), _SECONDS) as answer:  # noqa: S310  http, see service_url
            link = json.load(answer)
    except HTTPError as error:
        family = Unauthorized if error.code in _REFUSED else Unavailable
        raise family(f"the service at {url} refused: {reason_of(error)}", url=url, status=error.code) from error
    except (URLError, OSError, ValueError) as error:
        reason = getattr(error, "reason", error)
        raise Unavailable(
            f"no service answers at {url} ({reason}); start it with `session-db serve`, or name it with --url.", url=url
        ) from error
    if not isinstance(link, dict) or not link.keys() >= _LINK:
        raise Unavailable(f"what answers at {url} is no service of session-db; name it with --url.", url=url)
    return {"login_url": f"{url}{link['url_path']}", "expires_at": link["expires_at"]}
