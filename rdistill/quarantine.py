"""Gold answers that their own verifiers refuse, found before any teacher token is spent.

A problem with such a gold is quarantined: it is not sampled, not trained and not evaluated on. It has a row in
RUN/data/quarantine.jsonl: {"problem_id", "split", "domain", "question", "gold", "verifier", "status", "reason",
"detail"}.
Only verifiers that know what a usable gold is have a word here: those with a method `check_gold`.
"""

import asyncio
import json
from collections import Counter
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, NamedTuple

from rdistill.answers import join_answer, split_answer
from rdistill.config import Config, VerifierSpec
from rdistill.errors import DataError
from rdistill.records import Problem, Reason, Sample, Status, TeacherMode, Verdict
from rdistill.run import write_durable
from rdistill.verifiers.composition import combine
from rdistill.verifiers.pool import VerifierPool

BATCH = 256
ACCIDENTS = (Reason.TIMEOUT, Reason.RESOURCE_LIMIT, Reason.VERIFIER_ERROR)
"""What a busy machine can be the cause of: such a gold is asked once more."""
Progress = Callable[[int, str], None]


class Refusal(NamedTuple):
    """A problem, and the first verifier that does not accept its gold."""

    problem: Problem
    spec: VerifierSpec
    verdict: Verdict

    def row(self) -> dict[str, Any]:
        problem, verdict = self.problem, self.verdict
        return {
            "problem_id": problem.id,
            "split": problem.split,
            "domain": problem.domain,
            "question": problem.messages[-1]["content"],
            "gold": problem.gold,
            "verifier": self.spec.name,
            "status": verdict.status.value,
            "reason": verdict.reason.value,
            "detail": verdict.detail,
        }


def validate_gold(
    config: Config, problems: list[Problem], progress: Progress = lambda done, note: None
) -> tuple[list[Refusal], dict[str, Any]]:
    """The problems to quarantine, and {"checked", "quarantined", "reasons", "splits"}.

    Raises: DataError if they are more than verify.max_bad_gold of all, or leave nothing to train or evaluate on.
    """
    refusals = asyncio.run(_judge(config, problems, progress))
    _refuse_many(config, problems, refusals)
    reasons = Counter(f"{r.spec.name}: {r.verdict.reason}" for r in refusals)
    return refusals, {
        "checked": len(problems),
        "quarantined": len(refusals),
        "reasons": dict(reasons.most_common()),
        "splits": dict(Counter(r.problem.split for r in refusals)),
    }


async def _judge(config: Config, problems: list[Problem], progress: Progress) -> list[Refusal]:
    refusals: list[Refusal] = []
    async with VerifierPool.of(config.verify) as pool:
        for start in range(0, len(problems), BATCH):
            batch = problems[start : start + BATCH]
            found = await asyncio.gather(*(_refusal(problem, pool, config) for problem in batch))
            refusals += [refusal for refusal in found if refusal]
            progress(start + len(batch), f"{len(refusals)} refused")
    return refusals


async def _refusal(problem: Problem, pool: VerifierPool, config: Config) -> Refusal | None:
    """None for a gold that passes the verifiers that vote, as a sample has to, or that none of them has a word on."""
    stated = gold_sample(problem, config.answer.marker, config.teacher.mode)
    votes: list[tuple[VerifierSpec, Verdict]] = []
    for _ in range(2):
        found = await pool.check_gold(problem, stated)
        votes = [(pool.specs[i], verdict) for i, verdict in sorted(found.items()) if pool.specs[i].required]
        if not any(verdict.reason in ACCIDENTS for _, verdict in votes):
            break
    status = combine([v for _, v in votes], [s for s, _ in votes], config.verify, problem.domain)
    refused = [Refusal(problem, spec, verdict) for spec, verdict in votes if verdict.status is not Status.PASS]
    return refused[0] if refused and status is not Status.PASS else None


def gold_sample(problem: Problem, marker: str, mode: TeacherMode = "rationale") -> Sample:
    """The gold answer as if a model had given it, in the declared format: a whole solution does not fit there.

    mode: how the teacher will be asked, which decides for `tool_call` whether a gold has to hold calls.
    """
    text = join_answer("", problem.gold if isinstance(problem.gold, str) else json.dumps(problem.gold), marker)
    return Sample.of_gold(problem, text, split_answer(text, marker).answer).model_copy(update={"mode": mode})


def _refuse_many(config: Config, problems: list[Problem], refusals: list[Refusal]) -> None:
    """Too many bad golds are no bad rows but a wrong column, format or verifier."""
    limit = config.verify.max_bad_gold
    if not refusals:
        return
    bad = f"{len(refusals)} of {len(problems)}"
    missing = [r for r in refusals if r.problem.gold is None]
    too_many = len(refusals) > limit * len(problems)
    if too_many and 2 * len(missing) > len(refusals):
        raise DataError(
            f"{len(missing)} of {len(problems)} problems have no gold answer, but verify.verifiers names "
            f"{missing[0].spec.name!r}, which needs one; set prompts.sources.N.fields.gold to the column that holds it"
        )
    problem, spec, verdict = refusals[0]
    example = f"{str(problem.gold)[:60]!r} ({verdict.reason}: {verdict.detail[:80]})"
    if too_many:
        raise DataError(
            f"verify.verifiers: {spec.name!r} does not accept {bad} gold answers as answers to their own problems, "
            f"e.g. {example}, above verify.max_bad_gold={limit:g}; correct prompts.sources.N.fields.gold or "
            "gold_format, or name another verifier"
        )
    lost = {r.problem.id for r in refusals}
    for split in ("train", config.evaluate.split):
        if not any(p.split == split and p.id not in lost for p in problems):
            raise DataError(
                f"no {split} problem has a gold answer that verify.verifiers accept ({bad} refused, e.g. {example}); "
                "correct prompts.sources.N.fields.gold or gold_format"
            )


def write_quarantine(path: Path, refusals: Iterable[Refusal]) -> None:
    """Replace the run's quarantine; an empty file says that nothing had to be put there."""
    write_durable(path, "".join(json.dumps(r.row(), ensure_ascii=False) + "\n" for r in refusals))


def quarantined(path: Path) -> set[str]:
    """Ids of the problems in a run's quarantine. Raises: DataError for a damaged file."""
    if not path.exists():
        return set()
    try:
        return {json.loads(line)["problem_id"] for line in path.read_text(encoding="utf-8").split("\n") if line}
    except (ValueError, TypeError, KeyError):
        raise DataError(
            f"{path}: not a quarantine's rows any more; run stage generate again to write it anew"
        ) from None
