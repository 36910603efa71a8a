"""The studio in a browser: clips with their versions, songs and playlists in order, and what others write meanwhile."""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from typing import Any

import pytest
from playwright.async_api import Browser, Locator, Page, expect
from sqlalchemy import text

from session_db import crud
from session_db.database import get_async_session
from session_db.models import Clip, ClipCreate, ClipUpdate, PlaylistCreate, SessionCreate, SongCreate, SongUpdate
from tests.api.serving import Service
from tests.console.conftest import OpenPage, _context, listen, log_in
from tests.factories import message

KICK = "/studio/house/clips/kick"
NIGHT = "/studio/house/songs/night"
HOSTILE = "<img src=x onerror=alert(1)>"


@pytest.fixture
async def studio(service: Service) -> None:
    """A project with clips, a song that plays one of them twice, and a playlist."""
    async with get_async_session() as db:
        for clip_id, color in {"arp": "#ffc914", "bass": "#17bebb", "kick": "#e4572e"}.items():
            values = {"clip_id": clip_id, "project_id": "house", "name": clip_id.title(), "code": f's("{clip_id}")\n'}
            await crud.create_clip(db, ClipCreate.model_validate(values | {"metadata": {"color": color, "bpm": 122, "tags": ["drums"]}}))
        song = {"song_id": "night", "project_id": "house", "name": "Night drive", "clip_ids": ["kick", "bass", "kick"]}
        await crud.create_song(db, SongCreate.model_validate(song))
        playlist = {"playlist_id": "set", "project_id": "house", "name": "Friday", "song_ids": ["night"]}
        await crud.create_playlist(db, PlaylistCreate.model_validate(playlist))


@pytest.fixture
async def refused_page(browser: Browser, service: Service) -> AsyncIterator[Page]:
    """A page of which requests are refused, which a browser tells as an error; nothing else may go wrong in it."""
    async with AsyncExitStack() as contexts:
        page = await (await contexts.enter_async_context(_context(browser, service, {}))).new_page()
        problems: list[str] = []
        listen(page, problems)
        await log_in(page, service, "admin")
        yield page
        assert [problem for problem in problems if "status of 412" not in problem and "status of 404" not in problem] == []


async def the_clip(clip_id: str = "kick") -> Clip:
    async with get_async_session() as db:
        clip = await crud.get_clip(db, clip_id)
    assert clip is not None
    return clip


async def order_of(song_id: str = "night") -> list[str]:
    async with get_async_session() as db:
        song = await crud.get_song(db, song_id)
    assert song is not None
    return song.clip_ids


async def change_clip(**values: Any) -> None:
    """Change a clip as another program does."""
    async with get_async_session() as db:
        await crud.update_clip(db, "kick", ClipUpdate.model_validate(values))


async def begin_to_edit(page: Page) -> Locator:
    """Open the editor, with the cursor at the end."""
    await page.get_by_role("button", name="Edit", exact=True).click()
    editor = page.get_by_role("textbox", name="Code of Kick")
    await expect(editor).to_be_focused()
    await page.keyboard.press("Control+End")
    return editor


def order(page: Page) -> Locator:
    return page.get_by_role("list", name="Order").get_by_role("listitem")


@pytest.mark.usefixtures("studio")
class TestClip:
    async def test_is_edited_compared_and_restored(self, open_page: OpenPage) -> None:
        page = await open_page(KICK)
        editor = await begin_to_edit(page)
        # What is a shortcut elsewhere is a letter here.
        await page.keyboard.type("// g?/e")
        await page.keyboard.press("Control+s")
        await expect(page.get_by_role("button", name="Done")).to_be_visible()
        assert (await the_clip()).code == 's("kick")\n// g?/e'
        await expect(editor).to_contain_text("// g?/e")
        await page.get_by_role("button", name="Done").click()

        await page.get_by_role("button", name="Compare 1 with 2").click()
        await page.wait_for_url("**/clips/kick?from=1&to=2")
        await expect(page.get_by_role("region", name="Code, version 1 to 2")).to_contain_text("+// g?/e")
        await page.go_back()
        await expect(page.get_by_role("button", name="Edit", exact=True)).to_be_visible()

        await page.get_by_role("button", name="Restore version 1").click()
        await expect(page.get_by_text("Version 1 is restored, as version 3.").first).to_be_attached()
        assert (await the_clip()).code == 's("kick")\n'

    async def test_what_is_typed_outlives_a_reload(self, open_page: OpenPage) -> None:
        page = await open_page(KICK)
        page.on("dialog", lambda dialog: dialog.accept())
        await begin_to_edit(page)
        await page.keyboard.type("// not saved")
        await page.reload()
        await expect(page.get_by_role("textbox", name="Code of Kick")).to_contain_text("// not saved")
        await page.get_by_role("button", name="Save").click()
        await expect(page.get_by_role("button", name="Done")).to_be_visible()
        assert "// not saved" in (await the_clip()).code

    async def test_says_which_message_asked_for_it(self, open_page: OpenPage) -> None:
        async with get_async_session() as db:
            metadata = {"item_type": "clip", "item_id": "kick"}
            values = {"agent_name": "strudel", "model_name": "grok-4-fast", "session_name": "Kick", "metadata": metadata}
            chat = await crud.create_session(db, SessionCreate.model_validate(values))
            await crud.save_display_messages(db, chat.id, [message("Make the **kick** punchier")])
        await change_clip(code="punchier", session_id=chat.id, message_index=0)
        page = await open_page(KICK)
        await expect(page.get_by_role("region", name="Chat about this clip").get_by_text("kick", exact=True)).to_be_visible()
        async with get_async_session() as db:
            await crud.save_display_messages(db, chat.id, [message("Done: it has more gain.", role="assistant")])
        await expect(page.get_by_text("Done: it has more gain.")).to_be_visible()
        link = page.get_by_role("link", name="asked for in message 0")
        await expect(link).to_have_attribute("href", f"/sessions/{chat.id}?message=0")

    async def test_is_created_renamed_and_deleted(self, open_page: OpenPage) -> None:
        page = await open_page("/studio/house")
        await page.get_by_role("button", name="New clip").click()
        await page.get_by_role("textbox", name="Name").fill("Open Hats!")
        await expect(page.get_by_label("Id", exact=True)).to_have_value("open-hats")
        await page.get_by_role("button", name="Create the clip").click()
        await page.wait_for_url("**/clips/open-hats")
        await page.get_by_role("button", name="Properties").click()
        await page.get_by_role("textbox", name="Name").fill("Hats")
        await page.get_by_label("Tempo (bpm)").fill("fast")
        await page.get_by_role("button", name="Save").click()
        await expect(page.get_by_role("alert")).to_contain_text("is no tempo")
        await page.get_by_label("Tempo (bpm)").fill("128")
        await page.get_by_label("Tags, with commas").fill("drums, open")
        await page.get_by_role("button", name="Save").click()
        await expect(page.get_by_role("heading", name="Hats", exact=True)).to_be_visible()
        clip = await the_clip("open-hats")
        assert (clip.name, clip.metadata_) == ("Hats", {"bpm": 128, "tags": ["drums", "open"]})
        await page.get_by_role("button", name="Delete").click()
        await expect(page.get_by_role("dialog")).to_contain_text("session-db clips restore open-hats")
        await page.get_by_role("button", name="Delete the clip").click()
        await page.wait_for_url("**/studio/house")
        async with get_async_session() as db:
            assert await crud.get_clip(db, "open-hats") is None

    async def test_one_who_may_only_read_has_nothing_to_change_it_with(self, open_page: OpenPage) -> None:
        await change_clip(code="another")
        page = await open_page(KICK, scope="read")
        await expect(page.get_by_text("Version 1", exact=True)).to_be_visible()
        link = page.get_by_role("link", name="Open in Strudel")
        await expect(link).to_have_attribute("href", "https://strudel.cc/#YW5vdGhlcg%3D%3D")
        await expect(link).to_have_attribute("rel", "noopener noreferrer")
        for name in ("Edit", "Properties", "Delete", "Restore"):
            await expect(page.get_by_role("button", name=name)).to_have_count(0)
        await page.goto(NIGHT)
        await expect(order(page)).to_have_count(3)
        await expect(order(page).get_by_role("button")).to_have_count(0)


@pytest.mark.usefixtures("studio")
class TestConflict:
    async def test_shows_both_and_nothing_is_lost(self, refused_page: Page) -> None:
        page = refused_page
        await page.goto(KICK)
        await begin_to_edit(page)
        await page.keyboard.type("// mine")
        await change_clip(code="// theirs\n")
        await page.get_by_role("button", name="Save").click()
        conflict = page.get_by_role("alert", name="Conflict")
        await expect(conflict).to_contain_text("Somebody saved version 2 while you edited")
        await expect(conflict.get_by_role("region")).to_contain_text("-// theirs")
        await expect(conflict.get_by_role("region")).to_contain_text("+// mine")
        assert (await the_clip()).code == "// theirs\n"

        await conflict.get_by_role("button", name="Take theirs").click()
        await expect(page.get_by_text("// theirs").first).to_be_visible()
        await page.get_by_role("button", name="Bring it back").click()
        await expect(page.get_by_role("textbox", name="Code of Kick")).to_contain_text("// mine")
        await page.get_by_role("button", name="Save").click()
        await expect(page.get_by_role("button", name="Done")).to_be_visible()
        assert (await the_clip()).code == 's("kick")\n// mine'

    async def test_mine_can_be_saved_over_theirs_which_stays_a_version(self, refused_page: Page) -> None:
        page = refused_page
        await page.goto(KICK)
        await begin_to_edit(page)
        await page.keyboard.type("// mine")
        await change_clip(code="// theirs\n")
        await page.get_by_role("button", name="Save").click()
        await page.get_by_role("button", name="Save mine over it").click()
        await expect(page.get_by_text("Version 3 · changed")).to_be_visible()
        assert ((await the_clip()).code, (await the_clip()).version) == ('s("kick")\n// mine', 3)
        async with get_async_session() as db:
            kept = await crud.get_clip_version(db, "kick", 2)
        assert kept is not None
        assert kept.code == "// theirs\n"


@pytest.mark.usefixtures("studio")
class TestOrder:
    async def test_is_changed_by_dragging(self, open_page: OpenPage) -> None:
        page = await open_page(NIGHT)
        await expect(order(page)).to_have_count(3)
        handle = await order(page).nth(1).get_by_role("button", name="Move Bass, 2 of 3").bounding_box()
        first = await order(page).nth(0).bounding_box()
        assert handle is not None
        assert first is not None
        x, y = handle["x"] + handle["width"] / 2, handle["y"] + handle["height"] / 2
        await page.mouse.move(x, y)
        await page.mouse.down()
        await page.mouse.move(x, y - 20)
        await page.mouse.move(x, first["y"] + 4, steps=5)
        await page.mouse.up()
        await expect(order(page).nth(0)).to_contain_text("Bass")
        await expect(page.get_by_text("Version 2 · changed")).to_be_visible()
        assert await order_of() == ["bass", "kick", "kick"]

    async def test_is_changed_by_the_keyboard_and_undone(self, open_page: OpenPage) -> None:
        page = await open_page(NIGHT)
        await order(page).nth(1).get_by_role("button", name="Move Bass, 2 of 3").focus()
        await page.keyboard.press("ArrowDown")
        await expect(order(page).nth(2).get_by_role("button", name="Move Bass, 3 of 3")).to_be_focused()
        await expect(page.get_by_text("Bass is now 3 of 3.")).to_be_attached()
        await expect(page.get_by_text("Version 2 · changed")).to_be_visible()
        assert await order_of() == ["kick", "kick", "bass"]
        await page.get_by_role("button", name="Undo the last change").click()
        await expect(page.get_by_text("Version 3 · changed")).to_be_visible()
        assert await order_of() == ["kick", "bass", "kick"]

    async def test_members_are_added_and_taken_out(self, open_page: OpenPage) -> None:
        page = await open_page(NIGHT)
        unused = page.get_by_role("region", name="Add clips").get_by_role("listitem").first
        await expect(unused).to_contain_text("in no song")
        await unused.get_by_role("button", name="Add Arp").click()
        await expect(order(page)).to_have_count(4)
        await order(page).nth(0).get_by_role("button", name="Take Kick out").click()
        await expect(page.get_by_text("Version 3 · changed")).to_be_visible()
        assert await order_of() == ["bass", "kick", "arp"]

    async def test_unknown_ids_are_shown_and_can_be_taken_out(self, refused_page: Page) -> None:
        async with get_async_session() as db:
            await db.execute(text("""UPDATE songs SET clip_ids = '["kick", "gone", "bass"]'"""))
        page = refused_page
        await page.goto(NIGHT)
        await expect(order(page).nth(1)).to_contain_text("There is no clip with this id.")
        await page.get_by_role("button", name="Move Bass up").click()
        await expect(page.get_by_text("Not saved yet.")).to_be_visible()
        await page.get_by_role("button", name="Take out what is unknown").click()
        await expect(page.get_by_text("Version 2 · changed")).to_be_visible()
        assert await order_of() == ["kick", "bass"]

    async def test_what_somebody_else_ordered_is_not_overwritten(self, refused_page: Page) -> None:
        page = refused_page
        await page.goto(NIGHT)
        await expect(order(page)).to_have_count(3)
        async with get_async_session() as db:
            await crud.update_song(db, "night", SongUpdate(clip_ids=["arp"]))
        await page.get_by_role("button", name="Move Bass up").click()
        conflict = page.get_by_role("alert", name="Conflict")
        await expect(conflict.get_by_role("list").nth(0)).to_have_text("Arp")
        assert await order_of() == ["arp"]
        await conflict.get_by_role("button", name="Save mine over it").click()
        await expect(page.get_by_text("Version 3 · changed")).to_be_visible()
        assert await order_of() == ["bass", "kick", "kick"]

    async def test_a_playlist_has_songs_in_the_same_way(self, open_page: OpenPage) -> None:
        page = await open_page("/studio/house/playlists/set")
        await expect(order(page)).to_contain_text("Night drive")
        await page.get_by_role("button", name="Add Night drive").click()
        await expect(page.get_by_text("Version 2 · changed")).to_be_visible()
        async with get_async_session() as db:
            playlist = await crud.get_playlist(db, "set")
        assert playlist is not None
        assert playlist.song_ids == ["night", "night"]


@pytest.mark.usefixtures("studio")
class TestCarousel:
    async def test_is_walked_by_arrow_keys(self, open_page: OpenPage) -> None:
        page = await open_page("/studio/house")
        clips = page.get_by_role("listbox", name="Clips").get_by_role("option")
        await expect(clips).to_have_count(3)
        await expect(clips.filter(has_text="in no song")).to_have_count(1)
        await clips.nth(0).focus()
        await page.keyboard.press("ArrowRight")
        await page.keyboard.press("End")
        await expect(clips.nth(2)).to_be_focused()
        await page.keyboard.press("Enter")
        await page.wait_for_url(f"**{KICK}")
        await expect(clips.nth(2)).to_have_attribute("aria-selected", "true")
        await page.keyboard.press("Escape")
        await page.wait_for_url("**/studio/house")

    async def test_hostile_names_and_metadata_stay_text(self, open_page: OpenPage) -> None:
        async with get_async_session() as db:
            metadata = {"color": "red;background:url(//evil.example)", "bpm": "fast", "scale": {"a": 1}, "tags": [HOSTILE, 7]}
            values = {
                "clip_id": HOSTILE,
                "project_id": f"{HOSTILE} '$(x)'",
                "name": HOSTILE,
                "code": f"</script>{HOSTILE}",
                "metadata": metadata,
            }
            await crud.create_clip(db, ClipCreate.model_validate(values))
        page = await open_page("/studio")
        dialogs: list[str] = []
        page.on("dialog", lambda dialog: dialogs.append(dialog.message))
        await page.get_by_role("link", name=HOSTILE).click()
        card = page.get_by_role("option")
        await expect(card).to_contain_text('4 odd values: color "red')
        await card.click()
        await expect(page.get_by_role("heading", name=HOSTILE, exact=True)).to_be_visible()
        await expect(page.get_by_text('bpm "fast" is no tempo')).to_be_visible()
        await page.get_by_role("button", name="Edit", exact=True).click()
        await expect(page.get_by_role("textbox", name="Code of")).to_contain_text(HOSTILE)
        assert await page.locator("main img, main script").count() == 0
        assert dialogs == []

    async def test_more_projects_and_clips_come_page_by_page(self, open_page: OpenPage) -> None:
        async with get_async_session() as db:
            for number in range(70):
                values = {"clip_id": f"t{number:03}", "project_id": "techno", "name": f"Take {number}", "code": "s('bd')"}
                await crud.create_clip(db, ClipCreate.model_validate(values))
        page = await open_page("/studio")
        projects = page.get_by_role("list", name="Projects").get_by_role("listitem")
        await expect(projects).to_contain_text(["3 clips · 1 song · 1 playlist", "70 clips · 0 songs · 0 playlists"])
        await page.goto("/studio/techno")
        clips = page.get_by_role("listbox", name="Clips").get_by_role("option")
        await expect(clips).to_have_count(60)
        await page.get_by_role("button", name="More clips").scroll_into_view_if_needed()
        await expect(clips).to_have_count(70)
        await page.goto("/studio/techno/clips/t065")
        await expect(clips.and_(page.locator("[aria-selected=true]"))).to_be_in_viewport()


class TestEmpty:
    async def test_says_what_to_do(self, open_page: OpenPage) -> None:
        page = await open_page("/studio")
        await expect(page.get_by_text("session-db clips set kick --project house")).to_be_visible()
        await page.goto("/studio/house")
        await expect(page.get_by_role("heading", name="Nothing is in this project")).to_be_visible()

    async def test_a_narrow_page_does_not_scroll_sideways(self, open_page: OpenPage, studio: None) -> None:
        page = await open_page(KICK, viewport={"width": 360, "height": 740}, color_scheme="dark")
        for path in (KICK, f"{KICK}?from=1&to=1", NIGHT, "/studio/house", "/studio"):
            await page.goto(path)
            await expect(page.get_by_role("heading").first).to_be_visible()
            assert await page.evaluate("document.documentElement.scrollWidth <= innerWidth")
