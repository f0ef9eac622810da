"""One-step word problems about adding, subtracting and multiplying small numbers, each with its answer.

Many templates, names and things, so that two problems seldom share a wording and are not near-duplicates.
"""

import random
from collections.abc import Iterator

from rdistill.errors import ConfigError

WORDS = {
    "names": "Ada Amir Anna Ben Carla Chen Clara David Diego Ella Emma Farah Felix Grace Hana Hugo Ida Ivan Jack Jana "
    "Kofi Lena Leo Liam Lucy Maria Mina Nadia Nina Noah Olga Omar Paul Priya Rosa Sam Sara Tom Uma Victor Yuki "
    "Zoe",
    "things": "apples balls beads bells books bottles buttons candles cards carrots coins cookies cups dolls eggs "
    "erasers feathers flowers hats kites lemons magnets marbles muffins mugs nuts oranges pears pencils pens "
    "photos pins plates plums postcards puzzles ribbons rings seeds shells spoons stamps stickers stones "
    "tickets toys",
}
NAMES, THINGS = WORDS["names"].split(), WORDS["things"].split()

TEMPLATES = {
    "add": (
        "{name} has {a} {things}. {other} gives {name} {b} more {things}. How many {things} does {name} have now?",
        "There are {a} {things} on the table and {b} {things} in the drawer. How many {things} are there in all?",
        "{name} found {a} {things} in the morning and {b} in the afternoon. How many did {name} find that day?",
        "A shop sold {a} {things} on Monday and {b} on Tuesday. What is the total number of {things} sold?",
        "{name} and {other} put their {things} together. {name} brought {a} and {other} brought {b}. How many is that?",
        "A basket held {a} {things}. Then {name} dropped {b} more into it. How many {things} does the basket hold now?",
        "Last year {name} collected {a} {things}. This year {name} collected {b}. How many is that altogether?",
        "{other} owns {b} more {things} than {name}. If {name} owns {a} {things}, how many does {other} own?",
        "At the market {name} bought {a} {things} for the school and {b} for home. How many {things} were bought?",
        "A red bag contains {a} {things}, a blue bag contains {b}. How many {things} are in both bags together?",
        "{name} counted {a} {things} before lunch, then {b} others after lunch. How many {things} were counted?",
        "To make a gift, {name} used {a} {things}, and {other} used {b}. How many {things} went into the gift?",
    ),
    "subtract": (
        "{name} had {a} {things} and gave {b} of them to {other}. How many {things} does {name} have left?",
        "There were {a} {things} in the box. {name} took out {b}. How many {things} are still in the box?",
        "{name} bought {a} {things}, but {b} of them were broken. How many {things} were not broken?",
        "{name} has {a} {things} and {other} has {b}. How many more {things} does {name} have than {other}?",
        "A class needs {a} {things}. So far {name} has brought {b}. How many {things} are still missing?",
        "Out of {a} {things} for sale, {b} were sold by noon. How many {things} remained unsold?",
        "{name} lost {b} {things} on the way home after starting with {a}. How many {things} came home?",
        "A shelf can hold {a} {things}. {name} has already put {b} there. How many more {things} fit on the shelf?",
        "{other} borrowed {b} of the {a} {things} that belong to {name}. How many {things} stayed with {name}?",
        "Together {name} and {other} have {a} {things}. {other} has {b} of them. How many {things} are {name}'s?",
        "{name} wants to pack {a} {things}. After an hour {b} are packed. How many {things} are left to pack?",
        "Of the {a} {things} in the garden, the wind blew away {b}. How many {things} were left in the garden?",
    ),
    "multiply": (
        "{name} has {a} bags with {b} {things} in each bag. How many {things} does {name} have in total?",
        "Each of {a} children brings {b} {things} to the party. How many {things} are brought altogether?",
        "{name} buys {b} {things} every day for {a} days. How many {things} does {name} buy?",
        "There are {a} rows of {things} with {b} in every row. How many {things} are there?",
        "One box holds {b} {things}. How many {things} do {a} such boxes hold?",
        "{name} has {b} {things}. {other} has {a} times as many. How many {things} does {other} have?",
        "A machine makes {b} {things} per minute. How many {things} will it make in {a} minutes?",
        "{name} gives {b} {things} to each of {a} friends. How many {things} did {name} give away?",
        "On each of {a} shelves stand {b} {things}. How many {things} stand on the shelves in all?",
        "A pack of {things} contains {b}. {name} orders {a} packs for {other}. How many {things} will arrive?",
        "Every page of the album shows {b} {things}, and {name} filled {a} pages. How many {things} are shown?",
        "{name} sorted the {things} into {a} equal piles of {b}. How many {things} were sorted?",
    ),
}


def word_problems(
    size: int,
    seed: int = 0,
    *,
    max_number: int = 40,
    max_factor: int = 10,
    operations: tuple[str, ...] | list[str] = ("add", "subtract", "multiply"),
) -> Iterator[dict[str, str]]:
    """Make `size` different problems as {"prompt", "gold"}; a smaller size with the same seed gives the first of them.

    Operands of add and subtract are 2..max_number, factors are 2..max_factor, differences are at least 1.
    Raises: ConfigError for an unknown operation, or where the numbers allow too few problems.
    """
    unknown = sorted(set(operations) - set(TEMPLATES))
    if unknown or not operations:
        raise ConfigError(f"operations={list(operations)}: choose from {', '.join(TEMPLATES)}")
    if min(max_number, max_factor) < 3:
        raise ConfigError(f"max_number={max_number}, max_factor={max_factor}: both must be at least 3")
    rng = random.Random(f"word_problems {seed}")
    seen: set[str] = set()
    for _ in range(20 * size):
        if len(seen) == size:
            return
        row = _draw(rng, max_number, max_factor, list(operations))
        if row["prompt"] not in seen:
            seen.add(row["prompt"])
            yield row
    if len(seen) < size:
        raise ConfigError(f"word_problems: size={size} is more than these options can make ({len(seen)}); lower it")


def _draw(rng: random.Random, max_number: int, max_factor: int, operations: list[str]) -> dict[str, str]:
    operation = rng.choice(operations)
    if operation == "multiply":
        a, b = rng.randint(2, max_factor), rng.randint(2, max_factor)
        gold = a * b
    elif operation == "add":
        a, b = rng.randint(2, max_number), rng.randint(2, max_number)
        gold = a + b
    else:
        a = rng.randint(3, max_number)
        b = rng.randint(2, a - 1)
        gold = a - b
    name, other = rng.sample(NAMES, 2)
    template = rng.choice(TEMPLATES[operation])
    return {"prompt": template.format(name=name, other=other, things=rng.choice(THINGS), a=a, b=b), "gold": str(gold)}
