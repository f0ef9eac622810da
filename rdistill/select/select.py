"""Choose the verified samples that the student is fine-tuned on, one Example per sample and mode."""

from collections import Counter
from collections.abc import Collection, Iterable, Mapping
from types import MappingProxyType
from typing import Any

from rdistill.config import Config
from rdistill.ledger import Ledger
from rdistill.prompts.student import student_messages
from rdistill.records import Example, Problem, Sample, Status, StudentMode, content_id
from rdistill.select.completions import FINAL_ROLES, complete, is_whole
from rdistill.select.reasons import lost_domains

EMPTY: Mapping[str, Sample] = MappingProxyType({})


def gold_samples(problems: Iterable[Problem], left_out: Collection[str]) -> dict[str, Sample]:
    """The gold answers of problems, where they are text, as samples by problem id."""
    return {
        problem.id: Sample.of_gold(problem, problem.gold, problem.gold)
        for problem in problems
        if isinstance(problem.gold, str) and problem.id not in left_out
    }


def select_examples(
    ledger: Ledger, config: Config, status_of: Mapping[str, Status], golds: Mapping[str, Sample] = EMPTY
) -> tuple[list[Example], dict[str, Any]]:
    """Examples of the train problems, in the ledger's order of problems, and the report.

    Drafts that passed stand in, mode by mode, where no revision can: what the sampler counts as solved is learned.

    status_of: each judged sample's combined verdict, by sample id. A sample that is not there is not used.
    golds: what stands in, in `direct`, where a problem has no sample that passed, by problem id.
    """
    examples: list[Example] = []
    counts: Counter[str] = Counter()
    before: Counter[str] = Counter()
    after: Counter[str] = Counter()
    lengths: dict[str, list[int]] = {"passed": [], "selected": []}
    for problem in ledger.rows(Problem, split="train"):
        samples = samples_of(problem, ledger)
        finals = [s for s in samples if s.role in FINAL_ROLES]
        drafts = [s for s in samples if s.role == "draft" and status_of.get(s.id) is Status.PASS]
        passed = [s for s in finals if status_of.get(s.id) is Status.PASS]
        whole, spare = (preferred([s for s in some if is_whole(s)], config) for some in (passed, drafts))
        made = [
            e
            for mode in config.select.modes
            for e in _examples(problem, whole, mode, config) or _examples(problem, spare, mode, config)
        ]
        if problem.id in golds and "direct" in config.select.modes and not any(e.mode == "direct" for e in made):
            made += _examples(problem, [golds[problem.id]], "direct", config)
            counts["gold"] += 1
        examples += made
        before[problem.domain] += 1
        after[problem.domain] += bool(made)
        counts.update(samples=len(finals), passed=len(passed), unfinished=len(passed) - len(whole), problems=1)
        counts.update(problems_passed=bool(passed or drafts), problems_selected=bool(made))
        chosen = {e.sample_id for e in made}
        counts.update(problems_from_draft=any(s.id in chosen for s in spare))
        lengths["passed"] += [_length(s) for s in whole or spare]
        lengths["selected"] += [_length(s) for s in whole or spare if s.id in chosen]
    report = _report(config, examples, counts, before, after, lengths)
    report["warnings"] += lost_domains(ledger, config, before, after) if examples else []
    return examples, report


def samples_of(problem: Problem, ledger: Ledger) -> list[Sample]:
    """A problem's samples by sample index: the order they were written in depends on timing, this does not."""
    return sorted(ledger.rows(Sample, problem_id=problem.id), key=lambda s: (s.sampling.get("index", 0), s.id))


def preferred(samples: list[Sample], config: Config) -> list[Sample]:
    """Samples in the order of select.prefer, ties by sample index; `confident` puts unknown confidence last."""
    if config.select.prefer == "shortest":
        return sorted(samples, key=_length)
    if config.select.prefer == "confident":
        return sorted(samples, key=lambda s: -s.confidence if s.confidence is not None else float("inf"))
    return list(samples)


def _length(sample: Sample) -> int:
    """Characters that the model wrote."""
    return sum(len(m.get("content") or "") for m in sample.messages if m["role"] == "assistant")


def _examples(problem: Problem, samples: list[Sample], mode: StudentMode, config: Config) -> list[Example]:
    """At most max_per_problem examples of different texts; one of the answer alone."""
    limit = 1 if mode == "direct" else config.select.max_per_problem
    prompt = student_messages(problem, mode, config)
    texts: set[str] = set()
    examples: list[Example] = []
    for sample in samples:
        completion = complete(sample, mode, config.answer.marker)
        if completion is None or sample.answer is None or completion.text in texts or len(examples) == limit:
            continue
        texts.add(completion.text)
        messages = prompt + completion.messages
        examples.append(
            Example(
                id=content_id("example", sample.id, mode, messages),
                sample_id=sample.id,
                mode=mode,
                messages=messages,
                spans=completion.after(prompt),
            )
        )
    return examples


def _report(
    config: Config,
    examples: list[Example],
    counts: Counter[str],
    before: Counter[str],
    after: Counter[str],
    lengths: dict[str, list[int]],
) -> dict[str, Any]:
    modes = Counter(e.mode for e in examples)
    ratio = _mean(lengths["selected"]) / _mean(lengths["passed"]) if any(lengths["passed"]) else None
    warnings = [
        f"no sample can be learned from in mode {mode!r}; look at the verdicts, or take it out of select.modes"
        for mode in config.select.modes
        if not modes[mode]
    ]
    return {
        **counts,
        "examples": len(examples),
        "modes": {mode: modes[mode] for mode in config.select.modes},
        "length_ratio": None if ratio is None else round(ratio, 3),
        "domains": {"before": dict(before), "after": dict(after)},
        "warnings": warnings,
    }


def _mean(values: list[int]) -> float:
    return sum(values) / len(values) if values else 0.0
