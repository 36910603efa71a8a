"""How far a long command is: shown on a terminal, and gone when it ends."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.progress import BarColumn, DownloadColumn, FileSizeColumn, Progress, TextColumn, TimeElapsedColumn

from session_db.cli.output import messages_console


@contextmanager
def showing_progress(verb: str, total_bytes: int | None = None) -> Iterator[Callable[[str, int], None]]:
    """Give what is to be called with what is done now, and the bytes that went through."""
    amount = FileSizeColumn() if total_bytes is None else DownloadColumn(binary_units=True)
    columns = (TextColumn(verb), TextColumn("{task.description}"), BarColumn(), amount, TimeElapsedColumn())
    on = messages_console()
    with Progress(*columns, console=on, transient=True, disable=not on.is_terminal) as progress:
        task = progress.add_task("", total=total_bytes)
        yield lambda doing, done: progress.update(task, description=doing, completed=done)
