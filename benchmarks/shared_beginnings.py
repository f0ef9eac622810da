"""What it saves in SFT to compute the beginning that rows share once: one optimizer step with and without.

    python benchmarks/shared_beginnings.py --data FOLDER --model SMOLLM2 --json      gsm8k/test{,_socratic}.jsonl.gz

Rows are GSM8K questions, each with a solution, its other solution (step by step, in questions) and the answer alone:
one problem in three rows, whose prompts say after the question what is wanted. A step is forward and backward of eight
rows through the student in bfloat16. `apart` lays the same rows out without sharing; the two take turns.
Claim: at least 1.2 times as fast, on the same loss.
Prints {"speed_ratio", "token_ratio", "loss_rel_diff"}: medians, and the largest difference.
"""

import argparse
import json
import statistics
import sys
import time
from pathlib import Path
from typing import Any

import torch
from measured import finish, read_rows

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from rdistill.config import SftConfig
from rdistill.precision import fastest_dtype
from rdistill.train import packing
from rdistill.train.packing import Batch, Tokens, forward_logps, pack
from rdistill.train.rank import load_model, load_tokenizer
from rdistill.train.spans import parse_spans, render

ROWS, STEPS = 8, 12
WANTED = ("Solve step by step.", "Ask yourself questions and answer them.", "Answer only.")


def rows(folder: Path, tokenizer: Any, count: int) -> list[Tokens]:
    """`count` rows, those of a question together."""
    plain, socratic = (read_rows(folder / "gsm8k" / f"{name}.jsonl.gz") for name in ("test", "test_socratic"))
    found: list[Tokens] = []
    for first, second in zip(plain, socratic, strict=True):
        answers = (first["answer"], second["answer"], first["answer"].rpartition("#### ")[2])
        for wanted, answer in zip(WANTED, answers, strict=True):
            messages = [
                {"role": "user", "content": f"{first['question']}\n{wanted}"},
                {"role": "assistant", "content": answer},
            ]
            spans = [{"message": 1, "start": 0, "end": len(answer), "role": "answer"}]
            rendered = render(tokenizer, messages, parse_spans(json.dumps(spans)), SftConfig().weights)
            found.append(Tokens(rendered.ids, rendered.weights))
        if len(found) >= count:
            return found[:count]
    raise SystemExit(f"{folder}: fewer than {count} rows")


def laid_apart(sequences: list[Tokens]) -> Batch:
    """A row in which nothing is shared."""
    kept, packing.common_prefix = packing.common_prefix, lambda before, ids: 0
    try:
        return pack([[sequence] for sequence in sequences])
    finally:
        packing.common_prefix = kept


def step(model: Any, batch: Batch) -> tuple[float, float]:
    """(seconds of this thread, loss) of a forward and a backward pass."""
    began = time.thread_time()
    loss = -(forward_logps(model, batch) * batch.weights_N).mean()
    loss.backward()
    return time.thread_time() - began, loss.item()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--model", required=True)
    parser.add_argument("--json", action="store_true")
    args = parser.parse_args()
    torch.set_num_threads(1)
    tokenizer, model = load_tokenizer(args.model), load_model(args.model, SftConfig(dtype=fastest_dtype())).train()
    every = rows(args.data, tokenizer, ROWS * (STEPS + 1))
    speeds, tokens, differences = [], [], []
    for number in range(STEPS + 1):
        part = every[number * ROWS : (number + 1) * ROWS]
        shared, apart = pack([[sequence] for sequence in part]), laid_apart(part)
        (ours, loss), (theirs, expected) = step(model, shared), step(model, apart)
        if number:  # the first warms up
            speeds.append(theirs / ours)
            tokens.append(apart.input_ids.numel() / shared.input_ids.numel())
            differences.append(abs(loss - expected) / expected)
    found = {
        "speed_ratio": round(statistics.median(speeds), 2),
        "token_ratio": round(statistics.median(tokens), 2),
        "loss_rel_diff": float(f"{max(differences):.1e}"),
    }
    missed = ["speed_ratio >= 1.2"] if found["speed_ratio"] < 1.2 else []
    finish(found, missed + (["loss_rel_diff <= 1e-3"] if found["loss_rel_diff"] > 1e-3 else []), as_json=args.json)


if __name__ == "__main__":
    main()
