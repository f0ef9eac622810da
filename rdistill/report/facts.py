"""What the report shows, gathered from a run's files. Whatever is missing or damaged is left out, never an error."""

import json
from collections import Counter
from itertools import zip_longest
from pathlib import Path
from typing import Any

from rdistill.ledger import Ledger
from rdistill.records import Example, Pair, Problem
from rdistill.report.plots import Curve, Point
from rdistill.report.words import MAX_ANSWER, STUDENTS, is_number, reveal
from rdistill.run import RunFolder
from rdistill.stages import STAGE_NAMES

MODEL_ORDER = ("base", "sft", "dpo", "teacher")
MODE_ORDER = ("explain", "tool", "direct")
# Chart title -> the metrics that it draws, with the name of each line.
CHARTS = {
    "Loss": {"loss": "train"},
    "Reward margin, nats": {"margin": "train"},
    "Pairs ranked right": {"accuracy": "train"},
    "Change of log-probability, nats": {"chosen_logp_drift": "chosen", "rejected_logp_drift": "rejected"},
}
MAX_CURVE_POINTS = 400


def read_json(path: Path) -> dict[str, Any]:
    """A JSON object, or {} if it is missing or damaged."""
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return {}
    return value if isinstance(value, dict) else {}


def read_rows(path: Path) -> list[dict[str, Any]]:
    """The objects of a JSONL file; damaged lines are left out."""
    rows = []
    try:
        with path.open(encoding="utf-8", errors="replace") as f:
            for line in f:
                try:
                    row = json.loads(line)
                except (ValueError, RecursionError):
                    continue
                if isinstance(row, dict):
                    rows.append(row)
    except OSError:
        pass
    return rows


def scores(card: dict[str, Any]) -> list[dict[str, Any]]:
    """One row per model and mode, in reading order."""
    models = card.get("models") or {}
    rows = [
        {"model": model, "mode": mode, **score}
        for model, modes in models.items()
        for mode, score in (modes or {}).items()
        if isinstance(score, dict)
    ]
    return sorted(rows, key=lambda r: (_place(MODEL_ORDER, r["model"]), _place(MODE_ORDER, r["mode"])))


def _place(order: tuple[str, ...], name: str) -> int:
    return order.index(name) if name in order else len(order)


def score_points(rows: list[dict[str, Any]]) -> list[Point]:
    """The scores that can be drawn: those with an accuracy, an interval and a token count."""
    found = []
    for row in rows:
        values = [row.get("output_tokens_mean"), row.get("accuracy"), *(row.get("accuracy_ci") or [None, None])]
        if len(values) == 4 and all(is_number(v) for v in values):
            found.append(Point(row["model"], row["mode"], *values))
    return found


def manifests(run: RunFolder) -> dict[str, dict[str, Any]]:
    """The manifests of the stages that are done, in order."""
    found = {name: read_json(run.manifest(name)) for name in STAGE_NAMES}
    return {name: manifest for name, manifest in found.items() if manifest}


def result_of(done: dict[str, dict[str, Any]], stage: str) -> dict[str, Any]:
    result = done.get(stage, {}).get("result")
    return result if isinstance(result, dict) else {}


def funnel(done: dict[str, dict[str, Any]], ledger: Ledger) -> list[dict[str, Any]]:
    """From problems to pairs: counts from the ledger, details from the manifests."""
    splits = result_of(done, "prompts").get("splits") or {}
    generated, verified = result_of(done, "generate"), result_of(done, "verify")
    statuses = verified.get("statuses") or generated.get("statuses") or {}
    selected, paired = result_of(done, "select"), result_of(done, "pair")
    solved = generated.get("problems_solved")
    bad = (generated.get("gold") or {}).get("quarantined", 0)
    steps = [
        ("Problems", ledger.count(Problem), _counts(splits | {"quarantined": bad})),
        ("Teacher samples", generated.get("samples", 0), f"{solved} problems solved" if solved is not None else ""),
        ("Verified right", statuses.get("pass", 0), _counts({k: v for k, v in statuses.items() if k != "pass"})),
        ("Training examples", ledger.count(Example), _counts(selected.get("modes") or {})),
        ("Preference pairs", ledger.count(Pair), _counts(paired.get("sources") or {})),
    ]
    largest = max((count for _, count, _ in steps), default=0) or 1
    return [{"name": n, "count": c, "note": note, "share": c / largest} for n, c, note in steps]


def _counts(values: dict[str, Any]) -> str:
    return ", ".join(f"{count} {name}" for name, count in values.items() if count)


def reasons(done: dict[str, dict[str, Any]]) -> list[dict[str, Any]]:
    """Why samples did not pass, most frequent first."""
    counts = Counter({k: v for k, v in (result_of(done, "verify").get("reasons") or {}).items() if is_number(v)})
    largest = max(counts.values(), default=0) or 1
    return [{"name": name, "count": count, "share": count / largest} for name, count in counts.most_common(12)]


def teacher_cost(done: dict[str, dict[str, Any]], ledger: Ledger) -> dict[str, float]:
    """Teacher tokens in all, per training example and per pair."""
    tokens = result_of(done, "generate").get("teacher_tokens")
    if not is_number(tokens):
        return {}
    counts = {"an example": ledger.count(Example), "a pair": ledger.count(Pair)}
    return {"in all": tokens} | {name: tokens / count for name, count in counts.items() if count}


def curves(run: RunFolder, stage: str) -> dict[str, list[Curve]]:
    """The stage's charts: title -> lines. Metrics that were not written have no line."""
    rows = read_rows(run.metrics(stage))
    charts: dict[str, list[Curve]] = {}
    for title, keys in CHARTS.items():
        lines = []
        for (key, name), style in zip(keys.items(), ("c1", "c2"), strict=False):
            found = [(r["step"], r[key]) for r in rows if is_number(r.get("step")) and is_number(r.get(key))]
            if found := found[:: len(found) // MAX_CURVE_POINTS + 1]:
                steps, values = zip(*found, strict=True)
                lines.append(Curve(name, steps, values, style))
        if lines:
            charts[title] = lines
    return charts


def side_by_side(answers: list[dict[str, Any]], limit: int) -> list[dict[str, Any]]:
    """Held-out problems with every model's answers, drawn in turn from each outcome so that failures show too.

    An outcome is who was right: base, student, teacher, each in its first mode.
    """
    problems: dict[str, list[dict[str, Any]]] = {}
    for row in answers:
        problems.setdefault(str(row.get("problem_id")), []).append(row)
    by_outcome: dict[tuple[bool, ...], list[str]] = {}
    for problem, rows in problems.items():
        by_outcome.setdefault(_outcome(rows), []).append(problem)
    turns = zip_longest(*(by_outcome[outcome] for outcome in sorted(by_outcome, key=_interest)))
    chosen = [problem for turn in turns for problem in turn if problem is not None][:limit]
    return [_example(problems[problem]) for problem in chosen]


def _outcome(rows: list[dict[str, Any]]) -> tuple[bool, ...]:
    """Whether (student, base, teacher) were right in explain mode, or in any mode where it was not measured."""

    def right(*names: str) -> bool:
        name = next((n for n in names if any(r.get("model") == n for r in rows)), None)
        mine = [r for r in rows if r.get("model") == name]
        return any(r.get("status") == "pass" for r in [r for r in mine if r.get("mode") == "explain"] or mine)

    return right(*STUDENTS), right("base"), right("teacher")


def _interest(outcome: tuple[bool, ...]) -> tuple[bool, ...]:
    """Gains first, then what the teacher knows and the student does not, then the rest."""
    student, base, teacher = outcome
    return (not (student and not base), not (teacher and not student), not (base and not student), not teacher)


def _example(rows: list[dict[str, Any]]) -> dict[str, Any]:
    ordered = sorted(
        rows, key=lambda r: (_place(MODEL_ORDER, r.get("model", "")), _place(MODE_ORDER, r.get("mode", "")))
    )
    answers = [row | {"text": reveal(_text(row.get("text", "")), MAX_ANSWER)} for row in ordered]
    question = reveal(_text(rows[0].get("question")), MAX_ANSWER)
    return {"question": question, "gold": _text(rows[0].get("gold")), "answers": answers}


def _text(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def warnings(card: dict[str, Any], done: dict[str, dict[str, Any]]) -> list[str]:
    """What a reader must know before trusting the numbers."""
    found = []
    if card.get("leakage"):
        found.append(f"{card['leakage']} clusters of near-duplicates stand on two sides of the split")
    if card.get("pairs_invalid"):
        found.append(f"{card['pairs_invalid']} preference pairs break the contract of a pair")
    for row in scores(card):
        if is_number(row.get("n")) and row["n"] < 100:
            found.append(f"only {row['n']} held-out problems: the intervals are wide")
            break
    for row in scores(card):
        cut, n = row.get("truncated"), row.get("n")
        if is_number(cut) and is_number(n) and cut > 0.1 * n:
            found.append(f"{row['model']} {row['mode']}: {cut} of {n} answers were cut at evaluate.max_tokens")
    for stage in done:
        found += [f"{stage}: {text}" for text in result_of(done, stage).get("warnings") or [] if isinstance(text, str)]
        if skipped := result_of(done, stage).get("skipped"):
            found.append(f"{stage} was left out: {skipped}")
    return found
