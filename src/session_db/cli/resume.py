"""The command ``resume``: go on with a recorded session, on any machine."""

import os
import shutil
from pathlib import Path
from typing import Annotated

import typer

from session_db.capture.restoring import Restored, restore
from session_db.capture.resuming import Resumption, find_one, resumption_in
from session_db.cli.inputs import JSON
from session_db.cli.output import messages_console, print_json
from session_db.cli.running import fail, refuse_bytes, run
from session_db.cli.sessions import Key, WorkingDir, find_session
from session_db.database import get_async_session
from session_db.errors import InvalidInput, NotFound


def add_to(app: typer.Typer) -> None:
    """Add the command to the command line."""
    app.command()(resume)


def resume(  # noqa: PLR0913, PLR0917  each is an option
    key: Key,
    working_dir: WorkingDir = None,
    directory: Annotated[Path | None, typer.Option("--in", metavar="DIR", help="Go on in this directory; unset: where it worked.")] = None,
    sdk_session: Annotated[str | None, typer.Option(metavar="ID", help="The client's session, where several are in this one.")] = None,
    phase: Annotated[str | None, typer.Option(help="Go on with the last agent of this type: spec, plan, build, …")] = None,
    only_print: Annotated[bool, typer.Option("--print", help="Print the command instead of running it.")] = False,  # noqa: FBT002
    as_json: JSON = False,  # noqa: FBT002  a command-line flag
) -> None:
    """Go on with a session in Claude Code. Its files are put back where they are missing.

    Those of its sub-agents come back, too.
    """
    if phase is not None and sdk_session is not None:
        fail(InvalidInput("--phase and --sdk-session are both given; give one of them."), as_json=as_json)

    if phase == "":
        fail(InvalidInput("--phase is empty; name the type of an agent, e.g. --phase build."), as_json=as_json)

    async def work() -> tuple[Resumption, Restored]:
        refuse_bytes(phase=phase, sdk_session=sdk_session)
        async with get_async_session() as db:
            session = await find_session(db, key, working_dir)
            resumable = await find_one(db, session, sdk_session=sdk_session, phase=phase)
            here = _existing(directory, resumable.directory)
            restored = await restore(db, session.id, resumable, _projects(), here)
            return resumption_in(here, resumable), restored

    resumption, restored = run(work, as_json=as_json)
    if as_json:
        files = {"written": [str(path) for path in restored.written], "kept": [str(path) for path in restored.kept]}
        print_json({"directory": resumption.directory, "command": resumption.command, **files})
    elif only_print:
        print(resumption.shell)  # noqa: T201  it is what a command is for
    else:
        _run(resumption.command, resumption.directory, restored)


def _existing(named: Path | None, worked_in: str) -> str:
    directory = named or Path(worked_in)
    if not directory.is_dir():
        raise NotFound(f"there is no directory {directory} on this machine; name another one with --in.", directory=str(directory))
    # The client names its folder by where a link leads to.
    return str(directory.resolve())


def _run(command: list[str], directory: str, restored: Restored) -> None:
    program = shutil.which(command[0])
    if program is None:
        fail(
            InvalidInput("there is no command claude on this machine; install Claude Code, or see the command with --print."), as_json=False
        )
    if restored.written:
        messages_console().print(f"{len(restored.written)} files were put back.")
    try:
        os.chdir(directory)
        os.execv(program, command)  # noqa: S606  it is what the command is for
    except OSError as error:
        fail(InvalidInput(f"{program} cannot be started in {directory}: {error.strerror}."), as_json=False)


def _projects() -> Path:
    return Path(os.environ.get("CLAUDE_CONFIG_DIR") or "~/.claude").expanduser() / "projects"
