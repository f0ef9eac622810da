"""Which language is a piece of text in? By script, then by small words, endings and telling letters.

    scores("Das ist nicht so.")   -> {"de": 3.9, "nl": 0.5, ...}

Linear in the text. A guess: a few words, names and quotations decide nothing, and close relatives are told apart
poorly.
"""

import re
from collections import Counter
from functools import lru_cache

from rdistill.verifiers.language.words import ENDINGS, LETTERS, WORDS

# First and last code points of the letters of a script, and the languages that this module knows to write it.
SCRIPTS: dict[str, tuple[tuple[tuple[int, int], ...], tuple[str, ...]]] = {
    "Latin": (((0x41, 0x5A), (0x61, 0x7A), (0xC0, 0x24F), (0x1E00, 0x1EFF)), (
        "en", "de", "fr", "es", "pt", "it", "nl", "sv", "da", "no", "fi", "pl", "cs", "sk", "hu", "ro", "tr", "id",
        "vi", "ca", "hr", "sl", "et", "lt", "lv",
    )),
    "Cyrillic": (((0x400, 0x52F),), ("ru", "uk", "bg", "sr")),
    "Arabic": (((0x620, 0x64A), (0x66E, 0x6D3), (0x6FA, 0x6FF)), ("ar", "fa", "ur")),
    "Devanagari": (((0x900, 0x97F),), ("hi", "mr", "ne")),
    "Han": (((0x3400, 0x4DBF), (0x4E00, 0x9FFF), (0x20000, 0x2FA1F)), ("zh", "ja")),
    "Kana": (((0x3041, 0x30FF), (0x31F0, 0x31FF), (0xFF66, 0xFF9D)), ("ja",)),
    "Hangul": (((0x1100, 0x11FF), (0x3130, 0x318F), (0xAC00, 0xD7A3)), ("ko",)),
    "Greek": (((0x386, 0x3FF), (0x1F00, 0x1FFF)), ("el",)),
    "Hebrew": (((0x5D0, 0x5EA),), ("he",)),
    "Thai": (((0xE01, 0xE4E),), ("th",)),
    "Bengali": (((0x980, 0x9FF),), ("bn",)),
    "Gurmukhi": (((0xA00, 0xA7F),), ("pa",)),
    "Gujarati": (((0xA80, 0xAFF),), ("gu",)),
    "Tamil": (((0xB80, 0xBFF),), ("ta",)),
    "Telugu": (((0xC00, 0xC7F),), ("te",)),
    "Kannada": (((0xC80, 0xCFF),), ("kn",)),
    "Malayalam": (((0xD00, 0xD7F),), ("ml",)),
    "Armenian": (((0x531, 0x587),), ("hy",)),
    "Georgian": (((0x10A0, 0x10FF),), ("ka",)),
}  # fmt: skip
LANGUAGES = frozenset(code for _, codes in SCRIPTS.values() for code in codes)
DENSE = frozenset(("Han", "Kana", "Hangul"))
"""Scripts in which a letter says as much as several Latin ones."""
DENSE_LETTERS = 3
LETTER_WEIGHT = 0.4
WORD = re.compile(r"(?:[^\W\d_]|[\u0300-\u036f\u0900-\u0dff])+(?:['’][^\W\d_]+)*")
LONGEST_ENDING = 5
ENDING_WEIGHT = 0.3


@lru_cache(maxsize=8192)
def script_of(char: str) -> str:
    """The script of a letter; "" for what is none, "other" for one of a script not listed."""
    if not char.isalpha() and not 0x900 <= ord(char) <= 0xE4E:
        return ""
    code = ord(char)
    return next((name for name, (spans, _) in SCRIPTS.items() if any(a <= code <= b for a, b in spans)), "other")


def letters_by_script(text: str) -> Counter[str]:
    """How many letters of each script, those of dense scripts counted as three."""
    found: Counter[str] = Counter()
    for char, times in Counter(text).items():
        if script := script_of(char):
            found[script] += times * (DENSE_LETTERS if script in DENSE else 1)
    return found


def _shares(table: dict[str, set[str]]) -> dict[str, list[tuple[str, float]]]:
    """For each word or letter, the languages that have it and what it says for each: the fewer, the more."""
    owners: dict[str, list[str]] = {}
    for code, items in table.items():
        for item in sorted(items):
            owners.setdefault(item, []).append(code)
    return {item: [(code, 1 / len(codes)) for code in codes] for item, codes in owners.items()}


WORD_SHARES = _shares({code: set(words.split()) for code, words in WORDS.items()})
ENDING_SHARES = _shares({code: set(endings.split()) for code, endings in ENDINGS.items()})
LETTER_SHARES = _shares({code: set(letters) for code, letters in LETTERS.items()})


def scores(text: str) -> dict[str, float]:
    """Evidence for each language in a piece of text: about 1 for each telling small word. Empty: none at all."""
    found: dict[str, float] = {}
    counts = letters_by_script(text)
    if not counts:
        return {}
    script = max(counts, key=counts.__getitem__)
    codes = SCRIPTS[script][1] if script in SCRIPTS else ()
    if script == "Han":
        codes = ("ja",) if counts["Kana"] else ("zh",)
    if len(codes) == 1:
        return {codes[0]: counts[script] / 6}
    for word in WORD.findall(text.lower().replace("’", "'")):
        for code, share in evidence(word):
            if code in codes:
                found[code] = found.get(code, 0) + share
    return found


@lru_cache(maxsize=32_768)
def evidence(word: str) -> list[tuple[str, float]]:
    """What one word says: 1, shared by the languages that have it, less for its ending and its letters."""
    found = list(WORD_SHARES.get(word, ()))
    if not found and len(word) > LONGEST_ENDING:
        endings = (ENDING_SHARES.get(word[-length:]) for length in range(LONGEST_ENDING, 0, -1))
        found += [(code, ENDING_WEIGHT * share) for code, share in next(filter(None, endings), ())]
    for letter in {c for c in word if c > "z"}:
        found += [(code, LETTER_WEIGHT * share) for code, share in LETTER_SHARES.get(letter, ())]
    return found
