"""PostgreSQL's own programs: where they are, and how they reach the database with no secret in their arguments."""

import asyncio
import os
import re
import shutil
import subprocess
import sys
from asyncio.subprocess import DEVNULL, PIPE, Process
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import asynccontextmanager
from functools import lru_cache
from pathlib import Path
from typing import Any

from session_db.database.connection import connect_to_listen, embedded_server
from session_db.database.tunnel import tls_tunnel
from session_db.errors import EmbeddedServerError, Unavailable
from session_db.settings import get_settings

READ_BYTES = 1 << 18
"""How much of a program's output is taken at once."""


def find_program(name: str, *, server: int = 0) -> Path:
    """Return PostgreSQL's program of that name that knows a server of that major version: ours, or else the one in ``PATH``.

    Raises:
        Unavailable: there is none.
    """
    programs = _programs(name)
    found = next((path for path, version in programs.items() if version >= server), None)
    if found is not None:
        return found
    newest = f"the newest {name} here is of {max(programs.values())}" if programs else f"there is no {name} here"
    wanted = f"PostgreSQL {server}" if server else "PostgreSQL"
    raise Unavailable(f"{newest}: install the client programs of {wanted}, or move the rows with session-db export --all.")


@lru_cache
def _programs(name: str) -> dict[Path, int]:
    """Return the programs of that name with their major versions, ours first."""
    in_path = shutil.which(name)
    candidates = [path for path in (_ours(name), Path(in_path) if in_path else None) if path is not None]
    return {path: version for path in candidates if (version := _major_version(path))}


def _ours(name: str) -> Path | None:
    if sys.platform == "win32":
        return None
    from session_db.database.embedded.installation import wheel_program  # noqa: PLC0415  see embedded_server

    try:
        return wheel_program(name)
    except EmbeddedServerError:
        return None


def _major_version(program: Path) -> int:
    try:
        output = subprocess.run([program, "--version"], check=True, capture_output=True, text=True).stdout  # noqa: S603  PostgreSQL's own.
    except (OSError, subprocess.SubprocessError):
        return 0
    found = re.search(r"\(PostgreSQL\) (\d+)", output)
    return int(found[1]) if found else 0


@asynccontextmanager
async def program_output(
    command: list[str | Path], failed: Callable[[str], Exception], **options: Any
) -> AsyncIterator[AsyncGenerator[bytes]]:
    """Run one of the programs, which does not outlive the block, and give what it prints, piece by piece.

    Where it fails, the end of the pieces is what ``failed`` makes of its complaint.
    """
    options = {"env": environment()} | options
    process = await asyncio.create_subprocess_exec(*command, stdin=DEVNULL, stdout=PIPE, stderr=PIPE, limit=READ_BYTES, **options)
    complaint = asyncio.create_task(_all_of(process.stderr))
    pieces = _pieces(process, complaint, failed)
    try:
        yield pieces
    finally:
        await pieces.aclose()
        if process.returncode is None:
            process.kill()
        await _all_of(process.stdout)
        await complaint
        await process.wait()


async def _pieces(process: Process, complaint: asyncio.Task[bytes], failed: Callable[[str], Exception]) -> AsyncGenerator[bytes]:
    while process.stdout is not None and (piece := await process.stdout.read(READ_BYTES)):
        yield piece
    if await process.wait():
        raise failed((await complaint).decode(errors="replace").strip())


async def _all_of(stream: asyncio.StreamReader | None) -> bytes:
    return b"" if stream is None else await stream.read()


def environment() -> dict[str, str]:
    """Return our environment without what PostgreSQL's programs would take from it."""
    return {name: value for name, value in os.environ.items() if not name.startswith("PG")} | {"LC_ALL": "C"}


@asynccontextmanager
async def reaching_database() -> AsyncIterator[dict[str, Any]]:
    """Give what a program must be started with to reach the database of the settings, without a pooler between.

    Raises:
        Unavailable: it cannot be reached, or a pooler stands between: what a program sets there would be somebody else's next.
    """
    settings = get_settings()
    if settings.url is None:
        server = embedded_server(settings.home)
        await asyncio.to_thread(server.acquire)
        yield server.program_options
        return
    connection = await connect_to_listen()
    try:
        if connection.get_server_pid() != await connection.fetchval("SELECT pg_backend_pid()"):
            raise Unavailable(
                "between session-db and PostgreSQL stands a pooler, through which pg_dump cannot work: "
                "set SESSION_DB_LISTEN_URL to the database without the pooler."
            )
        # What asyncpg made of the URL, the environment and the password file; of several hosts it is the one that answered.
        address, parameters = connection._addr, connection._params  # noqa: SLF001
        is_encrypted = connection._transport.get_extra_info("ssl_object") is not None  # noqa: SLF001
    finally:
        await connection.close()
    variables = {"PGUSER": parameters.user, "PGDATABASE": parameters.database, "PGSSLMODE": "disable", "PGPASSFILE": os.devnull}
    if parameters.password:
        variables["PGPASSWORD"] = parameters.password
    async with _way_to(address, parameters.ssl if is_encrypted else None) as place:
        yield {"env": environment() | variables | place}


@asynccontextmanager
async def _way_to(address: Any, context: Any) -> AsyncIterator[dict[str, str]]:
    if isinstance(address, str):
        directory, _, port = address.rpartition("/.s.PGSQL.")
        yield {"PGHOST": directory, "PGPORT": port}
    elif context is None:
        yield {"PGHOST": address[0], "PGPORT": str(address[1])}
    else:
        # Our programs know no TLS, and what they are told need not be what asyncpg made of the URL.
        host, number = address
        async with tls_tunnel(host, number, context) as socket_directory:
            yield {"PGHOST": str(socket_directory), "PGPORT": "5432"}
