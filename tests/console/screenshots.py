"""Pictures of every page of the console, with example data: ``python -m tests.console.screenshots DIRECTORY``."""

import asyncio
import os
import sys
import tempfile
from itertools import product
from pathlib import Path
from typing import Any

from playwright.async_api import Page, async_playwright

from session_db.database import close_db, init_db
from session_db.settings import Settings, use_settings
from tests.api.serving import serving
from tests.console.conftest import CHROMIUM, listen, log_in
from tests.console.scenes import Scenes, make_scenes

LOOKS = ("light", "dark")
SIZES = {"wide": {"width": 1280, "height": 800}, "narrow": {"width": 360, "height": 740}}
SETTLED_MS = 900
"""Until what is loaded late, and motion, has come to rest."""


def pages_of(scenes: Scenes) -> dict[str, str]:
    """Return the address of each page, by its name."""
    work = f"/sessions/{scenes.workflow}"
    return {
        "sessions": "/",
        "conversation": work,
        "timeline": f"{work}/timeline",
        "events": f"{work}/events",
        "agents": f"{work}/agents",
        "cost": f"{work}/cost",
        "files": f"{work}/files?file=plan.json",
        "transcript": f"{work}/transcript",
        "search": "/search?q=token",
        "studio": "/studio/house",
        "clip": "/studio/house/clips/kick",
        "comparison": "/studio/house/clips/kick?from=1&to=2",
        "song": "/studio/house/songs/night",
        "settings": "/settings",
    }


async def main(directory: Path) -> None:
    """Make a database, serve it, and take a picture of each page, dark and light, wide and narrow."""
    directory.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="session-db-pictures-") as home:
        use_settings(Settings(home=Path(home)))
        workspace = Path(home) / "shop"
        await init_db()
        scenes = await make_scenes(workspace)
        environment = os.environ | {"SESSION_DB_HOME": home, "SESSION_DB_WORKSPACE_ROOTS": str(workspace)}
        try:
            async with serving(Path(home), environment) as service, async_playwright() as playwright:
                browser = await playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
                for look, size in product(LOOKS, SIZES):
                    scale = 1.5 if size == "wide" else 2
                    options: dict[str, Any] = {"viewport": SIZES[size], "color_scheme": look, "device_scale_factor": scale}
                    context = await browser.new_context(base_url=service.url, **options)
                    page = await context.new_page()
                    problems: list[str] = []
                    listen(page, problems)
                    await log_in(page, service, "admin")
                    for name, path in pages_of(scenes).items():
                        await _take(page, path, directory / f"{name}-{look}-{size}.png")
                    await context.close()
                    print(*problems, sep="\n", end="")  # noqa: T201  for whoever takes them.
                await browser.close()
        finally:
            await close_db()


async def _take(page: Page, path: str, file: Path) -> None:
    await page.goto(path)
    await page.wait_for_load_state("load")
    await page.wait_for_timeout(SETTLED_MS)
    await page.screenshot(path=file)


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1])))
