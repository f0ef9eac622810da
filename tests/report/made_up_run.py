"""A run that never happened, written to disk as a real one leaves it."""

import json
from pathlib import Path
from typing import Any

from rdistill.config import Config
from rdistill.ledger import Ledger
from rdistill.records import Example, Message, Pair, Problem, Sample
from rdistill.run import RunFolder

HOSTILE = "\u202eright-to-left</div><script>alert(1)</script>\x1b[31m\x00\ud800 <img src=x onerror=alert(1)> {{ 7*7 }}"
CONFIG = Config.model_validate(
    {
        "name": "made-up",
        "prompts": {"sources": [{"task": "word_problems", "size": 10}]},
        "teacher": {"model": "teacher/0.5b-instruct"},
        "student": {"model": "student/135m-instruct"},
    }
)
# model, mode -> n, right, tokens
SCORES = {
    ("base", "explain"): (200, 11, 88.0),
    ("base", "direct"): (200, 6, 11.2),
    ("sft", "explain"): (200, 70, 62.4),
    ("sft", "direct"): (200, 36, 4.1),
    ("dpo", "explain"): (200, 74, 58.9),
    ("dpo", "direct"): (200, 39, 4.0),
    ("teacher", "explain"): (200, 87, 76.5),
}
RESULTS: dict[str, dict[str, Any]] = {
    "prompts": {"splits": {"train": 60, "dev": 10, "test": 10}, "warnings": []},
    "generate": {"problems": 60, "problems_solved": 41, "samples": 240, "teacher_tokens": 18_400},
    "verify": {
        "statuses": {"pass": 96, "fail": 131, "unverifiable": 13},
        "reasons": {"math: WRONG_ANSWER": 117, "math: NO_ANSWER": 14, "math: TRUNCATED": 9, "math: UNPARSEABLE": 4},
    },
    "select": {"examples": 120, "modes": {"explain": 60, "direct": 60}, "warnings": []},
    "pair": {"sources": {"best_of_n": 30, "concise": 12}, "warnings": ["best_of_n pairs: chosen is 0.5 times as long"]},
    "sft": {"steps": 200},
    "dpo": {"steps": 60},
    "evaluate": {},
}


def make_run(root: Path) -> tuple[RunFolder, Ledger]:
    """A whole run: ledger, manifests, metrics, scorecard and answers."""
    run = RunFolder(root)
    ledger = Ledger(run.ledger)
    ledger.write([*_records()])
    for stage, result in RESULTS.items():
        versions = {"rdistill": "0.1.0", "torch": "2.13.0"}
        manifest = {"seconds": 41.5, "finished": "2026-01-01T00:00:00Z", "fingerprint": "ab" * 16, "versions": versions}
        write(run.manifest(stage), json.dumps(manifest | {"result": result}))
    write(run.metrics("sft"), "".join(json.dumps(_sft_row(step)) + "\n" for step in range(5, 205, 5)))
    write(
        run.metrics("dpo"), "".join(json.dumps(_dpo_row(step)) + "\n" for step in range(5, 65, 5)) + '{"step": 65, "lo'
    )
    write(run.scorecard, json.dumps(scorecard()))
    write(run.scorecard.parent / "answers.jsonl", "".join(json.dumps(row) + "\n" for row in _answers()))
    return run, ledger


def write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def scorecard() -> dict[str, Any]:
    models: dict[str, dict[str, Any]] = {}
    for (model, mode), (n, right, tokens) in SCORES.items():
        models.setdefault(model, {})[mode] = {
            "n": n,
            "accuracy": right / n,
            "accuracy_ci": [max(0.0, right / n - 0.06), right / n + 0.06],
            "output_tokens_mean": tokens,
            "truncated": 31 if model == "base" else 0,
            "ece": 0.2134,
            "latency_s": {"p50": 1.21, "p95": 3.4, "p99": 4.0},
            "tokens_per_s": 287.4,
        }
    paired = [
        {
            "mode": "explain",
            "first": "base",
            "second": "dpo",
            "difference": 0.315,
            "won": 66,
            "lost": 3,
            "p_value": 1e-9,
        },
        {"mode": "direct", "first": "base", "second": "dpo", "difference": 0.165, "won": 35, "lost": 2, "p_value": 0.2},
    ]
    return {"models": models, "paired": paired, "pairs_invalid": 0, "leakage": 0}


def _sft_row(step: int) -> dict[str, float]:
    return {"step": step, "epoch": step / 70, "loss": 0.35 + 1.4 * 0.985**step + 0.04 * (step % 3)}


def _dpo_row(step: int) -> dict[str, float]:
    drift = {"chosen_logp_drift": -0.05 * step, "rejected_logp_drift": -0.31 * step}
    return {"step": step, "loss": 0.69 - 0.004 * step, "margin": 0.02 * step, "accuracy": 0.5 + step / 160} | drift


def _records() -> list[Problem | Sample | Example | Pair]:
    def ask(text: str) -> list[Message]:
        return [{"role": "user", "content": text}]

    problems = [
        Problem(id=f"p{i}", messages=ask(f"{i} + 1?"), gold=str(i + 1), cluster=f"c{i}", split="train")
        for i in range(80)
    ]
    common = {"rationale": None, "finish_reason": "stop", "usage": {}, "engine": "e"}
    samples = [
        Sample.create(
            problem_id=f"p{i // 3}",
            messages=[{"role": "assistant", "content": f"#### {i}"}],
            answer=str(i),
            sampling={"index": i},
            **common,
        )
        for i in range(240)
    ]
    examples = [
        Example(id=f"e{i}", sample_id=samples[i].id, mode="explain", messages=ask("?"), spans=[]) for i in range(120)
    ]
    pairs = [
        Pair(
            id=f"q{i}",
            problem_id="p1",
            chosen_id=samples[i].id,
            rejected_id=samples[i + 1].id,
            source="best_of_n",
            mode="explain",
            reason="WRONG_ANSWER",
            margin=1.0,
        )
        for i in range(42)
    ]
    return [*problems, *samples, *examples, *pairs]


def _answers() -> list[dict[str, Any]]:
    rows = []
    for number in range(40):
        question = f"Sam has {number} apples and buys 7 more. How many apples has Sam now?"
        for model, mode in SCORES:
            right = hash_of(model, mode, number) % 3 != 0 if model != "base" else hash_of(model, mode, number) % 9 == 0
            final = number + 7 if right else number
            text = f"Sam starts with {number} apples.\n{number} + 7 = {final}.\n#### {final}"
            rows.append(
                {
                    "problem_id": f"t{number}",
                    "question": question if number else HOSTILE,
                    "gold": str(number + 7),
                    "model": model,
                    "mode": mode,
                    "text": (text if mode == "explain" else text.rsplit("\n", 1)[-1]) if number else HOSTILE,
                    "answer": str(final) if number else HOSTILE,
                    "status": "pass" if right else "fail",
                    "reason": "OK" if right else "WRONG_ANSWER",
                    "output_tokens": 42 if mode == "explain" else 4,
                }
            )
    return rows


def hash_of(*parts: object) -> int:
    """A small number that is the same in every process."""
    return sum(ord(c) for part in parts for c in str(part)) * 7919 % 101
