"""Claude Code itself, in a world of its own: a model that is scripted, and nothing of whoever runs the tests."""

import asyncio
import importlib.util
import json
import os
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.e2e.model import Model
from tests.e2e.terminal import Terminal

KEY = "sk-ant-dummy"
SECONDS = 60
_SOMEBODY = {"NAME": "Somebody", "EMAIL": "somebody@example.org", "DATE": "2026-01-01T00:00:00Z"}
_GIT = {f"GIT_{role}_{name}": value for role in ("AUTHOR", "COMMITTER") for name, value in _SOMEBODY.items()}
"""With this the first commit has the same name each time."""


def client_program() -> Path | None:
    """Return the client that comes with the SDK, without importing that; None where it is not installed."""
    spec = importlib.util.find_spec("claude_agent_sdk")
    program = Path(spec.origin).parent / "_bundled" / "claude" if spec and spec.origin else None
    return program if program and program.exists() else None


@dataclass(frozen=True)
class Run:
    """How a run ended, and what it printed: ``--output-format stream-json``, a line each."""

    exit_code: int
    lines: list[dict[str, Any]]
    errors: str

    @property
    def result(self) -> dict[str, Any]:
        return next(line for line in reversed(self.lines) if line["type"] == "result")

    @property
    def sdk_session_id(self) -> str:
        return str(self.result["session_id"])

    @property
    def denials(self) -> list[dict[str, Any]]:
        """Calls that were not permitted."""
        return [denial for line in self.lines if line["type"] == "result" for denial in line["permission_denials"]]

    @property
    def cost(self) -> float:
        """US dollars of the session until now, as the client counts them."""
        return float(self.result["total_cost_usd"])


class Client:
    """The client, with a configuration, a home and a project that hold nothing yet.

    Args:
        directory: where they are made.
        model: whom it asks.
        variables: what it finds in its environment beside that.
    """

    def __init__(self, directory: Path, model: Model, variables: Mapping[str, str] | None = None) -> None:
        self.model = model
        self.directory = directory
        self.project, self.configuration, self.home, self.temporary = (directory / name for name in ("project", "claude", "home", "tmp"))
        for path in (self.project, self.configuration, self.home, self.temporary):
            path.mkdir(parents=True)
        self.environment = {
            "PATH": os.environ["PATH"],
            "LANG": "C.UTF-8",
            "TERM": "xterm-256color",
            "HOME": str(self.home),
            "TMPDIR": str(self.temporary),
            "CLAUDE_CONFIG_DIR": str(self.configuration),
            "ANTHROPIC_BASE_URL": model.url,
            "ANTHROPIC_API_KEY": KEY,
            "CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC": "1",
            "DISABLE_TELEMETRY": "1",
            "DISABLE_ERROR_REPORTING": "1",
            "DISABLE_AUTOUPDATER": "1",
            "CLAUDE_CODE_MAX_RETRIES": "1",
        } | dict(variables or {})

    @property
    def projects(self) -> Path:
        return self.configuration / "projects"

    async def run(self, prompt: str, *arguments: str) -> Run:
        """Let it work on a prompt until it is done."""
        command = [str(client_program()), "-p", prompt, "--output-format", "stream-json", "--verbose", *arguments]
        process = await asyncio.create_subprocess_exec(
            *command,
            cwd=self.project,
            env=self.environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        try:
            output, errors = await asyncio.wait_for(process.communicate(), SECONDS)
        finally:
            if process.returncode is None:
                process.kill()
        return Run(process.returncode or 0, [json.loads(line) for line in output.splitlines()], errors.decode())

    def interactive(self) -> Terminal:
        """Start it as a person does, at a terminal."""
        self.answer_first_questions()
        return Terminal([str(client_program())], self.project, self.environment)

    def answer_first_questions(self) -> None:
        """Answer what the client asks a person before anything else, the first time."""
        known = {
            "hasCompletedOnboarding": True,
            "theme": "dark",
            "customApiKeyResponses": {"approved": [KEY], "rejected": []},
            "projects": {str(self.project): {"hasTrustDialogAccepted": True, "hasCompletedProjectOnboarding": True}},
        }
        (self.configuration / ".claude.json").write_text(json.dumps(known))

    async def make_repository(self) -> None:
        """Let the project be a git repository with a commit: worktrees need one."""
        for arguments in (["init"], ["commit", "--allow-empty", "--message", "Begin"]):
            command = ["git", *arguments, "--quiet"]
            await asyncio.to_thread(subprocess.run, command, cwd=self.project, env=self.environment | _GIT, check=True)

    def transcripts(self) -> list[Path]:
        """Return the transcripts of sessions, and of sub-agents below them."""
        return sorted(self.projects.rglob("*.jsonl"))

    async def ends_turns(self, count: int) -> None:
        """Wait until this many turns of a person at a terminal have ended, with the hooks that ran at their end."""
        async with asyncio.timeout(SECONDS):
            while sum(path.read_bytes().count(b'"subtype":"turn_duration"') for path in self.transcripts()) < count:
                await asyncio.sleep(0.02)
