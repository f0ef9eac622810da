"""Is the final answer the expected number, expression or text?

One final answer only, compared exactly: numbers as fractions, with percent, currency and units; then tuples, sets and
intervals item by item; and only what is left goes to math-verify and sympy, behind filters. Not for proofs.
"""

import re

from rdistill.verifiers.math.boxes import spell_boxes, stated_boxes
from rdistill.verifiers.math.compare import Outcome, compare, is_readable
from rdistill.verifiers.math.declared import Ambiguous, declared_answers
from rdistill.verifiers.math.extract import final_answer
from rdistill.verifiers.math.several import settled

from rdistill.answers import normalise_reasoning
from rdistill.records import Problem, Reason, Sample, Verdict
from rdistill.verifiers import failed, passed, unverifiable

MAX_TEXT = 2_000_000
WORD = re.compile(r"[A-Za-z]{2,}")
GSM8K_MARK = "####"
CALL_OPEN = "<tool_call>"

REFUSALS = {
    Outcome.DIFFERENT: Reason.WRONG_ANSWER,
    Outcome.AMBIGUOUS: Reason.AMBIGUOUS,
    Outcome.UNREADABLE: Reason.UNPARSEABLE,
}


class Math:
    """Option `strict`: the answer must have been declared after the marker; otherwise it may also be in a box, after
    "the answer is", or the last number. `gold` is a number or text, LaTeX allowed."""

    name = "math"
    version = "8"

    def __init__(self, *, strict: bool = False) -> None:
        self.strict = strict

    def check(self, problem: Problem, sample: Sample) -> Verdict:
        gold = gold_text(problem.gold)
        if gold is None or not is_readable(gold):
            return unverifiable(self, sample, Reason.BAD_GOLD, f"gold {str(problem.gold)[:80]!r} cannot be read")
        if sample.finish_reason == "length":
            return unverifiable(self, sample, Reason.TRUNCATED, "the reply was cut")
        try:
            answer = self.answer(sample, gold)
        except Ambiguous as error:
            return failed(self, sample, Reason.AMBIGUOUS, str(error))
        if not answer:
            return failed(self, sample, Reason.NO_ANSWER, "no final answer")
        outcome = compare(gold, answer)
        detail = f"{answer[:120]!r}, expected {gold[:120]!r}"
        if outcome is Outcome.EQUAL:
            return passed(self, sample, f"{answer[:120]!r}")
        if outcome is Outcome.TOO_COMPLEX:
            return unverifiable(self, sample, Reason.UNPARSEABLE, f"too complex to decide: {detail}")
        return failed(self, sample, REFUSALS[outcome], detail)

    def check_gold(self, problem: Problem, stated: Sample) -> Verdict:
        """Whether the gold, stated as the answer, is right; a whole solution is no answer to learn."""
        if GSM8K_MARK in str(problem.gold):
            fault = f"gold {str(problem.gold)[-80:]!r} is a whole solution; read it with gold_format: hashes"
            return unverifiable(self, stated, Reason.BAD_GOLD, fault)
        return self.check(problem, stated)

    def answer(self, sample: Sample, gold: str) -> str | None:
        """The text of the final answer, or None. Raises Ambiguous if there is more than one."""
        if sample.answer is not None:
            return final_answer(sample.answer, gold, declared=True)
        if self.strict or len(sample.text) > MAX_TEXT or CALL_OPEN in sample.text:
            return None  # a trace that ends in a call has no answer, whatever numbers stand in the call
        _, text, finished = normalise_reasoning(sample.text)
        return final_answer(text, gold, declared=False) if finished else None


def gold_text(gold: object) -> str | None:
    """A gold answer as text: of a whole solution what stands in its box or after GSM8K's mark.

    None for what is neither a number nor text.
    """
    if isinstance(gold, bool) or not isinstance(gold, int | float | str):
        return None
    try:
        text = str(gold).strip()
    except ValueError:  # an integer past Python's digit limit
        return None
    text = text.rpartition(GSM8K_MARK)[2].strip() or text
    if "boxed" not in text:
        return _declared_gold(text)
    text = spell_boxes(text)
    boxes = stated_boxes(text)
    try:
        found = settled(boxes, text, text, "boxes")
        return found.text if found and found.text else text
    except Ambiguous:
        num_words = len(WORD.findall(text)) - sum(len(WORD.findall(f"boxed {box.text}")) for box in boxes)
        is_list = num_words <= 2 * len(boxes)  # labels; more words tell of results on the way
        return ", ".join(box.text for box in boxes) if is_list else text


def _declared_gold(text: str) -> str:
    """Of "Therefore, the answer is $5$." the 5; any other gold as it is."""
    if text.isascii() and " " not in text:
        return text
    try:
        found = settled(declared_answers(text), text, text, "declared answers")
    except Ambiguous:
        return text
    return found.text if found else text
