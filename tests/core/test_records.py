"""Ids are made of content alone: the same in every process, different for every difference."""

import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from rdistill.records import Problem, Sample, Verdict, canonical_json, content_id

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=10,
)


def reversed_keys(value: object) -> object:
    if isinstance(value, dict):
        return {k: reversed_keys(value[k]) for k in reversed(value)}
    return [reversed_keys(v) for v in value] if isinstance(value, list) else value


@given(JSON)
def test_the_order_of_keys_does_not_matter(value: object) -> None:
    assert content_id(value) == content_id(reversed_keys(value))
    assert len(content_id(value)) == 32 and canonical_json(value) == canonical_json(reversed_keys(value))


@pytest.mark.parametrize(
    ("one", "other"),
    [(("a", "b"), ("ab",)), ((1,), ("1",)), (([],), ({},)), ((None,), ("null",)), (("a",), ("a", None))],
)
def test_what_differs_has_another_id(one: tuple, other: tuple) -> None:
    assert content_id(*one) != content_id(*other)


def test_an_id_is_the_same_in_another_process() -> None:
    parts = ("x", {"b": [1, 2.5], "a": "é\ud800"})
    code = f"from rdistill.records import content_id; print(content_id(*{parts!r}))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == content_id(*parts) == "473c5a84322d4cd7c5a9263c552389a8"


def test_what_is_no_json_has_no_id() -> None:
    for value in (float("nan"), float("inf"), object(), {1, 2}):
        with pytest.raises((ValueError, TypeError)):
            content_id(value)


def test_rows_of_runs_before_the_sandbox_levels_are_read() -> None:
    verdict = {"sample_id": "s", "verifier": "code", "version": "3", "status": "pass", "reason": "OK"}
    assert Verdict.model_validate(verdict).sandbox is None
    fields: dict = {"problem_id": "p", "messages": [], "rationale": None, "answer": "1", "finish_reason": "stop"}
    sample = Sample.create(**fields, usage={}, sampling={}, engine="e")
    assert Sample.model_validate(sample.model_dump(exclude={"sandbox"})) == sample
    assert Sample.create(**fields, usage={}, sampling={}, engine="e", sandbox="weak").id == sample.id


def test_records_are_frozen_and_strict() -> None:
    problem = Problem(id="p", messages=[], cluster="c", split="train")
    with pytest.raises(ValidationError):
        problem.gold = "2"
    with pytest.raises(ValidationError):
        Problem(id="p", messages=[], cluster="c", split="train", golden="2")
    with pytest.raises(ValidationError):
        Problem(id="p", messages=[], cluster="c", split="validation")


def test_a_samples_text_is_the_last_assistant_turn() -> None:
    def text(*messages: dict) -> str:
        fields = {"problem_id": "p", "rationale": None, "answer": None, "finish_reason": "stop", "usage": {}}
        return Sample.create(messages=list(messages), sampling={}, engine="e", **fields).text

    assert text({"role": "assistant", "content": "a"}, {"role": "tool", "content": "b"}) == "a"
    assert text({"role": "assistant", "content": None}) == "" and text() == ""
