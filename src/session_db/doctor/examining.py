"""Examining: all checks in their order, and one examination at a time."""

import asyncio
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from session_db.database.url import shown_url
from session_db.doctor import client_checks, data_checks, machine_checks, server_checks
from session_db.doctor.checks import Check, Examination, Inspection
from session_db.settings import get_settings, origins

SETTINGS = (
    Inspection("settings", machine_checks.look_at_settings),
    Inspection("secrets", machine_checks.look_at_secrets, machine_checks.fix_secrets),
)
SERVER = Inspection("server", server_checks.look_at_server)
MIGRATIONS = Inspection("migrations", server_checks.look_at_migrations)
UPKEEP = (
    Inspection("upkeep", server_checks.look_at_upkeep),
    Inspection("connections", server_checks.look_at_connections),
)
TABLES = Inspection("tables", server_checks.look_at_tables, server_checks.fix_tables)
SPOOL = Inspection("spool", machine_checks.look_at_spool, machine_checks.fix_spool)
DATA = (
    Inspection("transcripts", data_checks.look_at_transcripts, data_checks.fix_transcripts),
    Inspection("client files", client_checks.look_at_client_files),
    Inspection("deleted sessions", data_checks.look_at_deleted, data_checks.fix_deleted),
    Inspection("agents", data_checks.look_at_agents, data_checks.fix_agents),
    Inspection("empty sessions", data_checks.look_at_empty),
    Inspection("tokens", data_checks.look_at_tokens),
    Inspection("ended tokens", data_checks.look_at_ended_tokens, data_checks.fix_ended_tokens),
)
MACHINE = (
    Inspection("hooks", machine_checks.look_at_hooks),
    Inspection("disk", machine_checks.look_at_disk),
)


async def examine(examination: Examination, tell: Callable[[str], None], *, everything: bool) -> None:
    """Make all checks; those of the tables where there are tables of this version."""
    await examination.make_all(SETTINGS)
    if await _is_ready(examination):
        # A counter that is too low refuses what waits in the spool, and what waits may be what the checks after it miss.
        counters = data_checks.Counters(everything=everything, tell=tell)
        await examination.make_all([TABLES, *counters.inspections, SPOOL, *DATA])
    else:
        await examination.make(replace(SPOOL, fix=None))
    await examination.make_all(MACHINE)


async def _is_ready(examination: Examination) -> bool:
    """Check the server, and say whether it has the tables of this version."""
    if (await examination.make(SERVER)).state == "failed":
        return False
    await examination.make_all(UPKEEP)
    return (await examination.make(MIGRATIONS)).state == "ok"


def shown_settings() -> dict[str, Any]:
    """Return each setting with its value, secrets masked, and where it is from."""
    settings = get_settings()
    values = settings.model_dump(mode="json") | {"url": shown_url(settings.url.get_secret_value()) if settings.url else None}
    return {name: {"value": values[name], "from": origin} for name, origin in origins(settings).items()}


class Examinations:
    """Examinations without a fix, one at a time: who asks meanwhile is told what that one finds."""

    def __init__(self) -> None:
        self._running: asyncio.Task[list[Check]] | None = None

    async def checks(self) -> list[Check]:
        """Examine, or wait for the examination that goes on, and return what it found."""
        if self._running is None or self._running.done():
            self._running = asyncio.create_task(_found(), name="session-db examination")
        # Who goes away must not end it for the others.
        return await asyncio.shield(self._running)


async def _found() -> list[Check]:
    def tell(_: str) -> None:
        """Nobody looks on."""

    examination = Examination(fixes_too=False, tell=tell)
    await examine(examination, tell, everything=False)
    return examination.checks
