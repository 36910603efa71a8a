"""Ask the service while many readers follow its sessions, and print what those who ask notice of it, and what a reader costs.

Run it on a machine that does nothing else: ``.venv/bin/python -m benchmarks.readers``. It takes about two minutes.
The service is ``session-db serve`` in a process of its own, its database the embedded one in a home that is made for the run.
"""

import argparse
import asyncio
import itertools
import os
import shutil
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx

from benchmarks.serving import Service, serving

EVENT = {"event_category": "hook", "event_type": "PreToolUse", "payload": {"input": "x" * 1000}}
MESSAGE = {"role": "user", "content": "Make the kick punchier"}


def main() -> None:
    """Measure without readers, with them, and without them again, and print it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--readers", type=int, default=500, help="streams that are open and idle (500)")
    parser.add_argument("--sessions", type=int, default=100, help="sessions that they follow (100)")
    parser.add_argument("--rate", type=float, default=50, help="requests a second (50)")
    parser.add_argument("--seconds", type=float, default=30, help="how long each is measured (30)")
    options = parser.parse_args()
    home = Path(tempfile.mkdtemp(prefix="sdb-"))
    home.chmod(0o711)
    try:
        asyncio.run(_measure(home / "h", options))
    finally:
        shutil.rmtree(home, ignore_errors=True)


async def _measure(home: Path, options: argparse.Namespace) -> None:
    async with serving(home) as service, httpx.AsyncClient(base_url=service.url, headers=service.headers) as client:
        followed = [await _new_session(client) for _ in range(options.sessions)]
        asked = [await _new_session(client) for _ in range(20)]
        await _ask(client, asked, options.rate, 5)
        print(f"load {os.getloadavg()[0]:.1f}; {options.rate:g} requests a second for {options.seconds:g} s each")  # noqa: T201  it is what this is for
        alone = _print("without readers", await _ask(client, asked, options.rate, options.seconds))
        before = service.memory()
        readers = await asyncio.gather(
            *(_follow(service, session_id) for session_id, _ in zip(itertools.cycle(followed), range(options.readers), strict=False))
        )
        await asyncio.sleep(3)
        a_reader = (service.memory() - before) / len(readers)
        beside = _print(f"beside {len(readers)} idle readers", await _ask(client, asked, options.rate, options.seconds))
        for _, writer in readers:
            writer.close()
        again = _print("without readers again", await _ask(client, asked, options.rate, options.seconds))
        ratio = beside / statistics.mean((alone, again))
        print(f"p99 beside them / p99 without: {ratio:.2f}; memory of the service: {a_reader / 1024:.0f} kB a reader")  # noqa: T201


async def _new_session(client: httpx.AsyncClient) -> str:
    answer = await client.post("/api/sessions", json={"agent_name": "strudel"})
    session_id: str = answer.raise_for_status().json()["session_id"]
    return session_id


async def _follow(service: Service, session_id: str) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """Open a stream, and read until it is told how the session stands."""
    address = urlsplit(service.url)
    reader, writer = await asyncio.open_connection(address.hostname, address.port)
    lines = [f"GET /api/sessions/{session_id}/events HTTP/1.1", f"Host: {address.netloc}", f"Authorization: Bearer {service.token}", "", ""]
    writer.write("\r\n".join(lines).encode())
    await reader.readuntil(b"event: session\n")
    return reader, writer


async def _ask(client: httpx.AsyncClient, session_ids: list[str], rate: float, seconds: float) -> list[float]:
    """Send requests at their moments, whether those before are answered or not, and return how long each took from its moment on."""
    began, kinds = time.perf_counter(), itertools.cycle(session_ids)

    async def one(number: int) -> float:
        moment = began + number / rate
        await asyncio.sleep(max(0, moment - time.perf_counter()))
        (await _request(client, number, next(kinds))).raise_for_status()
        return time.perf_counter() - moment

    return await asyncio.gather(*(one(number) for number in range(int(rate * seconds))))


async def _request(client: httpx.AsyncClient, number: int, session_id: str) -> Any:
    """Send one of four: append an event, append a message, read a page of messages, list sessions."""
    if number % 4 == 0:
        return await client.post(f"/api/events/{session_id}", json={"events": [EVENT]})
    if number % 4 == 1:
        return await client.post(f"/api/messages/{session_id}", json={"messages": [MESSAGE]})
    return await client.get(f"/api/messages/{session_id}" if number % 4 == 2 else "/api/sessions")


def _print(name: str, seconds: list[float]) -> float:
    quantiles = statistics.quantiles(seconds, n=100)
    print(f"{name}: p50 {quantiles[49] * 1000:.1f} ms, p99 {quantiles[98] * 1000:.1f} ms, of {len(seconds)}")  # noqa: T201
    return quantiles[98]


if __name__ == "__main__":
    main()
