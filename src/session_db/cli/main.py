"""The ``session-db`` command: how the process begins and ends, whatever the command does."""

import errno
import io
import os
import sys
from contextlib import suppress

INTERRUPTED = 130


def run() -> None:
    """Run the command line."""
    if isinstance(sys.stdout, io.TextIOWrapper):
        # An encoding without the character is no reason to print nothing; standard error replaces by itself.
        sys.stdout.reconfigure(errors="replace")
    try:
        _run()
    except KeyboardInterrupt:
        sys.exit(INTERRUPTED)
    except OSError as error:
        _let_go_of_output()
        if error.errno != errno.EPIPE:
            with suppress(OSError):
                sys.stderr.write(f"Error: {error}\n")
        sys.exit(1)


def _run() -> None:
    # It takes a second, in which somebody may press Ctrl-C.
    from session_db.cli.app import app  # noqa: PLC0415

    try:
        app()
    finally:
        # Here rather than when Python ends: a full disk or a closed pipe is an error of ours until then.
        if sys.stdout is not None:
            sys.stdout.flush()


def _let_go_of_output() -> None:
    """Send what is still to be written nowhere, or Python fails on it once more when it ends."""
    with suppress(OSError, ValueError, AttributeError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
