"""How often is `agreement` right? Its verdicts beside those of a verifier that knows the gold, on a run's samples.

    python benchmarks/agreement_verifier.py RUN [--gold math] [--min-votes 4] [--min-share 0.75] [--fail-share 0.75]

Prints how many problems have samples enough, and of the verdicts: `passed_wrong`, the share of `pass` that the gold
says is wrong; `failed_right`, the share of `fail` that is right; `decided`, the share that is pass or fail at all. A
run stops to sample a problem once it has what training needs: those with many samples are the harder ones. `--json`.
"""

import argparse
import json
import sys
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from rdistill.ledger import Ledger
from rdistill.records import Problem, Sample, Status, Verdict
from rdistill.run import RunFolder
from rdistill.verifiers import registry

VOTERS = ("answer", "revision")


def judged(run: Path, gold: str) -> Iterator[tuple[Problem, list[Sample], dict[str, Status]]]:
    """Each problem with its whole, unhinted samples and their verdicts by the verifier that knows the gold."""
    with Ledger(RunFolder(run).ledger) as ledger:
        right = {v.sample_id: v.status for v in ledger.rows(Verdict) if v.verifier == gold}
        samples: dict[str, list[Sample]] = defaultdict(list)
        for sample in ledger.rows(Sample):
            if sample.role in VOTERS and sample.finish_reason != "length" and not sample.sampling.get("hint"):
                samples[sample.problem_id].append(sample)
        for problem in ledger.rows(Problem):
            known = [s for s in samples[problem.id] if right.get(s.id) in (Status.PASS, Status.FAIL)]
            if known:
                yield problem, known, right


def measure(run: Path, gold: str, options: dict[str, Any]) -> dict[str, Any]:
    agreement = registry.create("agreement", options)
    table: dict[tuple[str, str], int] = defaultdict(int)
    problems = enough = 0
    for problem, samples, right in judged(run, gold):
        problems += 1
        enough += len(samples) >= options["min_votes"]
        if len(samples) >= options["min_votes"]:
            verdicts = agreement.check_group(problem.model_copy(update={"gold": None}), samples)  # type: ignore[attr-defined]
            for verdict in verdicts:
                table[verdict.status.value, right[verdict.sample_id].value] += 1
    passed = table["pass", "pass"] + table["pass", "fail"]
    failed = table["fail", "pass"] + table["fail", "fail"]
    total = sum(table.values())
    return {
        "problems": problems,
        "problems_with_enough_samples": enough,
        "samples": total,
        "right": share(sum(n for (_, truth), n in table.items() if truth == "pass"), total),
        "passed": passed,
        "passed_wrong": share(table["pass", "fail"], passed),
        "failed": failed,
        "failed_right": share(table["fail", "pass"], failed),
        "decided": share(passed + failed, total),
    }


def share(part: int, whole: int) -> float | None:
    return round(part / whole, 4) if whole else None


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path)
    parser.add_argument("--gold", default="math")
    parser.add_argument("--min-votes", type=int, default=4)
    parser.add_argument("--min-share", type=float, default=0.75)
    parser.add_argument("--fail-share", type=float, default=0.75)
    parser.add_argument("--json", action="store_true")
    args = parser.parse_args()
    options = {"min_votes": args.min_votes, "min_share": args.min_share, "fail_share": args.fail_share}
    found = measure(args.run, args.gold, options)
    if args.json:
        json.dump(found, sys.stdout)
        print()
        return
    for name, value in found.items():
        print(f"{name:<30} {value}")


if __name__ == "__main__":
    main()
