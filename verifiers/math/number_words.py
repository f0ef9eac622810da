"""Numbers in words: two hundred and fifty, three quarters, one and a half, a dozen."""

from fractions import Fraction

MAX_WORDS = 12
TO_TWENTY = """
zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen seventeen eighteen
nineteen twenty
"""
SMALL = {word: n for n, word in enumerate(TO_TWENTY.split())}
SMALL |= {"thirty": 30, "forty": 40, "fifty": 50, "sixty": 60, "seventy": 70, "eighty": 80, "ninety": 90}
SCALES = {"thousand": 10**3, "million": 10**6, "billion": 10**9, "trillion": 10**12}
PARTS = ["half", "third", "quarter", "fifth", "sixth", "seventh", "eighth", "ninth", "tenth"]
DENOMINATORS = {word: n for n, word in enumerate(PARTS, 2)} | {"fourth": 4, "hundredth": 100}
DENOMINATORS |= {f"{word}s": n for word, n in DENOMINATORS.items()} | {"halves": 2}
AFTER_AN_ARTICLE = {"dozen", "hundred", *SCALES, *DENOMINATORS}


def read_words(text: str) -> tuple[Fraction, str] | None:
    """(value, rest of the text) of the number in words that a text begins with, or None."""
    words = text.lower().replace("-", " ").split()
    if not words or len(words) > MAX_WORDS:
        return None
    if words[0] in ("a", "an", "one") and words[1:2] and words[1] in AFTER_AN_ARTICLE:
        words[0] = "one"
    elif words[0] in ("half", "dozen"):
        words.insert(0, "one")
    value, taken = _integer(words)
    if not taken:
        return None
    total, rest = Fraction(value), words[taken:]
    if rest and rest[0] in DENOMINATORS and 0 < value < 100:
        total, rest = total / DENOMINATORS[rest[0]], rest[1:]
    elif rest[:1] == ["and"] and (part := _fraction(rest[1:])):
        total, rest = total + part, rest[3:]
    elif rest[:1] == ["dozen"]:
        total, rest = total * 12, rest[1:]
    return None if rest and rest[0] in SMALL else (total, " ".join(rest))


def _fraction(words: list[str]) -> Fraction | None:
    """ "a half", "three quarters"."""
    if len(words) < 2 or words[1] not in DENOMINATORS:
        return None
    top = 1 if words[0] == "a" else SMALL.get(words[0], 0)
    return Fraction(top, DENOMINATORS[words[1]]) if top else None


def _integer(words: list[str]) -> tuple[int, int]:
    """(value, number of words) of the whole number at the start; (0, 0) if there is none."""
    total = group = 0
    scale = 10**15
    for at, word in enumerate(words):
        if word in SMALL and _fits(group, SMALL[word], at):
            group += SMALL[word]
        elif word == "hundred" and 0 < group < 100:
            group *= 100
        elif word in SCALES and group and SCALES[word] < scale:
            scale = SCALES[word]
            total, group = total + group * scale, 0
        elif word == "and" and at and group % 100 == 0 and words[at + 1 : at + 2] and words[at + 1] in SMALL:
            if words[at + 2 : at + 3] and words[at + 2] in DENOMINATORS:
                return total + group, at
        else:
            return total + group, at
    return total + group, len(words)


def _fits(group: int, value: int, at: int) -> bool:
    """Whether a word for `value` may follow: twenty-one, one hundred five; not four five."""
    if at == 0:
        return True
    return value > 0 and (group % 100 == 0 or (value < 10 and group % 10 == 0 and group % 100 >= 20))
