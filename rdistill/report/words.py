"""Numbers and model text as people read them.

Model text is hostile: what would be invisible or would reorder a line is made visible here; the template escapes the
rest.
"""

import math
import unicodedata
from typing import Any, TypeGuard

MAX_ANSWER, MAX_TEXT = 6_000, 200_000
STUDENTS = ("dpo", "sft")
MODES = {"explain": "Explaining its steps", "tool": "With its calculator", "direct": "Answering directly"}


def reveal(text: str, limit: int = MAX_TEXT) -> str:
    """Text with control, bidirectional, zero-width and unpaired surrogate characters shown as marks, cut at `limit`."""
    shown = "".join(c if is_plain(c) else f"⟨U+{ord(c):04X}⟩" for c in text[:limit])
    return shown if len(text) <= limit else f"{shown}\n... ({len(text) - limit} more characters)"


def is_plain(character: str) -> bool:
    """Whether a character shows as what it is: no control, format, surrogate or separator but newline and tab."""
    return character in "\n\t" or unicodedata.category(character) not in ("Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp")


def is_number(value: Any) -> TypeGuard[int | float]:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def percent(value: Any) -> str:
    """A share as `43.5%`; a dash where there is none."""
    return f"{value:.1%}" if is_number(value) else "–"


def points(value: Any) -> str:
    """A difference of shares as `+12.0 points`."""
    return f"{100 * value:+.1f} points".replace("-", "−") if is_number(value) else "–"


def number(value: Any, digits: int = 1) -> str:
    """A plain number with thousands separators; a dash where there is none."""
    if not is_number(value):
        return "–"
    return f"{value:,}" if isinstance(value, int) else f"{value:,.{digits}f}"


def p_value(value: Any) -> str:
    if not is_number(value):
        return "–"
    return "p < 0.001" if value < 0.001 else f"p = {value:.3f}" if value < 0.1 else f"p = {value:.2f}"


def duration(seconds: Any) -> str:
    """Seconds as `8 s`, `3 min 20 s` or `2 h 05 min`."""
    if not is_number(seconds):
        return "–"
    if seconds < 60:
        return f"{seconds:.1f} s" if seconds < 10 else f"{seconds:.0f} s"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest:02d} s" if minutes < 60 else f"{minutes // 60} h {minutes % 60:02d} min"


def headline(card: dict[str, Any]) -> list[str]:
    """What the run achieved, in plain sentences: one paragraph for each mode of the last trained student."""
    models = card.get("models") or {}
    student = next((m for m in STUDENTS if models.get(m)), None)
    if student is None:
        return ["No trained student was measured." if models else "This run has not been evaluated yet."]
    modes = sorted(models[student], key=lambda m: list(MODES).index(m) if m in MODES else len(MODES))
    return [" ".join(_sentences(card, student, mode)) for mode in modes]


def _sentences(card: dict[str, Any], student: str, mode: str) -> list[str]:
    """Right answers, the comparison with the base, and tokens: the parts that were measured."""
    models = card["models"]
    score = models[student][mode]
    base = (models.get("base") or {}).get(mode)
    teacher = next(iter((models.get("teacher") or {}).values()), None)
    others = [f"the untrained one {percent(base.get('accuracy'))}"] if base else []
    others += [f"the teacher {percent(teacher.get('accuracy'))}"] if teacher else []
    said = [
        f"{MODES.get(mode, mode)}, the student gets {percent(score.get('accuracy'))} of {number(score.get('n'))} "
        f"held-out problems right{'; ' if others else ''}{', '.join(others)}."
    ]
    said += _compared(card, "base", student, mode)
    tokens = f"It writes {number(score.get('output_tokens_mean'))} tokens an answer"
    spent = f", the teacher {number(teacher.get('output_tokens_mean'))}" if teacher else ""
    return [*said, f"{tokens}{spent}."]


def _compared(card: dict[str, Any], first: str, second: str, mode: str) -> list[str]:
    """The paired test in words, if it was made."""
    for test in card.get("paired") or []:
        if (test.get("first"), test.get("second"), test.get("mode")) == (first, second, mode):
            difference, p = test.get("difference"), test.get("p_value")
            if not is_number(difference) or not is_number(p):
                return []
            if p >= 0.05:
                return [f"That is {points(difference)} over the untrained one, which may be chance ({p_value(p)})."]
            kind = "gain" if difference > 0 else "loss"
            return [f"That is a {kind} of {points(abs(difference)).lstrip('+')} ({p_value(p)})."]
    return []
