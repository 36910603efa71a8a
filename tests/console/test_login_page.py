"""Who is not logged in sees how to, and nothing else."""

import httpx
from playwright.async_api import Browser, expect

from tests.api.conftest import make_token
from tests.api.serving import Service
from tests.console.conftest import OpenPage


async def _link(service: Service) -> str:
    token = await make_token("write")
    async with httpx.AsyncClient(base_url=service.url, headers={"Authorization": f"Bearer {token}"}) as client:
        return service.url + str((await client.post("/api/login-links")).json()["url_path"])


async def test_a_browser_without_a_login_is_told_how_to_get_one_and_comes_in_by_it(browser: Browser, service: Service) -> None:
    page = await browser.new_page(base_url=service.url)
    await page.goto("/sessions/00000000-0000-0000-0000-000000000000")
    await expect(page.get_by_role("heading", name="Log in to session-db")).to_be_visible()
    await expect(page.get_by_text("session-db login", exact=True)).to_be_visible()

    await page.get_by_label("Open the link").fill("something else")
    await page.get_by_role("button", name="Log in").click()
    await expect(page.get_by_role("alert")).to_contain_text("no login link")

    await page.get_by_label("Open the link").fill(await _link(service))
    await page.get_by_role("button", name="Log in").click()
    await expect(page.get_by_role("link", name="Sessions", exact=True)).to_be_visible()
    await expect(page.get_by_text("No sessions yet")).to_be_visible()


async def test_a_login_that_ends_leads_back_to_the_login(open_page: OpenPage) -> None:
    page = await open_page("/settings", scope="read")
    await page.get_by_role("button", name="Log out").click()
    await expect(page.get_by_role("heading", name="Log in to session-db")).to_be_visible()
