"""What routes ask for: the caller's rights, pages, and ids."""

from collections import Counter
from typing import Annotated, Any, TypeVar
from uuid import UUID

from fastapi import Path, Query, Request, Security
from fastapi.requests import HTTPConnection
from fastapi.security import APIKeyCookie, HTTPBearer, SecurityScopes
from pydantic import BaseModel

from session_db import crud
from session_db.api.answers import page
from session_db.api.errors import operation_of
from session_db.api.gate import COOKIE
from session_db.crud.paging import MAX_LIMIT
from session_db.database import UnitOfWork
from session_db.errors import Forbidden, InvalidInput, NotFound, Unauthorized
from session_db.models import Token
from session_db.models.text import shown
from session_db.models.tokens import Scope

Row = TypeVar("Row")

INCLUDED: dict[str, frozenset[Scope]] = {
    "read": frozenset({"read"}),
    "write": frozenset({"read", "write", "hooks"}),
    "hooks": frozenset({"hooks"}),
    "admin": frozenset({"read", "write", "hooks", "admin"}),
}
"""What a token of each scope may do."""

# The gate has looked at both; here they are named for the OpenAPI document.
bearer = HTTPBearer(auto_error=False, scheme_name="Bearer", description="A token: `session-db tokens create` makes one.")
cookie = APIKeyCookie(name=COOKIE, auto_error=False, scheme_name="Cookie", description="A browser's: the login link of `session-db serve`.")


def caller(request: Request, scopes: SecurityScopes, _: Annotated[Any, Security(bearer)], __: Annotated[Any, Security(cookie)]) -> Token:
    """Return the token of this request.

    Raises:
        Forbidden: it may not do what the route does.
    """
    token: Token | None = request.scope.get("state", {}).get("token")
    if token is None:
        raise Unauthorized("send a token: `Authorization: Bearer …`.")
    refuse_beyond(token, scopes.scopes)
    return token


def refuse_beyond(token: Token, wanted: list[str]) -> None:
    """Raise ``Forbidden`` where a token may not do all of this."""
    missing = [scope for scope in wanted if scope not in INCLUDED[token.scope]]
    if missing:
        raise Forbidden(f"this needs a token with scope {' and '.join(missing)}; this one has {token.scope}.", scope=token.scope)


def needs(scope: Scope) -> Any:
    """Return the dependency of routes that ask for this scope."""
    return Security(caller, scopes=[scope])


OPEN_PARAMETERS = "x-open-parameters"
"""What an operation's document says where it takes any parameter that begins so."""


def refuse_unknown_parameters(request: HTTPConnection) -> None:
    """Raise ``InvalidInput`` for a query that the route does not know, or has twice: a filter with a slip would find everything."""
    operation = operation_of(request)
    if not operation or not request.scope["query_string"]:
        return
    known = [parameter["name"] for parameter in operation.get("parameters", []) if parameter["in"] == "query"]
    for name, times in Counter(name for name, _ in request.query_params.multi_items()).items():
        if name not in known and not name.startswith(operation.get(OPEN_PARAMETERS, "?")):
            words = ", ".join(known) or "no parameters"
            raise InvalidInput(f"{shown(name)} is no parameter of this route; it takes {words}.", path=name, place="query")
        if times > 1:
            raise InvalidInput(f"{shown(name)} is there {times} times; send it once.", path=name, place="query")


Limit = Annotated[int, Query(ge=1, le=MAX_LIMIT, description="Rows a page.")]
Cursor = Annotated[str | None, Query(max_length=2000, description="`next_cursor` of the page before.")]
SessionId = Annotated[UUID, Path(description="The session.")]


def found(row: Row | None, noun: str, key: Any) -> Row:
    """Return the row, or raise ``NotFound`` where there is none."""
    if row is None:
        raise NotFound(f"there is no {noun} {key}.")
    return row


async def page_of_session(db: UnitOfWork, session_id: UUID, rows: Any) -> dict[str, Any]:
    """Return a page of what a session has, or raise ``NotFound`` where there is no such session."""
    if not rows:
        found(await crud.get_session(db, session_id), "session", session_id)
    return page(rows)


Body = TypeVar("Body", bound=BaseModel)


def in_session(body: Body, session_id: UUID, path: str = "session_id") -> Body:
    """Return a body with the session of the request's path; raise ``InvalidInput``, with the field's own path, where it names another."""
    given = getattr(body, "session_id", None)
    if given not in (None, session_id):
        raise InvalidInput(f"{path}: is {given}, the URL says {session_id}; leave it out.", path=path, place="body")
    return body.model_copy(update={"session_id": session_id})
