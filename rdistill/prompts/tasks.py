"""Procedural tasks: rows made by a seeded program instead of read from a file."""

import difflib
from collections.abc import Callable, Iterator
from typing import Any

from rdistill.errors import ConfigError, PrerequisiteError
from rdistill.prompts.arithmetic import arithmetic
from rdistill.prompts.files import Row
from rdistill.prompts.word_problems import word_problems

GYM = "reasoning_gym:"
OWN: dict[str, Callable[..., Iterator[dict[str, str]]]] = {"arithmetic": arithmetic, "word_problems": word_problems}


def make_rows(task: str, size: int, seed: int, options: dict[str, Any]) -> Iterator[Row]:
    """`size` rows {"prompt", "gold"} of a task.

    Raises: ConfigError for an unknown task or option; PrerequisiteError without reasoning-gym.
    """
    if taken := {"size", "seed"} & set(options):
        raise ConfigError(f"task {task!r}: options {sorted(taken)} are the source's size and the run's seed; move them")
    try:
        if task in OWN:
            made = list(OWN[task](size, seed, **options))
        elif task.startswith(GYM):
            made = list(_gym_rows(task.removeprefix(GYM), size, seed, options))
        else:
            raise ConfigError(f"unknown task {task!r}; known: {', '.join(OWN)}, {GYM}NAME")
    except ConfigError:
        raise
    except (TypeError, ValueError, AssertionError) as error:
        raise ConfigError(f"task {task!r} refuses its options ({error}); correct options") from None
    for number, values in enumerate(made, 1):
        yield Row(f"item {number}", values)


def _gym_rows(name: str, size: int, seed: int, options: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Question and answer of reasoning-gym's items; their metadata stays out (it may hold the solution)."""
    try:
        import reasoning_gym
        from reasoning_gym.factory import DATASETS
    except ImportError:
        raise PrerequisiteError(f"task {GYM}{name} needs: pip install 'rdistill[reasoning-gym]'") from None
    if name not in DATASETS:
        near = difflib.get_close_matches(name, DATASETS, n=5, cutoff=0.3) or sorted(DATASETS)
        raise ConfigError(f"unknown task {GYM + name!r}; near ones: {', '.join(near)}")
    items = reasoning_gym.create_dataset(name, size=size, seed=seed, **options)
    for index in range(size):
        item = items[index]
        yield {"prompt": item["question"], "gold": item["answer"]}
