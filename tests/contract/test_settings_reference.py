"""docs/reference/settings.md tells every setting: its names, its default, and what wins."""

import re
from pathlib import Path

import pytest
from pydantic import AliasChoices

from session_db.settings import Settings, load_settings

PAGE = (Path(__file__).parents[2] / "docs" / "reference" / "settings.md").read_text()
ROWS = re.findall(r"^\| `(SESSION_DB_\w+)` \|(.*?)\| (.*?) \| .+ \|$", PAGE, re.MULTILINE)


def names_of(field: str) -> list[str]:
    alias = Settings.model_fields[field].validation_alias
    return [str(name) for name in alias.choices] if isinstance(alias, AliasChoices) else [str(alias)]


class TestTable:
    def test_has_one_row_for_each_setting(self) -> None:
        assert [name for name, *_ in ROWS] == [names_of(field)[0] for field in Settings.model_fields]

    @pytest.mark.parametrize("field", list(Settings.model_fields))
    def test_tells_the_names_and_the_default(self, field: str) -> None:
        name, *others = names_of(field)
        (row,) = [row for row in ROWS if row[0] == name]
        assert re.findall(r"`(\w+)`", row[1]) == others
        default = Settings.model_fields[field].default
        said = "see below" if field == "home" else "unset" if default in (None, "") else f"`{str(default).lower()}`"
        assert row[2] == said


class TestWhereAValueComesFrom:
    """The order that the page gives, from the weakest to the strongest."""

    def test_the_first_that_has_the_setting_wins(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        home, here, named = tmp_path / "home", tmp_path / "here", tmp_path / "named.env"
        home.mkdir()
        here.mkdir()
        monkeypatch.setenv("SESSION_DB_HOME", str(home))
        monkeypatch.chdir(here)
        named.write_text("")

        def pool_size() -> int:
            return load_settings(env_file=named, working_directory=True).pool_size

        assert pool_size() == 10
        (home / ".env").write_text("SESSION_DB_POOL_SIZE=1")
        assert pool_size() == 1
        (here / ".env").write_text("DB_POOL_SIZE=2\nNAME_OF_ANOTHER_PROGRAM=x")
        assert pool_size() == 2
        assert load_settings().pool_size == 1
        named.write_text("DB_POOL_SIZE=3")
        assert pool_size() == 3
        monkeypatch.setenv("DB_POOL_SIZE", "4")
        assert pool_size() == 4
        monkeypatch.setenv("SESSION_DB_POOL_SIZE", "5")
        assert pool_size() == 5
        monkeypatch.setenv("SESSION_DB_POOL_SIZE", "")
        assert pool_size() == 4
