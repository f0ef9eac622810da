"""Procedural tasks: right, seeded, without duplicates, and spread over many wordings."""

import re
import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rdistill.errors import ConfigError
from rdistill.prompts.arithmetic import arithmetic
from rdistill.prompts.clusters import grams, near_duplicates
from rdistill.prompts.tasks import make_rows
from rdistill.prompts.word_problems import TEMPLATES, word_problems
from rdistill.tools import evaluate_expression


def test_word_problems_are_seeded_distinct_and_a_longer_list_starts_the_same():
    rows = list(word_problems(500, 3))
    assert rows == list(word_problems(500, 3)) and rows[:100] == list(word_problems(100, 3))
    assert rows != list(word_problems(500, 4))
    assert len({row["prompt"] for row in rows}) == 500


@pytest.mark.parametrize(
    ("operation", "value"),
    [("add", lambda a, b: a + b), ("subtract", lambda a, b: abs(a - b)), ("multiply", lambda a, b: a * b)],
)
def test_gold_is_the_operation_on_the_two_numbers(operation, value):
    for row in word_problems(300, 1, max_number=20, max_factor=6, operations=[operation]):
        first, second = map(int, re.findall(r"\d+", row["prompt"]))
        assert row["gold"] == str(value(first, second))
        assert max(first, second) <= (6 if operation == "multiply" else 20)
        assert "{" not in row["prompt"] and int(row["gold"]) > 0


def test_many_wordings_keep_near_duplicates_rare():
    assert sum(len(t) for t in TEMPLATES.values()) >= 25
    first = near_duplicates([grams(row["prompt"]) for row in word_problems(2000, 0)], 0.8)
    assert len(set(first)) > 0.98 * 2000


def test_more_problems_than_exist_is_refused(monkeypatch):
    monkeypatch.setitem(TEMPLATES, "multiply", ("What is {a} times {b}?",))
    with pytest.raises(ConfigError, match=r"size=10 is more than these options can make \(4\)"):
        list(word_problems(10, 0, max_factor=3, operations=["multiply"]))


HEAVY = ("reasoning_gym", "sympy", "pyarrow", "datasets", "torch")


def test_reasoning_gym_is_imported_late_and_gives_question_and_answer():
    code = f"import sys, rdistill.prompts.tasks, rdistill.select; print([m for m in {HEAVY} if m in sys.modules])"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "[]\n"
    pytest.importorskip("reasoning_gym")
    rows = [row.values for row in make_rows("reasoning_gym:basic_arithmetic", 5, 1, {"max_terms": 3})]
    assert rows == [row.values for row in make_rows("reasoning_gym:basic_arithmetic", 5, 1, {"max_terms": 3})]
    assert all(set(row) == {"prompt", "gold"} for row in rows)
    with pytest.raises(ConfigError, match=r"near ones: .*basic_arithmetic"):
        list(make_rows("reasoning_gym:basic_arithmatic", 5, 1, {}))
    with pytest.raises(ConfigError, match="refuses its options"):
        list(make_rows("reasoning_gym:basic_arithmetic", 5, 1, {"nonsense": 3}))


@given(size=st.integers(1, 60), seed=st.integers(0, 9), digits=st.integers(2, 4))
def test_calculations_are_different_and_their_results_are_right(size, seed, digits):
    rows = list(arithmetic(size, seed, max_digits=digits))
    assert len({row["prompt"] for row in rows}) == size
    for row in rows:
        calculation = row["prompt"].removeprefix("What is ").removesuffix("?")
        assert evaluate_expression(calculation) == int(row["gold"]) >= 0
    assert rows[: size // 2] == list(arithmetic(size // 2, seed, max_digits=digits))


@pytest.mark.parametrize(
    ("size", "options", "word"),
    [
        (3, {"operations": ["power"]}, "operations"),
        (3, {"max_digits": 0}, "max_digits"),
        (99, {"max_digits": 1, "operations": ["add"]}, "lower it"),
    ],
)
def test_calculations_that_cannot_be_made_are_refused(size, options, word):
    with pytest.raises(ConfigError, match=word):
        list(arithmetic(size, **options))
