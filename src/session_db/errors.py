"""Every error that session-db raises on purpose.

::

    SessionDBError
    ├── NotFound             no row has that id
    ├── AlreadyExists        the id, slug or path is taken
    ├── Conflict             the request contradicts what is stored
    │   └── StaleVersion     the item changed since it was read
    ├── InvalidInput         a value cannot be stored (also a ValueError)
    ├── Unavailable          the database cannot be used now
    │   └── EmbeddedServerError  the embedded PostgreSQL did not start
    └── Unauthorized         the caller is not known
        ├── Forbidden        the caller is known and may not do that
        └── TooManyAttempts  the caller failed too often and has to wait

A message says what was wrong, with the value, and what to do. ``code`` is stable and meant for programs, ``details`` holds the ids
and values involved.
"""

from typing import Any, ClassVar


class SessionDBError(Exception):
    """Base of every error of this package."""

    code: ClassVar[str] = "error"

    def __init__(self, message: str, **details: Any) -> None:
        super().__init__(message)
        self.message = message
        self.details = details


class NotFound(SessionDBError):
    """No row has that id."""

    code = "not_found"


class AlreadyExists(SessionDBError):
    """The id, slug or path is taken."""

    code = "already_exists"


class Conflict(SessionDBError):
    """The request contradicts what is stored."""

    code = "conflict"


class StaleVersion(Conflict):
    """The item changed since it was read."""

    code = "stale_version"


class InvalidInput(SessionDBError, ValueError):
    """A value cannot be stored as given."""

    code = "invalid_input"


class Unavailable(SessionDBError):
    """The database cannot be used now."""

    code = "unavailable"


class EmbeddedServerError(Unavailable):
    """The embedded PostgreSQL did not start."""

    code = "embedded_server"


class Unauthorized(SessionDBError):
    """The caller is not known."""

    code = "unauthorized"


class Forbidden(Unauthorized):
    """The caller is known and may not do that."""

    code = "forbidden"


class TooManyAttempts(Unauthorized):
    """The caller failed too often and has to wait ``details["retry_after_seconds"]``."""

    code = "too_many_attempts"
