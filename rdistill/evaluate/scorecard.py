"""The contract's scorecard, from answer rows. Pure functions."""

import itertools
from typing import Any

from rdistill.evaluate.statistics import expected_calibration_error, paired_comparison, percentiles, wilson_interval
from rdistill.teacher.engine import FAILED

Row = dict[str, Any]
Speeds = dict[tuple[str, str], float | None]
ORDER = ("base", "sft", "dpo", "teacher")


def scorecard(rows: list[Row], speeds: Speeds) -> dict[str, Any]:
    """Scores of each model and mode, and paired tests; latency is under the evaluation's own load."""
    groups: dict[tuple[str, str], list[Row]] = {}
    for row in rows:
        groups.setdefault((row["model"], row["mode"]), []).append(row)
    models: dict[str, dict[str, Any]] = {}
    for (model, mode), group in groups.items():
        models.setdefault(model, {})[mode] = score(group, speeds.get((model, mode)))
    return {"models": models, "paired": paired_tests(groups)}


def answered(rows: list[Row]) -> list[Row]:
    """The rows without those whose request the endpoint left without a reply: they say nothing about the model."""
    return [r for r in rows if r["finish_reason"] != FAILED]


def score(rows: list[Row], tokens_per_s: float | None) -> dict[str, Any]:
    """Of the answered rows; `faults` counts the others."""
    faults, rows = len(rows), answered(rows)
    faults -= len(rows)
    most = max(1, len(rows))
    right = [r["status"] == "pass" for r in rows]
    known = [(r["confidence"], ok) for r, ok in zip(rows, right, strict=True) if r["confidence"] is not None]
    low, high = wilson_interval(sum(right), len(rows))
    return {
        "n": len(rows),
        "accuracy": round(sum(right) / most, 4),
        "accuracy_ci": [round(low, 4), round(high, 4)],
        "output_tokens_mean": round(sum(r["output_tokens"] for r in rows) / most, 2),
        "truncated": sum(r["finish_reason"] == "length" for r in rows),
        "unverifiable": sum(r["status"] == "unverifiable" for r in rows),
        "faults": faults,
        "ece": expected_calibration_error([c for c, _ in known], [ok for _, ok in known]),
        "latency_s": percentiles([r["seconds"] for r in rows]),
        "tokens_per_s": None if tokens_per_s is None else round(tokens_per_s, 1),
    }


def paired_tests(groups: dict[tuple[str, str], list[Row]]) -> list[dict[str, Any]]:
    """Every two models that were measured in the same mode, on the items that both answered."""
    tests = []
    for (first, mode), (second, other) in itertools.permutations(groups, 2):
        if mode == other and ORDER.index(first) < ORDER.index(second):
            a = {r["problem_id"]: r["status"] == "pass" for r in answered(groups[first, mode])}
            b = {r["problem_id"]: r["status"] == "pass" for r in answered(groups[second, mode])}
            both = [i for i in a if i in b]
            found = paired_comparison([a[i] for i in both], [b[i] for i in both])
            tests.append({"mode": mode, "first": first, "second": second} | found)
    return tests
