"""Versions of clips: what their lists leave out, and what changed between two."""

import subprocess
import time
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from session_db import crud
from session_db.crud.clips import COMPARED_LINES, unified_diff
from session_db.database import UnitOfWork
from session_db.errors import InvalidInput, NotFound
from session_db.models import ClipUpdate, ClipVersionRead
from tests.crud.test_items import make_clip


def applied(tmp_path: Path, old: str, new: str) -> str:
    """Return what git makes of a text with the diff to another one."""
    (tmp_path / "kick").write_bytes(old.encode())
    diff, _ = unified_diff(old, new, "a/kick", "b/kick")
    if diff:
        subprocess.run(["git", "apply", "--unsafe-paths", "-"], cwd=tmp_path, input=diff.encode(), check=True, capture_output=True)
    return (tmp_path / "kick").read_bytes().decode()


class TestListClipVersions:
    async def test_the_code_is_left_out_with_its_size(self, db: UnitOfWork) -> None:
        await make_clip(db, code="é")
        await crud.update_clip(db, "kick", ClipUpdate(code="two"))
        (listed,) = await crud.list_clip_versions(db, "kick")
        (whole,) = await crud.list_clip_versions(db, "kick", whole=True)
        assert (listed.code, listed.code_bytes, listed.metadata_) == (None, 2, {})
        assert whole.model_dump() == listed.model_dump() | {"code": "é"}

    async def test_a_kept_one_is_shown_as_a_whole_list_shows_it(self, db: UnitOfWork) -> None:
        await make_clip(db, code="é", metadata={"bpm": 120})
        await crud.update_clip(db, "kick", ClipUpdate(code="two"))
        kept = await crud.get_clip_version(db, "kick", 1)
        assert ClipVersionRead.model_validate(kept, from_attributes=True) == (await crud.list_clip_versions(db, "kick", whole=True))[0]


class TestDiffClipVersions:
    async def test_two_versions_are_compared(self, db: UnitOfWork) -> None:
        await make_clip(db, code="a\nb\nc\nd\ne\n")
        await crud.update_clip(db, "kick", ClipUpdate(code="a\nb\nc\nd\nf\n"))
        compared = await crud.diff_clip_versions(db, "kick", 1, 2)
        assert compared is not None
        assert (compared.clip_id, compared.from_version, compared.to_version, compared.is_line_by_line) == ("kick", 1, 2, True)
        assert compared.diff == "--- kick@1\n+++ kick@2\n@@ -2,4 +2,4 @@\n b\n c\n d\n-e\n+f\n"
        back = await crud.diff_clip_versions(db, "kick", 2, 1)
        assert back is not None
        assert back.diff == "--- kick@2\n+++ kick@1\n@@ -2,4 +2,4 @@\n b\n c\n d\n-f\n+e\n"

    async def test_a_version_that_was_not_kept_has_the_code_of_the_next_one(self, db: UnitOfWork) -> None:
        await make_clip(db, code="one\n")
        await crud.update_clip(db, "kick", ClipUpdate(name="New"))
        await crud.update_clip(db, "kick", ClipUpdate(code="two\n"))
        await crud.update_clip(db, "kick", ClipUpdate(metadata={"bpm": 1}))
        diffs = [await crud.diff_clip_versions(db, "kick", *versions) for versions in ((1, 2), (3, 4), (1, 3), (2, 4))]
        changes = [compared and compared.diff.splitlines()[3:] for compared in diffs]
        assert changes == [[], [], ["-one", "+two"], ["-one", "+two"]]

    async def test_those_of_a_deleted_clip_are_compared_and_of_one_that_came_back(self, db: UnitOfWork) -> None:
        await make_clip(db, code="one\n")
        await crud.update_clip(db, "kick", ClipUpdate(code="two\n"))
        await crud.delete_clip(db, "kick")
        compared = await crud.diff_clip_versions(db, "kick", 1, 2)
        assert compared is not None
        assert compared.diff.endswith("-one\n+two\n")
        with pytest.raises(NotFound, match="use 1 to 2"):
            await crud.diff_clip_versions(db, "kick", 1, 3)
        await make_clip(db, code="three\n")
        compared = await crud.diff_clip_versions(db, "kick", 2, 3)
        assert compared is not None
        assert compared.diff.endswith("-two\n+three\n")

    @pytest.mark.parametrize("versions", [(0, 1), (1, 3), (-1, 9), (2**31 - 1, 1)])
    async def test_an_unknown_version_is_named_with_those_that_there_are(self, db: UnitOfWork, versions: tuple[int, int]) -> None:
        await make_clip(db, code="one")
        await crud.update_clip(db, "kick", ClipUpdate(code="two"))
        unknown = next(version for version in versions if version not in {1, 2})
        with pytest.raises(NotFound, match=f"has no version {unknown}; use 1 to 2") as caught:
            await crud.diff_clip_versions(db, "kick", *versions)
        assert caught.value.details == {"clip_id": "kick", "version": unknown}

    async def test_of_a_clip_that_never_was_there_is_none(self, db: UnitOfWork) -> None:
        assert await crud.diff_clip_versions(db, "kick", 1, 2) is None

    @pytest.mark.parametrize("bad", ["abc", 2**31])
    async def test_what_is_no_version_is_refused(self, db: UnitOfWork, bad: Any) -> None:
        await make_clip(db)
        with pytest.raises(InvalidInput, match="version"):
            await crud.diff_clip_versions(db, "kick", 1, bad)

    async def test_a_name_stays_in_its_line(self, db: UnitOfWork) -> None:
        await make_clip(db, "a\n+++ b\u202eé", code="one")
        await crud.update_clip(db, "a\n+++ b\u202eé", ClipUpdate(code="two"))
        compared = await crud.diff_clip_versions(db, "a\n+++ b\u202eé", 1, 2)
        assert compared is not None
        assert compared.diff.split("\n")[:2] == ["--- a\\n+++ b\\u202eé@1", "+++ a\\n+++ b\\u202eé@2"]


class TestUnifiedDiff:
    @given(
        old=st.lists(st.sampled_from("ab"), max_size=12).map("\n".join),
        new=st.lists(st.sampled_from("ab\r"), max_size=12).map("\n".join),
        is_ended=st.booleans(),
        most=st.sampled_from([0, COMPARED_LINES]),
    )
    def test_git_makes_one_text_of_the_other(
        self, tmp_path_factory: pytest.TempPathFactory, old: str, new: str, is_ended: bool, most: int
    ) -> None:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr("session_db.crud.clips.COMPARED_LINES", most)
            new += "\n" if is_ended else ""
            assert applied(tmp_path_factory.getbasetemp(), old, new) == new

    @pytest.mark.parametrize(
        ("old", "new", "lines"),
        [
            ("a\r\nb\r\n", "a\nb\r\n", ["-a\r", "+a", " b\r"]),
            ("a", "a\n", ["-a", "\\ No newline at end of file", "+a"]),
            ("a\x0bb\n", "a\x0bc\n", ["-a\x0bb", "+a\x0bc"]),
            ("", "a\n", ["+a"]),
        ],
    )
    def test_what_ends_a_line_belongs_to_it(self, old: str, new: str, lines: list[str]) -> None:
        diff, _ = unified_diff(old, new, "old", "new")
        assert diff.split("\n")[3:-1] == lines

    def test_long_texts_are_one_hunk_from_the_first_difference_to_the_last(self) -> None:
        lines = [f"line {number}\n" for number in range(COMPARED_LINES)]
        changed = [*lines[:500], "new\n", *lines[501:700], "new\n", *lines[701:]]
        diff, is_line_by_line = unified_diff("".join(lines), "".join(changed), "old", "new")
        assert not is_line_by_line
        hunk = diff.splitlines()[2:]
        assert hunk[:4] == ["@@ -498,207 +498,207 @@", " line 497", " line 498", " line 499"]
        assert [line[0] for line in hunk[4:]] == ["-"] * 201 + ["+"] * 201 + [" "] * 3
        assert unified_diff("".join(lines), "".join(lines), "old", "new") == ("", False)

    def test_a_side_of_a_long_one_may_be_empty(self) -> None:
        text = "line\n" * (COMPARED_LINES + 1)
        assert unified_diff("", text, "old", "new")[0].splitlines()[2] == f"@@ -0,0 +1,{COMPARED_LINES + 1} @@"
        assert unified_diff(text, "", "old", "new")[0].splitlines()[2] == f"@@ -1,{COMPARED_LINES + 1} +0,0 @@"

    def test_no_text_takes_long(self) -> None:
        half = COMPARED_LINES // 2
        cyclic = [f"line {number % 104}\n" for number in range(half)]
        old, new = cyclic, [line if number % 2 else f"new {number}\n" for number, line in enumerate(cyclic)]
        larger = "".join(f"{number}\n" for number in range(150_000)), "".join(f"{-number}\n" for number in range(150_000))
        began = time.process_time()
        assert unified_diff("".join(old), "".join(new), "old", "new")[1] is True
        assert unified_diff(*larger, "old", "new")[1] is False
        assert time.process_time() - began < 5
