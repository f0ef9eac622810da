"""Kill a training again and again, while it trains and while it saves, and compare it with one that nobody killed.

    python benchmarks/kill_train.py --kills 20 --json

A tiny student (two layers, float32, one rank) is trained by the sft stage as users run it, with a checkpoint every two
steps. A life is a process that goes on where the one before was killed. Each must resume from the newest sealed
checkpoint; when the training is done, its curve and its model must equal the unkilled ones bit for bit, and another
training begins, until there were enough kills. Then each file of a real checkpoint is deleted, cut and bit-flipped:
every time the one before must be chosen, with a warning.
Lives are forked from one process that has imported the libraries, which saves half a minute of imports each.
Prints {"kills", "kills_while_saving", "resumed", "wrong_resumes", "trainings", "identical", "damaged", ...};
exits 1 on any difference.
"""

import argparse
import contextlib
import io
import json
import os
import random
import shutil
import signal
import sys
import tempfile
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

os.environ["OMP_NUM_THREADS"] = "1"  # the work is tiny, and threads that wait for each other would be most of it
ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "tests" / "train")]

from tqdm import tqdm  # noqa: E402
from train_helpers import make_run  # noqa: E402

from rdistill.run import RunFolder  # noqa: E402
from rdistill.train import checkpoint as checkpoints  # noqa: E402
from rdistill.train import sft  # noqa: E402

ROWS, BATCH, SAVE_EVERY = 12, 4, 2
TIMINGS = {"seconds", "tokens_per_s"}


@dataclass
class Found:
    """What was counted so far."""

    kills: int = 0
    kills_while_saving: int = 0
    resumed: int = 0
    from_step_0: int = 0
    """Lives that found no checkpoint yet."""
    after_the_end: int = 0
    """Lives that found the result written, and its checkpoints there or half removed."""
    wrong_resumes: list[str] = field(default_factory=list)
    trainings: int = 0
    differing: int = 0


def renew_locks(kind: type[tqdm]) -> None:
    """tqdm's own lock is shared by forks, and a killed life never gives it back; each subclass may hold it, too."""
    kind.set_lock(threading.RLock())
    for narrower in kind.__subclasses__():
        renew_locks(narrower)


def live(config: Path, steps: int) -> int:
    """Fork a process that trains (or goes on training) the run; returns its id."""
    (config.parent / "life.log").write_text("")
    pid = os.fork()
    if pid:
        return pid
    code = 1
    renew_locks(tqdm)
    try:
        with (config.parent / "life.log").open("a", buffering=1) as log:
            os.dup2(log.fileno(), 1)
            os.dup2(log.fileno(), 2)
        overrides = [f"sft.batch_size={BATCH}", f"sft.micro_batch_size={BATCH}", f"sft.epochs={steps * BATCH / ROWS}"]
        fixed = ["sft.dtype=float32", "sft.log_every=1", "sft.ranks=1", f"sft.save_every={SAVE_EVERY}"]
        code = sft.main([str(config), *overrides, *fixed])
    finally:
        os._exit(code)


def ended(pid: int) -> bool:
    """Whether the process is over; raises SystemExit if it failed by itself."""
    found, status = os.waitpid(pid, os.WNOHANG)
    if found and status:
        raise SystemExit(f"a life ended by itself with status {status}; see its log")
    return bool(found)


def newest(run: RunFolder) -> int | None:
    """Step of the newest sealed checkpoint; 0 without any, None where the training is over."""
    if run.read_result("sft"):
        run.result("sft").unlink()
        return None
    folder = run.stage("sft") / "checkpoints"
    return max((int(p.name[5:]) for p in folder.glob("step-*") if p.name[5:].isdigit()), default=0)


def resumed_from(log: Path) -> int:
    """Step that a life said to go on after; 0 if it started anew."""
    words = next((x for x in log.read_text().splitlines() if x.startswith("training goes on after step ")), "")
    return int(words.split()[5].strip(",")) if words else 0


def lines_of(path: Path) -> list[str]:
    return path.read_text().splitlines() if path.exists() else []


def kill_once(config: Path, run: RunFolder, steps: int, dice: random.Random, found: Found) -> bool:
    """One life, killed at a random instant; returns False if it reached its end first."""
    expected = newest(run)
    pid = live(config, steps)
    # Mostly some steps and a moment after it began to train, sometimes at any time from the very start.
    wanted, began = dice.randint(1, 5), time.monotonic()
    after_s = dice.uniform(0, 5) if dice.random() < 0.1 else 300.0
    log = config.parent / "life.log"
    while time.monotonic() - began < after_s and sum("rdistill-progress" in x for x in lines_of(log)) < wanted:
        if ended(pid):
            return False
        time.sleep(0.002)
    time.sleep(dice.uniform(0, 0.15))
    if ended(pid):
        return False
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)
    unfinished = list((run.stage("sft") / "checkpoints").glob("checkpoint-*"))
    found.kills += 1
    found.kills_while_saving += bool(unfinished)
    if any("rdistill-progress" in x for x in lines_of(log)):
        judge_resume(expected, resumed_from(log), found)
    return True


def judge_resume(expected: int | None, actual: int, found: Found) -> None:
    """Count where a life went on; `expected` is None after a life that was killed when its training was over."""
    if expected is None:
        found.after_the_end += 1
        return
    found.resumed += actual > 0
    found.from_step_0 += actual == 0
    if actual != expected:
        found.wrong_resumes.append(f"after step {actual}, expected {expected}")


def train_through(config: Path, run: RunFolder, steps: int, found: Found) -> None:
    """One life to the end."""
    expected, pid = newest(run), live(config, steps)
    _, status = os.waitpid(pid, 0)
    if status:
        raise SystemExit(f"training failed: {(config.parent / 'life.log').read_text()[-2000:]}")
    judge_resume(expected, resumed_from(config.parent / "life.log"), found)


def outcome(run: RunFolder) -> tuple[list[dict[str, Any]], bytes]:
    """The curve without timings, and the model's bytes."""
    curve = [json.loads(line) for line in run.metrics("sft").read_text().splitlines()]
    weights = (run.model("sft") / "model.safetensors").read_bytes()
    return [{k: v for k, v in line.items() if k not in TIMINGS} for line in curve], weights


def damage_each_file(checkpoint: Path, before: Path, identity: str, folder: Path) -> dict[str, int]:
    """Delete, cut and bit-flip each file of a checkpoint in turn; counts those after which the one before is chosen."""
    cases = fell_back = 0
    for name in sorted(str(p.relative_to(checkpoint)) for p in checkpoint.rglob("*") if p.is_file()):
        for harm in ("delete", "cut", "flip"):
            shutil.rmtree(folder, ignore_errors=True)
            for source in (before, checkpoint):
                shutil.copytree(source, folder / source.name)
            victim = folder / checkpoint.name / name
            data = bytearray(victim.read_bytes())
            if harm == "flip":
                data[len(data) // 2] ^= 1
            victim.write_bytes(data if harm == "flip" else data[: len(data) // 2])
            if harm == "delete":
                victim.unlink()
            said = io.StringIO()
            with contextlib.redirect_stderr(said), contextlib.redirect_stdout(io.StringIO()):
                chosen = checkpoints.newest_whole(folder, identity)
            cases += 1
            fell_back += chosen == folder / before.name and "is damaged" in said.getvalue()
    return {"damaged": cases, "fell_back": fell_back}


def keep_two(run: RunFolder, folder: Path) -> tuple[Path, Path] | None:
    """Copies of two sealed checkpoints of a training that is not over yet, newest first."""
    sealed = sorted((run.stage("sft") / "checkpoints").glob("step-*"), key=lambda p: int(p.name[5:]), reverse=True)[:2]
    if len(sealed) < 2 or any(p.suffix for p in sealed):
        return None
    shutil.rmtree(folder, ignore_errors=True)
    copies = [Path(shutil.copytree(p, folder / p.name)) for p in sealed]
    return copies[0], copies[1]


def benchmark(kills: int, minutes: float, steps: int, seed: int, folder: Path) -> dict[str, Any]:
    dice, found, began = random.Random(seed), Found(), time.monotonic()
    config = make_run(folder / "run", rows=ROWS)
    run, pair = RunFolder(folder / "run"), None
    train_through(config, run, steps, found)
    unkilled, unkilled_s = outcome(run), time.monotonic() - began
    while found.kills < kills and time.monotonic() - began < 60 * minutes:
        shutil.rmtree(run.stage("sft"))
        shutil.rmtree(run.model("sft"))
        ran_out = False
        while not ran_out and found.kills < kills and time.monotonic() - began < 60 * minutes:
            ran_out = not kill_once(config, run, steps, dice, found)
            pair = pair or keep_two(run, folder / "pair")
        if not ran_out:
            train_through(config, run, steps, found)
        found.trainings += 1
        found.differing += outcome(run) != unkilled
    identity = checkpoints.validate(pair[0])["identity"] if pair else ""
    damage = damage_each_file(*pair, identity, folder / "damaged") if pair else {"damaged": 0, "fell_back": 0}
    return {
        **{k: v for k, v in vars(found).items() if k != "differing"},
        "identical": found.trainings - found.differing,
        **damage,
        "steps": steps,
        "seconds_unkilled": round(unkilled_s, 1),
        "seconds": round(time.monotonic() - began, 1),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--minutes", type=float, default=60, help="stop killing after so long")
    parser.add_argument("--steps", type=int, default=30, help="of each training")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        found = benchmark(arguments.kills, arguments.minutes, arguments.steps, arguments.seed, Path(folder))
    print(json.dumps(found) if arguments.json else "\n".join(f"{k:<18} {v}" for k, v in found.items()))
    is_good = found["kills"] and found["identical"] == found["trainings"] and not found["wrong_resumes"]
    sys.exit(0 if is_good and found["damaged"] and found["fell_back"] == found["damaged"] else 1)


if __name__ == "__main__":
    main()
