"""The code verifier: what it lifts out of asserts, what it takes for code, and which verdict each failure has."""

import ast
import gzip
import json
import time

import pytest
from rdistill.verifiers.code import Code, extract_code, holds
from rdistill.verifiers.code.asserts import plan_asserts
from rdistill.verifiers.code.programs import leaves_nothing
from rdistill.verifiers.code.values import NotLiteral, literal

from rdistill.records import Reason, Status
from rdistill.verifiers.cases import to_pair


def judge(gold, code, *, timeout_s=10, finish_reason="stop"):
    row = {"id": "x", "gold": gold, "answer": f"```python\n{code}\n```", "finish_reason": finish_reason}
    return Code(timeout_s=timeout_s).check(*to_pair(row))


FUNCTION = {"kind": "function", "entry_point": "f", "cases": [{"args": [1], "expected": 2}]}
PROPERTY = {
    "kind": "property",
    "entry_point": "f",
    "inputs": [[1], [5]],
    "check": "def check(args, result):\n    return result > args[0]",
}
CHECKED_BY_COUNT = PROPERTY | {"check": "def check(args, result):\n    return 1"}
CHECKED_BY_SIZE = PROPERTY | {"check": "def check(args, result):\n    return bool([1] * result)"}
STDIO = {"kind": "stdio", "cases": [{"stdin": "1\n", "stdout": "2\n"}]}


@pytest.mark.parametrize(
    ("gold", "code", "status", "reason"),
    [
        (FUNCTION, "def f(n): return n + 1", "pass", Reason.OK),
        (FUNCTION, "def f(n): return n", "fail", Reason.WRONG_ANSWER),
        (FUNCTION, "def f(n): return iter([2])", "fail", Reason.WRONG_ANSWER),
        (FUNCTION, "def f(n): return n / 0", "fail", Reason.RUNTIME_ERROR),
        (FUNCTION, "def f(n): return [1] * 2**40", "unverifiable", Reason.RESOURCE_LIMIT),
        (PROPERTY, "def f(n): return n + 2", "pass", Reason.OK),
        (PROPERTY, "def f(n): return float('inf')", "pass", Reason.OK),
        (PROPERTY, "def f(n): return n + (n < 5)", "fail", Reason.WRONG_ANSWER),
        (CHECKED_BY_COUNT, "def f(n): return n", "unverifiable", Reason.BAD_GOLD),
        (CHECKED_BY_SIZE, "def f(n): return 2**40", "unverifiable", Reason.RESOURCE_LIMIT),
        (PROPERTY, "def f(n): return 'x'", "fail", Reason.WRONG_ANSWER),
        (PROPERTY, "def f(n): return 10 ** 5000", "fail", Reason.WRONG_ANSWER),
        (PROPERTY, "def f(n): n / 0", "fail", Reason.RUNTIME_ERROR),
        (
            {**PROPERTY, "check": "def check(args, result): return ("},
            "def f(n): return 2",
            "unverifiable",
            Reason.BAD_GOLD,
        ),
        ({**PROPERTY, "check": "True"}, "def f(n): return 2", "unverifiable", Reason.BAD_GOLD),
        ({**PROPERTY, "inputs": []}, "def f(n): return 2", "unverifiable", Reason.BAD_GOLD),
        (STDIO, "print(int(input()) + 1)", "pass", Reason.OK),
        (STDIO, "print(int(input()))", "fail", Reason.WRONG_ANSWER),
        (STDIO, "print(2); exit(1)", "fail", Reason.RUNTIME_ERROR),
        (STDIO, "while True: print(2)", "unverifiable", Reason.RESOURCE_LIMIT),
        (None, "x", "unverifiable", Reason.BAD_GOLD),
        ({"kind": "function", "entry_point": "f; g", "cases": []}, "x", "unverifiable", Reason.BAD_GOLD),
        ({"kind": "stdio", "cases": []}, "x", "unverifiable", Reason.BAD_GOLD),
        ({"kind": "asserts", "entry_point": "f", "tests": "x = 1\nassert True"}, "x", "unverifiable", Reason.BAD_GOLD),
        ({"kind": "asserts", "entry_point": "f", "tests": "assert ("}, "x", "unverifiable", Reason.BAD_GOLD),
    ],
)
def test_verdicts(gold, code, status, reason):
    verdict = judge(gold, code)
    assert (verdict.status, verdict.reason) == (status, reason), verdict.detail


def numbered(num_cases):
    return {"kind": "stdio", "cases": [{"stdin": f"{n}\n", "stdout": f"{n + 1}\n"} for n in range(num_cases)]}


def test_many_cases_of_a_program_share_a_sandbox():
    cases = numbered(300)
    assert judge(cases, "print(int(input()) + 1)", timeout_s=8).detail == "300 cases"
    wrong = judge(cases, "n = int(input())\nprint(n + (n != 200))", timeout_s=8)
    assert (wrong.reason, wrong.detail) == (Reason.WRONG_ANSWER, "case 201: got '200\\n'")
    raising = judge(cases, "n = int(input())\nprint(n + 1)\n1 / (n - 9)", timeout_s=8)
    assert (raising.reason, raising.detail) == (Reason.RUNTIME_ERROR, "case 10: ZeroDivisionError: division by zero")


@pytest.mark.parametrize(
    ("code", "is_right"),
    [
        ("import sys\nfor line in sys.stdin: print(int(line) + 1)", True),
        ("import sys\nprint(int(sys.stdin.buffer.read()) + 1)\nsys.exit()", True),
        ("n = int(open(0).read())\nprint(n + 1)\nraise SystemExit(0)", True),
        ("if __name__ == '__main__':\n    print(int(input()) + 1, end='')", True),
        ("import sys\nsys.stdout.write(str(int(input()) + 1))\nsys.exit(3)", False),
        ("seen = []\nseen.append(int(input()))\nprint(seen[0] + len(seen))", True),
        ("print(int(input()) + 1)\nexit()", True),
        ("print(int(input()) + 1)\nprint('x' * 70_000)", None),
    ],
)
def test_a_program_in_a_shared_sandbox_is_judged_as_in_its_own(code, is_right, monkeypatch):
    assert leaves_nothing(code)
    shared = judge(numbered(3), code)
    monkeypatch.setattr("rdistill.verifiers.code.leaves_nothing", lambda code: False)
    alone = judge(numbered(3), code)
    assert (shared.status, shared.reason, shared.detail) == (alone.status, alone.reason, alone.detail)
    assert shared.status == {True: "pass", False: "fail", None: "unverifiable"}[is_right]


@pytest.mark.parametrize(
    "code",
    [
        "import os",
        "import threading",
        "from random import _os",
        "import random\nrandom._os.fork()",
        "open('/tmp/x', 'a')",
        "f = open",
        "eval('1')",
        "__import__('os')",
        "().__class__",
        "import sys\nsys.modules['os']",
        "import (",
    ],
)
def test_a_program_that_may_leave_something_behind_runs_in_sandboxes_of_its_own(code):
    assert not leaves_nothing(code)


def test_no_case_sees_what_another_left():
    code = "import os\nn = int(input())\nprint(n + 1 + os.path.exists('/tmp/x'))\nopen('/tmp/x', 'w').write('1')"
    assert judge(numbered(3), code).status == "pass"


@pytest.mark.parametrize("gold", [FUNCTION, STDIO, numbered(2)])
def test_a_time_out_is_not_a_wrong_answer(gold):
    verdict = judge(gold, "while True: pass", timeout_s=0.5)
    assert (verdict.status, verdict.reason) == (Status.UNVERIFIABLE, Reason.TIMEOUT)


def test_a_broken_sandbox_is_not_a_wrong_answer(tmp_path, monkeypatch):
    broken = tmp_path / "bwrap"
    broken.write_text("#!/bin/sh\nexit 1\n")
    broken.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    verdict = judge(FUNCTION, "def f(n): return n + 1")
    assert (verdict.status, verdict.reason) == (Status.UNVERIFIABLE, Reason.SANDBOX)


def test_a_cut_reply_is_not_judged():
    assert judge(FUNCTION, "def f(n): return n + 1", finish_reason="length").reason == Reason.TRUNCATED


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


RIGHT, WRONG = "def add(a, b): return a + b", "def add(a, b): return a - b"


def asserts(tests):
    return {"kind": "asserts", "entry_point": "add", "tests": tests}


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


def test_an_import_that_the_sandbox_lacks_is_no_fault_of_the_solution():
    tests = asserts("import {}\nassert add(2, 3) == 5")
    lacking, present = ({**tests, "tests": tests["tests"].format(name)} for name in ("numpy", "math"))
    for code in (RIGHT, WRONG):
        assert judge(lacking, code).reason == Reason.BAD_GOLD
    assert judge(present, RIGHT).status == "pass"
    assert judge(present, f"import sys\nsys.modules['math'] = None\n{WRONG}").reason == Reason.RUNTIME_ERROR


@pytest.mark.parametrize(
    ("gold", "code", "status", "reason"),
    [
        (FUNCTION, "import numpy as np\ndef f(n): return int(np.add(n, 1))", "unverifiable", Reason.SANDBOX),
        (FUNCTION, "def f(n):\n    from numpy.linalg import norm\n    return norm(n)", "unverifiable", Reason.SANDBOX),
        (
            asserts("from add import add\nassert add(2, 3) == 5"),
            f"import numpy\n{RIGHT}",
            "unverifiable",
            Reason.SANDBOX,
        ),
        (PROPERTY, "import numpy\ndef f(n): return n + 2", "unverifiable", Reason.SANDBOX),
        (STDIO, "import numpy\nprint(int(input()) + 1)", "unverifiable", Reason.SANDBOX),
        (FUNCTION, "def f(n):\n    if n: return 0\n    import numpy", "fail", Reason.WRONG_ANSWER),
        (FUNCTION, "try:\n    import numpy\nexcept ImportError: pass\ndef f(n): return n", "fail", Reason.WRONG_ANSWER),
        (FUNCTION, "def f(n): raise ModuleNotFoundError(\"No module named 'numpy'\")", "fail", Reason.RUNTIME_ERROR),
        (FUNCTION, "__import__('numpy')\ndef f(n): return n", "fail", Reason.RUNTIME_ERROR),
        (FUNCTION, "import math.nothing\ndef f(n): return n", "fail", Reason.RUNTIME_ERROR),
        (FUNCTION, "import numpy\nimport math.nothing\ndef f(n): return n", "unverifiable", Reason.SANDBOX),
    ],
)
def test_a_package_that_the_sandbox_lacks_is_no_failure_of_the_solution(gold, code, status, reason):
    verdict = judge(gold, code)
    assert (verdict.status, verdict.reason) == (status, reason), verdict.detail


def check_gold(gold):
    return Code().check_gold(*to_pair({"id": "x", "gold": gold, "answer": ""}))


@pytest.mark.parametrize(
    ("gold", "part"),
    [
        (PROPERTY | {"check": "def check(args, result): return ("}, "gold.check is no Python"),
        (PROPERTY | {"check": "def check(args, result): pass\nreturn 1"}, "gold.check is no Python"),
        (PROPERTY | {"check": "x = 'def check('"}, 'no "def check(args, result)" at its top level'),
        (PROPERTY | {"check": "def check(result): return True"}, "does not take two arguments"),
        (PROPERTY | {"check": "def check(a, b, c): return True"}, "does not take two arguments"),
        (PROPERTY | {"check": "def check(a, b, *, c): return True"}, "does not take two arguments"),
        (PROPERTY | {"check": "import numpy\ndef check(a, b): return True"}, "gold.check imports numpy, which"),
        (PROPERTY | {"check": "def check(a, b):\n    import numpy"}, "gold.check imports numpy, which"),
        (asserts("import numpy as np\nassert add(2, 3) == 5"), "gold.tests imports numpy, which"),
        (asserts("from pytest import approx\nassert add(2, 3) == approx(5)"), "gold.tests imports pytest, which"),
        (asserts("assert add(2, 3) == 5\nreturn 1"), "gold.tests is no Python"),
        (asserts(["assert add(2, 3) == 5", 1]), "gold.tests is neither text nor a list of texts"),
        (asserts([]), "gold.tests is neither text nor a list of texts"),
        (FUNCTION | {"cases": [{"args": [1], "expected": 2}] * 2 + [{"args": [1], "expected": 3}]}, "cases 1 and 3"),
        (
            FUNCTION | {"cases": [{"args": {"a": 1, "b": 2}, "expected": e} for e in (1, 2)]},
            "cases 1 and 2 have the same args",
        ),
        (STDIO | {"cases": [{"stdin": "1", "stdout": "2"}, {"stdin": "1", "stdout": "3"}]}, "the same stdin"),
        ({"kind": "asserts", "tests": "assert f(1) == 2\nassert g(1) == 2"}, "call several functions (f, g); name it"),
        ({"kind": "asserts", "tests": "def check(c):\n    assert c(1) == 2"}, "call no function of the solution"),
        ({"kind": "asserts", "tests": "assert ("}, "tests are no Python"),
        ({"kind": "asserts", "entry_point": 3, "tests": "assert f(1) == 2"}, "gold.entry_point '3' is not"),
    ],
)
def test_a_gold_that_nothing_can_meet_is_refused_before_it_is_asked(gold, part):
    verdict = check_gold(gold)
    assert verdict.reason == Reason.BAD_GOLD
    assert part in verdict.detail


@pytest.mark.parametrize(
    ("gold", "right", "wrong"),
    [
        (asserts(["import math", "assert add(2, 3) == 5", "assert add(0, 0) == 0"]), RIGHT, WRONG),
        ({"kind": "asserts", "tests": ["assert add(2, 3) == 5"]}, RIGHT, WRONG),
        (
            {"kind": "asserts", "tests": "n = len([2])\nassert sorted(add([n], Box([2]))) == [1, 2]"},
            f"Box = list\n{RIGHT}",
            WRONG,
        ),
        ({"kind": "asserts", "tests": "from my_file import add\nassert add(2, 3) == 5"}, RIGHT, WRONG),
        (asserts("from my_file import add\nassert add(2, 3) == 5"), RIGHT, WRONG),
        (
            {"kind": "function", "entry_point": "add", "cases": [{"args": {"b": 3, "a": 5}, "expected": 8}]},
            RIGHT,
            WRONG,
        ),
        (
            {
                "kind": "function",
                "entry_point": "add",
                "cases": [{"args": [], "expected": 1}, {"args": {"a": "\\'\""}, "expected": "\\'\""}],
            },
            "def add(a=1): return a",
            "def add(a=2): return a",
        ),
        (
            FUNCTION | {"cases": [{"args": [1], "expected": 2}, {"args": [1], "expected": 2.0}]},
            "def f(n): return 2",
            WRONG,
        ),
        (PROPERTY | {"check": "def check(*both):\n    return both[1] > both[0][0]"}, "def f(n): return n + 1", WRONG),
    ],
)
def test_forms_of_gold(gold, right, wrong):
    assert check_gold(gold).status == "pass"
    verdict = judge(gold, right)
    assert verdict.status == "pass", verdict.detail
    assert judge(gold, wrong).status == "fail"


@pytest.mark.parametrize(
    "text", ["9**9**9", "'a' * 10**9", "[0] * 10**9", "x", "f()", "open('x')", "1 if 1 else 2", "{**{}}", "{[]}"]
)
def test_a_literal_is_small_and_calls_nothing(text):
    with pytest.raises(NotLiteral):
        literal(ast.parse(text, mode="eval").body)


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("x = 1", "x = 1"),
        ("a\n```python\nx = 1\n```\nb", "x = 1"),
        ("```\ndef f(): 1\n```\n```\noutput\n```", "def f(): 1"),
        ("```\nx = 1\n```\n```\nx = 2\n```", "x = 2"),
        ("```python\ndef f(): 1\n", "def f(): 1\n"),
        ("```\ndef f(): 1\n```\n```python\nprint(f())\n```", "def f(): 1"),
        ("```\ndef f(): 1\n```\n```\n>>> f()\n1\n```", "def f(): 1"),
        ("```\nasync def f(): 1\n```\n```\nassert f() == 1\n```", "async def f(): 1"),
        ("```\nclass f: 1\n```\n```\nf()\n```", "class f: 1"),
        ("```\nf = len\n```\n```\nf == len\n```", "f = len"),
        ("```\ndef f(): (\n```\n```\n>>> f()\n```", "def f(): ("),
        ("```\ndef f(): 1\n```\n```\ndef f(): 2\n```\n```\nf()\n```", "def f(): 2"),
        ("```\ndef f(): 1\n```\n```\nx = '''\ndef f(): 2\n'''\n```", "def f(): 1"),
        ("- a\n  ```\n  def f():\n      1\n  ```", "def f():\n    1"),
        ("```\nx = '''\n  \n'''\n```", "x = '''\n  \n'''"),
        ("Here: ```python\ndef f(): 1\n```", "def f(): 1"),
        ("#### ```\ndef f(): 1\n```", "def f(): 1"),
        ("First ```python\ndef f(): 0\n``` is wrong.\n```python\ndef f(): 1\n```", "def f(): 1"),
        ("\u200b```python\ndef f(): 1\n\u200b```\nEnd.", "def f(): 1"),
        ("```f(2)``` is `1`:\n```\ndef f(): 1\n```\n```f(3)``` too.", "def f(): 1"),
        ("Not ```a``` but ```python\ndef f(): 1\n```", "def f(): 1"),
        ("````md\n```py\ndef f(): 1\n```\n```\nf()\n```\n````", "def f(): 1"),
        ("````python\ndef f(): 1\n```\nf\n```\n````", "def f(): 1\n```\nf\n```"),
        ("```markdown\n# f\n```python\ndef f(): 1\n```\n```", "def f(): 1"),
        ("```python\ndef f(): 0\n```python\ndef f(): 1\n```", "def f(): 1"),
        ("~~~python\ndef f(): 1\n~~~\nEnd.", "def f(): 1"),
        ("> It is\n> ```python\n> def f():\n>     1\n> ```\n> so.", "def f():\n    1"),
        ("> ```\n> def f(): 1\nEnd.", "def f(): 1"),
        ("1. ```python\n   def f():\n       1\n   ```\n2. End.", "def f():\n    1"),
        ("```\ndef f():\n    '''\n    ```\n    f()\n    ```\n    '''\n```\nEnd.", None),
        ("def f():\n    '''\n```\nf()\n```\n    '''", "def f():\n    '''\n```\nf()\n```\n    '''"),
        ("```\nf, g = len, 1\n```\n```\nf(2)\n```", "f, g = len, 1"),
        ("```\nfrom math import gcd as f\n```\n```\nf(2)\n```", "from math import gcd as f"),
        ("```\ndef f(): 1\n```\n```\nfrom solution import f\nf()\n```", "def f(): 1"),
        ("```\nif 1:\n    def f(): 1\n```\n```\nf()\n```", "if 1:\n    def f(): 1"),
        (
            "```\ntry:\n    f = a\nexcept NameError:\n    f = 1\n```\n```\nf()\n```",
            "try:\n    f = a\nexcept NameError:\n    f = 1",
        ),
        ("```\ndef f(): 1\n```\n```\nf = f(2)\n```", "def f(): 1"),
        ("```\ndef f(): 1\n```\n```\nf[0] = 2\n```", "def f(): 1"),
        ("```\nf = 0\n```\n```\nf = lambda n: f(n - 1)\n```", "f = lambda n: f(n - 1)"),
        ("```\nimport math\n```\n```\ndef f(): math\n```", "import math\n\ndef f(): math"),
        ("```\ndef g(): h()\n```\n```\ndef h(): 0\n```\n```\ndef f(): h()\n```", "def h(): 0\n\ndef f(): h()"),
        (
            "```\ndef h(): 0\n```\n```\ndef g(): h()\n```\n```\ndef f(): g()\n```",
            "def h(): 0\n\ndef g(): h()\n\ndef f(): g()",
        ),
        ("```\na = 1\n```\n```\ndef f(a): a\n```", "def f(a): a"),
    ],
)
def test_code_is_found(text, code):
    if code is None:
        code = text.removeprefix("```\n").removesuffix("\n```\nEnd.")
    assert extract_code(text, "f") == code


@pytest.mark.parametrize(
    ("tag", "block", "is_chosen"),
    [
        ("", "5", False),
        ("", "Yes", False),
        ("", "a b c", False),
        ("", "print(2)", True),
        ("python", "2", True),
        ("Py", "print(2", True),
        ("python", "# 2", False),
        ("text", "print(2)", False),
        ("bash", "echo(2)", False),
    ],
)
def test_a_program_is_found(tag, block, is_chosen):
    assert extract_code(f"```python\nprint(1)\n```\n```{tag}\n{block}\n```") == (block if is_chosen else "print(1)")


def test_blocks_are_found_in_linear_time():
    for block in (
        "> ``` ",
        "``` ",
        "> " * 999 + "```\n",
        "- " * 999,
        "```\na = f\nf = a\n```\n",
        "```\nf(\n```\n",
        "```\n" + "f=" * 30_000 + "\n```\n",
        "```\nf \t\n```\n",
        "```f\n",
    ):
        started = time.monotonic()
        extract_code(block * (1_000_000 // len(block)), "f")
        assert time.monotonic() - started < 20


def test_canonical_solutions_pass(shared_data):
    """Every 20th of HumanEval; benchmarks run them all."""
    with gzip.open(shared_data / "humaneval" / "test.jsonl.gz", "rt") as file:
        rows = [json.loads(line) for line in file][::20]
    for row in rows:
        gold = {"kind": "asserts", "entry_point": row["entry_point"], "tests": row["test"]}
        assert judge(gold, row["prompt"] + row["canonical_solution"]).status == "pass", row["task_id"]
        assert judge(gold, row["prompt"] + "    return None\n").status == "fail", row["task_id"]
