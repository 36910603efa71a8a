"""What every file of the checkout has to keep, whatever it is about."""

import re
import shutil
import subprocess
import tomllib
from pathlib import Path
from typing import Any

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parent.parent
PYPROJECT_TEXT = (ROOT / "pyproject.toml").read_text()
PYPROJECT: dict[str, Any] = tomllib.loads(PYPROJECT_TEXT)
MAKEFILE = (ROOT / "Makefile").read_text()
# Written in halves, or this file would be found.
REGISTRIES = [f"{name}.{domain}" for name, domain in [("pypi", "org"), ("pythonhosted", "org"), ("npmjs", "org"), ("debian", "org")]]


def run(*command: str) -> str:
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout


def git(*arguments: str) -> str:
    # git would refuse root the checkout of somebody else.
    return run("git", "-c", "safe.directory=*", *arguments)


@pytest.fixture(scope="module")
def texts() -> dict[str, str]:
    """Every file that git tracks or would track, as text."""
    if not (ROOT / ".git").exists() or shutil.which("git") is None:
        pytest.skip("not a git checkout")
    names = git("ls-files", "-z", "--cached", "--others", "--exclude-standard").split("\0")
    return {name: (ROOT / name).read_text(errors="replace") for name in names if name and (ROOT / name).is_file()}


def pins(text: str) -> dict[str, Requirement]:
    found = [Requirement(line) for line in re.findall(r"^[a-zA-Z0-9][^\\\n]*", text, re.MULTILINE)]
    return {canonicalize_name(requirement.name): requirement for requirement in found}


class TestFiles:
    def test_none_names_a_package_registry(self, texts: dict[str, str]) -> None:
        assert [(name, host) for name, text in texts.items() for host in REGISTRIES if host in text] == []

    def test_none_names_the_place_of_this_checkout(self, texts: dict[str, str]) -> None:
        assert len(ROOT.parts) > 2, f"move the checkout: {ROOT} is too short a path to look for"
        assert [name for name, text in texts.items() if re.search(re.escape(str(ROOT)) + r"(?![\w-])", text)] == []

    def test_uv_lock_is_ignored(self, texts: dict[str, str]) -> None:
        assert "uv.lock" not in texts
        assert git("check-ignore", "uv.lock").strip() == "uv.lock"


class TestRuff:
    def test_every_ignored_rule_has_its_reason(self) -> None:
        section = PYPROJECT_TEXT.partition("[tool.ruff.lint]")[2].partition("[tool.ruff.lint.pydocstyle]")[0]
        ignored = re.findall(r'^ +"([A-Z]+[0-9]*)",(.*)$', section, re.MULTILINE)
        lint = PYPROJECT["tool"]["ruff"]["lint"]
        everywhere = [lint["ignore"], *lint["per-file-ignores"].values()]
        assert sorted(rule for rule, _ in ignored) == sorted(rule for rules in everywhere for rule in rules)
        assert [rule for rule, reason in ignored if not re.fullmatch(r" *# .+\.", reason)] == []


class TestPins:
    def test_every_direct_dependency_is_pinned_to_a_version_it_allows(self) -> None:
        locked = pins((ROOT / "requirements.lock").read_text())
        for text in [*PYPROJECT["project"]["dependencies"], *PYPROJECT["dependency-groups"]["dev"]]:
            wanted = Requirement(text)
            pin = locked[canonicalize_name(wanted.name)]
            assert wanted.specifier.contains(next(iter(pin.specifier)).version), f"{pin} is not {wanted}: make lock"

    def test_uv_run_gets_the_same_versions(self) -> None:
        constraints = pins("\n".join(PYPROJECT["tool"]["uv"]["constraint-dependencies"]))
        assert constraints == pins((ROOT / "requirements.lock").read_text())

    def test_the_pinned_uv_builds_the_package_itself(self) -> None:
        backend = Requirement(PYPROJECT["build-system"]["requires"][0])
        uv = pins((ROOT / "requirements-uv.txt").read_text())["uv"]
        assert backend.specifier.contains(next(iter(uv.specifier)).version)


class TestMake:
    def test_help_tells_every_verb(self) -> None:
        verbs = {verb for line in re.findall(r"^\.PHONY: (help .*)$", MAKEFILE, re.MULTILINE) for verb in line.split()}
        assert verbs >= {"demo", "test", "check", "docs"}
        assert set(re.findall(r"^  make (\S+)  +\S", run("make", "help"), re.MULTILINE)) == verbs
