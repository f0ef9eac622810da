"""Is the reply in the declared format: a rationale that is neither empty nor wordy, one marker, a short answer?

Plain counting, no patterns: nothing here can be slow. Says nothing about whether the answer is right.
"""

from rdistill.answers import THINK_CLOSE, THINK_OPEN, split_answer
from rdistill.records import Problem, Reason, Sample, Verdict
from rdistill.verifiers import failed, passed, unverifiable

NO_ANSWER = " .,;:!?…'\"`_"
"""What is no answer by itself: a sign such as + or { } may be one."""


class Format:
    """Options: `marker` before the answer; `min_rationale_chars` and `max_rationale_chars`, bounds of the rationale;
    `max_answer_chars`; `no_think_tags`, refuse <think> in the visible reply. A cut reply is `unverifiable`."""

    name = "format"
    version = "2"

    def __init__(
        self,
        *,
        marker: str = "####",
        min_rationale_chars: int = 1,
        max_rationale_chars: int = 2000,
        max_answer_chars: int = 200,
        no_think_tags: bool = True,
    ) -> None:
        if not marker or min_rationale_chars > max_rationale_chars:
            raise ValueError("marker must not be empty, nor min_rationale_chars above max_rationale_chars")
        self.marker = marker
        self.min_rationale_chars, self.max_rationale_chars = min_rationale_chars, max_rationale_chars
        self.max_answer_chars, self.no_think_tags = max_answer_chars, no_think_tags

    def check(self, problem: Problem, sample: Sample) -> Verdict:
        if sample.finish_reason == "length":
            return unverifiable(self, sample, Reason.TRUNCATED, "the reply was cut")
        fault = self.fault(sample)
        return failed(self, sample, Reason.FORMAT, fault) if fault else passed(self, sample)

    def fault(self, sample: Sample) -> str | None:
        """The first thing wrong with a reply, or None."""
        text = sample.text
        if self.no_think_tags and (THINK_OPEN in text or THINK_CLOSE in text):
            return "think tags in the reply"
        if (count := text.count(self.marker)) != 1:
            return f"{count} markers {self.marker!r}, expected one"
        answer = text.partition(self.marker)[2].strip()
        if not answer.strip(NO_ANSWER):
            return "nothing after the marker"
        if "\n" in answer:
            return "text after the answer's line"
        if len(answer) > self.max_answer_chars:
            return f"answer of {len(answer)} characters, at most {self.max_answer_chars}"
        return self.rationale_fault(sample)

    def rationale_fault(self, sample: Sample) -> str | None:
        length = len(rationale_of(sample, self.marker))
        if length < self.min_rationale_chars:
            return f"rationale of {length} characters, at least {self.min_rationale_chars}"
        if length > self.max_rationale_chars:
            return f"rationale of {length} characters, at most {self.max_rationale_chars}"
        return None


def rationale_of(sample: Sample, marker: str) -> str:
    """What stands before the answer: the sample's rationale, and in a tool trace also the earlier turns."""
    rationale = sample.rationale if sample.rationale is not None else split_answer(sample.text, marker).rationale
    if sample.mode == "tool_trace":
        turns = [m.get("content") or "" for m in sample.messages if m["role"] == "assistant"]
        rationale = "\n".join([*turns[:-1], rationale])
    return rationale.strip()
