"""Each page: it is accessible, it says nothing in the browser's console, and it fits a narrow screen."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from axe_playwright_python.async_playwright import Axe
from playwright.async_api import Page, expect

from tests.api.serving import Service, serving
from tests.console.conftest import OpenPage
from tests.console.scenes import Scenes, make_scenes
from tests.console.screenshots import pages_of
from tests.databases import Database

SERIOUS = {"serious", "critical"}
SETTLED_MS = 700


@pytest.fixture
async def service(fresh_database: Database, tmp_path: Path) -> AsyncIterator[Service]:
    """A service that may show the folder of the example's workflow."""
    environment = fresh_database.environment | {"SESSION_DB_HOME": str(tmp_path), "SESSION_DB_WORKSPACE_ROOTS": str(tmp_path / "shop")}
    async with serving(tmp_path, environment) as service:
        yield service


@pytest.fixture
async def scenes(service: Service, tmp_path: Path) -> Scenes:
    return await make_scenes(tmp_path / "shop")


@pytest.mark.parametrize("look", ["light", "dark"])
async def test_nothing_serious_stands_between_a_page_and_whoever_uses_it(open_page: OpenPage, scenes: Scenes, look: str) -> None:
    page = await open_page(color_scheme=look)
    found = {}
    for name, path in pages_of(scenes).items():
        await page.goto(path)
        await _settled(page)
        violations = (await Axe().run(page)).response["violations"]
        serious = [f"{each['id']}: {each['nodes'][0]['html']}" for each in violations if each["impact"] in SERIOUS]
        if serious:
            found[name] = serious
    assert found == {}


async def test_every_page_fits_a_screen_of_360_pixels(open_page: OpenPage, scenes: Scenes) -> None:
    page = await open_page(viewport={"width": 360, "height": 740})
    for name, path in pages_of(scenes).items():
        await page.goto(path)
        await _settled(page)
        assert await page.evaluate("document.documentElement.scrollWidth") <= 360, name


async def test_what_may_only_be_read_has_nothing_to_change_it_with(open_page: OpenPage, scenes: Scenes) -> None:
    page = await open_page("/settings", scope="read")
    await expect(page.get_by_text("shown to a login with scope admin")).to_be_visible()
    await expect(page.get_by_role("button", name="Make a token")).to_have_count(0)


async def test_a_page_that_is_not_there_says_so(open_page: OpenPage, scenes: Scenes) -> None:
    page = await open_page(f"/sessions/{scenes.workflow}/nonsense")
    await expect(page.get_by_role("alert")).to_contain_text("no part nonsense")


async def _settled(page: Page) -> None:
    await page.wait_for_load_state("load")
    await expect(page.locator("main")).not_to_be_empty()
    await page.wait_for_timeout(SETTLED_MS)
