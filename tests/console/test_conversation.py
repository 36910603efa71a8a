"""The conversation: long, live, at a place, and whatever a message says it stays text."""

import asyncio
from uuid import UUID

import pytest
from playwright.async_api import Locator, Page, expect

from session_db import crud
from session_db.database import get_async_session
from tests.console.conftest import OpenPage
from tests.console.scenes import ANSWER, KICK, PUNCHIER
from tests.factories import make_session, message

HOSTILE = """<script>document.title = "taken"</script><img src=x onerror="document.title='taken'"><style>body{display:none}</style>
<iframe src="javascript:parent.document.title='taken'"></iframe>

[click](javascript:document.title='taken') ![look](https://example.org/pixel.png) [data](data:text/html,<script>1</script>)
<a href="javascript:document.title='taken'">here</a> &lt;b&gt; &amp; "quotes"

| a | b |
|---|---|
| <b onmouseover=alert(1)>x</b> | `<i>` |
"""


_IN_SIGHT = "[...document.querySelectorAll('article p')].find(each => each.getBoundingClientRect().top > 200).textContent"


async def _session(count: int) -> UUID:
    async with get_async_session() as db:
        session = await make_session(db, session_name="Long talk")
        for start in range(0, count, 1000):
            batch = [
                message(f"number {number}", role=("user", "assistant")[number % 2]) for number in range(start, min(start + 1000, count))
            ]
            await crud.save_display_messages(db, session.id, batch)
        return session.id


async def _say(session_id: UUID, content: str, **more: object) -> None:
    async with get_async_session() as db:
        await crud.save_display_messages(db, session_id, [message(content, role="assistant", **more)])


def _messages(page: Page) -> Locator:
    return page.get_by_role("list", name="Messages").get_by_role("article")


async def _top_of(page: Page, text: str) -> float:
    box = await page.get_by_text(text, exact=True).bounding_box()
    assert box is not None
    return box["y"]


async def _comes_true(page: Page, condition: str) -> None:
    """Wait for a condition in the page; Playwright's own way would evaluate a text there, which the page forbids."""
    async with asyncio.timeout(20):
        while not await page.evaluate(condition):
            await asyncio.sleep(0.05)


class TestLong:
    async def test_it_opens_at_its_end_and_older_messages_come_without_a_jump(self, open_page: OpenPage) -> None:
        session_id = await _session(600)
        page = await open_page(f"/sessions/{session_id}")
        await expect(page.get_by_text("number 599", exact=True)).to_be_in_viewport()
        await expect(page.get_by_text("number 400", exact=True)).to_have_count(0)
        seen = 599
        while seen > 0 or await page.evaluate("scrollY") > 0:
            await page.mouse.wheel(0, -900)
            await page.wait_for_timeout(60)
            first = await page.evaluate("+document.querySelector('[data-index]').dataset.index")
            assert first <= seen or first == 0
            seen = first
        await expect(page.get_by_text("The conversation begins here.")).to_be_visible()
        await expect(page.get_by_text("number 0", exact=True)).to_be_in_viewport()

    async def test_what_is_in_sight_stays_where_it_is_while_older_ones_load(self, open_page: OpenPage) -> None:
        session_id = await _session(300)
        page = await open_page(f"/sessions/{session_id}?message=150")
        await expect(page.get_by_text("number 150", exact=True)).to_be_in_viewport()
        before = await _top_of(page, "number 150")
        await page.get_by_role("button", name="Load older messages").evaluate("button => button.click()")
        await expect(page.get_by_text("number 61", exact=True)).to_have_count(1)
        assert abs(await _top_of(page, "number 150") - before) < 8

    async def test_a_hundred_thousand_messages_keep_few_of_them_in_the_page(self, open_page: OpenPage) -> None:
        session_id = await _session(100_000)
        page = await open_page(f"/sessions/{session_id}")
        await expect(page.get_by_text("number 99999", exact=True)).to_be_in_viewport()
        while await page.evaluate("+document.querySelector('[data-index]').dataset.index") >= 99_500:
            await page.mouse.wheel(0, -3000)
            await page.wait_for_timeout(40)
        assert await _messages(page).count() <= 400
        await page.get_by_role("button", name="To the end").click()
        await expect(page.get_by_text("number 99999", exact=True)).to_be_in_viewport()

    async def test_it_goes_on_downwards_from_a_place_as_well(self, open_page: OpenPage) -> None:
        session_id = await _session(300)
        page = await open_page(f"/sessions/{session_id}?message=20")
        await expect(page.get_by_text("number 20", exact=True)).to_be_in_viewport()
        while not await page.get_by_text("number 299", exact=True).count():
            await page.mouse.wheel(0, 900)
            await page.wait_for_timeout(60)
        await expect(page.get_by_text("number 299", exact=True)).to_have_count(1)


class TestComingBack:
    @pytest.mark.parametrize("way", ["another part", "another page", "reload"])
    async def test_who_read_above_finds_the_place_again(self, open_page: OpenPage, way: str) -> None:
        session_id = await _session(300)
        page = await open_page(f"/sessions/{session_id}?message=150")
        await expect(page.get_by_text("number 150", exact=True)).to_be_in_viewport()
        await page.evaluate("scrollBy(0, -600)")  # at once, which a wheel does not
        await _comes_true(page, "history.state !== null && history.state.message < 145")
        seen = await page.evaluate(_IN_SIGHT)
        before = await _top_of(page, seen)
        if way == "reload":
            await page.reload()
        else:
            # The tabs are above, and who scrolls up to them reads elsewhere.
            await (page.keyboard.press("2") if way == "another part" else page.get_by_role("link", name="Settings").click())
            await expect(page.get_by_role("list", name="Messages")).to_have_count(0)
            await page.go_back()
        await expect(page.get_by_text(seen, exact=True)).to_be_in_viewport()
        await _comes_true(page, f"{_IN_SIGHT} === '{seen}'")
        assert abs(await _top_of(page, seen) - before) < 8

    async def test_who_read_its_end_finds_its_end(self, open_page: OpenPage) -> None:
        session_id = await _session(300)
        page = await open_page(f"/sessions/{session_id}")
        await expect(page.get_by_text("number 299", exact=True)).to_be_in_viewport()
        await page.mouse.wheel(0, -900)
        await _comes_true(page, "history.state !== null")
        await page.get_by_role("button", name="To the end").click()
        await _comes_true(page, "history.state === null")
        await page.keyboard.press("2")
        await expect(page.get_by_role("list", name="Messages")).to_have_count(0)
        await _say(session_id, "said meanwhile")
        await page.go_back()
        await expect(page.get_by_text("said meanwhile")).to_be_in_viewport()


class TestLive:
    async def test_what_is_said_appears_and_the_end_stays_in_sight(self, open_page: OpenPage) -> None:
        session_id = await _session(80)
        page = await open_page(f"/sessions/{session_id}")
        await expect(page.get_by_text("number 79", exact=True)).to_be_in_viewport()
        await _say(session_id, "fresh from the model")
        await expect(page.get_by_text("fresh from the model")).to_be_in_viewport()

    async def test_who_reads_above_is_not_moved_but_told(self, open_page: OpenPage) -> None:
        session_id = await _session(80)
        page = await open_page(f"/sessions/{session_id}")
        await expect(page.get_by_text("number 79", exact=True)).to_be_in_viewport()
        await page.mouse.wheel(0, -1500)
        await expect(page.get_by_role("button", name="To the end")).to_be_visible()
        seen = await page.evaluate(_IN_SIGHT)
        before = await _top_of(page, seen)
        await _say(session_id, "fresh from the model")
        await page.get_by_role("button", name="1 new").wait_for()
        assert abs(await _top_of(page, seen) - before) < 8
        await page.get_by_role("button", name="1 new").click()
        await expect(page.get_by_text("fresh from the model")).to_be_in_viewport()


class TestContent:
    async def test_hostile_html_and_markdown_stay_inert(self, open_page: OpenPage) -> None:
        session_id = await _session(1)
        await _say(session_id, HOSTILE)
        page = await open_page(f"/sessions/{session_id}")
        last = _messages(page).last
        await expect(last).to_contain_text('<script>document.title = "taken"</script>')
        await expect(last).to_contain_text('<b> & "quotes"')
        assert await last.locator("script, img, iframe, style, b").count() == 0
        addresses = await last.locator("a[href]").evaluate_all("links => links.map(link => link.getAttribute('href'))")
        assert [address for address in addresses if not address.startswith(("https://", "?message="))] == []
        assert "taken" not in await page.title()

    async def test_markdown_reads_as_a_document(self, open_page: OpenPage) -> None:
        session_id = await _session(1)
        await _say(session_id, ANSWER)
        page = await open_page(f"/sessions/{session_id}")
        last = _messages(page).last
        await expect(last.locator("strong").filter(has_text="never rotated")).to_be_visible()
        await expect(last.locator("td").filter(has_text="passes")).to_be_visible()
        await expect(last.locator(".hljs-keyword").first).to_have_text("def")

    async def test_a_list_of_tasks_has_a_mark_for_each(self, open_page: OpenPage) -> None:
        session_id = await _session(1)
        await _say(session_id, "- [x] a model\n- [ ] a route\n\n1. [x] apart\n\n2. [ ] loose")
        page = await open_page(f"/sessions/{session_id}")
        tasks = _messages(page).last.get_by_role("listitem")
        await expect(tasks).to_have_text(["☑ a model", "☐ a route", "☑ apart", "☐ loose"])

    async def test_changed_code_is_a_diff(self, open_page: OpenPage) -> None:
        session_id = await _session(1)
        await _say(session_id, "punchier", code_changes={"before": KICK, "after": PUNCHIER})
        page = await open_page(f"/sessions/{session_id}")
        await expect(_messages(page).last).to_contain_text("distort(0.3)")

    async def test_quotes_in_quotes_without_end_do_not_stop_the_page(self, open_page: OpenPage) -> None:
        session_id = await _session(1)
        await _say(session_id, ">" * 3000 + " deep")
        await _say(session_id, "the next one")
        page = await open_page(f"/sessions/{session_id}")
        await expect(page.get_by_text("the next one")).to_be_visible()

    async def test_ten_megabytes_are_shown_piece_by_piece(self, open_page: OpenPage) -> None:
        session_id = await _session(1)
        await _say(session_id, "many words\n" * 1_000_000)
        page = await open_page(f"/sessions/{session_id}")
        last = _messages(page).last
        await expect(last).to_contain_text("many words")
        assert await last.evaluate("article => article.textContent.length") < 200_000
        await last.get_by_role("button", name="Show more of 11.0 MB").click()
        assert await last.evaluate("article => article.textContent.length") > 200_000
