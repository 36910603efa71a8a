"""Transcripts whose secrets are masked as well: nobody finds one in the database, nothing comes twice, and nobody resumes them."""

import base64
import json
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import pytest

from session_db import crud
from session_db.capture.importer import import_recordings
from session_db.capture.restoring import find_resumable, folder_of, restore
from session_db.capture.tool_results import CHUNK_BYTES
from session_db.crud.transcripts import list_transcripts
from session_db.database import UnitOfWork, get_async_session
from session_db.errors import Conflict
from session_db.integrations.claude_agent_sdk import PostgresSessionStore
from session_db.models import Transcript
from session_db.settings import get_settings, use_settings
from tests.capture.fake_secrets import PASSWORD, SECRETS
from tests.capture.recorded import BACKGROUND, changed, copy_of, stored_lines
from tests.capture.test_redaction import MASK, SAID, SECRET, planted, tables_with
from tests.databases import Database

HERE = "/home/dev/demo"


@pytest.fixture(autouse=True)
def masking(fresh_database: Database) -> None:
    use_settings(fresh_database.settings.model_copy(update={"redact_transcripts": True}))


async def streams() -> list[Transcript]:
    async with get_async_session() as db:
        return list(await list_transcripts(db, BACKGROUND))


async def resume(projects: Path) -> None:
    async with get_async_session() as db:
        session = await crud.get_session(db, BACKGROUND)
        assert session is not None
        await restore(db, BACKGROUND, await find_resumable(db, session), projects, HERE)


class TestImported:
    async def test_no_column_holds_a_secret(self, tmp_path: Path) -> None:
        path = planted(tmp_path)
        report = await import_recordings([path])
        assert await tables_with(SECRET) == set()
        assert report.secrets_masked > 10
        assert all(stream.is_masked for stream in await streams())
        stored = await stored_lines(BACKGROUND)
        assert stored == [line.replace(SECRET, MASK) for line in path.read_text().splitlines()]

    async def test_one_of_which_only_the_description_had_one_cannot_be_resumed(self, tmp_path: Path) -> None:
        path = copy_of(BACKGROUND, tmp_path)
        about = next(path.with_suffix("").rglob("*.meta.json"))
        about.write_text(json.dumps(json.loads(about.read_text()) | {"description": SAID}))
        await import_recordings([path])
        (agent,) = [stream for stream in await streams() if stream.is_masked]
        assert agent.meta["description"] == SAID.replace(SECRET, MASK)

    async def test_one_without_a_secret_is_verbatim_and_can_be_resumed(self, tmp_path: Path) -> None:
        path = copy_of(BACKGROUND, tmp_path)
        await import_recordings([path])
        assert not any(stream.is_masked for stream in await streams())
        await resume(tmp_path / "projects")
        restored = tmp_path / "projects" / folder_of(HERE) / path.name
        assert restored.read_bytes() == path.read_bytes()

    async def test_a_file_that_was_rewritten_doubles_nothing(self, tmp_path: Path) -> None:
        path = planted(tmp_path)
        await import_recordings([path])
        before = await stored_lines(BACKGROUND)
        # Some entries have no uuid, and are known by what is stored of them.
        assert any("uuid" not in json.loads(line) and MASK in line for line in before)
        changed(path, lambda entries: entries.insert(0, {"type": "mode", "mode": "new"}))
        report = await import_recordings([path])
        assert (report.entries, report.secrets_masked) == (1, 0)
        assert (await stored_lines(BACKGROUND))[:-1] == before

    async def test_it_cannot_be_put_back(self, tmp_path: Path) -> None:
        await import_recordings([planted(tmp_path)])
        with pytest.raises(Conflict, match="secrets were masked in its transcript, because SESSION_DB_REDACT_TRANSCRIPTS"):
            await resume(tmp_path / "projects")
        assert not (tmp_path / "projects").exists()

    async def test_where_the_clients_files_are_it_goes_on_with_them(self, tmp_path: Path) -> None:
        path = planted(tmp_path / "projects")
        await import_recordings([path])
        await resume(tmp_path / "projects")
        assert SECRET in path.read_text()


class TestToolResults:
    """Files of what tools gave are written in chunks of a megabyte."""

    async def _imported(self, tmp_path: Path, content: bytes) -> tuple[bytes, set[str], bool]:
        """Import content as such a file, and return what is stored of it, how it is encoded, and whether it is said to be masked."""
        path = copy_of(BACKGROUND, tmp_path)
        folder = path.with_suffix("") / "tool-results"
        folder.mkdir()
        (folder / "t.txt").write_bytes(content)
        await import_recordings([path])
        chunks = [json.loads(line) for line in await stored_lines(BACKGROUND, "tool-results/t.txt")]
        stored = b"".join(base64.b64decode(chunk["data"]) if chunk["encoding"] == "base64" else chunk["data"].encode() for chunk in chunks)
        (stream,) = [stream for stream in await streams() if stream.subpath == "tool-results/t.txt"]
        return stored, {chunk["encoding"] for chunk in chunks}, stream.is_masked

    async def test_one_that_is_no_utf_8_is_masked(self, tmp_path: Path) -> None:
        content = b"\xff\xfe " + SAID.encode()
        assert await self._imported(tmp_path, content) == (content.replace(SECRET.encode(), MASK.encode()), {"base64"}, True)

    @pytest.mark.parametrize("at", [*range(-45, 5, 5), *range(-60, -45, 3)])
    async def test_none_is_cut_through_by_a_chunk(self, tmp_path: Path, at: int) -> None:
        content = (b"x" * (CHUNK_BYTES + at)) + f' {{"Authorization": "Basic {PASSWORD}"}} {SECRET} and so on'.encode() + b"y" * CHUNK_BYTES
        stored, encodings, is_masked = await self._imported(tmp_path, content)
        masked = content.replace(SECRET.encode(), MASK.encode()).replace(PASSWORD.encode(), b"[masked:authorization-header]")
        assert (stored, encodings, is_masked) == (masked, {"utf-8"}, True)

    async def test_no_key_is_cut_through_by_a_chunk(self, tmp_path: Path) -> None:
        key = SECRETS["rsa key"].encode()
        content = b"x" * (CHUNK_BYTES - 300) + b"\n" + key + b"\n" + b"y" * 100
        stored, _, _ = await self._imported(tmp_path, content)
        assert stored == content.replace(key, b"[masked:private-key]")

    @pytest.mark.parametrize("masks", [True, False])
    async def test_no_character_is_cut_through_by_a_chunk(self, tmp_path: Path, masks: bool) -> None:
        use_settings(get_settings().model_copy(update={"redact_transcripts": masks}))
        content = b"x" + "\u20ac".encode() * (CHUNK_BYTES // 3 * 2)
        assert await self._imported(tmp_path, content) == (content, {"utf-8"}, False)


def said(text: str) -> dict[str, Any]:
    message = {"role": "user", "content": text}
    return {"type": "user", "uuid": str(uuid4()), "timestamp": "2026-11-22T10:00:00.000Z", "message": message}


class TestOfTheAgentSDK:
    async def test_nobody_goes_on_with_it(self) -> None:
        key: Any = {"project_key": "p", "session_id": str(uuid4())}
        store = PostgresSessionStore()
        await store.append(key, [said("hello")])
        assert await store.load(key) is not None
        await store.append(key, [said(SAID)])
        with pytest.raises(Conflict, match="cannot be resumed"):
            await store.load(key)
        assert await tables_with(SECRET) == set()
        async with get_async_session() as db:
            session = await crud.get_session(db, UUID(key["session_id"]))
        assert session is not None
        assert session.secrets_masked == 1

    async def test_an_append_whose_answer_was_lost_is_stored_once(self, monkeypatch: pytest.MonkeyPatch) -> None:
        key: Any = {"project_key": "p", "session_id": str(uuid4())}
        store, title = PostgresSessionStore(), {"type": "custom-title", "customTitle": SAID}
        commit = UnitOfWork.commit

        async def unanswered(db: UnitOfWork) -> None:
            await commit(db)
            raise ConnectionResetError("the answer was lost")

        with monkeypatch.context() as lost:
            lost.setattr(UnitOfWork, "commit", unanswered)
            with pytest.raises(ConnectionResetError):
                await store.append(key, [title, title])
        await store.append(key, [title, title])
        async with get_async_session() as db:
            (stream,) = await list_transcripts(db, UUID(key["session_id"]))
        assert (stream.next_seq, stream.is_masked) == (2, True)
