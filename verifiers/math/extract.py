"""Where the final answer stands in a reply. Linear scans only: the text may be a megabyte of anything."""

import re

from rdistill.verifiers.math.clean import clean, squash
from rdistill.verifiers.math.declared import (
    MAX_DECLARED,
    MAX_WHOLE,
    Ambiguous,
    check_last_word,
    check_not_disowned,
    declared_answers,
)
from rdistill.verifiers.math.number import DECIMAL
from rdistill.verifiers.math.quantity import parse_quantity, same_quantity

TAIL_LINES = 3
NUMBER = re.compile(
    rf"(?<![\w.,])(?:(?<![-+*/^)\w])-\s?)?(?:US\$|[$€£])?\s?(?:(?<=[$€£])-)?{DECIMAL}(?:\s?/\s?[0-9]+(?!\w|\.[0-9]))?(?:\s?\\?%)?"
)
SIGNED = re.compile(r"-?[0-9.]*[0-9]")
MATHS = re.compile(r"(?:\$\$?|\\\(|\\\[)([^$]{1,300}?)(?:\$\$?|\\\)|\\\])")
LISTED = re.compile(r"\s*(?:,|;|and|or|,\s*and|,\s*or)\s*")
BETWEEN_BOXES = re.compile(r"(?:\s|\$|,|;|or\b|and\b|\\q?quad|\\[,;:()\[\] ]|\\text\s*\{\s*(?:or|and|,)?\s*\})*")
LIST_WORD = re.compile(r",|;|or|and")
MAX_BETWEEN = 40
NAME_BEFORE = re.compile(r"(?:(?<![A-Za-z\\])[A-Za-z]|\\[a-z]{2,7})(?:_\{\w{1,3}\}|_\w)?\s*=\s*$")
BOX = re.compile(r"\\{1,2}(?:boxed|fbox)\s{0,3}\{")
BARE_BOX = re.compile(r"\\(?:boxed|fbox)\s+(-?[0-9]+(?:[.,][0-9]+)*|[A-Za-z](?![A-Za-z]))")
FORMULA = re.compile(r"\\|\$\$|[<>]")
FOLLOWS = re.compile(r"\b(?:so|then|therefore|thus|hence|which|leaving|left|means|total|[+*/])\b", re.IGNORECASE)
HEDGE = re.compile(r"\b(?:or|either|alternatively|maybe|perhaps|possibly)\b", re.IGNORECASE)
ALIGNED = re.compile(r"\\begin\{(align|gather|equation|eqnarray)\*?\}(.{1,2000}?)\\end\{\1\*?\}[\s.$]*$", re.DOTALL)


def final_answer(text: str, gold: str, *, declared: bool) -> str | None:
    """The last box, else what follows "the answer is", else (declared) the text itself, else the last number.

    Raises: Ambiguous if boxes or phrases disagree, the last line hedges, or the answer is disowned.
    """
    text = BARE_BOX.sub(r"\\boxed{\1}", text)
    if found := agreed(listed_boxes(text) or tagged(text), "boxes"):
        spans = _box_spans(text)
        start, _, end = spans[-1] if spans else (text.rfind("<answer>"), 0, text.rfind("</answer>"))
        check_last_word(text, start, end, lambda later: _repeats(later, found))
        return found
    if not declared or len(text) > MAX_WHOLE:
        text = text.strip()
        if found := agreed(declared_answers(text), "declared answers"):
            check_not_disowned(text, start := text.rfind(found), start + len(found))
            return found
        if not declared and (found := last_aligned(text)):
            return found
        if not declared and len(text) <= MAX_WHOLE and "\n" not in text and whole_fits(text, gold):
            return text
        return text if declared else last_number(text, gold)
    return agreed(declared_answers(text), "declared answers") or text


def _repeats(later: str, found: str) -> bool:
    """Whether what is declared after a box stands in it, words around it or not, or lists the same numbers."""
    numbers = [SIGNED.findall(text) for text in (later, found)]
    return (
        alike(later, found)
        or bool(re.search(rf"(?<![\w.]){re.escape(found)}(?![\w.])", later))
        or (len(numbers[0]) > 1 and numbers[0] == numbers[1])
    )


def agreed(found: list[str], what: str) -> str | None:
    """The last of them, if all say the same. Raises Ambiguous."""
    if not found:
        return None
    last = found[-1]
    if len(found) > MAX_DECLARED and len({squash(f) for f in found}) > 1:
        raise Ambiguous(f"{len(found)} {what}")
    for other in set(found[-MAX_DECLARED:-1]):
        if not alike(other, last):
            raise Ambiguous(f"two different {what}: {other[:60]!r} and {last[:60]!r}")
    return last


def alike(a: str, b: str) -> bool:
    left, right = clean(a), clean(b)
    if left is None or right is None or squash(left) == squash(right):
        return a == b or (left is not None and right is not None)
    numbers = parse_quantity(left), parse_quantity(right)
    return numbers[0] is not None and numbers[1] is not None and same_quantity(*numbers)


def listed_boxes(text: str) -> list[str]:
    """Contents of every box; those with only a comma, "and" or "or" between them as one list.

    "\\boxed{2} and \\boxed{3}" is "2, 3"; "x = \\boxed{2}, y = \\boxed{3}" is "x = 2, y = 3".
    """
    found: list[list[str]] = []
    text = BARE_BOX.sub(r"\\boxed{\1}", text)
    last_name, last_end = "", len(text)
    for opened, start, end in _box_spans(text):
        value = text[start:end].strip()
        match = NAME_BEFORE.search(text[max(0, opened - MAX_BETWEEN) : opened])
        name = match[0] if match else ""
        between = text[last_end + 1 : opened].removesuffix(name)
        if found and len(between) <= MAX_BETWEEN and BETWEEN_BOXES.fullmatch(between) and LIST_WORD.search(between):
            if len(found[-1]) == 1:
                found[-1][0] = last_name + found[-1][0]
            found[-1] += [" or " if "or" in between else ", ", name + value]
        else:
            found.append([value])
        last_name, last_end = name, end
    return ["".join(parts) for parts in found]


def _box_spans(text: str) -> list[tuple[int, int, int]]:
    """(where it opens, where its contents start and end) of every closed, outermost \\boxed{...} or \\fbox{...}."""
    found: list[tuple[int, int, int]] = []
    starts: list[tuple[int, int, int]] = []  # of open boxes: (where it opens, start of contents, brace depth)
    depth = at = 0
    while at < len(text):
        char = text[at]
        if char == "\\":
            if match := BOX.match(text, at):
                starts.append((at, match.end(), depth))
                depth += 1
            at = match.end() if match else at + 2
            continue
        if char == "{":
            depth += 1
        elif char == "}":
            depth -= 1
            if starts and starts[-1][2] == depth:
                opened, start, _ = starts.pop()
                if not starts:
                    found.append((opened, start, at))
        at += 1
    return found


def tagged(text: str) -> list[str]:
    """What stands in <answer> tags."""
    heads = [part.rpartition("<answer>") for part in text.split("</answer>")[:-1]]
    return [inner.strip() for _, tag, inner in heads if tag and inner.strip()]


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
    return not _has_outer_words(text) and len(_words(cleaned)) < 3


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
