"""What sft_vs_trl.py and dpo_vs_trl.py share: GSM8K rows in a run folder, one process for each side, their comparison.

Sides take turns on the same rows in the same order, so that a busy machine slows both alike. Each ends with one line
of JSON: {"seconds": of each step, "curve": {name: value at each step}, "peak_rss_gb"}.
"""

import argparse
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from measured import read_rows  # noqa: E402

from rdistill.process import child_environment  # noqa: E402

BATCH, SEED = 8, 0
SKIPPED = 2
"""Steps that are not timed, while memory and kernels are warmed up."""
EXACT_STEPS = 4
"""Steps in float32, where only the losses are compared."""

Side = Callable[[Path], dict[str, Any]]


def arguments(description: str, sides: Sequence[str]) -> argparse.Namespace:
    """Parse the command line of a benchmark."""
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, help="folder that holds gsm8k/train.jsonl.gz")
    parser.add_argument("--model", type=Path, help="folder of the student: SmolLM2-135M-Instruct")
    parser.add_argument("--steps", type=int, default=12, help=f"optimizer steps of {BATCH} rows")
    parser.add_argument("--rounds", type=int, default=3, help="turns of each side")
    parser.add_argument(
        "--dtype",
        choices=("bfloat16", "float32"),
        default="bfloat16",
        help="what both sides compute in; float32 is for CPUs without instructions for bfloat16",
    )
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--side", choices=sides, help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.side is None and (args.data is None or args.model is None):
        parser.error("--data and --model are needed")
    return args


def chat_rows(data: Path, count: int) -> list[dict[str, Any]]:
    """GSM8K problems as {"prompt": messages, "reply", "wrong": the same reply with its numbers changed, "answer"}."""
    from rdistill.records import Message

    rows = []
    for row in read_rows(data / "gsm8k" / "train.jsonl.gz")[:count]:
        steps, _, answer = row["answer"].partition("\n#### ")
        steps = "\n".join(line.partition("<<")[0] + line.partition(">>")[2] for line in steps.split("\n"))
        wrong = f"{steps.split(chr(10))[0]}\nThat is all there is to it.\n#### {len(rows) + 1}"
        prompt: list[Message] = [
            {"role": "system", "content": "Solve the problem step by step. End with #### and the number."},
            {"role": "user", "content": row["question"]},
        ]
        rows.append({"prompt": prompt, "reply": f"{steps}\n#### {answer}", "steps": len(steps), "wrong": wrong})
    return rows


def make_run(folder: Path, args: argparse.Namespace, stage: str, options: dict[str, Any]) -> None:
    """A run folder whose sealed data are `--steps` batches of GSM8K rows, as examples and as pairs."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    def reply(row: dict[str, Any], key: str) -> dict[str, str]:
        text, cut = row[key], row["steps"] if key == "reply" else row[key].rindex("\n")
        place = 2  # after system and user
        spans = [
            {"message": place, "start": 0, "end": cut, "role": "rationale"},
            {"message": place, "start": cut, "end": len(text), "role": "answer"},
        ]
        return {"messages": json.dumps([{"role": "assistant", "content": text}]), "spans": json.dumps(spans)}

    examples, pairs = [], []
    for number, row in enumerate(chat_rows(args.data, args.steps * BATCH)):
        good, bad, prompt = reply(row, "reply"), reply(row, "wrong"), json.dumps(row["prompt"])
        whole = json.dumps(row["prompt"] + json.loads(good["messages"]))
        examples.append({"id": str(number), "mode": "explain", "messages": whole, "spans": good["spans"]})
        sides = {"chosen": good["messages"], "rejected": bad["messages"]}
        spans = {"chosen_spans": good["spans"], "rejected_spans": bad["spans"]}
        pairs.append({"id": str(number), "prompt": prompt, **sides, **spans})
    (folder / "data").mkdir(parents=True)
    pq.write_table(pa.Table.from_pylist(examples), folder / "data" / "sft.parquet")
    pq.write_table(pa.Table.from_pylist(pairs), folder / "data" / "pairs.parquet")
    (folder / "models").mkdir()
    (folder / "models" / "sft").symlink_to(args.model.resolve())
    common = {"batch_size": BATCH, "micro_batch_size": BATCH, "epochs": 1, "log_every": 1}
    same = {"learning_rate": 2e-5, "warmup_ratio": 0, "scheduler": "linear", "max_length": 1024}
    config = {
        "name": "versus_trl",
        "run_dir": str(folder),
        "seed": SEED,
        "prompts": {"sources": [{"task": "word_problems", "size": 10}]},
        "teacher": {"model": str(args.model.resolve())},
        "student": {"model": str(args.model.resolve())},
        stage: {**common, **same, **options},
    }
    (folder / "config.yaml").write_text(json.dumps(config))


def trl_arguments(steps: int, dtype: str, folder: Path) -> dict[str, Any]:
    """What our side trains with, in TRL's words; the rest stays as TRL has it."""
    return {
        "output_dir": str(folder / "trl"),
        "per_device_train_batch_size": BATCH,
        "max_steps": steps,
        "learning_rate": 2e-5,
        "bf16": dtype == "bfloat16",
        "use_cpu": True,
        "train_sampling_strategy": "sequential",
        "logging_steps": 1,
        "save_strategy": "no",
        "report_to": "none",
        "disable_tqdm": True,
        "seed": SEED,
    }


def in_order(data: Any) -> list[Any]:
    """The rows of a stage's TokenData as its steps take them."""
    from rdistill.train.batches import plan_steps

    steps = plan_steps(data.units(BATCH), batch_size=BATCH, epochs=1, seed=SEED)
    return [data.groups[row] for step in steps for unit in step for row in unit]


def run_ours(stage: str, folder: Path, names: Sequence[str]) -> dict[str, Any]:
    """Train by the stage's own entry point in this process, one rank with every core."""
    import importlib

    from rdistill.run import RunFolder

    code = importlib.import_module(f"rdistill.train.{stage}").main([str(folder / "config.yaml")])
    run = RunFolder(folder)
    if code:
        raise SystemExit(code)
    lines = [json.loads(line) for line in run.metrics(stage).read_text().splitlines()]
    result = run.read_result(stage)
    seconds = [line["seconds"] for line in lines]
    return {"seconds": seconds, "curve": {n: [line[n] for line in lines] for n in names}, "result": result}


def run_trl(trainer: Any, names: dict[str, str]) -> dict[str, Any]:
    """Train with a TRL trainer, timed at the end of each step. names: ours to TRL's, of what is compared."""
    from transformers import TrainerCallback

    class Clock(TrainerCallback):
        ends: list[float]

        def on_train_begin(self, *args: Any, **kwargs: Any) -> None:
            self.ends = [time.monotonic()]

        def on_step_end(self, *args: Any, **kwargs: Any) -> None:
            self.ends.append(time.monotonic())

    clock = Clock()
    trainer.add_callback(clock)
    trainer.train()
    history = [line for line in trainer.state.log_history if "loss" in line]
    seconds = [after - before for before, after in zip(clock.ends, clock.ends[1:], strict=False)]
    return {"seconds": seconds, "curve": {ours: [line[theirs] for line in history] for ours, theirs in names.items()}}


def work(side: Side, folder: Path) -> None:
    """Run a side in this process and print what it found, as the last line."""
    found = side(folder)
    found["peak_rss_gb"] = round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e9, 3)
    sys.stderr.flush()
    print("\n" + json.dumps(found), flush=True)
    os._exit(0)


def ask(script: str, side: str, folder: Path) -> dict[str, Any]:
    """Run a side in a process of its own. Raises SystemExit with its last words."""
    command = [sys.executable, script, "--side", side, "--folder", str(folder)]
    environment = os.environ.copy() if side == "trl" else child_environment({})  # as `rdistill run` starts a stage
    done = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
    if done.returncode:
        raise SystemExit(f"{side} ended with {done.returncode}:\n{done.stderr[-3000:] or done.stdout[-3000:]}")
    return json.loads(done.stdout.splitlines()[-1])


def take_turns(script: str, args: argparse.Namespace, stage: str, sides: Sequence[str], options: dict[str, Any]) -> Any:
    """{side: [what it found in each round]} on one set of rows."""
    found: dict[str, list[dict[str, Any]]] = {side: [] for side in sides}
    for _ in range(args.rounds):
        for side in sides:
            with tempfile.TemporaryDirectory() as scratch:
                folder = Path(scratch) / "run"
                make_run(folder, args, stage, options)
                found[side].append(ask(script, side, folder))
    return found


def measure(
    script: str, description: str, stage: str, sides: dict[str, Side], settings: dict[str, Any]
) -> tuple[argparse.Namespace, dict[str, list[dict[str, Any]]], dict[str, list[dict[str, Any]]]]:
    """The command line, every side's rounds, and one short round of ours and TRL's in float32 (or those, with --dtype).

    In the process of one side this does the side's work, and does not return.
    """
    args = arguments(description, list(sides))
    if args.side:
        work(sides[args.side], args.folder)
    rounds = take_turns(script, args, stage, list(sides), {**settings, "dtype": args.dtype})
    if args.dtype == "float32":
        return args, rounds, rounds
    args.rounds, args.steps = 1, min(args.steps, EXACT_STEPS)
    return args, rounds, take_turns(script, args, stage, ["ours", "trl"], {**settings, "dtype": "float32"})


def median_seconds(rounds: Sequence[dict[str, Any]]) -> list[float]:
    """Seconds of each step after the warm-up, the median over rounds."""
    return [statistics.median(values) for values in zip(*(r["seconds"][SKIPPED:] for r in rounds), strict=True)]


def speed_ratio(ours: Sequence[dict[str, Any]], theirs: Sequence[dict[str, Any]]) -> float:
    """How many times as fast: the same steps' seconds, summed."""
    return round(sum(median_seconds(theirs)) / sum(median_seconds(ours)), 2)


def memory_ratio(ours: Sequence[dict[str, Any]], theirs: Sequence[dict[str, Any]]) -> float:
    """Our peak resident memory as a share of theirs."""
    return round(
        statistics.median(r["peak_rss_gb"] for r in ours) / statistics.median(r["peak_rss_gb"] for r in theirs), 2
    )


def largest_difference(ours: dict[str, Any], theirs: dict[str, Any], name: str) -> float:
    """Largest difference of two curves at one step, relative to the other side's value there."""
    pairs = zip(ours["curve"][name], theirs["curve"][name], strict=True)
    return max(abs(a - b) / max(abs(b), 1e-9) for a, b in pairs)
