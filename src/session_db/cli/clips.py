"""The commands ``clips list|show|set|delete``, and ``log|diff|restore`` for their versions."""

from dataclasses import dataclass
from typing import Annotated, Any

import typer
from rich.table import Table
from rich.text import Text

from session_db import crud
from session_db.cli.inputs import JSON, Cursor, Limit, text_or_file
from session_db.cli.items import ID, ExpectedVersion, Kind, Metadata, Name, Project, commands, print_saved, save
from session_db.cli.output import ago, console, is_narrow, messages_console, page_json, print_json, quoted
from session_db.cli.running import refuse_bytes, run
from session_db.crud import Page, Saved
from session_db.crud.clips import unified_diff
from session_db.database import UnitOfWork, get_async_session, in_transaction
from session_db.errors import NotFound
from session_db.lines import one_line
from session_db.models import Clip, ClipRead, ClipUpdate, ClipVersionRead

CLIPS = Kind(
    noun="clip",
    parts=None,
    to_create="--name NAME --project PROJECT --code-file FILE",
    read=ClipRead,
    update=ClipUpdate,
    get=crud.get_clip,
    page=crud.list_clips,
    save=crud.save_clip,
    delete=crud.delete_clip,
)
app = commands(CLIPS)

_STYLES = {"+": "green", "-": "red", "@": "cyan"}


@app.command("set")
def set_(  # noqa: PLR0913, PLR0917  each is an option
    clip_id: ID,
    name: Name = None,
    project: Project = None,
    code: Annotated[str | None, typer.Option(help="The code; - reads standard input.")] = None,
    code_file: Annotated[str | None, typer.Option(metavar="FILE|-", help="File with the code.")] = None,
    metadata: Metadata = None,
    expected_version: ExpectedVersion = None,
    as_json: JSON = False,  # noqa: FBT002  a command-line flag
) -> None:
    """Create a clip, or change what is given of it. The code that it had is kept as a version."""

    def given() -> dict[str, object]:
        return {"name": name, "project_id": project, "code": text_or_file("code", code, code_file), "metadata": metadata}

    save(CLIPS, clip_id, given, expected_version, as_json=as_json)


@app.command()
def log(
    clip_id: ID,
    limit: Limit = 50,
    cursor: Cursor = None,
    as_json: JSON = False,  # noqa: FBT002  a command-line flag
) -> None:
    """List the former versions of a clip, the newest first; those of a deleted clip, too."""

    async def load_page() -> tuple[Clip | None, Page[ClipVersionRead]]:
        refuse_bytes(id=clip_id, cursor=cursor)
        async with get_async_session() as db:
            page = await crud.list_clip_versions(db, clip_id, whole=as_json, limit=limit, cursor=cursor)
            clip = await crud.get_clip(db, clip_id)
        if clip is None and not page and cursor is None:
            raise CLIPS.unknown(clip_id)
        return clip, page

    clip, page = run(load_page, as_json=as_json)
    if as_json:
        print_json(page_json(page, page.next_cursor))
    else:
        _print_log(clip_id, clip, page)


def _print_log(clip_id: str, clip: Clip | None, page: Page[ClipVersionRead]) -> None:
    now = f"is at version {clip.version}" if clip else "was deleted"
    console().print(Text(f"Clip {one_line(clip_id)} {now}.{'' if page else ' No former versions are kept.'}"), soft_wrap=True)
    if not page:
        return
    table = Table(box=None, padding=(0, 1), header_style="dim")
    table.add_column("version", justify="right")
    table.add_column("replaced", justify="right", no_wrap=True)
    table.add_column("bytes", justify="right", no_wrap=True)
    if not is_narrow():
        table.add_column("by session", no_wrap=True)
    for version in page:
        session = "-" if version.session_id is None else str(version.session_id)
        cells = (str(version.version), ago(version.created_at), f"{version.code_bytes:,}", session)
        table.add_row(*cells[: len(table.columns)])
    console().print(table)
    if page.next_cursor:
        console().print(Text(f"More: session-db clips log {quoted(clip_id)} --cursor {page.next_cursor}", style="dim"), soft_wrap=True)


@dataclass(frozen=True)
class Side:
    """One side of a comparison."""

    version: int
    code: str
    metadata: dict[str, Any]


@app.command()
def diff(
    clip_id: ID,
    from_version: Annotated[
        int | None, typer.Argument(metavar="FROM", min=1, help="Older version.", show_default="the last kept version")
    ] = None,
    to_version: Annotated[int | None, typer.Argument(metavar="TO", min=1, help="Newer version.", show_default="the clip as it is")] = None,
    as_json: JSON = False,  # noqa: FBT002  a command-line flag
) -> None:
    """Compare the code of two versions of a clip; of a deleted one, the last two that are kept."""

    async def load() -> tuple[Side, Side]:
        refuse_bytes(id=clip_id)
        async with get_async_session() as db:
            return await _sides(db, clip_id, from_version, to_version)

    old, new = run(load, as_json=as_json)
    name = one_line(clip_id)
    text, is_line_by_line = unified_diff(old.code, new.code, f"{name} version {old.version}", f"{name} version {new.version}")
    if as_json:
        print_json({"clip_id": clip_id, "from": vars(old), "to": vars(new), "diff": text, "is_line_by_line": is_line_by_line})
        return
    out = console()
    for line in text.split("\n")[:-1]:
        # As it is, without wrapping: it may go to a file, or to a program that applies it.
        out.out(_visible(line), style=_STYLES.get(line[0]), highlight=False)
    if not text:
        out.print(Text(f"The code of version {old.version} and of version {new.version} is the same."))
    elif not is_line_by_line:
        messages_console().print(
            Text("Too long to compare line by line: all from the first difference to the last is shown as replaced.", style="dim")
        )
    if old.metadata != new.metadata:
        out.print(Text("The metadata is another one; --json shows both.", style="dim"))


async def _sides(db: UnitOfWork, clip_id: str, from_version: int | None, to_version: int | None) -> tuple[Side, Side]:
    clip = await crud.get_clip(db, clip_id)
    present = None if clip is None else Side(clip.version, clip.code, dict(clip.metadata_))
    new = present or await _last_before(db, clip_id, None) if to_version is None else await _side(db, clip_id, to_version, present)
    if new is None:
        raise CLIPS.unknown(clip_id)
    old = await _last_before(db, clip_id, new.version) if from_version is None else await _side(db, clip_id, from_version, present)
    if old is None:
        raise NotFound(f"clip {clip_id!r} has no version before {new.version} to compare with.", clip_id=clip_id)
    return old, new


async def _side(db: UnitOfWork, clip_id: str, version: int, present: Side | None) -> Side:
    if present is not None and present.version == version:
        return present
    kept = await crud.get_clip_version(db, clip_id, version)
    if kept is None:
        raise _not_kept(clip_id, version)
    return Side(kept.version, kept.code, dict(kept.metadata_))


async def _last_before(db: UnitOfWork, clip_id: str, version: int | None) -> Side | None:
    page = await crud.list_clip_versions(db, clip_id, before_version=version, whole=True, limit=1)
    return Side(page[0].version, page[0].code or "", page[0].metadata_) if page else None


def _not_kept(clip_id: str, version: int) -> NotFound:
    return NotFound(
        f"clip {clip_id!r} has no kept version {version}; session-db clips log {quoted(clip_id)} lists them.",
        clip_id=clip_id,
        version=version,
    )


def _visible(line: str) -> str:
    """Return a line with its control characters written out: a difference that nobody sees is none."""
    return "".join(c if c.isprintable() or c == "\t" else c.encode("unicode_escape").decode() for c in line)


@app.command()
def restore(  # noqa: PLR0913, PLR0917  each is an option
    clip_id: ID,
    version: Annotated[int, typer.Argument(metavar="VERSION", min=1, help="A version that log lists.")],
    name: Name = None,
    project: Project = None,
    expected_version: ExpectedVersion = None,
    as_json: JSON = False,  # noqa: FBT002  a command-line flag
) -> None:
    """Give a clip the code and metadata of a former version, as a new version. A deleted clip comes back; give it --name and --project."""

    async def bring_back() -> Saved[Clip]:
        refuse_bytes(id=clip_id, name=name, project=project)
        more = {field: value for field, value in (("name", name), ("project_id", project)) if value is not None}
        update = ClipUpdate.model_validate(more)
        saved = await in_transaction(lambda db: crud.restore_clip_version(db, clip_id, version, update, expected_version=expected_version))
        if saved is None:
            raise _not_kept(clip_id, version)
        return saved

    print_saved(CLIPS, run(bring_back, as_json=as_json), as_json=as_json)
