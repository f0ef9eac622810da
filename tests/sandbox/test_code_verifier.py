"""The code verifier: which verdict each failure has, which golds it takes, how programs run."""

import gzip
import json

import pytest
from code_golds import RIGHT, WRONG, asserts, judge
from rdistill.verifiers.code import Code
from rdistill.verifiers.code.programs import leaves_nothing

from rdistill.records import Reason, Status
from rdistill.verifiers.cases import to_pair

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


def test_canonical_solutions_pass(shared_data):
    """Every 20th of HumanEval; benchmarks run them all."""
    with gzip.open(shared_data / "humaneval" / "test.jsonl.gz", "rt") as file:
        rows = [json.loads(line) for line in file][::20]
    for row in rows:
        gold = {"kind": "asserts", "entry_point": row["entry_point"], "tests": row["test"]}
        assert judge(gold, row["prompt"] + row["canonical_solution"]).status == "pass", row["task_id"]
        assert judge(gold, row["prompt"] + "    return None\n").status == "fail", row["task_id"]
