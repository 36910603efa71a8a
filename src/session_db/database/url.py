"""Database URLs as people and providers write them, and as asyncpg reads them."""

import ssl
from typing import Any
from urllib.parse import SplitResult, parse_qsl, urlencode, urlsplit, urlunsplit

from session_db.errors import InvalidInput

_SCHEMES = ("postgres", "postgresql", "postgresql+asyncpg", "postgresql+psycopg", "postgresql+psycopg2")

# asyncpg sends a word that it does not know to the server as a setting, which refuses it. These are for a client alone: those of libpq
# that asyncpg has no need of, and those of the other clients whose URLs providers hand out.
_LEFT_OUT = frozenset({
    "channel_binding", "client_encoding", "fallback_application_name", "gssdelegation", "gssencmode", "hostaddr", "keepalives",
    "keepalives_count", "keepalives_idle", "keepalives_interval", "load_balance_hosts", "max_protocol_version", "min_protocol_version",
    "require_auth", "requirepeer", "sslcertmode", "sslcompression", "sslsni", "tcp_user_timeout",
    "async_fallback", "connection_limit", "pgbouncer", "pool_timeout", "prepared_statement_cache_size", "schema", "socket_timeout",
    "sslaccept", "supa", "uselibpqcompat",
})  # fmt: skip
_SSL_MODES = {"true": "require", "1": "require", "no-verify": "require", "false": "disable", "0": "disable"}
"""What other clients write for PostgreSQL's words."""


def connect_arguments(url: str) -> dict[str, Any]:
    """Return the URL as arguments of ``asyncpg.connect``.

    Raises:
        InvalidInput: it is no PostgreSQL URL. The message never holds the password.
    """
    parts = _parts_of(url)
    query = dict(_query_of(parts))
    arguments: dict[str, Any] = {}
    timeout = query.pop("connect_timeout", "0")
    if not timeout.isdecimal():
        raise InvalidInput(f"connect_timeout={timeout!r} in SESSION_DB_URL is no whole number of seconds.", connect_timeout=timeout)
    if int(timeout):
        arguments["timeout"] = int(timeout)
    others = query.pop("ssl", None)
    mode = query.pop("sslmode", others)
    if mode is not None:
        query["sslmode"] = _SSL_MODES.get(mode, mode)
    if query.get("sslrootcert") == "system":
        arguments["ssl"] = _trusting_this_machine(query)
    kept = urlencode([(name, value) for name, value in query.items() if name not in _LEFT_OUT])
    return {"dsn": urlunsplit(("postgresql", _netloc_of(parts), parts.path, kept, "")), **arguments}


def _trusting_this_machine(query: dict[str, str]) -> ssl.SSLContext:
    """Return what ``sslrootcert=system`` means, libpq's word for the certificates that this machine trusts, and take it out."""
    if query.setdefault("sslmode", "verify-full") != "verify-full":
        raise InvalidInput(f"sslrootcert=system in SESSION_DB_URL needs sslmode=verify-full, not {query['sslmode']}.")
    del query["sslrootcert"]
    context = ssl.create_default_context()
    certificate = query.pop("sslcert", None)
    if certificate is not None:
        context.load_cert_chain(certificate, query.pop("sslkey", None), query.pop("sslpassword", None))
    return context


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


def unreadable_url() -> InvalidInput:
    """Return the error for a URL that cannot be read; it quotes nothing of it."""
    return InvalidInput(
        "SESSION_DB_URL cannot be read. Write postgresql://user:password@host:5432/database, and in the password "
        "/ as %2F, @ as %40, : as %3A, # as %23 and ? as %3F."
    )


def _parts_of(url: str) -> SplitResult:
    scheme = url.partition(":")[0] if "://" in url else ""
    if scheme not in _SCHEMES:
        raise InvalidInput(
            f"SESSION_DB_URL begins with {scheme or 'no scheme'!r}; session-db needs PostgreSQL: postgresql://user:password@host:5432/database."
        )
    try:
        parts = urlsplit(url)
        # PostgreSQL's clients take several hosts, each with its port.
        _ = [urlsplit(f"//{place}").port for place in parts.netloc.rpartition("@")[2].split(",")]
    except ValueError:
        # Python's own message quotes the part that it did not understand, which may be a piece of the password.
        raise unreadable_url() from None
    if parts.fragment or "@" in parts.path or "@" in parts.query:
        raise unreadable_url()
    return parts


def _netloc_of(parts: SplitResult) -> str:
    """Return user, password and hosts; asyncpg takes the first @ for the end of the password."""
    credentials, at, places = parts.netloc.rpartition("@")
    return f"{credentials.replace('@', '%40')}{at}{places}"


def _query_of(parts: SplitResult) -> list[tuple[str, str]]:
    return parse_qsl(parts.query, keep_blank_values=True)
