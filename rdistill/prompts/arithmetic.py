"""Bare calculations, `What is 75 - 19?`: exercise in the arithmetic that word problems need."""

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
) -> Iterator[dict[str, str]]:
    """Make `size` different calculations as {"prompt", "gold"}; a smaller size with the same seed gives the first.

    Terms have 1 to `max_digits` digits, each length as often as another. Of a product and its division one factor is
    at most `max_factor`, the other has at most two digits. No result is negative or a fraction.
    Raises: ConfigError for an unknown operation, or where the numbers allow too few calculations.
    """
    unknown = sorted(set(operations) - set(SIGNS))
    if unknown or not operations:
        raise ConfigError(f"operations={list(operations)}: choose from {', '.join(SIGNS)}")
    if not 1 <= max_digits <= 9 or max_factor < 3:
        raise ConfigError(f"max_digits={max_digits}, max_factor={max_factor}: 1 to 9 digits, factors of at least 3")
    rng = random.Random(f"arithmetic {seed}")
    made: dict[str, str] = {}
    for _ in range(TRIES * size):
        if len(made) == size:
            break
        left, sign, right, gold = _draw(rng, rng.choice(list(operations)), max_digits, max_factor)
        made.setdefault(f"What is {left} {sign} {right}?", str(gold))
    if len(made) < size:
        raise ConfigError(f"arithmetic: size={size} is more than these options can make ({len(made)}); lower it")
    for question, answer in made.items():
        yield {"prompt": question, "gold": answer}


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
