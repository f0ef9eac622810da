"""Does the answer choose the right option?

Gold is a letter or an option's text, the options stand in the question, in the gold or in an option of the verifier.
Two options, or one with a doubt, are no choice. Counts no option by number.
"""

from rdistill.verifiers.choice.options import GoldError, Options, options_in, split_gold
from rdistill.verifiers.choice.reading import Doubtful, Reading, candidates

from rdistill.answers import normalise_reasoning
from rdistill.records import Problem, Reason, Sample, Verdict
from rdistill.verifiers import failed, passed, unverifiable

MAX_TEXT = 200_000


class Choice:
    """Options: `choices`, texts of the options A, B, C, ... of every problem, where the question does not list them;
    `strict`, only an answer declared after the marker counts."""

    name = "choice"
    version = "3"

    def __init__(self, *, choices: list[str] | None = None, strict: bool = False) -> None:
        if choices is not None and (len(choices) < 2 or not all(isinstance(c, str) and c.strip() for c in choices)):
            raise ValueError("choices needs two texts at least")
        self.choices, self.strict = choices, strict

    def check(self, problem: Problem, sample: Sample) -> Verdict:
        try:
            answer, listed = split_gold(problem.gold)
            options = Options(listed or self.choices or options_in(question_of(problem)))
            gold = options.find(answer)
        except GoldError as error:
            return unverifiable(self, sample, Reason.BAD_GOLD, str(error))
        if sample.finish_reason == "length":
            return unverifiable(self, sample, Reason.TRUNCATED, "the reply was cut")
        offered = self.offered(sample)
        if not offered:
            return failed(self, sample, Reason.NO_ANSWER, "no final answer")
        try:
            found = Reading(
                options, question=question_of(problem), wants_text=not options.texts and len(gold) > 1
            ).chosen(offered)
        except Doubtful as error:
            return failed(self, sample, Reason.AMBIGUOUS, str(error))
        if found is None:
            return failed(self, sample, Reason.UNPARSEABLE, f"{offered[-1][:120]!r} names no option")
        if found == gold:
            return passed(self, sample, options.show(found))
        if not options.texts and len(gold) > 1 and (len(found) == 1 or f" {gold} " in f" {found} "):
            return unverifiable(self, sample, Reason.BAD_GOLD, f"{found[:80]!r}, but the options are not known")
        return failed(self, sample, Reason.WRONG_ANSWER, f"{options.show(found)}, expected {options.show(gold)}")

    def check_gold(self, problem: Problem, stated: Sample) -> Verdict:
        """Whether the gold option, given as the answer, is right."""
        if isinstance(problem.gold, dict):
            stated = stated.model_copy(update={"answer": str(problem.gold.get("answer"))})
        return self.check(problem, stated)

    def offered(self, sample: Sample) -> list[str]:
        """The pieces of a reply that may hold its choice."""
        if sample.answer is not None:
            return [sample.answer]
        if self.strict or len(sample.text) > MAX_TEXT:
            return []
        _, text, finished = normalise_reasoning(sample.text)
        return candidates(text) if finished else []


def question_of(problem: Problem) -> str:
    """The last user turn."""
    turns = [m.get("content") for m in problem.messages if m.get("role") == "user"]
    return turns[-1] if turns and isinstance(turns[-1], str) else ""
