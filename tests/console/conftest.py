"""The console in a real browser: Chromium before a real ``session-db serve``, on a database of the test's own."""

import asyncio
import json
import os
import shutil
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from playwright.async_api import Browser, BrowserContext, ConsoleMessage, Page, async_playwright, expect

from session_db.models.tokens import Scope
from tests.api.conftest import make_token
from tests.api.serving import COMMAND, Service, serving
from tests.databases import Database

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
WAIT_MS = 20_000
"""A busy machine takes its time."""

# What a Content-Security-Policy refuses is told to the page alone.
_LISTEN = "addEventListener('securitypolicyviolation', e => console.error(`CSP refused ${e.violatedDirective} ${e.blockedURI}`))"

OpenPage = Callable[..., Awaitable[Page]]


@pytest.fixture
async def browser() -> AsyncIterator[Browser]:
    """A headless Chromium; where there is none the test is skipped, but not in continuous integration."""
    if CHROMIUM is None:
        if os.environ.get("CI"):
            pytest.fail("there is no Chromium; scripts/install-chromium installs it.")
        pytest.skip("there is no Chromium; scripts/install-chromium installs it.")
    expect.set_options(timeout=WAIT_MS)
    async with async_playwright() as playwright:
        # As root, which continuous integration often is, Chromium has no sandbox of its own.
        browser = await playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox", "--force-color-profile=srgb"])
        yield browser
        await browser.close()


@pytest.fixture
async def service(fresh_database: Database, tmp_path: Path) -> AsyncIterator[Service]:
    """``session-db serve`` in a process of its own, on the database that this test's own crud calls use."""
    async with serving(tmp_path, fresh_database.environment | {"SESSION_DB_HOME": str(tmp_path)}) as service:
        yield service


@pytest.fixture
async def open_page(browser: Browser, service: Service) -> AsyncIterator[OpenPage]:
    """What opens pages of browsers that have logged in, with a scope and options of a browser's context.

    In the end no page may have an error in its console, which what the Content-Security-Policy refuses is one of.
    """
    async with AsyncExitStack() as contexts:
        problems: list[str] = []

        async def open_page(path: str = "/", *, scope: Scope | None = "admin", goes_away: bool = False, **options: Any) -> Page:
            context = await contexts.enter_async_context(_context(browser, service, options))
            page = await context.new_page()
            page.set_default_timeout(WAIT_MS)
            # Of each request that finds no service the browser tells, too.
            listen(page, [] if goes_away else problems)
            if scope is not None:
                await log_in(page, service, scope)
            await page.goto(path)
            return page

        yield open_page
        assert problems == []


@asynccontextmanager
async def _context(browser: Browser, service: Service, options: dict[str, Any]) -> AsyncIterator[BrowserContext]:
    context = await browser.new_context(base_url=service.url, **({"viewport": {"width": 1280, "height": 800}} | options))
    await context.add_init_script(_LISTEN)
    yield context
    await context.close()


def listen(page: Page, problems: list[str]) -> None:
    """Collect what goes wrong in a page; a browser tells there of each request that was refused, too."""

    def hear(message: ConsoleMessage) -> None:
        if message.type == "error":
            problems.append(f"{page.url}: {message.text}")

    page.on("console", hear)
    page.on("pageerror", lambda error: problems.append(f"{page.url}: {error}"))


async def log_in(page: Page, service: Service, scope: Scope) -> None:
    """Log the browser in as a person does: by a link that works once."""
    token = await make_token(scope)
    answer = await page.request.post(f"{service.url}/api/login-links", headers={"Authorization": f"Bearer {token}"})
    await page.goto((await answer.json())["url_path"])
    await page.wait_for_url(f"{service.url}/")


@pytest.fixture
async def page(open_page: OpenPage) -> Page:
    """The list of sessions, in a browser that may do all."""
    return await open_page()


@pytest.fixture
async def demo(fresh_database: Database, tmp_path: Path) -> str:
    """The id of the session that ``session-db demo`` imports."""
    environment = fresh_database.environment | {"SESSION_DB_HOME": str(tmp_path)}
    process = await asyncio.create_subprocess_exec(str(COMMAND), "demo", "--json", env=environment, stdout=asyncio.subprocess.PIPE)
    printed, _ = await process.communicate()
    return str(json.loads(printed)["session"]["session_id"])
