"""The checks of ``doctor`` that ask how the server and the tables are."""

import re

from session_db.database import current_revision, database_facts
from session_db.database.flaws import list_flaws, mend, mending
from session_db.database.health import server_health
from session_db.database.shown import revision_state, where
from session_db.doctor.checks import FIX, Check, State, some_of
from session_db.errors import SessionDBError

OLDEST_VERSION = 15
"""The first major version of PostgreSQL that session-db runs on."""

OLD_TRANSACTIONS, OLDEST_TRANSACTIONS = 1_000_000_000, 1_800_000_000
"""Transactions since the oldest that is not frozen: the server should have done that before the first, and stops writing at 2.1 billion."""

_FULL = 0.8
"""Which part of the server's connections may be open."""


async def look_at_server() -> Check:
    """Say whether the server answers, and is one that session-db runs on."""
    try:
        facts = await database_facts()
    except SessionDBError as error:
        return Check("server", "failed", error.message, "Start the server, or correct SESSION_DB_URL.")
    found = f"PostgreSQL {facts.version}, {facts.size_bytes / 1024**2:.1f} MiB in {where()}"
    # 18.4 (Debian …), or 19beta1.
    if int(re.sub("[^0-9].*", "", facts.version)) < OLDEST_VERSION:
        return Check("server", "failed", found, f"Use PostgreSQL {OLDEST_VERSION} or newer.")
    return Check("server", "ok", found)


async def look_at_migrations() -> Check:
    found, remedy = revision_state(await current_revision())
    return Check("migrations", "ok" if remedy is None else "warning", found, remedy)


async def look_at_upkeep() -> Check:
    """Say whether the server cleans up, so that tables do not swell and transaction ids do not run out."""
    health = await server_health()
    found = f"the oldest transaction is {health.transaction_age:,} transactions old"
    if health.transaction_age >= OLD_TRANSACTIONS:
        state: State = "failed" if health.transaction_age >= OLDEST_TRANSACTIONS else "warning"
        remedy = "End old transactions, prepared ones and replication slots that nobody uses, and run VACUUM FREEZE in each database."
        return Check("upkeep", state, f"{found}, and at 2.1 billion the server takes no writes", remedy)
    if not health.autovacuum:
        return Check("upkeep", "warning", f"autovacuum is off; {found}", "Set autovacuum = on in the server's configuration.")
    if health.tables_without_autovacuum:
        tables = health.tables_without_autovacuum
        remedy = " ".join(f"ALTER TABLE {table} RESET (autovacuum_enabled);" for table in tables)
        return Check("upkeep", "warning", f"autovacuum is off for {', '.join(tables)}; {found}", remedy)
    return Check("upkeep", "ok", f"autovacuum is on; {found}")


async def look_at_connections() -> Check:
    health = await server_health()
    found = f"{health.connections} of {health.max_connections} are open"
    if health.connections < _FULL * health.max_connections:
        return Check("connections", "ok", found)
    remedy = "Close some, lower SESSION_DB_POOL_SIZE and SESSION_DB_MAX_OVERFLOW of each process, or raise max_connections."
    return Check("connections", "warning", found, remedy)


async def look_at_tables() -> Check:
    """Say whether all indexes and constraints of this version are there and hold."""
    flaws = await list_flaws()
    if not flaws:
        return Check("tables", "ok", "all columns, indexes and constraints are there and hold")
    waiting = [flaw for flaw in flaws if flaw.is_safe and flaw.statement is None]
    by_hand = [flaw.statement or "session-db restore with a backup" for flaw in flaws if not flaw.is_safe]
    remedies = [FIX] if len(by_hand) + len(waiting) < len(flaws) else []
    remedies += [f"By hand: {some_of(by_hand)}"] if by_hand else []
    remedies += ["Wait until what is being built is done, and look again."] if waiting else []
    state: State = "warning" if len(waiting) == len(flaws) else "failed"
    return Check("tables", state, some_of([flaw.problem for flaw in flaws]), " ".join(remedies))


async def fix_tables() -> str | None:
    """Mend one flaw after the other; one that cannot be mended stays, and the next look tells of it."""
    done: list[str] = []
    errors: list[str] = []
    async with mending():
        for flaw in [flaw for flaw in await list_flaws() if flaw.is_safe and flaw.statement is not None]:
            # Each takes its time, in which somebody may have begun to build the next one.
            if flaw not in await list_flaws():
                continue
            try:
                await mend(flaw)
                done.append(str(flaw.statement))
            except SessionDBError as error:
                errors.append(f"not done: {error.message}")
    return "; ".join([*done, *errors]) or None
