"""The list of sessions: live, filtered, endless, and still where somebody looks."""

import asyncio
import re
from typing import Any
from uuid import UUID

from playwright.async_api import Locator, Page, Route, expect

from session_db import crud
from session_db.database import get_async_session
from session_db.models import Session, SessionUpdate
from tests.api.serving import Service
from tests.console.conftest import OpenPage
from tests.factories import event, make_session, message


async def _make(name: str, **values: Any) -> UUID:
    async with get_async_session() as db:
        return (await make_session(db, session_name=name, **values)).id


async def _make_many(number: int) -> UUID:
    """Make ``session 000`` and so on, and return the last one's id."""
    async with get_async_session() as db:
        return [(await make_session(db, session_name=f"session {each:03}")).id for each in range(number)][-1]


async def _update(session_id: UUID, **values: Any) -> Session | None:
    async with get_async_session() as db:
        return await crud.update_session(db, session_id, SessionUpdate.model_validate(values))


def _rows(page: Page) -> Locator:
    return page.get_by_role("list", name="Sessions, the last active first").get_by_role("listitem")


class TestLive:
    async def test_a_session_that_begins_appears_and_changes_where_it_stands(self, page: Page, demo: str) -> None:
        await expect(_rows(page)).to_have_count(1)
        session_id = await _make("Fix the basket")
        await expect(_rows(page).first).to_contain_text("Fix the basket")
        await _update(session_id, activity="waiting")
        await expect(_rows(page).first).to_contain_text("waiting for you")

    async def test_it_stands_still_below_the_pointer(self, page: Page) -> None:
        for name in ("first", "second", "third"):
            await _make(name)
        await expect(_rows(page)).to_have_count(3)
        await expect(_rows(page).first).to_contain_text("third")
        await _rows(page).nth(1).hover()
        await _make("fourth")
        await expect(page.get_by_role("button", name="1 new ↑")).to_be_visible()
        await expect(_rows(page)).to_have_count(3)
        await page.mouse.move(5, 5)
        await expect(_rows(page).first).to_contain_text("fourth")

    async def test_it_stands_still_where_the_keyboard_is_and_counts_what_is_new(self, page: Page) -> None:
        await _make("first")
        await expect(_rows(page)).to_have_count(1)
        await page.keyboard.press("j")
        await _make("second")
        await page.get_by_role("button", name="1 new ↑").click()
        await expect(_rows(page)).to_have_count(2)
        await expect(_rows(page).first).to_contain_text("second")

    async def test_a_filter_by_a_directory_may_have_a_slash_at_its_end(self, open_page: OpenPage) -> None:
        await _make("Basket", working_dir="/home/me/shop")
        page = await open_page("/?q=dir:/home/me/shop/")
        await expect(_rows(page)).to_have_count(1)
        await page.wait_for_timeout(2500)
        await expect(_rows(page)).to_have_count(1)

    async def test_a_deleted_session_goes(self, page: Page) -> None:
        session_id = await _make("Short-lived")
        await expect(_rows(page)).to_have_count(1)
        async with get_async_session() as db:
            await crud.delete_session(db, session_id)
        await expect(_rows(page)).to_have_count(0)

    async def test_the_pulse_counts_what_happened(self, open_page: OpenPage) -> None:
        session_id = await _make("Busy")
        async with get_async_session() as db:
            await crud.append_agent_logs(db, [event(session_id) for _ in range(7)])
        page = await open_page()
        await expect(page.get_by_role("img", name="7 events")).to_be_visible()


class TestFilters:
    async def test_a_filter_stands_in_the_address_and_back_takes_it_away(self, page: Page) -> None:
        await _make("Basket", current_project="shop")
        waiting = await _make("Payment")
        await _update(waiting, activity="waiting")
        await expect(_rows(page)).to_have_count(2)
        await page.get_by_role("searchbox").fill("project:shop")
        await expect(_rows(page)).to_have_count(1)
        await expect(page).to_have_url(re.compile("q=project%3Ashop"))
        await page.reload()
        await expect(page.get_by_role("searchbox")).to_have_value("project:shop")
        await expect(_rows(page)).to_have_count(1)
        await page.go_back()
        await expect(_rows(page)).to_have_count(2)
        await expect(page.get_by_role("searchbox")).to_have_value("")
        await page.get_by_role("button", name="waiting", exact=True).click()
        await expect(_rows(page)).to_have_count(1)
        await expect(_rows(page).first).to_contain_text("Payment")

    async def test_a_wrong_filter_is_told_and_lists_nothing_else(self, open_page: OpenPage) -> None:
        await _make("Basket")
        page = await open_page("/?q=status:buidl")
        await expect(page.get_by_role("alert")).to_contain_text("status:buidl is none of")

    async def test_dragging_over_the_pulse_narrows_the_time(self, open_page: OpenPage) -> None:
        await _make("Basket")
        page = await open_page()
        await expect(_rows(page)).to_have_count(1)
        box = await page.locator(".u-over").bounding_box()
        assert box is not None
        await page.mouse.move(box["x"] + 50, box["y"] + 20)
        await page.mouse.down()
        await page.mouse.move(box["x"] + 250, box["y"] + 20, steps=5)
        await page.mouse.up()
        await expect(page.get_by_label("Filter sessions")).to_have_value(re.compile("^since:.* until:"))
        # It is long ago, and the session is new.
        await expect(page.get_by_text("No session matches")).to_be_visible()
        await page.get_by_role("button", name="All times").click()
        await expect(_rows(page)).to_have_count(1)

    async def test_a_time_is_a_filter_as_others_are(self, open_page: OpenPage) -> None:
        await _make("Basket")
        page = await open_page("/?q=since:1h basket")
        await expect(_rows(page)).to_have_count(1)
        await expect(page.get_by_label("Activity")).to_contain_text("in this time")
        await page.get_by_label("Filter sessions").fill("until:1h basket")
        await expect(page.get_by_text("No session matches")).to_be_visible()


class TestLong:
    async def test_the_list_goes_on_as_far_as_there_are_sessions(self, open_page: OpenPage) -> None:
        await _make_many(130)
        page = await open_page()
        await expect(_rows(page).first).to_be_visible()
        while await _rows(page).count() < 130:
            await page.mouse.wheel(0, 4000)
            await page.wait_for_timeout(150)
        await expect(_rows(page)).to_have_count(130)
        names = [text.split("session ")[1][:3] for text in await _rows(page).all_text_contents()]
        assert names == [f"{number:03}" for number in reversed(range(130))]

    async def test_whoever_comes_back_from_a_session_finds_the_list_where_it_was(self, open_page: OpenPage) -> None:
        await _make_many(130)
        page = await open_page()
        await expect(_rows(page).first).to_be_visible()
        far = page.get_by_role("link", name="session 045")
        while not await far.count():
            await page.mouse.wheel(0, 4000)
            await page.wait_for_timeout(150)
        await far.scroll_into_view_if_needed()
        before = await far.bounding_box()
        await far.click()
        await expect(page.get_by_role("heading", name="session 045")).to_be_visible()
        await page.go_back()
        await expect(far).to_be_in_viewport()
        after = await far.bounding_box()
        assert before is not None
        assert after is not None
        assert abs(after["y"] - before["y"]) < 8
        await far.click()
        await page.get_by_role("tab", name="Agents").click()
        await page.keyboard.press("Escape")
        await expect(far).to_be_in_viewport()

    async def test_whoever_comes_back_before_the_conversation_came_finds_it_so_too(self, open_page: OpenPage) -> None:
        session_id = await _make_many(30)
        page = await open_page()
        answered = asyncio.Event()

        async def answer_late(route: Route) -> None:
            await answered.wait()
            await route.continue_()

        await page.route(f"**/api/messages/{session_id}*", answer_late)
        newest = page.get_by_role("link", name="session 029")
        await newest.click()
        await expect(page.get_by_role("heading", name="session 029")).to_be_visible()
        await page.go_back()
        await expect(newest).to_be_in_viewport()
        async with page.expect_request_finished(lambda request: "/api/messages/" in request.url):
            answered.set()
        await page.wait_for_timeout(300)
        await expect(newest).to_be_in_viewport()


class TestKeyboard:
    async def test_j_and_k_go_through_the_list_and_enter_opens(self, page: Page) -> None:
        for name in ("older", "newer"):
            session_id = await _make(name)
            async with get_async_session() as db:
                await crud.save_display_messages(db, session_id, [message(f"said in {name}")])
        await expect(_rows(page)).to_have_count(2)
        await page.keyboard.press("j")
        await page.keyboard.press("j")
        await page.keyboard.press("k")
        await page.keyboard.press("j")
        await page.keyboard.press("Enter")
        await expect(page.get_by_text("said in older")).to_be_visible()
        await page.keyboard.press("Escape")
        await expect(_rows(page)).to_have_count(2)

    async def test_a_slash_searches_and_a_question_mark_lists_all_keys(self, page: Page) -> None:
        await expect(page.get_by_text("No sessions yet")).to_be_visible()
        await page.keyboard.press("/")
        await expect(page.get_by_role("searchbox")).to_be_focused()
        await page.keyboard.press("Escape")
        await page.keyboard.press("?")
        await expect(page.get_by_role("dialog", name="Keyboard")).to_contain_text("Next session")
        await page.keyboard.press("Escape")
        await expect(page.get_by_role("dialog")).to_have_count(0)


async def test_the_list_and_its_pulse_take_at_most_60_kilobytes_of_scripts(page: Page) -> None:
    await page.locator(".u-over").wait_for()
    sizes = await page.evaluate(
        """performance.getEntriesByType("resource").filter(each => each.name.endsWith(".js")).map(each => each.encodedBodySize)"""
    )
    assert 20_000 < sum(sizes) <= 60_000


async def test_a_lost_connection_is_shown_and_heals(service: Service, open_page: OpenPage) -> None:
    page = await open_page(goes_away=True)
    await expect(page.get_by_text("No sessions yet")).to_be_visible()
    await service.end()
    await expect(page.get_by_text("The connection is lost")).to_be_visible()
    await service.start()
    await _make("after the end")
    await expect(page.get_by_text("The connection is lost")).to_have_count(0)
    await expect(_rows(page).first).to_contain_text("after the end")
