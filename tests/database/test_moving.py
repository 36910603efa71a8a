"""Export and import as JSON Lines: the same rows in another database, of another PostgreSQL, or of a newer session-db."""

import asyncio
import io
import json
from collections.abc import AsyncIterator, Callable, Iterator
from functools import partial
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from session_db import crud
from session_db.capture.importer import import_recordings
from session_db.database import async_session, close_db, current_revision, downgrade_db, get_async_session, head, in_transaction, init_db
from session_db.database import importing as importing_module
from session_db.database import merging as merging_module
from session_db.database.batches import in_batches
from session_db.database.exporting import LEFT_OUT, export_rows
from session_db.database.importing import import_rows, read_header
from session_db.database.merging import Merged
from session_db.errors import Conflict, InvalidInput
from session_db.models import ClipCreate, ClipUpdate, MemoryFileCreate, PlaylistCreate, SessionCreate, SongCreate
from session_db.models.table import encode_json
from session_db.settings import use_settings
from tests.capture.recorded import CLEARED, recording
from tests.contents import HOSTILE_JSON, LARGE_JSON, digests, fill
from tests.databases import Database, PostgreSQL
from tests.factories import event, make_agent, make_session, message
from tests.hostile import JSON, attempt, hostile
from tests.invariants import violations
from tests.processes import let_all_go, workers
from tests.servers import DEBIAN, server_of

IMPORT = """
from session_db.database import importing
from session_db.database.importing import import_rows, read_header

merge, tell = importing.merge, tell_until(sys.argv[2])

async def merge_and_tell(*arguments, **options):
    merged = await merge(*arguments, **options)
    tell("merged", 0)
    return merged

async def main():
    importing.merge = merge_and_tell
    with open(sys.argv[1], "rb") as file:
        await import_rows(file, read_header(file), on_progress=tell)

asyncio.run(main())
"""


def silent(_doing: str, _done: int) -> None:
    """Tell nobody."""


async def exported() -> bytes:
    file = io.BytesIO()
    await export_rows(file.write, on_progress=silent)
    return file.getvalue()


async def import_lines(lines: bytes, **options: Any) -> Merged:
    file = io.BytesIO(lines)
    header = read_header(file)
    assert header is not None
    return await import_rows(file, header, on_progress=silent, **options)


async def moved(database: Database) -> dict[str, tuple[int, str]]:
    """Return digests of what an export holds."""
    return await digests(database, without=LEFT_OUT)


async def use(database: Database) -> None:
    """Make another database the one of this process."""
    await close_db()
    use_settings(database.settings)


def changed(lines: bytes, number: int, change: Callable[[dict[str, Any]], object]) -> bytes:
    """Change one line of an export, counted from 1."""
    parts = lines.splitlines(keepends=True)
    value = json.loads(parts[number - 1])
    change(value)
    parts[number - 1] = json.dumps(value).encode() + b"\n"
    return b"".join(parts)


def line_of(lines: bytes, table: str) -> int:
    """Return the number of the first line that has a row of a table."""
    return next(number for number, line in enumerate(lines.splitlines(), 1) if line.startswith(b'{"table":"%s"' % table.encode()))


@pytest.fixture
async def other_database(postgres: PostgreSQL, template: Database) -> AsyncIterator[Database]:
    """A second database with our tables on the same server; nobody uses it yet."""
    database = await postgres.create("other", template.name)
    yield database
    await close_db()
    await postgres.drop(database)


@pytest.fixture(scope="module")
def other_postgres(request: pytest.FixtureRequest) -> Iterator[PostgreSQL]:
    """A server of another major version than the one of the tests."""
    if request.config.getoption("--server") != "embedded":
        with server_of("embedded") as server:
            yield server
        return
    if not (DEBIAN / "15").is_dir():
        pytest.skip("PostgreSQL 15 is not installed; scripts/install-servers does it")
    with server_of("15") as server:
        yield server


class TestMove:
    async def test_another_major_version_has_the_same_rows(self, fresh_database: Database, other_postgres: PostgreSQL) -> None:
        await fill(payloads=[*HOSTILE_JSON, LARGE_JSON])
        before, lines = await moved(fresh_database), await exported()
        assert [name for name, (rows, _) in before.items() if not rows] == []
        await close_db()
        async with other_postgres.own("moved") as other:
            await init_db()
            merged = await import_lines(lines)
            assert await moved(other) == before
            assert merged.new == {name: rows for name, (rows, _) in before.items()}
            assert await exported() == lines
            async with other.connected() as connection:
                assert await violations(connection) == []
        use_settings(fresh_database.settings)

    @pytest.mark.parametrize("revision", ["0001", "0003"])
    async def test_rows_of_an_older_revision_become_what_an_upgrade_would_make_of_them(
        self, fresh_database: Database, other_database: Database, revision: str
    ) -> None:
        await fill(payloads=[])
        await downgrade_db(revision)
        lines = await exported()
        await init_db()
        upgraded = await moved(fresh_database)
        await use(other_database)
        await import_lines(lines)
        assert await moved(other_database) == upgraded
        assert await current_revision() == head()

    async def test_a_schema_of_its_own_is_filled(self, fresh_database: Database, other_database: Database) -> None:
        await fill(payloads=[])
        lines = await exported()
        await close_db()
        use_settings(other_database.settings.model_copy(update={"schema_name": "agent_data"}))
        await init_db()
        await import_lines(lines)
        assert await exported() == lines
        assert sum(rows for rows, _ in (await moved(other_database)).values()) == 0

    @hostile(max_examples=5)
    @given(payloads=st.lists(JSON, min_size=30, max_size=60))
    async def test_any_json_comes_over_to_the_letter(self, fresh_database: Database, other_database: Database, payloads: list[Any]) -> None:
        await use(fresh_database)
        texts = [text for text, _ in (attempt(partial(encode_json, value), InvalidInput) for value in payloads) if text is not None]
        async with get_async_session() as db:
            session = await make_session(db)
            await crud.append_agent_logs(db, [event(session, payload=text) for text in texts])
        before, lines = await moved(fresh_database), await exported()
        await use(other_database)
        await import_lines(lines)
        assert await moved(other_database) == before
        await use(fresh_database)

    async def test_nothing_is_left_behind_on_the_connection(self, fresh_database: Database) -> None:
        await fill(payloads=[])
        await import_lines(await exported())
        async with fresh_database.connected() as connection:
            assert await connection.fetchval("SELECT count(*) FROM pg_class WHERE relpersistence = 't'") == 0


class TestExport:
    async def test_a_line_is_a_row_whose_values_no_reader_changes(self, fresh_database: Database) -> None:
        async with get_async_session() as db:
            session = await make_session(db, metadata={"name": "é"})
            await crud.append_agent_logs(
                db, [event(session, payload={"n": 1e300}, tool_input={"nul": "\0"}, timestamp="2026-01-01T01:00:00+01:00")]
            )
        header, *lines, end = [json.loads(line) for line in (await exported()).splitlines()]
        assert (header["session_db_export"], header["revision"]) == (1, head())
        assert {line["table"] for line in lines} == {"sessions", "agent_logs", "activity_minutes"}
        row = next(line["row"] for line in lines if line["table"] == "agent_logs")
        assert list(row) == header["columns"]["agent_logs"]
        assert (row["payload"], row["tool_input"]) == ('{"n": 1e+300}', '{"nul": "\\u0000"}')
        assert (row["timestamp"], row["event_index"], row["truncated"]) == ("2026-01-01T00:00:00+00:00", 0, False)
        session_row = next(line["row"] for line in lines if line["table"] == "sessions")
        assert (session_row["metadata"], session_row["total_cost"]) == ('{"name": "é"}', "0.0000000000")
        assert end["end"] == {name: sum(line["table"] == name for line in lines) for name in header["columns"]}

    async def test_credentials_and_connections_stay_at_home(self, fresh_database: Database) -> None:
        await fill(payloads=[])
        header = json.loads((await exported()).partition(b"\n")[0])
        assert not header["columns"].keys() & {"tokens", "presence"}

    async def test_it_is_of_one_moment(self, fresh_database: Database) -> None:
        await fill()
        before = await exported()
        written: list[bytes] = []

        def write(piece: bytes) -> None:
            if not written:
                writing.append(asyncio.get_running_loop().create_task(add()))
            written.append(bytes(piece))

        async def add() -> None:
            async with get_async_session() as db:
                await crud.append_agent_logs(db, [event(await make_session(db))])

        writing: list[asyncio.Task[None]] = []
        await export_rows(write, on_progress=lambda _doing, _done: None)
        await writing[0]
        assert b"".join(written) == before
        assert await exported() != before

    async def test_without_tables_there_is_nothing_to_export(self, empty_database: Database) -> None:
        with pytest.raises(Conflict, match="there are no tables"):
            await exported()


class TestImport:
    async def test_a_second_one_changes_nothing(self, fresh_database: Database, other_database: Database) -> None:
        await fill()
        lines = await exported()
        await use(other_database)
        await import_lines(lines)
        before = await digests(other_database)
        again = await import_lines(lines)
        assert await digests(other_database) == before
        assert sum(again.new.values()) == 0
        assert again.left_out == {name: rows for name, (rows, _) in (await moved(other_database)).items()}

    async def test_two_at_once_end_as_one(self, fresh_database: Database, other_database: Database) -> None:
        await fill(payloads=[])
        before, lines = await moved(fresh_database), await exported()
        await use(other_database)
        results = await asyncio.gather(import_lines(lines), import_lines(lines))
        assert sorted(sum(merged.new.values()) for merged in results) == [0, sum(rows for rows, _ in before.values())]
        assert await moved(other_database) == before

    async def test_other_sessions_stay_and_get_no_number_twice(self, fresh_database: Database, other_database: Database) -> None:
        await fill(payloads=[])
        lines = await exported()
        await use(other_database)
        async with get_async_session() as db:
            session = await make_session(db)
            await crud.save_display_messages(db, session.id, [message(), message()])
            await crud.create_memory_file(db, MemoryFileCreate(session_id=session.id, file_path="/mine.md"))
        await import_lines(lines)
        async with other_database.connected() as connection:
            for table in ("messages", "memory_files"):
                assert await connection.fetchval(f"SELECT count(*) = count(DISTINCT id) AND count(*) > 1 FROM {table}")
                assert await connection.fetchval(f"SELECT nextval('{table}_id_seq') > max(id) FROM {table}")
            assert await violations(connection) == []

    async def test_into_an_empty_database_numbers_stay(self, fresh_database: Database, other_database: Database) -> None:
        await fill(payloads=[])
        lines = await exported()
        await use(other_database)
        await import_lines(lines)
        async with get_async_session() as db:
            await crud.save_display_messages(db, (await make_session(db)).id, [message()])
        async with other_database.connected() as connection:
            assert await connection.fetchval("SELECT count(*) = count(DISTINCT id) FROM messages")

    async def test_a_session_that_is_there_stays_as_it_is_with_all_that_belongs_to_it(
        self, fresh_database: Database, other_database: Database
    ) -> None:
        async with get_async_session() as db:
            session = await make_session(db)
            await make_agent(db, session)
            await crud.append_agent_logs(db, [event(session), event(session)])
        early = await exported()
        async with get_async_session() as db:
            await crud.append_agent_logs(db, [event(session)])
            await make_session(db)
        late = await exported()
        await use(other_database)
        await import_lines(early)
        merged = await import_lines(late)
        assert (merged.new["sessions"], merged.left_out["sessions"], merged.left_out["agent_logs"]) == (1, 1, 3)
        async with other_database.connected() as connection:
            assert await connection.fetchval("SELECT count(*) FROM agent_logs") == 2
            assert await violations(connection) == []

    async def test_one_that_somebody_makes_meanwhile_keeps_what_is_his(
        self, fresh_database: Database, other_database: Database, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        async with get_async_session() as db:
            session, other = await make_session(db), await make_session(db)
            await crud.append_agent_logs(db, [event(session), event(other)])
            await crud.create_clip(db, ClipCreate(clip_id="c", name="theirs", project_id="p", code="0"))
            await crud.update_clip(db, "c", ClipUpdate(code="1"))
        lines = await exported()
        await use(other_database)
        check = merging_module._refuse_taken_slugs

        async def check_slowly(*arguments: Any) -> None:
            await check(*arguments)
            async with get_async_session() as db:
                await crud.create_session(db, SessionCreate(session_id=session.id, agent_name="mine"))
                await crud.create_clip(db, ClipCreate(clip_id="c", name="mine", project_id="p", code="mine"))

        monkeypatch.setattr(merging_module, "_refuse_taken_slugs", check_slowly)
        merged = await import_lines(lines)
        assert [merged.new[table] for table in ("sessions", "agent_logs", "clips", "clip_versions")] == [1, 1, 0, 0]
        async with get_async_session() as db:
            await crud.append_agent_logs(db, [event(session)])
        async with other_database.connected() as connection:
            assert await violations(connection) == []

    async def test_a_conversation_that_belongs_to_another_session_here_is_not_there_twice(
        self, fresh_database: Database, other_database: Database
    ) -> None:
        await import_recordings([recording(CLEARED)])
        lines = await exported()
        await use(other_database)
        async with get_async_session() as db:
            workflow = await make_session(db, session_slug="2026-01-15_auth")
            agent = await make_agent(db, workflow, sdk_session_id=str(CLEARED))
        await import_recordings([recording(CLEARED)])
        merged = await import_lines(lines)
        assert (merged.new["sessions"], merged.left_out["sessions"]) == (0, 1)
        async with async_session() as db:
            assert [session.id for session in await crud.list_sessions(db)] == [workflow.id]
            found = await crud.get_agent(db, agent.id)
            assert found is not None
            assert found.output_tokens > 0

    @pytest.mark.parametrize("is_erased", [True, False])
    async def test_a_session_that_no_sdk_knows_stays_deleted_as_well(
        self, fresh_database: Database, other_database: Database, *, is_erased: bool
    ) -> None:
        async with get_async_session() as db:
            session = await make_session(db)
            await crud.append_agent_logs(db, [event(session)])
        lines = await exported()
        await use(other_database)
        await import_lines(lines)
        await in_transaction(lambda db: crud.delete_session(db, session.id))
        if is_erased:
            await in_batches(crud.erase_deleted_sessions)
        assert (await import_lines(lines)).new["sessions"] == 0
        merged = await import_lines(lines, restore_deleted=True)
        assert (merged.new["sessions"], merged.new["agent_logs"]) == (1, 1)
        async with get_async_session() as db:
            await crud.append_agent_logs(db, [event(session)])
        async with other_database.connected() as connection:
            assert await violations(connection) == []

    async def test_the_last_number_that_there_is_ends_no_sequence(self, fresh_database: Database, other_database: Database) -> None:
        async with get_async_session() as db:
            session = await make_session(db)
            await crud.save_display_messages(db, session.id, [message()])
        lines = await exported()
        lines = changed(lines, line_of(lines, "messages"), lambda line: line["row"].update(id=2**63 - 1))
        await use(other_database)
        await import_lines(lines)
        async with get_async_session() as db:
            await crud.save_display_messages(db, session.id, [message()])

    async def test_a_session_that_was_deleted_here_comes_back_only_when_told_so(
        self, fresh_database: Database, other_database: Database
    ) -> None:
        await import_recordings([recording(CLEARED)])
        before, lines = await moved(fresh_database), await exported()
        await use(other_database)
        await import_recordings([recording(CLEARED)])
        await in_transaction(lambda db: crud.delete_session(db, CLEARED))
        await in_batches(crud.erase_deleted_sessions)
        merged = await import_lines(lines)
        assert (merged.deleted_sessions, sum(merged.new.values())) == (1, 0)
        merged = await import_lines(lines, restore_deleted=True)
        assert merged.new["sessions"] == 1
        assert {name: rows for name, (rows, _) in (await moved(other_database)).items()} == {
            name: rows for name, (rows, _) in before.items()
        }
        async with other_database.connected() as connection:
            assert await violations(connection) == []

    async def test_a_slug_that_is_taken_is_told_before_anything_changes(self, fresh_database: Database, other_database: Database) -> None:
        async with get_async_session() as db:
            here = await make_session(db, session_slug="2026-01-15_auth")
        lines = await exported()
        await use(other_database)
        async with get_async_session() as db:
            there = await make_session(db, session_slug="2026-01-15_auth")
        with pytest.raises(Conflict, match=rf"2026-01-15_auth of {here.id} is that of {there.id}"):
            await import_lines(lines)

    async def test_histories_of_two_clips_do_not_mix(self, fresh_database: Database, other_database: Database) -> None:
        async def make(*clips: str) -> None:
            async with get_async_session() as db:
                for clip in clips:
                    await crud.create_clip(db, ClipCreate(clip_id=clip, name=clip, project_id="p", code="0"))
            for code in "123":
                async with get_async_session() as db:
                    for clip in clips:
                        await crud.update_clip(db, clip, ClipUpdate(code=code))

        await make("same", "deleted", "new")
        async with get_async_session() as db:
            await crud.create_song(db, SongCreate(song_id="of deleted", name="S", project_id="p", clip_ids=["deleted", "same"]))
            await crud.create_song(db, SongCreate(song_id="of same", name="S", project_id="p", clip_ids=["new", "same"]))
            await crud.create_playlist(
                db, PlaylistCreate(playlist_id="of both", name="P", project_id="p", song_ids=["of deleted", "of same"])
            )
            await crud.create_playlist(db, PlaylistCreate(playlist_id="of same", name="P", project_id="p", song_ids=["of same"]))
        lines = await exported()
        await use(other_database)
        async with get_async_session() as db:
            await crud.create_clip(db, ClipCreate(clip_id="same", name="mine", project_id="p", code="mine"))
            await crud.create_clip(db, ClipCreate(clip_id="deleted", name="mine", project_id="p", code="mine"))
        async with get_async_session() as db:
            await crud.delete_clip(db, "deleted")
        merged = await import_lines(lines)
        assert {name: merged.new[name] for name in ("clips", "clip_versions", "songs", "playlists")} == {
            "clips": 1, "clip_versions": 3, "songs": 1, "playlists": 1,
        }  # fmt: skip
        async with async_session() as db:
            assert [clip.name for clip in await crud.list_clips(db)] == ["new", "mine"]
        async with other_database.connected() as connection:
            assert await violations(connection) == []

    async def test_the_tables_must_be_up_to_date(self, fresh_database: Database) -> None:
        lines = await exported()
        await downgrade_db("0003")
        with pytest.raises(Conflict, match=r"revision 0003.*run session-db init"):
            await import_lines(lines)

    async def test_writers_go_on_meanwhile(self, fresh_database: Database, other_database: Database) -> None:
        await fill(payloads=[LARGE_JSON])
        lines = await exported()
        await use(other_database)
        async with get_async_session() as db:
            session = await make_session(db)
        importing = asyncio.create_task(import_lines(lines))
        written = 0
        while not importing.done():
            async with asyncio.timeout(5):
                await in_transaction(lambda db: crud.append_agent_logs(db, [event(session)]))
            written += 1
        await importing
        assert written > 3
        async with other_database.connected() as connection:
            assert await violations(connection) == []

    @pytest.mark.parametrize("moment", ["agent_logs", "writing", "merged"])
    async def test_a_killed_one_has_changed_nothing_and_the_next_one_completes(
        self, fresh_database: Database, other_database: Database, tmp_path: Any, moment: str
    ) -> None:
        await fill(payloads=[LARGE_JSON])
        before, lines = await moved(fresh_database), await exported()
        (tmp_path / "all.jsonl").write_bytes(lines)
        await use(other_database)
        with workers(other_database, IMPORT, [[tmp_path / "all.jsonl", moment]]) as (worker,):
            await let_all_go([worker])
            while not any(line.startswith(moment) for line in worker.lines):
                await asyncio.sleep(0.002)
            worker.kill()
            await worker.end()
        assert sum(rows for rows, _ in (await moved(other_database)).values()) == 0
        await import_lines(lines)
        assert await moved(other_database) == before


class TestRefusals:
    @pytest.fixture
    async def lines(self, fresh_database: Database) -> bytes:
        await fill(payloads=[])
        return await exported()

    async def refuse(self, lines: bytes, match: str, error: type[Exception] = InvalidInput) -> None:
        with pytest.raises(error, match=match):
            await import_lines(lines)

    async def test_one_that_was_cut(self, lines: bytes) -> None:
        whole = lines.splitlines(keepends=True)
        await self.refuse(b"".join(whole[:-1]), f"ends at line {len(whole) - 1} without its last line")
        await self.refuse(lines[: len(lines) // 2], r"line \d+ of the export is no JSON")

    async def test_one_from_which_lines_were_taken(self, lines: bytes) -> None:
        parts = lines.splitlines(keepends=True)
        await self.refuse(b"".join([*parts[:5], *parts[6:]]), "were written: it was changed")

    async def test_two_in_one_file(self, lines: bytes) -> None:
        await self.refuse(lines + lines, "more stands behind it")

    async def test_a_value_that_no_column_takes_is_named_by_its_line(self, lines: bytes) -> None:
        number = line_of(lines, "agent_logs") + 7
        await self.refuse(changed(lines, number, lambda line: line["row"].update(timestamp="noon")), f"line {number} of the export.*noon")
        await self.refuse(changed(lines, number, lambda line: line["row"].update(payload="{")), f"line {number} of the export")
        await self.refuse(changed(lines, number, lambda line: line["row"].update(content="a\0b")), f"line {number} of the export")
        await self.refuse(changed(lines, number, lambda line: line["row"].update(event_type=None)), f"line {number} of the export")

    async def test_a_row_with_other_columns(self, lines: bytes) -> None:
        number = line_of(lines, "messages")
        await self.refuse(
            changed(lines, number, lambda line: line["row"].update(mood="good")), f"line {number} .* is no row with the table and"
        )
        await self.refuse(changed(lines, number, lambda line: line["row"].pop("id")), f"line {number} .* is no row with the table and")
        await self.refuse(
            changed(lines, number, lambda line: line.update(table="customers")), f"line {number} .* is no row with the table and"
        )

    async def test_columns_and_tables_that_its_revision_does_not_have(self, lines: bytes) -> None:
        await self.refuse(changed(lines, 1, lambda header: header["columns"]["songs"].append("tempo")), "columns of songs.*: tempo")
        await self.refuse(changed(lines, 1, lambda header: header["columns"].update(notes=["id"])), "a table 'notes'")

    async def test_columns_that_are_missing_get_what_they_have_by_default(self, lines: bytes, other_database: Database) -> None:
        header = json.loads(lines.partition(b"\n")[0])
        header["columns"]["clips"].remove("version")
        number = line_of(lines, "clips")
        changed_lines = changed(lines, 1, lambda line: line.update(header))
        changed_lines = changed(changed_lines, number, lambda line: line["row"].pop("version"))
        await use(other_database)
        await import_lines(changed_lines)
        async with async_session() as db:
            assert [clip.version for clip in await crud.list_clips(db)] == [1]

    async def test_one_of_a_newer_session_db(self, lines: bytes) -> None:
        await self.refuse(changed(lines, 1, lambda header: header.update(revision="9999")), "revision 9999.*upgrade session-db", Conflict)
        await self.refuse(changed(lines, 1, lambda header: header.update(session_db_export=2)), "format 2.*upgrade session-db")

    async def test_the_same_row_twice(self, lines: bytes, other_database: Database) -> None:
        parts = lines.splitlines(keepends=True)
        number = line_of(lines, "songs")
        doubled = changed(b"".join([*parts[:number], *parts[number - 1 :]]), len(parts) + 1, lambda line: line["end"].update(songs=2))
        await use(other_database)
        merged = await import_lines(doubled)
        assert (merged.new["songs"], merged.left_out["songs"]) == (1, 1)

    @pytest.mark.parametrize("line", [b"", b"hello\n", b'{"type": "user"}\n', b"[1]\n", b"\xff\xfe\n", b"[" * 100_000])
    def test_what_is_no_export_is_none(self, line: bytes) -> None:
        assert read_header(io.BytesIO(line)) is None

    @pytest.mark.parametrize("columns", [None, 5, [], {"sessions": 5}, {"sessions": None}, {"sessions": []}, {"sessions": [1]}])
    def test_a_first_line_that_says_too_little(self, columns: Any) -> None:
        line = {"session_db_export": 1, "revision": head()} | ({} if columns is None else {"columns": columns})
        with pytest.raises(InvalidInput, match="no revision and no columns"):
            read_header(io.BytesIO(json.dumps(line).encode() + b"\n"))


async def test_lines_go_in_batches_of_bounded_size(
    fresh_database: Database, other_database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    await fill()
    before, lines = await moved(fresh_database), await exported()
    monkeypatch.setattr(importing_module, "BATCH_LINES", 2)
    monkeypatch.setattr(importing_module, "BATCH_BYTES", 1_000)
    await use(other_database)
    await import_lines(lines)
    assert await moved(other_database) == before
