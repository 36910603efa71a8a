"""Which transcripts the client deletes soon that nobody recorded."""

import json
import os
from datetime import timedelta
from pathlib import Path
from uuid import UUID

import pytest

from session_db import crud
from session_db.capture import expiring
from session_db.capture.expiring import kept_days, list_expiring
from session_db.capture.importer import import_recordings
from session_db.database import get_async_session
from session_db.doctor.client_checks import look_at_client_files
from session_db.models.table import now
from session_db.settings import Settings, use_settings
from tests.capture.recorded import BACKGROUND, FOREGROUND, copy_of
from tests.databases import Database


@pytest.fixture
def settings(fresh_database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    monkeypatch.setattr(expiring, "MANAGED", tmp_path / "managed.json")
    return fresh_database.settings.model_copy(update={"home": tmp_path / "home", "claude_dirs": str(tmp_path / "claude")})


@pytest.fixture
def claude(tmp_path: Path) -> Path:
    """The client's directory."""
    (tmp_path / "claude").mkdir()
    return tmp_path / "claude"


def keep(path: Path, days: object) -> None:
    path.write_text(json.dumps({"cleanupPeriodDays": days}))


def recorded(claude: Path, session_id: UUID, days: float) -> Path:
    """Put a transcript there that was changed so many days ago."""
    path = copy_of(session_id, claude / "projects")
    moment = (now() - timedelta(days=days)).timestamp()
    os.utime(path, (moment, moment))
    return path


async def found(settings: Settings) -> list[Path]:
    async with get_async_session() as db:
        return [each.path for each in await list_expiring(db, settings)]


class TestKeptDays:
    def test_they_are_thirty_unless_the_settings_say_otherwise_the_managed_ones_last(self, settings: Settings, claude: Path) -> None:
        assert kept_days(claude) == 30
        keep(claude / "settings.json", 90)
        assert kept_days(claude) == 90
        keep(claude.parent / "managed.json", 10)
        assert kept_days(claude) == 10

    @pytest.mark.parametrize("days", ["90", None, True, -1, 1.5, [1]])
    def test_what_is_no_number_of_days_says_nothing(self, settings: Settings, claude: Path, days: object) -> None:
        keep(claude / "settings.json", days)
        assert kept_days(claude) == 30

    def test_settings_that_cannot_be_read_say_nothing(self, settings: Settings, claude: Path) -> None:
        (claude / "settings.json").write_text("{")
        assert kept_days(claude) == 30


class TestListExpiring:
    async def test_those_that_go_within_a_week_come_first_that_go_first(self, settings: Settings, claude: Path) -> None:
        soon, overdue = recorded(claude, BACKGROUND, 25), recorded(claude, FOREGROUND, 40)
        assert await found(settings) == [overdue, soon]
        keep(claude / "settings.json", 60)
        assert await found(settings) == []

    async def test_one_that_was_recorded_to_its_end_is_none(self, settings: Settings, claude: Path) -> None:
        path = recorded(claude, BACKGROUND, 25)
        await import_recordings([path])
        assert await found(settings) == []
        with path.open("a") as file:
            file.write('{"type": "user"}\n')
        os.utime(path, (0, 0))
        assert await found(settings) == [path]

    async def test_one_whose_session_was_deleted_is_none(self, settings: Settings, claude: Path) -> None:
        await import_recordings([recorded(claude, BACKGROUND, 25)])
        async with get_async_session() as db:
            await crud.delete_session(db, BACKGROUND)
        assert await found(settings) == []

    async def test_without_a_directory_there_are_none(self, settings: Settings) -> None:
        assert await found(settings) == []

    async def test_a_thousand_years_are_no_error(self, settings: Settings, claude: Path) -> None:
        recorded(claude, BACKGROUND, 25)
        keep(claude / "settings.json", 10**12)
        assert await found(settings) == []


class TestDoctor:
    async def test_it_names_them_and_says_what_to_do(self, settings: Settings, claude: Path) -> None:
        use_settings(settings)
        assert (await look_at_client_files()).state == "ok"
        recorded(claude, BACKGROUND, 26)
        recorded(claude, FOREGROUND, 40)
        check = await look_at_client_files()
        assert check.state == "warning"
        assert f"{BACKGROUND}.jsonl (in 3 days)" in check.found
        assert f"{FOREGROUND}.jsonl (at its next start)" in check.found
        assert "30 days" in check.found
        assert "session-db import" in (check.remedy or "")
