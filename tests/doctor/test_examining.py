"""Examinations: one at a time, whoever asks."""

import asyncio

import pytest

from session_db.doctor import examining
from session_db.doctor.checks import Check, Examination, Inspection
from session_db.doctor.examining import Examinations


class Slow:
    """An examination that goes on until it is told to end."""

    def __init__(self) -> None:
        self.begun = 0
        self.may_end = asyncio.Event()

    async def __call__(self, examination: Examination, _tell: object, *, everything: bool) -> None:
        assert (everything, examination.fixes_too) == (False, False)
        self.begun += 1
        await self.may_end.wait()
        number = self.begun

        async def look() -> Check:
            return Check("number", "ok", str(number))

        await examination.make(Inspection("number", look))


@pytest.fixture
async def slow(monkeypatch: pytest.MonkeyPatch) -> Slow:
    slow = Slow()
    monkeypatch.setattr(examining, "examine", slow)
    return slow


class TestExaminations:
    async def test_who_asks_meanwhile_gets_the_same_answer(self, slow: Slow) -> None:
        examinations = Examinations()
        asked = [asyncio.create_task(examinations.checks()) for _ in range(5)]
        await asyncio.sleep(0)
        slow.may_end.set()
        assert [[check.found for check in checks] for checks in await asyncio.gather(*asked)] == [["1"]] * 5
        assert [check.found for check in await examinations.checks()] == ["2"]

    async def test_who_goes_away_does_not_end_it_for_the_others(self, slow: Slow) -> None:
        examinations = Examinations()
        first, second = [asyncio.create_task(examinations.checks()) for _ in range(2)]
        await asyncio.sleep(0)
        first.cancel()
        await asyncio.sleep(0)
        slow.may_end.set()
        assert [check.found for check in await second] == ["1"]
        assert slow.begun == 1

    async def test_one_that_fails_is_made_again(self, monkeypatch: pytest.MonkeyPatch) -> None:
        examinations = Examinations()

        async def broken(*_: object, **__: object) -> None:
            raise ZeroDivisionError

        monkeypatch.setattr(examining, "examine", broken)
        for _ in range(2):
            with pytest.raises(ZeroDivisionError):
                await examinations.checks()
