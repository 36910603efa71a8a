"""The second seed's examples of data and of settings, as printed."""

import json
import shlex
from pathlib import Path

import pytest

from session_db import crud
from session_db.database import UnitOfWork
from session_db.models import ClipCreate, PlaylistCreate, SessionCreate, SongCreate
from session_db.settings import load_settings
from tests.contract.conftest import Names, Run


class TestMetadata:
    @pytest.mark.parametrize(
        "example",
        [
            """
            {
              "name": "Debug Auth Flow",
              "created_by_user": true,
              "tags": ["authentication", "debugging"],
              "custom_settings": {
                "temperature": 0.7,
                "max_tokens": 4000
              }
            }
            """,
            """
            {
              "item_type": "clip",
              "item_id": "kick",
              "project_id": "house_project",
              "bpm": 120,
              "scale": "C minor"
            }
            """,
            """
            {
              "item_type": "clip",
              "item_id": "kick",
              "project_id": "house_project",
              "bpm": 120,
              "scale": "C minor",
              "loaded_in_carousel": true,
              "panel_index": 0
            }
            """,
        ],
    )
    async def test_a_session_keeps_the_example(self, db: UnitOfWork, example: str) -> None:
        session = await crud.create_session(db, SessionCreate(agent_name="strudel", metadata=json.loads(example)))
        await db.refresh(session)
        assert session.metadata_ == json.loads(example)


class TestMessages:
    @pytest.mark.parametrize(
        "example",
        [
            """
            {
              "role": "user",
              "content": "How do I fix this bug?",
              "timestamp": "2025-12-25T01:35:06Z"
            }
            """,
            """
            {
              "role": "assistant",
              "content": "Let me help you debug this...",
              "timestamp": "2025-12-25T01:35:12Z"
            }
            """,
            """
            {
              "role": "user",
              "content": "Make the kick punchier",
              "timestamp": "2025-12-25T01:35:06Z",
              "context": {
                "item_type": "clip",
                "item_id": "kick",
                "code_snapshot": "sound('bd').gain(0.8)"
              }
            }
            """,
            """
            {
              "role": "assistant",
              "content": "I'll increase the gain and add some distortion",
              "timestamp": "2025-12-25T01:35:12Z",
              "code_changes": {
                "before": "sound('bd').gain(0.8)",
                "after": "sound('bd').gain(1.2).distort(0.3)"
              }
            }
            """,
        ],
    )
    async def test_the_example_comes_back_as_it_was_sent(self, db: UnitOfWork, example: str) -> None:
        session = await crud.create_session(db, SessionCreate(agent_name="strudel"))
        await crud.save_display_messages(db, session.session_id, [json.loads(example)])
        assert await crud.load_messages_paginated(db, session.session_id) == [json.loads(example) | {"message_index": 0}]

    async def test_the_pages_of_200_messages(self, db: UnitOfWork, run: Run) -> None:
        session = await crud.create_session(db, SessionCreate(agent_name="strudel"))
        said = [{"role": "user", "content": str(number), "timestamp": "2025-12-25T01:35:06Z"} for number in range(200)]
        await crud.save_display_messages(db, session.session_id, said)
        names: Names = {"db": db, "session_id": session.session_id, "load_messages_paginated": crud.load_messages_paginated}
        await run(
            """
            # Initial load (most recent 50)
            result = await load_messages_paginated(db, session_id, page_size=50)
            # Returns: messages with index 150-199 (if total is 200)
            """,
            names,
        )
        assert [(message["message_index"], message["content"]) for message in names["result"]] == [(n, str(n)) for n in range(150, 200)]
        await run(
            """
            # Load more (scroll up)
            result = await load_messages_paginated(db, session_id, page_size=50, before_index=150)
            # Returns: messages with index 100-149
            """,
            names,
        )
        assert [(message["message_index"], message["content"]) for message in names["result"]] == [(n, str(n)) for n in range(100, 150)]


class TestStrudel:
    async def test_clips_songs_and_playlists_keep_the_examples(self, db: UnitOfWork) -> None:
        metadata = json.loads("""
            {
              "bpm": 120,
              "scale": "C minor",
              "tags": ["drums", "kick"],
              "color": "#FF5733"
            }
        """)
        clip_ids = json.loads("""
            ["kick", "bass", "hats", "melody"]
        """)
        for clip_id in clip_ids:
            clip_data = ClipCreate(clip_id=clip_id, project_id="house_project", name=clip_id, code="sound('bd')", metadata=metadata)
            clip = await crud.create_clip(db, clip_data)
            await db.refresh(clip)
            assert clip.metadata_ == metadata
        song = await crud.create_song(db, SongCreate(song_id="song", project_id="house_project", name="Song", clip_ids=clip_ids))
        playlist_data = PlaylistCreate(playlist_id="all", project_id="house_project", name="All", song_ids=["song"])
        playlist = await crud.create_playlist(db, playlist_data)
        await db.refresh(song)
        await db.refresh(playlist)
        assert song.clip_ids == clip_ids
        assert playlist.song_ids == ["song"]


class TestEnvironmentVariables:
    REQUIRED = """
        # Database connection
        TOOLER_DB_URL=postgresql+asyncpg://user:password@localhost:5432/strudel_agent

        # API keys
        OPENROUTER_API_KEY=sk-or-v1-...
    """
    OPTIONAL = """
        # Database pool settings
        DB_POOL_SIZE=10
        DB_MAX_OVERFLOW=20
        DB_POOL_RECYCLE=3600

        # Logging
        DB_ECHO=false  # Set to true for SQL query logging
    """

    def lines(self, block: str) -> str:
        return "\n".join(line.strip() for line in block.splitlines())

    def test_an_env_file_takes_the_printed_lines(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.chdir(tmp_path)
        Path(".env").write_text(self.lines(self.REQUIRED + self.OPTIONAL))
        settings = load_settings(working_directory=True)
        assert settings.url is not None
        assert settings.url.get_secret_value() == "postgresql+asyncpg://user:password@localhost:5432/strudel_agent"
        assert (settings.pool_size, settings.max_overflow, settings.pool_recycle, settings.echo) == (10, 20, 3600, False)

    @pytest.mark.parametrize(
        ("name", "value", "field"),
        [("DB_POOL_SIZE", "7", "pool_size"), ("DB_MAX_OVERFLOW", "7", "max_overflow"), ("DB_POOL_RECYCLE", "7", "pool_recycle")],
    )
    def test_a_number_is_taken_by_its_printed_name(self, name: str, value: str, field: str, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv(name, value)
        assert getattr(load_settings(), field) == 7

    def test_echo_is_taken_by_its_printed_name(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("DB_ECHO", "true")
        assert load_settings().echo is True

    def test_the_printed_export_names_the_database(self, monkeypatch: pytest.MonkeyPatch) -> None:
        export = 'export TOOLER_DB_URL="postgresql+asyncpg://user:pass@localhost/strudel_agent"'
        (assignment,) = shlex.split(export)[1:]
        monkeypatch.setenv(*assignment.split("=", 1))
        url = load_settings().url
        assert url is not None
        assert url.get_secret_value() == "postgresql+asyncpg://user:pass@localhost/strudel_agent"
