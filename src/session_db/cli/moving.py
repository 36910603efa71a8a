"""All rows as JSON Lines, out of a database and into another one: ``export --all`` and ``import``."""

import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

from rich.table import Table

from session_db.cli.inputs import STANDARD_INPUT
from session_db.cli.output import console, messages_console, print_json
from session_db.cli.progress import showing_progress
from session_db.cli.running import run
from session_db.database.exporting import LEFT_OUT, MARK, Exported, export_rows
from session_db.database.importing import import_rows, read_header
from session_db.database.merging import Merged
from session_db.database.whole_files import whole_file
from session_db.errors import InvalidInput
from session_db.lines import one_line

_BEGINNING = re.compile(rb'\s*\{\s*"%s"\s*:' % MARK.encode())


def export_all(file: str, *, force: bool, as_json: bool) -> None:
    """Write all rows to a file, or with ``-`` to standard output."""

    async def work() -> Exported:
        with _opened_to_write(file, force=force) as opened, showing_progress("Exporting") as advance:
            return await export_rows(opened.write, on_progress=advance)

    done = run(work, as_json=as_json)
    if as_json and file != STANDARD_INPUT:
        print_json({"file": file, "revision": done.revision, "rows": done.rows})
    elif file != STANDARD_INPUT:
        console().print(f"{one_line(file)}: {sum(done.rows.values()):,} rows, {done.rows['sessions']:,} of them sessions.", markup=False)
    messages_console().print(f"Left out: {' and '.join(LEFT_OUT)}, which are of this database alone.")


@contextmanager
def _opened_to_write(file: str, *, force: bool) -> Iterator[BinaryIO]:
    if file == STANDARD_INPUT:
        yield sys.stdout.buffer
        sys.stdout.buffer.flush()
    else:
        with whole_file(Path(file), replace=force) as opened:
            yield opened


def is_export(path: Path) -> bool:
    """Say whether a file is what ``export --all`` wrote; standard input can be nothing else."""
    if str(path) == STANDARD_INPUT:
        return True
    try:
        if not path.is_file():
            return False
        with path.open("rb") as file:
            return _BEGINNING.match(file.read(100)) is not None
    except OSError:
        return False


def import_export(paths: list[Path], *, restore_deleted: bool, as_json: bool) -> None:
    """Put all rows of an export into the tables."""

    async def work() -> Merged:
        if len(paths) > 1:
            raise InvalidInput(f"an export is imported by itself: name {paths[0]} alone, and the others after that.")
        with _opened_to_read(paths[0]) as (file, size), showing_progress("Importing", size) as advance:
            header = read_header(file)
            if header is None:
                raise InvalidInput(f"{paths[0]} is no export of session-db; write one with session-db export --all FILE.")
            return await import_rows(file, header, restore_deleted=restore_deleted, on_progress=advance)

    merged = run(work, as_json=as_json)
    if as_json:
        print_json(_json(merged))
    else:
        _print(merged)


@contextmanager
def _opened_to_read(path: Path) -> Iterator[tuple[BinaryIO, int | None]]:
    if str(path) == STANDARD_INPUT:
        if sys.stdin is None:
            raise InvalidInput("standard input is closed; name a file instead of -.")
        yield sys.stdin.buffer, None
    else:
        with path.open("rb") as file:
            yield file, path.stat().st_size or None


def _json(merged: Merged) -> dict[str, Any]:
    rows = {name: {"new": new, "left_out": merged.left_out[name]} for name, new in merged.new.items()}
    return {"rows": rows, "deleted_sessions": merged.deleted_sessions}


def _print(merged: Merged) -> None:
    table = Table(box=None, padding=(0, 1), header_style="dim")
    for heading in ("", "new", "left out"):
        table.add_column(heading, justify="right" if heading else "left")
    for name, new in merged.new.items():
        if new or merged.left_out[name]:
            table.add_row(name, f"{new:,}", f"{merged.left_out[name]:,}")
    console().print(table if table.rows else "The export is empty.")
    if any(merged.left_out.values()):
        console().print("What is there already stays as it is, with all that belongs to it.")
    if merged.deleted_sessions:
        console().print(f"{merged.deleted_sessions:,} sessions were deleted here and stay so; --restore-deleted imports them again.")
