"""How the database is told to people: where it is, and how far its tables are."""

from session_db.database.schema import head
from session_db.database.url import shown_url
from session_db.settings import get_settings


def where() -> str:
    """Say which database is used, without a password."""
    settings = get_settings()
    return f"embedded PostgreSQL in {settings.home}" if settings.url is None else shown_url(settings.url.get_secret_value())


def revision_state(revision: str | None) -> tuple[str, str | None]:
    """Say what revision the tables have, and what to do where it is not the newest."""
    if revision == head():
        return f"revision {revision}", None
    if revision is None:
        return "there are no tables", "Run session-db init."
    return f"revision {revision}, this version needs {head()}", "Run session-db init." if revision < head() else "Upgrade session-db."
