"""Open the console's list of sessions in Chromium, on a small database and on one with many sessions, and print what that takes.

Run it on a machine that does nothing else: ``.venv/bin/python -m benchmarks.console``. It takes about three minutes. The browser's cache is
empty each time. The time is from the navigation until the first session is there; the bytes are those that came over the wire until then.
"""

import argparse
import asyncio
import os
import shutil
import statistics
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from playwright.async_api import Browser, async_playwright

from benchmarks.generator import Size, generate, say
from benchmarks.serving import serving
from session_db.database import close_db, init_db
from session_db.settings import Settings, use_settings

SMALL = 100
"""Sessions of the database that the large one is compared with."""

_FIRST_ROW = """new Promise(resolve => {
    const look = () => document.querySelector("[data-session]") ? resolve(performance.now()) : setTimeout(look, 4)
    look()
})"""
_SCRIPTS = """performance.getEntriesByType("resource").filter(each => each.name.endsWith(".js") && each.startTime < {until})
    .reduce((sum, each) => sum + each.transferSize, 0)"""


class Opened(NamedTuple):
    """What it took to open the list once."""

    milliseconds: float
    script_bytes: int


def main() -> None:
    """Measure both databases, and print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sessions", type=int, default=100_000, help="sessions of the large database (100,000)")
    parser.add_argument("--calls", type=int, default=15, help="how often the list is opened (15)")
    options = parser.parse_args()
    asyncio.run(_measure(options.sessions, options.calls))


async def _measure(sessions: int, calls: int) -> None:
    rows = {}
    for count in (SMALL, sessions):
        with _home() as home:
            await _fill(home, count)
            rows[count] = await _opened(home, calls)
    say(f"load {os.getloadavg()[0]:.1f}; medians of {calls}\n| sessions | first session after | scripts until then |\n|---|---|---|")
    medians = {count: statistics.median(each.milliseconds for each in opened) for count, opened in rows.items()}
    for count, opened in rows.items():
        say(f"| {count:,} | {medians[count]:.0f} ms | {max(each.script_bytes for each in opened) / 1000:.1f} kB |")
    say(f"ratio: {medians[sessions] / medians[SMALL]:.2f}")


@contextmanager
def _home() -> Iterator[Path]:
    directory = Path(tempfile.mkdtemp(prefix="sdb-"))
    directory.chmod(0o711)
    try:
        yield directory / "h"
    finally:
        shutil.rmtree(directory, ignore_errors=True)


async def _fill(home: Path, sessions: int) -> None:
    use_settings(Settings(home=home, url=None))
    try:
        await init_db()
        await generate(Settings(home=home, url=None), Size(sessions, 3 * sessions, sessions // 10))
    finally:
        await close_db()
        use_settings(None)


async def _opened(home: Path, calls: int) -> list[Opened]:
    async with serving(home) as service, async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
        context = await browser.new_context()
        page = await context.new_page()
        await page.goto(service.login_url)
        await page.wait_for_selector("[data-session]")
        await context.storage_state(path=home / "browser.json")
        opened = [await _open(browser, service.url, home / "browser.json") for _ in range(calls + 1)]
        await browser.close()
    # The first one is what the service itself had not read before.
    return opened[1:]


async def _open(browser: Browser, url: str, state: Path) -> Opened:
    """Open the list in a browser that has a login, and nothing in its cache."""
    context = await browser.new_context(storage_state=state)
    page = await context.new_page()
    await page.goto(url, wait_until="commit")
    milliseconds = await page.evaluate(_FIRST_ROW)
    script_bytes = await page.evaluate(_SCRIPTS.format(until=milliseconds))
    await context.close()
    return Opened(float(milliseconds), int(script_bytes))


if __name__ == "__main__":
    main()
