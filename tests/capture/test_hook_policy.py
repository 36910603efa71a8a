"""Settings of Claude Code under which it calls no hooks, or not ours."""

from pathlib import Path
from typing import Any

import pytest

from session_db.capture.hook_entries import VARIABLES
from session_db.capture.hook_policy import MANAGED, obstacles

USER, PROJECT, LOCAL = (Path(name) for name in ("user", "project", "local"))
URL = "http://127.0.0.1:8765/hooks/claude-code"


def told(*settings: dict[str, Any]) -> list[str]:
    """Return the settings that are said to be in the way, of those that the files hold, the weakest first."""
    sources = list(zip((USER, PROJECT, LOCAL, MANAGED), settings, strict=False))
    return [sentence.partition(" ")[0] for sentence in obstacles(sources, [URL])]


class TestObstacles:
    @pytest.mark.parametrize(
        "settings",
        [
            [{}],
            [{"disableAllHooks": False}],
            [{"disableAllHooks": True}, {"disableAllHooks": False}],
            [{"disableAllHooks": "yes"}],
            [{"allowManagedHooksOnly": True}],
            [{"allowedHttpHookUrls": ["http://127.0.0.1:*"]}],
            [{"allowedHttpHookUrls": []}, {"allowedHttpHookUrls": [URL]}],
            [{"allowedHttpHookUrls": None}],
            [{"httpHookAllowedEnvVars": list(VARIABLES[:2])}, {"httpHookAllowedEnvVars": list(VARIABLES[2:])}],
        ],
        ids=range(9),
    )
    def test_where_none_is_in_the_way_none_is_told(self, settings: list[dict[str, Any]]) -> None:
        assert told(*settings) == []

    @pytest.mark.parametrize(
        ("settings", "name"),
        [
            ([{"disableAllHooks": True}], "disableAllHooks"),
            ([{"disableAllHooks": False}, {}, {"disableAllHooks": True}], "disableAllHooks"),
            ([{}, {}, {"disableAllHooks": False}, {"disableAllHooks": True}], "disableAllHooks"),
            ([{}, {}, {}, {"allowManagedHooksOnly": True}], "allowManagedHooksOnly"),
            ([{"allowedHttpHookUrls": []}], "allowedHttpHookUrls"),
            ([{"allowedHttpHookUrls": ["https://*", 1]}], "allowedHttpHookUrls"),
            ([{"allowedHttpHookUrls": ["http://127.0.0.1:876."]}], "allowedHttpHookUrls"),
            ([{"httpHookAllowedEnvVars": []}], "httpHookAllowedEnvVars"),
        ],
        ids=range(8),
    )
    def test_what_is_in_the_way_is_told(self, settings: list[dict[str, Any]], name: str) -> None:
        assert told(*settings) == [name]

    def test_without_http_hooks_what_holds_for_those_is_not_told(self) -> None:
        assert list(obstacles([(USER, {"allowedHttpHookUrls": []})], [])) == []
