"""The math verifier's error rates on its labelled pairs; verifiers/math/README.md says how these were written."""

import json
from collections import Counter

import pytest

from rdistill.verifiers import registry
from rdistill.verifiers.cases import read_cases, run_cases

FOLDER = registry.folder("math")
KINDS = """
numbers fractions units percent currency thousands latex sets intervals tuples equations matrices text hedging replies
"""


@pytest.mark.parametrize("half", ["tuned", "held_out"])
def test_right_answers_are_accepted_and_wrong_ones_refused(half):
    found = run_cases("math", FOLDER / f"pairs_{half}.jsonl")
    assert found["true_accepted"] >= 0.97
    assert found["false_accepted"] <= 0.015


def test_each_half_has_every_kind_and_no_pair_of_the_other():
    halves = [read_cases(FOLDER / f"pairs_{half}.jsonl") for half in ("tuned", "held_out")]
    for rows in halves:
        kinds = Counter((row["kind"], row["expected"]) for row in rows)
        assert all(kinds[kind, expected] for kind in KINDS.split() for expected in ("pass", "fail"))
        assert len({row["id"] for row in rows}) == len(rows)
    pairs = [{json.dumps([row["gold"], row["answer"]]) for row in rows} for rows in halves]
    assert not pairs[0] & pairs[1]
