"""Weak scaling of SFT: tokens a second of a rank alone, and of two ranks that each have as many rows.

    python benchmarks/weak_scaling.py --data FOLDER --model MODEL --json

Each rank has one core and 8 GSM8K rows a step. Three ways take turns: one rank on one core; two trainings side by side
that know nothing of each other, which shows what the shared memory costs; two ranks of one training with 16 rows a
step. What the third loses against the second is communication: gradients, and waiting for the slower rank.
Prints {"tokens_per_s_per_rank": {"alone", "side_by_side", "two_ranks"}, "weak_scaling", "communication_share"}.
Claim: two ranks keep at least 0.8 of a lone rank's speed each.
"""

import json
import os
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from measured import finish
from versus_trl import SKIPPED, arguments, make_run

from rdistill.process import child_environment
from rdistill.run import RunFolder
from rdistill.train.rank import free_port

CORES = sorted(os.sched_getaffinity(0))[:2]


def start(folder: Path, rank: int, ranks: int, port: int) -> subprocess.Popen[bytes]:
    """One rank on a core of its own."""
    place = {"RANK": rank, "LOCAL_RANK": rank, "WORLD_SIZE": ranks, "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port}
    threads = {"OMP_NUM_THREADS": 1, "DS_ACCELERATOR": "cpu", "RDISTILL_WATCH_STDIN": ""}
    environment = child_environment({name: str(value) for name, value in {**place, **threads}.items()})
    command = [sys.executable, "-m", "rdistill.train.sft", str(folder / "config.yaml")]
    core = CORES[rank if ranks > 1 else int(folder.name)]
    with (folder / f"rank{rank}.log").open("wb") as log:
        process = subprocess.Popen(command, env=environment, stdout=log, stderr=log)
    os.sched_setaffinity(process.pid, {core})
    return process


def speeds(folder: Path) -> list[float]:
    """Tokens a second at each step after the warm-up, all ranks together."""
    lines = [json.loads(line) for line in RunFolder(folder).metrics("sft").read_text().splitlines()]
    return [line["tokens_per_s"] for line in lines[SKIPPED:]]


def train(args: Any, *, trainings: int, ranks: int) -> float:
    """Median tokens a second of a rank, over steps and trainings."""
    with tempfile.TemporaryDirectory() as scratch:
        folders = [Path(scratch) / str(number) for number in range(trainings)]
        for folder in folders:
            make_run(folder, args, "sft", {"batch_size": 8 * ranks})
        ports = [free_port() for _ in folders]
        running = [start(f, r, ranks, port) for f, port in zip(folders, ports, strict=True) for r in range(ranks)]
        if any(process.wait() for process in running):
            raise SystemExit(f"a rank failed:\n{(folders[0] / 'rank0.log').read_text()[-3000:]}")
        return statistics.median(speed for folder in folders for speed in speeds(folder)) / ranks


def main() -> None:
    args = arguments(__doc__, ["ours"])
    if len(CORES) < 2:
        raise SystemExit("two cores are needed")
    ways = {
        "alone": {"trainings": 1, "ranks": 1},
        "side_by_side": {"trainings": 2, "ranks": 1},
        "two_ranks": {"trainings": 1, "ranks": 2},
    }
    rounds: dict[str, list[float]] = {way: [] for way in ways}
    for _ in range(args.rounds):
        for way, shape in ways.items():
            rounds[way].append(train(args, **shape))
    rates = {way: round(statistics.median(found), 1) for way, found in rounds.items()}
    found = {
        "tokens_per_s_per_rank": rates,
        "weak_scaling": round(rates["two_ranks"] / rates["alone"], 3),
        "communication_share": round(1 - rates["two_ranks"] / rates["side_by_side"], 3),
    }
    finish(found, ["weak_scaling >= 0.8"] * (found["weak_scaling"] < 0.8), as_json=args.json)


if __name__ == "__main__":
    main()
