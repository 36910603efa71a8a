"""Events that waited in the spool of another machine."""

import os
import tempfile
from datetime import UTC, datetime
from pathlib import Path

from session_db.capture import hook
from session_db.capture.spool import Captured, Spool

NAME = r"^[0-9a-f]{8}-[0-9]{20}-[0-9]{20}-[0-9]{1,10}$"
"""What a file of a spool is called."""


def captured_at(name: str) -> datetime:
    """Return when an event was captured, which its name tells."""
    return datetime.fromtimestamp(int(name.split("-")[2]) / 1e9, UTC)


def receive(spool: Spool, captured: Captured) -> None:
    """Put an event into this spool under the name that it had, so that it survives a crash; however often it comes it becomes one row."""
    temporary, new = (spool.directory / name for name in (hook.TEMPORARY, hook.NEW))
    for directory in (temporary, new):
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    facts = {"captured_at": captured.name.split("-")[2], "host": captured.host} | captured.environment
    descriptor, name = tempfile.mkstemp(dir=temporary)
    with os.fdopen(descriptor, "wb") as file:
        file.write(hook.header_of(facts) + captured.payload)
        file.flush()
        os.fsync(descriptor)
    Path(name).replace(new / captured.name)
    entry = os.open(new, os.O_RDONLY)
    try:
        os.fsync(entry)
    finally:
        os.close(entry)
