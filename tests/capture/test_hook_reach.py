"""Whether hooks reach whom they tell, and who is told our token for that."""

import json
from io import BytesIO
from pathlib import Path
from typing import Any
from urllib.request import Request

import pytest

from session_db.capture import hook_reach
from session_db.capture.hook_entries import ROUTE, http_entry
from session_db.capture.hook_reach import why_not

REMOTE = f"https://collector.example{ROUTE}"


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> list[Request]:
    """The requests that are made, to a service that takes all; the user has settings, and is in a folder, of this test's own."""
    requests: list[Request] = []

    def ask(request: Request, seconds: float) -> Any:
        requests.append(request)
        return BytesIO()

    monkeypatch.setattr(hook_reach, "ask", ask)
    monkeypatch.setenv("SESSION_DB_TOKEN", "sdb_secret")
    monkeypatch.setenv("CLAUDE_CONFIG_DIR", str(tmp_path / "user"))
    monkeypatch.chdir(tmp_path)
    return requests


def _name(settings: Path, url: str) -> None:
    settings.parent.mkdir(parents=True)
    settings.write_text(json.dumps({"hooks": {"Stop": [{"hooks": [http_entry(url.removesuffix(ROUTE), "here")]}]}}))


def _told(asked: list[Request]) -> list[str]:
    return [request.full_url for request in asked if request.has_header("Authorization")]


class TestWhyNot:
    def test_a_url_that_a_folder_names_is_asked_without_the_token(self, asked: list[Request], tmp_path: Path) -> None:
        _name(tmp_path / ".claude" / "settings.json", REMOTE)
        assert why_not(REMOTE) is None
        assert [request.full_url for request in asked] == ["https://collector.example/health"]
        assert _told(asked) == []

    def test_a_url_that_the_user_named_is_told_it(self, asked: list[Request], tmp_path: Path) -> None:
        _name(tmp_path / "user" / "settings.json", REMOTE)
        assert why_not(REMOTE) is None
        assert _told(asked) == [REMOTE]

    @pytest.mark.parametrize("host", ["localhost:8765", "127.0.0.1:8765", "[::1]:8765"])
    def test_so_is_a_service_of_this_machine(self, asked: list[Request], host: str) -> None:
        assert why_not(f"http://{host}{ROUTE}") is None
        assert _told(asked) == [f"http://{host}{ROUTE}"]
