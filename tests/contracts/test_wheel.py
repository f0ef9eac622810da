"""The wheel holds rdistill, all of it, and nothing else at top level."""

import shutil
import subprocess
import sys
import zipfile
from configparser import ConfigParser
from pathlib import Path

import pytest

SOURCES = ["rdistill", "verifiers", "pyproject.toml", "README.md", "LICENSE"]


@pytest.fixture(scope="module")
def wheel(checkout: Path, tmp_path_factory: pytest.TempPathFactory) -> zipfile.ZipFile:
    """The wheel, built from a copy (the checkout stays clean) with what is installed (no network)."""
    folder = tmp_path_factory.mktemp("wheel")
    for name in SOURCES:
        source = checkout / name
        if source.is_dir():
            shutil.copytree(source, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(source, folder / name)
    command = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", "dist", "."]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    (path,) = (folder / "dist").glob("*.whl")
    return zipfile.ZipFile(path)


def data_files(folder: Path) -> set[str]:
    """Files of a source folder that the wheel must hold, relative to it."""
    files = (p for p in folder.rglob("*") if p.is_file() and "__pycache__" not in p.parts)
    return {
        p.relative_to(folder).as_posix() for p in files if p.suffix in {".py", ".jsonl", ".md", ".html", ".j2", ".css"}
    }


def test_only_top_level_name_is_rdistill(wheel: zipfile.ZipFile) -> None:
    tops = {name.split("/")[0] for name in wheel.namelist()}
    assert {t for t in tops if not t.endswith(".dist-info")} == {"rdistill"}


def test_every_file_of_the_library_is_inside(wheel: zipfile.ZipFile, checkout: Path) -> None:
    expected = {f"rdistill/{name}" for name in data_files(checkout / "rdistill")}
    missing = sorted(expected - set(wheel.namelist()))
    assert not missing, f"not in the wheel: {missing}; list their packages in pyproject.toml, [tool.setuptools]"


def test_every_verifier_is_inside_with_its_cases(wheel: zipfile.ZipFile, checkout: Path) -> None:
    expected = {f"rdistill/verifiers/{name}" for name in data_files(checkout / "verifiers") if "/" in name}
    missing = sorted(expected - set(wheel.namelist()))
    assert not missing, f"not in the wheel: {missing}; list the verifiers in pyproject.toml (packages and package-dir)"
    for folder in (p for p in (checkout / "verifiers").iterdir() if p.is_dir() and p.name != "__pycache__"):
        assert {"__init__.py", "README.md", "cases.jsonl"} <= {p.name for p in folder.iterdir()}, folder


def test_verifiers_folder_is_no_package(checkout: Path) -> None:
    """An __init__.py there would hide PyPI's `verifiers` for whoever runs from the checkout."""
    assert not (checkout / "verifiers" / "__init__.py").exists()
    assert not (checkout / "pipelines" / "__init__.py").exists()


def test_entry_points_name_every_verifier(wheel: zipfile.ZipFile, checkout: Path) -> None:
    (name,) = (n for n in wheel.namelist() if n.endswith("entry_points.txt"))
    entries = ConfigParser()
    entries.read_string(wheel.read(name).decode())
    folders = {p.name for p in (checkout / "verifiers").iterdir() if p.is_dir() and p.name != "__pycache__"}
    assert folders == set(entries["rdistill.verifiers"])
    assert entries["console_scripts"]["rdistill"] == "rdistill.cli:main"
