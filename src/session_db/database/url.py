"""Database URLs as people write them, and as asyncpg reads them."""

from urllib.parse import SplitResult, parse_qsl, urlencode, urlsplit, urlunsplit

from session_db.errors import InvalidInput

_SCHEMES = ("postgres", "postgresql", "postgresql+asyncpg", "postgresql+psycopg", "postgresql+psycopg2")
# asyncpg sends a word that it does not know to the server as a setting, which refuses it; it binds no channel and needs no word for that.
_LEFT_OUT = frozenset({"channel_binding", "gssencmode"})


def asyncpg_url(url: str) -> str:
    """Return the URL as asyncpg takes it.

    Raises:
        InvalidInput: it is no PostgreSQL URL. The message never holds the password.
    """
    parts = _parts_of(url)
    pairs = [("sslmode" if name == "ssl" else name, value) for name, value in _query_of(parts)]
    query = urlencode([(name, value) for name, value in pairs if name not in _LEFT_OUT])
    return urlunsplit(("postgresql", parts.netloc, parts.path, query, ""))


def shown_url(url: str) -> str:
    """Return the URL without its password, to be printed; of one that cannot be read nothing is shown."""
    try:
        parts = _parts_of(url)
    except InvalidInput:
        return "***"
    credentials, at, place = parts.netloc.rpartition("@")
    user, colon, _ = credentials.partition(":")
    pairs = [(name, "***" if "password" in name.lower() else value) for name, value in _query_of(parts)]
    netloc = f"{user}{':***' if colon else ''}{at}{place}"
    return urlunsplit((parts.scheme, netloc, parts.path, urlencode(pairs, safe="*/"), ""))


def _parts_of(url: str) -> SplitResult:
    scheme = url.partition(":")[0] if "://" in url else ""
    if scheme not in _SCHEMES:
        raise InvalidInput(
            f"SESSION_DB_URL begins with {scheme or 'no scheme'!r}; session-db needs PostgreSQL: postgresql://user:password@host:5432/database."
        )
    # Python's own message quotes the part that it did not understand, which may be a piece of the password.
    unreadable = InvalidInput(
        "SESSION_DB_URL cannot be read. Write postgresql://user:password@host:5432/database, and in the password "
        "/ as %2F, @ as %40, : as %3A, # as %23 and ? as %3F."
    )
    try:
        parts = urlsplit(url)
        _ = parts.hostname, parts.port
    except ValueError:
        raise unreadable from None
    if parts.fragment or "@" in parts.path or any("@" in name for name, _ in _query_of(parts)):
        raise unreadable
    return parts


def _query_of(parts: SplitResult) -> list[tuple[str, str]]:
    return parse_qsl(parts.query, keep_blank_values=True)
