"""Is the reply neither too short nor too long, in words, characters, tokens or sentences?

Bounds come from the options, or from a gold such as {"max_words": 50}. One linear scan; says nothing about content.
"""

import re
from typing import Any, Literal, get_args

from rdistill.answers import normalise_reasoning
from rdistill.records import Problem, Reason, Sample, Verdict
from rdistill.verifiers import failed, passed, unverifiable

Part = Literal["reply", "answer", "rationale"]
UNITS = ("words", "chars", "tokens", "sentences")
SENTENCE_END = re.compile(r"(?<![.!?…])[.!?…]++[\"'”’)\]*_]*+(?=\s)|[。！？｡।॥؟۔]+[”’」』）]*")
QUOTES = "\"'”’"
LONGEST = 20
"""Characters looked back at for an abbreviation."""
ABBREVIATIONS = frozenset({
    "mr", "mrs", "ms", "dr", "prof", "sr", "jr", "st", "vs", "etc", "e.g", "i.e", "cf", "approx", "dept", "inc",
    "ltd", "co", "corp", "gen", "gov", "sen", "rep", "rev", "hon", "jan", "feb", "mar", "apr", "jun", "jul", "aug",
    "sep", "sept", "oct", "nov", "dec", "a.m", "p.m", "u.s", "u.k", "ph.d",
})  # fmt: skip
BEFORE_A_NUMBER = frozenset({"no", "nos", "fig", "figs", "vol", "p", "pp", "ch", "sec", "eq"})
"""Abbreviations before a number, words elsewhere: No. 5, but "No. It is not."."""


class Length:
    """Options: `min_` and `max_` of `words`, `chars`, `tokens` (split at blanks) and `sentences`; `part` of the reply
    that is measured: "reply" (thinking aside), "answer" (what stands after the marker) or "rationale" (before it)."""

    name = "length"
    version = "2"

    def __init__(
        self,
        *,
        part: Part = "reply",
        min_words: int | None = None,
        max_words: int | None = None,
        min_chars: int | None = None,
        max_chars: int | None = None,
        min_tokens: int | None = None,
        max_tokens: int | None = None,
        min_sentences: int | None = None,
        max_sentences: int | None = None,
    ) -> None:
        if part not in get_args(Part):
            raise ValueError(f"part is {part!r}, expected one of {', '.join(get_args(Part))}")
        given = {
            "min_words": min_words, "max_words": max_words, "min_chars": min_chars, "max_chars": max_chars,
            "min_tokens": min_tokens, "max_tokens": max_tokens,
            "min_sentences": min_sentences, "max_sentences": max_sentences,
        }  # fmt: skip
        self.part = part
        self.bounds = {name: bound for name, bound in given.items() if bound is not None}
        if fault := bounds_fault(self.bounds):
            raise ValueError(fault)

    def check_gold(self, problem: Problem, stated: Sample) -> Verdict:
        """Whether there are bounds, from the options or the gold."""
        try:
            self.bounds_for(problem)
        except ValueError as error:
            return unverifiable(self, stated, Reason.BAD_GOLD, str(error))
        return passed(self, stated)

    def check(self, problem: Problem, sample: Sample) -> Verdict:
        try:
            bounds = self.bounds_for(problem)
        except ValueError as error:
            return unverifiable(self, sample, Reason.BAD_GOLD, str(error))
        if sample.finish_reason == "length":
            return unverifiable(self, sample, Reason.TRUNCATED, "the reply was cut")
        text = self.measured(sample)
        if not text or not text.strip():
            return failed(self, sample, Reason.NO_ANSWER, f"the reply has no {self.part}")
        faults = [fault for unit in UNITS if (fault := unit_fault(text, unit, bounds))]
        return failed(self, sample, Reason.FORMAT, "; ".join(faults)) if faults else passed(self, sample)

    def bounds_for(self, problem: Problem) -> dict[str, int]:
        """Raises ValueError where there are none."""
        bounds = {**self.bounds, **bounds_of(problem.gold)}
        if not bounds:
            raise ValueError('no bounds; set an option, or a gold as {"max_words": 50}')
        return bounds

    def measured(self, sample: Sample) -> str | None:
        if self.part == "answer":
            return sample.answer
        if self.part == "rationale":
            return sample.rationale
        _, text, finished = normalise_reasoning(sample.text)
        return text if finished else None


def unit_fault(text: str, unit: str, bounds: dict[str, int]) -> str | None:
    """What is wrong with a text's length in one unit, or None. Counts only what is bounded."""
    low, high = bounds.get(f"min_{unit}"), bounds.get(f"max_{unit}")
    if low is None and high is None:
        return None
    length = count(text, unit)
    if low is not None and length < low:
        return f"{length} {unit}, at least {low}"
    return f"{length} {unit}, at most {high}" if high is not None and length > high else None


def count(text: str, unit: str) -> int:
    """The length of a text in one of UNITS. A word is a token with a letter or digit in it."""
    if unit == "chars":
        return len(text)
    if unit == "sentences":
        return sum(sentences_in(line) for line in text.splitlines())
    tokens = text.split()
    return len(tokens) if unit == "tokens" else sum(any(c.isalnum() for c in token) for token in tokens)


def sentences_in(line: str) -> int:
    """Sentences of one line: a line's end ends one, an abbreviation's or a list number's full stop does not."""
    found, start = 0, 0
    for end in SENTENCE_END.finditer(line):
        before = line[max(start, end.start() - LONGEST) : end.start()]
        after = line[end.end() : end.end() + LONGEST].lstrip()
        if end[0] == "." and (
            is_short(before, after) or (end.start() < LONGEST and is_list_number(line[: end.start()]))
        ):
            continue
        if end[0][-1] in QUOTES and after[:1].islower():
            continue  # he said "Stop!" and left
        found += any(c.isalnum() for c in line[start : end.start()])
        start = end.end()
    return found + any(c.isalnum() for c in line[start:])


def is_short(text: str, after: str) -> bool:
    """Whether a text ends in an abbreviation or an initial, given what comes after it."""
    word = text.split()[-1].strip("(\"'“‘[*_").lower() if text.strip() else ""
    if word in BEFORE_A_NUMBER:
        return after[:1].isdigit()
    return word in ABBREVIATIONS or (len(word) == 1 and word.isalpha() and word != "i")


def is_list_number(text: str) -> bool:
    return text.strip("-*# \t").isdigit()


def bounds_of(gold: Any) -> dict[str, int]:
    """The bounds that a gold answer is; none, where it is about something else. Raises ValueError for bad ones."""
    known = {f"{side}_{unit}" for side in ("min", "max") for unit in UNITS}
    if not isinstance(gold, dict) or not gold.keys() & known:
        return {}
    if unknown := sorted(gold.keys() - known):
        raise ValueError(f"gold has {unknown[0][:40]!r} beside its bounds, expected min_ or max_ of {', '.join(UNITS)}")
    if fault := bounds_fault(gold):
        raise ValueError(fault)
    return dict(gold)


def bounds_fault(bounds: dict[str, Any]) -> str | None:
    """What is wrong with bounds, or None."""
    for name, bound in bounds.items():
        if type(bound) is not int or bound < 0:
            return f"{name} is {str(bound)[:40]!r}, expected a whole number from 0 on"
    for unit in UNITS:
        low, high = bounds.get(f"min_{unit}", 0), bounds.get(f"max_{unit}")
        if high is not None and low > high:
            return f"min_{unit}={low} is above max_{unit}={high}"
    return None
