"""The commands ``memory list|add|set|remove``: the memory files of a session."""

from collections.abc import Awaitable, Callable
from typing import Annotated

import typer
from rich.table import Table
from rich.text import Text

from session_db.cli.inputs import JSON, Cursor, Limit
from session_db.cli.output import ago, console, is_narrow, page_json, print_json, quoted
from session_db.cli.output import as_json as model_json
from session_db.cli.running import refuse_bytes, run
from session_db.cli.sessions import Key, WorkingDir, find_session
from session_db.crud import (
    Page,
    create_memory_file,
    delete_memory_file,
    get_memory_file_by_path,
    get_session_memory_files,
    update_memory_file,
)
from session_db.database import UnitOfWork, get_async_session, in_transaction
from session_db.errors import InvalidInput, NotFound
from session_db.lines import one_line
from session_db.models import MemoryFile, MemoryFileCreate, MemoryFileRead, MemoryFileUpdate

app = typer.Typer(help="List, add, change and remove the memory files of a session.", no_args_is_help=True)

FilePath = Annotated[str, typer.Argument(metavar="PATH", help="Path of the memory file, as it is listed.")]


@app.command("list")
def list_(
    key: Key,
    working_dir: WorkingDir = None,
    limit: Limit = 50,
    cursor: Cursor = None,
    as_json: JSON = False,  # noqa: FBT002  a command-line flag
) -> None:
    """List the memory files of a session, the first added first."""

    async def load_page() -> Page[MemoryFile]:
        refuse_bytes(cursor=cursor)
        async with get_async_session() as db:
            session = await find_session(db, key, working_dir)
            return await get_session_memory_files(db, session.id, limit=limit, cursor=cursor)

    page = run(load_page, as_json=as_json)
    if as_json:
        print_json(page_json(map(MemoryFileRead.model_validate, page), page.next_cursor))
    elif page:
        _print_page(page, key)
    else:
        hint = "No more memory files." if cursor else f"No memory files yet. session-db memory add {quoted(key)} PATH adds one."
        console().print(Text(hint), soft_wrap=True)


@app.command()
def add(  # noqa: PLR0913, PLR0917  each is an option
    key: Key,
    path: FilePath,
    working_dir: WorkingDir = None,
    primary: Annotated[bool, typer.Option("--primary", help="The session's main memory file; another one loses the flag.")] = False,  # noqa: FBT002
    loaded: Annotated[bool, typer.Option("--loaded/--no-loaded", help="Whether it is loaded now.")] = True,  # noqa: FBT002
    as_json: JSON = False,  # noqa: FBT002  a command-line flag
) -> None:
    """Add a memory file to a session. The file itself is not read."""

    async def create(db: UnitOfWork) -> MemoryFile:
        session = await find_session(db, key, working_dir)
        data = {"session_id": session.id, "file_path": path, "is_primary": primary, "loaded": loaded}
        return await create_memory_file(db, MemoryFileCreate.model_validate(data))

    _print_file("Added", _changed(create, path, as_json=as_json), as_json=as_json)


@app.command("set")
def set_(  # noqa: PLR0913, PLR0917  each is an option
    key: Key,
    path: FilePath,
    working_dir: WorkingDir = None,
    primary: Annotated[bool | None, typer.Option("--primary/--no-primary", help="Whether it is the session's main one.")] = None,
    loaded: Annotated[bool | None, typer.Option("--loaded/--no-loaded", help="Whether it is loaded now.")] = None,
    as_json: JSON = False,  # noqa: FBT002  a command-line flag
) -> None:
    """Change whether a memory file is the main one, and whether it is loaded."""
    given = {name: value for name, value in (("is_primary", primary), ("loaded", loaded)) if value is not None}

    async def update(db: UnitOfWork) -> MemoryFile:
        if not given:
            raise InvalidInput("nothing to change; use --primary, --no-primary, --loaded or --no-loaded.")
        found = await _find(db, key, path, working_dir)
        changed = await update_memory_file(db, found.id or 0, MemoryFileUpdate.model_validate(given))
        if changed is None:
            raise _unknown(key, path)
        return changed

    _print_file("Changed", _changed(update, path, as_json=as_json), as_json=as_json)


@app.command()
def remove(
    key: Key,
    path: FilePath,
    working_dir: WorkingDir = None,
    as_json: JSON = False,  # noqa: FBT002  a command-line flag
) -> None:
    """Take a memory file out of a session. The file itself stays."""

    async def delete(db: UnitOfWork) -> MemoryFile:
        found = await _find(db, key, path, working_dir)
        if not await delete_memory_file(db, found.id or 0):
            raise _unknown(key, path)
        return found

    removed = _changed(delete, path, as_json=as_json)
    if as_json:
        print_json({"session_id": str(removed.session_id), "file_path": removed.file_path, "removed": True})
    else:
        _print_file("Removed", removed, as_json=False)


def _changed(work: Callable[[UnitOfWork], Awaitable[MemoryFile]], path: str, *, as_json: bool) -> MemoryFile:
    async def change() -> MemoryFile:
        refuse_bytes(path=path)
        return await in_transaction(work)

    return run(change, as_json=as_json)


async def _find(db: UnitOfWork, key: str, path: str, working_dir: str | None) -> MemoryFile:
    session = await find_session(db, key, working_dir)
    found = await get_memory_file_by_path(db, session.id, path)
    if found is None:
        raise _unknown(key, path)
    return found


def _unknown(key: str, path: str) -> NotFound:
    return NotFound(f"session {key} has no memory file {path!r}; session-db memory list {quoted(key)} shows which it has.", path=path)


def _print_file(what: str, file: MemoryFile, *, as_json: bool) -> None:
    if as_json:
        print_json(model_json(MemoryFileRead.model_validate(file)))
    else:
        console().print(Text(f"{what}: {one_line(file.file_path)} ({_state(file)})."), soft_wrap=True)


def _state(file: MemoryFile) -> str:
    return ("primary, " if file.is_primary else "") + ("loaded" if file.loaded else "not loaded")


def _print_page(page: Page[MemoryFile], key: str) -> None:
    table = Table(box=None, padding=(0, 1), header_style="dim")
    table.add_column("path", overflow="fold")
    table.add_column("state", no_wrap=True)
    if not is_narrow():
        table.add_column("changed", justify="right", no_wrap=True)
    for file in page:
        cells = (Text(one_line(file.file_path), style="bold" if file.is_primary else ""), _state(file), ago(file.updated_at))
        table.add_row(*cells[: len(table.columns)])
    console().print(table)
    if page.next_cursor:
        console().print(Text(f"More: session-db memory list {quoted(key)} --cursor {page.next_cursor}", style="dim"), soft_wrap=True)
