"""Where Claude Code keeps its recordings: one file a session, with its sub-agents' and tool results beside it."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from session_db.errors import NotFound
from session_db.models.text import readable

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
        return readable(self.path.stem).removeprefix("agent-") if self.subpath.startswith(SUBAGENTS + "/") else None

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


def find_recordings(paths: Iterable[Path], on_unreadable: Callable[[OSError], None] | None = None) -> Iterator[Recording]:
    """Find the recordings at or below these paths; each comes once.

    A path is a transcript, a session's folder, a project's folder, or the folder of all projects.

    Args:
        paths: where to look.
        on_unreadable: told of each folder that cannot be read; the search goes on without it.

    Raises:
        NotFound: a path does not exist.
    """
    seen: set[Path] = set()
    for path in paths:
        if not path.exists():
            raise NotFound(f"there is no file or folder {path}; name a transcript, a project folder or ~/.claude/projects.", path=str(path))
        for transcript in _transcripts(path.resolve(), on_unreadable or (lambda _: None)):
            if transcript not in seen:
                seen.add(transcript)
                yield _recording(transcript)


def _transcripts(path: Path, on_unreadable: Callable[[OSError], None]) -> Iterator[Path]:
    """Give where each session's own transcript is, or would be."""
    beside = _transcript_beside(path)
    if beside is not None:
        yield beside
    elif path.is_file():
        yield path
    elif _is_session_folder(path):
        yield path.with_name(path.name + ".jsonl")
    else:
        try:
            children = sorted(path.iterdir())
        except OSError as error:
            on_unreadable(error)
            return
        for child in children:
            if child.is_dir() and not child.is_symlink():
                yield from _transcripts(child, on_unreadable)
            elif child.suffix == ".jsonl" and child.is_file():
                yield child


def _is_session_folder(path: Path) -> bool:
    return path.with_name(path.name + ".jsonl").is_file() or any((path / SUBAGENTS).glob("agent-*.jsonl"))


def _transcript_beside(path: Path) -> Path | None:
    """Return the transcript of the session that a sub-agent's file or a tool result belongs to."""
    for number, part in reversed(list(enumerate(path.parts))):
        if part in (SUBAGENTS, TOOL_RESULTS) and number:
            transcript = Path(*path.parts[:number])
            transcript = transcript.with_name(transcript.name + ".jsonl")
            if transcript.is_file() or path.name.startswith("agent-"):
                return transcript
    return None


def _recording(transcript: Path) -> Recording:
    folder = transcript.with_suffix("")
    streams = [Stream(transcript, "")] if transcript.is_file() else []
    streams += [Stream(path, _name(path.relative_to(folder).with_suffix(""))) for path in _files(folder / SUBAGENTS, ".jsonl")]
    streams += [Stream(path, _name(path.relative_to(folder))) for path in _files(folder / TOOL_RESULTS, "")]
    return Recording(readable(transcript.stem), readable(transcript.parent.name), streams)


def _name(path: Path) -> str:
    """Return a path as a name; bytes that are no text become U+FFFD."""
    return readable(path.as_posix())


def _files(folder: Path, suffix: str) -> list[Path]:
    """Return the regular files below a folder beside a transcript; a symbolic link may lead out of it and is left."""
    if folder.is_symlink() or folder.parent.is_symlink():
        return []
    return sorted(path for path in folder.rglob(f"*{suffix}") if path.is_file() and not path.is_symlink())
