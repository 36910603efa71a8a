"""Changes: a unit of work remembers which sessions it changed, and they are told when it has committed."""

from uuid import UUID

from sqlalchemy import Connection
from sqlalchemy import event as sqlalchemy_event
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import Session as SyncSession
from sqlalchemy.orm import SessionTransaction

from session_db.live.notifier import get_notifier
from session_db.models import Session

_CHANGED = "session_db_changed"


def note_changed(db: AsyncSession, session_id: UUID) -> None:
    """Let live readers hear of this session once the transaction has committed. It is a hint: too many of them do no harm."""
    session = db.sync_session
    changed: set[UUID] | None = session.info.get(_CHANGED)
    if changed is None:
        changed = session.info[_CHANGED] = set()
        sqlalchemy_event.listen(session, "after_commit", _tell)
        sqlalchemy_event.listen(session, "after_transaction_end", _forget)
    changed.add(session_id)


def _tell(session: SyncSession) -> None:
    changed: set[UUID] = session.info[_CHANGED]
    # The end of a savepoint is told here, too.
    if not changed or session.in_nested_transaction():
        return
    bind = session.get_bind(Session)
    if isinstance(bind, Connection):
        if bind.in_transaction():
            # It only joined a transaction, whose owner has still to commit it.
            return
        bind = bind.engine
    get_notifier().add(bind, changed)


def _forget(session: SyncSession, transaction: SessionTransaction) -> None:
    if transaction.parent is None:
        session.info[_CHANGED].clear()
