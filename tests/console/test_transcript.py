"""The transcript: line by line, as many as there are."""

import json
from pathlib import Path

from playwright.async_api import expect

from session_db.capture.importer import import_recordings
from tests.console.conftest import OpenPage

SESSION = "3f0c9e0e-52b7-4c39-9f0f-7f2d3c3b8a11"
LINES = 350


def _line(number: int) -> str:
    said = {"message": {"role": "user", "content": f"line {number}"}, "timestamp": "2026-01-01T00:00:00.000Z", "cwd": "/work"}
    return json.dumps({"type": "user", "uuid": f"00000000-0000-4000-8000-{number:012}", "parentUuid": None, "sessionId": SESSION} | said)


async def test_it_goes_on_to_its_last_line_and_has_each_once(open_page: OpenPage, tmp_path: Path) -> None:
    folder = tmp_path / "projects" / "-work"
    folder.mkdir(parents=True)
    (folder / f"{SESSION}.jsonl").write_text("".join(f"{_line(number)}\n" for number in range(LINES)))
    await import_recordings([folder])
    page = await open_page(f"/sessions/{SESSION}/transcript")
    numbers = page.locator("summary .number:first-child")
    await expect(numbers.first).to_be_visible()
    while await numbers.count() < LINES:
        await page.mouse.wheel(0, 4000)
        await page.wait_for_timeout(100)
    assert await numbers.all_text_contents() == [str(number) for number in range(LINES)]
