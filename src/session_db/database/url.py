"""Database URLs as people write them, and as asyncpg reads them."""

from urllib.parse import parse_qsl, urlencode, urlsplit, urlunsplit

from session_db.errors import InvalidInput

_SCHEMES = ("postgres", "postgresql", "postgresql+asyncpg", "postgresql+psycopg", "postgresql+psycopg2")
# asyncpg sends a word that it does not know to the server as a setting, which refuses it; it binds no channel and needs no word for that.
_LEFT_OUT = frozenset({"channel_binding", "gssencmode"})


def asyncpg_url(url: str) -> str:
    """Return the URL as asyncpg takes it.

    Raises:
        InvalidInput: it is no PostgreSQL URL. The message never holds the password.
    """
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port
    except ValueError as error:
        raise InvalidInput(f"SESSION_DB_URL cannot be read: {error}. Write postgresql://user:password@host:5432/database.") from None
    del host, port
    if parts.scheme not in _SCHEMES:
        raise InvalidInput(
            f"SESSION_DB_URL begins with {parts.scheme or 'no scheme'!r}; session-db needs PostgreSQL: postgresql://user:password@host:5432/database."
        )
    pairs = [("sslmode" if name == "ssl" else name, value) for name, value in parse_qsl(parts.query, keep_blank_values=True)]
    query = urlencode([(name, value) for name, value in pairs if name not in _LEFT_OUT])
    return urlunsplit(("postgresql", parts.netloc, parts.path, query, ""))


def shown_url(url: str) -> str:
    """Return the URL without its password, to be printed."""
    parts = urlsplit(url)
    credentials, at, place = parts.netloc.rpartition("@")
    user, colon, _ = credentials.partition(":")
    pairs = [(name, "***" if "password" in name.lower() else value) for name, value in parse_qsl(parts.query, keep_blank_values=True)]
    netloc = f"{user}{':***' if colon else ''}{at}{place}"
    return urlunsplit((parts.scheme, netloc, parts.path, urlencode(pairs, safe="*"), ""))
