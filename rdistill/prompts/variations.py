"""Problems told again with other numbers: the same words, the gold equation evaluated anew.

    "Luke scored 84 points in 2 rounds ..."  (84 / 2)  ->  "Luke scored 96 points in 6 rounds ..."  16

The question says which numbers there are and the equation what becomes of them (as in SVAMP's own variations, Patel et
al. 2021, and GSM-Symbolic, Mirzadeh et al. 2024). The teacher solves each variation like any other problem.
"""

import random
import re
from collections.abc import Sequence

from rdistill.config import Config
from rdistill.prompts.clusters import cluster_text, like_any
from rdistill.prompts.rows import Draft
from rdistill.records import Message, Problem
from rdistill.tools import evaluate_expression, format_number

NUMBER = re.compile(r"(?<![\w.,])\d{1,6}(?![\w]|[.,]\d)", re.ASCII)
ANY_DIGIT = re.compile(r"\d", re.ASCII)
COMPOUND = re.compile(r"\d(?:\s*%|[/:]\d)", re.ASCII)
"""20 %, 1/2, 10:30: another value than that of the numbers in it."""
LITERAL = re.compile(r"\d+(?:\.\d+)?", re.ASCII)
TRIES = 200
UNSEEN = 1
"""Added to the seed: other numbers than those of the variations that are trained on."""


def variations(draft: Draft, count: int, seed: int) -> list[Draft]:
    """At most `count` variations of a problem whose gold is the value of an equation, its hint.

    A whole number of the question is replaced, wherever it stands, by one of as many digits; numbers of the equation
    that the question does not name stay. None where the question holds numbers of another form (decimals, 1,000, 3rd,
    20%, 1/2, 10:30), where one of its numbers may be in the equation as another (2 weeks, 14), where none is in it, or
    where no draw gives a whole result of the old one's sign.
    """
    texts = [message["content"] for message in draft.messages]
    named = list(dict.fromkeys(number for text in texts for number in NUMBER.findall(text)))
    values = {float(number) for number in named}
    used = {float(literal) for literal in LITERAL.findall(draft.hint or "")}
    if not used & values or (used - values and values - used):
        return []
    if any(COMPOUND.search(text) or ANY_DIGIT.search(NUMBER.sub("", text)) for text in texts):
        return []
    rng = random.Random(f"variations {seed} {texts}")
    made: dict[str, Draft] = {}
    for _ in range(TRIES):
        if len(made) == count:
            break
        numbers = {number: str(_draw(rng, number)) for number in named}
        equation = _rewritten(draft.hint or "", numbers)
        gold = _value(equation)
        if gold and _sign(gold) == _sign(draft.gold) and len(set(numbers.values())) == len(named):
            messages = [{**m, "content": _replace(m["content"], numbers)} for m in draft.messages]
            made.setdefault(messages[-1]["content"], draft._replace(messages=messages, gold=gold, hint=equation))
    return list(made.values())


def unseen_variations(problems: Sequence[Problem], count: int, config: Config) -> list[Problem]:
    """At most `count` variations of each train problem that has an equation, in split `pair` and in the cluster of that
    problem; none is one of `problems`, or like a held-out one.
    """
    known = {p.id for p in problems}
    told: set[str] = set()
    made: dict[str, Problem] = {}
    for problem in problems:
        words = NUMBER.sub("#", cluster_text(problem.messages))
        if problem.split != "train" or words in told or not _says_gold(problem):
            continue
        told.add(words)
        draft = Draft(problem.messages, str(problem.gold), problem.tools, problem.domain, problem.hint)
        for one in variations(draft, count, config.seed + UNSEEN):
            key = Problem.make_id(one.messages, one.gold, one.tools)
            changed = {"id": key, "messages": one.messages, "gold": one.gold, "hint": one.hint, "split": "pair"}
            made.setdefault(key, problem.model_copy(update=changed))
    fresh = [p for p in made.values() if p.id not in known]
    held = [cluster_text(p.messages) for p in problems if p.split in ("dev", "test")]
    alike = like_any([cluster_text(p.messages) for p in fresh], held, config.prompts.near_duplicate)
    return [p for p, is_like in zip(fresh, alike, strict=True) if not is_like]


def _says_gold(problem: Problem) -> bool:
    """Whether the hint is an equation whose value is the gold answer."""
    try:
        return format_number(evaluate_expression(problem.hint or "")) == problem.gold
    except ValueError:
        return False


def calculation(variation: Draft) -> Draft:
    """The bare calculation of a variation: "What is 96 / 6?"."""
    question: Message = {"role": "user", "content": f"What is {variation.hint}?"}
    return variation._replace(messages=[question], tools=None, domain="calculations", hint=None)


def _draw(rng: random.Random, number: str) -> int:
    """A number of as many digits; 0 and 1 are only drawn for themselves."""
    digits = len(number)
    return int(number) if number in ("0", "1") else rng.randint(max(2, 10 ** (digits - 1)), 10**digits - 1)


def _replace(text: str, numbers: dict[str, str]) -> str:
    return NUMBER.sub(lambda match: numbers[match.group()], text)


def _rewritten(equation: str, numbers: dict[str, str]) -> str:
    """The equation with the new numbers; 84.0 and 84 are the same old one."""
    by_value = {float(old): new for old, new in numbers.items()}
    return LITERAL.sub(lambda match: by_value.get(float(match[0]), match[0]), equation)


def _value(equation: str) -> str | None:
    """The equation's value, or None if it is no whole number."""
    try:
        value = format_number(evaluate_expression(equation))
    except ValueError:
        return None
    return value if re.fullmatch(r"-?\d+", value, re.ASCII) else None


def _sign(gold: str) -> int:
    value = float(gold)
    return (value > 0) - (value < 0)
