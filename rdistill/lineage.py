"""From any row to everything it came from and everything made of it: `rdistill show RUN ID`."""

from pathlib import Path
from typing import Any

from rich.console import Console
from rich.markup import escape

from rdistill.errors import DataError
from rdistill.ledger import Ledger
from rdistill.records import Example, Pair, Problem, Record, Sample, Verdict
from rdistill.run import RunFolder


def lineage(run_dir: Path, row_id: str) -> dict[str, Any]:
    """The problem behind a row with its samples (each with verdicts, examples), and its pairs.

    `row_id` may be the first digits of an id. Raises: DataError if no row, or more than one problem's rows, match.
    """
    run = RunFolder(run_dir)
    ledger = Ledger(run.ledger, read_only=True)
    found = ledger.find(row_id)
    if not found:
        raise DataError(f"{row_id!r} is no row of {run_dir}; ids stand in data/*.parquet and evaluation/answers.jsonl")
    problems = {_problem_id(ledger, record) for record in found}
    if len(problems) > 1:
        raise DataError(f"{row_id!r} fits rows of {len(problems)} problems; give more digits")
    return _family(ledger, problems.pop(), row_id)


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


def print_lineage(found: dict[str, Any], console: Console) -> None:
    """The family as an indented list; the row that was asked for is marked."""

    def mark(row_id: str) -> str:
        return "[bold]>[/bold] " if row_id.startswith(found["asked"]) else "  "

    def text(value: Any, width: int = 160) -> str:
        flat = " ".join(str(value).split())
        clean = "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in flat)
        return escape(clean if len(clean) <= width else clean[: width - 1] + "…")

    problem = found["problem"]
    console.print(
        f"{mark(problem['id'])}problem {problem['id']}  split={problem.get('split')} gold={text(problem.get('gold'))}"
    )
    for message in problem.get("messages", []):
        console.print(f"      {message['role']}: {text(message['content'])}")
    for sample in found["samples"]:
        console.print(f"{mark(sample['id'])}  sample {sample['id']}  {sample['role']} answer={text(sample['answer'])}")
        for message in sample["messages"]:
            console.print(f"        {message['role']}: {text(message['content'])}")
        for verdict in sample["verdicts"]:
            console.print(
                f"        {verdict['verifier']} {verdict['version']}: {verdict['status']} {verdict['reason']} "
                f"{text(verdict['detail'], 90)}"
            )
        for example in sample["examples"]:
            console.print(f"{mark(example['id'])}      example {example['id']}  mode={example['mode']}")
    for pair in found["pairs"]:
        console.print(
            f"{mark(pair['id'])}  pair {pair['id']}  {pair['source']}/{pair['mode']} {text(pair['reason'])} "
            f"chosen={pair['chosen_id'][:12]} rejected={pair['rejected_id'][:12]}"
        )
