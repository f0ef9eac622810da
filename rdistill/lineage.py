"""From any row to everything it came from and everything made of it: `rdistill show RUN ID`."""

import json
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.markup import escape

from rdistill.errors import DataError
from rdistill.ledger import Ledger
from rdistill.records import Example, Pair, Problem, Record, Sample, Verdict
from rdistill.run import RunFolder

WHERE = "ids stand in data/*.parquet and evaluation/answers.jsonl"


def lineage(run_dir: Path, row_id: str) -> dict[str, Any]:
    """The problem behind a row with its samples (each with verdicts, examples), and its pairs.

    A held-out problem has each model's `answers` instead. `row_id` may be the first digits of an id.
    Raises: DataError if no row, or more than one problem's rows, match.
    """
    if not row_id.strip():
        raise DataError(f"an id is needed, or its first digits; {WHERE}")
    run = RunFolder(run_dir)
    with Ledger(run.ledger, read_only=True) as ledger:
        found = ledger.find(row_id)
        if not found:
            raise DataError(f"{row_id!r} is no row of {run_dir}; {WHERE}")
        problems = {_problem_id(ledger, record) for record in found}
        if len(problems) > 1:
            raise DataError(f"{row_id!r} fits rows of {len(problems)} problems; give more digits")
        (problem_id,) = problems
        return _family(ledger, problem_id, row_id) | {"answers": _held_out_answers(run, problem_id)}


def _problem_id(ledger: Ledger, record: Record) -> str:
    if isinstance(record, Problem):
        return record.id
    if isinstance(record, Sample | Pair):
        return record.problem_id
    assert isinstance(record, Verdict | Example)
    sample = ledger.get(Sample, record.sample_id)
    assert sample is not None, "a verdict or example without its sample"
    return sample.problem_id


def _family(ledger: Ledger, problem_id: str, asked: str) -> dict[str, Any]:
    problem = ledger.get(Problem, problem_id)
    samples = [
        sample.model_dump(mode="json")
        | {
            "verdicts": [v.model_dump(mode="json") for v in ledger.rows(Verdict, sample_id=sample.id)],
            "examples": [e.model_dump(mode="json") for e in ledger.rows(Example, sample_id=sample.id)],
        }
        for sample in ledger.rows(Sample, problem_id=problem_id)
    ]
    pairs = [p.model_dump(mode="json") for p in ledger.rows(Pair, problem_id=problem_id)]
    shown = problem.model_dump(mode="json") if problem else {"id": problem_id}
    return {"asked": asked, "problem": shown, "samples": samples, "pairs": pairs}


def _held_out_answers(run: RunFolder, problem_id: str) -> list[dict[str, Any]]:
    """What each model answered to a problem when it was evaluated."""
    try:
        lines = run.answers.read_text(encoding="utf-8").split("\n") if run.answers.exists() else []
        rows = [json.loads(line) for line in lines if problem_id in line]
        return [row for row in rows if row["problem_id"] == problem_id]
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise DataError(f"{run.answers}: cannot be read ({error}); run stage evaluate again") from None


def print_lineage(found: dict[str, Any], console: Console) -> None:
    """The family as an indented list; the row that was asked for is marked."""

    def mark(row_id: str) -> str:
        return "[bold]>[/bold] " if row_id.startswith(found["asked"]) else "  "

    def text(value: Any, width: int = 160) -> str:
        flat = " ".join(str(value).split())
        clean = "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in flat)
        return escape(clean if len(clean) <= width else clean[: width - 1] + "…")

    def named(**values: Any) -> str:
        """What is there, as name=value."""
        return "".join(f" {name}={text(value)}" for name, value in values.items() if value is not None)

    def line(content: str) -> None:
        console.print(content, soft_wrap=True)  # one line a row, for `grep`

    problem = found["problem"]
    facts = named(split=problem.get("split"), gold=str(problem.get("gold")), hint=problem.get("hint"))
    line(f"{mark(problem['id'])}problem {problem['id']} {facts}")
    for message in problem.get("messages", []):
        line(f"      {message['role']}: {text(message['content'])}")
    for sample in found["samples"]:
        ended = {name: sample[name] for name in ("finish_reason", "sandbox", "fault")}
        facts = named(answer=str(sample["answer"]), hint=sample["sampling"].get("hint"), **ended)
        line(f"{mark(sample['id'])}  sample {sample['id']}  {sample['role']}{facts}")
        for message in sample["messages"]:
            line(f"        {message['role']}: {text(message['content'])}")
        for verdict in sample["verdicts"]:
            line(
                f"        {verdict['verifier']} {verdict['version']}: {verdict['status']} {verdict['reason']} "
                f"{text(verdict['detail'], 90)}{named(sandbox=verdict['sandbox'])}"
            )
        for example in sample["examples"]:
            line(f"{mark(example['id'])}      example {example['id']}  mode={example['mode']}")
    for pair in found["pairs"]:
        line(
            f"{mark(pair['id'])}  pair {pair['id']}  {pair['source']}/{pair['mode']} {text(pair['reason'])} "
            f"chosen={pair['chosen_id'][:12]} rejected={pair['rejected_id'][:12]}"
        )
    for row in found["answers"]:
        facts = named(answer=str(row["answer"]), finish_reason=row["finish_reason"], sandbox=row.get("sandbox"))
        line(f"    {row['model']} {row['mode']}: {row['status']} {row['reason']}{facts}")
        line(f"        assistant: {text(row['text'])}")
