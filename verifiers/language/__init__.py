"""Is the reply in the language, or the languages, that it should be in?

A reply may mix in a little of another one. Code, formulas, links and thinking are left aside. What cannot be told, as
in "Paris, 1889", is `unverifiable`. Says nothing about whether the language is good.
"""

import re
from typing import Any

from rdistill.verifiers.language.detect import LANGUAGES, SCRIPTS, letters_by_script, scores, script_of

from rdistill.answers import normalise_reasoning
from rdistill.records import Problem, Reason, Sample, Verdict
from rdistill.verifiers import failed, passed, unverifiable

MAX_TEXT = 200_000
MIN_LETTERS, SEGMENT_LETTERS = 8, 40
LEAST_EVIDENCE, CLEAR_EVIDENCE, NEAR, FAR = 0.5, 1.0, 0.8, 0.6
"""A segment is ours with 0.5 for us and 0.8 of the best; another's with 1.0 for it and under 0.6 of that for us."""
SHARE_TOLD = 0.3
"""Share of the letters that must be told before a reply passes."""
ASIDE = re.compile(
    r"```.*?(?:```|\Z)|`[^`\n]{1,300}`|\$\$?[^$\n]{1,300}\$\$?|\\\([^\n]{1,300}?\\\)|https?://\S+|(?<!\S)\S{1,60}@\S+",
    re.DOTALL,
)
SENTENCE = re.compile(r"[^.!?。！？।\n]+[.!?。！？।\n]*")
ALIASES = {"nb": "no", "nn": "no", "bs": "hr", "in": "id", "iw": "he"}


class Language:
    """Options: `languages`, ISO 639-1 codes, where the gold is something else; `max_foreign`, the share of the reply's
    letters that may be in another language."""

    name = "language"
    version = "1"

    def __init__(self, *, languages: list[str] | None = None, max_foreign: float = 0.15) -> None:
        if not 0 <= max_foreign < 1:
            raise ValueError(f"max_foreign is {max_foreign}, expected a share from 0 to under 1")
        self.languages, self.max_foreign = codes_of(languages) if languages is not None else frozenset(), max_foreign

    def check_gold(self, problem: Problem, stated: Sample) -> Verdict:
        """Whether the wanted languages are known, from the options or the gold."""
        try:
            self.languages or codes_of(problem.gold)
        except ValueError as error:
            return unverifiable(self, stated, Reason.BAD_GOLD, str(error))
        return passed(self, stated)

    def check(self, problem: Problem, sample: Sample) -> Verdict:
        try:
            wanted = self.languages or codes_of(problem.gold)
        except ValueError as error:
            return unverifiable(self, sample, Reason.BAD_GOLD, str(error))
        if sample.finish_reason == "length":
            return unverifiable(self, sample, Reason.TRUNCATED, "the reply was cut")
        _, text, finished = normalise_reasoning(sample.text)
        if not finished or not text:
            return failed(self, sample, Reason.NO_ANSWER, "no reply")
        own, foreign, untold, other = weigh(ASIDE.sub(" ", text[:MAX_TEXT]), wanted)
        told = own + foreign
        if told and foreign / told > self.max_foreign and foreign >= MIN_LETTERS:
            return failed(self, sample, Reason.FORMAT, f"{foreign / told:.0%} in another language, such as {other}")
        if own < MIN_LETTERS or own < SHARE_TOLD * (told + untold):
            return unverifiable(self, sample, Reason.UNPARSEABLE, "too few telling words")
        return passed(self, sample)


def codes_of(gold: Any) -> frozenset[str]:
    """Languages as ISO 639-1 codes: "pt-BR" is pt. Raises ValueError for what is none, or one that is not known."""
    given = [gold] if isinstance(gold, str) else gold
    if not isinstance(given, list) or not given or not all(isinstance(code, str) for code in given):
        raise ValueError(f"language is {str(gold)[:60]!r}, expected a code such as 'en', or a list of them")
    short = [re.split(r"[-_]", code.strip().lower())[0] for code in given]
    codes = frozenset(ALIASES.get(code, code) for code in short)
    if unknown := sorted(codes - LANGUAGES):
        raise ValueError(f"language {unknown[0][:20]!r} is not known; known: {', '.join(sorted(LANGUAGES))}")
    return codes


def weigh(text: str, wanted: frozenset[str]) -> tuple[int, int, int, str]:
    """(letters in a wanted language, in another, in neither, the other language or script found first)."""
    own = foreign = untold = 0
    first = ""
    scripts = {name for name, (_, codes) in SCRIPTS.items() if wanted & set(codes)}
    for segment in segments(text):
        counts = letters_by_script(segment)
        names = counts.pop("Latin", 0) if "Latin" not in scripts and not is_latin_prose(segment) else 0
        outside = sum(times for script, times in counts.items() if script not in scripts)
        inside = counts.total() - outside
        untold += names
        if outside:
            foreign += outside
            first = first or next(f"{script} letters" for script in counts if script not in scripts)
        found = scores(segment)
        best = max(found, key=found.__getitem__, default="")
        ours = max((found.get(code, 0) for code in wanted), default=0)
        if best and ours >= LEAST_EVIDENCE and ours >= NEAR * found[best]:
            own += inside
        elif best and found[best] >= CLEAR_EVIDENCE and ours < FAR * found[best]:
            foreign += inside
            first = first or best if inside else first
        else:
            untold += inside
    return own, foreign, untold, first


def is_latin_prose(segment: str) -> bool:
    """Whether Latin words in a text of another script are more than names and terms."""
    latin = "".join(char if script_of(char) in ("Latin", "") else " " for char in segment)
    return max(scores(latin).values(), default=0) >= CLEAR_EVIDENCE


def segments(text: str) -> list[str]:
    """Sentences, short ones joined with the next and the last one with the one before: forty letters each or more."""
    joined: list[str] = []
    parts: list[str] = []
    length = 0
    for sentence in SENTENCE.findall(text):
        parts.append(sentence)
        length += letters_by_script(sentence).total()
        if length >= SEGMENT_LETTERS:
            joined.append(" ".join(parts))
            parts, length = [], 0
    rest = " ".join(parts)
    return [*joined[:-1], f"{joined[-1]} {rest}"] if joined else [rest]
