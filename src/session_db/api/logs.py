"""The service's log: a line a record, for people or as JSON, with the request that it belongs to and without secrets."""

import logging
import re
from contextvars import ContextVar
from datetime import UTC, datetime
from typing import Any, Literal

from pythonjsonlogger.core import RESERVED_ATTRS
from pythonjsonlogger.json import JsonFormatter

LogFormat = Literal["text", "json"]

REQUEST_ID: ContextVar[str | None] = ContextVar("session_db_request_id", default=None)
"""The request that is being answered."""

_TOKEN = re.compile(r"(sdb_[0-9a-fA-F]+)_[A-Za-z0-9_-]+")
# A password may hold an @ that nobody encoded; a URL ends at white space or at a quotation mark.
_URL = re.compile(r"(postgres[a-z0-9+]*://[^\s:/@\"']*):[^\s\"']*@")
_PASSWORD = re.compile(r"([?&](?:password|sslpassword)=)[^&\s\"']+")

_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028\u2029]")
"""What steers a terminal or ends a line, but for the end of a line itself."""


def redacted(text: str) -> str:
    """Return a text without the secrets of tokens and the passwords of database URLs; of a token its id stays."""
    for pattern in (_TOKEN, _URL):
        text = pattern.sub(r"\1_***" if pattern is _TOKEN else r"\1:***@", text)
    return _PASSWORD.sub(r"\1***", text)


class WithRequest(logging.Filter):
    """Gives each record the id of the request that it belongs to."""

    def filter(self, record: logging.LogRecord) -> bool:
        request_id = REQUEST_ID.get()
        if request_id is not None:
            record.request_id = request_id
        return True


class ToldOnce(logging.Filter):
    """Leaves out what uvicorn tells of WebSockets: the access log has them, without the query, which may hold a secret."""

    def filter(self, record: logging.LogRecord) -> bool:
        # Of a handshake that was refused uvicorn says in the end that it was not answered.
        told = record.levelno <= logging.INFO or "without completing handshake" in str(record.msg)
        return not (record.name == "uvicorn.error" and "websocket" in record.pathname and told)


class Text(logging.Formatter):
    """Lines for people. Secrets are taken out of the whole, tracebacks too; what follows a record's first line is indented."""

    def format(self, record: logging.LogRecord) -> str:
        request_id = getattr(record, "request_id", None)
        text = super().format(record) + (f" [{request_id}]" if request_id else "")
        return _CONTROL.sub(lambda found: ascii(found[0])[1:-1], redacted(text)).replace("\n", "\n    ")

    def formatTime(self, record: logging.LogRecord, datefmt: str | None = None) -> str:  # noqa: ARG002, N802  logging's own
        return _moment(record)


class JSONLines(JsonFormatter):
    """Lines for programs: JSON objects in ASCII. Secrets are taken out of the whole, tracebacks too."""

    def format(self, record: logging.LogRecord) -> str:
        return redacted(super().format(record))

    def formatTime(self, record: logging.LogRecord, datefmt: str | None = None) -> str:  # noqa: ARG002, N802  logging's own
        return _moment(record)


def _moment(record: logging.LogRecord) -> str:
    return datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds")


def log_config(log_format: LogFormat) -> dict[str, Any]:
    """Return what ``logging.config.dictConfig`` needs; plain values, so that workers can be given it."""
    here = __name__
    return {
        "version": 1,
        "disable_existing_loggers": False,
        "filters": {"request": {"()": f"{here}.WithRequest"}, "once": {"()": f"{here}.ToldOnce"}},
        "formatters": {
            "text": {"()": f"{here}.Text", "format": "%(asctime)s %(levelname)s %(name)s: %(message)s"},
            "json": {
                "()": f"{here}.JSONLines",
                "format": "%(asctime)s %(levelname)s %(name)s %(message)s",
                "rename_fields": {"asctime": "time", "levelname": "level", "name": "logger"},
                "json_ensure_ascii": True,
                # uvicorn's message once more, with colours.
                "reserved_attrs": [*RESERVED_ATTRS, "color_message"],
            },
        },
        "handlers": {
            "stderr": {
                "class": "logging.StreamHandler",
                "stream": "ext://sys.stderr",
                "filters": ["once", "request"],
                "formatter": log_format,
            }
        },
        "root": {"handlers": ["stderr"], "level": "WARNING"},
        "loggers": {"session_db": {"level": "INFO"}, "uvicorn": {"level": "INFO"}},
    }
