"""What the library imports is declared, and what starts fast stays free of what starts slowly."""

import ast
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

HEAVY = ("torch", "transformers", "vllm", "trl", "deepspeed", "datasets", "sympy", "math_verify")


def imports(folder: Path) -> Iterator[tuple[str, Path]]:
    """Top-level names of the absolute imports of every module below a folder, lazy ones included."""
    for path in folder.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import):
                yield from ((alias.name.partition(".")[0], path) for alias in node.names)
            elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
                yield node.module.partition(".")[0], path


def test_every_import_is_declared(checkout: Path) -> None:
    project = tomllib.loads((checkout / "pyproject.toml").read_text())["project"]
    lines = project["dependencies"] + [r for extra in project["optional-dependencies"].values() for r in extra]
    declared = {canonicalize_name(Requirement(line).name) for line in lines}
    owners = metadata.packages_distributions()
    undeclared = {
        f"{path.relative_to(checkout)}: {name}"
        for folder in ("rdistill", "verifiers", "pipelines")
        for name, path in imports(checkout / folder)
        if name not in sys.stdlib_module_names | {"rdistill", "seccomp"}
        and not declared & {canonicalize_name(owner) for owner in owners.get(name, [name])}
    }
    assert not undeclared, f"declare these in pyproject.toml: {sorted(undeclared)}"


def test_command_line_starts_without_heavy_packages() -> None:
    code = f"import rdistill.cli, sys; print(sorted(set(sys.modules) & set({HEAVY!r})))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_library_imports_neither_scripts_nor_tests(checkout: Path) -> None:
    for folder in ("rdistill", "verifiers"):
        found = {
            f"{p}: {name}" for name, p in imports(checkout / folder) if name in ("pipelines", "tests", "verifiers")
        }
        assert not found
