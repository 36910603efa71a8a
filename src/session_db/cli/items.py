"""What the commands of clips, songs and playlists have in common: list, show, delete, and how ``set`` saves."""

import json
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Annotated, Any, Literal

import typer
from rich.table import Table
from rich.text import Text

from session_db.cli.inputs import JSON, Cursor, Limit, Yes, is_interactive, json_object
from session_db.cli.output import ago, console, facts, is_narrow, page_json, print_json, printable, quoted
from session_db.cli.output import as_json as model_json
from session_db.cli.running import fail, refuse_bytes, run
from session_db.crud import Page, Saved
from session_db.database import get_async_session, in_transaction
from session_db.errors import InvalidInput, NotFound
from session_db.lines import one_line
from session_db.models.items import ItemRead, ItemUpdate

ID = Annotated[str, typer.Argument(metavar="ID", help="Its id.")]
Name = Annotated[str | None, typer.Option(help="Name to show.")]
Project = Annotated[str | None, typer.Option(help="Project that it belongs to.")]
Metadata = Annotated[str | None, typer.Option(metavar="JSON", help="JSON object that replaces its metadata.")]
ExpectedVersion = Annotated[
    int | None, typer.Option("--expect-version", metavar="N", min=0, help="Save only where it is at this version; 0: where there is none.")
]


@dataclass(frozen=True)
class Kind:
    """A kind of item: its noun, and its functions of crud."""

    noun: Literal["clip", "song", "playlist"]
    parts: Literal["clip_ids", "song_ids"] | None
    """Field with the ids of what it is made of."""
    to_create: str
    """Options that a new one needs."""
    read: type[ItemRead]
    update: type[ItemUpdate]
    get: Callable[..., Awaitable[Any]]
    page: Callable[..., Awaitable[Page[Any]]]
    save: Callable[..., Awaitable[Saved[Any]]]
    delete: Callable[..., Awaitable[bool]]

    @property
    def key(self) -> str:
        return f"{self.noun}_id"

    @property
    def command(self) -> str:
        return f"session-db {self.noun}s"

    def unknown(self, item_id: str) -> NotFound:
        return NotFound(f"there is no {self.noun} {item_id!r}; {self.command} list shows which there are.", **{self.key: item_id})


def commands(kind: Kind) -> typer.Typer:
    """Return the command group of a kind, with what is the same for all."""
    app = typer.Typer(help=f"List, show, set and delete {kind.noun}s.", no_args_is_help=True)
    _add_list(app, kind)
    _add_show(app, kind)
    _add_delete(app, kind)
    return app


def _add_list(app: typer.Typer, kind: Kind) -> None:
    @app.command("list", help=f"List {kind.noun}s in the order of their ids.")
    def list_(
        project: Annotated[str | None, typer.Option(help="Only of this project.")] = None,
        limit: Limit = 50,
        cursor: Cursor = None,
        as_json: JSON = False,  # noqa: FBT002  a command-line flag
    ) -> None:
        async def load_page() -> Page[Any]:
            refuse_bytes(project=project, cursor=cursor)
            async with get_async_session() as db:
                return await kind.page(db, project, limit=limit, cursor=cursor)

        page = run(load_page, as_json=as_json)
        if as_json:
            print_json(page_json(map(kind.read.model_validate, page), page.next_cursor))
        elif page:
            _print_page(kind, page, project)
        else:
            new = f"No {kind.noun}s yet. {kind.command} set ID {kind.to_create} makes one."
            console().print(Text(f"No {kind.noun}s match." if project or cursor else new), soft_wrap=True)


def _print_page(kind: Kind, page: Page[Any], project: str | None) -> None:
    table = Table(box=None, padding=(0, 1), header_style="dim")
    # An id is shown whole, because other commands ask for it; so the others may not take all the room.
    width = console().width
    table.add_column(kind.noun, overflow="fold", min_width=8)
    table.add_column("name", no_wrap=True, overflow="ellipsis", max_width=width * 3 // 10)
    if not is_narrow():
        table.add_column("project", no_wrap=True, overflow="ellipsis", max_width=width * 3 // 20)
        for heading in ("version", "changed"):
            table.add_column(heading, justify="right", no_wrap=True)
    for item in page:
        texts = (one_line(text) for text in (getattr(item, kind.key), item.name, item.project_id, str(item.version), ago(item.updated_at)))
        table.add_row(*[Text(text) for text in texts][: len(table.columns)])
    console().print(table)
    if page.next_cursor:
        only = f" --project {quoted(project)}" if project else ""
        console().print(Text(f"More: {kind.command} list{only} --cursor {page.next_cursor}", style="dim"), soft_wrap=True)


def _add_show(app: typer.Typer, kind: Kind) -> None:
    @app.command(help=f"Show a {kind.noun}.")
    def show(item_id: ID, as_json: JSON = False) -> None:  # noqa: FBT002  a command-line flag
        async def load() -> Any:
            refuse_bytes(id=item_id)
            async with get_async_session() as db:
                item = await kind.get(db, item_id)
            if item is None:
                raise kind.unknown(item_id)
            return item

        item = run(load, as_json=as_json)
        if as_json:
            print_json(model_json(kind.read.model_validate(item)))
        else:
            _print_item(kind, item)


def _print_item(kind: Kind, item: Any) -> None:
    about = [
        (kind.noun, getattr(item, kind.key)),
        ("name", item.name),
        ("project", item.project_id),
        ("version", f"{item.version}, changed {item.updated_at:%Y-%m-%d %H:%M:%S} UTC"),
    ]
    if kind.parts:
        about.append((kind.parts.replace("_ids", "s"), ", ".join(getattr(item, kind.parts)) or "none"))
    if item.metadata_:
        about.append(("metadata", json.dumps(item.metadata_, ensure_ascii=False)))
    console().print(facts(about))
    if kind.noun == "clip":
        console().print()
        console().print(Text(printable(item.code.removesuffix("\n"))), soft_wrap=True)


def _add_delete(app: typer.Typer, kind: Kind) -> None:
    stays = " Its versions stay: `session-db clips restore` brings it back." if kind.noun == "clip" else ""

    @app.command(help=f"Delete a {kind.noun} that nothing uses.{stays}")
    def delete(item_id: ID, yes: Yes = False, as_json: JSON = False) -> None:  # noqa: FBT002  command-line flags
        if not yes:
            if as_json or not is_interactive():
                again = f"{kind.command} delete {quoted(item_id)} --yes"
                fail(InvalidInput(f"nothing was deleted. Say that you mean it: {again}"), as_json=as_json)
            typer.confirm(f"Delete {kind.noun} {one_line(item_id)}?", abort=True)

        async def erase() -> None:
            refuse_bytes(id=item_id)
            if not await in_transaction(lambda db: kind.delete(db, item_id)):
                raise kind.unknown(item_id)

        run(erase, as_json=as_json)
        if as_json:
            print_json({kind.key: item_id, "deleted": True})
        else:
            console().print(Text(f"Deleted {kind.noun} {one_line(item_id)}."), soft_wrap=True)


def save(kind: Kind, item_id: str, given: Callable[[], dict[str, Any]], expected_version: int | None, *, as_json: bool) -> None:
    """Create or change an item, and print what came of it.

    Args:
        kind: the kind of item.
        item_id: the item.
        given: returns the fields by name, the metadata as JSON text; None is one that was not given. What it raises is told as an error.
        expected_version: the version that it must be at.
        as_json: print JSON.
    """

    async def write() -> Saved[Any]:
        fields = {name: value for name, value in given().items() if value is not None}
        refuse_bytes(id=item_id, **{name: value for name, value in fields.items() if isinstance(value, str)})
        if "metadata" in fields:
            fields["metadata"] = json_object(fields["metadata"], "--metadata")
        update = kind.update.model_validate(fields)
        return await in_transaction(lambda db: kind.save(db, item_id, update, expected_version=expected_version))

    print_saved(kind, run(write, as_json=as_json), as_json=as_json)


def print_saved(kind: Kind, saved: Saved[Any], *, as_json: bool) -> None:
    """Print what saving an item came to, and its version."""
    item, outcome = saved
    item_id = getattr(item, kind.key)
    if as_json:
        print_json({kind.key: item_id, "version": item.version, "outcome": outcome})
    else:
        console().print(Text(f"{kind.noun.capitalize()} {one_line(item_id)} is {outcome}: version {item.version}."), soft_wrap=True)


def chosen_ids(ids: list[str] | None, *, none: bool, option: str) -> list[str] | None:
    """Return the ids that a repeated option gives; none where it is said so, and None where nothing is said."""
    if ids and none:
        raise InvalidInput(f"--{option} and --no-{option} are both given; give one of them.")
    for item_id in ids or []:
        refuse_bytes(**{option: item_id})
    return [] if none else ids or None
