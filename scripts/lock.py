#!/usr/bin/env python3
"""Pin every dependency: lock files with hashes for ``make``, and the same versions in pyproject.toml for ``uv``.

``uv sync`` and ``uv run`` read no requirements file and would take the newest of everything; constraints hold them to the pins.
"""

import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parent.parent
PYPROJECT = ROOT / "pyproject.toml"
CONSTRAINTS = re.compile(r"^constraint-dependencies = \[\n.*?\]\n", re.MULTILINE | re.DOTALL)
COMPILE = [str(Path(sys.executable).with_name("uv")), "pip", "compile", "--quiet", "--universal", "--generate-hashes", "--no-header"]


def main(options: list[str]) -> None:
    """Write the lock files and the constraints; what is pinned already stays, unless ``--upgrade`` is asked for."""
    before = PYPROJECT.read_text()
    # uv builds the package itself when its version is one the build backend is asked for.
    uv = "uv" + before.partition('"uv_build')[2].partition('"')[0]
    compile_pins(["requirements-uv.txt", *options], stdin=uv, source="-")
    try:
        # uv would obey the constraints of yesterday.
        PYPROJECT.write_text(with_constraints(before, []))
        compile_pins(["requirements.lock", "--group", "dev", *options], source="pyproject.toml")
        compile_pins(["requirements-e2e.lock", "--constraint", "requirements.lock", *options], source="--group=e2e")
        pins = re.findall(r"^[a-z0-9].*?==[^\\\n]*", (ROOT / "requirements.lock").read_text(), re.MULTILINE)
        after = with_constraints(before, [pin.strip() for pin in pins])
    except BaseException:
        PYPROJECT.write_text(before)
        raise
    PYPROJECT.write_text(after)


def compile_pins(arguments: list[str], *, source: str, stdin: str | None = None) -> None:
    """Resolve ``source`` for every platform and every Python from 3.11 up."""
    command = [*COMPILE, "--python-version", "3.11", source, "-o", *arguments]
    done = subprocess.run(command, cwd=ROOT, check=False, input=stdin, text=True, stdout=subprocess.DEVNULL)  # noqa: S603 - our own uv.
    if done.returncode:
        sys.exit(f"uv could not write {arguments[0]}. It obeys UV_* variables and its own configuration, none of pip's.")


def with_constraints(pyproject: str, pins: list[str]) -> str:
    """Replace the generated list in pyproject.toml."""
    lines = "".join(f'  "{pin}",\n' for pin in pins)
    text, found = CONSTRAINTS.subn(lambda _: f"constraint-dependencies = [\n{lines}]\n", pyproject)
    if found != 1:
        sys.exit("pyproject.toml: [tool.uv] needs one constraint-dependencies list that opens and closes on lines of its own.")
    return text


if __name__ == "__main__":
    main(sys.argv[1:])
