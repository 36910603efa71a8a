"""The names that callers import, and what importing them costs."""

import importlib
import inspect
import subprocess
import sys

import pytest

import session_db

PUBLIC_MODULES = ["session_db", "session_db.crud", "session_db.database", "session_db.models"]
SEEDS_NAMES = {
    "session_db.database": "init_db reset_db close_db get_async_session get_session get_engine engine async_session DatabaseSession",
    "session_db.models": """
        Session SessionCreate SessionUpdate SessionRead SessionNameUpdate Agent AgentCreate AgentUpdate AgentRead
        AgentLog AgentLogCreate AgentLogRead Message MessageCreate MessageRead
        MemoryFile MemoryFileCreate MemoryFileUpdate MemoryFileRead Clip ClipCreate ClipUpdate ClipRead
        Song SongCreate SongUpdate SongRead Playlist PlaylistCreate PlaylistUpdate PlaylistRead
    """,
    "session_db.crud": """
        create_session get_session get_session_by_slug list_sessions update_session update_session_status update_session_activity
        update_session_name delete_session create_agent get_agent list_agents update_agent
        create_agent_log append_agent_logs list_agent_logs save_display_messages load_messages_paginated get_message_count display_message
        create_memory_file get_session_memory_files get_primary_memory_file update_memory_file delete_memory_file
        create_clip get_clip list_clips update_clip delete_clip create_song get_song list_songs update_song delete_song
        create_playlist get_playlist list_playlists update_playlist delete_playlist
    """,
}


def modules_after(statement: str) -> set[str]:
    code = f"import sys; {statement}; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-W", "error", "-c", code], capture_output=True, text=True, check=True)
    return set(done.stdout.split())


class TestImport:
    def test_the_package_itself_loads_none_of_its_libraries(self) -> None:
        loaded = modules_after("import session_db; session_db.__all__; dir(session_db)")
        assert {name for name in loaded if name.partition(".")[0] in ("sqlalchemy", "sqlmodel", "pydantic", "asyncpg", "alembic")} == set()
        assert {name for name in loaded if name.startswith("session_db")} == {"session_db"}

    def test_the_store_loads_no_web_framework(self) -> None:
        loaded = modules_after("import session_db.crud, session_db.database")
        assert loaded & {"fastapi", "starlette", "typer", "rich"} == set()


class TestNames:
    @pytest.mark.parametrize("name", PUBLIC_MODULES)
    def test_each_one_that_a_module_tells_is_there(self, name: str) -> None:
        module = importlib.import_module(name)
        assert [public for public in module.__all__ if not hasattr(module, public)] == []
        assert len(module.__all__) == len(set(module.__all__))
        assert set(module.__all__) <= set(dir(module)) | {"engine", "DatabaseSession"}

    @pytest.mark.parametrize("name", SEEDS_NAMES)
    def test_the_names_of_the_seeds_are_told(self, name: str) -> None:
        module = importlib.import_module(name)
        # A star import must not make an engine, so that name is told by itself.
        assert set(SEEDS_NAMES[name].split()) - set(module.__all__) <= {"engine"}

    def test_a_name_that_is_none_is_refused(self) -> None:
        with pytest.raises(AttributeError, match="sessions"):
            session_db.sessions  # noqa: B018  the case
        with pytest.raises(AttributeError, match="sessions"):
            importlib.import_module("session_db.database").sessions  # noqa: B018  the case


class TestDocstrings:
    @pytest.mark.parametrize("name", PUBLIC_MODULES)
    def test_every_public_function_and_class_has_one(self, name: str) -> None:
        module = importlib.import_module(name)
        public = {public: getattr(module, public) for public in module.__all__}
        told = {key: value for key, value in public.items() if inspect.isfunction(value) or inspect.isclass(value)}
        assert told
        # An inherited or a generated one says nothing about it.
        assert [
            key for key, value in told.items() if not (value.__dict__.get("__doc__") if inspect.isclass(value) else value.__doc__)
        ] == []
        assert inspect.getdoc(module)

    def test_every_function_of_crud_takes_the_database_session_first(self) -> None:
        crud = importlib.import_module("session_db.crud")
        functions = {name: getattr(crud, name) for name in crud.__all__ if inspect.iscoroutinefunction(getattr(crud, name))}
        assert {name for name, function in functions.items() if next(iter(inspect.signature(function).parameters)) != "db"} == set()
