"""What an application keeps with a row: every change of it is written."""

import json

import pytest

from session_db import crud
from session_db.database import UnitOfWork
from session_db.models import SessionUpdate
from tests.factories import make_session


class TestUpdateSession:
    @pytest.mark.parametrize(("before", "after"), [(1, True), (False, 0), ([1], [True]), ({"a": 0}, {"a": False})])
    async def test_a_number_that_becomes_a_truth_is_stored(self, db: UnitOfWork, before: object, after: object) -> None:
        session = await make_session(db, metadata={"value": before})
        await crud.update_session(db, session.id, SessionUpdate(metadata={"value": after}))
        await db.flush()
        db.expunge_all()
        stored = await crud.get_session(db, session.id)
        assert stored is not None
        assert json.dumps(stored.metadata_) == json.dumps({"value": after})
