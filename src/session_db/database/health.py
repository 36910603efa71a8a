"""How a server is, so that it can go on: its upkeep, its transaction ids, its connections."""

from dataclasses import dataclass

from sqlalchemy import text

from session_db.database.connection import create_engine
from session_db.models import METADATA
from session_db.settings import get_settings

# Readable by everybody: pg_stat_activity shows other users' connections to few.
_CONNECTIONS = "(SELECT coalesce(sum(numbackends), 0)::bigint FROM pg_stat_database)"
_AGE = "(SELECT max(greatest(age(datfrozenxid), mxid_age(datminmxid))) FROM pg_database WHERE datallowconn)"
_UNKEPT = """
    (SELECT coalesce(array_agg(relname::text ORDER BY relname), '{}') FROM pg_class
     WHERE relnamespace = current_schema()::regnamespace AND relname = ANY(CAST(:tables AS text[]))
       AND NOT coalesce((SELECT option_value::bool FROM pg_options_to_table(reloptions) WHERE option_name = 'autovacuum_enabled'), true))
"""
_HEALTH = text(f"""
    SELECT current_setting('autovacuum')::bool AS autovacuum, {_UNKEPT} AS tables_without_autovacuum, {_AGE} AS transaction_age,
           {_CONNECTIONS} AS connections, current_setting('max_connections')::bigint AS max_connections
""")


@dataclass(frozen=True)
class ServerHealth:
    """What the server says of its upkeep.

    Attributes:
        autovacuum: whether it cleans up by itself.
        tables_without_autovacuum: tables of ours that are left out of that.
        transaction_age: transactions since the oldest that is not frozen, of all databases; at about 2 billion it takes no writes any more.
        connections: how many are open, of all users.
        max_connections: how many it takes.
    """

    autovacuum: bool
    tables_without_autovacuum: list[str]
    transaction_age: int
    connections: int
    max_connections: int


async def server_health() -> ServerHealth:
    """Ask the server how it is; from catalogs and counters alone."""
    engine = create_engine(get_settings(), pooled=False)
    try:
        async with engine.connect() as connection:
            row = (await connection.execute(_HEALTH, {"tables": sorted(METADATA.tables)})).mappings().one()
            return ServerHealth(**row)
    finally:
        await engine.dispose()
