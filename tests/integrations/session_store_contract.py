"""What a ``SessionStore`` of the Claude Agent SDK has to keep, whoever makes it.

A module of tests imports the classes and has a fixture ``store``, an empty store. The SDK's own fourteen contracts stand here in our
words, and those that it expects and does not test. Nothing here needs the SDK.
"""

import asyncio
import json
import time
from typing import Any

import anyio
import pytest

Key = dict[str, str]
Entry = dict[str, Any]

MAIN: Key = {"project_key": "project", "session_id": "session"}
AGENT_1: Key = MAIN | {"subpath": "subagents/agent-1"}
AGENT_2: Key = MAIN | {"subpath": "subagents/agent-2"}

EPOCH_MILLISECONDS = 10**12
"""More than any number of seconds, less than any of milliseconds since 2001."""

VALUES: list[Any] = [
    *["a\x00b", "\x00", "\ud800", "\udfff\ud800", "\U0001f600", "\u2028", "\\u0000", '"', "é" * 20_000],
    *[1e300, 1.7976931348623157e308, 5e-324, -0.0, 0.1, 1e16, 1.0, 2**53 + 1, -(2**63) - 1, 10**400],
    *[True, None, [], {}, [[]], {"b": 1, "a": 2}, {"\x00": {"\ud800": ["\x00"]}}],
]


def entry(**values: Any) -> Entry:
    return {"type": "x", **values}


def batch(name: str, size: int) -> list[Entry]:
    return [entry(uuid=f"{name}-{number}", name=name, number=number) for number in range(size)]


def exactly(entries: list[Entry] | None) -> str:
    """Return entries as text, so that 1 is not 1.0 and not true."""
    return json.dumps(entries)


def whole_batches(loaded: list[Entry], size: int) -> list[str]:
    """Assert that entries are whole batches of this size, one after the other, and return their names."""
    blocks = [loaded[start : start + size] for start in range(0, len(loaded), size)]
    assert all(block == batch(block[0]["name"], size) for block in blocks)
    return [block[0]["name"] for block in blocks]


class TestAppend:
    async def test_entries_come_back_in_the_order_of_the_list(self, store: Any) -> None:
        await store.append(MAIN, [entry(uuid="b", n=1), entry(uuid="a", n=2)])
        assert await store.load(MAIN) == [entry(uuid="b", n=1), entry(uuid="a", n=2)]

    async def test_calls_follow_one_another(self, store: Any) -> None:
        await store.append(MAIN, [entry(uuid="z", n=1)])
        await store.append(MAIN, [entry(uuid="a", n=2), entry(uuid="m", n=3)])
        await store.append(MAIN, [entry(uuid="b", n=4)])
        assert [one["n"] for one in await store.load(MAIN)] == [1, 2, 3, 4]

    async def test_no_entries_change_nothing(self, store: Any) -> None:
        await store.append(MAIN, [])
        assert await store.load(MAIN) is None
        await store.append(MAIN, [entry(uuid="a")])
        await store.append(MAIN, [])
        assert await store.load(MAIN) == [entry(uuid="a")]

    async def test_a_subpath_is_a_stream_of_its_own(self, store: Any) -> None:
        await store.append(MAIN, [entry(uuid="same", n=1)])
        await store.append(AGENT_1, [entry(uuid="same", n=2)])
        assert await store.load(MAIN) == [entry(uuid="same", n=1)]
        assert await store.load(AGENT_1) == [entry(uuid="same", n=2)]

    @pytest.mark.parametrize("session_id", ["session", "5791800a-3607-4500-9b87-35cc79dd7472"])
    async def test_projects_know_nothing_of_each_other(self, store: Any, session_id: str) -> None:
        for project in ("A", "B"):
            await store.append({"project_key": project, "session_id": session_id}, [entry(uuid="same", project=project)])
        for project in ("A", "B"):
            assert await store.load({"project_key": project, "session_id": session_id}) == [entry(uuid="same", project=project)]
            assert [one["session_id"] for one in await store.list_sessions(project)] == [session_id]

    async def test_a_known_uuid_changes_nothing(self, store: Any) -> None:
        await store.append(MAIN, [entry(uuid="a", n=1), entry(uuid="b", n=2)])
        await store.append(MAIN, [entry(uuid="a", n=1), entry(uuid="c", n=3), entry(uuid="c", n=3)])
        assert await store.load(MAIN) == [entry(uuid="a", n=1), entry(uuid="b", n=2), entry(uuid="c", n=3)]

    async def test_entries_without_a_uuid_are_never_taken_for_known(self, store: Any) -> None:
        title = entry(customTitle="Same")
        await store.append(MAIN, [title, title])
        await store.append(MAIN, [title, title])
        assert await store.load(MAIN) == [title] * 4

    async def test_an_odd_uuid_is_kept_as_it_is(self, store: Any) -> None:
        for number, uuid in enumerate([None, "", 7, ["a"], "\x00", "\ud800", "u" * 300]):
            key = MAIN | {"session_id": str(number)}
            await store.append(key, [entry(uuid=uuid)])
            assert exactly(await store.load(key)) == exactly([entry(uuid=uuid)])

    async def test_every_value_comes_back_exactly(self, store: Any) -> None:
        for number, value in enumerate(VALUES):
            key = MAIN | {"session_id": str(number)}
            entries = [entry(uuid="a", value=value), entry(value=[value])]
            await store.append(key, entries)
            assert exactly(await store.load(key)) == exactly(entries)

    async def test_one_strange_entry_does_not_cost_the_others_of_its_batch(self, store: Any) -> None:
        entries = [entry(uuid=f"u{number}", text="\x00" if number == 11 else "text") for number in range(20)]
        await store.append(MAIN, entries)
        assert await store.load(MAIN) == entries

    async def test_batches_of_writers_at_once_are_not_mixed(self, store: Any) -> None:
        async def write(writer: int) -> None:
            for number in range(10):
                await store.append(MAIN, batch(f"{writer}/{number}", 7))

        await asyncio.gather(*(write(writer) for writer in range(6)))
        loaded = await store.load(MAIN)
        assert len(loaded) == 6 * 10 * 7
        names = whole_batches(loaded, 7)
        for writer in range(6):
            assert [name for name in names if name.startswith(f"{writer}/")] == [f"{writer}/{number}" for number in range(10)]

    async def test_writers_of_the_same_entries_at_once_write_them_once(self, store: Any) -> None:
        await asyncio.gather(*(store.append(MAIN, batch("same", 50)) for _ in range(6)))
        assert await store.load(MAIN) == batch("same", 50)

    async def test_a_cancelled_append_is_stored_whole_or_not_at_all(self, store: Any) -> None:
        for number in range(20):
            writing = asyncio.create_task(store.append(MAIN, batch(str(number), 40)))
            await asyncio.sleep(0.002 * number)
            writing.cancel()
            await asyncio.gather(writing, return_exceptions=True)
        await store.append(MAIN, batch("last", 40))
        assert whole_batches(await store.load(MAIN), 40)[-1] == "last"

    async def test_an_append_whose_time_is_up_is_stored_whole_or_not_at_all(self, store: Any) -> None:
        for number in range(20):
            # It cancels at every point where the append waits, until the block is left.
            with anyio.move_on_after(0.002 * number):
                await store.append(MAIN, batch(str(number), 40))
        await store.append(MAIN, batch("last", 40))
        assert whole_batches(await store.load(MAIN), 40)[-1] == "last"

    async def test_a_hundred_thousand_entries_are_one_append(self, store: Any) -> None:
        entries = batch("large", 100_000)
        await store.append(MAIN, entries)
        loaded = await store.load(MAIN)
        assert len(loaded) == len(entries)
        assert loaded == entries


class TestLoad:
    async def test_an_unknown_key_has_nothing(self, store: Any) -> None:
        assert await store.load(MAIN) is None
        await store.append(MAIN, [entry(uuid="x")])
        assert await store.load(MAIN | {"subpath": "nope"}) is None
        assert await store.load(MAIN | {"project_key": "nope"}) is None

    async def test_a_deletion_meanwhile_leaves_all_or_nothing(self, store: Any) -> None:
        entries = batch("a", 3000)
        for round_ in range(5):
            await store.append(MAIN, entries)
            loading = asyncio.create_task(store.load(MAIN))
            await asyncio.sleep(0.004 * round_)
            await store.delete(MAIN)
            assert await loading in (None, entries)


class TestListSessions:
    async def test_it_lists_the_sessions_of_one_project_with_milliseconds(self, store: Any) -> None:
        for project, session_id in [("project", "a"), ("project", "b"), ("other", "c")]:
            await store.append({"project_key": project, "session_id": session_id}, [entry(n=1)])
        listed = await store.list_sessions("project")
        assert sorted(one["session_id"] for one in listed) == ["a", "b"]
        assert all(isinstance(one["mtime"], int) and one["mtime"] > EPOCH_MILLISECONDS for one in listed)
        assert await store.list_sessions("never used") == []

    async def test_streams_of_sub_agents_are_no_sessions(self, store: Any) -> None:
        await store.append(AGENT_1, [entry(n=1)])
        assert await store.list_sessions("project") == []
        await store.append(MAIN, [entry(n=1)])
        assert [one["session_id"] for one in await store.list_sessions("project")] == ["session"]

    async def test_the_session_that_was_written_last_is_the_newest(self, store: Any) -> None:
        for session_id in ["a", "b", "c", "a"]:
            await store.append({"project_key": "project", "session_id": session_id}, [entry(n=1)])
            await asyncio.sleep(0.005)
        mtimes = {one["session_id"]: one["mtime"] for one in await store.list_sessions("project")}
        assert sorted(mtimes, key=lambda session_id: mtimes[session_id]) == ["b", "c", "a"]

    async def test_the_time_is_the_storages_and_not_the_entries(self, store: Any) -> None:
        await store.append(MAIN, [entry(timestamp="2024-01-01T00:00:00.000Z")])
        (listed,) = await store.list_sessions("project")
        assert abs(listed["mtime"] - time.time() * 1000) < 60_000


class TestListSessionSummaries:
    async def test_a_summary_is_as_new_as_its_session(self, store: Any) -> None:
        for number in range(3):
            await store.append(MAIN, [entry(timestamp=f"2024-01-01T00:00:0{number}.000Z", customTitle=f"title {number}")])
        await store.append({"project_key": "other", "session_id": "elsewhere"}, [entry(n=1)])
        (summary,) = await store.list_session_summaries("project")
        (listed,) = await store.list_sessions("project")
        assert summary["session_id"] == "session"
        assert isinstance(summary["data"], dict)
        assert summary["mtime"] >= listed["mtime"] > EPOCH_MILLISECONDS
        assert await store.list_session_summaries("never used") == []

    async def test_a_sub_agent_has_no_part_in_it(self, store: Any) -> None:
        await store.append(MAIN, [entry(customTitle="main")])
        (before,) = await store.list_session_summaries("project")
        await store.append(AGENT_1, [entry(customTitle="sub-agent")])
        assert [one["data"] for one in await store.list_session_summaries("project")] == [before["data"]]

    async def test_it_goes_with_its_session(self, store: Any) -> None:
        await store.append(MAIN, [entry(customTitle="main")])
        await store.delete(MAIN)
        assert await store.list_session_summaries("project") == []


class TestDelete:
    async def test_a_session_goes_with_its_sub_agents(self, store: Any) -> None:
        others = [MAIN | {"session_id": "other"}, MAIN | {"project_key": "other"}]
        for key in [MAIN, AGENT_1, AGENT_2, *others]:
            await store.append(key, [entry(n=1)])
        await store.delete(MAIN)
        assert [await store.load(key) for key in (MAIN, AGENT_1, AGENT_2)] == [None] * 3
        assert [await store.load(key) for key in others] == [[entry(n=1)]] * 2
        assert await store.list_subkeys(MAIN) == []
        assert [one["session_id"] for one in await store.list_sessions("project")] == ["other"]

    async def test_a_sub_agent_goes_alone(self, store: Any) -> None:
        for key in (MAIN, AGENT_1, AGENT_2):
            await store.append(key, [entry(n=1)])
        await store.delete(AGENT_1)
        assert await store.load(AGENT_1) is None
        assert await store.load(MAIN) == await store.load(AGENT_2) == [entry(n=1)]
        assert await store.list_subkeys(MAIN) == ["subagents/agent-2"]

    async def test_what_was_never_written_can_be_deleted(self, store: Any) -> None:
        await store.delete(MAIN)
        await store.delete(AGENT_1)
        assert await store.load(MAIN) is None

    async def test_a_deleted_session_can_be_written_anew(self, store: Any) -> None:
        await store.append(MAIN, batch("a", 3))
        await store.delete(MAIN)
        await store.append(MAIN, batch("a", 2))
        assert await store.load(MAIN) == batch("a", 2)

    async def test_appends_meanwhile_are_gone_or_there_as_a_whole(self, store: Any) -> None:
        async def write(writer: int) -> None:
            for number in range(5):
                await store.append(MAIN, batch(f"{writer}/{number}", 5))

        await asyncio.gather(*(write(writer) for writer in range(3)), *(store.delete(MAIN) for _ in range(4)))
        whole_batches(await store.load(MAIN) or [], 5)


class TestListSubkeys:
    async def test_it_lists_the_subpaths_of_one_session(self, store: Any) -> None:
        nested = "subagents/workflows/run-1/agent-3"
        for key in (MAIN, AGENT_2, AGENT_1, MAIN | {"subpath": nested}, MAIN | {"session_id": "other", "subpath": "subagents/agent-x"}):
            await store.append(key, [entry(n=1)])
        assert sorted(await store.list_subkeys(MAIN)) == ["subagents/agent-1", "subagents/agent-2", nested]

    async def test_a_session_is_none_of_its_own_subpaths(self, store: Any) -> None:
        await store.append(MAIN, [entry(n=1)])
        assert await store.list_subkeys(MAIN) == []
        assert await store.list_subkeys(MAIN | {"session_id": "unknown"}) == []
