"""Spool the payload of a hook: Claude Code runs ``python -I -S hook.py SPOOL`` for each event.

A script of its own, standard library only: it has to be over before an agent notices it. It prints nothing, because the model would read
it, and ends with 0 whatever happens, because another code may stop the agent. ``capture/spool.py`` reads what it writes.
"""

import sys
import time

try:
    # Built in: os, which wraps it, takes as long to be imported as all the rest takes to run.
    import posix as system
except ImportError:
    import os as system  # type: ignore[no-redef]

KEPT = (
    "SESSION_DB_SESSION", "SESSION_DB_AGENT_TYPE", "SESSION_DB_CHECKPOINT", "SESSION_DB_RECORDER",
    "CLAUDE_CODE_ENTRYPOINT", "CLAUDE_CONFIG_DIR", "CLAUDE_PID", "CLAUDE_PROJECT_DIR",
)  # fmt: skip
"""Variables that say whose event it is."""

TEMPORARY, NEW = "tmp", "new"


def write(directory: str, payload: bytes, environment: "dict[str, str]", host: str) -> str:
    """Put a payload into the spool, whole or not at all, and return the name of its file.

    The name sorts by the time since the machine was started, which nobody sets back.
    """
    for name in (TEMPORARY, NEW):
        _make_directory(f"{directory}/{name}")
    clock = getattr(time, "CLOCK_BOOTTIME", getattr(time, "CLOCK_MONOTONIC", None))
    since_boot = time.monotonic_ns() if clock is None else time.clock_gettime_ns(clock)
    captured_at = time.time_ns()
    facts = {"captured_at": str(captured_at), "host": host} | {name: environment[name] for name in KEPT if name in environment}
    while True:
        name = f"{_boot()}-{since_boot:020d}-{captured_at:020d}-{system.getpid()}"
        temporary = f"{directory}/{TEMPORARY}/{name}"
        try:
            file = system.open(temporary, system.O_WRONLY | system.O_CREAT | system.O_EXCL, 0o600)
            break
        except FileExistsError:
            since_boot += 1
    try:
        try:
            _write_all(file, header_of(facts) + payload)
        finally:
            system.close(file)
        system.rename(temporary, f"{directory}/{NEW}/{name}")
    except BaseException:
        system.unlink(temporary)
        raise
    return name


def header_of(facts: "dict[str, str]") -> bytes:
    """Return what a file of the spool begins with."""
    return "".join(f"{name}={value.encode('unicode_escape').decode()}\n" for name, value in facts.items()).encode() + b"\n"


def _make_directory(name: str) -> None:
    """Make a directory, and what is missing above it; others may do so at the same moment."""
    try:
        system.mkdir(name, 0o700)
    except FileExistsError:
        return
    except FileNotFoundError:
        _make_directory(name.rpartition("/")[0] or "/")
        try:
            system.mkdir(name, 0o700)
        except FileExistsError:
            return


def _boot() -> str:
    """Return which start of the machine this is, as far as it tells."""
    try:
        with open("/proc/sys/kernel/random/boot_id", "rb") as file:
            return file.read(8).decode()
    except OSError:
        return "00000000"


def _write_all(file: int, data: bytes) -> None:
    rest = memoryview(data)
    while rest:
        rest = rest[system.write(file, rest) :]


def _read_all(file: int) -> bytes:
    chunks = []
    while chunk := system.read(file, 1 << 20):
        chunks.append(chunk)
    return b"".join(chunks)


def _text(value: "bytes | str") -> str:
    """Return a variable as text; of the built-in module it is bytes."""
    return value.decode(errors="surrogateescape") if isinstance(value, bytes) else value


def main() -> None:
    variables = {_text(name): _text(value) for name, value in system.environ.items()}
    if not variables.get("SESSION_DB_RECORDER"):
        system.umask(0o077)
        host = system.uname().nodename if hasattr(system, "uname") else variables.get("COMPUTERNAME", "")
        write(sys.argv[1], _read_all(0), variables, host)


if __name__ == "__main__":
    try:
        main()
    except BaseException:
        pass
    # At once: nothing is left to be tidied up, and nothing may be said any more.
    system._exit(0)
