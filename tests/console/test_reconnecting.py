"""Streams that end, are refused or were never opened: the page says why, and goes on where it can."""

import asyncio
import re
from uuid import UUID

import pytest
from playwright.async_api import Page, Request, expect
from sqlalchemy import text

from session_db import crud
from session_db.database import get_async_session
from session_db.models import SDKSession
from tests.api.serving import Service
from tests.console.conftest import OpenPage, log_in
from tests.factories import make_session, message

LOST = "The connection is lost"
LONGEST_REST_MS = 25_000
"""A page that lost its connection rests up to 15 s before it tries again."""

HIDDEN = "Object.defineProperty(document, 'hidden', { configurable: true, get: () => !window.isSeen })"


async def _talk(*contents: str) -> UUID:
    async with get_async_session() as db:
        session = await make_session(db, session_name="Talk")
        await crud.save_display_messages(db, session.id, [message(content) for content in contents])
        return session.id


async def _say(session_id: UUID, content: str) -> None:
    async with get_async_session() as db:
        await crud.save_display_messages(db, session_id, [message(content)])


async def _forget_last(session_id: UUID, count: int) -> None:
    """Take the last messages back, as a transcript does that does not say what hooks told."""
    async with get_async_session() as db:
        parameters = {"id": session_id, "count": count}
        await db.execute(text("UPDATE sessions SET message_count = message_count - :count WHERE id = :id"), parameters)
        await db.execute(
            text("DELETE FROM messages WHERE session_id = :id AND message_index >= (SELECT message_count FROM sessions WHERE id = :id)"),
            parameters,
        )


def _streams(page: Page) -> list[Request]:
    """Collect the requests for streams that a page makes from now on."""
    requests: list[Request] = []
    page.on("request", lambda request: requests.append(request) if request.resource_type == "eventsource" else None)
    return requests


async def test_a_session_that_is_deleted_while_somebody_looks_is_not_asked_for_again(open_page: OpenPage) -> None:
    session_id = await _talk("to be deleted")
    page = await open_page("/settings", goes_away=True)
    streams = _streams(page)
    await page.goto(f"/sessions/{session_id}")
    await expect(page.get_by_text("to be deleted")).to_be_visible()
    # The page follows the session when its agents are there, too.
    async with asyncio.timeout(20):
        while not streams:
            await asyncio.sleep(0.05)
    async with get_async_session() as db:
        await crud.delete_session(db, session_id)
    await expect(page.get_by_role("alert")).to_contain_text("was deleted")
    await page.wait_for_timeout(5000)
    assert len(streams) == 1
    await expect(page.get_by_text(LOST)).to_have_count(0)


async def test_a_session_that_was_deleted_while_the_service_was_away_is_told(service: Service, open_page: OpenPage) -> None:
    session_id = await _talk("to be deleted")
    page = await open_page(f"/sessions/{session_id}", goes_away=True)
    await expect(page.get_by_text("to be deleted")).to_be_visible()
    await service.end()
    async with get_async_session() as db:
        await crud.delete_session(db, session_id)
    await service.start()
    await expect(page.get_by_role("alert")).to_contain_text("was deleted", timeout=LONGEST_REST_MS)
    await expect(page.get_by_text(LOST)).to_have_count(0)


async def test_messages_that_were_replaced_by_fewer_meanwhile_are_those_that_are_shown(service: Service, open_page: OpenPage) -> None:
    session_id = await _talk("kept", "told by a hook", "told by another")
    page = await open_page(f"/sessions/{session_id}", goes_away=True)
    await expect(page.get_by_text("told by another")).to_be_visible()
    await service.end()
    await _forget_last(session_id, 2)
    await service.start()
    await expect(page.get_by_text(LOST)).to_have_count(0, timeout=LONGEST_REST_MS)
    await expect(page.get_by_text("told by")).to_have_count(0)
    await _say(session_id, "from the transcript")
    await expect(page.get_by_text("from the transcript")).to_be_visible()
    await expect(page.get_by_text("kept")).to_be_visible()


async def test_who_is_logged_out_elsewhere_is_asked_to_log_in(service: Service, open_page: OpenPage) -> None:
    session_id = await _talk("hello")
    page = await open_page(f"/sessions/{session_id}/agents", goes_away=True)
    await expect(page.get_by_text("No agents yet")).to_be_visible()
    await service.end()
    async with get_async_session() as db:
        await db.execute(text("UPDATE tokens SET revoked_at = now()"))
    await service.start()
    await expect(page.get_by_role("heading", name="Log in to session-db")).to_be_visible(timeout=LONGEST_REST_MS)
    await expect(page).to_have_title("Log in · session-db")
    other = await page.context.new_page()
    await log_in(other, service, "read")
    await page.evaluate("document.dispatchEvent(new Event('visibilitychange'))")
    await expect(page.get_by_text("No agents yet")).to_be_visible()


async def test_a_session_that_is_opened_while_the_service_is_away_comes_when_it_is_back(service: Service, open_page: OpenPage) -> None:
    session_id = await _talk("patience")
    page = await open_page(f"/sessions/{session_id}", goes_away=True)
    await expect(page.get_by_text("patience")).to_be_visible()
    await page.keyboard.press("Escape")
    row = page.get_by_role("link", name="Talk")
    await expect(row).to_be_visible()
    await service.end()
    await row.click()
    await expect(page.get_by_role("alert")).to_contain_text("does not answer")
    await service.start()
    await expect(page.get_by_text("patience")).to_be_visible(timeout=LONGEST_REST_MS)
    await expect(page.get_by_role("alert")).to_have_count(0)


async def test_a_page_without_a_stream_says_nothing_of_a_connection(service: Service, open_page: OpenPage) -> None:
    page = await open_page(goes_away=True)
    await expect(page.get_by_text("No sessions yet")).to_be_visible()
    await service.end()
    await expect(page.get_by_text(LOST)).to_be_visible()
    await service.start()
    await page.get_by_role("link", name="Search").click()
    await expect(page.get_by_role("searchbox")).to_be_visible()
    await expect(page.get_by_text(LOST)).to_have_count(0)


async def test_the_address_of_a_session_that_moved_leads_to_where_it_is(open_page: OpenPage) -> None:
    before, now = await _talk("gone"), await _talk("here")
    async with get_async_session() as db:
        db.add(SDKSession(sdk_key="one", session_id=now, moved_from=before, bound_by="agent"))
        await crud.delete_session(db, before)
    page = await open_page(f"/sessions/{before}", goes_away=True)
    await expect(page.get_by_text("here", exact=True)).to_be_visible()
    await expect(page).to_have_url(re.compile(str(now)))


async def test_an_address_of_no_session_says_so(open_page: OpenPage) -> None:
    page = await open_page(f"/sessions/{UUID(int=7)}", goes_away=True)
    await expect(page.get_by_role("alert")).to_contain_text("there is no session")
    await expect(page.get_by_text(LOST)).to_have_count(0)


@pytest.mark.parametrize("path", ["/", "session"])
async def test_a_page_that_was_opened_in_the_background_takes_no_connection_until_somebody_looks(open_page: OpenPage, path: str) -> None:
    session_id = await _talk("first")
    page = await open_page("/settings")
    await page.add_init_script(HIDDEN)
    streams = _streams(page)
    await page.goto("/" if path == "/" else f"/sessions/{session_id}")
    await expect(page.get_by_text("Talk").first).to_be_visible()
    await page.wait_for_timeout(500)
    assert streams == []
    await _say(session_id, "second")
    await page.evaluate("window.isSeen = true; document.dispatchEvent(new Event('visibilitychange'))")
    async with asyncio.timeout(20):
        while not streams:
            await asyncio.sleep(0.05)
    if path != "/":
        await expect(page.get_by_text("second")).to_be_visible()
