"""Forwarding: what hooks captured on a machine without the database goes to a service that has it."""

from dataclasses import dataclass
from http import HTTPStatus
from http.client import HTTPException
from urllib.error import HTTPError
from urllib.request import Request

from session_db.capture.asking import ask, reason_of
from session_db.capture.hook_entries import HOST_HEADER, ROUTE
from session_db.capture.spool import Captured, Spool
from session_db.errors import InvalidInput, Unauthorized, Unavailable

_SECONDS = 30
_REFUSED = frozenset({401, 403})
_BAD = frozenset({413, 422})
_SENT = ("SESSION_DB_SESSION", "SESSION_DB_AGENT_TYPE", "SESSION_DB_CHECKPOINT", "CLAUDE_PID")


@dataclass
class Forwarded:
    """How much was sent, and how much was set aside because the service does not understand it."""

    sent: int = 0
    bad: int = 0


def forward(spool: Spool, url: str, token: str) -> Forwarded:
    """Send what waits in the spool to the service, in the order it was captured. What is sent twice stays one event.

    Raises:
        Unauthorized: the service refuses the token; what was not sent waits on.
        Unavailable: the service is away, or its disk is full; what was not sent waits on.
        OSError: a file could not be moved away. The others were sent.
    """
    done, unmovable = Forwarded(), None
    for name in spool.names():
        try:
            reason = _send(spool.read(name), url, token)
        except FileNotFoundError:
            # Somebody else took it.
            continue
        except InvalidInput as error:
            reason = error.message
        try:
            spool.remove(name) if reason is None else spool.set_aside(name, reason)
        except FileNotFoundError:
            continue
        except OSError as error:
            unmovable = error
            continue
        done.sent += reason is None
        done.bad += reason is not None
    if unmovable is not None:
        raise unmovable
    return done


def _send(captured: Captured, url: str, token: str) -> str | None:
    """Send an event, and return why the service does not understand it; None where it took it."""
    headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/json", HOST_HEADER: captured.host}
    headers["Session-DB-Spooled"] = captured.name
    headers |= {name.replace("_", "-"): captured.environment[name] for name in _SENT if name in captured.environment}
    try:
        with ask(Request(url + ROUTE, data=captured.payload, headers=headers), _SECONDS) as answer:  # noqa: S310  http, see service_url
            is_taken = answer.status == HTTPStatus.NO_CONTENT
    except HTTPError as error:
        reason = reason_of(error)
        if error.code in _BAD:
            return reason
        family = Unauthorized if error.code in _REFUSED else Unavailable
        raise family(f"the service at {url} refused: {reason}", url=url, status=error.code) from error
    except ValueError:
        return "its variables cannot stand in the header of a request."
    except (OSError, HTTPException) as error:
        raise Unavailable(f"no service answers at {url} ({getattr(error, 'reason', error)}); what was not sent waits.", url=url) from error
    if not is_taken:
        raise Unavailable(f"what answers at {url} is no service of session-db; name it with --url.", url=url)
    return None
