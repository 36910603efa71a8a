"""The events: a list of any length with filters and a live end, and each with all that its sender sent."""

import asyncio
import json
import re
from typing import Any
from uuid import UUID

import pytest
from playwright.async_api import Locator, Page, Route, expect

from session_db import crud
from session_db.database import get_async_session
from tests.console.conftest import OpenPage
from tests.factories import event, make_agent, make_session

LARGE = 10_000_000

# What is asked to be done before the next painted frame is done long after it, as in a page in the background.
PAINTS_LATE = "const soon = requestAnimationFrame.bind(window); window.requestAnimationFrame = each => setTimeout(() => soon(each), 700)"


async def make_events(*logs: dict[str, Any], count: int = 0) -> UUID:
    """Make a session with these events, after so many others."""
    async with get_async_session() as db:
        session = await make_session(db)
        await db.commit()
    await append(session.id, *({"event_type": "TextBlock", "content": f"text {number}"} for number in range(count)), *logs)
    return session.id


async def append(session: UUID, *logs: dict[str, Any]) -> None:
    async with get_async_session() as db:
        if logs:
            await crud.append_agent_logs(db, [event(session, **values) for values in logs])
        await db.commit()


def rows(page: Page) -> Locator:
    return page.get_by_role("listbox", name="Events").get_by_role("option")


def place(session: UUID, query: str = "") -> str:
    return f"/sessions/{session}/events{query}"


@pytest.mark.db
class TestList:
    async def test_the_newest_are_first_and_older_ones_come_by_scrolling(self, open_page: OpenPage) -> None:
        page = await open_page(place(await make_events(count=1700)))
        await expect(rows(page).first).to_contain_text("text 1699")
        assert await rows(page).count() < 100
        await page.get_by_role("listbox", name="Events").focus()
        for _ in range(6):
            before = await rows(page).first.get_attribute("aria-setsize")
            await page.keyboard.press("End")
            if before == "1700":
                break
            await expect(rows(page).first).not_to_have_attribute("aria-setsize", before or "")
        await page.keyboard.press("End")
        await expect(rows(page).last).to_contain_text("text 0")

    async def test_the_oldest_are_first_where_that_is_asked_for(self, open_page: OpenPage) -> None:
        page = await open_page(place(await make_events(count=700)))
        await page.get_by_label("Order").select_option("oldest")
        await expect(page).to_have_url(re.compile("order=oldest"))
        await expect(rows(page).first).to_contain_text("text 0")

    async def test_they_are_first_too_where_they_come_late(self, open_page: OpenPage) -> None:
        page = await open_page(place(await make_events(count=700)))
        await expect(rows(page).first).to_contain_text("text 699")
        asked, answered = asyncio.Event(), asyncio.Event()

        async def answer_late(route: Route) -> None:
            asked.set()
            await answered.wait()
            await route.continue_()

        await page.route("**/api/events/*", answer_late)
        await page.get_by_label("Order").select_option("oldest")
        await asked.wait()
        # The empty list has been painted, and what it scrolled told.
        await page.wait_for_timeout(300)
        answered.set()
        await expect(rows(page).first).to_contain_text("text 0")

    async def test_filters_are_in_the_address(self, open_page: OpenPage) -> None:
        async with get_async_session() as db:
            session = await make_session(db)
            agents = [await make_agent(db, session, name=name) for name in ("lead", "helper")]
            await db.commit()
        await append(
            session.id,
            {"tool_name": "Bash", "tool_use_id": "toolu_1", "tool_input": {"command": "make"}, "agent_id": agents[0].id},
            {
                "tool_name": "Bash",
                "tool_use_id": "toolu_1",
                "event_type": "PostToolUseFailure",
                "payload": {"error": "no"},
                "agent_id": agents[0].id,
            },
            {"tool_name": "Read", "tool_use_id": "toolu_2", "agent_id": agents[1].id},
            {"event_type": "TextBlock", "event_category": "response", "content": "done"},
        )
        page = await open_page(place(session.id))
        await expect(rows(page)).to_have_count(4)
        await page.get_by_label("Tool", exact=True).fill("Bash")
        await page.keyboard.press("Enter")
        await expect(rows(page)).to_have_count(2)
        await page.get_by_label("Only problems").check()
        await expect(rows(page)).to_have_count(1)
        await expect(rows(page).first).to_contain_text("PostToolUseFailure")
        await expect(page).to_have_url(re.compile(r"tool=Bash.*problems=1"))
        await page.reload()
        await expect(rows(page)).to_have_count(1)
        await page.get_by_role("link", name="Clear").click()
        await expect(rows(page)).to_have_count(4)
        await page.get_by_label("Agent").select_option(label="helper")
        await expect(rows(page)).to_have_count(1)
        await page.get_by_label("Category").select_option("response")
        await expect(page.get_by_role("heading", name="No events match")).to_be_visible()

    async def test_what_comes_is_shown_until_it_is_paused(self, open_page: OpenPage) -> None:
        session = await make_events(count=3)
        page = await open_page(place(session))
        await expect(rows(page)).to_have_count(3)
        await append(session, {"content": "live 1"})
        await expect(rows(page).first).to_contain_text("live 1")
        await page.get_by_role("button", name="Pause").click()
        await append(session, {"content": "live 2"}, {"content": "live 3"})
        await expect(page.get_by_role("status").filter(has_text="paused, 2 more")).to_be_visible()
        await expect(rows(page)).to_have_count(4)
        await page.get_by_role("button", name="Resume").click()
        await expect(rows(page)).to_have_count(6)
        await expect(rows(page).first).to_contain_text("live 3")

    async def test_more_than_a_page_that_came_in_a_pause_is_read_after_it(self, open_page: OpenPage) -> None:
        session = await make_events(count=3)
        page = await open_page(place(session))
        await expect(rows(page)).to_have_count(3)
        await page.get_by_role("button", name="Pause").click()
        await append(session, *({"content": f"live {number}"} for number in range(1200)))
        await expect(page.get_by_role("status").filter(has_text="paused, 1,200 more")).to_be_visible()
        await page.get_by_role("button", name="Resume").click()
        await expect(rows(page).first).to_contain_text("live 1199")
        await expect(rows(page).first).to_have_attribute("aria-setsize", "1203")

    async def test_the_newest_are_a_click_away_where_the_oldest_are_first(self, open_page: OpenPage) -> None:
        page = await open_page(place(await make_events(count=1700), "?order=oldest"))
        await expect(rows(page).first).to_contain_text("text 0")
        await page.get_by_role("button", name="To the newest").click()
        await expect(rows(page).last).to_contain_text("text 1699")

    async def test_what_comes_does_not_move_what_somebody_looks_at(self, open_page: OpenPage) -> None:
        session = await make_events(count=200)
        page = await open_page("/settings")
        await page.add_init_script(PAINTS_LATE)
        await page.goto(place(session))
        await expect(rows(page).first).to_contain_text("text 199")
        listed = page.get_by_role("listbox", name="Events")
        await listed.hover()
        await page.mouse.wheel(0, 1300)
        watched = rows(page).filter(has_text="text 140")
        await expect(watched).to_be_visible()
        before = await watched.bounding_box()
        await append(session, *({"content": f"live {number}"} for number in range(5)))
        await expect(rows(page).first).to_have_attribute("aria-setsize", "205")
        await expect(watched).to_be_in_viewport()
        assert before == await watched.bounding_box()
        await page.get_by_role("button", name="To the newest").click()
        await expect(rows(page).first).to_contain_text("live 4")


@pytest.mark.db
class TestEvent:
    @pytest.mark.parametrize("script", ["", PAINTS_LATE])
    async def test_a_link_leads_to_one_event_among_many(self, open_page: OpenPage, script: str) -> None:
        page = await open_page("/settings")
        await page.add_init_script(script)
        await page.goto(place(await make_events(count=3000), "?event=1500"))
        selected = page.get_by_role("listbox", name="Events").get_by_role("option", selected=True)
        await expect(selected).to_contain_text("text 1500")
        await expect(selected).to_be_in_viewport()
        await expect(page.get_by_role("region", name="Event 1500")).to_contain_text("text 1500")

    async def test_its_payload_is_a_tree(self, open_page: OpenPage) -> None:
        payload = {"message": "<b>bold</b>", "deep": {"deeper": {"deepest": [1, 2, 3]}}}
        page = await open_page(place(await make_events({"payload": payload}), "?event=0"))
        detail = page.get_by_role("region", name="Event 0")
        await expect(detail).to_contain_text('"<b>bold</b>"')
        await expect(detail).not_to_contain_text("deepest")
        await detail.get_by_role("button", name="deeper").click()
        await detail.get_by_role("button", name="deepest").click()
        await expect(detail).to_contain_text("3")
        await page.get_by_role("button", name="Close the event").click()
        await expect(detail).to_be_hidden()

    async def test_an_edit_is_shown_as_its_changes(self, open_page: OpenPage) -> None:
        before = "".join(f"line {number}\n" for number in range(30))
        edit = {"file_path": "/work/a.py", "old_string": before, "new_string": before.replace("line 15\n", "line fifteen\n")}
        patch = [{"oldStart": 7, "oldLines": 2, "newStart": 7, "newLines": 2, "lines": [" same", "-old", "+new"]}]
        session = await make_events(
            {"tool_name": "Edit", "tool_input": edit},
            {
                "event_type": "PostToolUse",
                "tool_name": "Edit",
                "tool_input": edit,
                "payload": {"tool_response": {"structuredPatch": patch}},
            },
        )
        page = await open_page(place(session, "?event=0"))
        changes = page.get_by_role("region", name="Changes of /work/a.py")
        await expect(changes.locator(".removed")).to_have_text(re.compile(r"16\s*-\s*line 15"))
        await expect(changes.locator(".added")).to_have_text(re.compile(r"16\s*\+\s*line fifteen"))
        await expect(changes).not_to_contain_text("line 3\n")
        await changes.get_by_role("button", name="unchanged lines").first.click()
        await expect(changes.get_by_text("line 3", exact=True)).to_be_visible()
        await rows(page).filter(has_text="PostToolUse").click()
        await expect(changes.locator(".removed")).to_have_text(re.compile(r"8\s*-\s*old"))

    async def test_a_huge_one_is_a_file_to_download(self, open_page: OpenPage) -> None:
        page = await open_page(place(await make_events({"payload": {"text": "x" * LARGE}}), "?event=0"))
        detail = page.get_by_role("region", name="Event 0")
        await expect(detail).to_contain_text("10.0 MB, more than is shown here")
        async with page.expect_download() as downloading:
            await detail.get_by_role("link", name="Download it").click()
        downloaded = json.loads((await (await downloading.value).path()).read_text())
        assert len(downloaded["payload"]["text"]) == LARGE

    async def test_all_events_of_its_call_are_a_click_away(self, open_page: OpenPage) -> None:
        call = {"tool_name": "Bash", "tool_use_id": "toolu_1"}
        session = await make_events(call, {"event_type": "TextBlock", "content": "between"}, {"event_type": "PostToolUse", **call})
        page = await open_page(place(session, "?event=0"))
        await page.get_by_role("link", name="all events of this call").click()
        await expect(rows(page)).to_have_count(2)

    async def test_one_that_is_not_there_says_so(self, open_page: OpenPage) -> None:
        page = await open_page(place(await make_events(count=2), "?event=7"))
        await expect(page.get_by_role("alert")).to_have_text("The session has no event 7.")
