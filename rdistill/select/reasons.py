"""Why problems gave nothing to learn from, in a few words: what their verifiers said most often."""

from collections import Counter
from collections.abc import Container, Mapping

from rdistill.config import Config
from rdistill.ledger import Ledger
from rdistill.records import Problem, Sample, Status, Verdict

NAMED = 3
OWN_ROLES = ("answer", "draft", "revision")
"""Roles of the teacher's samples that verifiers see."""


def top_reasons(ledger: Ledger, config: Config, group_of: Mapping[str, str]) -> dict[str, str]:
    """For each group of problems (`group_of`: by problem id) what the verifiers that vote said most often.

    The most frequent reasons first, each with how often and an example. One pass over the ledger, however many groups.
    """
    voting = {spec.name for spec in config.verify.verifiers if spec.required}
    samples = {
        s.id: group_of[s.problem_id] for s in ledger.rows(Sample) if s.problem_id in group_of and s.role in OWN_ROLES
    }
    counts: dict[str, Counter[str]] = {group: Counter() for group in group_of.values()}
    details: dict[tuple[str, str], str] = {}
    for verdict in ledger.rows(Verdict):
        group = samples.get(verdict.sample_id)
        if group is not None and verdict.verifier in voting and verdict.status is not Status.PASS:
            reason = f"{verdict.verifier}: {verdict.reason}"
            counts[group][reason] += 1
            details.setdefault((group, reason), verdict.detail[:120])
    num_samples = Counter(samples.values())
    return {group: _sentence(num_samples[group], found, group, details) for group, found in counts.items()}


def _sentence(num_samples: int, counts: Counter[str], group: str, details: dict[tuple[str, str], str]) -> str:
    if not num_samples:
        return "none was sampled"
    if not counts:
        return f"{num_samples} samples passed, but none can be written in a mode of select.modes"
    named = [
        f"{reason} {n} times" + (f", e.g. {detail!r}" if (detail := details[group, reason]) else "")
        for reason, n in counts.most_common(NAMED)
    ]
    return f"{num_samples} samples; {'; '.join(named)}"


def lost_domains(ledger: Ledger, config: Config, before: Counter[str], after: Counter[str]) -> list[str]:
    """A warning for each domain that had problems (`before`) of which none has a training example (`after`)."""
    lost = [domain for domain in before if not after[domain]]
    if not lost:
        return []
    group_of = {p.id: p.domain for p in ledger.rows(Problem, split="train") if p.domain in lost}
    why = top_reasons(ledger, config, group_of)
    return [f"domain {d!r}: no training example of its {before[d]} problems ({why[d]})" for d in lost]


def nothing_to_learn(ledger: Ledger, config: Config, statuses: Container[Status]) -> str:
    """What to say where no sample at all passed: a stronger teacher helps only if samples were judged wrong."""
    group_of = dict.fromkeys((p.id for p in ledger.rows(Problem, split="train")), "")
    why = top_reasons(ledger, config, group_of).get("", "no problem to train on")
    remedy = "raise teacher.max_samples, add teacher.examples, or take a stronger teacher.model"
    if Status.FAIL not in statuses:
        remedy = (
            "none was judged wrong, so mend what keeps the verifiers from judging: the gold answers, or their options"
        )
    return f"no sample passed its verifiers, so there is nothing to train on ({why}); {remedy}"
