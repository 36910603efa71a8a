"""Where a setting comes from, and which of several sources wins."""

import os
from pathlib import Path

import pytest

from session_db.errors import InvalidInput
from session_db.settings import Settings, default_home, get_settings, load_settings, origins, use_settings

BOTH_NAMES = {
    "url": ("SESSION_DB_URL", "TOOLER_DB_URL"),
    "pool_size": ("SESSION_DB_POOL_SIZE", "DB_POOL_SIZE"),
    "max_overflow": ("SESSION_DB_MAX_OVERFLOW", "DB_MAX_OVERFLOW"),
    "pool_recycle": ("SESSION_DB_POOL_RECYCLE", "DB_POOL_RECYCLE"),
    "echo": ("SESSION_DB_ECHO", "DB_ECHO"),
}


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """SESSION_DB_HOME, beside an empty working directory."""
    home, here = tmp_path / "home", tmp_path / "here"
    home.mkdir()
    here.mkdir()
    monkeypatch.setenv("SESSION_DB_HOME", str(home))
    monkeypatch.chdir(here)
    return home


def url_of(settings: Settings) -> str | None:
    return None if settings.url is None else settings.url.get_secret_value()


class TestDefaults:
    def test_they_are_those_of_the_seeds_and_the_embedded_server(self, home: Path) -> None:
        assert load_settings().model_dump() == {
            "url": None,
            "home": home,
            "schema_name": None,
            "pooler": None,
            "listen_url": None,
            "pool_size": 10,
            "max_overflow": 20,
            "pool_recycle": 3600,
            "command_timeout": 30,
            "statement_cache_size": 512,
            "echo": False,
            "claude_dirs": "~/.claude",
            "redact": True,
            "redact_transcripts": False,
            "idle_after": "30min",
            "terminate_after": "never",
            "lost_after": "1d",
            "workspace_roots": "",
            "allowed_hosts": "localhost",
            "max_body_bytes": 32 * 1024 * 1024,
            "open_probes": False,
            "token": None,
        }

    def test_a_variable_of_another_program_is_none_of_ours(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.delenv("SESSION_DB_HOME")
        for name in ("HOME", "URL", "ECHO", "POOL_SIZE", "SCHEMA_NAME", "COMMAND_TIMEOUT"):
            monkeypatch.setenv(name, "1")
        settings = load_settings()
        assert settings.home == default_home()
        assert (settings.url, settings.echo, settings.pool_size, settings.schema_name) == (None, False, 10, None)
        assert set(origins(settings).values()) == {"default"}

    @pytest.mark.skipif(os.name != "posix" or os.geteuid() != 0, reason="only root has no directory of its own")
    def test_root_keeps_its_data_where_systems_keep_it(self) -> None:
        assert default_home() == Path("/var/lib/session-db")


class TestPrecedence:
    @pytest.mark.parametrize("field", BOTH_NAMES)
    def test_our_name_beats_the_second_seeds(self, field: str, monkeypatch: pytest.MonkeyPatch) -> None:
        ours, seeds = BOTH_NAMES[field]
        values = {"url": ("postgresql://ours/d", "postgresql://seed/d"), "echo": ("true", "false")}.get(field, ("7", "8"))
        for index, name in ((1, seeds), (0, ours)):
            monkeypatch.setenv(name, values[index])
            settings = load_settings()
            expected = Settings.model_validate({field: values[index]})
            assert getattr(settings, field) == getattr(expected, field)
            assert origins(settings)[field] == f"environment {name}"

    def test_environment_beats_files_whichever_name_it_uses(self, home: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
        """From the weakest to the strongest, each with the weaker of the two names."""
        named = tmp_path / "named.env"

        def winner() -> tuple[str | None, str]:
            env_file = named if named.exists() else None
            settings = load_settings(env_file=env_file, working_directory=True)
            return url_of(settings), origins(settings)["url"]

        (home / ".env").write_text("SESSION_DB_URL=postgresql://home/d\n")
        assert winner() == ("postgresql://home/d", f"{home / '.env'} SESSION_DB_URL")
        Path(".env").write_text("TOOLER_DB_URL=postgresql://here/d\n")
        assert winner() == ("postgresql://here/d", ".env TOOLER_DB_URL")
        named.write_text("TOOLER_DB_URL=postgresql://named/d\n")
        assert winner() == ("postgresql://named/d", f"{named} TOOLER_DB_URL")
        monkeypatch.setenv("TOOLER_DB_URL", "postgresql://environment/d")
        assert winner() == ("postgresql://environment/d", "environment TOOLER_DB_URL")

    def test_an_argument_beats_them_all(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("SESSION_DB_URL", "postgresql://environment/d")
        assert url_of(Settings(url="postgresql://argument/d")) == "postgresql://argument/d"

    def test_an_empty_variable_is_none(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("SESSION_DB_URL", "")
        monkeypatch.setenv("TOOLER_DB_URL", "postgresql://seed/d")
        assert url_of(load_settings()) == "postgresql://seed/d"
        assert origins(load_settings())["url"] == "environment TOOLER_DB_URL"

    def test_a_setting_of_nobody_is_a_default(self) -> None:
        assert origins(load_settings()) == dict.fromkeys(Settings.model_fields, "default") | {"home": "environment SESSION_DB_HOME"}


class TestFiles:
    def test_the_working_directory_has_a_say_only_when_asked(self, home: Path) -> None:
        Path(".env").write_text("SESSION_DB_URL=postgresql://stranger/d\n")
        assert load_settings().url is None
        assert origins(load_settings())["url"] == "default"
        assert url_of(load_settings(working_directory=True)) == "postgresql://stranger/d"

    def test_a_program_that_imports_the_package_reads_its_own(self, home: Path) -> None:
        Path(".env").write_text("SESSION_DB_URL=postgresql://own/d\n")
        use_settings(None)
        assert url_of(get_settings()) == "postgresql://own/d"
        assert get_settings() is get_settings()

    def test_the_homes_file_is_read_and_other_names_in_it_are_let_be(self, home: Path) -> None:
        (home / ".env").write_text("OPENROUTER_API_KEY=sk\nSESSION_DB_POOL_SIZE=3\n")
        assert load_settings().pool_size == 3

    def test_a_named_file_must_be_there(self, tmp_path: Path) -> None:
        with pytest.raises(InvalidInput, match="there is no file"):
            load_settings(env_file=tmp_path / "none.env")


class TestRefusals:
    @pytest.mark.parametrize(
        ("name", "value"),
        [
            ("SESSION_DB_POOL_SIZE", "0"),
            ("DB_POOL_SIZE", "many"),
            ("SESSION_DB_ECHO", "perhaps"),
            ("SESSION_DB_COMMAND_TIMEOUT", "-1"),
            ("SESSION_DB_SCHEMA", 'a"; DROP TABLE sessions'),
            ("SESSION_DB_IDLE_AFTER", "soon"),
            ("SESSION_DB_TERMINATE_AFTER", "0d"),
            ("SESSION_DB_LOST_AFTER", "12"),
            ("SESSION_DB_WORKSPACE_ROOTS", f"/srv{os.pathsep}~no-such-user/x"),
        ],
    )
    def test_a_value_that_does_not_fit_is_named_with_its_setting(self, name: str, value: str, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv(name, value)
        with pytest.raises(InvalidInput, match=f"{name}: "):
            load_settings()

    def test_settings_do_not_change(self) -> None:
        with pytest.raises(ValueError, match="frozen"):
            Settings().pool_size = 5  # type: ignore[misc]


class TestUnreadableFiles:
    def test_a_home_that_may_not_be_read_is_named_with_the_remedy(self, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        def refused(path: Path) -> bool:
            raise PermissionError(13, "Permission denied", str(path))

        monkeypatch.setattr(Path, "is_file", refused)
        with pytest.raises(InvalidInput, match=r"home/\.env cannot be read \(Permission denied\).*SESSION_DB_HOME"):
            load_settings()

    def test_a_file_in_another_encoding_is_named(self, home: Path) -> None:
        (home / ".env").write_bytes(b"SESSION_DB_SCHEMA=\xff\n")
        with pytest.raises(InvalidInput, match=r"home/\.env is not valid UTF-8"):
            load_settings()

    def test_a_home_of_nobody_is_named(self, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("SESSION_DB_HOME", "~no-such-user/x")
        with pytest.raises(InvalidInput, match="no such user"):
            load_settings()
