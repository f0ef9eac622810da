"""Numbers and keys that no reply should give away: payment cards, US social security numbers, private keys."""

import re

CARD = re.compile(r"(?<![\d.,-])\d(?:[ -]?\d){12,18}(?![\d-])")
SOCIAL_SECURITY = re.compile(r"(?<![\d-])(?!000|666|9)\d{3}-(?!00)\d{2}-(?!0000)\d{4}(?![\d-])")
KEY = re.compile(r"-----BEGIN (?:[A-Z]+ ){0,3}PRIVATE KEY-----|(?<![A-Z0-9])AKIA[A-Z0-9]{16}(?![A-Z0-9])")
CARD_STARTS = ("3", "4", "5", "6")


def first_secret(text: str) -> str | None:
    """What kind of secret a text gives away first, or None. The secret itself is not repeated."""
    if KEY.search(text):
        return "a private key"
    if SOCIAL_SECURITY.search(text):
        return "a social security number"
    return "a card number" if any(is_card(m[0]) for m in CARD.finditer(text)) else None


def is_card(text: str) -> bool:
    """Whether digits end in the check digit of a payment card (Luhn)."""
    digits = [int(c) for c in text if c.isdigit()]
    doubled = [2 * d - 9 * (d > 4) if i % 2 else d for i, d in enumerate(reversed(digits))]
    return text.startswith(CARD_STARTS) and len(set(digits)) > 1 and sum(doubled) % 10 == 0
