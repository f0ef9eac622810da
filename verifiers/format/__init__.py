"""Is the reply in the declared format: a rationale that is neither empty nor wordy, one marker, a short answer?

Plain counting: nothing here can be slow. Says nothing about whether the answer is right.
"""

import re

from rdistill.answers import split_answer
from rdistill.records import Problem, Reason, Sample, Verdict
from rdistill.verifiers import failed, passed, unverifiable

NO_ANSWER = re.compile(r"(?:[\s.,;:!?…'\"`_\u00ad\u200b-\u200f\u2060\ufeff]|-{2,}+|\*{2,}+|#{2,}+|~{2,}+|={3,}+)*+")
"""What is no answer by itself: blanks, marks, rules and emphasis. A sign such as + or { } may be one."""
THINK_TAG = re.compile(r"</?think(?:ing)?>", re.IGNORECASE)


class Format:
    """Options: `marker` before the answer; `min_rationale_chars` and `max_rationale_chars`, bounds of the rationale;
    `max_answer_chars`; `no_think_tags`, refuse <think> in the visible reply. A cut reply is `unverifiable`."""

    name = "format"
    version = "3"

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
        if self.no_think_tags and THINK_TAG.search(text):
            return "think tags in the reply"
        if (count := text.count(self.marker)) != 1:
            return f"{count} markers {self.marker!r}, expected one"
        if is_longer(text, self.marker):
            return f"{self.marker!r} as part of something longer, expected it on its own"
        answer = text.partition(self.marker)[2].strip()
        if NO_ANSWER.fullmatch(answer):
            return "nothing after the marker"
        if len(answer.splitlines()) > 1:
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


def is_longer(text: str, marker: str) -> bool:
    """Whether a marker of one sign, such as "####", stands in a longer row of them."""
    return len(set(marker)) == 1 and marker + marker[0] in text


def rationale_of(sample: Sample, marker: str) -> str:
    """What stands before the answer: the sample's rationale, and in a tool trace also the earlier turns."""
    rationale = sample.rationale if sample.rationale is not None else split_answer(sample.text, marker).rationale
    if sample.mode == "tool_trace":
        turns = [m.get("content") or "" for m in sample.messages if m["role"] == "assistant"]
        rationale = "\n".join([*turns[:-1], rationale])
    return rationale.strip()
