"""Starting a training stage: `deepspeed --module rdistill.train.sft RUN/config.yaml` with as many ranks as fit.

The ranks' output goes to the attempt's log; their progress becomes a bar. They end with this process: on an error or
Ctrl-C they are killed as a group, and if this process is killed they see their standard input close.
"""

import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path
from typing import IO, Any

from rdistill import errors
from rdistill.config import Config, TrainConfig
from rdistill.errors import RdistillError, TrainError
from rdistill.process import child_environment, find_openmp, find_tcmalloc, last_error_line
from rdistill.progress import bar
from rdistill.run import RunFolder
from rdistill.train.progress import parse_progress
from rdistill.train.rank import WATCH_STDIN, free_port

GRACE_S = 10.0


def launch(stage: str, run: RunFolder, config: Config) -> None:
    """Run a training stage (`sft` or `dpo`) to its end.

    Raises: TrainError (or the error that a rank named) with the last meaningful line of the log.
    """
    settings: TrainConfig = getattr(config, stage)
    log_path = _log_folder(run) / f"{stage}.log"
    gpus = count_gpus()
    ranks = settings.ranks or default_ranks(gpus)
    command = deepspeed_command(
        stage, run.config, ranks, on_gpu=gpus > 0, overrides=[f"run_dir={json.dumps(str(run.root))}"]
    )
    environment = child_environment({WATCH_STDIN: "1"} | ({} if gpus else {"DS_ACCELERATOR": "cpu"}))
    run.stage(stage).mkdir(parents=True, exist_ok=True)
    with log_path.open("w", buffering=1) as log:
        for line in hardware_notes(ranks, on_gpu=gpus > 0):
            print(line, file=log)
        print(" ".join(command), file=log)
        with _group(command, environment) as process:
            _follow(stage, process, log)
            code = process.wait()
    if code != 0 or not run.read_result(stage):
        raise failure(stage, code, log_path)


def deepspeed_command(
    stage: str, config_path: Path, ranks: int, *, on_gpu: bool, overrides: list[str] | None = None
) -> list[str]:
    """The command line that starts every rank on this machine."""
    bind = ["--bind_cores_to_rank"] if not on_gpu and ranks > 1 and can_bind() else []
    return [
        *(sys.executable, "-m", "deepspeed.launcher.runner"),
        *("--num_accelerators", str(ranks), "--master_port", str(free_port()), *bind),
        *("--module", f"rdistill.train.{stage}", str(config_path), *(overrides or [])),
    ]


def count_gpus() -> int:
    if version("torch").endswith("+cpu"):
        return 0  # torch itself would take seconds to say so

    import torch

    return torch.cuda.device_count() if torch.cuda.is_available() else 0


def default_ranks(gpus: int) -> int:
    """One rank per GPU; on CPU two where there are two cores.

    Measured on 2 cores with the 135M student: two ranks of one core train 25 % faster than one rank of two.
    """
    import psutil

    return gpus or min(2, psutil.cpu_count(logical=False) or 1)


def can_bind() -> bool:
    """Whether numactl is installed and allowed to bind memory and cores here (containers may forbid it)."""
    if not shutil.which("numactl"):
        return False
    return subprocess.run(["numactl", "-m", "0", "-C", "0", "true"], capture_output=True, check=False).returncode == 0


def hardware_notes(ranks: int, *, on_gpu: bool) -> list[str]:
    """What was found and what is missing, for the head of the log."""
    if on_gpu:
        return [f"{ranks} ranks, one per GPU"]
    found = {"tcmalloc": find_tcmalloc(), "Intel OpenMP": find_openmp()}
    notes = [f"{k}: {v or 'not found; training on CPU is slower without it'}" for k, v in found.items()]
    if ranks > 1 and not can_bind():
        notes.append("numactl: missing or not permitted; ranks are not bound to cores")
    return [f"{ranks} ranks on CPU", *notes]


def failure(stage: str, code: int, log_path: Path) -> RdistillError:
    """The error that a rank named in its log, as that error; else a TrainError with the last line that names one."""
    for line in log_path.read_text(errors="replace").splitlines():
        name, colon, message = line.partition(": ")
        kind = getattr(errors, name, None) if colon and name.isidentifier() else None
        if isinstance(kind, type) and issubclass(kind, RdistillError):
            return kind(message)
    line = last_error_line(log_path, f"the ranks ended with exit code {code}")
    return TrainError(f"{stage} failed: {line}; the whole output is in {log_path}")


def _log_folder(run: RunFolder) -> Path:
    latest = run.logs / "latest"
    return latest.resolve() if latest.is_dir() else run.new_attempt()


def _follow(stage: str, process: "subprocess.Popen[str]", log: IO[str]) -> None:
    """Copy the ranks' output to the log; turn progress lines into a bar."""
    assert process.stdout is not None
    lines = iter(process.stdout)
    first = _next_progress(lines, log)
    if first is None:
        return
    with bar(stage, first["steps"], "steps") as update:
        _show(update, first)
        while (seen := _next_progress(lines, log)) is not None:
            _show(update, seen)


def _next_progress(lines: Iterator[str], log: IO[str]) -> dict[str, Any] | None:
    """The next progress line; everything before it goes to the log. None at the end of the output."""
    for line in lines:
        log.write(line)
        if (seen := parse_progress(line)) is not None:
            return seen
    return None


def _show(update: Callable[[int, str], None], seen: dict[str, Any]) -> None:
    update(seen["step"], f"loss {seen['loss']:.3f}, {seen['tokens_per_s']:.0f} tokens/s")


@contextmanager
def _group(command: list[str], environment: dict[str, str]) -> Iterator["subprocess.Popen[str]"]:
    """A child in its own process group, which is gone when the block is left."""
    process = subprocess.Popen(
        command,
        env=environment,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        start_new_session=True,
    )
    try:
        yield process
    finally:
        _end(process)


def _end(process: "subprocess.Popen[str]") -> None:
    """Ask the group to end, then insist."""
    for number in (signal.SIGTERM, signal.SIGKILL):
        try:
            os.killpg(process.pid, number)
        except ProcessLookupError:
            break
        try:
            process.wait(GRACE_S)
        except subprocess.TimeoutExpired:
            continue
    for pipe in (process.stdin, process.stdout):
        if pipe is not None:
            pipe.close()
    process.wait()
