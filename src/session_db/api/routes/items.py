"""What the routes of clips, songs and playlists have in common: list, create, read, change, delete, each change by its version."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Annotated, Any, Literal
from urllib.parse import quote

from fastapi import APIRouter, Depends, Header, Path, Query, Response

from session_db.api.answers import PageOf, page
from session_db.api.dependencies import Cursor, Limit, found, needs
from session_db.api.errors import problems
from session_db.crud import Page
from session_db.database import DatabaseSession
from session_db.errors import InvalidInput
from session_db.models.items import ItemCreate, ItemRead, ItemUpdate


@dataclass(frozen=True)
class Kind:
    """A kind of item: its noun, its models, and its functions of crud."""

    noun: Literal["clip", "song", "playlist"]
    read: type[ItemRead]
    creation: type[ItemCreate]
    update: type[ItemUpdate]
    create: Callable[..., Awaitable[Any]]
    get: Callable[..., Awaitable[Any]]
    page: Callable[..., Awaitable[Page[Any]]]
    change: Callable[..., Awaitable[Any]]
    delete: Callable[..., Awaitable[bool]]


_CONDITION = '`"VERSION"` as `ETag` gives it: change that version only, else 412. `*`: any.'


def expected_version(
    if_match: Annotated[str, Header(pattern=r'^(\*|"[0-9]{1,9}")$', description=_CONDITION)] = "*",
) -> int | None:
    """Return the version that ``If-Match`` names, or None where any will do."""
    return None if if_match == "*" else int(if_match.strip('"'))


ExpectedVersion = Annotated[int | None, Depends(expected_version)]
ItemId = Annotated[str, Path(min_length=1, max_length=100, description="Its id.")]


def tag(response: Response, item: Any) -> Any:
    """Return the item, its version in the answer's ``ETag``."""
    response.headers["ETag"] = f'"{item.version}"'
    return item


def router_of(kind: Kind) -> APIRouter:
    """Return the routes that a kind of item has as all have."""
    router = APIRouter(prefix=f"/api/{kind.noun}s", tags=[f"{kind.noun}s"])
    _add_list_and_create(router, kind)
    _add_one(router, kind)
    return router


def _add_list_and_create(router: APIRouter, kind: Kind) -> None:
    noun, creation = kind.noun, kind.creation

    @router.get("", response_model=PageOf[kind.read], summary=f"List {noun}s", operation_id=f"list_{noun}s", dependencies=[needs("read")])  # type: ignore[name-defined]
    async def list_items(
        db: DatabaseSession,
        project_id: Annotated[str | None, Query(description="Only of this project.")] = None,
        limit: Limit = 50,
        cursor: Cursor = None,
    ) -> dict[str, Any]:
        """In the order of their ids."""
        return page(await kind.page(db, project_id, limit=limit, cursor=cursor))

    @router.post(
        "",
        status_code=201,
        response_model=kind.read,
        summary=f"Create a {noun}",
        operation_id=f"create_{noun}",
        responses=problems(409),
        dependencies=[needs("write")],
    )
    async def create_item(body: creation, db: DatabaseSession, response: Response) -> Any:  # type: ignore[valid-type]
        """The answer's `ETag` is its version."""
        item_id = getattr(body, f"{noun}_id")
        if "/" in item_id or item_id in (".", ".."):
            raise InvalidInput(f"{noun}_id: {item_id!r} cannot stand in a URL; use another one, without /.", field=f"{noun}_id")
        response.headers["Location"] = f"/api/{noun}s/{quote(item_id, safe='')}"
        return tag(response, await kind.create(db, body))


def _add_one(router: APIRouter, kind: Kind) -> None:
    noun, update = kind.noun, kind.update
    path = "/{" + noun + "_id}"
    item_id = Annotated[str, Path(alias=f"{noun}_id", min_length=1, max_length=100, description="Its id.")]

    @router.get(
        path,
        response_model=kind.read,
        summary=f"Read a {noun}",
        operation_id=f"get_{noun}",
        responses=problems(404),
        dependencies=[needs("read")],
    )
    async def get_item(item: item_id, db: DatabaseSession, response: Response) -> Any:
        """The answer's `ETag` is its version: send it as `If-Match` with a change."""
        return tag(response, found(await kind.get(db, item), noun, item))

    @router.put(
        path,
        response_model=kind.read,
        summary=f"Change a {noun}",
        operation_id=f"update_{noun}",
        responses=problems(404, 412),
        dependencies=[needs("write")],
    )
    async def update_item(
        item: item_id,
        body: update,  # type: ignore[valid-type]
        db: DatabaseSession,
        response: Response,
        version: ExpectedVersion,
    ) -> Any:
        """Fields that are not sent stay as they are."""
        return tag(response, found(await kind.change(db, item, body, expected_version=version), noun, item))

    @router.delete(
        path,
        status_code=204,
        summary=f"Delete a {noun}",
        operation_id=f"delete_{noun}",
        responses=problems(404, 409, 412),
        dependencies=[needs("write")],
    )
    async def delete_item(item: item_id, db: DatabaseSession, version: ExpectedVersion) -> None:
        """One that others name is not deleted: 409 says which."""
        found(await kind.delete(db, item, expected_version=version) or None, noun, item)
