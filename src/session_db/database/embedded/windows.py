"""Windows has neither ``flock`` nor peer authentication: no embedded server there."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NoReturn

from session_db.database.embedded.status import ServerStatus
from session_db.errors import EmbeddedServerError


class EmbeddedServer:
    """Says so; everything else of the package works with ``SESSION_DB_URL``."""

    def __init__(self, home: Path, *, idle_seconds: float = 5.0, settings: Mapping[str, str] | None = None) -> None:
        del idle_seconds, settings
        self.home = home
        self._refuse()

    def _refuse(self) -> NoReturn:
        raise EmbeddedServerError(
            "the embedded PostgreSQL does not run on Windows yet: set SESSION_DB_URL to a PostgreSQL of yours, or use WSL."
        )

    def acquire(self) -> None:
        self._refuse()

    def release(self) -> None:
        self._refuse()

    @property
    def connect_arguments(self) -> dict[str, Any]:
        self._refuse()

    @property
    def version(self) -> str:
        self._refuse()

    @property
    def data_directory(self) -> Path:
        self._refuse()

    def status(self) -> ServerStatus:
        self._refuse()

    def program(self, name: str) -> Path:
        del name
        self._refuse()

    def run_program(self, name: str, arguments: Sequence[str] = (), **options: Any) -> Any:
        del name, arguments, options
        self._refuse()

    @property
    def program_options(self) -> dict[str, Any]:
        self._refuse()
