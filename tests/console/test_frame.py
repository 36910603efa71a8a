"""The frame around all pages: addresses that nobody makes, and where the keyboard is after a step."""

import json
import re
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from playwright.async_api import expect
from sqlalchemy import text

from session_db import crud
from session_db.database import get_async_session
from tests.api.serving import Service, serving
from tests.console.conftest import OpenPage
from tests.console.scenes import SLUG, make_scenes
from tests.databases import Database
from tests.factories import make_session, message


@pytest.fixture
async def service(fresh_database: Database, tmp_path: Path) -> AsyncIterator[Service]:
    """A service that may show the folder of the example's workflow."""
    environment = fresh_database.environment | {"SESSION_DB_HOME": str(tmp_path), "SESSION_DB_WORKSPACE_ROOTS": str(tmp_path / "shop")}
    async with serving(tmp_path, environment) as service:
        yield service


@pytest.mark.parametrize("path", ["/sessions/%", "/sessions/%zz/events", "/studio/%E0%A4", "/sessions/..%2f..%2fapi%2fme"])
async def test_an_address_that_nobody_makes_is_answered_in_words(open_page: OpenPage, path: str) -> None:
    page = await open_page(path, goes_away=True)
    await expect(page.get_by_role("navigation", name="Pages")).to_be_visible()
    await expect(page.locator("main")).not_to_be_empty()
    await expect(page.locator("main [aria-busy=true]")).to_have_count(0)


async def test_the_skip_link_leads_to_the_content(open_page: OpenPage) -> None:
    page = await open_page("/settings")
    await expect(page.get_by_role("heading", name="Settings")).to_be_visible()
    await page.keyboard.press("Tab")
    await expect(page.get_by_role("link", name="Skip to the content")).to_be_focused()
    await page.keyboard.press("Enter")
    await expect(page.locator("main")).to_be_focused()
    await page.keyboard.press("Tab")
    await expect(page.get_by_role("button", name="Log out")).to_be_focused()


async def test_the_keyboard_goes_on_at_the_top_of_the_page_that_was_opened(open_page: OpenPage) -> None:
    async with get_async_session() as db:
        session = await make_session(db, session_name="Talk")
        await crud.save_display_messages(db, session.id, [message("hello")])
    page = await open_page()
    await page.get_by_role("link", name="Talk").focus()
    await page.keyboard.press("Enter")
    await expect(page.get_by_text("hello")).to_be_visible()
    await expect(page.locator("main")).to_be_focused()
    await page.keyboard.press("Tab")
    await expect(page.get_by_role("tab", name="Conversation")).to_be_focused()
    # A tab is a part of the page.
    await page.keyboard.press("ArrowRight")
    await expect(page.get_by_role("tab", name="Timeline")).to_be_focused()


async def test_escape_leaves_a_field_and_then_the_page(open_page: OpenPage) -> None:
    page = await open_page("/search")
    await expect(page.get_by_role("searchbox")).to_be_focused()
    await page.keyboard.type("basket")
    await page.keyboard.press("Escape")
    await expect(page.get_by_role("searchbox")).not_to_be_focused()
    await expect(page).to_have_url(re.compile("q=basket"))
    await expect(page.get_by_role("searchbox")).to_have_value("basket")
    await page.keyboard.press("Escape")
    await expect(page.get_by_text("No sessions yet")).to_be_visible()


async def test_names_that_are_words_of_the_language_are_names(open_page: OpenPage, tmp_path: Path) -> None:
    scenes = await make_scenes(tmp_path / "shop")
    folder = tmp_path / "shop" / "agents" / "sessions" / SLUG
    (folder / "a.constructor").write_text("built")
    checkpoints = [{"title": "Model", "status": "constructor"}, {"title": "Route", "status": "__proto__"}]
    (folder / "plan.json").write_text(json.dumps({"checkpoints": checkpoints}))
    page = await open_page(f"/sessions/{scenes.workflow}/files?file=a.constructor")
    await expect(page.get_by_text("built", exact=True)).to_be_visible()
    await page.get_by_role("link", name="plan.json").click()
    await expect(page.get_by_role("listitem").filter(has_text="Model").locator(".state")).to_have_text("constructor")
    await page.goto(f"/sessions/{scenes.workflow}/constructor")
    await expect(page.get_by_role("alert")).to_contain_text("no part constructor")


async def test_the_duration_of_a_session_that_rests_stands_still(open_page: OpenPage) -> None:
    async with get_async_session() as db:
        session = await make_session(db, session_name="Old")
        moved = (
            "UPDATE sessions SET created_at = now() - interval '3 days 2 hours', last_activity = now() - interval '3 days' WHERE id = :id"
        )
        await db.execute(text(moved), {"id": session.id})
    page = await open_page(f"/sessions/{session.id}")
    await expect(page.get_by_role("definition").filter(has_text="2 h 0 min")).to_be_visible()
