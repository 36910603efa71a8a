"""Which files are read as parts of a recording."""

from pathlib import Path

import pytest

from session_db.capture.recordings import find_recordings
from tests.capture.recorded import BACKGROUND, copy_of


class TestFindRecordings:
    @pytest.mark.parametrize("linked", ["", "subagents", "subagents/agent-x.jsonl", "subagents/more", "tool-results", "tool-results/x.txt"])
    def test_a_link_beside_a_transcript_leads_nowhere(self, tmp_path: Path, linked: str) -> None:
        outside = tmp_path / "outside"
        for name in ("subagents/agent-secret.jsonl", "tool-results/secret.txt", "agent-secret.jsonl", "secret.txt"):
            (outside / name).parent.mkdir(parents=True, exist_ok=True)
            (outside / name).write_text('{"type": "secret"}\n')
        transcript = copy_of(BACKGROUND, tmp_path / "projects")
        folder = transcript.with_suffix("")
        folder.rename(tmp_path / "beside")
        link = folder / linked
        link.parent.mkdir(parents=True, exist_ok=True)
        link.symlink_to(outside / "secret.txt" if link.suffix else outside)
        (recording,) = find_recordings([tmp_path / "projects"])
        assert [stream.path for stream in recording.streams] == [transcript]
