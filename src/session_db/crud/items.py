"""What clips, songs and playlists have in common: one life, three tables."""

from collections.abc import Awaitable, Callable
from typing import Any, Generic, Literal, NamedTuple, TypeVar

from sqlalchemy import select, text
from sqlalchemy.ext.asyncio import AsyncSession
from sqlmodel import col

from session_db.crud.paging import Page, checked_limit, decode_cursor, page_of
from session_db.crud.rows import add, all_of, one_or_none, run
from session_db.database.violations import translated
from session_db.errors import InvalidInput, NotFound, StaleVersion
from session_db.models.items import ItemCreate, ItemTable, ItemUpdate
from session_db.models.table import now, same_json

Item = TypeVar("Item", bound=ItemTable)


class Saved(NamedTuple, Generic[Item]):
    """An item, and what saving it came to."""

    item: Item
    outcome: Literal["created", "changed", "unchanged"]


class Items(Generic[Item]):
    """The rows of one table of items, by their key."""

    def __init__(self, table: type[Item], creation: type[ItemCreate], key: str) -> None:
        self.table = table
        self.creation = creation
        self.key = key
        self.noun = table.__name__.lower()

    async def create(self, db: AsyncSession, data: ItemCreate, **more: Any) -> Item:
        item = self.table(**data.model_dump(), **more)
        await add(db, item, **{self.key: getattr(item, self.key)})
        return item

    async def get(self, db: AsyncSession, item_id: str) -> Item | None:
        item: Item | None = await one_or_none(db, select(self.table).where(self._key() == item_id))
        return item

    async def page(self, db: AsyncSession, project_id: str | None, limit: int, cursor: str | None) -> Page[Item]:
        """Return items in the order of their keys."""
        checked_limit(limit)
        query = select(self.table)
        if project_id is not None:
            query = query.where(col(self.table.project_id) == project_id)
        if cursor is not None:
            query = query.where(self._key() > decode_cursor(cursor, str)[0])
        return page_of(await all_of(db, query.order_by(self._key()).limit(limit + 1)), limit, self.key)

    async def lock(self, db: AsyncSession, item_id: str) -> Item | None:
        """Return the item as it is now, locked until the transaction ends."""
        item: Item | None = await one_or_none(db, select(self.table).where(self._key() == item_id).with_for_update())
        return item

    def check_version(self, item: Item, expected_version: int | None) -> None:
        if expected_version is not None and expected_version != item.version:
            item_id = getattr(item, self.key)
            raise StaleVersion(
                f"{self.noun} {item_id!r} is at version {item.version}, not {expected_version}; read it again and repeat the change.",
                version=item.version,
                expected_version=expected_version,
                **{self.key: item_id},
            )

    async def apply(self, db: AsyncSession, item: Item, changes: dict[str, Any]) -> None:
        """Change a locked item and raise its version, where anything differs."""
        values = {name: {} if name == "metadata_" and value is None else value for name, value in changes.items()}
        for name, value in values.items():
            if value is None:
                raise InvalidInput(f"{name} cannot be cleared; leave it out to keep it.", field=name)
        changed = {name: value for name, value in values.items() if not same_json(getattr(item, name), value)}
        if not changed:
            return
        async with translated(db, **{self.key: getattr(item, self.key)}):
            for name, value in changed.items():
                setattr(item, name, value)
            item.version += 1
            item.updated_at = now()

    async def save(  # noqa: PLR0913  a noun's own functions are two of them
        self,
        db: AsyncSession,
        item_id: str,
        item_update: ItemUpdate,
        expected_version: int | None,
        *,
        create: Callable[[AsyncSession, Any], Awaitable[Item]],
        update: Callable[..., Awaitable[Item | None]],
    ) -> Saved[Item]:
        """Change the item, or create it where there is none, by its noun's own functions.

        Raises:
            NotFound: there is none to have the expected version.
            InvalidInput: there is none, and not all is given that a new one needs.
        """
        # From here on nobody else creates it: one that is not there stays so until this transaction ends.
        await lock_links(db)
        present = await self.lock(db, item_id)
        if present is None:
            if expected_version:
                raise NotFound(f"there is no {self.noun} {item_id!r} to be at version {expected_version}.", **{self.key: item_id})
            return Saved(await create(db, self._new(item_id, changes_of(item_update))), "created")
        version = present.version
        await update(db, item_id, item_update, expected_version=expected_version)
        return Saved(present, "unchanged" if present.version == version else "changed")

    def _new(self, item_id: str, changes: dict[str, Any]) -> ItemCreate:
        given = {self.key: item_id} | {name: value for name, value in changes.items() if value is not None}
        missing = [name for name, field in self.creation.model_fields.items() if field.is_required() and name not in given]
        if missing:
            raise InvalidInput(f"there is no {self.noun} {item_id!r}; to create it, give {', '.join(missing)} too.", missing=missing)
        return self.creation.model_validate(given)

    def _key(self) -> Any:
        return getattr(self.table, self.key)


def changes_of(update: ItemUpdate) -> dict[str, Any]:
    """Return what changes the item itself; who asked for it goes to the version."""
    return {name: value for name, value in update.changes().items() if name not in ("session_id", "message_index")}


async def lock_links(db: AsyncSession) -> None:
    """Let one writer at a time change which items name which, so that a deleted one cannot be named in the same moment."""
    await run(db, text("SELECT pg_advisory_xact_lock(hashtextextended('session_db item links', 0))"))


def missing_from(wanted: list[str], known: set[str]) -> list[str]:
    """Return the wanted ids that are not known, each once, in their order."""
    return [item_id for item_id in dict.fromkeys(wanted) if item_id not in known]
