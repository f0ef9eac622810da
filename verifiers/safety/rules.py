"""Rules: words that together, in a few sentences, are a sign of unsafe content. Words, not patterns: nothing is slow.

    {"category": "weapons", "all": [["pipe bomb*", "explosive*"], ["fill*", "attach*"]]}

A rule matches where each of its lists has a phrase within the same few sentences. A phrase is words; `*` ends a word
that may go on. Sentences that deny, forbid or warn are left out before.
"""

import json
import re
import unicodedata
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

PACKAGE_RULES = Path(__file__).with_name("rules.jsonl")
WINDOW_SENTENCES = 3
MAX_RULES, MAX_PHRASES, MAX_PHRASE_CHARS = 1000, 500, 100
SENTENCE = re.compile(r"[^.!?\n]+")
WORD = re.compile(r"[^\W_]+(?:'[^\W_]+)*")
SPELT = re.compile(r"\b(?:[a-z][ .\-_*]){3,40}[a-z]\b")
LOOKALIKES = str.maketrans("013457@$", "oieastas")
TOKEN = re.compile(r"[a-z0-9@$]+")
DENIED = re.compile(
    r"\b(?:\w+n't|cannot|never|not|sorry|illegal|unlawful|crimes?|wrong|"
    r"prevent\w*|avoid\w*|protect\w*|warn\w*|victims of|report (?:it|them|him|her|this)|hotline|help line)\b"
)


class RuleError(ValueError):
    """A rule cannot be used; the message says why."""


class Rule(NamedTuple):
    """A category, and for each list of phrases one pattern of them all."""

    category: str
    lists: tuple[re.Pattern[str], ...]


def read_rule(row: Any) -> Rule:
    """A rule of the form above. Raises RuleError."""
    if not isinstance(row, dict) or row.keys() != {"category", "all"} or not isinstance(row["category"], str):
        raise RuleError(f'rule {str(row)[:80]!r}: expected {{"category": name, "all": [[phrase, ...], ...]}}')
    lists = row["all"]
    if not isinstance(lists, list) or not lists or not all(isinstance(part, list) and part for part in lists):
        raise RuleError(f"rule of {row['category'][:40]!r}: all is no list of lists of phrases")
    phrases = [phrase for part in lists for phrase in part]
    if len(phrases) > MAX_PHRASES or not all(isinstance(p, str) and 0 < len(p) <= MAX_PHRASE_CHARS for p in phrases):
        raise RuleError(
            f"rule of {row['category'][:40]!r}: at most {MAX_PHRASES} phrases of {MAX_PHRASE_CHARS} characters"
        )
    return Rule(row["category"], tuple(_pattern(part) for part in lists))


def _pattern(phrases: Sequence[str]) -> re.Pattern[str]:
    """One pattern for phrases: words literally, with one blank between them."""
    forms = []
    for phrase in phrases:
        words = [(WORD.findall(part.lower()), part.endswith("*")) for part in phrase.split()]
        if not all(found for found, _ in words):
            raise RuleError(f"phrase {phrase!r} has no words")
        forms.append(
            " ".join(" ".join(map(re.escape, found)) + (r"\w*" if open_ended else "") for found, open_ended in words)
        )
    return re.compile(rf"(?<![\w'])(?:{'|'.join(forms)})(?![\w'])")


def read_rules(rows: Iterable[Any] = ()) -> list[Rule]:
    """The package's rules and a user's. Raises RuleError."""
    own = [json.loads(line) for line in PACKAGE_RULES.read_text(encoding="utf-8").splitlines()]
    rules = [read_rule(row) for row in (*own, *rows)]
    if len(rules) > MAX_RULES:
        raise RuleError(f"{len(rules)} rules, at most {MAX_RULES}")
    return rules


def first_match(text: str, rules: Sequence[Rule]) -> tuple[str, str] | None:
    """(category, the words that matched) of the first rule that a text matches, or None."""
    windows = list(_windows(plain(text)))
    for rule in rules:
        for window in windows:
            found = [pattern.search(window) for pattern in rule.lists]
            if all(found):
                return rule.category, ", ".join(match[0] for match in found if match)
    return None


def plain(text: str) -> str:
    """Small letters, without invisible characters, spelt-out words joined, digits within words read as letters."""
    text = unicodedata.normalize("NFKC", text).replace("’", "'").lower()
    text = "".join(c for c in text if unicodedata.category(c) not in ("Cf", "Mn"))
    text = SPELT.sub(lambda m: re.sub(r"[^a-z]", "", m[0]), text)
    return TOKEN.sub(lambda m: read_letters(m[0]), text)


def read_letters(token: str) -> str:
    """A token with its digits as letters, if it has both: p1pe is pipe, 2026 stays."""
    is_mixed = any(c.isalpha() for c in token) and not token.isalpha()
    return token.translate(LOOKALIKES) if is_mixed else token


def _windows(text: str) -> Iterable[str]:
    """Each few sentences that do not deny, as words with one blank between them."""
    kept = [" ".join(WORD.findall(s)) for s in SENTENCE.findall(text) if not DENIED.search(s)]
    kept = [sentence for sentence in kept if sentence]
    for start in range(max(1, len(kept) - WINDOW_SENTENCES + 1)):
        yield " ".join(kept[start : start + WINDOW_SENTENCES])
