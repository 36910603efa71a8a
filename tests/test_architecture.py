"""The shape of the package: ARCHITECTURE.md says it, .importlinter and these tests hold it."""

import ast
import subprocess
import sys
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import grimp
import pytest
from importlinter import api

ROOT = Path(__file__).parent.parent
PACKAGE = ROOT / "src" / "session_db"
MODULES = sorted(path.relative_to(PACKAGE) for path in PACKAGE.rglob("*.py"))
# Started by path, without the packages that are installed: so they stay in one piece.
SCRIPTS = ["capture/hook.py", "database/embedded/supervisor.py"]

CONTRACTS = {contract["id"]: contract for contract in api.read_configuration(str(ROOT / ".importlinter"))["contracts_options"]}


def test_every_import_contract_is_kept() -> None:
    lint = Path(sys.executable).with_name("lint-imports")
    done = subprocess.run([lint, "--no-logo", "--no-cache"], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_no_module_is_in_an_import_cycle() -> None:
    """The contract compares packages; a package and its own ``__init__`` may be in a knot as well."""
    graph = grimp.build_graph("session_db", cache_dir=None)
    try:
        TopologicalSorter({module: graph.find_modules_directly_imported_by(module) for module in graph.modules}).prepare()
    except CycleError as error:
        pytest.fail(" -> ".join(error.args[1]))


def test_every_layer_from_crud_down_is_held_to_know_no_framework() -> None:
    layers = [name.strip("()") for line in CONTRACTS["layers"]["layers"] for name in line.split(" | ")]
    existing = {path.parts[0].removesuffix(".py") for path in MODULES}
    below = {f"session_db.{name}" for name in layers[layers.index("crud") :] if name in existing}
    assert set(CONTRACTS["frameworks"]["source_modules"]) == below


@pytest.mark.parametrize("script", SCRIPTS)
def test_a_script_imports_the_standard_library_only(script: str) -> None:
    imports = [node for node in ast.walk(ast.parse((PACKAGE / script).read_text())) if isinstance(node, ast.Import | ast.ImportFrom)]
    names = {name for node in imports for name in ([node.module] if isinstance(node, ast.ImportFrom) else [a.name for a in node.names])}
    assert {name.partition(".")[0] for name in names if name} <= sys.stdlib_module_names


def test_what_two_layers_need_has_a_name() -> None:
    nameless = {"common", "core", "helper", "helpers", "service", "services", "util", "utils"}
    assert [str(path) for path in MODULES if nameless & {*path.with_suffix("").parts}] == []


def test_a_noun_has_the_same_file_name_in_crud_as_in_models() -> None:
    def names(layer: str) -> set[str]:
        return {path.stem for path in MODULES if path.parent == Path(layer)}

    of_no_noun = {
        "adopting", "cleaning", "counters", "erasing", "idempotency", "leftovers", "listing", "locking", "paging", "reaping", "rows",
        "search_rows", "search_text", "showing", "workflow", "workspaces",
    }  # fmt: skip  # fmt: skip
    assert names("crud") - names("models") <= of_no_noun


def test_every_module_is_short_enough_to_be_read() -> None:
    lengths = {str(path): len((PACKAGE / path).read_text().splitlines()) for path in MODULES if "versions" not in path.parts}
    assert [path for path, length in lengths.items() if length > 400 and path not in SCRIPTS] == []
