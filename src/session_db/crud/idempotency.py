"""Messages with an idempotency key: sent again they change nothing, and other messages are refused."""

import json
from collections.abc import Mapping, Sequence
from itertools import count
from typing import Any
from uuid import UUID

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession
from sqlmodel import col

from session_db.crud.rows import one_of, run
from session_db.errors import Conflict, InvalidInput
from session_db.models import Message
from session_db.models.display import MAX_CLIENT_ID
from session_db.models.table import decode_json, refuse_unstorable, same_json
from session_db.models.text import shown

MAX_IDEMPOTENCY_KEY = MAX_CLIENT_ID - 15
"""Characters of a key: with the number of a message it is a client_id."""

Checked = tuple[str | None, dict[str, Any]]
"""The client_id of a message, and what is stored of it."""


def with_client_ids(key: str, checked: Sequence[Checked]) -> list[Checked]:
    """Return the messages with the ids ``key:0``, ``key:1``, … for those that have none.

    Raises:
        InvalidInput: the key is none, or a message has an id that looks like one of the key's.
    """
    if not isinstance(key, str) or not 0 < len(key) <= MAX_IDEMPOTENCY_KEY:
        problem = f"idempotency_key: is {shown(key)}; send a text of 1 to {MAX_IDEMPOTENCY_KEY} characters."
        raise InvalidInput(problem, path="idempotency_key")
    refuse_unstorable(key, "idempotency_key")
    for number, (client_id, _) in enumerate(checked):
        if client_id is not None and client_id.startswith(f"{key}:"):
            path = f"messages[{number}].client_id"
            raise InvalidInput(
                f"{path}: {shown(client_id)} may be one that the idempotency key {shown(key)} gives; use another.", path=path
            )
    numbers = count()
    return [(f"{key}:{next(numbers)}" if client_id is None else client_id, data) for client_id, data in checked]


async def refuse_another_body(
    db: AsyncSession, session_id: UUID, key: str, messages: Sequence[Mapping[str, Any]], checked: Sequence[Checked]
) -> None:
    """Raise ``Conflict`` where the session has messages with this key, and not all of these as they are.

    The caller holds the session's lock. ``checked`` has the ids of ``with_client_ids``.
    """
    sent = {str(client_id): (message, data) for (client_id, data), message in zip(checked, messages, strict=True)}
    of_key = [client_id for client_id in sent if client_id.startswith(f"{key}:")]
    # Had there been more of them, the one with the next number would be there.
    ids = [*sent, f"{key}:{len(of_key)}"]
    query = select(col(Message.client_id), col(Message.message_data)).where(col(Message.session_id) == session_id)
    stored: dict[str, dict[str, Any]] = dict((await run(db, query.where(col(Message.client_id) == one_of(ids)))).all())
    if not any(client_id.startswith(f"{key}:") for client_id in stored):
        return
    if stored.keys() != sent.keys() or not all(_is_same(*sent[client_id], stored[client_id]) for client_id in of_key):
        raise Conflict(
            f"other messages were sent with the idempotency key {shown(key)}; send those again, or use a new key.", idempotency_key=key
        )


def _is_same(message: Mapping[str, Any], data: dict[str, Any], stored: dict[str, Any]) -> bool:
    """Say whether a message was stored like this; a time that the sender did not send is not the message's."""
    unsent = {"timestamp"} if message.get("timestamp") is None else set()
    # A tuple is a list for JSON.
    sent = decode_json(json.dumps({name: value for name, value in data.items() if name not in unsent}))
    return same_json(sent, {name: value for name, value in stored.items() if name not in unsent})
