"""Where Claude Code keeps its recordings: one file a session, with its sub-agents' and tool results beside it."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from session_db.errors import NotFound

SUBAGENTS = "subagents"
TOOL_RESULTS = "tool-results"


@dataclass(frozen=True)
class Stream:
    """One file of a recording; ``subpath`` is empty for the session's own transcript."""

    path: Path
    subpath: str

    @property
    def is_tool_result(self) -> bool:
        return self.subpath.startswith(TOOL_RESULTS + "/")

    @property
    def sdk_agent_id(self) -> str | None:
        """The SDK's id of the sub-agent whose transcript this is."""
        return self.path.stem.removeprefix("agent-") if self.subpath.startswith(SUBAGENTS + "/") else None

    @property
    def meta_path(self) -> Path:
        """Where the client says what the sub-agent is."""
        return self.path.with_suffix(".meta.json")


@dataclass(frozen=True)
class Recording:
    """All files of one session of the client."""

    sdk_session_id: str
    project_key: str
    streams: list[Stream] = field(default_factory=list)

    @property
    def size(self) -> int:
        return sum(stream.path.stat().st_size for stream in self.streams if stream.path.is_file())


def find_recordings(paths: Iterable[Path]) -> Iterator[Recording]:
    """Find the recordings at or below these paths; each comes once.

    A path is a transcript, a session's folder, a project's folder, or the folder of all projects.

    Raises:
        NotFound: a path does not exist.
    """
    seen: set[Path] = set()
    for path in paths:
        if not path.exists():
            raise NotFound(f"there is no file or folder {path}; name a transcript, a project folder or ~/.claude/projects.", path=str(path))
        for transcript in _transcripts(path.resolve()):
            if transcript not in seen:
                seen.add(transcript)
                yield _recording(transcript)


def _transcripts(path: Path) -> Iterator[Path]:
    """Give where each session's own transcript is, or would be."""
    if SUBAGENTS in path.parts or TOOL_RESULTS in path.parts:
        inside = next(number for number, part in enumerate(path.parts) if part in (SUBAGENTS, TOOL_RESULTS))
        yield Path(*path.parts[:inside]).with_suffix(".jsonl")
    elif path.is_file():
        yield path
    elif (path / SUBAGENTS).is_dir() or (path / TOOL_RESULTS).is_dir():
        yield path.with_name(path.name + ".jsonl")
    else:
        for child in sorted(path.iterdir()):
            if child.is_dir() and not child.is_symlink():
                yield from _transcripts(child)
            elif child.suffix == ".jsonl" and child.is_file():
                yield child


def _recording(transcript: Path) -> Recording:
    folder = transcript.with_suffix("")
    streams = [Stream(transcript, "")] if transcript.is_file() else []
    streams += [Stream(path, str(path.relative_to(folder).with_suffix("").as_posix())) for path in _files(folder / SUBAGENTS, ".jsonl")]
    streams += [Stream(path, path.relative_to(folder).as_posix()) for path in _files(folder / TOOL_RESULTS, "")]
    return Recording(transcript.stem, transcript.parent.name, streams)


def _files(folder: Path, suffix: str) -> list[Path]:
    """Return the regular files below a folder; a symbolic link may lead out of it and is left."""
    return sorted(path for path in folder.rglob(f"*{suffix}") if path.is_file() and not path.is_symlink())
