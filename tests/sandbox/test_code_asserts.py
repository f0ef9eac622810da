"""What the code verifier lifts out of asserts, what no cheat passes, and which asserts count."""

import ast

import pytest
from code_golds import RIGHT, WRONG, asserts, judge
from rdistill.verifiers.code import Code, holds
from rdistill.verifiers.code.asserts import plan_asserts
from rdistill.verifiers.code.values import NotLiteral, literal

from rdistill.records import Reason
from rdistill.verifiers.cases import to_pair


@pytest.mark.parametrize(
    ("test", "code", "right", "wrong"),
    [
        ("f(1) == [2, (3,)]", "f(1)", [2, (3,)], [2, [3]]),
        ("-5 == f(1)", "f(1)", -5, 5),
        ("f(1) != 0", "f(1)", 1, 0),
        ("f(1) is None", "f(1)", None, 0),
        ("f(1) is True", "f(1)", True, 1),
        ("f(1)", "f(1)", [1], []),
        ("not f(1)", "f(1)", 0, 1),
        ("abs(f(1) - 0.5) < 1e-3", "f(1)", 0.5001, 0.6),
        ("abs(0.5 - f(1)) <= 0.1", "f(1)", 0.45, 0.7),
        ("math.isclose(f(1), 2.0, rel_tol=0.1)", "f(1)", 2.1, 3),
        ("f(1) == 2 ** 10 * 3 - 1, 'message'", "f(1)", 3071, 3072),
        ("f(1) in [1, 2]", "f(1)", 2, 3),
        ("0 < f(1) <= 5", "f(1)", 5, 6),
        ("bool(f(1) == 5)", "f(1)", 5, 6),
        ("(f(1) == 5) is True", "f(1)", 5, 6),
        ("f(1) - 5 == 0", "f(1)", 5, 6),
        ("f(1) == 5 or f(1) == 6", "(f(1), f(1))", (6, 6), (7, 7)),
        ("f(1) == f(2)", "(f(1), f(2))", (1, 1), (1, 2)),
        ("round(f(1) - 3.14, 2) == 0", "f(1)", 3.141, 3.2),
        ("len({f(1), 5}) == 1", "f(1)", 5, 6),
        ("isinstance(f(1), (int, str))", "f(1)", "x", 1.0),
        ("type(f(1)) == int", "f(1)", 1, True),
        ("'%.1f' % f(1) == '0.5'", "f(1)", 0.52, 0.6),
        ("f([n for n in range(3)]) == 1", "f([n for n in range(3)])", 1, 2),
        ("f(1).area(2).side == 3", "f(1).area(2).side", 3, 4),
    ],
)
def test_asserts_are_lifted(test, code, right, wrong):
    (planned,) = plan_asserts(f"assert {test}", "f")
    assert planned.steps == [{"kind": "value", "code": code}]
    assert not planned.is_inside
    assert holds(planned.judge, right)
    assert not holds(planned.judge, wrong)


@pytest.mark.parametrize(
    ("test", "shape", "plain", "shaped"),
    [
        ("set(f(1)) == set([1, 2])", "set(_rdistill_got0)", [2, 1], {1, 2}),
        ("(sorted(f(1)) == [1, 2]) == True", "sorted(_rdistill_got0)", [2, 1], [1, 2]),
        ("len(list(f(1))[1:]) == 1", "len(list(_rdistill_got0)[1:])", (1, 2), 1),
        ("list(f(1)) == list(f(2))", "(list(_rdistill_got0), list(_rdistill_got1))", ((1,), [1]), ([1], [1])),
    ],
)
def test_wrappers_meet_data_here_and_what_is_no_data_in_the_sandbox(test, shape, plain, shaped):
    (planned,) = plan_asserts(f"assert {test}", "f")
    assert planned.shaped[0] == {"kind": "value", "code": shape}
    assert holds(planned.judge, plain)
    assert not holds(planned.judge, ([3],))
    assert holds(planned.shaped[1], shaped)
    assert not holds(planned.shaped[1], ([3],))


@pytest.mark.parametrize("test", ["all(f(n) == n for n in [1])", "f(1) == x", "f(1) == random.random()", "callable(f)"])
def test_what_cannot_be_lifted_runs_inside_and_is_named(test):
    (planned,) = plan_asserts(f"assert {test}", "f")
    assert planned.step["kind"] == "run"
    assert planned.judge is None
    gold = {"kind": "asserts", "entry_point": "f", "tests": "for n in range(3):\n    assert f(n) == n"}
    assert "1 of them judged inside the sandbox" in judge(gold, "def f(n): return n").detail
    assert judge(gold, "def f(n): return 0").reason == Reason.WRONG_ANSWER


def asserted(tests, code):
    return judge({"kind": "asserts", "entry_point": "f", "tests": tests}, code)


ANYTHING = """
class Anything:
    __eq__ = __ne__ = __lt__ = __le__ = __gt__ = __ge__ = __contains__ = __bool__ = lambda *a: True
    __sub__ = __rsub__ = __add__ = __radd__ = __mul__ = __abs__ = __int__ = lambda *a: 0
    __hash__ = lambda self: 5
    __round__ = lambda *a: 3.14
    __float__ = lambda self: 3.14
def f(*args): return Anything()
"""
PATCHED = """
import builtins
class Always(list):
    __eq__ = lambda *a: True
builtins.sorted = builtins.round = builtins.abs = builtins.sum = lambda *a, **k: Always()
def f(*args): return [9]
"""
READER = """
import sys
def f(*args):
    seen = [c for v in list(globals().values()) if hasattr(v, "__code__") for c in v.__code__.co_consts]
    seen += [v for k, v in globals().items() if k == "expected"]
    seen += [v for k, v in globals().items() if k.startswith("CASES") for v in v.values()]
    frame = sys._getframe()
    while frame:
        steps = frame.f_locals.get("request", {}).get("steps", [])
        seen += [int("5") for step in steps if "5" in str(step)]
        frame = frame.f_back
    return int("5") if int("5") in seen else 0
"""


CHEATED = [
    "assert f(1) == 5",
    "assert bool(f(1) == 5)",
    "assert (f(1) == 5) == True",
    "assert (f(1) == 5) is True",
    "assert not f(1) != 5",
    "assert not (f(1) == 5) is False",
    "assert f(1) == 5 and f(2) == 5",
    "assert f(1) == 5 or f(1) == 6",
    "def same(a, b): return a == b\nassert same(f(1), 5)",
    "def same(a, b):\n    'Whether.'\n    return a == b\nassert same(f(1), 5)",
    "def near(a): return same(a, 5)\ndef same(a, b): return a == b\nassert near(f(1)) is True",
    "assert f(1) - 5 == 0",
    "assert 5 - f(1) == 0",
    "assert [f(1)] == [5]",
    "assert {'a': f(1)} == {'a': 5}",
    "assert f(1) in [5]",
    "assert f(1) in {5: 1}",
    "assert round(f(1) - 3.14, 2) == 0",
    "assert round(f(1) - 5) == 0",
    "assert abs(round(f(1), 2) - 3.14) < 1e-6",
    "assert float(f(1)) == 3.14",
    "assert math.isclose(f(1), 5)",
    "assert math.isclose(float(f(1)), 3.14)",
    "assert len({f(1), 5}) == 1",
    "assert (sorted(f(1)) == [1, 2]) == True",
    "assert sum([f(1), -5]) == 0",
    "assert all([f(1) == 5, f(2) == 5])",
    "assert isinstance(f(1), int) and f(1) == 5",
    "assert 4 < f(1) < 6",
    "expected = 5\nassert f(1) == expected",
    "got = f(1)\nassert got == 5",
    "got = f(1)\nexpected = 5\nassert got == expected",
    "CASES = {1: 5}\nassert f(1) == CASES[1]",
    "def test_f():\n    assert f(1) == 5",
    "def test_f():\n    assert f(1) == 5 and f(2) == 5",
    "class TestF:\n    def test_f(self):\n        assert f(1) == 5\nassert f(1) == 5",
    "def check(candidate):\n    assert bool(candidate(1) == 5)",
    "def check(candidate):\n    expected = 5\n    assert candidate(1) == expected",
    "g = f\nassert (g(1) == 5) is True",
    "from solution import f\nassert bool(f(1) == 5)",
]


@pytest.mark.parametrize("code", [ANYTHING, PATCHED, READER])
@pytest.mark.parametrize("tests", CHEATED)
def test_no_cheat_passes(tests, code):
    verdict = asserted(tests, code)
    assert verdict.status != "pass", verdict.detail
    assert "inside" not in verdict.detail


@pytest.mark.parametrize("tests", CHEATED)
def test_what_cheats_do_not_pass_is_lifted_and_passes(tests):
    value = 3.14 if "3.14" in tests else [2, 1] if "sorted" in tests else 5
    verdict = asserted(tests, f"def f(n): return {value}")
    assert verdict.status == "pass", verdict.detail
    assert "inside" not in verdict.detail


@pytest.mark.parametrize(
    ("tests", "code"),
    [
        ("assert list(f(3)) == [0, 1]", "def f(n):\n    yield 0\n    yield 1"),
        ("assert sorted(f(3)) == [1, 2]", "def f(n): return {2: 0, 1: 0}.keys()"),
        ("assert f(3)[0] == 1", "from collections import deque\ndef f(n): return deque([1])"),
        ("assert str(f(3)) == '1/2'", "from fractions import Fraction\ndef f(n): return Fraction(1, 2)"),
        ("import math\nassert math.prod(f(3)) == 6", "def f(n): return [2, 3]"),
        ("expected = 5\nfor n in [1]: assert f(n) == expected\nassert f(1) == expected", "def f(n): return 5"),
        ("expected = 5\nassert f(expected) == expected", "def f(n): return 5"),
        ("s = f()\ns.push(1)\nassert s.pop() == 1", "class f(list):\n    push = list.append"),
        ("def same(a, b):\n    c = a == b\n    return c\nassert same(f(1), 5)", "def f(n): return 5"),
    ],
)
def test_what_passed_through_more_than_the_solution_is_named(tests, code):
    verdict = asserted(tests, code)
    assert verdict.status == "pass", verdict.detail
    assert "judged inside the sandbox" in verdict.detail


@pytest.mark.parametrize(
    ("tests", "code"),
    [
        ("assert round(f(1), 2) == 0.33", "from fractions import Fraction\ndef f(n): return Fraction(1, 3)"),
        ("assert f(1)", "import re\ndef f(n): return re.match('a', 'a')"),
        ("assert not f(1)", "def f(n): return iter([])"),
        ("assert f(1).keys() == {1}", "def f(n): return {n: n}"),
        ("assert f(1) ** f(1) > 0", "def f(n): return 10 ** 9"),
    ],
)
def test_what_cannot_be_decided_is_no_failure(tests, code):
    assert asserted(tests, code).status == "unverifiable"


@pytest.mark.parametrize(
    "tests",
    [
        "def test_add():\n    assert add(2, 3) == 5",
        "def test_add():\n    got = add(2, 3)\n    assert got == 5",
        "def test_add():\n    assert add(2, 3) == 5\nfor test in [test_add]: test()",
        "import unittest\ndef test_add():\n    assert add(2, 3) == 5\nif __name__ == '__main__':\n    unittest.main()",
        "if __name__ == '__main__':\n    assert add(2, 3) == 5",
        "def run():\n    assert add(2, 3) == 5\ndef main():\n    run()\nif __name__ == '__main__':\n    main()",
        "def check():\n    assert add(2, 3) == 5\ncheck()",
        "def check(candidate, n):\n    assert candidate(2, 3) == 5\ncheck(add, 1)",
        "def check(*, candidate):\n    assert candidate(2, 3) == 5\ncheck(candidate=add)",
        "def check(candidate):\n    assert candidate(2, 3) == 5\ndef test():\n    check(add)\ntest()",
        "def check(candidate):\n    assert candidate(2, 3) == 5\n    return True",
        "def check(candidate):\n    if candidate(0, 0):\n        return\n    assert candidate(2, 3) == 5",
        "from solution import add\nassert add(2, 3) == 5",
    ],
)
def test_asserts_that_are_counted_run(tests):
    assert judge(asserts(tests), RIGHT).status == "pass"
    assert judge(asserts(tests), WRONG).reason == Reason.WRONG_ANSWER
    assert judge(asserts(tests), "def sub(a, b): return a - b").reason == Reason.RUNTIME_ERROR


@pytest.mark.parametrize(
    "tests",
    [
        "class TestAdd:\n    def test_a(self):\n        assert add(2, 3) == 5",
        "import unittest\nclass TestAdd(unittest.TestCase):\n    def test_a(self):\n        assert add(2, 3) == 5",
        "async def test_add():\n    assert add(2, 3) == 5\ntest_add()",
        "def test_add():\n    assert add(2, 3) == 5\n    yield",
        "def test_add(a, b):\n    assert add(a, b) == 5",
        "def run():\n    assert add(2, 3) == 5\nlater = lambda: run()",
    ],
)
def test_asserts_that_never_run_are_none(tests):
    problem, sample = to_pair({"id": "x", "gold": asserts(tests), "answer": f"```python\n{RIGHT}\n```"})
    for verdict in (Code().check(problem, sample), Code().check_gold(problem, sample)):
        assert (verdict.reason, verdict.detail) == (Reason.BAD_GOLD, "tests assert nothing")


@pytest.mark.parametrize(
    "text", ["9**9**9", "'a' * 10**9", "[0] * 10**9", "x", "f()", "open('x')", "1 if 1 else 2", "{**{}}", "{[]}"]
)
def test_a_literal_is_small_and_calls_nothing(text):
    with pytest.raises(NotLiteral):
        literal(ast.parse(text, mode="eval").body)
