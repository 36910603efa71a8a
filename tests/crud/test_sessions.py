"""Sessions: create, read, list, update, delete."""

from datetime import UTC, datetime, timedelta
from uuid import UUID, uuid4

import pytest
from pydantic import ValidationError
from sqlalchemy import select, update
from sqlmodel import col

from session_db import crud
from session_db.database import UnitOfWork
from session_db.errors import AlreadyExists, Conflict, InvalidInput
from session_db.models import Session, SessionCreate, SessionNameUpdate, SessionRead, SessionUpdate
from tests.factories import event, make_event, make_session, message

LONG_AGO = datetime(2025, 1, 1, tzinfo=UTC)


async def set_in_database(db: UnitOfWork, session: Session, **values: object) -> None:
    await db.execute(update(Session).where(col(Session.id) == session.id).values(**values).execution_options(synchronize_session=False))


class TestCreateSession:
    async def test_a_chat_keeps_its_name_in_metadata(self, db: UnitOfWork) -> None:
        data = SessionCreate(agent_name="strudel", model_name="grok-4-fast", session_name="Test Session", metadata={"bpm": 120})
        session = await crud.create_session(db, data)
        assert (session.session_type, session.status, session.agent_name, session.model_name) == (
            "chat",
            "active",
            "strudel",
            "grok-4-fast",
        )
        assert session.metadata_ == {"bpm": 120, "name": "Test Session", "created_by_user": True}
        assert session.started_at is None

    async def test_a_session_with_a_slug_is_a_workflow(self, db: UnitOfWork) -> None:
        session = await make_session(db, session_slug="2026-01-15_auth-feature", working_dir="/path//to/./project/")
        assert (session.session_type, session.status, session.working_dir) == ("full", "created", "/path/to/project")

    async def test_it_takes_an_id(self, db: UnitOfWork) -> None:
        session_id = uuid4()
        session = await make_session(db, session_id=session_id)
        assert session.id == session.session_id == session_id

    async def test_a_known_id_is_refused_and_the_transaction_goes_on(self, db: UnitOfWork) -> None:
        first = await make_session(db, session_name="first")
        with pytest.raises(AlreadyExists) as caught:
            await make_session(db, session_id=first.id)
        assert caught.value.details["session_id"] == first.id
        db.expunge(first)
        with pytest.raises(AlreadyExists):
            await make_session(db, session_id=first.id)
        other = await make_session(db)
        await db.commit()
        assert await crud.get_session(db, other.id) is other

    async def test_a_known_slug_is_refused_in_its_directory_only(self, db: UnitOfWork) -> None:
        await make_session(db, session_slug="auth", working_dir="/work/a")
        with pytest.raises(AlreadyExists, match="slug"):
            await make_session(db, session_slug="auth", working_dir="/work/a/")
        await make_session(db, session_slug="auth", working_dir="/work/b")

    @pytest.mark.parametrize(
        ("values", "complaint"),
        [
            ({"agent_name": None}, "agent_name"),
            ({"status": "spec"}, "a chat session cannot have status 'spec'"),
            ({"session_type": "quick", "status": "active"}, "a quick session cannot have status 'active'"),
            ({"session_type": "other"}, "session_type"),
            ({"session_slug": "auth", "working_dir": None}, "working_dir"),
            ({"session_slug": "../auth"}, "is no folder name"),
            ({"working_dir": "relative/path"}, "is relative"),
            ({"titel": "typo"}, "titel"),
            ({"title": "with \x00"}, r"title: holds a NUL character"),
            ({"metadata": {"tags": ["ok", "\ud800"]}}, r"metadata\.tags\[1\]: holds a lone surrogate"),
            ({"metadata": {"at": LONG_AGO}}, r"metadata\.at: is a datetime"),
            ({"metadata": {"x": float("nan")}}, r"metadata\.x: is nan"),
        ],
    )
    async def test_what_makes_no_session_is_refused(self, db: UnitOfWork, values: dict[str, object], complaint: str) -> None:
        with pytest.raises(ValueError, match=complaint):
            await make_session(db, **values)

    async def test_a_session_that_is_past_its_first_status_has_begun(self, db: UnitOfWork) -> None:
        assert (await make_session(db, session_slug="a")).started_at is None
        building = await make_session(db, session_slug="b", status="build")
        assert building.started_at is not None
        assert building.completed_at is None
        assert (await make_session(db, session_slug="c", status="failed")).completed_at is not None

    async def test_the_id_of_one_that_is_being_erased_says_so(self, db: UnitOfWork) -> None:
        session = await make_session(db)
        await crud.delete_session(db, session.id)
        for _ in range(2):
            with pytest.raises(AlreadyExists, match="being erased; call erase_deleted_sessions"):
                await make_session(db, session_id=session.id)
            # Once more as one who has not seen it.
            db.expunge_all()
        while await crud.erase_deleted_sessions(db):
            pass
        db.expunge_all()
        await make_session(db, session_id=session.id)


class TestSessionId:
    """``id`` and ``session_id`` are the same, wherever either stands."""

    async def test_in_the_constructor(self, db: UnitOfWork) -> None:
        session_id = uuid4()
        db.add(Session(session_id=session_id, agent_name="strudel", metadata={"bpm": 90}))
        await db.commit()
        session = await crud.get_session(db, session_id)
        assert session is not None
        assert session.metadata_ == {"bpm": 90}

    async def test_in_queries(self, db: UnitOfWork) -> None:
        one, two, _ = [await make_session(db) for _ in range(3)]
        found = await db.execute(select(Session).where(Session.session_id == one.session_id))
        assert found.scalar_one_or_none() is one
        among = await db.execute(select(Session.session_id).where(Session.session_id.in_([one.id, two.id])))
        assert set(among.scalars()) == {one.id, two.id}


class TestSessionRead:
    async def test_it_shows_the_session_with_counts_and_names(self, db: UnitOfWork) -> None:
        session = await make_session(db, session_name="Debug Auth Flow", metadata={"bpm": 120})
        await crud.save_display_messages(db, session.id, [message(), message()])
        read = SessionRead.model_validate(session)
        assert (read.session_id, read.message_count, read.session_name, read.display_name) == (
            session.id,
            2,
            "Debug Auth Flow",
            "Debug Auth Flow",
        )
        assert read.model_dump(by_alias=True)["metadata"] == {"bpm": 120, "name": "Debug Auth Flow", "created_by_user": True}

    @pytest.mark.parametrize(
        ("values", "name"),
        [
            ({"session_slug": "auth", "title": "Title", "session_name": "Name"}, "Name"),
            ({"session_slug": "auth", "title": "Title"}, "Title"),
            ({"session_slug": "auth", "title": None}, "auth"),
            ({"agent_name": "strudel"}, "strudel 2025-01-01 00:00"),
        ],
    )
    async def test_the_display_name_is_name_else_title_else_slug_else_agent_and_date(
        self, db: UnitOfWork, values: dict[str, object], name: str
    ) -> None:
        session = await make_session(db, **values)
        session.created_at = LONG_AGO
        assert SessionRead.model_validate(session).display_name == name

    @pytest.mark.parametrize(
        ("values", "unattributed"),
        [
            ({"reported_cost": 1.5, "total_cost": 1.2}, 0.3),
            ({"reported_cost": None}, None),
            ({"reported_cost": 1, "forked_from": uuid4()}, None),
        ],
    )
    async def test_it_tells_the_cost_that_no_agent_made(
        self, db: UnitOfWork, values: dict[str, object], unattributed: float | None
    ) -> None:
        session = await make_session(db)
        for name, value in values.items():
            setattr(session, name, value)
        assert SessionRead.model_validate(session).unattributed_cost == unattributed


class TestGetSession:
    async def test_an_unknown_id_gives_none(self, db: UnitOfWork) -> None:
        assert await crud.get_session(db, uuid4()) is None

    async def test_it_gives_what_is_in_the_database_now(self, db: UnitOfWork) -> None:
        session = await make_session(db)
        await set_in_database(db, session, title="changed elsewhere")
        again = await crud.get_session(db, session.id)
        assert again is session
        assert again.title == "changed elsewhere"

    async def test_metadata_that_was_changed_in_place_is_stored(self, db: UnitOfWork) -> None:
        session = await make_session(db, metadata={"tags": 1})
        session.metadata_["bpm"] = 128
        await db.commit()
        db.expunge_all()
        again = await crud.get_session(db, session.id)
        assert again is not None
        assert again.metadata_ == {"tags": 1, "bpm": 128}


class TestGetSessionBySlug:
    async def test_a_slug_of_one_project_needs_no_directory(self, db: UnitOfWork) -> None:
        session = await make_session(db, session_slug="only")
        assert await crud.get_session_by_slug(db, "only") is session
        assert await crud.get_session_by_slug(db, "none") is None

    async def test_a_slug_of_several_projects_names_their_directories(self, db: UnitOfWork) -> None:
        await make_session(db, session_slug="auth", working_dir="/work/b")
        here = await make_session(db, session_slug="auth", working_dir="/work/a")
        with pytest.raises(Conflict, match="/work/a, /work/b") as caught:
            await crud.get_session_by_slug(db, "auth")
        assert caught.value.details["directories"] == ["/work/a", "/work/b"]
        assert await crud.get_session_by_slug(db, "auth", "/work/a/") is here


class TestListSessions:
    async def test_it_filters(self, db: UnitOfWork) -> None:
        chat = await make_session(db, current_project="house")
        idle = await make_session(db, status="idle", agent_name="devmate")
        workflow = await make_session(db, session_slug="auth", working_dir="/work/a", session_type="quick")
        assert await crud.list_sessions(db, "idle") == [idle]
        assert await crud.list_sessions(db, session_type="quick") == [workflow]
        assert await crud.list_sessions(db, working_dir="/work/a/") == [workflow]
        assert await crud.list_sessions(db, agent_name="devmate") == [idle]
        assert await crud.list_sessions(db, current_project="house") == [chat]

    async def test_pages_hold_every_session_once_while_others_come_and_go(self, db: UnitOfWork) -> None:
        sessions = [await make_session(db) for _ in range(7)]
        for number, session in enumerate(sessions):
            # Pairs of the same moment: the id decides.
            await set_in_database(db, session, last_activity=LONG_AGO + timedelta(hours=number // 2))
        seen: list[UUID] = []
        cursor = None
        while True:
            page = await crud.list_sessions(db, limit=3, cursor=cursor)
            seen += [session.id for session in page if session.last_activity < LONG_AGO + timedelta(days=1)]
            await make_session(db)
            if page.next_cursor is None:
                break
            cursor = page.next_cursor
        newest_first = sorted(sessions, key=lambda session: (session.last_activity, session.id), reverse=True)
        assert seen == [session.id for session in newest_first]

    async def test_the_last_page_has_no_cursor(self, db: UnitOfWork) -> None:
        for _ in range(2):
            await make_session(db)
        assert (await crud.list_sessions(db, limit=2)).next_cursor is None
        assert (await crud.list_sessions(db, limit=1)).next_cursor is not None

    @pytest.mark.parametrize("limit", [0, -1, 1001])
    async def test_a_limit_out_of_range_is_refused(self, db: UnitOfWork, limit: int) -> None:
        with pytest.raises(InvalidInput, match="1 to 1000"):
            await crud.list_sessions(db, limit=limit)


class TestUpdateSession:
    async def test_only_what_was_set_changes_and_none_clears(self, db: UnitOfWork) -> None:
        session = await make_session(db, title="Title", description="Long", provider="openrouter", metadata={"a": 1})
        await crud.update_session(db, session.id, SessionUpdate(title="New", provider=None, metadata=None))
        assert (session.title, session.description, session.provider, session.metadata_) == ("New", "Long", None, {})
        assert await crud.update_session(db, uuid4(), SessionUpdate(title="New")) is None

    @pytest.mark.parametrize(
        ("change", "complaint"),
        [
            ({"status": None}, "status cannot be cleared"),
            ({"pinned": None}, "pinned cannot be cleared"),
            ({"working_dir": None}, "needs the absolute path"),
            ({"working_dir": "relative"}, "is relative"),
            ({"session_slug": "a/b"}, "is no folder name"),
            ({"status": "idle"}, "a full session cannot have status 'idle'"),
        ],
    )
    async def test_a_refused_change_leaves_the_session_as_it_was(self, db: UnitOfWork, change: dict[str, object], complaint: str) -> None:
        session = await make_session(db, session_slug="auth", title="Title")
        with pytest.raises(InvalidInput, match=complaint):
            await crud.update_session(db, session.id, SessionUpdate.model_validate({"title": "New"} | change))
        await db.commit()
        assert (session.title, session.status, session.working_dir) == ("Title", "created", "/work/project")

    async def test_a_chat_needs_its_agent(self, db: UnitOfWork) -> None:
        session = await make_session(db)
        with pytest.raises(InvalidInput, match="agent_name"):
            await crud.update_session(db, session.id, SessionUpdate(agent_name=None))

    async def test_a_taken_slug_is_refused_and_the_session_can_still_be_read(self, db: UnitOfWork) -> None:
        await make_session(db, session_slug="taken")
        session = await make_session(db, session_slug="free", title="Title")
        with pytest.raises(AlreadyExists):
            await crud.update_session(db, session.id, SessionUpdate(session_slug="taken", title="New"))
        assert (session.session_slug, session.title) == ("free", "Title")
        await crud.update_session(db, session.id, SessionUpdate(session_slug="other"))
        await db.commit()
        assert await crud.get_session_by_slug(db, "other") is session

    async def test_a_naive_datetime_is_utc(self, db: UnitOfWork) -> None:
        session = await make_session(db)
        await crud.update_session(db, session.id, SessionUpdate(started_at=datetime(2026, 1, 15, 12)))  # noqa: DTZ001  the case
        db.expunge_all()
        again = await crud.get_session(db, session.id)
        assert again is not None
        assert again.started_at == datetime(2026, 1, 15, 12, tzinfo=UTC)

    def test_unknown_fields_are_refused(self) -> None:
        with pytest.raises(ValidationError, match="titel"):
            SessionUpdate.model_validate({"titel": "typo"})

    async def test_a_chat_keeps_the_name_of_its_agent(self, db: UnitOfWork) -> None:
        session = await make_session(db)
        for name in ("", None):
            with pytest.raises(InvalidInput, match="agent_name"):
                await crud.update_session(db, session.id, SessionUpdate(agent_name=name))
        assert session.agent_name == "strudel"


class TestUpdateSessionStatus:
    async def test_each_change_of_a_workflow_is_a_phase_event(self, db: UnitOfWork) -> None:
        session = await make_session(db, session_slug="auth")
        for status in ("spec", "spec", "complete"):
            assert await crud.update_session_status(db, session.id, status) is session
        events = await crud.list_agent_logs(db, session.id, event_category="phase")
        assert [(e.event_index, e.payload, e.content) for e in events] == [
            (0, {"from": "created", "to": "spec"}, "spec"),
            (1, {"from": "spec", "to": "complete"}, "complete"),
        ]
        assert session.event_count == 2
        assert session.started_at is not None
        assert session.completed_at is not None

    async def test_a_chat_records_its_end_only(self, db: UnitOfWork) -> None:
        session = await make_session(db)
        for status in ("idle", "active", "terminated"):
            await crud.update_session_status(db, session.id, status)
        events = await crud.list_agent_logs(db, session.id)
        assert [e.payload for e in events] == [{"from": "active", "to": "terminated"}]
        assert session.started_at is None
        assert session.completed_at is not None

    async def test_a_session_that_goes_on_is_not_complete(self, db: UnitOfWork) -> None:
        session = await make_session(db, session_slug="auth")
        await crud.update_session_status(db, session.id, "failed")
        began = session.started_at
        await crud.update_session_status(db, session.id, "build")
        assert (session.completed_at, session.started_at) == (None, began)

    async def test_a_word_of_the_other_type_is_refused(self, db: UnitOfWork) -> None:
        session = await make_session(db)
        with pytest.raises(InvalidInput, match="active, idle, terminated"):
            await crud.update_session_status(db, session.id, "complete")

    async def test_an_unknown_session_gives_none(self, db: UnitOfWork) -> None:
        assert await crud.update_session_status(db, uuid4(), "idle") is None


class TestLastActivity:
    async def test_update_session_activity_moves_it_to_now_in_whole_seconds(self, db: UnitOfWork) -> None:
        session = await make_session(db)
        await set_in_database(db, session, last_activity=LONG_AGO)
        assert await crud.update_session_activity(db, session.id) is session
        assert session.last_activity.microsecond == 0
        assert timedelta() <= datetime.now(UTC) - session.last_activity < timedelta(seconds=10)

    async def test_it_never_moves_back(self, db: UnitOfWork) -> None:
        session = await make_session(db)
        ahead = datetime.now(UTC) + timedelta(hours=1)
        await set_in_database(db, session, last_activity=ahead)
        await crud.update_session_activity(db, session.id)
        await make_event(db, session)
        await crud.save_display_messages(db, session.id, [message()], last_activity=LONG_AGO)
        assert session.last_activity == ahead

    async def test_it_never_moves_ahead_of_the_clock(self, db: UnitOfWork) -> None:
        session = await make_session(db)
        await crud.append_agent_logs(db, [event(session)], last_activity=datetime.now(UTC) + timedelta(hours=1))
        assert session.last_activity < datetime.now(UTC) + timedelta(seconds=10)

    async def test_an_append_moves_it_to_the_moment_that_was_said(self, db: UnitOfWork) -> None:
        session = await make_session(db)
        await set_in_database(db, session, last_activity=LONG_AGO)
        moment = LONG_AGO + timedelta(minutes=3, milliseconds=700)
        await crud.append_agent_logs(db, [event(session)], last_activity=moment)
        assert session.last_activity == LONG_AGO + timedelta(minutes=3)
        await crud.save_display_messages(db, session.id, [message()], last_activity=moment + timedelta(minutes=1))
        assert session.last_activity == LONG_AGO + timedelta(minutes=4)

    async def test_an_unknown_session_gives_none(self, db: UnitOfWork) -> None:
        assert await crud.update_session_activity(db, uuid4()) is None


class TestUpdateSessionName:
    async def test_a_name_is_set_and_cleared_beside_other_metadata(self, db: UnitOfWork) -> None:
        session = await make_session(db, metadata={"bpm": 120})
        await crud.update_session_name(db, session.id, SessionNameUpdate(name="Debug"))
        assert session.metadata_ == {"bpm": 120, "name": "Debug", "created_by_user": True}
        await crud.update_session_name(db, session.id, SessionNameUpdate(name=None))
        assert session.metadata_ == {"bpm": 120}
        assert await crud.update_session_name(db, uuid4(), SessionNameUpdate(name="x")) is None


class TestMoments:
    async def test_a_change_that_is_told_late_stands_where_it_happened(self, db: UnitOfWork) -> None:
        session = await make_session(db)
        before = session.last_activity
        ended = await crud.update_session(db, session.id, SessionUpdate(status="terminated"), moment=LONG_AGO)
        assert ended is not None
        assert (ended.completed_at, ended.last_activity) == (LONG_AGO, before)
        (phase,) = await crud.list_agent_logs(db, session.id)
        assert (phase.event_type, phase.timestamp) == ("StatusChange", LONG_AGO)

    async def test_one_of_a_clock_that_is_ahead_ends_now(self, db: UnitOfWork) -> None:
        session = await make_session(db)
        ended = await crud.update_session(db, session.id, SessionUpdate(status="terminated"), moment=datetime(2199, 1, 1, tzinfo=UTC))
        assert ended is not None
        assert ended.completed_at is not None
        assert max(ended.completed_at, ended.last_activity) <= datetime.now(UTC)
