"""Masking: what is masked, what never is, and how it is counted, from the spool and from transcripts."""

import json
import re
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import text

from session_db import crud
from session_db.capture import redaction
from session_db.capture.drain import drain
from session_db.capture.importer import import_recordings
from session_db.capture.redaction import IDS, _masked, _masked_json, masked
from session_db.capture.secret_shapes import Secret, find_secrets
from session_db.capture.spool import spool_of
from session_db.database import UnitOfWork, async_session, get_async_session
from session_db.models import AgentLog, Session
from session_db.models.table import JSONText, encode_json
from session_db.settings import Settings, use_settings
from tests.capture.fake_secrets import SECRETS, letters
from tests.capture.recorded import BACKGROUND, CLEARED, changed, copy_of, rows_without_clocks
from tests.databases import Database
from tests.factories import event, make_session, message

SECRET = SECRETS["github token"]
MASK = "[masked:github-classic-token]"
SDK_SESSION = "0c6b3c0a-7d31-4b7a-9d13-1f6b1f5b1c11"
SESSION = UUID(SDK_SESSION)

TEXTS = st.text(max_size=20) | st.sampled_from([SECRET, f"the key is {SECRET}, use it", "\ud800" + SECRET, f"{SECRET} {SECRET}", "\x00"])
KEYS = st.text(max_size=8) | st.sampled_from([*sorted(IDS)[:5], SECRET])
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | TEXTS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(KEYS, inner, max_size=4),
    max_leaves=20,
)


def parts(value: Any, name: str | None = None) -> Iterator[tuple[str | None, Any]]:
    """Give every part of a JSON value that has none itself, with the key that it stands under."""
    if isinstance(value, dict):
        for key, part in value.items():
            yield from [(key, ""), *parts(part, key)]
    elif isinstance(value, list):
        for part in value:
            yield from [(None, []), *parts(part)]
    else:
        yield name, value


class TestValues:
    @given(value=VALUES)
    def test_keys_ids_numbers_and_structure_stay_and_no_secret_does(self, value: Any) -> None:
        result, count = _masked(value)
        before, after = list(parts(value)), list(parts(result))
        assert len(before) == len(after)
        for (name, old), (same_name, new) in zip(before, after, strict=True):
            assert name == same_name
            is_free = isinstance(old, str) and name not in IDS and SECRET in old
            assert new == (old.replace(SECRET, MASK) if is_free else old)
            assert type(new) is type(old)
        assert count == sum(old.count(SECRET) for name, old in before if isinstance(old, str) and name not in IDS)

    @given(value=VALUES)
    def test_a_value_without_one_is_the_same_value(self, value: Any) -> None:
        result, count = _masked(value)
        assert (result is value) == (count == 0)

    @given(value=VALUES)
    def test_masked_again_it_stays(self, value: Any) -> None:
        once = _masked(value).value
        assert _masked(once) == (once, 0)

    @given(value=VALUES, spaces=st.sampled_from([None, 0, 3]), ascii_only=st.booleans())
    def test_of_a_json_text_the_strings_change_and_nothing_else(self, value: Any, spaces: int | None, ascii_only: bool) -> None:
        written = json.dumps(value, indent=spaces, ensure_ascii=ascii_only)
        result, count = _masked_json(written)
        assert (json.loads(result), count) == _masked(json.loads(written))
        if not count:
            assert result is written

    def test_what_python_cannot_say_of_a_json_text_stays(self) -> None:
        odd = '{"a": 1e400, "b":1.10, "a" :\t2, "c": [1E5, 123456789012345678901234567890], "d": "%s", "e": "\\u00e9\\/"}'
        assert _masked_json(odd % SECRET) == (odd % MASK, 1)

    def test_one_whose_letters_are_escaped_is_masked(self) -> None:
        assert _masked_json('["\\u0067' + SECRET[1:] + '"]') == (f'["{MASK}"]', 1)

    @pytest.mark.parametrize(
        ("value", "secret"),
        [
            ({"SecretAccessKey": letters("3", 40)}, letters("3", 40)),
            ({"aws_secret_access_key": letters("3", 40)}, letters("3", 40)),
            ({"headers": {"Authorization": "Basic dXNlcjpwYXNzd29yZA=="}}, "dXNlcjpwYXNzd29yZA=="),
            ({"Authorization": ["Bearer hunter2token99"]}, "hunter2token99"),
        ],
        ids=["aws answers", "aws is told", "a header", "a header of several values"],
    )
    def test_one_that_its_key_tells_is_masked(self, value: Any, secret: str) -> None:
        result, count = _masked(value)
        assert secret not in json.dumps(result)
        assert count == 1
        assert json.loads(_masked_json(json.dumps(value)).value) == result

    def test_a_key_is_no_secret_whatever_it_holds(self) -> None:
        value = {f"https://app:{SECRET}@host/": "a value"}
        assert _masked(value) == (value, 0)

    def test_what_a_tool_was_given_has_no_ids(self) -> None:
        call = {"type": "tool_use", "id": SECRET, "input": {"id": SECRET, "deep": [{"cwd": SECRET}]}}
        entry = {"uuid": SECRET, "message": {"content": [call]}, "toolUseResult": {"signature": SECRET}, "requestId": SECRET}
        result, count = _masked(entry)
        assert count == 3
        assert (result["uuid"], result["message"]["content"][0]["id"], result["requestId"]) == (SECRET, SECRET, SECRET)
        assert masked({"id": SECRET}, is_of_tool=True).value == {"id": MASK}

    @pytest.mark.parametrize("piece", ['""', "[]", '{"k":""}', '"aaaaaaaa"', '"\\\\"'])
    def test_it_takes_time_by_the_length_alone(self, piece: str) -> None:
        def seconds(length: int) -> float:
            text = "[" + ",".join([piece] * (length // len(piece))) + "]"
            began = time.process_time()
            _masked_json(text)
            return time.process_time() - began

        seconds(1000)
        short = min(seconds(2**15) for _ in range(3))
        # Sixteen times the text.
        assert seconds(2**19) < 128 * max(short, 0.002)

    def test_deep_ones_are_masked(self) -> None:
        deep = json.loads("[" * 490 + f'"{SECRET}"' + "]" * 490)
        assert _masked(deep).secrets == 1

    def test_a_json_text_is_one_as_a_value(self) -> None:
        assert isinstance(masked(JSONText(f'{{"id": "{SECRET}", "x": "{SECRET}"}}')).value, JSONText)


@pytest.fixture
def settings(fresh_database: Database, tmp_path: Path) -> Settings:
    return fresh_database.settings.model_copy(update={"home": tmp_path / "home", "claude_dirs": str(tmp_path / "claude")})


def put(settings: Settings, name: str, **payload: Any) -> None:
    captured = {"session_id": SDK_SESSION, "hook_event_name": name, "cwd": "/home/dev/demo"} | payload
    spool_of(settings).put(json.dumps(captured).encode(), {}, "another host")


async def events() -> list[AgentLog]:
    async with get_async_session() as db:
        return list(await crud.list_agent_logs(db, SESSION, whole=True, limit=1000))


async def session_of(session_id: UUID) -> Session:
    async with get_async_session() as db:
        session = await crud.get_session(db, session_id)
        assert session is not None
        return session


async def tables_with(secret: str) -> set[str]:
    """Return the columns that hold a secret anywhere."""
    found = set()
    async with async_session() as db:
        for table in ("sessions", "agents", "agent_logs", "messages", "usage", "transcripts", "transcript_entries"):
            for row in (await db.execute(text(f"SELECT * FROM {table}"))).mappings():
                found |= {f"{table}.{name}" for name, value in row.items() if secret in str(value)}
    return found


SAID = f"the key is {SECRET}, use it"
HOOKS: list[tuple[str, dict[str, Any]]] = [
    ("UserPromptSubmit", {"prompt_id": "p", "prompt": SAID}),
    ("PreToolUse", {"tool_use_id": "t", "tool_name": "mcp", "tool_input": {"a": [{"b": SAID}], "id": 5}}),
    ("PostToolUse", {"tool_use_id": "t", "tool_name": "Bash", "tool_input": {"x": SAID}, "tool_response": {"stdout": SAID}}),
    ("PostToolUse", {"tool_use_id": "u", "tool_name": "mcp", "tool_response": [{"type": "text", "text": SAID}]}),
    ("PostToolUseFailure", {"tool_use_id": "t", "tool_name": "Bash", "error": f"Exit code 3\n{SAID}"}),
    ("PostToolBatch", {"tool_calls": [{"tool_use_id": "t", "tool_input": {"command": SAID}, "tool_response": SAID}]}),
    ("MessageDisplay", {"message_id": "m", "index": 0, "delta": SAID}),
    ("Stop", {"last_assistant_message": SAID}),
    ("Notification", {"message": SAID, "notification_type": "idle_prompt"}),
    ("ThoughtBegan", {"thought": {"deep": [SAID]}}),
    ("PreToolUse", {"tool_use_id": "t", "tool_name": "mcp", "tool_input": {"id": SAID, "x": {"cwd": SECRET}}}),
    ("PostToolUse", {"tool_use_id": "t", "tool_name": "mcp", "tool_response": {"id": SECRET, "list": [{"uuid": SECRET}]}}),
]  # fmt: skip


class TestHooks:
    @pytest.mark.parametrize(("name", "payload"), [pytest.param(*hook, id=f"{number}-{hook[0]}") for number, hook in enumerate(HOOKS)])
    async def test_no_column_holds_a_secret_and_ids_stay(self, settings: Settings, name: str, payload: dict[str, Any]) -> None:
        put(settings, name, **payload)
        await drain(settings)
        assert await tables_with(SECRET) == set()
        (event,) = await events()
        assert MASK in str(event.payload)
        assert event.tool_use_id == payload.get("tool_use_id")
        assert (await session_of(SESSION)).secrets_masked == json.dumps(payload).count(SECRET)

    @pytest.mark.parametrize("secret", SECRETS)
    async def test_every_shape_is_masked(self, settings: Settings, secret: str) -> None:
        put(settings, "PostToolUse", tool_use_id="t", tool_response={"stdout": f"a {SECRETS[secret]} b"})
        await drain(settings)
        (event,) = await events()
        assert re.fullmatch(r"a \[masked:[0-9a-z-]+\] b", str(event.tool_output))

    async def test_a_text_that_is_made_of_the_payload_is_masked_as_a_text(self, settings: Settings) -> None:
        # A header whose name and value are two fields; only as one text they stand together.
        put(
            settings,
            "PostToolUse",
            tool_use_id="t",
            tool_name="Bash",
            tool_response={"stdout": "Authorization:", "stderr": "Basic dXNlcjpwYXNz"},
        )
        await drain(settings)
        assert (await events())[0].tool_output == "Authorization:\nBasic [masked:authorization-header]"

    async def test_the_event_loop_goes_on_meanwhile(self, settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        threads = []

        def noted(raw: bytes) -> list[Secret]:
            threads.append(threading.current_thread())
            return find_secrets(raw)

        monkeypatch.setattr(redaction, "find_secrets", noted)
        put(settings, "UserPromptSubmit", prompt_id="p", prompt=SAID)
        await drain(settings)
        assert len(threads) > 0
        await import_recordings([copy_of(CLEARED, tmp_path)])
        assert threading.main_thread() not in threads

    async def test_an_edit_with_a_key_leaves_none_of_its_lines(self, settings: Settings) -> None:
        lines = SECRETS["rsa key"].splitlines()
        response = {"structuredPatch": [{"oldStart": 1, "lines": ["+" + line for line in lines]}]}
        put(settings, "PostToolUse", tool_use_id="t", tool_name="Edit", tool_input={"source": lines}, tool_response=response)
        await drain(settings)
        for line in lines[1:-1]:
            assert await tables_with(line) == set()
        assert (await session_of(SESSION)).secrets_masked == 2

    async def test_an_id_that_looks_like_one_stays(self, settings: Settings) -> None:
        put(settings, "PreToolUse", tool_use_id=SECRET, tool_input={"command": SECRET})
        await drain(settings)
        (event,) = await events()
        assert (event.tool_use_id, event.payload["tool_use_id"], event.tool_input) == (SECRET, SECRET, {"command": MASK})

    async def test_a_payload_is_otherwise_the_senders_own_text(self, settings: Settings) -> None:
        raw = '{"session_id":"%s",  "hook_event_name":"Odd", "number": 1e400, "said":"%s", "last" : 1.10}'
        spool_of(settings).put((raw % (SDK_SESSION, SECRET)).encode(), {}, "h")
        await drain(settings)
        async with get_async_session() as db:
            event = await crud.get_agent_log(db, SESSION, 0, verbatim=True)
        assert event is not None
        assert event.payload == raw % (SDK_SESSION, MASK)

    async def test_one_does_not_slip_through_where_a_text_is_cut(self, settings: Settings) -> None:
        put(settings, "PostToolUse", tool_use_id="t", tool_response={"stdout": "x" * (16 * 1024 - 20) + " " + SECRET})
        await drain(settings)
        assert SECRET[:15] not in str((await events())[0].tool_output)

    async def test_drained_again_nothing_is_counted_again(self, settings: Settings) -> None:
        for _ in range(2):
            for name, payload in HOOKS[:3]:
                put(settings, name, **payload)
            await drain(settings)
        assert (await session_of(SESSION)).secrets_masked == 4

    async def test_switched_off_nothing_is_masked(self, settings: Settings) -> None:
        use_settings(settings.model_copy(update={"redact": False}))
        put(settings, "UserPromptSubmit", prompt_id="p", prompt=SAID)
        await drain(settings)
        assert (await events())[0].content == SAID
        assert (await session_of(SESSION)).secrets_masked == 0


def plant(entries: list[dict[str, Any]]) -> None:
    """Put a secret into whatever a transcript has that people read."""
    for entry in entries:
        content = entry.get("message", {}).get("content")
        if entry.get("type") == "user" and isinstance(content, str):
            entry["message"]["content"] = f"{SAID} {content}"
        for block in content if isinstance(content, list) else []:
            for name in ("text", "thinking"):
                if isinstance(block.get(name), str):
                    block[name] += f" {SAID}"
            if isinstance(block.get("input"), dict):
                block["input"] |= {"nested": [{"x": SAID}]}
            if isinstance(block.get("content"), str):
                block["content"] += SAID
    entries.append({"type": "summary", "summary": SAID})
    entries.append({"type": "ai-title", "aiTitle": "x" * 190 + f" {SAID}"})


def planted(to: Path) -> Path:
    path = copy_of(BACKGROUND, to)
    for transcript in (path, *path.with_suffix("").rglob("*.jsonl")):
        changed(transcript, plant)
    for about in path.with_suffix("").rglob("*.meta.json"):
        about.write_text(json.dumps(json.loads(about.read_text()) | {"description": SAID}))
    return path


class TestTranscripts:
    async def test_they_keep_their_secrets_and_nothing_else_does(self, settings: Settings, tmp_path: Path) -> None:
        path = planted(tmp_path)
        await import_recordings([path])
        # What a sub-agent is called stands in a file of the client, which comes back with the others.
        assert await tables_with(SECRET) == {"transcript_entries.entry", "transcripts.meta"}
        assert SECRET[:15] not in str((await session_of(BACKGROUND)).title)
        async with get_async_session() as db:
            messages = await crud.list_messages(db, BACKGROUND)
            agents = await crud.list_agents(db, BACKGROUND)
        assert all(MASK in said["content"] for said in messages)
        assert agents[1].name == SAID.replace(SECRET, MASK)

    async def test_an_error_of_the_api_is_masked_before_it_is_cut(self, settings: Settings, tmp_path: Path) -> None:
        path = copy_of(BACKGROUND, tmp_path)
        blocks = [{"type": "text", "text": "x" * 980 + f" {SECRET}"}]
        error = {"type": "assistant", "uuid": "e", "isApiErrorMessage": True, "message": {"content": blocks}}
        changed(path, lambda entries: entries.append(error))
        await import_recordings([path])
        async with get_async_session() as db:
            main = (await crud.list_agents(db, BACKGROUND))[0]
        assert main.error_message is not None
        assert main.error_message.endswith(" " + MASK[:19])

    async def test_a_message_is_masked_before_it_is_cut(self, settings: Settings, tmp_path: Path) -> None:
        path = copy_of(BACKGROUND, tmp_path)
        prompt = {"type": "user", "uuid": "u", "message": {"role": "user", "content": "x" * 999_985 + f" {SECRET}"}}
        changed(path, lambda entries: entries.append(prompt))
        await import_recordings([path])
        async with get_async_session() as db:
            last = (await crud.list_messages(db, BACKGROUND))[-1]
        assert last["content"].endswith(" " + MASK[:14])

    async def test_they_are_counted_once_however_often_they_are_read(self, settings: Settings, tmp_path: Path) -> None:
        path = planted(tmp_path)
        first = await import_recordings([path])
        counted = (await session_of(BACKGROUND)).secrets_masked
        assert first.secrets_masked == counted > 10
        changed(path, lambda entries: entries.reverse())
        assert (await import_recordings([path])).secrets_masked == 0
        assert (await session_of(BACKGROUND)).secrets_masked == counted

    async def test_in_any_order_with_the_hooks_the_rows_are_the_same(
        self, settings: Settings, tmp_path: Path, fresh_database: Database
    ) -> None:
        path = planted(tmp_path / "claude" / "projects")
        found = []
        for order in ("hooks", "transcript", "both"):
            for name, payload in HOOKS[:3]:
                put(settings, name, **payload | {"session_id": str(BACKGROUND)})
            for step in {"hooks": ["h", "t"], "transcript": ["t", "h"], "both": ["h", "t", "h", "t"]}[order]:
                await (drain(settings) if step == "h" else import_recordings([path]))
            rows = await rows_without_clocks()
            found.append((rows["messages"], rows["agent_logs"], (await session_of(BACKGROUND)).secrets_masked))
            async with fresh_database.connected() as connection:
                await connection.execute("TRUNCATE sessions, sdk_sessions RESTART IDENTITY CASCADE")
                await connection.execute("ALTER SEQUENCE messages_id_seq RESTART")
        assert found[0] == found[1] == found[2]


class TestWhatAnApplicationWrites:
    async def test_it_gets_back_what_it_gave(self, db: UnitOfWork) -> None:
        session = await make_session(db, title=SAID)
        await crud.create_agent_log(db, event(session, content=SAID, payload={"x": SAID}))
        await crud.save_display_messages(db, session.id, [message(SAID)])
        (said,) = await crud.list_messages(db, session.id)
        (logged,) = await crud.list_agent_logs(db, session.id, whole=True)
        assert (session.title, said["content"], logged.content, logged.payload) == (SAID, SAID, SAID, {"x": SAID})
        assert session.secrets_masked == 0

    def test_a_value_of_its_own_is_encoded_as_it_is(self) -> None:
        assert encode_json({"x": SECRET}) == f'{{"x": "{SECRET}"}}'
