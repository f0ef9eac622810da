"""Problems told again with other numbers."""

import json
import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rdistill.config import Config, Source, load_config
from rdistill.errors import ConfigError
from rdistill.prompts import build_problems
from rdistill.prompts.rows import Draft, read_draft
from rdistill.prompts.variations import unseen_variations, variations
from rdistill.tools import evaluate_expression

LUKE = "Luke scored 84 points after playing 2 rounds.\nHow many points did he score per round?"


def draft(question: str, equation: str, gold: str) -> Draft:
    return Draft([{"role": "user", "content": question}], gold, None, "general", equation)


def numbers(text: str) -> list[int]:
    return [int(n) for n in re.findall(r"\d+", text)]


def test_words_stay_numbers_change_and_gold_follows() -> None:
    made = variations(draft(LUKE, "84 / 2", "42"), 5, seed=0)
    assert len(made) == 5
    for variation in made:
        text = variation.messages[0]["content"]
        assert re.sub(r"\d+", "#", text) == re.sub(r"\d+", "#", LUKE)
        points, rounds = numbers(text)
        assert int(variation.gold) * rounds == points
        assert variation.hint == f"{points} / {rounds}"


@given(a=st.integers(2, 999), b=st.integers(2, 999), seed=st.integers(0, 99))
def test_a_difference_keeps_its_sign(a: int, b: int, seed: int) -> None:
    question = f"Ida had {a} figs, 7 plums and gave away {b} figs. How many figs are left?"
    for variation in variations(draft(question, f"{a} - {b}", str(a - b)), 3, seed):
        had, _, gave = numbers(variation.messages[0]["content"])
        assert had - gave == int(variation.gold)
        assert (had > gave) == (a > b) and (had == gave) == (a == b)


def test_a_number_of_the_equation_that_the_question_does_not_name_stays() -> None:
    made = variations(draft("A pen costs 20 cents. What do 3 dozen pens cost?", "20 * 3 * 12", "720"), 2, seed=0)
    for variation in made:
        price, dozens = numbers(variation.messages[0]["content"])
        assert int(variation.gold) == price * dozens * 12


@pytest.mark.parametrize(
    "question",
    [
        "A rope of 2.5 m and one of 3 m?",
        "1,000 bees and 3 more?",
        "The 3rd of 3 bees?",
        "At 10:30 there were 3 bees. 3 more came. How many are there?",
        "3% of the hive and 3 more?",
        "3 % of the hive and 3 more?",
        "3/4 of the hive and 3 more?",
    ],
)
def test_numbers_of_another_form_are_left_alone(question: str) -> None:
    assert variations(draft(question, "3 + 3", "6"), 2, seed=0) == []


@pytest.mark.parametrize(
    ("question", "equation", "gold"),
    [
        ("Ann reads 5 pages a day. How many pages does she read in 2 weeks?", "5 * 14", "70"),
        ("Tom ate 50 percent of 10 apples. How many apples did Tom eat?", "0.5 * 10", "5"),
        ("A shop sold 20% of 50 pens. How many pens were sold?", "0.2 * 50", "10"),
        ("Tom ate 1/2 of 10 apples. How many apples did Tom eat?", "0.5 * 10", "5"),
    ],
)
def test_none_where_a_number_enters_the_equation_as_another(question: str, equation: str, gold: str) -> None:
    assert variations(draft(question, equation, gold), 2, seed=0) == []


def test_a_number_that_the_equation_does_not_need_is_replaced_too() -> None:
    question = "A farm has 28 cows, 15 pigs and 70 horses. How many more horses than cows are there?"
    made = variations(draft(question, "70 - 28", "42"), 4, seed=0)
    told = [numbers(variation.messages[0]["content"]) for variation in made]
    assert [int(variation.gold) for variation in made] == [horses - cows for cows, _, horses in told]
    assert len(made) == 4 and {pigs for _, pigs, _ in told} != {15}


def test_none_where_the_equation_uses_no_number_of_the_question() -> None:
    assert variations(draft("Three bees and 4 wasps. How many bees?", "3", "3"), 2, seed=0) == []


def make_config(tmp_path: Path, **source: object) -> Config:
    things = ["apples", "bolts", "cups", "dolls", "eggs", "forks", "gems", "hats", "inks", "jars", "kites", "lamps"]
    rows = [
        {
            "q": f"{name} packs 4{i} {things[i]} in {i + 2} boxes of {name}'s. How many {things[i]} in all?",
            "a": f"4{i} + {i + 2}",
        }
        for i, name in enumerate(["Ada", "Ben", "Cleo", "Dan", "Eve", "Finn", "Gus", "Hal", "Ida"])
    ]
    (tmp_path / "rows.jsonl").write_text("\n".join(map(json.dumps, rows)))
    made = {"path": "rows.jsonl", "fields": {"prompt": "q", "gold": "a"}, "gold_format": "equation", **source}
    held = {"task": "word_problems", "size": 4, "split": "test"}
    text = {"name": "x", "prompts": {"sources": [made, held], "dev_fraction": 0.4}, "teacher": {"model": "t"}}
    (tmp_path / "c.yaml").write_text(json.dumps(text | {"student": {"model": "s"}}))
    return load_config(tmp_path / "c.yaml")


def test_only_train_problems_vary_and_dev_is_the_same_with_and_without(tmp_path: Path) -> None:
    plain, _ = build_problems(make_config(tmp_path))
    varied, report = build_problems(make_config(tmp_path, variations=2))
    made = [p for p in varied if p.pool == "synthetic"]
    assert report["variations"] == len(made) > 0
    assert [p for p in varied if p not in made] == plain
    train = {p.cluster for p in plain if p.split == "train"}
    assert {p.split for p in made} == {"train"} and {p.cluster for p in made} <= train


def test_calculations_are_the_equations_of_other_variations(tmp_path: Path) -> None:
    told, _ = build_problems(make_config(tmp_path, variations=2))
    both, report = build_problems(make_config(tmp_path, variations=2, calculations=3))
    bare = [p for p in both if p.domain == "calculations"]
    assert [p for p in both if p not in bare] == told
    assert report["calculations"] == len(bare) > 0 and {(p.pool, p.split) for p in bare} == {("domain", "train")}
    for problem in bare:
        equation = problem.messages[0]["content"].removeprefix("What is ").removesuffix("?")
        assert float(problem.gold) == evaluate_expression(equation)
        assert equation not in {p.hint for p in told if p.cluster == problem.cluster}


def test_problems_kept_for_pairs_are_unseen_ones_of_the_train_problems(tmp_path: Path) -> None:
    config = make_config(tmp_path, variations=2, calculations=2)
    problems, _ = build_problems(config)
    kept = unseen_variations(problems, 3, config)
    train = {p.cluster: p for p in problems if p.pool == "real" and p.split == "train"}
    assert 3 * len(train) - 3 < len(kept) <= 3 * len(train), "of each problem, not of its variations again"
    assert {p.split for p in kept} == {"pair"} and {p.cluster for p in kept} == {*train}
    assert not {p.id for p in kept} & {p.id for p in problems}
    for problem in kept:
        origin = train[problem.cluster].messages[0]["content"]
        assert re.sub(r"\d+", "#", problem.messages[0]["content"]) == re.sub(r"\d+", "#", origin)
        assert float(problem.gold) == evaluate_expression(problem.hint)
    assert unseen_variations([*problems, *kept], 3, config) == []
    asked = next(p for p in kept if p.cluster == kept[0].cluster)
    held = asked.model_copy(update={"id": "held", "split": "dev"})
    assert asked not in unseen_variations([*problems, held], 3, config), "nothing like a held-out problem"
    told = [p.model_copy(update={"hint": f"Because {p.hint}"}) for p in problems]
    assert unseen_variations(told, 3, config) == [], "words are no equation"


def test_a_row_that_stands_twice_has_its_variations_once(tmp_path: Path) -> None:
    config = make_config(tmp_path, variations=2)
    once, _ = build_problems(config)
    rows = tmp_path / "rows.jsonl"
    rows.write_text(f"{rows.read_text()}\n{rows.read_text()}")
    twice, report = build_problems(config)
    assert report["duplicates"] == 9
    assert [p.id for p in twice] == [p.id for p in once]


def test_a_question_is_told_again_with_one_gold(tmp_path: Path) -> None:
    config = make_config(tmp_path, variations=2, calculations=2)
    once, _ = build_problems(config)
    rows = tmp_path / "rows.jsonl"
    lines = rows.read_text().splitlines()
    rows.write_text("\n".join([*lines, *(line.replace(" + ", " - ") for line in lines)]))
    contradicted, report = build_problems(config)
    assert report["conflicting_gold"] == 9
    assert [p.id for p in contradicted] == [p.id for p in once], "the first was kept, and it alone is told again"


def test_of_equal_told_again_prompts_the_first_stays(tmp_path: Path) -> None:
    config = make_config(tmp_path, variations=3, split="train")
    signs = {"more": "+", "times as many": "*"}
    rows = [{"q": f"Two bees, {n} {what}?", "a": f"{n} {sign} 2"} for n in (3, 4) for what, sign in signs.items()]
    rows += [{"q": row["q"].replace("3", "5").replace("4", "6"), "a": row["a"].replace("2", "9")} for row in rows]
    (tmp_path / "rows.jsonl").write_text("\n".join(map(json.dumps, rows)))
    problems, report = build_problems(config)
    prompts = [p.messages[0]["content"] for p in problems]
    assert report["variations"] > 0 and len({*prompts}) == len(prompts)


def test_practice_rows_are_never_held_out(tmp_path: Path) -> None:
    problems, _ = build_problems(make_config(tmp_path, split="practice"))
    assert {p.split for p in problems} == {"train", "test"}


@pytest.mark.parametrize("field", ["variations", "calculations"])
def test_variations_need_an_equation(tmp_path: Path, field: str) -> None:
    with pytest.raises(ConfigError, match=f"{field} need gold_format: equation"):
        make_config(tmp_path, **{field: 2}, gold_format="text")


@pytest.mark.parametrize(
    ("gold_format", "gold", "hint"),
    [
        ("equation", "( 84.0 / 2.0 )", "84 / 2"),
        ("equation", "( ( 8.0 - 3.5 ) * 10.0 )", "( 8 - 3.5 ) * 10"),
        ("equation", "( 1.0 + 2.0 ) * ( 3.0 + 4.0 )", "( 1 + 2 ) * ( 3 + 4 )"),
        ("text", "42", None),
    ],
)
def test_a_problem_carries_its_equation_as_a_hint(gold_format: str, gold: str, hint: str | None) -> None:
    source = Source(path="x.jsonl", gold_format=gold_format)
    assert read_draft({"prompt": LUKE, "gold": gold}, source).hint == hint


def test_a_hint_may_have_a_column_of_its_own() -> None:
    source = Source(path="x.jsonl", fields={"hint": "solution"})
    assert read_draft({"prompt": LUKE, "gold": "42", "solution": "Halve 84."}, source).hint == "Halve 84."
