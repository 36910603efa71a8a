"""Clips, songs and playlists: what all three have in common, and what binds them together."""

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable
from typing import Any
from uuid import uuid4

import pytest

from session_db import crud
from session_db.database import UnitOfWork, in_transaction
from session_db.errors import AlreadyExists, Conflict, InvalidInput, NotFound, StaleVersion
from session_db.models import ClipCreate, ClipRead, ClipUpdate, PlaylistCreate, PlaylistUpdate, SongCreate, SongUpdate
from tests.databases import Database


async def make_clip(db: UnitOfWork, clip_id: str = "kick", **values: Any) -> Any:
    data = {"clip_id": clip_id, "project_id": "house", "name": "Kick", "code": "sound('bd')"} | values
    return await crud.create_clip(db, ClipCreate.model_validate(data))


async def make_song(db: UnitOfWork, song_id: str = "song", **values: Any) -> Any:
    return await crud.create_song(db, SongCreate.model_validate({"song_id": song_id, "project_id": "house", "name": "Song"} | values))


async def make_playlist(db: UnitOfWork, playlist_id: str = "list", **values: Any) -> Any:
    data = {"playlist_id": playlist_id, "project_id": "house", "name": "List"} | values
    return await crud.create_playlist(db, PlaylistCreate.model_validate(data))


class Kind:
    """One kind of item, by its functions."""

    def __init__(self, noun: str, make: Callable[..., Awaitable[Any]], change: Any) -> None:
        self.noun = noun
        self.key = f"{noun}_id"
        self.make = make
        self.change = change
        self.get: Any = getattr(crud, f"get_{noun}")
        self.list: Any = getattr(crud, f"list_{noun}s")
        self.update: Any = getattr(crud, f"update_{noun}")
        self.save: Any = getattr(crud, f"save_{noun}")
        self.delete: Any = getattr(crud, f"delete_{noun}")


@pytest.fixture(params=["clip", "song", "playlist"])
def kind(request: pytest.FixtureRequest) -> Kind:
    kinds = {
        "clip": Kind("clip", make_clip, ClipUpdate),
        "song": Kind("song", make_song, SongUpdate),
        "playlist": Kind("playlist", make_playlist, PlaylistUpdate),
    }
    return kinds[request.param]


class TestItems:
    async def test_it_is_created_read_and_deleted(self, db: UnitOfWork, kind: Kind) -> None:
        item = await kind.make(db, "a", metadata={"bpm": 120})
        assert (item.version, item.metadata_) == (1, {"bpm": 120})
        assert await kind.get(db, "a") is item
        assert await kind.get(db, "b") is None
        assert await kind.delete(db, "a") is True
        assert await kind.delete(db, "a") is False
        assert await kind.get(db, "a") is None

    async def test_an_id_is_taken_once_and_the_transaction_goes_on(self, db: UnitOfWork, kind: Kind) -> None:
        await kind.make(db, "a")
        db.expunge_all()
        with pytest.raises(AlreadyExists, match=kind.key):
            await kind.make(db, "a", project_id="other")
        await kind.make(db, "b")

    async def test_pages_in_the_order_of_ids(self, db: UnitOfWork, kind: Kind) -> None:
        items = {item_id: await kind.make(db, item_id, project_id=project) for item_id, project in [("c", "x"), ("a", "x"), ("b", "y")]}
        page = await kind.list(db, limit=2)
        assert page == [items["a"], items["b"]]
        assert await kind.list(db, limit=2, cursor=page.next_cursor) == [items["c"]]
        assert await kind.list(db, "x") == [items["a"], items["c"]]

    async def test_only_what_was_set_changes_and_the_version_rises(self, db: UnitOfWork, kind: Kind) -> None:
        item = await kind.make(db, "a", metadata={"bpm": 120})
        await kind.update(db, "a", kind.change(name="New"))
        assert (item.name, item.project_id, item.metadata_, item.version) == ("New", "house", {"bpm": 120}, 2)
        await kind.update(db, "a", kind.change(metadata=None))
        assert (item.metadata_, item.version) == ({}, 3)
        assert await kind.update(db, "b", kind.change(name="New")) is None

    async def test_a_change_of_nothing_is_no_version(self, db: UnitOfWork, kind: Kind) -> None:
        item = await kind.make(db, "a", name="Same")
        await kind.update(db, "a", kind.change(name="Same"))
        assert item.version == 1

    async def test_a_stale_version_is_refused(self, db: UnitOfWork, kind: Kind) -> None:
        item = await kind.make(db, "a")
        await kind.update(db, "a", kind.change(name="One"), expected_version=1)
        with pytest.raises(StaleVersion, match="at version 2, not 1") as caught:
            await kind.update(db, "a", kind.change(name="Two"), expected_version=1)
        assert caught.value.details == {kind.key: "a", "version": 2, "expected_version": 1}
        assert item.name == "One"

    async def test_what_it_needs_cannot_be_cleared(self, db: UnitOfWork, kind: Kind) -> None:
        item = await kind.make(db, "a")
        with pytest.raises(InvalidInput, match="name cannot be cleared"):
            await kind.update(db, "a", kind.change(name=None, project_id="other"))
        assert (item.project_id, item.version) == ("house", 1)

    async def test_metadata_changes_in_place(self, db: UnitOfWork, kind: Kind) -> None:
        item = await kind.make(db, "a")
        item.metadata_["color"] = "#FF5733"
        await db.commit()
        db.expunge_all()
        assert (await kind.get(db, "a")).metadata_ == {"color": "#FF5733"}

    async def test_true_is_another_value_than_one(self, db: UnitOfWork, kind: Kind) -> None:
        await kind.make(db, "a", metadata={"loop": [1, 0]})
        await kind.update(db, "a", kind.change(metadata={"loop": [True, 0]}))
        await db.commit()
        db.expunge_all()
        item = await kind.get(db, "a")
        assert (item.version, item.metadata_["loop"][0]) == (2, True)
        assert item.metadata_["loop"][0] is True


class TestSave:
    async def test_it_creates_changes_or_leaves_as_it_is(self, db: UnitOfWork, kind: Kind) -> None:
        new = kind.change.model_validate({"name": "A", "project_id": "house"} | ({"code": "x"} if kind.noun == "clip" else {}))
        item, outcome = await kind.save(db, "a", new)
        assert (outcome, item.version, item.name) == ("created", 1, "A")
        assert await kind.save(db, "a", new) == (item, "unchanged")
        assert await kind.save(db, "a", kind.change(name="B")) == (item, "changed")
        assert (item.version, item.name, item.project_id) == (2, "B", "house")

    async def test_what_a_new_one_needs_is_listed(self, db: UnitOfWork, kind: Kind) -> None:
        with pytest.raises(InvalidInput, match=f"no {kind.noun} 'a'; to create it, give ") as caught:
            await kind.save(db, "a", kind.change(name="A", metadata=None))
        assert set(caught.value.details["missing"]) == {"project_id"} | ({"code"} if kind.noun == "clip" else set())

    async def test_an_expected_version_must_be_there(self, db: UnitOfWork, kind: Kind) -> None:
        with pytest.raises(NotFound, match=f"no {kind.noun} 'a' to be at version 1"):
            await kind.save(db, "a", kind.change(name="A"), expected_version=1)
        item = await kind.make(db, "a")
        for expected in (0, 2):
            with pytest.raises(StaleVersion):
                await kind.save(db, "a", kind.change(name="B"), expected_version=expected)
        assert await kind.save(db, "a", kind.change(name="B"), expected_version=1) == (item, "changed")

    async def test_of_many_at_once_one_creates_it(self, fresh_database: Database, kind: Kind) -> None:
        async def save(name: str) -> tuple[str, int]:
            new = kind.change.model_validate({"name": name, "project_id": "house"} | ({"code": name} if kind.noun == "clip" else {}))

            async def work(db: UnitOfWork) -> tuple[str, int]:
                item, outcome = await kind.save(db, "a", new)
                return outcome, item.version

            return await in_transaction(work)

        saved = await asyncio.gather(*(save(str(number)) for number in range(8)))
        assert Counter(outcome for outcome, _ in saved) == {"created": 1, "changed": 7}
        assert sorted(version for _, version in saved) == list(range(1, 9))


class TestClipVersions:
    async def test_a_change_of_the_code_keeps_the_old_code(self, db: UnitOfWork) -> None:
        clip = await make_clip(db, code="one", metadata={"bpm": 1})
        session_id = uuid4()
        await crud.update_clip(db, "kick", ClipUpdate(code="two", metadata={"bpm": 2}, session_id=session_id, message_index=7))
        await crud.update_clip(db, "kick", ClipUpdate(name="Other"))
        await crud.update_clip(db, "kick", ClipUpdate(code="two"))
        await crud.update_clip(db, "kick", ClipUpdate(code="three"))
        versions = await crud.list_clip_versions(db, "kick", whole=True)
        assert [(v.version, v.code, v.metadata_, v.session_id, v.message_index) for v in versions] == [
            (3, "two", {"bpm": 2}, None, None),
            (1, "one", {"bpm": 1}, session_id, 7),
        ]
        assert (clip.code, clip.version) == ("three", 4)

    async def test_a_refused_change_keeps_no_version(self, db: UnitOfWork) -> None:
        await make_clip(db, code="one")
        with pytest.raises(InvalidInput):
            await crud.update_clip(db, "kick", ClipUpdate(code="two", name=None))
        await db.commit()
        assert await crud.list_clip_versions(db, "kick") == []

    async def test_a_clip_that_is_made_again_goes_on_after_its_former_versions(self, db: UnitOfWork) -> None:
        await make_clip(db, code="one")
        await crud.update_clip(db, "kick", ClipUpdate(code="two"))
        await crud.delete_clip(db, "kick")
        await make_clip(db, code="three")
        await crud.update_clip(db, "kick", ClipUpdate(code="four"))
        versions = await crud.list_clip_versions(db, "kick", whole=True)
        assert [(v.version, v.code) for v in versions] == [(3, "three"), (2, "two"), (1, "one")]

    async def test_who_saw_a_clip_that_was_deleted_and_made_again_is_told(self, db: UnitOfWork) -> None:
        seen = await make_clip(db, code="one")
        version = seen.version
        await crud.delete_clip(db, "kick")
        await make_clip(db, code="another")
        with pytest.raises(StaleVersion):
            await crud.update_clip(db, "kick", ClipUpdate(code="two"), expected_version=version)

    async def test_pages_from_the_newest_to_the_oldest(self, db: UnitOfWork) -> None:
        await make_clip(db, code="0")
        for number in range(1, 4):
            await crud.update_clip(db, "kick", ClipUpdate(code=str(number)))
        page = await crud.list_clip_versions(db, "kick", whole=True, limit=2)
        rest = await crud.list_clip_versions(db, "kick", whole=True, limit=2, cursor=page.next_cursor)
        assert [v.code for v in page + rest] == ["2", "1", "0"]
        assert rest.next_cursor is None

    async def test_those_before_a_version_are_listed(self, db: UnitOfWork) -> None:
        await make_clip(db, code="0")
        for number in range(1, 4):
            await crud.update_clip(db, "kick", ClipUpdate(code=str(number)))
        assert [v.version for v in await crud.list_clip_versions(db, "kick", before_version=3)] == [2, 1]

    async def test_one_is_read_where_it_was_kept(self, db: UnitOfWork) -> None:
        await make_clip(db, code="one")
        await crud.update_clip(db, "kick", ClipUpdate(name="New"))
        await crud.update_clip(db, "kick", ClipUpdate(code="two"))
        kept = [await crud.get_clip_version(db, "kick", version) for version in (1, 2, 3)]
        assert [version and version.code for version in kept] == [None, "one", None]

    async def test_it_is_shown_with_metadata_under_its_own_name(self, db: UnitOfWork) -> None:
        clip = await make_clip(db, metadata={"bpm": 120})
        assert ClipRead.model_validate(clip, from_attributes=True).model_dump(by_alias=True)["metadata"] == {"bpm": 120}


class TestRestoreClipVersion:
    async def test_its_code_and_metadata_become_a_new_version(self, db: UnitOfWork) -> None:
        clip = await make_clip(db, code="one", metadata={"bpm": 1})
        await crud.update_clip(db, "kick", ClipUpdate(code="two", metadata={"bpm": 2}))
        session_id = uuid4()
        saved = await crud.restore_clip_version(db, "kick", 1, ClipUpdate(session_id=session_id), expected_version=2)
        assert saved == (clip, "changed")
        assert (clip.code, clip.metadata_, clip.version) == ("one", {"bpm": 1}, 3)
        newest = (await crud.list_clip_versions(db, "kick", whole=True))[0]
        assert (newest.version, newest.code, newest.session_id) == (2, "two", session_id)

    async def test_a_changed_metadata_stays_out_of_the_version(self, db: UnitOfWork) -> None:
        clip = await make_clip(db, code="one", metadata={"bpm": 1})
        await crud.update_clip(db, "kick", ClipUpdate(code="two"))
        await crud.restore_clip_version(db, "kick", 1)
        clip.metadata_["bpm"] = 3
        await db.commit()
        db.expunge_all()
        kept = await crud.get_clip_version(db, "kick", 1)
        assert kept is not None
        assert kept.metadata_ == {"bpm": 1}

    async def test_a_deleted_clip_comes_back_with_the_name_that_is_given(self, db: UnitOfWork) -> None:
        await make_clip(db, code="one")
        await crud.delete_clip(db, "kick")
        with pytest.raises(InvalidInput, match="give project_id, name too"):
            await crud.restore_clip_version(db, "kick", 1)
        saved = await crud.restore_clip_version(db, "kick", 1, ClipUpdate(name="Kick", project_id="house"), expected_version=0)
        assert saved is not None
        assert (saved.outcome, saved.item.code, saved.item.version) == ("created", "one", 2)

    async def test_one_that_was_not_kept_is_none(self, db: UnitOfWork) -> None:
        await make_clip(db, code="one")
        assert await crud.restore_clip_version(db, "kick", 1) is None

    async def test_a_stale_version_is_refused(self, db: UnitOfWork) -> None:
        clip = await make_clip(db, code="one")
        await crud.update_clip(db, "kick", ClipUpdate(code="two"))
        with pytest.raises(StaleVersion):
            await crud.restore_clip_version(db, "kick", 1, expected_version=1)
        assert clip.code == "two"


class TestLinks:
    async def test_a_song_names_its_clips_in_order(self, db: UnitOfWork) -> None:
        for clip_id in ("kick", "bass"):
            await make_clip(db, clip_id)
        song = await make_song(db, clip_ids=["bass", "kick", "bass"])
        db.expunge_all()
        again = await crud.get_song(db, song.song_id)
        assert again is not None
        assert again.clip_ids == ["bass", "kick", "bass"]

    async def test_unknown_clips_are_listed(self, db: UnitOfWork) -> None:
        await make_clip(db, "kick")
        with pytest.raises(InvalidInput, match="no clip bass, hats;") as caught:
            await make_song(db, clip_ids=["bass", "kick", "hats", "bass"])
        assert caught.value.details["clip_ids"] == ["bass", "hats"]
        song = await make_song(db)
        with pytest.raises(InvalidInput, match="no clip bass"):
            await crud.update_song(db, "song", SongUpdate(clip_ids=["bass"]))
        assert song.clip_ids == []

    async def test_they_may_be_very_many(self, db: UnitOfWork) -> None:
        await make_clip(db, "kick")
        await make_song(db, clip_ids=["kick"] * 40_000)
        with pytest.raises(InvalidInput, match="no clip 0, 1, 2"):
            await make_song(db, "other", clip_ids=[str(number) for number in range(40_000)])
        with pytest.raises(InvalidInput, match="no song 0, 1, 2"):
            await make_playlist(db, song_ids=[str(number) for number in range(40_000)])

    async def test_unknown_songs_are_listed(self, db: UnitOfWork) -> None:
        await make_song(db, "known")
        with pytest.raises(InvalidInput, match="no song one, two;"):
            await make_playlist(db, song_ids=["one", "known", "two"])
        playlist = await make_playlist(db)
        with pytest.raises(InvalidInput, match="no song one"):
            await crud.update_playlist(db, "list", PlaylistUpdate(song_ids=["one"]))
        assert playlist.song_ids == []

    async def test_a_clip_in_songs_stays_and_they_are_listed(self, db: UnitOfWork) -> None:
        await make_clip(db, "kick")
        for song_id in ("b", "a"):
            await make_song(db, song_id, clip_ids=["kick"])
        with pytest.raises(Conflict, match="songs: a, b;") as caught:
            await crud.delete_clip(db, "kick")
        assert caught.value.details["song_ids"] == ["a", "b"]
        for song_id in ("b", "a"):
            await crud.update_song(db, song_id, SongUpdate(clip_ids=[]))
        assert await crud.delete_clip(db, "kick") is True

    async def test_a_song_in_playlists_stays_and_they_are_listed(self, db: UnitOfWork) -> None:
        await make_song(db)
        await make_playlist(db, song_ids=["song"])
        with pytest.raises(Conflict, match="playlists: list;"):
            await crud.delete_song(db, "song")
        await crud.delete_playlist(db, "list")
        assert await crud.delete_song(db, "song") is True
