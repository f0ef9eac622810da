"""Kill `rdistill generate` again and again, finish it, and compare with a run that nobody killed.

    python benchmarks/kill_generate.py --kills 20 --json

The teacher is a local OpenAI-compatible server whose replies follow from what it is asked (tests/scripted.py), so both
runs must end with the same rows. Timings (a sample's milliseconds, a verdict's seconds) are left out of the comparison.
Prints {"kills", "lost", "duplicated", "identical", "repeated_requests", "allowed_repeats", ...}; exits 1 on any loss.
"""

import argparse
import contextlib
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "tests")]

from scripted import Endpoint  # noqa: E402

from rdistill.ledger import Ledger, row_key  # noqa: E402
from rdistill.records import Example, Pair, Record, Sample, Verdict  # noqa: E402
from rdistill.run import RunFolder  # noqa: E402

CONCURRENCY = 16
KINDS: tuple[type[Record], ...] = (Sample, Verdict, Example, Pair)
CONFIG = """
name: kill
prompts:
  sources: [{{path: problems.jsonl, fields: {{prompt: question, gold: answer}}}}]
  dev_fraction: 0
  test_fraction: 0.1
  near_duplicate: 1
teacher: {{engine: openai, model: scripted, base_url: "{url}", concurrency: {concurrency}, timeout_s: 60}}
verify: {{verifiers: [{{name: math}}, {{name: format}}], timeout_s: 60, workers: 1}}
student: {{model: "bundled:smollm2-135m-instruct"}}
"""


def write_inputs(folder: Path, url: str, problems: int) -> Path:
    rows = [
        {"question": f"Case {n}: what is {n * 7 % 89} + {n * 13 % 97}?", "answer": str(n * 7 % 89 + n * 13 % 97)}
        for n in range(problems)
    ]
    (folder / "problems.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    config = folder / "kill.yaml"
    config.write_text(CONFIG.format(url=url, concurrency=CONCURRENCY))
    return config


def start(command: str, config: Path, run_dir: Path, *options: str) -> subprocess.Popen:
    arguments = [sys.executable, "-m", "rdistill.cli", command, str(config), "--run-dir", str(run_dir), *options]
    return subprocess.Popen(arguments, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)


def finish(command: str, config: Path, run_dir: Path, *options: str) -> None:
    process = start(command, config, run_dir, *options)
    _, said = process.communicate()
    if process.returncode:
        raise SystemExit(f"{command} ended with {process.returncode}: {said}")


def kill_once(config: Path, run_dir: Path, endpoint: Endpoint, dice: random.Random, share: float) -> bool:
    """Start generate and kill it after some requests, or some seconds; returns whether it was still alive."""
    before, started = endpoint.requests, time.monotonic()
    after_requests = before + dice.randint(1, max(2, int(share)))
    after_s = dice.uniform(0, 3) if dice.random() < 0.2 else 60.0
    process = start("generate", config, run_dir)
    while process.poll() is None and endpoint.requests < after_requests and time.monotonic() - started < after_s:
        time.sleep(0.002)
    time.sleep(dice.uniform(0, 0.03))
    alive = process.poll() is None
    if alive:
        children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
        # Either the command itself dies, and the stage's process with it, or that process alone.
        victim = int(children[0]) if children and dice.random() < 0.5 else process.pid
        with contextlib.suppress(ProcessLookupError):
            os.kill(victim, signal.SIGKILL)
    process.communicate()
    return alive


def table(run: RunFolder, kind: type[Record]) -> dict[str, Any]:
    """A table's rows by key, without timings."""
    rows: dict[str, Any] = {}
    for record in Ledger(run.ledger, read_only=True).rows(kind):
        row = record.model_dump(mode="json")
        row.pop("seconds", None)
        row.get("usage", {}).pop("milliseconds", None)
        rows[row_key(record)] = row
    return rows


def compare(whole: RunFolder, killed: RunFolder) -> dict[str, Any]:
    lost = duplicated = 0
    identical = True
    rows = {}
    for kind in KINDS:
        expected, found = table(whole, kind), table(killed, kind)
        rows[f"{kind.__name__.lower()}s"] = len(found)
        lost += len(expected.keys() - found.keys())
        duplicated += len(found.keys() - expected.keys())
        identical &= expected == found
    places = [(s["problem_id"], s["role"], s["sampling"]["index"]) for s in table(killed, Sample).values()]
    duplicated += len(places) - len(set(places))
    for name in ("sft_data", "pairs_data"):
        identical &= getattr(whole, name).read_bytes() == getattr(killed, name).read_bytes()
    return {"lost": lost, "duplicated": duplicated, "identical": identical and all(rows.values()), **rows}


def benchmark(kills: int, problems: int, seed: int, folder: Path) -> dict[str, Any]:
    dice = random.Random(seed)
    with Endpoint(latency_s=0.04) as endpoint:
        config = write_inputs(folder, endpoint.url, problems)
        whole, killed = RunFolder(folder / "whole"), RunFolder(folder / "killed")
        finish("run", config, whole.root, "--until", "pair")
        needed, endpoint.asked = sum(endpoint.asked.values()), {}
        done = misses = 0
        while done < kills and misses < 3:
            left = needed - len(endpoint.asked)
            hit = kill_once(config, killed.root, endpoint, dice, 2 * left / (kills - done + 1))
            done, misses = done + hit, misses + (not hit)
        finish("run", config, killed.root, "--until", "pair")
        asked = sum(endpoint.asked.values())
        return {
            "kills": done,
            **compare(whole, killed),
            "requests_unkilled": needed,
            "requests_killed": asked,
            "repeated_requests": asked - len(endpoint.asked),
            "allowed_repeats": done * CONCURRENCY,
        }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--problems", type=int, default=120)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        found = benchmark(arguments.kills, arguments.problems, arguments.seed, Path(folder))
    print(json.dumps(found) if arguments.json else "\n".join(f"{k:<18} {v}" for k, v in found.items()))
    is_good = found["identical"] and not found["lost"] + found["duplicated"] and found["kills"] == arguments.kills
    sys.exit(0 if is_good and found["repeated_requests"] <= found["allowed_repeats"] else 1)


if __name__ == "__main__":
    main()
