"""Answers that are not formulas: words, choices, times of day, ratios, dates, numbers to another base."""

import re
from fractions import Fraction

from rdistill.verifiers.math.number import parse_number
from rdistill.verifiers.math.number_words import SMALL

FUNCTION_NAMES = """
sin cos tan cot sec csc sinh cosh tanh coth sech csch log ln exp sqrt abs pi arcsin arccos arctan asin acos atan
frac max min mod inf infinity nan oo dx dy dz dt
"""
FUNCTIONS = frozenset(FUNCTION_NAMES.split())
WORDS = re.compile(r"[A-Za-z][A-Za-z0-9 ,.;:'\"()/&-]*")
TWO_LETTER_WORDS = """
am an as at be by do go he if in is it me my no of on or so to up us we cm km kg mm ml ft oz lb hr pm
"""
SHORT = frozenset(TWO_LETTER_WORDS.split())
"""Other pairs of letters are products: gh, xy."""
PROSE = re.compile(r"[A-Za-z]{2,}|\b[aAI]\b")
TOKEN = re.compile(r"[a-z0-9]+|[^\sa-z0-9.,;:!?'\"()]")
FILLER_WORDS = """
the a an it is its was will would be are there this that so thus therefore hence we get have has on in at
option choice answer one s
"""
FILLER = frozenset(FILLER_WORDS.split())
IS, DENIALS = frozenset(("is", "was", "are", "were")), frozenset(("not", "or", "either", "t"))
ORDINAL = re.compile(r"\b([0-9]{1,2})(?:st|nd|rd|th)\b")
MONTH_NAMES = "january february march april may june july august september october november december"
MONTHS = frozenset(MONTH_NAMES.split())
CHOICE = re.compile(
    r"(?:I\s+think\s+)?(?:it(?:'|\s+i)s\s+|(?:the\s+)?(?:correct\s+)?(?:option|choice|answer)\s+(?:is\s+)?)?"
    r"\(?([A-J])(?:[).:]\s*.*|\)?)",
    re.DOTALL | re.IGNORECASE,
)
SEVERAL_CHOICES = re.compile(r"\(?[A-J]\)?(?:(?:\s*[,;&]|\s+and\b)?\s*\(?[A-J]\)?)+")
SMALL_CHOICE = re.compile(r"\(?([a-d])\)?")
LABELLED = re.compile(r"\(([A-J])\)\s*(\S.*)", re.DOTALL)
CLOCK = re.compile(r"([0-9]{1,2}):([0-9]{2})\s*(?:([ap])\.?\s?m\.?)?", re.IGNORECASE)
RATIO = re.compile(r"([0-9.]+)\s*(?::|to|\\colon)\s*([0-9.]+)")
COLON = re.compile(r":|\\colon(?![a-z])|(?<!\\)\bto\b")
TIME_PART = re.compile(r"0[0-9]")
BASED = re.compile(r"\(?([0-9A-Z]+)\)?(?:\s*_\s*\{?\s*\(?(\w+)\)?\s*\}?|\s+\(?(?:in )?base[ -](\w+)\)?)")
HALF_DAY = 12 * 60
SYNONYMS = {
    "infinity": "\\infty", "infinite": "\\infty", "+\\infty": "\\infty", "+ \\infty": "\\infty",
    "negative infinity": "-\\infty", "minus infinity": "-\\infty", "- \\infty": "-\\infty",
    "positive infinity": "\\infty", "{}": "\\emptyset", "{ }": "\\emptyset",
}  # fmt: skip
HAS = r"(?:(?:there|it|this|the equation|the system|which|x) (?:is|are|has|have) |has |have )?"
NO_SOLUTION = re.compile(
    rf"(?:so |therefore |thus )?{HAS}no (?:real )?(?:solutions?|roots?)(?: exists?)?|(?:the )?(?:empty|null|void) set"
    r"|(?:the )?solution set is empty|(?:the )?(?:solution|it) (?:does not|doesn't) exist",
    re.IGNORECASE,
)
FOREIGN_NO_SOLUTION = ("无解", "無解", "空集", "解なし")
UNDEFINED_NAME = "does not exist"
UNDEFINED = re.compile(
    r"(?:(?:the )?(?:limit|value|expression|derivative|slope|it)(?: is| =)? )?"
    r"(?:undefined|undef|not defined|dne|d\.n\.e|does(?: not|n't|nt) exist|do not exist|non-?existent|is not defined)",
    re.IGNORECASE,
)


def canonical(text: str) -> str:
    """The one spelling of an answer that has several as a whole."""
    spaced = " ".join(text.split())
    if NO_SOLUTION.fullmatch(spaced) or spaced in FOREIGN_NO_SOLUTION:
        return "\\emptyset"
    return UNDEFINED_NAME if UNDEFINED.fullmatch(spaced) else SYNONYMS.get(spaced.lower(), text)


def has_words(text: str) -> bool:
    """Whether it holds words that are neither LaTeX commands nor functions."""
    plain = re.sub(r"\\(?:begin|end)\{[a-z]+\}|\\[A-Za-z]+", " ", text)
    found = [w.lower() for w in PROSE.findall(plain)]
    return any(w in SHORT if len(w) == 2 else w not in FUNCTIONS and len(set(w)) > 1 for w in found)


def is_words(text: str) -> bool:
    return WORDS.fullmatch(text) is not None and has_words(text)


def same_words(gold: str, answer: str) -> bool:
    """The same words, but for case, articles, punctuation, plurals and "it is"; a list of names in any order."""
    wanted, given = _tokens(gold), _tokens(answer)
    if wanted == given:
        return True
    kept = FILLER - set(wanted)
    if _singular(wanted) == _singular([w for w in given if w not in kept]):
        return True
    if given[-len(wanted) :] == wanted and given[-len(wanted) - 1] in IS and not DENIALS & set(given):
        return True  # "The winner is Jack."
    if MONTHS & set(wanted):
        return sorted(wanted) == sorted(given)
    return len(names := _names(gold)) > 1 and names == _names(answer)


def _tokens(text: str) -> list[str]:
    return [w for w in TOKEN.findall(ORDINAL.sub(r"\1", text.lower())) if w not in ("the", "a", "an", "of")]


def _singular(words: list[str]) -> list[str]:
    return [w[:-1] if len(w) > 3 and w.isalpha() and w.endswith("s") and not w.endswith("ss") else w for w in words]


def _names(text: str) -> list[str]:
    """The members of "Bob, Carol and Alice", sorted."""
    parts = re.split(r",\s*and\s+|,|\s+and\s+|\s+&\s+", text.lower())
    return sorted(part.strip() for part in parts if part.strip())


def choices(text: str) -> str:
    """The letters, sorted, of "C", "(C)", "C. Paris", "option C", "(A), (C)"; "" for anything else."""
    if SEVERAL_CHOICES.fullmatch(text):
        letters = sorted(re.findall("[A-J]", text))
        return "".join(letters) if len(set(letters)) == len(letters) else ""  # II is a Roman number
    match = CHOICE.fullmatch(text)
    return match[1] if match and match[1].isupper() else ""


def small_choice(text: str) -> str:
    """The letter of "c" or "(c)" as "C". Only beside a choice: e and i may be numbers, and r is not R."""
    match = SMALL_CHOICE.fullmatch(text)
    return match[1].upper() if match else ""


def without_label(text: str) -> str:
    """ "(B) 42" as 42."""
    match = LABELLED.fullmatch(text)
    return match[2] if match else text


def same_special(gold: str, answer: str) -> bool | None:
    """Whether two times, ratios or numbers to a base are the same; None if neither is one."""
    if (based := _based(gold)) or _based(answer):
        return based == _based(answer)
    time, other_time = _time(gold), _time(answer)
    if time and other_time:
        return _same_time(time, other_time)
    ratio, other_ratio = _ratio(gold, time), _ratio(answer, other_time)
    if ratio is not None or other_ratio is not None:
        if ratio is None and not set("/.\\") & set(gold):
            return False  # 5:1 is not the number 5
        values = [_value(text) if found is None else found for text, found in ((gold, ratio), (answer, other_ratio))]
        return values[0] == values[1]
    return None if time is other_time or has_words(gold) or has_words(answer) else False


def _time(text: str) -> tuple[int, str] | None:
    """(minutes since midnight or noon, "a", "p" or "")."""
    match = CLOCK.fullmatch(text)
    if match is None or int(match[2]) > 59 or int(match[1]) > 24:
        return None
    hour, half = int(match[1]), (match[3] or "").lower()
    if half and hour == 12:
        hour = 0
    if hour > 12 and not half:
        hour, half = hour - 12, "p"
    return hour * 60 + int(match[2]), half


def _same_time(a: tuple[int, str], b: tuple[int, str]) -> bool:
    return a[0] % HALF_DAY == b[0] % HALF_DAY and (not a[1] or not b[1] or a[1] == b[1])


def _ratio(text: str, time: tuple[int, str] | None) -> Fraction | None:
    """3:4 as a fraction, unless it is a time."""
    match = None if time else RATIO.fullmatch(text)
    try:
        return Fraction(match[1]) / Fraction(match[2]) if match else None
    except (ValueError, ZeroDivisionError):
        return None


def ratio_parts(text: str) -> list[str] | None:
    """The parts of 1:2:3 or of the time 1:02:03; None unless there are three or more."""
    parts = [part.strip() for part in COLON.split(text)]
    return parts if len(parts) > 2 and not has_words("".join(parts)) and not set(",;=<>") & set(text) else None


def same_ratio(gold: list[str], answer: list[str]) -> bool | None:
    """Whether two ratios of as many parts are in proportion, and times equal; None if a part is no number."""
    left, right = [_value(part) for part in gold], [_value(part) for part in answer]
    if None in left or None in right:
        return None
    if left == right or any(TIME_PART.fullmatch(part) for part in gold[1:] + answer[1:]):
        return left == right
    scales = {a / b if b else None for a, b in zip(left, right, strict=True) if a or b}  # type: ignore[operator]
    return len(scales) == 1 and scales.isdisjoint((None, 0))


def _value(text: str) -> Fraction | None:
    number = parse_number(text)
    return number.value if number else None


def _based(text: str) -> tuple[str, str] | None:
    """(digits, base) of 101_2."""
    match = BASED.fullmatch(text)
    base = (match[2] or match[3]) if match else ""
    return (match[1], str(SMALL.get(base, base))) if match and match[1][0].isdigit() else None
