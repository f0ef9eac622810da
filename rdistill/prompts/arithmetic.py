"""Bare calculations, `What is 75 - 19?`: exercise in the arithmetic that word problems need."""

import itertools
import random
from collections.abc import Iterator

from rdistill.errors import ConfigError

SIGNS = {"add": "+", "subtract": "-", "multiply": "*", "divide": "/"}
TRIES = 20


def arithmetic(
    size: int,
    seed: int = 0,
    *,
    max_digits: int = 3,
    max_factor: int = 12,
    operations: tuple[str, ...] | list[str] = tuple(SIGNS),
    per_prompt: int = 1,
) -> Iterator[dict[str, str]]:
    """Make `size` prompts as {"prompt", "gold"}; a smaller size with the same seed gives the first.

    A prompt asks for `per_prompt` calculations, and its gold lists their results: `What is 7 + 5? What is 9 * 4?`,
    `12, 36`. No calculation is asked twice. Several in a prompt leave more of a row to learn from.
    Terms have 1 to `max_digits` digits, each length as often as another. Of a product and its division one factor is
    at most `max_factor`, the other has at most two digits. No result is negative or a fraction.
    Raises: ConfigError for an unknown operation, or where the numbers allow too few calculations.
    """
    unknown = sorted(set(operations) - set(SIGNS))
    if unknown or not operations:
        raise ConfigError(f"operations={list(operations)}: choose from {', '.join(SIGNS)}")
    if not 1 <= max_digits <= 9 or max_factor < 3:
        raise ConfigError(f"max_digits={max_digits}, max_factor={max_factor}: 1 to 9 digits, factors of at least 3")
    if per_prompt < 1:
        raise ConfigError(f"per_prompt={per_prompt}: at least 1")
    rng, wanted = random.Random(f"arithmetic {seed}"), size * per_prompt
    made: dict[str, str] = {}
    for _ in range(TRIES * wanted):
        if len(made) == wanted:
            break
        left, sign, right, gold = _draw(rng, rng.choice(list(operations)), max_digits, max_factor)
        made.setdefault(f"What is {left} {sign} {right}?", str(gold))
    if len(made) < wanted:
        raise ConfigError(
            f"arithmetic: size={size} is more than these options can make ({len(made) // per_prompt}); lower it"
        )
    calculations = iter(made.items())
    while part := list(itertools.islice(calculations, per_prompt)):
        yield {"prompt": " ".join(q for q, _ in part), "gold": ", ".join(a for _, a in part)}


def _draw(rng: random.Random, operation: str, max_digits: int, max_factor: int) -> tuple[int, str, int, int]:
    """Left side, sign, right side, result."""
    sign = SIGNS[operation]
    if operation in ("multiply", "divide"):
        a, b = rng.randint(2, 99), rng.randint(2, max_factor)
        if rng.random() < 0.5:
            a, b = b, a
        return (a, sign, b, a * b) if operation == "multiply" else (a * b, sign, b, a)
    a, b = (rng.randint(1, 10 ** rng.randint(1, max_digits) - 1) for _ in range(2))
    return (a, sign, b, a + b) if operation == "add" else (max(a, b), sign, min(a, b), abs(a - b))
