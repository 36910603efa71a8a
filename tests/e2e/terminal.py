"""A program at a terminal, and a person who types and waits for what appears."""

import asyncio
import fcntl
import os
import pty
import re
import struct
import subprocess
import termios
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

SECONDS = 30
_SEQUENCES = re.compile(rb"\x1b(\[[0-9;?<>=]*[a-zA-Z]|\][^\x07\x1b]*(\x07|\x1b\\)|[()][A-Z0-9]|[=>78])")


class Terminal:
    """A terminal that a program runs at, inside the block."""

    def __init__(self, command: Sequence[str], directory: Path, environment: Mapping[str, str]) -> None:
        self._master, slave = pty.openpty()
        fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 40, 120, 0, 0))
        self._process = subprocess.Popen(
            command, cwd=directory, env=environment, stdin=slave, stdout=slave, stderr=slave, start_new_session=True
        )
        os.close(slave)
        os.set_blocking(self._master, False)
        self._output = b""

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._process.kill()
        self._process.wait()
        os.close(self._master)

    async def shows(self, words: str) -> None:
        """Wait until this stands on the screen; what stood there before the last line was typed does not count."""
        wanted = words.replace(" ", "")
        deadline = time.monotonic() + SECONDS
        while wanted not in self._seen():
            assert self._process.poll() is None, f"it ended: {self._seen()}"
            assert time.monotonic() < deadline, f"{words!r} does not appear: {self._seen()}"
            await asyncio.sleep(0.02)

    async def type(self, line: str) -> None:
        """Type a line and the return key, as slowly as a person: what comes at once is taken as pasted."""
        self._seen()
        self._output = b""
        os.write(self._master, line.encode())
        await self.shows(line)
        await asyncio.sleep(0.2)
        os.write(self._master, b"\r")

    async def ends(self) -> int:
        """Wait until the program ends, and return its exit status."""
        async with asyncio.timeout(SECONDS):
            while self._process.poll() is None:
                self._seen()
                await asyncio.sleep(0.02)
        return self._process.returncode

    def _seen(self) -> str:
        """Return what was written, without spaces: many are none, but a cursor that moves on."""
        try:
            while part := os.read(self._master, 65536):
                self._output += part
        except OSError:
            # Nothing more for now, or the program has ended.
            pass
        return _SEQUENCES.sub(b"", self._output).replace(b" ", b"").decode(errors="replace")
