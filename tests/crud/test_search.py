"""Search: what is found, once and the newest first, and what it costs to ask for the next page."""

from datetime import UTC, datetime, timedelta
from random import Random
from typing import Any
from uuid import UUID

import pytest

from session_db import crud
from session_db.crud import Page, search_records
from session_db.crud.search_text import MARKED, parse_query
from session_db.database import UnitOfWork
from session_db.errors import InvalidInput
from session_db.models import AgentUpdate, Session
from session_db.models.search import SearchHit
from tests.factories import event, make_agent, make_session, message

NOON = datetime(2025, 12, 25, 12, tzinfo=UTC)


def minutes(number: float) -> datetime:
    return NOON + timedelta(minutes=number)


def places(hits: list[SearchHit]) -> list[tuple[str, int | None]]:
    return [(hit.type, hit.event_index if hit.message_index is None else hit.message_index) for hit in hits]


def marked(hit: SearchHit) -> list[str]:
    return [part.text for part in hit.snippet if part.matches]


async def say(db: UnitOfWork, session: Session, *contents: str, at: datetime = NOON, **values: Any) -> None:
    texts = [message(content, timestamp=(at + timedelta(seconds=n)).isoformat(), **values) for n, content in enumerate(contents)]
    await crud.save_display_messages(db, session.id, texts)


async def record(db: UnitOfWork, session: Session | UUID, *events: dict[str, Any]) -> None:
    await crud.append_agent_logs(db, [event(session, **({"timestamp": NOON, "event_type": "Notification"} | values)) for values in events])


async def found(db: UnitOfWork, words: str, **filters: Any) -> list[tuple[str, int | None]]:
    return places(await search_records(db, words, **filters))


class TestWords:
    async def test_all_of_them_must_be_there_in_upper_or_lower_case(self, db: UnitOfWork) -> None:
        session = await make_session(db)
        await say(db, session, "The Login test failed", "the login works", "Nothing here")
        assert await found(db, "LOGIN failed") == [("message", 0)]
        assert await found(db, "login") == [("message", 1), ("message", 0)]
        assert await found(db, "login nowhere") == []

    @pytest.mark.parametrize(
        ("words", "indexes"),
        [
            ('"out of memory"', [0]),
            ("memory out", [1, 0]),
            ("memory -cuda", [1]),
            ('memory -"out of memory"', [1]),
            ("cuda or disk", [2, 0]),
            ('"out of memory', [1, 0]),
            ("mem", [1, 0]),
            ('"mem"', []),
            ("me", []),
            ("mem -cuda", []),
        ],
    )
    async def test_phrases_exceptions_alternatives_and_a_beginning(self, db: UnitOfWork, words: str, indexes: list[int]) -> None:
        await say(db, await make_session(db), "cuda is out of memory", "memory of what was out", "disk full")
        assert await found(db, words) == [("message", index) for index in indexes]

    @pytest.mark.parametrize(
        "words",
        [
            "app.py", "src/session_db/app.py", "session_db", "login_page", "assertEqual", "self.assertEqual(page)", "strong", "--verbose",
            "me@example.com", "example.com", "2.1.330", "Ärger", "ärger", "日本語", "x", "don't", "R&D", "42",
        ],
    )  # fmt: skip
    async def test_words_of_code_paths_and_languages_are_found(self, db: UnitOfWork, words: str) -> None:
        text = "open src/session_db/app.py: self.assertEqual(page.login_page, <strong>x</strong>) --verbose me@example.com v2.1.330 2.1.330"
        await say(db, await make_session(db), f"{text} Ärger 日本語 don't R&D +42")
        assert await found(db, words) == [("message", 0)]

    @pytest.mark.parametrize(
        "words",
        [
            "finally",
            "tests",
            "deploy",
            "50",
            "class",
            "完成",
            "表格",
            "head",
            "naïve",
            "sévère",
            "ﬁn",
            '"done finally"',
            "done—finally",
            "50 files",
        ],
    )
    async def test_signs_of_any_language_end_a_word_whatever_the_locale(self, db: UnitOfWork, words: str) -> None:
        text = "The migration is done—finally. ✅Tests pass → “deploy” the build… (HEAD~3, 50 files)   3→class Engine 表格、完成。"
        await say(db, await make_session(db), f"{text} «naïve» sévère\u00a0ﬁn")
        assert await found(db, words) == [("message", 0)]

    @pytest.mark.parametrize(
        "words", ["it's", "\\ it", "it %", "it' OR 'b\\%", "it !!! (s | a) & c:*", "'it':*", "or it", "x or it", "it " * 160]
    )
    async def test_no_character_has_another_meaning(self, db: UnitOfWork, words: str) -> None:
        await say(db, await make_session(db), "a b c it's 100% C:\\temp")
        assert await found(db, words) == [("message", 0)]

    @pytest.mark.parametrize("words", ["x" * 500, "日" * 500, "a " * 250, '"' * 499 + "a", "-a " * 160 + "a", "a or " * 90 + "b"])
    async def test_a_query_may_be_as_long_as_that(self, db: UnitOfWork, words: str) -> None:
        assert await found(db, words) == []

    @pytest.mark.parametrize(
        "words", ["", "   ", "-login", "or", "... --", "…", "\x00", "login\x00", "\ud800", "x" * 501, 5, "login or -page"]
    )
    async def test_what_says_nothing_or_holds_what_no_text_holds_is_refused(self, db: UnitOfWork, words: Any) -> None:
        with pytest.raises(InvalidInput) as refused:
            await search_records(db, words)
        assert refused.value.details["path"] == "q"


class TestHits:
    async def test_sessions_messages_and_events_come_the_newest_first_with_their_places(self, db: UnitOfWork) -> None:
        session = await make_session(db, title="Deploy the kick", session_name="Mine")
        agent = await make_agent(db, session)
        await say(db, session, "Deploy it", at=minutes(2))
        await record(
            db,
            session,
            {"content": "deploy 1"},
            {"content": "deploy 2", "agent_id": agent.id, "tool_name": "Bash", "timestamp": minutes(5)},
        )
        hits = await search_records(db, "deploy")
        assert places(hits) == [("session", None), ("event", 1), ("message", 0), ("event", 0)]
        assert {hit.session_id for hit in hits} == {session.id}
        assert {hit.display_name for hit in hits} == {"Mine"}
        assert [hit.timestamp for hit in hits[1:]] == [minutes(5), minutes(2), NOON]
        assert (hits[1].agent_id, hits[1].tool_name, hits[1].event_type) == (agent.id, "Bash", "Notification")
        assert (hits[2].role, hits[2].event_type) == ("user", None)
        assert [marked(hit) for hit in hits] == [["Deploy"], ["deploy"], ["Deploy"], ["deploy"]]

    async def test_a_session_is_found_by_name_title_slug_and_description(self, db: UnitOfWork) -> None:
        session = await make_session(
            db, session_slug="2026-01-15_auth-feature", title="Implement it", description="With tokens", session_name="Login"
        )
        for words in ("auth", "2026-01-15_auth-feature", "implement tokens", "login"):
            (hit,) = await search_records(db, words)
            assert (hit.type, hit.session_id) == ("session", session.id)

    async def test_a_call_is_found_once_by_what_the_tool_was_asked(self, db: UnitOfWork) -> None:
        session = await make_session(db)
        call = {"tool_name": "Bash", "tool_use_id": "toolu_1", "tool_input": {"command": "pytest -x tests/api", "timeout": 5}}
        await record(
            db,
            session,
            call | {"event_type": "PreToolUse"},
            call | {"event_type": "PermissionRequest", "tool_use_id": None},
            call | {"event_type": "PostToolUse", "tool_output": "2 passed", "timestamp": minutes(1)},
            call | {"event_type": "ToolUseBlock", "event_category": "response", "timestamp": minutes(2)},
            {"event_type": "ToolResultBlock", "event_category": "response", "tool_use_id": "toolu_1", "tool_output": "2 passed"},
        )
        hits = await search_records(db, '"pytest -x"')
        assert [(hit.event_index, hit.tool_name, hit.tool_use_id) for hit in hits] == [(3, "Bash", "toolu_1")]
        assert await found(db, "pytest", event_type="PreToolUse") == [("event", 0)]
        assert await found(db, "pytest", until=minutes(1)) == [("event", 0)]

    async def test_a_call_is_found_once_on_all_pages(self, db: UnitOfWork) -> None:
        session = await make_session(db)
        calls = [{"tool_use_id": f"toolu_{n}", "content": "again", "timestamp": minutes(n)} for n in range(6)]
        later = [call | {"timestamp": minutes(10 + n)} for n, call in enumerate(calls)]
        await record(db, session, *calls, *later)
        assert [hit.event_index for hit in await pages(db, "again", limit=2)] == [11, 10, 9, 8, 7, 6]

    async def test_calls_of_two_sessions_are_two(self, db: UnitOfWork) -> None:
        for _ in range(2):
            await record(db, await make_session(db), {"tool_use_id": "toolu_1", "content": "same"})
        assert len(await found(db, "same")) == 2

    async def test_what_a_tool_gave_is_found_only_when_it_is_asked_for(self, db: UnitOfWork) -> None:
        session = await make_session(db)
        await record(db, session, {"tool_output": "x " * 2100 + "far", "tool_name": "Bash"}, {"tool_output": "AssertionError: near"})
        assert await found(db, "assertionerror") == []
        (hit,) = await search_records(db, "assertionerror near", tool_output=True)
        assert (hit.event_index, marked(hit)) == (1, ["AssertionError", "near"])
        assert await found(db, "far", tool_output=True) == []

    async def test_what_stands_in_the_conversation_is_no_event_as_well(self, db: UnitOfWork) -> None:
        session = await make_session(db)
        main = await make_agent(db, session)
        sub = await make_agent(db, session, parent_agent_id=main.id)
        answer = {"event_category": "response", "event_type": "TextBlock", "content": "The answer", "sdk_session_id": "sdk"}
        hooks = [{"event_type": name, "content": "The answer"} for name in ("UserPromptSubmit", "MessageDisplay", "Stop")]
        await record(db, session, answer | {"agent_id": main.id}, answer | {"agent_id": sub.id}, *hooks)
        assert len(await found(db, "answer")) == 5
        await say(db, session, "The answer", role="assistant")
        assert await found(db, "answer") == [("message", 0), ("event", 1)]
        assert len(await found(db, "answer", hit_type="event")) == 5

    async def test_what_no_message_says_is_an_event(self, db: UnitOfWork) -> None:
        session = await make_session(db)
        main = await make_agent(db, session)
        await say(db, session, "Begin")
        answer = {"event_category": "response", "event_type": "TextBlock", "content": "zanzibar", "agent_id": main.id}
        ended = {
            "event_type": "SubagentStop",
            "content": "zanzibar",
            "agent_id": (await make_agent(db, session, parent_agent_id=main.id)).id,
        }
        await record(db, session, {"event_type": "UserPromptSubmit", "content": "/review zanzibar"}, answer, ended)
        assert await found(db, "zanzibar") == [("event", 2), ("event", 1), ("event", 0)]

    async def test_what_a_sub_agent_said_last_is_found_once_where_its_transcript_was_read(self, db: UnitOfWork) -> None:
        session = await make_session(db)
        sub = await make_agent(db, session, parent_agent_id=(await make_agent(db, session)).id)
        said = {"content": "zanzibar", "agent_id": sub.id}
        await crud.update_agent(db, sub.id, AgentUpdate(output_tokens=5))
        await record(db, session, said | {"event_category": "response", "event_type": "TextBlock"}, said | {"event_type": "SubagentStop"})
        assert await found(db, "zanzibar") == [("event", 0)]

    async def test_a_deleted_session_is_not_found_nor_what_is_in_it(self, db: UnitOfWork) -> None:
        session = await make_session(db, title="Secret plan")
        await say(db, session, "secret")
        await record(db, session, {"content": "secret", "tool_use_id": "toolu_1"})
        assert len(await found(db, "secret")) == 3
        await crud.delete_session(db, session.id)
        assert await found(db, "secret") == []
        assert await found(db, "secret", session_id=session.id) == []

    async def test_any_text_can_be_stored_and_what_is_indexed_of_it_is_found(self, db: UnitOfWork) -> None:
        session = await make_session(db)
        letters = " ".join(chr(0x20000 + n) for n in range(40_000))
        await say(db, session, f"begin {'x' * 5000} {letters * 12} end", "NUL", at=NOON)
        await record(db, session, {"content": f"begin \x00 \ud800 {letters * 2}"})
        assert await found(db, "begin") == [("message", 0), ("event", 0)]
        assert await found(db, "end") == []


class TestSnippets:
    async def test_it_is_the_surroundings_of_the_first_match_on_one_line(self, db: UnitOfWork) -> None:
        await say(db, await make_session(db), f"{'before ' * 50}\n\n  the <b>login</b>\tpage\n{'after ' * 50}")
        (hit,) = await search_records(db, "login pag")
        text = "".join(part.text for part in hit.snippet)
        assert text.startswith("…before before")
        assert "the <b>login</b> page after" in text
        assert text.endswith("after…")
        assert len(text) < 250
        assert marked(hit) == ["login", "page"]

    async def test_a_phrase_is_marked_as_a_whole_and_what_is_left_out_not_at_all(self, db: UnitOfWork) -> None:
        await say(db, await make_session(db), "run pytest -x now; pytest alone")
        (hit,) = await search_records(db, '"pytest -x" -never')
        assert marked(hit) == ["pytest -x"]

    async def test_it_is_of_the_text_that_matches(self, db: UnitOfWork) -> None:
        await make_session(db, session_slug="a", title="Title", description="All about tokens")
        (hit,) = await search_records(db, "tokens")
        assert [part.text for part in hit.snippet] == ["All about ", "tokens"]

    def test_a_query_of_many_words_is_no_long_pattern(self) -> None:
        assert parse_query("a " * 240).marks.pattern == parse_query("a").marks.pattern
        assert parse_query(" or ".join(f"w{number}" for number in range(40))).marks.pattern.count("|") == MARKED - 1


class TestFilters:
    @pytest.fixture
    async def sessions(self, db: UnitOfWork) -> list[Session]:
        chat = await make_session(db, title="kick", working_dir="/work/a", current_project="a")
        workflow = await make_session(db, session_slug="b", title="other", working_dir="/work/b", current_project="b")
        for number, session in enumerate((chat, workflow)):
            await say(db, session, "kick", at=minutes(number))
            tool = {"content": "kick", "tool_name": ("Bash", "Read")[number], "event_type": ("PreToolUse", "Notification")[number]}
            await record(db, session, tool | {"timestamp": minutes(number)})
        return [chat, workflow]

    @pytest.mark.parametrize(
        ("filters", "expected"),
        [
            ({"hit_type": "session"}, [(0, "session")]),
            ({"hit_type": "message"}, [(1, "message"), (0, "message")]),
            ({"hit_type": "event"}, [(1, "event"), (0, "event")]),
            ({"session_type": "full"}, [(1, "message"), (1, "event")]),
            ({"working_dir": "/work/../work/b/"}, [(1, "message"), (1, "event")]),
            ({"current_project": "a"}, [(0, "session"), (0, "message"), (0, "event")]),
            ({"current_project": "a", "session_type": "full"}, []),
            ({"current_project": "a", "working_dir": "/work/b"}, []),
            ({"current_project": "nowhere"}, []),
            ({"tool_name": "Bash"}, [(0, "event")]),
            ({"event_type": "Notification"}, [(1, "event")]),
            ({"event_type": "Notification", "tool_name": "Bash"}, []),
            ({"since": minutes(1)}, [(0, "session"), (1, "message"), (1, "event")]),
            ({"since": minutes(1), "until": minutes(2)}, [(1, "message"), (1, "event")]),
            ({"until": minutes(1)}, [(0, "message"), (0, "event")]),
            ({"until": minutes(0)}, []),
            ({"since": datetime(9999, 1, 1)}, []),  # noqa: DTZ001  naive is UTC
        ],
    )
    async def test_each_leaves_out_what_it_says(
        self, db: UnitOfWork, sessions: list[Session], filters: dict[str, Any], expected: list[tuple[int, str]]
    ) -> None:
        hits = await search_records(db, "kick", **filters)
        assert [(hit.session_id, hit.type) for hit in hits] == [(sessions[number].id, kind) for number, kind in expected]

    async def test_one_of_many_sessions_is_found_by_its_project_as_well(
        self, db: UnitOfWork, sessions: list[Session], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("session_db.crud.search.SCOPE", 0)
        hits = await search_records(db, "kick", current_project="b")
        assert [(hit.session_id, hit.type) for hit in hits] == [(sessions[1].id, "message"), (sessions[1].id, "event")]

    async def test_only_of_one_session(self, db: UnitOfWork, sessions: list[Session]) -> None:
        assert await found(db, "kick", session_id=sessions[1].id) == [("message", 0), ("event", 0)]
        assert await found(db, "kick", session_id=UUID(int=0)) == []

    @pytest.mark.parametrize(
        ("filters", "path"),
        [
            ({"hit_type": "clip"}, "type"),
            ({"hit_type": "message", "tool_name": "Bash"}, "tool_name"),
            ({"hit_type": "session", "event_type": "Stop"}, "event_type"),
            ({"limit": 0}, "limit"),
            ({"limit": 101}, "limit"),
            ({"cursor": "nonsense"}, "cursor"),
            ({"current_project": "\x00"}, "current_project"),
            ({"working_dir": "relative"}, None),
            ({"since": "yesterday"}, "since"),
            ({"until": 5}, "until"),
        ],
    )
    async def test_one_that_nothing_can_match_is_refused(self, db: UnitOfWork, filters: dict[str, Any], path: str | None) -> None:
        with pytest.raises(InvalidInput) as refused:
            await search_records(db, "kick", **filters)
        assert refused.value.details.get("path") == path


async def pages(db: UnitOfWork, words: str, **filters: Any) -> list[SearchHit]:
    """Return what all pages have, one after the other."""
    hits: list[SearchHit] = []
    cursor = None
    for _ in range(1000):
        page: Page[SearchHit] = await search_records(db, words, cursor=cursor, **filters)
        hits += page
        cursor = page.next_cursor
        if cursor is None:
            return hits
    pytest.fail("the pages have no end")


async def scatter(db: UnitOfWork, *, seed: int, spread: float, rows: int = 60) -> list[tuple[datetime, str, UUID, int]]:
    """Write texts at scattered times, some at the same; return where the word kick stands, in the order of hits."""
    random = Random(seed)  # noqa: S311  made-up rows
    expected = []
    for session in [await make_session(db) for _ in range(3)]:
        events: list[dict[str, Any]] = []
        messages: list[dict[str, Any]] = []
        for _ in range(rows):
            moment = minutes(spread * round(random.random() ** 4, 2) * -1e5)
            text = "kick" if random.random() < 0.4 else "hat"
            kind = random.choice(("event", "event", "message"))
            if text == "kick":
                expected.append((moment, kind, session.id, len(events if kind == "event" else messages)))
            if kind == "event":
                events.append({"content": text, "timestamp": moment})
            else:
                messages.append(message(text, timestamp=moment.isoformat()))
        await record(db, session, *events)
        await crud.save_display_messages(db, session.id, messages)
    ranks = {"message": 2, "event": 1}
    return sorted(expected, key=lambda hit: (hit[0], ranks[hit[1]], hit[2], hit[3]), reverse=True)


class TestPages:
    @pytest.mark.parametrize("spread", [0, 1e-6, 1])
    @pytest.mark.parametrize("bounds", [(1000, 1000, 10), (7, 5, 10), (7, 5, 0), (2, 30, 0), (2, 1000, 0)])
    async def test_together_they_have_every_hit_once_and_in_order(
        self, db: UnitOfWork, monkeypatch: pytest.MonkeyPatch, bounds: tuple[int, int, int], spread: float
    ) -> None:
        for name, bound in zip(("search_rows.GLANCED", "search_rows.CANDIDATES", "search._FREQUENT"), bounds, strict=True):
            monkeypatch.setattr(f"session_db.crud.{name}", bound)
        expected = await scatter(db, seed=1, spread=spread)
        for limit in (7, 100):
            hits = await pages(db, "kick", limit=limit)
            assert [(hit.timestamp, *place, hit.session_id) for hit, place in zip(hits, places(hits), strict=True)] == [
                (moment, kind, index, session_id) for moment, kind, session_id, index in expected
            ]

    @pytest.mark.parametrize("frequent", [0, 10])
    async def test_a_page_that_looked_at_enough_ends_short_with_a_cursor(
        self, db: UnitOfWork, monkeypatch: pytest.MonkeyPatch, frequent: int
    ) -> None:
        monkeypatch.setattr("session_db.crud.search_rows.GLANCED", 2)
        monkeypatch.setattr("session_db.crud.search_rows.CANDIDATES", 2)
        monkeypatch.setattr("session_db.crud.search._FREQUENT", frequent)
        expected = await scatter(db, seed=2, spread=1)
        page = await search_records(db, "kick", limit=100)
        assert len(page) < len(expected)
        assert page.next_cursor is not None
        assert len(await pages(db, "kick", limit=100)) == len(expected)

    async def test_a_phrase_of_frequent_words_that_stand_apart_ends_without_a_hit(
        self, db: UnitOfWork, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("session_db.crud.search_rows.CANDIDATES", 5)
        monkeypatch.setattr("session_db.crud.search_rows.GLANCED", 5)
        await say(db, await make_session(db), *["out with the memory"] * 60)
        assert await pages(db, '"out of memory"') == await pages(db, '"memory out"') == []
        assert len(await pages(db, '"out with" -"memory out"')) == 60

    async def test_any_moment_has_its_page(self, db: UnitOfWork, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("session_db.crud.search_rows.GLANCED", 2)
        monkeypatch.setattr("session_db.crud.search_rows.CANDIDATES", 1)
        monkeypatch.setattr("session_db.crud.search._FREQUENT", 0)
        years = (9999, 2500, 2025, 1970, 1900, 1)
        await record(db, await make_session(db), *({"content": "kick", "timestamp": datetime(year, 1, 1, tzinfo=UTC)} for year in years))
        assert [hit.timestamp.year for hit in await pages(db, "kick", limit=1)] == [*years]

    async def test_what_comes_while_somebody_pages_moves_nothing(self, db: UnitOfWork) -> None:
        session = await make_session(db)
        await say(db, session, *(f"kick {number}" for number in range(6)))
        first = await search_records(db, "kick", limit=3)
        await say(db, session, "kick new", at=minutes(9))
        second = await search_records(db, "kick", limit=3, cursor=first.next_cursor)
        assert places(first) + places(second) == [("message", number) for number in range(5, -1, -1)]
