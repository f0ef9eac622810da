"""Is it the answer that most samples of the problem give? Self-consistency, for problems without a gold answer.

Source: Wang et al. 2022, arXiv:2203.11171. Agreement is no proof: what a teacher gets wrong in the same way each time
passes. It judges a problem's samples together; of one sample alone it can only say that it has no answer.
"""

from collections import Counter
from typing import NamedTuple

from rdistill.records import Problem, Reason, Sample, Status, Verdict
from rdistill.verifiers import Verifier, failed, passed, registry, unverifiable

TEXT = "text"
VOTERS = ("answer", "revision")


class Count(NamedTuple):
    """The most frequent answer; `is_tied` where another one is as frequent."""

    answer: str
    votes: int
    voters: int
    is_tied: bool

    @property
    def share(self) -> float:
        return self.votes / self.voters

    def __str__(self) -> str:
        return f"{self.votes} of {self.voters} samples say {self.answer[:80]!r}"


class Agreement:
    """Options: `equality`, the verifier that says whether two answers are the same, or `text`; an answer passes that
    `min_votes` samples and `min_share` of them give; from `fail_share` on the others fail."""

    name = "agreement"
    version = "1"

    def __init__(
        self, *, equality: str = "math", min_votes: int = 4, min_share: float = 0.75, fail_share: float = 0.75
    ) -> None:
        if not 0 < min_share <= fail_share <= 1 or min_votes < 2:
            raise ValueError("0 < min_share <= fail_share <= 1 and min_votes >= 2 must hold")
        if equality != TEXT and not registry.is_first_party(equality):
            raise ValueError(f"equality {equality!r} is neither 'text' nor a verifier of rdistill")
        self.min_share, self.min_votes, self.fail_share = min_share, min_votes, fail_share
        self.judge: Verifier | None = None if equality == TEXT else registry.create(equality, {})

    def check(self, problem: Problem, sample: Sample) -> Verdict:
        return self.check_group(problem, [sample])[0]

    def check_group(self, problem: Problem, samples: list[Sample]) -> list[Verdict]:
        """A verdict on each sample. Drafts, and samples that were given a hint, do not vote; the order is no matter."""
        whole = [s for s in samples if s.finish_reason != "length"]
        voters = [s for s in whole if s.role in VOTERS and not s.sampling.get("hint")]
        count = self.count(problem, voters)
        return [self.verdict(problem, sample, count) for sample in samples]

    def count(self, problem: Problem, voters: list[Sample]) -> Count | None:
        """The vote, in which a sample without an answer counts as another one; None if there is no answer at all."""
        texts = Counter(self.normal(s.answer) for s in voters if s.answer is not None)
        classes: dict[str, int] = {}
        for text, votes in sorted(texts.items(), key=lambda item: (-item[1], item[0])):
            same = next((other for other in classes if self.compare(problem, text, other) is Status.PASS), text)
            classes[same] = classes.get(same, 0) + votes
        if not classes:
            return None
        most = max(classes.values())
        winners = sorted(answer for answer, votes in classes.items() if votes == most)
        return Count(winners[0], most, len(voters), len(winners) > 1)

    def verdict(self, problem: Problem, sample: Sample, count: Count | None) -> Verdict:
        if sample.finish_reason == "length":
            return unverifiable(self, sample, Reason.TRUNCATED, "the reply was cut")
        if sample.answer is None:
            return unverifiable(self, sample, Reason.NO_ANSWER, "nothing stands after the marker")
        if count is None or count.votes < self.min_votes or count.share < self.min_share or count.is_tied:
            said = f"{count}, {'a tie' if count.is_tied else 'too few'}" if count else "no sample votes"
            return unverifiable(self, sample, Reason.AMBIGUOUS, said)
        same = self.compare(problem, self.normal(sample.answer), count.answer)
        if same is Status.PASS:
            return passed(self, sample, str(count))
        if same is Status.FAIL and count.share >= self.fail_share:
            return failed(self, sample, Reason.WRONG_ANSWER, f"{sample.answer[:80]!r}, but {count}")
        return unverifiable(self, sample, Reason.AMBIGUOUS, f"{sample.answer[:80]!r}, but only {count}")

    def normal(self, text: str) -> str:
        """Text without needless blanks, and without case where the text is what counts."""
        text = " ".join(text.split())
        return text.casefold() if self.judge is None else text

    def compare(self, problem: Problem, one: str, other: str) -> Status:
        """Whether two answers are the same; not known where each as the other's gold is judged differently."""
        if one == other:
            return Status.PASS
        if self.judge is None:
            return Status.FAIL
        found = {self.judge.check(*as_gold(problem, a, b)).status for a, b in ((one, other), (other, one))}
        return found.pop() if len(found) == 1 else Status.UNVERIFIABLE


def as_gold(problem: Problem, gold: str, answer: str) -> tuple[Problem, Sample]:
    """A problem with that gold, and a sample that gives that answer."""
    sample = Sample.create(
        problem_id=problem.id,
        messages=[{"role": "assistant", "content": answer}],
        rationale=None,
        answer=answer,
        finish_reason="stop",
        usage={},
        sampling={},
        engine="agreement",
    )
    return problem.model_copy(update={"gold": gold}), sample
