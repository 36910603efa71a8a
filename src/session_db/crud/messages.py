"""Display messages: append and page through."""

from collections.abc import Collection, Mapping, Sequence
from datetime import datetime
from typing import Any, NamedTuple
from uuid import UUID

from sqlalchemy import bindparam, delete, insert, literal, select, update
from sqlalchemy.ext.asyncio import AsyncSession
from sqlmodel import col

from session_db.crud.agent_logs import later_activity
from session_db.crud.idempotency import refuse_another_body, with_client_ids
from session_db.crud.locking import lock_session
from session_db.crud.paging import Page, checked_limit, decode_cursor, page_of
from session_db.crud.rows import move, one_of, one_or_none, run
from session_db.database.violations import translated
from session_db.models import Message, Session
from session_db.models.display import checked_message, said_at
from session_db.models.table import OwnJSON, now


class AppendedMessage(NamedTuple):
    """Where a message stands, and whether this call put it there."""

    message_index: int
    is_new: bool


async def save_display_messages(
    db: AsyncSession,
    session_id: UUID,
    messages: Sequence[Mapping[str, Any]],
    *,
    last_activity: datetime | None = None,
    idempotency_key: str | None = None,
) -> list[AppendedMessage]:
    """Append messages after those that the session has, and say where each stands.

    Args:
        db: the database session.
        session_id: the session; it stays locked until the transaction ends.
        messages: ``{"role", "content", "timestamp"}``, optionally ``context``, ``code_changes`` and keys of your own. A ``client_id`` is
            taken out: a message whose client_id the session has already changes nothing.
        last_activity: when the newest of them was said; unset: now.
        idempotency_key: makes a retry safe: it gives the messages that have none the client_ids ``key:0``, ``key:1``, ….

    Raises:
        NotFound: there is no such session.
        InvalidInput: a message is none to display, or the key is none; nothing is appended then.
        Conflict: the session has other messages with this key; nothing is appended then.
    """
    checked = [checked_message(message, f"messages[{number}]") for number, message in enumerate(messages)]
    if idempotency_key is not None:
        checked = with_client_ids(idempotency_key, checked)
    session = await lock_session(db, session_id)
    if idempotency_key is not None:
        await refuse_another_body(db, session_id, idempotency_key, messages, checked)
    client_ids = {client_id for client_id, _ in checked if client_id is not None}
    known = await _indexes(db, session_id, client_ids) if client_ids else {}
    appended: list[AppendedMessage] = []
    rows: list[dict[str, Any]] = []
    for client_id, message_data in checked:
        if client_id is not None and client_id in known:
            appended.append(AppendedMessage(known[client_id], is_new=False))
            continue
        message_index = session.message_count + len(rows)
        if client_id is not None:
            known[client_id] = message_index
        appended.append(AppendedMessage(message_index, is_new=True))
        row = {"session_id": session_id, "message_index": message_index, "message_data": message_data, "client_id": client_id}
        rows.append(row | {"said_at": said_at(message_data["timestamp"])})
    if rows:
        await _insert(db, session_id, rows, last_activity)
    return appended


async def _indexes(db: AsyncSession, session_id: UUID, client_ids: set[str]) -> dict[str, int]:
    """Return where those of these messages stand that the session has."""
    # An array is one parameter, however many there are.
    wanted = one_of(client_ids)
    query = select(col(Message.client_id), col(Message.message_index))
    found = await run(db, query.where(col(Message.session_id) == session_id, col(Message.client_id) == wanted))
    return {str(client_id): index for client_id, index in found}


async def _insert(db: AsyncSession, session_id: UUID, rows: list[dict[str, Any]], last_activity: datetime | None) -> None:
    async with translated(db, session_id=session_id):
        await (await db.connection()).execute(insert(Message), rows)
        await move(
            db,
            Session,
            (session_id,),
            message_count=col(Session.message_count) + len(rows),
            last_activity=later_activity(last_activity),
            updated_at=now(),
        )


async def load_messages_paginated(
    db: AsyncSession, session_id: UUID, page_size: int = 50, before_index: int | None = None
) -> list[dict[str, Any]]:
    """Return the last messages, or the last before ``before_index``, in chronological order, ``message_index`` merged into each."""
    return await list_messages(db, session_id, before_index=before_index, limit=page_size)


async def list_messages(  # noqa: PLR0913  the two ends of a range, and the page
    db: AsyncSession,
    session_id: UUID,
    *,
    before_index: int | None = None,
    after_index: int | None = None,
    limit: int = 50,
    cursor: str | None = None,
) -> Page[dict[str, Any]]:
    """Return messages in chronological order, ``message_index`` merged into each.

    The first page holds the last messages, and the next one those before them. With ``after_index`` it is the other way: the first page
    holds the first messages after it.
    """
    checked_limit(limit)
    index = col(Message.message_index)
    live = select(col(Session.id)).where(col(Session.id) == session_id, col(Session.deleted_at).is_(None)).exists()
    query = select(index, col(Message.message_data)).where(col(Message.session_id) == session_id, live)
    if before_index is not None:
        query = query.where(index < before_index)
    if after_index is not None:
        query = query.where(index > after_index)
    forwards = after_index is not None
    if cursor is not None:
        (seen,) = decode_cursor(cursor, int)
        query = query.where(index > seen if forwards else index < seen)
    rows = (await run(db, query.order_by(index if forwards else index.desc()).limit(limit + 1))).all()
    page = page_of(rows, limit, "message_index")
    messages = [{**message_data, "message_index": message_index} for message_index, message_data in page]
    return Page(messages if forwards else reversed(messages), page.next_cursor)


async def get_message_count(db: AsyncSession, session_id: UUID) -> int:
    """Return how many messages the session has; 0 where there is no such session. Costs one read by primary key."""
    query = select(col(Session.message_count)).where(col(Session.id) == session_id, col(Session.deleted_at).is_(None))
    return (await run(db, query)).scalar() or 0


async def get_known_client_ids(db: AsyncSession, session_id: UUID, client_ids: Collection[str]) -> set[str]:
    """Return those of the client_ids that messages of the session have."""
    return set(await _indexes(db, session_id, set(client_ids))) if client_ids else set()


async def get_messages_of(db: AsyncSession, session_id: UUID, client_ids: Collection[str]) -> dict[str, dict[str, Any]]:
    """Return the messages of the session that have these client_ids, by client_id."""
    if not client_ids:
        return {}
    query = select(col(Message.client_id), col(Message.message_data))
    found = await run(db, query.where(col(Message.session_id) == session_id, col(Message.client_id) == one_of(client_ids)))
    return {str(client_id): message_data for client_id, message_data in found}


async def replace_messages(db: AsyncSession, session_id: UUID, messages: Mapping[str, Mapping[str, Any]]) -> None:
    """Put messages, each with a client_id, in the places of others, which are named by theirs. A follower is not told again.

    The caller holds the session's lock, and knows that no other message of the session has one of the new client_ids.
    """
    rows = []
    for place, message in messages.items():
        client_id, message_data = checked_message(message, f"messages[{place}]")
        rows.append({"place": place, "new_id": client_id, "new_data": message_data, "new_moment": said_at(message_data["timestamp"])})
    new: dict[str, Any] = {"client_id": bindparam("new_id"), "message_data": bindparam("new_data"), "said_at": bindparam("new_moment")}
    here = (col(Message.session_id) == session_id, col(Message.client_id) == bindparam("place"))
    if rows:
        async with translated(db, session_id=session_id):
            await (await db.connection()).execute(update(Message).where(*here).values(new), rows)


async def remove_messages(db: AsyncSession, session: Session, client_ids: Collection[str]) -> None:
    """Remove messages from the end of a session; one that others came after keeps its place, and says nothing.

    The caller holds the session's lock. A follower that has read one goes on where the session ends now.
    """
    places = await _indexes(db, session.id, set(client_ids)) if client_ids else {}
    indexes, end = set(places.values()), session.message_count
    while end - 1 in indexes:
        end -= 1
    here = (col(Message.session_id) == session.id, col(Message.client_id) == one_of(places))
    connection = await db.connection()
    await connection.execute(delete(Message).where(*here, col(Message.message_index) >= end))
    nothing = col(Message.message_data).op("||")(literal({"content": ""}, OwnJSON()))
    await connection.execute(update(Message).where(*here).values(message_data=nothing))
    await move(db, Session, (session.id,), message_count=literal(end), updated_at=now())


async def extend_message(db: AsyncSession, session_id: UUID, client_id: str, text: str, *, limit: int) -> bool:
    """Add a further paragraph to a message that was recorded before its end; return whether there is such a message.

    The caller holds the session's lock. ``limit`` is how many characters a message keeps.
    """
    query = select(Message).where(col(Message.session_id) == session_id, col(Message.client_id) == client_id)
    message: Message | None = await one_or_none(db, query)
    if message is None:
        return False
    if f"\n\n{text}\n\n" in f"\n\n{message.message_data['content']}\n\n":
        # A fork repeats what its session recorded.
        return True
    whole = f"{message.message_data['content']}\n\n{text}"
    message.message_data = message.message_data | {"content": whole[:limit]} | ({"truncated": True} if len(whole) > limit else {})
    await db.flush()
    return True
