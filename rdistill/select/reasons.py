"""Why problems gave nothing to learn from, in a few words: what their verifiers said most often."""

from collections import Counter
from collections.abc import Container

from rdistill.config import Config
from rdistill.ledger import Ledger
from rdistill.records import Problem, Sample, Status, Verdict

NAMED = 3
OWN_ROLES = ("answer", "draft", "revision")
"""Roles of the teacher's samples that verifiers see."""


def top_reasons(ledger: Ledger, config: Config, problem_ids: Container[str]) -> str:
    """The reasons of the verifiers that vote, the most frequent first, each with how often and an example."""
    voting = {spec.name for spec in config.verify.verifiers if spec.required}
    samples = {s.id for s in ledger.rows(Sample) if s.problem_id in problem_ids and s.role in OWN_ROLES}
    if not samples:
        return "none was sampled"
    counts: Counter[str] = Counter()
    details: dict[str, str] = {}
    for verdict in ledger.rows(Verdict):
        if verdict.sample_id in samples and verdict.verifier in voting and verdict.status is not Status.PASS:
            reason = f"{verdict.verifier}: {verdict.reason}"
            counts[reason] += 1
            details.setdefault(reason, verdict.detail[:120])
    if not counts:
        return f"{len(samples)} samples passed, but none can be written in a mode of select.modes"
    named = [f"{r} {n} times" + (f", e.g. {details[r]!r}" if details[r] else "") for r, n in counts.most_common(NAMED)]
    return f"{len(samples)} samples; {'; '.join(named)}"


def lost_domains(ledger: Ledger, config: Config, before: Counter[str], after: Counter[str]) -> list[str]:
    """A warning for each domain that had problems (`before`) of which none has a training example (`after`)."""
    warnings = []
    for domain, count in before.items():
        if not after[domain]:
            ids = {p.id for p in ledger.rows(Problem, split="train") if p.domain == domain}
            why = top_reasons(ledger, config, ids)
            warnings.append(f"domain {domain!r}: no training example of its {count} problems ({why})")
    return warnings


def nothing_to_learn(ledger: Ledger, config: Config, statuses: Container[Status]) -> str:
    """What to say where no sample at all passed: a stronger teacher helps only if samples were judged wrong."""
    why = top_reasons(ledger, config, {p.id for p in ledger.rows(Problem, split="train")})
    remedy = "raise teacher.max_samples, add teacher.examples, or take a stronger teacher.model"
    if Status.FAIL not in statuses:
        remedy = (
            "none was judged wrong, so mend what keeps the verifiers from judging: the gold answers, or their options"
        )
    return f"no sample passed its verifiers, so there is nothing to train on ({why}); {remedy}"
