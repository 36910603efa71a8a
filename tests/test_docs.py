"""Every example in README.md and docs/ runs, and what they quote is what is printed."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from session_db.cli.app import app
from tests.databases import Database

ROOT = Path(__file__).parents[1]
DOCUMENTS = [ROOT / "README.md", ROOT / "ARCHITECTURE.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))]
COMMAND = Path(sys.executable).with_name("session-db")


def blocks(language: str) -> list[tuple[str, str]]:
    """Return the code blocks of all documents, each with its place."""
    pattern = re.compile(rf"^```{language}\n(.*?)^```$", re.MULTILINE | re.DOTALL)
    texts = {path: path.read_text() for path in DOCUMENTS}
    found = [(path, match) for path, text in texts.items() for match in pattern.finditer(text)]
    return [(f"{path.relative_to(ROOT)}:{texts[path].count(chr(10), 0, match.start()) + 1}", match[1]) for path, match in found]


def run(command: list[str], environment: dict[str, str]) -> str:
    result = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60, check=False)
    assert result.returncode == 0, result.stderr
    return result.stdout


@pytest.mark.parametrize(("place", "program"), blocks("python"), ids=[place for place, _ in blocks("python")])
def test_python_examples_run(fresh_database: Database, place: str, program: str) -> None:
    assert run([sys.executable, "-c", program], fresh_database.environment), place


def test_the_readmes_program_is_short_and_prints_what_it_saved(fresh_database: Database) -> None:
    (program,) = [program for place, program in blocks("python") if place.startswith("README.md")]
    assert len([line for line in program.splitlines() if line.strip()]) <= 12
    assert "'content': 'Hello!'" in run([sys.executable, "-c", program], fresh_database.environment)


def test_the_readme_shows_what_the_demo_prints(fresh_database: Database) -> None:
    printed = run([str(COMMAND), "demo"], fresh_database.environment | {"COLUMNS": "80"})
    (shown,) = [text for place, text in blocks("text") if place.startswith("README.md")]
    assert [line.rstrip() for line in shown.splitlines()] == [line.rstrip() for line in printed.splitlines()]


def test_quoted_commands_exist() -> None:
    mentioned = {
        tuple(word for word in match.split() if re.fullmatch(r"[a-z]+", word))
        for path in DOCUMENTS
        for match in re.findall(r"`session-db ([a-z][a-z ]*)", path.read_text())
    }
    assert ("import",) in mentioned
    for words in sorted(mentioned):
        assert CliRunner().invoke(app, [*words, "--help"]).exit_code == 0, words


@pytest.mark.parametrize("path", DOCUMENTS, ids=[str(path.relative_to(ROOT)) for path in DOCUMENTS])
def test_links_lead_somewhere(path: Path) -> None:
    for target in re.findall(r"\]\(([^)#]+)[^)]*\)", path.read_text()):
        assert target.startswith("https://") or Path(os.path.normpath(path.parent / target)).exists(), target
