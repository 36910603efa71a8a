"""The embedded PostgreSQL server, the default when ``SESSION_DB_URL`` is unset."""

import sys

from session_db.database.embedded.status import ServerStatus

if sys.platform == "win32":
    from session_db.database.embedded.windows import EmbeddedServer
else:
    from session_db.database.embedded.server import EmbeddedServer

__all__ = ["EmbeddedServer", "ServerStatus"]
