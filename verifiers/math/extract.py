"""Where the final answer stands in a reply. Linear scans only: the text may be a megabyte of anything."""

import re

from rdistill.verifiers.math.boxes import spell_boxes, stated_boxes
from rdistill.verifiers.math.clean import clean
from rdistill.verifiers.math.declared import (
    MAX_WHOLE,
    Ambiguous,
    Stated,
    check_last_word,
    check_not_disowned,
    declared_answers,
)
from rdistill.verifiers.math.number import DECIMAL
from rdistill.verifiers.math.quantity import parse_quantity
from rdistill.verifiers.math.several import SEQUENCE, alike, settled

TAIL_LINES = 3
NUMBER = re.compile(
    rf"(?<![\w.,])(?:(?<![-+*/^)\w])-\s?)?(?:US\$|[$€£])?\s?(?:(?<=[$€£])-)?{DECIMAL}(?:[eE][-+]?[0-9]{{1,3}}(?![\w.]))?(?:\s?/\s?[0-9]+(?!\w|\.[0-9]))?(?:\s?\\?%)?"
)
SIGNED = re.compile(r"-?[0-9.]*[0-9]")
MATHS = re.compile(r"(?:\$\$?|\\\(|\\\[)([^$]{1,300}?)(?:\$\$?|\\\)|\\\])")
LISTED = re.compile(r"\s*(?:,|;|and|or|,\s*and|,\s*or)\s*")
FORMULA = re.compile(r"\\|\$\$|[<>]")
FOLLOWS = re.compile(r"\b(?:so|then|therefore|thus|hence|which|leaving|left|means|total|[+*/])\b", re.IGNORECASE)
HEDGE = re.compile(r"\b(?:or|either|alternatively|maybe|perhaps|possibly)\b", re.IGNORECASE)
ALIGNED = re.compile(r"\\begin\{(align|gather|equation|eqnarray)\*?\}(.{1,2000}?)\\end\{\1\*?\}[\s.$]*$", re.DOTALL)


def final_answer(text: str, gold: str, *, declared: bool) -> str | None:
    """The last box, else what follows "the answer is", else (declared) the text itself, else the last number.

    Raises: Ambiguous if boxes or phrases disagree, the last line hedges, or the answer is disowned.
    """
    text = spell_boxes(text)
    if found := settled(stated_boxes(text) or tagged(text), text, gold, "boxes"):
        check_last_word(text, found.start, found.end - 1, lambda later: _repeats(later, found.text))
        return found.text
    if not declared or len(text) > MAX_WHOLE:
        text = text.strip()
        if found := settled(declared_answers(text), text, gold, "declared answers"):
            check_not_disowned(text, start := text.rfind(found.text), start + len(found.text))
            return found.text
        if not declared and (found := last_aligned(text)):
            return found
        if not declared and len(text) <= MAX_WHOLE and "\n" not in text and whole_fits(text, gold):
            return text
        return text if declared else last_number(text, gold)
    found = settled(declared_answers(text), text, gold, "declared answers")
    return found.text if found else text


def _repeats(later: str, found: str) -> bool:
    """Whether what is declared after a box stands in it, words around it or not, or lists the same numbers."""
    numbers = [SIGNED.findall(text) for text in (later, found)]
    return (
        alike(later, found)
        or bool(re.search(rf"(?<![\w.]){re.escape(found)}(?![\w.])", later))
        or (len(numbers[0]) > 1 and numbers[0] == numbers[1])
    )


def tagged(text: str) -> list[Stated]:
    """What stands in <answer> tags."""
    found, end = [], 0
    for part in text.split("</answer>")[:-1]:
        head, tag, inner = part.rpartition("<answer>")
        if tag and inner.strip():
            found.append(Stated(inner.strip(), end + len(head), end + len(part) + 1, is_answer=True))
        end += len(part) + len("</answer>")
    return found


def last_aligned(text: str) -> str | None:
    """The last row of the environment that ends a text."""
    start = text.rfind("\\begin{")
    match = ALIGNED.match(text, start) if start >= 0 else None
    return match[2].strip().removesuffix("\\\\").rpartition("\\\\")[2].replace("&", "").strip() if match else None


def whole_fits(text: str, gold: str) -> bool:
    """Whether a short text is itself an answer: a quantity, or not a sentence with a number that ends it."""
    cleaned = clean(text)
    if cleaned is None or parse_quantity(cleaned) is not None:
        return True
    wanted = clean(gold)
    if wanted is None or parse_quantity(wanted) is None:
        return not _has_outer_words(text)
    return not _has_outer_words(text) and len(_words(cleaned)) < 3 and not _leads_on(text)


def _leads_on(text: str) -> bool:
    """Whether a word of sequence stands between two numbers, of which the last is meant: "First 64, therefore 36"."""
    numbers = [*NUMBER.finditer(text)]
    return len(numbers) > 1 and bool(SEQUENCE.search(text[numbers[0].end() : numbers[-1].start()]))


def _words(text: str) -> list[str]:
    return re.findall(r"[A-Za-z]{2,}", re.sub(r"\\[a-zA-Z]+", " ", text))


def _has_outer_words(text: str) -> bool:
    """Whether words stand around a formula, as in "Answer: $x^2$" (but not in "$6$ units")."""
    return bool(MATHS.search(text)) and bool(_words(MATHS.split(text)[0]))


def last_number(text: str, gold: str) -> str | None:
    """The last number of the last lines that hold one; for a gold that is no number, the last line."""
    lines = [line for line in text[-20_000:].split("\n") if line.strip()][-TAIL_LINES:]
    wanted = clean(gold)
    if wanted is None or parse_quantity(wanted) is None:
        if found := [joined for line in lines if (joined := last_formulas(line))]:
            return found[-1]
        return lines[-1].strip() if lines and len(lines[-1]) <= MAX_WHOLE else None
    if lines and (last := clean(lines[-1])) and parse_quantity(last) is not None:
        return lines[-1].strip()
    for line in reversed(lines):
        matches = list(NUMBER.finditer(line))
        numbers = [m[0].strip() for m in matches]
        if not numbers:
            continue
        check_not_disowned(line, *matches[-1].span())
        formulas = [m for m in MATHS.finditer(line) if FORMULA.search(m[0])]
        if formulas and not re.search(r"[0-9]", line[formulas[-1].end() :]):
            return formulas[-1][1].strip()
        if HEDGE.search(line) and len(numbers) > 1 and "=" not in line and not alike(numbers[-1], numbers[-2]):
            raise Ambiguous(f"the last line offers {numbers[-2]!r} and {numbers[-1]!r}")
        return after_equals(line) or numbers[-1]
    return None


def last_formulas(line: str) -> str | None:
    """The last formula of a line, with those before it that it is listed with: "$x=5$ and $x=-2$"."""
    found = list(MATHS.finditer(line))
    if not found:
        return None
    first = len(found) - 1
    while first and LISTED.fullmatch(line, found[first - 1].end(), found[first].start()):
        first -= 1
    return ", ".join(m[1].strip() for m in found[first:])


def after_equals(line: str) -> str | None:
    """The result of a sum that ends a sentence: 5 in "it takes 120 / 24 = 5 hours to read 120 pages"."""
    head, sign, tail = line.rpartition("=")
    if not sign or not NUMBER.search(head) or FOLLOWS.search(tail):
        return None
    found = NUMBER.search(tail)
    return found[0].strip() if found and not _words(tail[: found.start()]) else None
