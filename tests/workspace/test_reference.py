"""docs/reference/state-json.md tells every key of state.json."""

import re
from pathlib import Path

import pytest
from pydantic import BaseModel

from session_db.workspace.state import AgentState, Checkpoints, Phase, State, Synced

PAGE = (Path(__file__).parents[2] / "docs/reference/state-json.md").read_text()
SECTIONS = dict(re.findall(r"^##? (.+)\n((?:(?!^#).*\n?)*)", PAGE, re.MULTILINE))


@pytest.mark.parametrize(
    ("section", "model"),
    [("state.json", State), ("phase_history", Phase), ("checkpoints", Checkpoints), ("agents", AgentState), ("synced", Synced)],
)
def test_each_key_has_its_row(section: str, model: type[BaseModel]) -> None:
    told = re.findall(r"^\| `(.+)` \| (.+) \|$", SECTIONS[section], re.MULTILINE)
    assert told == [(field.alias or name, field.description) for name, field in model.model_fields.items()]
