"""``/api/sessions/{session_id}/resume``: how to go on with a session."""

from uuid import UUID, uuid4

import pytest
from httpx import AsyncClient

from session_db import crud
from session_db.capture.importer import import_recordings
from session_db.crud.transcripts import append_entries, ensure_transcript
from session_db.database import get_async_session
from tests.api.conftest import ClientWith
from tests.api.test_seed_routes import create_session
from tests.capture.recorded import BACKGROUND, recording
from tests.factories import make_agent, make_session


async def make_agents(*names: str) -> UUID:
    """Make a session in which a build agent worked for each of these SDK sessions, one after the other, and return its id."""
    async with get_async_session() as db:
        session = await make_session(db, session_slug="a", working_dir="/work/a b")
        for name in names:
            agent = await make_agent(db, session, sdk_session_id=name)
            stream = await ensure_transcript(db, session.id, agent.id, "-work", name, "")
            await append_entries(db, stream, [(None, "{}")])
        return session.id


class TestResume:
    async def test_it_says_what_to_run_and_where(self, client_with: ClientWith) -> None:
        await import_recordings([recording(BACKGROUND)])
        client = await client_with("read")
        told = (await client.get(f"/api/sessions/{BACKGROUND}/resume")).json()
        directory = (await client.get(f"/api/sessions/{BACKGROUND}")).json()["working_dir"]
        assert told == {
            "sdk_session_id": str(BACKGROUND),
            "directory": directory,
            "command": ["claude", "--resume", str(BACKGROUND)],
            "shell": f"cd {directory} && claude --resume {BACKGROUND}",
        }

    async def test_of_several_it_is_the_last_or_the_one_that_is_named(self, client: AsyncClient) -> None:
        path = f"/api/sessions/{await make_agents('first', 'second; rm')}/resume"
        answers = [(await client.get(path, params=asked)).json() for asked in ({}, {"sdk_session": "first"}, {"phase": "build"})]
        assert [answer["sdk_session_id"] for answer in answers] == ["second; rm", "first", "second; rm"]
        assert answers[0]["shell"] == "cd '/work/a b' && claude --resume 'second; rm'"

    @pytest.mark.parametrize(
        ("asked", "said"),
        [({}, "has no transcript"), ({"sdk_session": "none"}, "of SDK session none"), ({"phase": "build"}, "no build agent")],
    )
    async def test_where_nothing_can_be_resumed_it_says_so(self, client: AsyncClient, asked: dict[str, str], said: str) -> None:
        session_id = (await create_session(client))["session_id"]
        answer = await client.get(f"/api/sessions/{session_id}/resume", params=asked)
        assert (answer.status_code, answer.json()["code"]) == (404, "not_found")
        assert said in answer.json()["detail"]

    async def test_a_name_that_the_client_would_take_for_an_option_is_refused(self, client: AsyncClient) -> None:
        answer = await client.get(f"/api/sessions/{await make_agents('--dangerously')}/resume")
        assert (answer.status_code, "named like an option" in answer.json()["detail"]) == (409, True)

    async def test_one_of_two_ways_to_name_it_is_given(self, client: AsyncClient) -> None:
        path = f"/api/sessions/{await make_agents('first')}/resume"
        for query in ("phase=build&sdk_session=first", "phase=", "phase=%00"):
            answer = await client.get(f"{path}?{query}")
            assert (answer.status_code, answer.json()["errors"][0]["path"]) == (422, "phase"), query

    async def test_an_unknown_and_a_deleted_session_are_not_found(self, client: AsyncClient) -> None:
        session_id = await make_agents("first")
        async with get_async_session() as db:
            await crud.delete_session(db, session_id)
        for unknown in (session_id, uuid4()):
            assert (await client.get(f"/api/sessions/{unknown}/resume")).status_code == 404
