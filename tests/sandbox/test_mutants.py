"""The benchmark's mutants are other programs than the solution, and the code verifier refuses them."""

import ast
import random
import sys

import pytest
from rdistill.verifiers.code import Code

from rdistill.records import Status
from rdistill.verifiers.cases import to_pair

SOLUTION = """
def grade(score, best=10):
    if score > best:
        return best + 1
    return score * 2 if score >= 0 else 0
"""
CASES = [{"args": [n], "expected": 11 if n > 10 else max(2 * n, 0)} for n in (-3, -1, 0, 1, 2, 9, 10, 11, 12, 50)]


@pytest.fixture
def mutants(checkout, monkeypatch):
    monkeypatch.syspath_prepend(str(checkout / "benchmarks"))
    yield __import__("mutants").mutants
    sys.modules.pop("mutants", None)


def judge(code: str) -> Status:
    gold = {"kind": "function", "entry_point": "grade", "cases": CASES}
    return Code(timeout_s=10).check(*to_pair({"id": "x", "gold": gold, "answer": f"```python\n{code}\n```"})).status


def test_each_kind_is_made_and_refused(mutants):
    assert judge(SOLUTION) is Status.PASS
    made = mutants(SOLUTION, "grade", random.Random(1))
    assert set(made) == {"return_none", "off_by_one", "swapped_branch", "wrong_operator"}
    for kind, code in made.items():
        assert ast.dump(ast.parse(code)) != ast.dump(ast.parse(SOLUTION)), kind
        assert judge(code) is Status.FAIL, (kind, code)


def test_a_solution_without_room_for_a_kind_lacks_it(mutants):
    assert set(mutants("def f(x): return x", "f", random.Random(0))) == {"return_none"}
    assert mutants("f = len", "f", random.Random(0)) == {}
