"""Errors as problem documents (RFC 9457): one table from our families to statuses, and nothing of SQL or of the stack."""

import json
import logging
from collections.abc import Mapping, Sequence
from http import HTTPStatus
from typing import Any

from fastapi import FastAPI
from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel, Field
from starlette.exceptions import HTTPException
from starlette.requests import HTTPConnection
from starlette.routing import compile_path

from session_db.api.answers import JSONAnswer
from session_db.database.violations import DRIVER_ERRORS, translate
from session_db.errors import (
    AlreadyExists,
    Conflict,
    Forbidden,
    InvalidInput,
    NotFound,
    SessionDBError,
    StaleVersion,
    TooManyAttempts,
    Unauthorized,
    Unavailable,
)

logger = logging.getLogger(__name__)

STATUSES: dict[type[SessionDBError], int] = {
    SessionDBError: 500,
    NotFound: 404,
    AlreadyExists: 409,
    Conflict: 409,
    StaleVersion: 412,
    InvalidInput: 422,
    Unauthorized: 401,
    Forbidden: 403,
    TooManyAttempts: 429,
    Unavailable: 503,
}
"""Status by the family of an error."""

WORDS: dict[int, tuple[str, str]] = {
    400: ("Bad Request", "bad_request"),
    401: ("Unauthorized", Unauthorized.code),
    403: ("Forbidden", Forbidden.code),
    404: ("Not Found", NotFound.code),
    405: ("Method Not Allowed", "method_not_allowed"),
    409: ("Conflict", Conflict.code),
    412: ("Precondition Failed", StaleVersion.code),
    413: ("Content Too Large", "too_large"),
    421: ("Misdirected Request", "unknown_host"),
    422: ("Unprocessable Content", InvalidInput.code),
    429: ("Too Many Requests", TooManyAttempts.code),
    500: ("Internal Server Error", SessionDBError.code),
    503: ("Service Unavailable", Unavailable.code),
}
"""Title and code by status: Python's own words differ from version to version."""

_SENT_AS = {"agent_name": "agent", "current_project": "project", "event_type": "type", "model_name": "model"}
"""How a query calls what crud calls otherwise."""

RETRY_AFTER_SECONDS = 2
_MEDIA_TYPE = "application/problem+json"
_SHOWN = 10
"""Refused fields that the detail names; all stand in `errors`."""


class FieldProblem(BaseModel):
    """What is wrong with one field."""

    place: str = Field(description="Where it was sent: body, query, path or header.", examples=["body"])
    path: str = Field(description="The field.", examples=["messages[0].role"])
    message: str = Field(description="What is wrong with it, and what to send.", examples=["Field required"])


class Problem(BaseModel):
    """What went wrong, and what to do."""

    type: str = Field("about:blank", description="Always about:blank; `code` tells the kind.")
    title: str = Field(description="The status in words.", examples=["Not Found"])
    status: int = Field(description="The HTTP status.", examples=[404])
    detail: str = Field(description="What was wrong, with the value, and what to do.", examples=["there is no session 018cc251-…"])
    code: str = Field(description="Stable word for programs.", examples=["not_found"])
    errors: list[FieldProblem] = Field(default_factory=list, description="The fields that were refused.")
    request_id: str | None = Field(None, description="How the service's log knows the request.")


def status_of(error: SessionDBError) -> int:
    """Return the status of the nearest family of an error."""
    return next(STATUSES[family] for family in type(error).__mro__ if family in STATUSES)


def add_error_handlers(app: FastAPI) -> None:
    """Answer every error with a problem document."""
    for family in (SessionDBError, RequestValidationError, HTTPException, *DRIVER_ERRORS, Exception):
        app.add_exception_handler(family, _handle)


async def _handle(request: HTTPConnection, error: Exception) -> JSONAnswer:
    return answer_to(request, error)


def answer_to(request: HTTPConnection, error: Exception) -> JSONAnswer:
    """Return the problem document for an error; the log has what no caller may see."""
    if isinstance(error, RequestValidationError):
        return _refused(request, error.errors())
    if isinstance(error, HTTPException):
        return _of_starlette(request, error)
    ours = error if isinstance(error, SessionDBError) else translate(error) if isinstance(error, DRIVER_ERRORS) else None
    if ours is None or status_of(ours) == HTTPStatus.INTERNAL_SERVER_ERROR:
        logger.error("unexpected error", exc_info=error)
        return _problem(request, 500, "something went wrong inside; the service's log has the request by its id.", SessionDBError.code)
    return _of_ours(request, ours)


def problem_of(request: HTTPConnection, error: Exception) -> Any:
    """Return the problem document for an error as JSON."""
    return json.loads(bytes(answer_to(request, error).body))


def _of_ours(request: HTTPConnection, error: SessionDBError) -> JSONAnswer:
    status, detail = status_of(error), error.message
    headers, errors = {}, []
    if status == HTTPStatus.UNAUTHORIZED:
        headers["WWW-Authenticate"] = "Bearer"
    elif isinstance(error, TooManyAttempts):
        headers["Retry-After"] = str(error.details["retry_after_seconds"])
    elif isinstance(error, Unavailable):
        logger.warning("the database cannot be used: %s", error.message)
        # What the driver says may hold a host or a statement.
        detail = "the database cannot be used now; send the request again."
        headers["Retry-After"] = str(RETRY_AFTER_SECONDS)
    elif isinstance(error, InvalidInput) and _named_by(error):
        place, path = _sent_as(request, error)
        errors = [FieldProblem(place=place, path=path, message=error.message)]
    return _problem(request, status, detail, error.code, errors=errors, headers=headers)


def _named_by(error: InvalidInput) -> str:
    return str(error.details.get("path") or error.details.get("field") or "")


def operation_of(request: HTTPConnection) -> dict[str, Any]:
    """Return what the OpenAPI document says of the operation that a request asks for; a WebSocket has none."""
    methods = request.app.openapi()["paths"].get(getattr(request.scope.get("route"), "path", None), {})
    operation: dict[str, Any] = methods.get(str(request.scope.get("method")).lower(), {})
    return operation


def _sent_as(request: HTTPConnection, error: InvalidInput) -> tuple[str, str]:
    """Return where a request has what crud refused, and how it is called there."""
    path = _named_by(error)
    if "place" in error.details:
        return error.details["place"], path
    operation = operation_of(request)
    sent = {parameter["name"]: parameter["in"] for parameter in operation.get("parameters", [])}
    for name in (path, _SENT_AS.get(path, path), path.replace("_", "-")):
        if name in sent:
            return sent[name], name
    return "body" if "requestBody" in operation else "query", path


def _refused(request: HTTPConnection, found: Sequence[Any]) -> JSONAnswer:
    problems = [_field_problem(each) for each in found]
    if any(each["type"] == "json_invalid" for each in found):
        return _problem(request, 400, f"the body is no JSON: {found[0]['ctx']['error']} at character {found[0]['loc'][1]}.", "invalid_json")
    detail = "; ".join(f"{each.path or each.place}: {each.message}" for each in problems[:_SHOWN])
    return _problem(request, 422, detail, InvalidInput.code, errors=problems)


def _field_problem(found: Any) -> FieldProblem:
    """Say what Pydantic found; an error that our own check raised names its field itself."""
    place, *steps = found["loc"]
    # What follows the name of a parameter is which of its types did not fit.
    around = _path(steps if place == "body" else steps[:1])
    ours = found.get("ctx", {}).get("error")
    inside = _named_by(ours) if isinstance(ours, InvalidInput) else ""
    path = ".".join(part for part in (around, inside) if part)
    message = str(found["msg"]).removeprefix("Value error, ").removeprefix(f"{inside}: ")
    if place == "body" and not steps and isinstance(found["input"], bytes):
        message = "is not sent as JSON; say `Content-Type: application/json`"
    return FieldProblem(place=str(place), path=path, message=message)


def _path(steps: Sequence[Any]) -> str:
    return "".join(f"[{step}]" if isinstance(step, int) else f".{step}" for step in steps).removeprefix(".")


def _of_starlette(request: HTTPConnection, error: HTTPException) -> JSONAnswer:
    title, code = WORDS[error.status_code]
    headers = dict(error.headers or {})
    detail = str(error.detail or title)
    if error.status_code == HTTPStatus.BAD_REQUEST and isinstance(error.__cause__, InvalidInput):
        return _of_ours(request, error.__cause__)
    if error.status_code == HTTPStatus.BAD_REQUEST and isinstance(error.__cause__, ValueError | RecursionError):
        code, detail = "invalid_json", f"the body cannot be read as JSON: {_unreadable(error.__cause__)}."
    if error.status_code == HTTPStatus.NOT_FOUND and detail == title:
        detail = "there is no such route; /openapi.json lists them."
    if error.status_code == HTTPStatus.METHOD_NOT_ALLOWED:
        # Of what is in no document, Starlette's own word is all there is.
        headers["Allow"] = ", ".join(_allowed_methods(request) or sorted(headers.get("Allow", "").split(", ")))
        detail = f"this route takes {headers['Allow']}."
    return _problem(request, error.status_code, detail, code, headers=headers)


def _unreadable(error: Exception) -> str:
    if isinstance(error, RecursionError):
        return "it is nested too deep"
    return "it is no UTF-8" if isinstance(error, UnicodeError) else str(error).partition(";")[0]


def _allowed_methods(request: HTTPConnection) -> list[str]:
    """Return the methods of this path; Starlette names those of the first route that has it only."""
    path = request.scope["path"].removeprefix(request.scope.get("root_path", ""))
    documented = request.app.openapi()["paths"].items()
    return sorted({method.upper() for template, methods in documented if compile_path(template)[0].match(path) for method in methods})


def _problem(  # noqa: PLR0913, PLR0917  the parts of a problem document
    request: HTTPConnection,
    status: int,
    detail: str,
    code: str,
    errors: Sequence[FieldProblem] = (),
    headers: Mapping[str, str] | None = None,
) -> JSONAnswer:
    document = Problem(
        title=WORDS[status][0],
        status=status,
        detail=detail,
        code=code,
        errors=list(errors),
        request_id=request.scope.get("state", {}).get("request_id"),
    )
    return JSONAnswer(document.model_dump(), status, headers=headers, media_type=_MEDIA_TYPE)


def problems(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """Return the OpenAPI responses for problem documents with these statuses."""
    content = {_MEDIA_TYPE: {"schema": {"$ref": "#/components/schemas/Problem"}}}
    return {status: {"description": WORDS[status][0], "content": content} for status in statuses}
