"""Build preference pairs from verified samples: same prompt, chosen right, rejected wrong and why.

    best_of_n    a passing and a failing sample of one problem, of similar length; a passing draft where nothing else is
    revision     a failing draft and its passing revision
    tool_trace   a passing and a failing trace
    concise      two passing samples, the chosen one shorter by pair.concise_ratio
    student      the teacher's passing sample and a failing one that the SFT model drew in the same mode; where the
                 teacher has none, the student's own passing sample, and in `direct` the gold answer

contract.py re-checks what is built here; neither trusts the other.
"""

from collections import Counter
from collections.abc import Iterator, Mapping
from itertools import chain, product
from typing import Any, NamedTuple

from rdistill.config import Config
from rdistill.ledger import Ledger
from rdistill.prompts.student import student_messages
from rdistill.records import (
    Message,
    Pair,
    PairSource,
    Problem,
    Reason,
    Sample,
    Status,
    StudentMode,
    Verdict,
    canonical_json,
    content_id,
)
from rdistill.select.completions import FINAL_ROLES, Completion, complete, is_whole
from rdistill.select.select import preferred, samples_of
from rdistill.verifiers.composition import FORM_VERIFIERS

RIGHT_OR_WRONG = 1.0
LONGER = "LONGER"
LENGTH_WARNING = 1.3
Row = dict[str, Any]


class Side(NamedTuple):
    """A sample, and what the student would write for it."""

    sample: Sample
    completion: Completion

    @property
    def length(self) -> int:
        return max(1, len(self.completion.text))


class Match(NamedTuple):
    """A pair in the making; `reason` says what is wrong with the rejected side."""

    chosen: Side
    rejected: Side
    source: PairSource
    mode: StudentMode
    reason: str
    margin: float


def fail_reasons(ledger: Ledger, config: Config) -> dict[str, str]:
    """Each failed sample's reason: that of the first required verifier, in the config's order, that failed it; what is
    wrong with the answer goes before what is wrong with its form.
    """
    voting = [spec.name for spec in config.verify.verifiers if spec.required]
    rank = {name: (name in FORM_VERIFIERS, n) for n, name in enumerate(voting)}
    found: dict[str, dict[str, Verdict]] = {}
    for verdict in ledger.rows(Verdict):
        if verdict.verifier in rank:
            found.setdefault(verdict.sample_id, {})[verdict.verifier] = verdict
    return {
        sample_id: min(failed, key=lambda v: rank[v.verifier]).reason.value
        for sample_id, verdicts in found.items()
        if (failed := [v for v in verdicts.values() if v.status is Status.FAIL])
    }


def build_pairs(
    ledger: Ledger, config: Config, status_of: Mapping[str, Status], reason_of: Mapping[str, str] | None = None
) -> tuple[list[Pair], list[Row], dict[str, Any]]:
    """Pairs of the train problems, the same as rows for Parquet, and the report.

    status_of, reason_of: each sample's combined status and (for a fail) its reason, by sample id; without reason_of
    the ledger's verdicts name it.
    """
    builder = _Builder(config, status_of, fail_reasons(ledger, config) if reason_of is None else reason_of)
    pairs: list[Pair] = []
    rows: list[Row] = []
    ratios: dict[str, list[float]] = {}
    for problem in chain(ledger.rows(Problem, split="train"), ledger.rows(Problem, split="pair")):
        for match in builder.matches(samples_of(problem, ledger)):
            pair = _pair(problem, match)
            pairs.append(pair)
            rows.append(pair_row(pair, student_messages(problem, match.mode, config), match))
            ratios.setdefault(pair.source, []).append(match.chosen.length / match.rejected.length)
    return pairs, rows, _report(pairs, ratios)


class _Builder:
    """Finds a problem's pairs, source by source."""

    def __init__(self, config: Config, status_of: Mapping[str, Status], reason_of: Mapping[str, str]) -> None:
        self.config, self.status_of, self.reason_of = config, status_of, reason_of
        self.modes = config.select.modes

    def matches(self, samples: list[Sample]) -> Iterator[Match]:
        """Every pair of one problem, given all its samples; at most pair.max_per_problem of each source and mode."""
        whole = [s for s in samples if is_whole(s)]
        for source in self.config.pair.sources:
            found: dict[StudentMode, list[Match]] = {}
            for match in getattr(self, f"_{source}")(whole):
                found.setdefault(match.mode, []).append(match)
            for matches in found.values():
                yield from matches[: self.config.pair.max_per_problem]

    def _best_of_n(self, samples: list[Sample]) -> Iterator[Match]:
        for mode in self.modes:
            if mode != "tool":
                finals = self._finals(samples)
                yield from self._right_or_wrong(
                    finals, "best_of_n", mode, self._rights(mode, finals, self._drafts(samples))
                )

    def _tool_trace(self, samples: list[Sample]) -> Iterator[Match]:
        if "tool" in self.modes:
            yield from self._right_or_wrong(self._finals(samples), "tool_trace", "tool")

    def _student(self, samples: list[Sample]) -> Iterator[Match]:
        for mode in self.modes:
            own = [s for s in samples if s.role == "student" and s.sampling["mode"] == mode]
            gold = [s for s in samples if s.role == "gold"] if mode == "direct" and self.config.select.gold else []
            right = self._rights(mode, self._finals(samples), self._drafts(samples), own)
            yield from self._right_or_wrong(own, "student", mode, right or gold)

    def _rights(self, mode: StudentMode, *better: list[Sample]) -> list[Sample]:
        """What passed of the first of these that has something to say in a mode."""
        rights = ([s for s in some if self._passed(s)] for some in better)
        return next((right for right in rights if self._sides(right, mode)), [])

    def _right_or_wrong(
        self, samples: list[Sample], source: PairSource, mode: StudentMode, passed: list[Sample] | None = None
    ) -> Iterator[Match]:
        """What of `passed` (default: of `samples`) is right against what of `samples` is wrong."""
        right = self._sides([s for s in samples if self._passed(s)] if passed is None else passed, mode)
        wrong = self._sides([s for s in samples if self._failed(s, mode)], mode)
        rightly = {side.completion.text for side in right}
        wrong = [side for side in wrong if side.completion.text not in rightly]
        for chosen, rejected in _spread(right[:1] if mode == "direct" else right, wrong):
            yield Match(chosen, rejected, source, mode, self.reason_of[rejected.sample.id], RIGHT_OR_WRONG)

    def _revision(self, samples: list[Sample]) -> Iterator[Match]:
        by_id = {s.id: s for s in samples}
        for revised in preferred([s for s in samples if s.role == "revision" and self._passed(s)], self.config):
            draft = by_id.get(revised.parent_id or "")
            while draft is not None and draft.role == "critique":
                draft = by_id.get(draft.parent_id or "")
            if "explain" not in self.modes or draft is None or not self._failed(draft, "explain"):
                continue
            sides = self._sides([revised], "explain"), self._sides([draft], "explain")
            for chosen, rejected in product(*sides):
                if chosen.completion.text != rejected.completion.text:
                    yield Match(chosen, rejected, "revision", "explain", self.reason_of[draft.id], RIGHT_OR_WRONG)

    def _concise(self, samples: list[Sample]) -> Iterator[Match]:
        passed = [s for s in self._finals(samples) if self._passed(s)]
        sides = self._sides(passed, "explain") if "explain" in self.modes else []
        sides.sort(key=lambda side: side.length)
        found = [(short.length / long.length, short, long) for short, long in product(sides, reversed(sides))]
        for ratio, short, long in sorted(found, key=lambda f: f[0]):
            if ratio <= self.config.pair.concise_ratio:
                yield Match(short, long, "concise", "explain", LONGER, round(1 - ratio, 6))

    def _drafts(self, samples: list[Sample]) -> list[Sample]:
        """What stands in where no revision is right, as in the training examples."""
        return [s for s in samples if s.role == "draft"]

    def _finals(self, samples: list[Sample]) -> list[Sample]:
        """The teacher's last words."""
        return [s for s in samples if s.role in FINAL_ROLES]

    def _passed(self, sample: Sample) -> bool:
        return self.status_of.get(sample.id) is Status.PASS and sample.answer is not None

    def _failed(self, sample: Sample, mode: StudentMode) -> bool:
        """Verified wrong for a stated reason. An answer alone is wrong only if the answer is what failed."""
        reason = self.reason_of.get(sample.id)
        if self.status_of.get(sample.id) is not Status.FAIL or reason in (None, Reason.OK, Reason.TRUNCATED):
            return False
        return mode != "direct" or reason == Reason.WRONG_ANSWER

    def _sides(self, samples: list[Sample], mode: StudentMode) -> list[Side]:
        """Samples of different texts in a mode, the preferred first."""
        sides: dict[str, Side] = {}
        for sample in preferred(samples, self.config):
            completion = complete(sample, mode, self.config.answer.marker)
            if completion is not None:
                sides.setdefault(completion.text, Side(sample, completion))
        return list(sides.values())


def _spread(right: list[Side], wrong: list[Side]) -> list[tuple[Side, Side]]:
    """Right against wrong, the most alike in length first; pairs that repeat a side come after those that do not."""
    both = list(product(right, wrong))
    both.sort(key=lambda ab: (abs(ab[0].length - ab[1].length) / max(ab[0].length, ab[1].length), ab[1].sample.id))
    fresh: list[tuple[Side, Side]] = []
    again: list[tuple[Side, Side]] = []
    used: set[str] = set()
    for a, b in both:
        if {a.sample.id, b.sample.id} & used:
            again.append((a, b))
        else:
            fresh.append((a, b))
            used |= {a.sample.id, b.sample.id}
    return fresh + again


def _pair(problem: Problem, match: Match) -> Pair:
    chosen, rejected = match.chosen.sample.id, match.rejected.sample.id
    return Pair(
        id=content_id("pair", problem.id, chosen, rejected, match.source, match.mode),
        problem_id=problem.id,
        chosen_id=chosen,
        rejected_id=rejected,
        source=match.source,
        mode=match.mode,
        reason=match.reason,
        margin=match.margin,
    )


def pair_row(pair: Pair, prompt: list[Message], match: Match) -> Row:
    """A pair with its texts. Spans count messages from the start of prompt + completion."""
    row: Row = pair.model_dump(mode="json") | {"prompt": canonical_json(prompt)}
    for name, side in (("chosen", match.chosen), ("rejected", match.rejected)):
        row[name] = canonical_json(side.completion.messages)
        row[f"{name}_spans"] = canonical_json([s.model_dump() for s in side.completion.after(prompt)])
    return row


def _report(pairs: list[Pair], ratios: dict[str, list[float]]) -> dict[str, Any]:
    """Counts, and each source's mean of chosen length / rejected length in characters."""
    means = {source: round(sum(values) / len(values), 3) for source, values in ratios.items()}
    warnings = [
        f"{source} pairs: chosen is {ratio} times as long as rejected; DPO may learn length instead of correctness"
        for source, ratio in means.items()
        if source != "concise" and not 1 / LENGTH_WARNING <= ratio <= LENGTH_WARNING
    ]
    if not pairs:
        warnings.append(
            "no pairs: no problem has both sides; raise teacher.max_samples or teacher.sampling.temperature"
        )
    return {
        "pairs": len(pairs),
        "problems": len({p.problem_id for p in pairs}),
        "sources": dict(Counter(p.source for p in pairs)),
        "modes": dict(Counter(p.mode for p in pairs)),
        "reasons": dict(Counter(p.reason for p in pairs)),
        "length_ratio": means,
        "warnings": warnings,
    }
