"""Run the hook that captures an event, and an empty Python beside it, and print what the hook adds.

Run it on a machine that does nothing else: ``.venv/bin/python -m benchmarks.hooks``. It takes a few seconds.
"""

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from session_db.capture import hook

PYTHON = [sys.executable, "-I", "-S"]
EVENT = {"session_id": "s", "hook_event_name": "PreToolUse", "tool_name": "Write", "tool_input": {"content": "x" * 2000}}


def main() -> None:
    """Run both by turns, and print the medians and their ratio."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=100, help="how often each is run (100)")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as spool:
        commands = {"empty": [*PYTHON, "-c", "pass"], "hook": [*PYTHON, hook.__file__, str(Path(spool) / "spool")]}
        taken: dict[str, list[float]] = {name: [] for name in commands}
        for _ in range(options.runs):
            for name, command in commands.items():
                taken[name].append(_run(command))
    empty, whole = (statistics.median(seconds) for seconds in taken.values())
    print(f"python -I -S -c pass: {empty * 1000:.1f} ms; the hook: {whole * 1000:.1f} ms; ratio {whole / empty:.2f}")  # noqa: T201  it is what this is for


def _run(command: list[str]) -> float:
    began = time.perf_counter()
    subprocess.run(command, input=json.dumps(EVENT).encode(), check=True, stdout=subprocess.DEVNULL)  # noqa: S603  this Python
    return time.perf_counter() - began


if __name__ == "__main__":
    main()
