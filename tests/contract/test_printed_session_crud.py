"""The second seed's session functions: the printed ones say which arguments ours take, and what comes of them."""

import inspect
from datetime import UTC, datetime
from typing import Any
from uuid import uuid4

import pytest
from sqlalchemy import text

from session_db import crud
from session_db.database import UnitOfWork
from session_db.models import Session, SessionCreate, SessionNameUpdate
from tests.contract.conftest import Printed

CREATE_SESSION = """
async def create_session(
    db: AsyncSession,
    session_data: SessionCreate
) -> Session:
    db_session = Session.model_validate(session_data)

    # Store session name in metadata if provided
    if session_data.session_name:
        db_session.metadata_ = {
            **db_session.metadata_,
            "name": session_data.session_name,
            "created_by_user": True
        }

    db.add(db_session)
    await db.commit()
    await db.refresh(db_session)
    return db_session
"""

GET_SESSION = """
async def get_session(
    db: AsyncSession,
    session_id: UUID
) -> Optional[Session]:
    result = await db.execute(
        select(Session).where(Session.session_id == session_id)
    )
    return result.scalar_one_or_none()
"""

LIST_SESSIONS = """
async def list_sessions(
    db: AsyncSession,
    status: Optional[str] = None
) -> List[Session]:
    query = select(Session)

    if status:
        query = query.where(Session.status == status)

    query = query.order_by(Session.last_activity.desc())
    result = await db.execute(query)
    return result.scalars().all()
"""

UPDATE_SESSION_ACTIVITY = """
async def update_session_activity(
    db: AsyncSession,
    session_id: UUID
) -> Optional[Session]:
    result = await db.execute(
        select(Session).where(Session.session_id == session_id)
    )
    db_session = result.scalar_one_or_none()

    if db_session:
        db_session.last_activity = datetime.now()
        await db.commit()
        await db.refresh(db_session)

    return db_session
"""

UPDATE_SESSION_STATUS = """
async def update_session_status(
    db: AsyncSession,
    session_id: UUID,
    status: str
) -> Optional[Session]:
    result = await db.execute(
        select(Session).where(Session.session_id == session_id)
    )
    db_session = result.scalar_one_or_none()

    if db_session:
        db_session.status = status
        await db.commit()
        await db.refresh(db_session)

    return db_session
"""

UPDATE_SESSION_NAME = """
async def update_session_name(
    db: AsyncSession,
    session_id: UUID,
    name_update: SessionNameUpdate
) -> Optional[Session]:
    result = await db.execute(
        select(Session).where(Session.session_id == session_id)
    )
    db_session = result.scalar_one_or_none()

    if db_session:
        metadata = db_session.metadata_ or {}

        if name_update.name is not None:
            # Set or update name
            metadata["name"] = name_update.name
            metadata["created_by_user"] = True
        else:
            # Clear name (remove from metadata)
            metadata.pop("name", None)
            metadata.pop("created_by_user", None)

        db_session.metadata_ = metadata
        await db.commit()
        await db.refresh(db_session)

    return db_session
"""

GET_SESSION_OF_BEST_PRACTICES = """
async def get_session(db: AsyncSession, session_id: UUID):
    result = await db.execute(
        select(Session).where(Session.session_id == session_id)
    )
    return result.scalar_one_or_none()
"""

PRINTED = [
    CREATE_SESSION,
    GET_SESSION,
    LIST_SESSIONS,
    UPDATE_SESSION_ACTIVITY,
    UPDATE_SESSION_STATUS,
    UPDATE_SESSION_NAME,
    GET_SESSION_OF_BEST_PRACTICES,
]


@pytest.mark.parametrize("snippet", PRINTED, ids=lambda snippet: snippet.partition("async def ")[2].partition("(")[0])
async def test_ours_takes_the_printed_arguments(printed: Printed, snippet: str) -> None:
    theirs = await printed(snippet)
    ours = getattr(crud, theirs.__name__)
    assert inspect.iscoroutinefunction(ours)
    wanted = list(inspect.signature(theirs).parameters.values())
    taken = list(inspect.signature(ours).parameters.values())
    assert [(p.name, p.kind, p.default) for p in taken[: len(wanted)]] == [(p.name, p.kind, p.default) for p in wanted]
    assert [p.name for p in taken[len(wanted) :] if p.default is p.empty] == []


FIELDS = ("agent_name", "model_name", "provider", "use_claude_code", "current_project", "status", "metadata_")
CHAT = SessionCreate(agent_name="strudel", model_name="grok-4-fast")


def shown(session: Session | None) -> dict[str, Any] | None:
    """Return what the seed's session says of itself, without what differs from one to the next."""
    return None if session is None else {name: getattr(session, name) for name in FIELDS}


class TestCreateSession:
    @pytest.mark.parametrize(
        "session_data",
        [
            CHAT,
            SessionCreate(agent_name="strudel", session_name="Test Session"),
            SessionCreate(
                agent_name="tooler", model_name="grok-4-fast", provider="openrouter", use_claude_code=True, current_project="house_project"
            ),
        ],
    )
    async def test_gives_what_the_printed_body_gives(self, db: UnitOfWork, printed: Printed, session_data: SessionCreate) -> None:
        theirs = await (await printed(CREATE_SESSION))(db, session_data)
        ours = await crud.create_session(db, session_data)
        assert shown(ours) == shown(theirs)
        assert ours.session_id not in (None, theirs.session_id)

    async def test_dates_the_session(self, db: UnitOfWork) -> None:
        before = datetime.now(UTC)
        session = await crud.create_session(db=db, session_data=CHAT)
        assert before <= session.created_at <= datetime.now(UTC)
        assert before <= session.last_activity <= datetime.now(UTC)


@pytest.mark.parametrize("snippet", [GET_SESSION, GET_SESSION_OF_BEST_PRACTICES])
class TestGetSession:
    async def test_gives_what_the_printed_body_gives(self, db: UnitOfWork, printed: Printed, snippet: str) -> None:
        session = await crud.create_session(db, CHAT)
        theirs = await printed(snippet)
        assert await crud.get_session(db, session.session_id) is await theirs(db, session.session_id) is session
        assert await crud.get_session(db=db, session_id=session.session_id) is session

    async def test_gives_none_for_an_unknown_session(self, db: UnitOfWork, printed: Printed, snippet: str) -> None:
        assert await crud.get_session(db, uuid4()) is await (await printed(snippet))(db, uuid4()) is None


class TestListSessions:
    async def test_gives_what_the_printed_body_gives(self, db: UnitOfWork, printed: Printed) -> None:
        theirs = await printed(LIST_SESSIONS)
        for day, status in enumerate(["active", "idle", "active", "terminated"], start=1):
            session = await crud.create_session(db, SessionCreate(agent_name="strudel", status=status))
            session.last_activity = datetime(2025, 12, day, tzinfo=UTC)
        await db.flush()
        for wanted in (None, "active", "idle", "terminated", "unheard of"):
            assert await crud.list_sessions(db, wanted) == await theirs(db, wanted)
            assert await crud.list_sessions(db=db, status=wanted) == await theirs(db, wanted)
        assert len(await crud.list_sessions(db)) == 4
        assert await crud.list_sessions(db) == await theirs(db)


class TestUpdateSessionActivity:
    async def test_dates_the_session_now(self, db: UnitOfWork) -> None:
        session = await crud.create_session(db, CHAT)
        await db.execute(text("UPDATE sessions SET last_activity = now() - interval '1 hour'"))
        begun = datetime.now(UTC).replace(microsecond=0)
        updated = await crud.update_session_activity(db, session.session_id)
        assert updated is session
        assert begun <= session.last_activity <= datetime.now(UTC)

    async def test_gives_none_for_an_unknown_session(self, db: UnitOfWork) -> None:
        assert await crud.update_session_activity(db=db, session_id=uuid4()) is None


class TestUpdateSessionStatus:
    @pytest.mark.parametrize("status", ["active", "idle", "terminated"])
    async def test_gives_what_the_printed_body_gives(self, db: UnitOfWork, printed: Printed, status: str) -> None:
        session, another = await crud.create_session(db, CHAT), await crud.create_session(db, CHAT)
        theirs = await (await printed(UPDATE_SESSION_STATUS))(db, another.session_id, status)
        ours = await crud.update_session_status(db, session.session_id, status)
        assert ours is session
        assert shown(ours) == shown(theirs)

    async def test_gives_none_for_an_unknown_session(self, db: UnitOfWork) -> None:
        assert await crud.update_session_status(db=db, session_id=uuid4(), status="idle") is None


class TestUpdateSessionName:
    @pytest.mark.parametrize("names", [["First"], ["First", "Second"], ["First", None], [None]])
    @pytest.mark.parametrize("metadata", [{}, {"bpm": 120, "tags": ["drums"]}])
    async def test_gives_what_the_printed_body_gives(
        self, db: UnitOfWork, printed: Printed, names: list[str | None], metadata: dict[str, Any]
    ) -> None:
        session_data = SessionCreate(agent_name="strudel", metadata=metadata)
        session, another = await crud.create_session(db, session_data), await crud.create_session(db, session_data)
        theirs = await printed(UPDATE_SESSION_NAME)
        for name in names:
            ours = await crud.update_session_name(db, session.session_id, SessionNameUpdate(name=name))
            assert shown(ours) == shown(await theirs(db, another.session_id, SessionNameUpdate(name=name)))

    async def test_gives_none_for_an_unknown_session(self, db: UnitOfWork) -> None:
        assert await crud.update_session_name(db=db, session_id=uuid4(), name_update=SessionNameUpdate(name="Debug Auth Flow")) is None
