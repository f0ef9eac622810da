"""A SIGKILL while vLLM answers: no process stays, and no completion is asked for twice."""

import os
import signal
import sqlite3
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest
from engine_helpers import SMALL, again

from rdistill.run import RunFolder

pytestmark = [pytest.mark.engine, pytest.mark.timeout(900)]
FEW = ["prompts.sources.0.size=16"]


def test_killed_generation_leaves_no_process_and_loses_nothing(checkout: Path, tmp_path: Path) -> None:
    folder = tmp_path / "killed"
    command = [sys.executable, "-m", "rdistill.cli", "run", str(checkout / "configs/quickstart.yaml"), *SMALL, *FEW]
    environment = os.environ | {"RDISTILL_TEST_MARK": folder.as_posix()}
    process = subprocess.Popen([*command, "--run-dir", str(folder), "--until", "generate"], env=environment)
    run = RunFolder(folder)
    deadline = time.monotonic() + 300
    while completions(run) < 20:
        assert time.monotonic() < deadline and process.poll() is None
        time.sleep(0.2)
    below = psutil.Process(process.pid).children(recursive=True)
    process.send_signal(signal.SIGKILL)
    process.wait()
    before = completions(run)
    _, alive = psutil.wait_procs(below, timeout=15)
    assert below and not alive
    deadline = time.monotonic() + 15
    while left := marked_processes(folder.as_posix()):
        assert time.monotonic() < deadline, f"still there: {left}"
        time.sleep(0.5)
    again(run, checkout, *FEW, until="generate")
    result = run.read_manifest("generate")["result"]  # type: ignore[index]
    assert result["completions_reused"] >= before
    assert result["completions_asked"] + result["completions_reused"] == result["samples"]


def completions(run: RunFolder) -> int:
    if not run.ledger.exists():
        return 0
    try:
        with sqlite3.connect(f"file:{run.ledger}?mode=ro", uri=True) as db:
            return db.execute("SELECT COUNT(*) FROM generations").fetchone()[0]
    except sqlite3.OperationalError:
        return 0


def marked_processes(mark: str) -> list[str]:
    """Processes whose environment carries the mark."""
    found = []
    for path in Path("/proc").glob("[0-9]*/environ"):
        try:
            if mark.encode() in path.read_bytes() and "State:\tZ" not in (path.parent / "status").read_text():
                found.append((path.parent / "cmdline").read_bytes().replace(b"\0", b" ").decode()[:80])
        except OSError:
            continue
    return found
