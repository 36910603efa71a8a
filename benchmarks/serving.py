"""``session-db serve`` in a process of its own, to be measured."""

import asyncio
import json
import os
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

COMMAND = Path(sys.executable).with_name("session-db")


@dataclass(frozen=True)
class Service:
    """The service that is measured."""

    url: str
    token: str
    pid: int
    login_url: str

    @property
    def headers(self) -> dict[str, str]:
        return {"Authorization": f"Bearer {self.token}"}

    def memory(self) -> int:
        """Return the bytes of memory that it has to itself."""
        fields = dict(line.split(":", 1) for line in Path(f"/proc/{self.pid}/smaps_rollup").read_text().splitlines()[1:])
        return 1024 * sum(int(fields[name].split()[0]) for name in ("Private_Clean", "Private_Dirty"))


@asynccontextmanager
async def serving(home: Path) -> AsyncIterator[Service]:
    """Run the service on the embedded database of a home."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("SESSION_DB_", "TOOLER_DB_", "DB_"))}
    process = await asyncio.create_subprocess_exec(
        COMMAND,
        "serve",
        "--port",
        "0",
        "--json",
        env=environment | {"SESSION_DB_HOME": str(home)},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.DEVNULL,
    )
    try:
        yield _service(await _first_object(process), process.pid)
    finally:
        process.send_signal(signal.SIGTERM)
        await process.wait()


async def _first_object(process: Any) -> dict[str, str]:
    """Read what ``serve --json`` prints when it is there."""
    text = ""
    while not text.endswith("}\n"):
        text += (await process.stdout.readline()).decode()
    printed: dict[str, str] = json.loads(text)
    return printed


def _service(printed: dict[str, str], pid: int) -> Service:
    return Service(printed["url"], Path(printed["token_file"]).read_text().strip(), pid, printed["login_url"])
