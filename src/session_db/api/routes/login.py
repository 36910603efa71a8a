"""Login: a link that works once gives a browser its cookie."""

import time
from collections import OrderedDict
from datetime import UTC, datetime, timedelta
from typing import Annotated

from fastapi import APIRouter, Query, Request, Response
from fastapi.responses import HTMLResponse
from pydantic import BaseModel, Field

from session_db.api.dependencies import needs
from session_db.api.errors import problems
from session_db.api.gate import COOKIE, address_of
from session_db.crud.tokens import create_token, revoke_token, use_login
from session_db.database import DatabaseSession, UnitOfWork
from session_db.errors import Forbidden, TooManyAttempts, Unauthorized
from session_db.models import Token, TokenCreate

FAILURES = 10
FAILURE_SECONDS = 60.0
"""So many failures in so many seconds from one address, and it is told to wait."""
_ADDRESSES = 10_000

LINK_AGE = timedelta(minutes=10)
BROWSER_AGE = timedelta(days=30)

_PAGE = """<!doctype html>
<html lang="en">
<head><meta charset="utf-8">{refresh}<title>session-db</title></head>
<body><h1>You are logged in</h1><p>This browser may use session-db for 30 days.</p>{link}</body>
</html>
"""
_LOGGED_IN = _PAGE.format(refresh="", link="")
_LEADING_ON = _PAGE.format(refresh='<meta http-equiv="refresh" content="0; url=./">', link='<p><a href="./">Go on to the console</a></p>')

router = APIRouter(tags=["login"])


class Failures:
    """Failed attempts by address, in this process; the addresses that failed longest ago are forgotten first."""

    def __init__(self) -> None:
        self._moments: OrderedDict[str, list[float]] = OrderedDict()

    def refuse_if_too_many(self, address: str) -> None:
        """Raise ``TooManyAttempts`` where this address has to wait."""
        recent = self._recent(address)
        if len(recent) >= FAILURES:
            wait = max(1, round(recent[0] + FAILURE_SECONDS - time.monotonic()))
            raise TooManyAttempts(f"too many failed attempts; wait {wait} s.", retry_after_seconds=wait)

    def note(self, address: str) -> None:
        self._moments[address] = [*self._recent(address)[-FAILURES:], time.monotonic()]
        self._moments.move_to_end(address)
        if len(self._moments) > _ADDRESSES:
            self._moments.popitem(last=False)

    def _recent(self, address: str) -> list[float]:
        since = time.monotonic() - FAILURE_SECONDS
        return [moment for moment in self._moments.get(address, ()) if moment > since]


class LoginLink(BaseModel):
    """A link that logs a browser in, once."""

    url_path: str = Field(description="What to open, below the address of the service.", examples=["/login?token=sdb_…"])
    expires_at: datetime = Field(description="When it ends to work.")


@router.get(
    "/login",
    response_class=HTMLResponse,
    responses=problems(401, 429) | {200: {"content": {"text/html": {"schema": {"type": "string"}}}, "description": "You are logged in."}},
)
async def log_in(
    request: Request, db: DatabaseSession, token: Annotated[str, Query(max_length=200, description="The token of the link.")]
) -> HTMLResponse:
    """Log a browser in by a link that works once: the answer sets its cookie."""
    failures, address = request.app.state.failures, address_of(request)
    failures.refuse_if_too_many(address)
    login = await use_login(db, token)
    if login is None:
        failures.note(address)
        raise Unauthorized("this link does not work (any more): it works once, for ten minutes. `session-db login` makes another one.")
    made = await create_token(db, _like(login, login.name, BROWSER_AGE), kind="browser")
    # A page and no redirect: a browser that came by a link of another site would not send a strict cookie to where it leads. What this
    # page leads to is asked for by us. Mounted in another application the service has no console.
    answer = HTMLResponse(_LOGGED_IN if request.scope.get("root_path") else _LEADING_ON, headers={"Cache-Control": "no-store"})
    answer.set_cookie(
        COOKIE,
        made.text,
        max_age=int(BROWSER_AGE.total_seconds()),
        secure=request.url.scheme == "https",
        httponly=True,
        samesite="strict",
    )
    return answer


@router.post("/api/login-links", status_code=201)
async def create_login_link(db: DatabaseSession, caller: Annotated[Token, needs("read")]) -> LoginLink:
    """Make a link that logs a browser in, once, within ten minutes; it may do there what this token may."""
    if caller.kind != "api" or caller.expires_at is not None:
        raise Forbidden(
            "a login would outlive this token: send one of a program (`session-db tokens create`) that does not expire.", kind=caller.kind
        )
    return await make_login_link(db, caller)


async def make_login_link(db: UnitOfWork, token: Token) -> LoginLink:
    """Make a link that logs a browser in with the rights of this token."""
    wanted = _like(token, f"login by {token.name}"[:100], LINK_AGE)
    made = await create_token(db, wanted, kind="login")
    return LoginLink.model_validate({"url_path": f"/login?token={made.text}", "expires_at": wanted.expires_at})


def _like(token: Token, name: str, age: timedelta) -> TokenCreate:
    return TokenCreate.model_validate({"name": name, "scope": token.scope, "expires_at": datetime.now(UTC) + age})


@router.post("/api/logout", status_code=204)
async def log_out(db: DatabaseSession, caller: Annotated[Token, needs("read")], response: Response) -> None:
    """Log this browser out: its cookie works no more, and is deleted. The token of a program stays."""
    if caller.kind == "browser":
        await revoke_token(db, caller.id)
    response.delete_cookie(COOKIE, httponly=True, samesite="strict")
