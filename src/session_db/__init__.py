"""session-db: the PostgreSQL session database for AI agents.

Names of ``database``, ``models`` and ``crud`` are imported when they are first used.
"""

import importlib
from typing import Any

_HOMES = {
    "session_db.database": ("DatabaseSession", "async_session", "close_db", "get_async_session", "get_engine", "init_db", "reset_db"),
    "session_db.errors": (
        "AlreadyExists", "Conflict", "InvalidInput", "NotFound", "SessionDBError", "StaleVersion", "Unauthorized", "Unavailable",
    ),
    "session_db.crud": ("Page", "display_message"),
    "session_db.settings": ("Settings", "get_settings", "use_settings"),
}  # fmt: skip
_HOME_OF = {name: home for home, names in _HOMES.items() for name in names}

__all__ = sorted(_HOME_OF)  # noqa: PLE0605  tests/test_public_names.py holds the list


def __getattr__(name: str) -> Any:
    if name not in _HOME_OF:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(_HOME_OF[name]), name)


def __dir__() -> list[str]:
    return __all__
