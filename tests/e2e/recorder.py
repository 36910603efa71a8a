"""session-db beside a client: its hooks in the settings, and what they wrote brought to where it is drained."""

import asyncio
import json
import os
import subprocess
import sys
from collections.abc import Awaitable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from session_db.capture.drain import drain
from session_db.capture.spool import Spool
from session_db.settings import Settings
from tests.e2e.client import Client, client_program
from tests.e2e.scenarios import Played

COMMAND = Path(sys.executable).with_name("session-db")


async def session_db(environment: Mapping[str, str], *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run a command of ours, as a person would type it."""
    command = [str(COMMAND), *arguments]
    return await asyncio.to_thread(lambda: subprocess.run(command, env=environment, capture_output=True, text=True, check=False))


async def install_hooks(client: Client, home: Path, *arguments: str) -> None:
    """Install hooks as the client's user does."""
    environment = client.environment | {"SESSION_DB_HOME": str(home)}
    done = await session_db(environment, "hooks", "install", "--claude", str(client_program()), *arguments)
    assert done.returncode == 0, done.stderr


class Copies:
    """What the hooks wrote into one home, brought to several others that drain it each in its own order."""

    def __init__(self, home: Path, others: Iterable[Path]) -> None:
        self._new = home / "spool" / "new"
        self._others = [other / "spool" / "new" for other in others]
        for other in self._others:
            other.mkdir(parents=True)

    def bring(self) -> Iterator[None]:
        """Bring what is there now, one event after the other."""
        for path in sorted(self._new.iterdir()) if self._new.exists() else ():
            for other in self._others:
                os.link(path, other / path.name)
            path.unlink()
            yield

    @property
    def payloads(self) -> list[Any]:
        """What the client sent, as it waits in the last home."""
        spool = Spool(self._others[-1].parent)
        return [json.loads(spool.read(name).payload) for name in spool.names()]


async def drain_meanwhile(playing: Awaitable[Played], copies: Copies, settings: Settings) -> Played:
    """Drain after each event, while the client goes on, until it is done."""
    task = asyncio.ensure_future(playing)
    is_done = False
    while not is_done:
        is_done = task.done()
        for _ in copies.bring():
            await drain(settings)
        await asyncio.sleep(0.02)
    return await task
