"""The command line as a user starts it, on a run small enough for a test."""

import subprocess
import sys
import time
from pathlib import Path

from rdistill.run import RunFolder

ITEMS = 8
SMALL = [
    "prompts.sources.0.size=30",
    "prompts.dev_fraction=0",
    "sft.epochs=1",
    "dpo.epochs=1",
    f"evaluate.limit={ITEMS}",
    "evaluate.max_tokens={explain: 48, direct: 16}",
]


def rdistill(*arguments: str, timeout_s: float = 800, **options: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "rdistill.cli", *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=timeout_s, check=False, **options)  # type: ignore[call-overload]


def again(run: RunFolder, checkout: Path, *overrides: str, until: str | None = None) -> tuple[list[str], float]:
    """Run once more; the stages that ran, and the seconds it took."""
    started = time.monotonic()
    until_option = ["--until", until] if until else []
    arguments = ["run", str(checkout / "configs/quickstart.yaml"), *SMALL, *overrides, *until_option]
    done = rdistill(*arguments, "--run-dir", str(run.root))
    assert done.returncode == 0, done.stderr[-3000:]
    ran = [line.split()[0] for line in done.stderr.splitlines() if " starts: " in line]
    return ran, time.monotonic() - started
