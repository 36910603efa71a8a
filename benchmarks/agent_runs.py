"""Let Claude Code work through many calls of tools without hooks and with them, by turns, and print what the hooks add to the run.

Run it on a machine that does nothing else, after ``make e2e`` has installed the client:
``.venv/bin/python scripts/loopback_only.py .venv/bin/python -m benchmarks.agent_runs``. It takes about two minutes. The model is a
scripted one that answers at once, so the run is as short as it can be, and what hooks add as large a part of it.
"""

import argparse
import asyncio
import json
import os
import shlex
import shutil
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from pathlib import Path

from tests.api.serving import Service, serving
from tests.e2e.client import Client
from tests.e2e.model import call, scripted_model, text
from tests.e2e.recorder import install_hooks

MARKER = "[[work]]"
EMPTY = shlex.join([sys.executable, "-I", "-S", "-c", "pass"])
"""What a process costs that does nothing: less is no hook in Python."""

Prepare = Callable[[Client], Awaitable[None]]


def main() -> None:
    """Run all variants by turns, and print the fastest run of each and their ratios: whatever else runs only makes one slower."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=7, help="runs of each variant (7)")
    parser.add_argument("--calls", type=int, default=40, help="calls of a tool in a run, one after the other (40)")
    options = parser.parse_args()
    home = Path(tempfile.mkdtemp(prefix="sdb-"))
    home.chmod(0o711)
    try:
        asyncio.run(_measure(home, options.runs, options.calls))
    finally:
        shutil.rmtree(home, ignore_errors=True)


async def _measure(home: Path, runs: int, calls: int) -> None:
    async with AsyncExitStack() as services:
        environment = {"PATH": os.environ["PATH"], "SESSION_DB_HOME": str(home), "SESSION_DB_CLAUDE_DIRS": str(home)}
        service = await services.enter_async_context(serving(home, environment))
        variants = _variants(home, service)
        seconds: dict[str, list[float]] = {name: [] for name in variants}
        for number in range(runs):
            for name, prepare in variants.items():
                directory = home / f"{name} {number}"
                seconds[name].append(await _run(directory, prepare, calls, service.token))
        await service.end()
    _report({name: min(taken) for name, taken in seconds.items()}, len(_spooled(home / "spooled")) / runs, calls)


def _variants(home: Path, service: Service) -> dict[str, Prepare]:
    async def no_hooks(_: Client) -> None:
        """Leave the client as it is."""

    async def spool(client: Client) -> None:
        await install_hooks(client, home / "spooled")

    async def empty(client: Client) -> None:
        await spool(client)
        settings = client.configuration / "settings.json"
        hooks = json.loads(settings.read_text())
        for groups in hooks["hooks"].values():
            groups[0]["hooks"][0]["command"] = EMPTY
        settings.write_text(json.dumps(hooks))

    async def http(client: Client) -> None:
        await install_hooks(client, home, "--transport", "http", "--url", service.url)

    return {"no hooks": no_hooks, "empty processes": empty, "spool": spool, "http": http}


async def _run(directory: Path, prepare: Prepare, calls: int, token: str) -> float:
    """Let a client of its own work, and return how long it took."""
    with scripted_model() as model:
        client = Client(directory, model, {"SESSION_DB_TOKEN": token})
        await prepare(client)
        steps = [[call("Bash", command="true", description="Do nothing")] for _ in range(calls)]
        model.answers(MARKER, *steps, [text("Done.")])
        began = time.perf_counter()
        run = await client.run(f"{MARKER} Go.", "--allowedTools", "Bash")
        taken = time.perf_counter() - began
    if run.exit_code or run.result["result"] != "Done.":
        raise RuntimeError(f"the client did not do its work: {run.errors}")
    return taken


def _spooled(home: Path) -> list[Path]:
    return list((home / "spool" / "new").iterdir())


def _report(fastest: dict[str, float], hooks: float, calls: int) -> None:
    bare = fastest["no hooks"]
    starts = fastest["empty processes"] - bare
    print(f"{calls} calls of a tool, {hooks:.0f} hooks; {starts / hooks * 1000:.1f} ms for each process that does nothing")  # noqa: T201  it is what this is for
    for name, seconds in fastest.items():
        print(f"{name}: {seconds:.2f} s, {seconds / bare:.2f} times the run without hooks")  # noqa: T201  it is what this is for
    print(f"spool without what its processes cost: {(fastest['spool'] - starts) / bare:.2f} times the run without hooks")  # noqa: T201  it is what this is for


if __name__ == "__main__":
    main()
